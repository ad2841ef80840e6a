package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/internal/wording"
	"github.com/monitord/monitord/monitors"
)

func newTest() *cobra.Command {
	c := &cobra.Command{
		Use:   "test",
		Short: "Try out one monitor or one alert of a configuration",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTestMonitor(), newTestAlert())
	return c
}

func newTestMonitor() *cobra.Command {
	c := &cobra.Command{
		Use:   "monitor GROUP:SERVICE",
		Short: "Run a watch's monitor once and print what it finds",
		Long: `Run a watch's monitor once, here and now, on all hosts of its group, and print its
verdicts. No alert is sent and a running daemon is not involved. The exit status is
0 if all hosts are up.`,
		Example: "  monitord test monitor web:http -c /etc/monitord/monitord.toml",
		Args:    cobra.ExactArgs(1),
	}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		w, err := findWatch(*file, args[0])
		if err != nil {
			return err
		}
		if w.Monitor == nil {
			return fmt.Errorf("%s has no monitor: it waits for traps", args[0])
		}
		return testMonitor(c, w)
	}
	return c
}

func testMonitor(c *cobra.Command, w *config.Watch) error {
	ctx, cancel := context.WithTimeout(c.Context(), w.Timeout)
	defer cancel()
	start := time.Now()
	result, err := engine.TestMonitor(ctx, w)
	if err != nil {
		return fmt.Errorf("could not test: %w", err)
	}
	table := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
	up := 0
	for _, h := range result.Hosts {
		if h.Verdict == monitors.Up {
			up++
			h.Reason = h.Took.Round(10 * time.Microsecond).String()
		}
		if phases := h.Timings.String(); phases != "" {
			h.Reason += " (" + phases + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", h.Host, h.Verdict, h.Reason)
	}
	_ = table.Flush() // a terminal that is gone needs no table
	if w.IsProgram {
		fmt.Fprintf(c.OutOrStdout(), "exit status %d, output:\n%s", result.Exit, wording.Plain(string(result.Output)))
	}
	fmt.Fprintf(c.OutOrStdout(), "%d of %d up, %s\n", up, len(result.Hosts), time.Since(start).Round(time.Millisecond))
	if result.Exit != 0 || up < len(result.Hosts) {
		return errors.New("not all hosts are up")
	}
	return nil
}

func newTestAlert() *cobra.Command {
	c := &cobra.Command{
		Use:   "alert GROUP:SERVICE",
		Short: "Send a test through a watch's alerts",
		Long: `Send a test through the alerts of a watch, as mon's "test alert" does: nothing is
tested and nothing is counted. An ipvs alert checks only whether it could act; no
server is put in or out.`,
		Example: "  monitord test alert web:http -c FILE --list upalert",
		Args:    cobra.ExactArgs(1),
	}
	file := configFlag(c)
	list := c.Flags().String("list", "alert", "which list: alert, upalert, startupalert, ackalert or disablealert")
	only := c.Flags().String("period", "", "only the period of this name; default all")
	c.RunE = func(c *cobra.Command, args []string) error {
		kind, ok := testLists[*list]
		if !ok {
			return &usageError{fmt.Errorf("no list %q: take alert, upalert, startupalert, ackalert or disablealert", *list), c.CommandPath()}
		}
		w, err := findWatch(*file, args[0])
		if err != nil {
			return err
		}
		return testAlerts(c, w, kind, *only)
	}
	return c
}

var testLists = map[string]watch.Kind{
	"alert": watch.Failure, "upalert": watch.Up, "startupalert": watch.Startup, "ackalert": watch.Ack, "disablealert": watch.Disable,
}

func testAlerts(c *cobra.Command, w *config.Watch, kind watch.Kind, only string) error {
	set := watch.New([]watch.Config{w.Config}, watch.Options{})
	var failed []error
	tried := 0
	for i := range w.Periods {
		name := w.Periods[i].Name
		if only != "" && name != only {
			continue
		}
		notices, err := set.TestAlert(time.Now(), w.Key, kind, 1, name)
		if err != nil {
			return err
		}
		for j := range notices {
			tried++
			action := notices[j].Action
			err := engine.Test(c.Context(), w, &notices[j])
			switch {
			case err == nil:
				fmt.Fprintf(c.OutOrStdout(), "%s: sent\n", action.Name)
			case errors.Is(err, alerts.ErrDelivered):
				fmt.Fprintf(c.OutOrStdout(), "%s: %v\n", action.Name, err)
			default:
				failed = append(failed, fmt.Errorf("%s: %w", action.Name, err))
			}
		}
	}
	if tried == 0 {
		return fmt.Errorf("%s has no such alert to test", w.Key)
	}
	return errors.Join(failed...)
}

func findWatch(file, name string) (*config.Watch, error) {
	site, err := loadSite(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range site.Watches {
		if site.Watches[i].Key.String() == name {
			return &site.Watches[i], nil
		}
		names = append(names, site.Watches[i].Key.String())
	}
	slices.Sort(names)
	return nil, fmt.Errorf("no watch %q in %s; there are %s", name, file, strings.Join(names, ", "))
}
