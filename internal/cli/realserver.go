package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/realserver"
)

// An exitStatus is an answer that is given by the exit status alone.
type exitStatus int

func (exitStatus) Error() string { return "" }

// notRunning is the status of the LSB's init scripts for a service that does not
// run; half is that of all other trouble.
const (
	half       exitStatus = 1
	notRunning exitStatus = 3
)

// realServerTimeout bounds the waiting for another call, and for the kernel.
const realServerTimeout = time.Minute

func newRealServer() *cobra.Command {
	c := &cobra.Command{
		Use:   "realserver",
		Short: "Make this machine take packets for a virtual address",
		Long: `Make this machine a real server behind a director that forwards by direct routing
(dr) or through a tunnel (tun): the virtual address (VIP) is put on lo or on the
tunnel's device, and the machine made silent about it on the network.

What "up" changes is remembered with its former value, and "down" undoes just that.
Both can be repeated without harm.`,
		Example: `  monitord realserver up --vip 192.168.1.100
  monitord realserver status
  monitord realserver down --vip 192.168.1.100
  monitord realserver up --vip 192.168.1.100,192.168.1.101 --mode tun --tunnel gue --port 5555`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRealServerUp(), newRealServerDown(), newRealServerStatus())
	return c
}

// realServerFlags are the arguments, as they were typed.
type realServerFlags struct {
	vips, via                      []string
	mode, tunnel, device, stateDir string
	port                           uint16
	outer                          int
	json                           bool
}

// addFlags adds those of all three commands.
func (f *realServerFlags) addFlags(c *cobra.Command, vips string) {
	c.Flags().StringSliceVar(&f.vips, "vip", nil, vips)
	c.Flags().StringVar(&f.stateDir, "statedir", realserver.DefaultStateDir, "`folder` in which it is remembered what was changed")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	_ = c.MarkFlagDirname("statedir") // the flag exists
}

// addWay adds those that say how the packets come.
func (f *realServerFlags) addWay(c *cobra.Command) {
	c.Flags().StringVar(&f.mode, "mode", "dr", "how the director forwards: dr or tun")
	c.Flags().StringVar(&f.tunnel, "tunnel", "", "for tun, in what the packets come: ipip, gue or gre (default ipip)")
	c.Flags().Uint16Var(&f.port, "port", 0, "for gue, the UDP port")
	c.Flags().IntVar(&f.outer, "outer", 0, "for tun, the IP version of the outer packets: 4 or 6 (default the VIP's)")
	c.Flags().StringVar(&f.device, "device", "", "for dr, the device for the VIP: lo or a dummy (default lo)")
	c.Flags().StringSliceVar(&f.via, "via", nil, "devices at which the director's packets come but by which the answers do not go; a strict rp_filter there is made loose")
}

// config turns the arguments into what the package wants.
func (f *realServerFlags) config(c *cobra.Command) (realserver.Config, error) {
	config := realserver.Config{
		Mode: realserver.Mode(f.mode), Tunnel: realserver.Encapsulation(f.tunnel), Port: f.port, Outer: f.outer,
		Device: f.device, Via: f.via, StateDir: f.stateDir,
	}
	for _, text := range f.vips {
		vip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return config, &usageError{fmt.Errorf("--vip %s: not an IP address such as 192.168.1.100 or 2001:db8::100, without a mask", text), c.CommandPath()}
		}
		config.VIPs = append(config.VIPs, vip)
	}
	return config, nil
}

func newRealServerUp() *cobra.Command {
	f := &realServerFlags{}
	c := &cobra.Command{
		Use:   "up --vip ADDRESS[,ADDRESS...]",
		Short: "Take packets for the VIP, and be silent about it",
		Long: `Take packets for the VIP, and be silent about it. What is right already stays as it
is; if something fails, what was changed is undone.

It stays until "down" or the next start of the machine: for that there is the unit
monitord-realserver@.service.`,
		Args: cobra.NoArgs,
	}
	f.addFlags(c, "virtual `addresses` to serve")
	f.addWay(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(f.vips) == 0 {
			return &usageError{errors.New("which address? Give --vip"), c.CommandPath()}
		}
		return f.change(c, realserver.Up, "everything was right already")
	}
	return c
}

func newRealServerDown() *cobra.Command {
	f := &realServerFlags{}
	c := &cobra.Command{
		Use:   "down [--vip ADDRESS[,ADDRESS...]]",
		Short: "Undo what \"up\" has changed",
		Long: `Undo what "up" has changed for the VIP, or for all that are up. What was there
before "up", and what somebody else has changed since, is left alone and named.`,
		Args: cobra.NoArgs,
	}
	f.addFlags(c, "virtual `addresses`; default all that are up")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return f.change(c, realserver.Down, "nothing was to be undone")
	}
	return c
}

// change calls up or down and prints what was done.
func (f *realServerFlags) change(c *cobra.Command, do func(context.Context, realserver.Config) (realserver.Report, error), nothing string) error {
	config, err := f.config(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), realServerTimeout)
	defer cancel()
	report, err := do(ctx, config)
	if f.json {
		return errors.Join(printJSON(c.OutOrStdout(), report), asRoot(err))
	}
	for _, line := range report.Done {
		fmt.Fprintln(c.OutOrStdout(), line)
	}
	for _, line := range report.Left {
		fmt.Fprintln(c.OutOrStdout(), "note:", line)
	}
	if err == nil && len(report.Done)+len(report.Left) == 0 {
		fmt.Fprintln(c.OutOrStdout(), nothing)
	}
	return asRoot(err)
}

// asRoot says what to do about a file that may not be read.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: run it as root", err)
	}
	return err
}

func newRealServerStatus() *cobra.Command {
	f := &realServerFlags{}
	c := &cobra.Command{
		Use:   "status [--vip ADDRESS[,ADDRESS...]]",
		Short: "Show what is right, what is missing, and the command that mends it",
		Long: `Show what each VIP needs, whether it is so, and the command that mends it if not.
The exit status is 0 if all is right, 3 if the VIP is not there, 1 if it is there
but something is wrong.`,
		Args: cobra.NoArgs,
	}
	f.addFlags(c, "virtual `addresses`; default all that are up")
	f.addWay(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := f.config(c)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), realServerTimeout)
		defer cancel()
		found, err := realserver.Status(ctx, config)
		if err != nil {
			return asRoot(err)
		}
		if f.json {
			err = printJSON(c.OutOrStdout(), found)
		} else {
			printRealServer(c.OutOrStdout(), found)
		}
		switch found.State {
		case realserver.IsUp:
			return err
		case realserver.IsDown:
			return errors.Join(err, notRunning)
		case realserver.IsHalf:
			return errors.Join(err, half)
		}
		return err
	}
	return c
}

func printRealServer(out io.Writer, found realserver.Situation) {
	if len(found.VIPs) == 0 {
		fmt.Fprintln(out, "no VIP is up")
	}
	for _, v := range found.VIPs {
		way := string(v.Mode)
		if v.Tunnel != "" {
			way += " (" + string(v.Tunnel) + ")"
		}
		fmt.Fprintf(out, "%s  %s, by %s on %s\n", v.VIP, strings.ToUpper(string(v.State)), way, v.Device)
		for _, c := range v.Checks {
			switch {
			case c.Right && c.Is == "":
				fmt.Fprintf(out, "  ok     %s: none\n", c.What)
			case c.Right:
				fmt.Fprintf(out, "  ok     %s: %s\n", c.What, c.Is)
			default:
				fmt.Fprintf(out, "  wrong  %s: %s; %s\n", c.What, c.Is, c.Why)
				if c.Mend != "" {
					fmt.Fprintf(out, "         %s\n", c.Mend)
				}
			}
		}
		if v.State != realserver.IsUp && v.Remembered {
			fmt.Fprintln(out, "         or all of it: monitord realserver up, as before")
		}
	}
	for _, note := range found.Notes {
		fmt.Fprintln(out, "note:", note)
	}
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
