package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// ipvsFlags are what "monitord ipvs" is asked for.
type ipvsFlags struct {
	config, socket                         string
	dryRun, save, stats, connections, zero bool
	json                                   bool
}

func newIPVS() *cobra.Command {
	c := &cobra.Command{
		Use:   "ipvs",
		Short: "Show the table of virtual services: wanted, actual, and the difference",
		Long: `Show what should be forwarded, what is, and the difference between them. The
running daemon is asked; with -c FILE, or where none runs, the configuration is
compared with the kernel as if every real server were up. Only --zero changes
anything: the counters.`,
		Example: "  monitord ipvs\n  monitord ipvs --save > table       # as ipvsadm -S -n\n  monitord ipvs --dry-run -c new.toml",
		Args:    cobra.NoArgs,
	}
	var f ipvsFlags
	c.Flags().StringVarP(&f.config, "config", "c", DefaultConfigFile, "configuration `FILE` to compare with the kernel")
	_ = c.MarkFlagFilename("config", "toml") // the flag exists
	c.Flags().StringVarP(&f.socket, "socket", "s", DefaultSocket, "control socket of the daemon")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print only what would be done, as lines of ipvsadm -R")
	c.Flags().BoolVar(&f.save, "save", false, "print what is, as ipvsadm -S -n does")
	c.Flags().BoolVar(&f.stats, "stats", false, "print the counters")
	c.Flags().BoolVar(&f.connections, "connections", false, "print the kernel's connection table")
	c.Flags().BoolVar(&f.zero, "zero", false, "set the kernel's counters to zero")
	c.Flags().BoolVar(&f.json, "json", false, "print everything as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f.asked() > 1 {
			return &usageError{errors.New("--dry-run, --save, --stats, --connections and --zero are one at a time"), c.CommandPath()}
		}
		if f.zero {
			return zeroCounters(c.Context())
		}
		if f.connections {
			return showConnections(c.Context(), c.OutOrStdout(), f.json)
		}
		t, err := askTable(c.Context(), f, c.Flags().Changed("config"))
		if err != nil {
			return err
		}
		for _, note := range []string{t.Assumed, t.Problem} {
			if note != "" {
				fmt.Fprintln(c.ErrOrStderr(), "#", note)
			}
		}
		if t.Problem != "" && (f.save || f.stats) {
			return errors.New("what is forwarded cannot be read")
		}
		return f.print(c.OutOrStdout(), t)
	}
	return c
}

// asked counts what is asked for instead of the table.
func (f ipvsFlags) asked() int {
	n := 0
	for _, is := range []bool{f.dryRun, f.save, f.stats, f.connections, f.zero} {
		if is {
			n++
		}
	}
	return n
}

// askTable asks the daemon, or looks itself if a file is named or no daemon is
// there.
func askTable(ctx context.Context, f ipvsFlags, named bool) (daemon.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if named {
		return daemon.Inspect(ctx, f.config)
	}
	var t daemon.Table
	err := control.NewClient(f.socket).Table(ctx, &t)
	if !errors.Is(err, control.ErrNotRunning) {
		return t, err
	}
	t, other := daemon.Inspect(ctx, f.config)
	if other != nil {
		return t, fmt.Errorf("%w; and without it: %w", err, other)
	}
	return t, nil
}

func (f ipvsFlags) print(out io.Writer, t daemon.Table) error {
	switch {
	case f.json:
		return printJSON(out, t)
	case f.dryRun:
		return printLines(out, t.Difference)
	case f.save:
		return printLines(out, t.Lines)
	case f.stats:
		return columns(out, func(table *tabwriter.Writer) { writeCounters(table, append(t.Actual, t.Others...)) })
	}
	return printTable(out, t)
}

func printLines(out io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(out, l); err != nil {
			return err
		}
	}
	return nil
}

func columns(out io.Writer, write func(*tabwriter.Writer)) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	write(table)
	return table.Flush()
}

func printTable(out io.Writer, t daemon.Table) error {
	if t.Problem != "" { // said already: what is cannot be known
		return printServices(out, "wanted", t.Wanted)
	}
	if err := printServices(out, "actual, by the "+t.Backend, t.Actual); err != nil {
		return err
	}
	if len(t.Others) > 0 {
		if err := printServices(out, "others' services in the kernel", t.Others); err != nil {
			return err
		}
	}
	if len(t.Difference) == 0 {
		_, err := fmt.Fprintln(out, "no difference: what is forwarded is what should be")
		return err
	}
	if err := printServices(out, "wanted", t.Wanted); err != nil {
		return err
	}
	fmt.Fprintln(out, "difference, as ipvsadm -R would mend it:")
	return printLines(out, t.Difference)
}

func printServices(out io.Writer, title string, services []lvs.ServiceView) error {
	fmt.Fprintf(out, "%s:\n", title)
	if err := columns(out, func(table *tabwriter.Writer) { writeServices(table, services) }); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

func writeServices(out io.Writer, services []lvs.ServiceView) {
	fmt.Fprintln(out, "SERVICE / SERVER\tFORWARD\tWEIGHT\tACTIVE\tINACTIVE")
	for _, v := range services {
		fmt.Fprintf(out, "%s  %s\t\t\t\t\n", v.Service, serviceSettings(v))
		for _, r := range v.Servers {
			fmt.Fprintf(out, "  -> %s\t%s\t%d\t%d\t%d\n", r.Address, way(r), r.Weight, r.Active, r.Inactive)
		}
	}
}

// serviceSettings are those of a service, in ipvsadm's words.
func serviceSettings(v lvs.ServiceView) string {
	text := string(v.Scheduler)
	if len(v.Flags) > 0 {
		text += " (" + strings.Join(v.Flags, ",") + ")"
	}
	if v.Persistence > 0 {
		text += fmt.Sprintf(" persistent %d", v.Persistence)
	}
	if v.Name != "" {
		text += "  [" + v.Name + "]"
	}
	return text
}

func way(r lvs.ServerView) string {
	switch {
	case r.Forward == "":
		return "-"
	case r.Tunnel != lvs.IPIP:
		return fmt.Sprintf("%s/%s", r.Forward, r.Tunnel)
	}
	return string(r.Forward)
}

func writeCounters(out io.Writer, services []lvs.ServiceView) {
	fmt.Fprintln(out, "SERVICE / SERVER\tCONNS\tINPKTS\tOUTPKTS\tINBYTES\tOUTBYTES\tCPS\tINPPS\tOUTPPS\tINBPS\tOUTBPS")
	for _, v := range services {
		fmt.Fprintf(out, "%s\t%s\n", v.Service, counters(v.Count))
		for _, r := range v.Servers {
			fmt.Fprintf(out, "  -> %s\t%s\n", r.Address, counters(r.Count))
		}
	}
}

func counters(c lvs.Count) string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d", c.Total, c.InPackets, c.OutPackets, c.InBytes, c.OutBytes,
		c.Rates.Connections, c.Rates.InPackets, c.Rates.OutPackets, c.Rates.InBytes, c.Rates.OutBytes)
}

// showConnections prints the connection table of this network namespace, as it is
// read: it may have millions of lines.
func showConnections(ctx context.Context, out io.Writer, asJSON bool) error {
	access, err := ipvs.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = access.Close() }()
	lines := json.NewEncoder(out)
	if !asJSON {
		fmt.Fprintf(out, "%-5s %-10s %-12s %-22s %-22s %s\n", "PROTO", "EXPIRES", "STATE", "CLIENT", "VIRTUAL", "SERVER")
	}
	for c, err := range access.Connections(ctx) {
		switch {
		case err != nil:
			return err
		case asJSON:
			err = lines.Encode(c)
		default:
			_, err = fmt.Fprintf(out, "%-5s %-10s %-12s %-22s %-22s %s\n", c.Protocol, c.Expires, c.State, c.Client, c.Virtual, c.Server)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// zeroCounters sets those of all services to zero, as ipvsadm -Z.
func zeroCounters(ctx context.Context) error {
	access, err := ipvs.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(access.Zero(ctx, nil), access.Close())
}

func newDrain() *cobra.Command {
	c := &cobra.Command{
		Use:   "drain HOST",
		Short: "Have a real server leave its pools without cutting connections",
		Long: `Give a real server weight 0, so that it gets no new connections, and take it out
when it has none left or the time is up. It stays out, whatever the watches say and
across restarts, until "monitord undrain".`,
		Example: "  monitord drain web1\n  monitord drain 10.0.0.2:80 --virtual shop --for 10m",
		Args:    cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	virtual := c.Flags().String("virtual", "", "only in the virtual service of this `NAME`; default all")
	timeout := c.Flags().Duration("for", 0, "longest `TIME` to wait for connections; default the drain_timeout of each virtual service")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *timeout < 0 {
			return &usageError{fmt.Errorf("--for %s is negative", *timeout), c.CommandPath()}
		}
		ctx, cancel := context.WithTimeout(c.Context(), callTimeout)
		defer cancel()
		names, err := control.NewClient(*socket).Drain(ctx, control.Order{Virtual: *virtual, Host: args[0], Seconds: timeout.Seconds()})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s leaves %s; \"monitord status\" shows when it has left\n", args[0], strings.Join(names, ", "))
		return err
	}
	return c
}

func newUndrain() *cobra.Command {
	c := &cobra.Command{
		Use:   "undrain HOST",
		Short: "Take back \"monitord drain\"",
		Args:  cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	virtual := c.Flags().String("virtual", "", "only in the virtual service of this `NAME`; default all")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), callTimeout)
		defer cancel()
		names, err := control.NewClient(*socket).Undrain(ctx, control.Order{Virtual: *virtual, Host: args[0]})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is back in %s, as far as it is up\n", args[0], strings.Join(names, ", "))
		return err
	}
	return c
}
