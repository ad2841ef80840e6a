package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/doctor"
)

// unexamined is the status of a machine that could not be examined.
const unexamined exitStatus = 2

// doctorTimeout bounds the questions on the network and the looking up of names.
const doctorTimeout = time.Minute

func newDoctor() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find the classic mistakes of a director or a real server",
		Long: `Look at this machine's addresses, routes, kernel modules and settings, ask on the
network who answers for the virtual addresses, and say what keeps connections from
working, why, and the command that mends it. Nothing is changed.

A director is compared with its configuration, a real server with the arguments.
The exit status is 0 if there is no error, 1 if there is one, 2 if the machine could
not be examined.`,
		Example: `  monitord doctor -c /etc/monitord/monitord.toml
  monitord doctor --realserver --vip 192.168.1.100 --port 80
  monitord doctor --realserver --mode nat --vip 192.168.1.100 --director 10.0.0.1`,
		Args: cobra.NoArgs,
	}
	file := configFlag(c)
	flags := doctorFlags{}
	flags.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		wanted, err := flags.wanted(c, *file)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), doctorTimeout)
		defer cancel()
		facts, err := doctor.Gather(ctx, wanted)
		if err != nil {
			fmt.Fprintln(c.ErrOrStderr(), "monitord: the machine could not be examined:", err)
			return unexamined
		}
		return report(c.OutOrStdout(), doctor.Examine(facts, wanted), flags)
	}
	return c
}

// doctorFlags are the arguments, as they were typed.
type doctorFlags struct {
	realServer, json, all bool
	vips                  []string
	ports                 []uint
	mode, director        string
}

func (f *doctorFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.realServer, "realserver", false, "examine a real server, not the director")
	c.Flags().StringSliceVar(&f.vips, "vip", nil, "the virtual `addresses` of a real server")
	c.Flags().StringVar(&f.mode, "mode", "dr", "how the director forwards to it: dr, tun or nat")
	c.Flags().StringVar(&f.director, "director", "", "for nat, the director's `address` on the real server's side")
	c.Flags().UintSliceVar(&f.ports, "port", nil, "the services' `ports`, to see whether they are listened to")
	c.Flags().BoolVarP(&f.all, "all", "a", false, "print what is right, too")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

func (f *doctorFlags) wanted(c *cobra.Command, file string) (doctor.Wanted, error) {
	if f.realServer {
		r, err := f.server()
		if err != nil {
			return doctor.Wanted{}, &usageError{err, c.CommandPath()}
		}
		return doctor.Wanted{RealServer: r}, nil
	}
	for _, name := range []string{"vip", "mode", "director", "port"} {
		if c.Flags().Changed(name) {
			return doctor.Wanted{}, &usageError{fmt.Errorf("--%s is for --realserver; a director is compared with its configuration", name), c.CommandPath()}
		}
	}
	site, err := loadSite(file)
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr(), err)
		return doctor.Wanted{}, unexamined
	}
	return doctor.Wanted{Director: doctor.DirectorOf(site.Virtuals, site.LVS, site.Sync)}, nil
}

func (f *doctorFlags) server() (*doctor.RealServer, error) {
	r := &doctor.RealServer{Mode: f.mode}
	if len(f.vips) == 0 {
		return nil, errors.New("--realserver needs --vip ADDRESS, which clients connect to")
	}
	for _, text := range f.vips {
		vip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--vip: %w", err)
		}
		r.VIPs = append(r.VIPs, vip.Unmap())
	}
	if !slices.Contains([]string{"dr", "tun", "nat"}, f.mode) {
		return nil, fmt.Errorf("--mode %q is not dr, tun or nat; with fullnat a real server needs nothing", f.mode)
	}
	for _, p := range f.ports {
		if p < 1 || p > 65535 {
			return nil, fmt.Errorf("--port %d is not 1 to 65535", p)
		}
		r.Ports = append(r.Ports, uint16(p))
	}
	if f.director != "" {
		a, err := netip.ParseAddr(f.director)
		if err != nil {
			return nil, fmt.Errorf("--director: %w", err)
		}
		r.Director = a.Unmap()
	}
	return r, nil
}

func report(out io.Writer, findings []doctor.Finding, f doctorFlags) error {
	if f.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(findings); err != nil {
			return err
		}
	} else {
		doctor.Print(out, findings, f.all)
	}
	if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Severity == doctor.Error }) {
		return exitStatus(1)
	}
	return nil
}
