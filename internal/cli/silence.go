package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/watch"
)

func newSilence() *cobra.Command {
	c := &cobra.Command{
		Use:   "silence",
		Short: "Hold back messages for a time, once or again and again",
		Long: `A silence holds back messages about failures of what it covers. Everything is
tested, counted and shown as ever, and the pools follow. What still fails at its end
is told then; what came and went is not. The recovery of a failure that people were
told of before is told. Each message that is held back stands in the watch's last
decisions, with the silence, who made it and why. Silences survive restarts, and hold
on all directors.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSilenceAdd(), newSilenceList(), newSilenceRemove())
	return c
}

// A silenceFlags is what silence add was told.
type silenceFlags struct {
	order       control.SilenceOrder
	from, until string
}

func newSilenceAdd() *cobra.Command {
	c := &cobra.Command{
		Use:   "add",
		Short: "Add a silence by group, service, host or pattern",
		Long: `Add a silence. What it covers is given by one or more of --group, --service, --match
and --host, which must all fit; when, by --for, or --from and --until, or --cron with
--for. Of a watch with scope "group" a silence by hosts covers a failure of these hosts
alone.`,
		Example: `  monitord silence add --group web --for 2h -m "new release"
  monitord silence add --host 'w[12]\.example\.org' --from 22:00 --until 23:30
  monitord silence add --match 'switch*:*' --cron "0 3 * * sun" --for 1h -m "they restart"`,
		Args: cobra.NoArgs,
	}
	socket, why := socketFlag(c), whyFlag(c)
	var f silenceFlags
	c.Flags().StringVar(&f.order.Group, "group", "", "the watches of this `GROUP`")
	c.Flags().StringVar(&f.order.Service, "service", "", "the watches of this `SERVICE`, in any group")
	c.Flags().StringVar(&f.order.Match, "match", "", "the watches whose GROUP:SERVICE fits this `PATTERN`: * stands for anything, ? for one character")
	c.Flags().StringVar(&f.order.Host, "host", "", "the hosts whose whole name fits this regular `EXPRESSION`")
	c.Flags().StringVar(&f.from, "from", "", "when it begins, `TIME` like \"2006-01-02 15:04\" or \"15:04\"; default now")
	c.Flags().StringVar(&f.until, "until", "", "when it ends, `TIME` as for --from; of a recurring one, for good")
	c.Flags().StringVar(&f.order.Cron, "cron", "", "when it begins, again and again: minute, hour, day of month, month, day of week, in the director's time zone")
	seconds := forFlag(c, "how long it lasts, a `TIME` like 2h")
	c.RunE = func(c *cobra.Command, _ []string) error {
		length, err := seconds()
		if err != nil {
			return err
		}
		if err := f.read(time.Now(), length); err != nil {
			return &usageError{err, c.CommandPath()}
		}
		return operate(c, *socket, control.Operation{Do: "silence", Why: *why, Seconds: length, Silence: &f.order})
	}
	return c
}

// read checks what was told, and reads the times.
func (f *silenceFlags) read(now time.Time, length float64) (err error) {
	o := &f.order
	switch {
	case o.Group == "" && o.Service == "" && o.Match == "" && o.Host == "":
		return errors.New("say what it covers: --group, --service, --match or --host")
	case o.Cron != "" && length == 0:
		return errors.New("say how long it lasts each time: --cron needs --for")
	case o.Cron == "" && (length == 0) == (f.until == ""):
		return errWhen
	}
	begin := now
	if f.from != "" {
		if o.From, err = moment(f.from, now); err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		begin = o.From
	}
	if f.until != "" {
		if o.Until, err = moment(f.until, begin); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
		if !o.Until.After(begin) || !o.Until.After(now) {
			return fmt.Errorf("--until: %s is over before it begins", f.until)
		}
	}
	return nil
}

func newSilenceRemove() *cobra.Command {
	c := &cobra.Command{
		Use:   "rm ID ...",
		Short: "Take silences away: what still fails is told",
		Args:  cobra.MinimumNArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var errs []error
		for _, id := range args {
			errs = append(errs, operate(c, *socket, control.Operation{Do: "unsilence", ID: id}))
		}
		return errors.Join(errs...)
	}
	return c
}

func newSilenceList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the silences that are in force or will be",
		Args:  cobra.NoArgs,
	}
	socket := socketFlag(c)
	asJSON := c.Flags().Bool("json", false, "print everything as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), callTimeout)
		defer cancel()
		client := control.NewClient(*socket)
		if *asJSON {
			return printAnswer(ctx, c.OutOrStdout(), client.Silences)
		}
		var all []watch.SilenceView
		if err := client.Silences(ctx, &all); err != nil {
			return err
		}
		printSilences(c.OutOrStdout(), all)
		return nil
	}
	return c
}

func printSilences(out io.Writer, all []watch.SilenceView) {
	if len(all) == 0 {
		fmt.Fprintln(out, "no silences")
		return
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SILENCE\tSTATE\tFROM\tUNTIL\tCOVERS\tWATCHES\tBY\tWHY")
	for _, v := range all {
		covers := v.Covers()
		if v.Cron != "" {
			covers += fmt.Sprintf("; at %q for %s", v.Cron, v.Span)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", v.ID, either(v.Active, "in force", "to come"),
			v.Begins.Local().Format("Mon 2006-01-02 15:04"), v.Ends.Local().Format("Mon 2006-01-02 15:04"), covers, len(v.Watches), v.By, strings.ReplaceAll(v.Why, "\n", " "))
	}
	_ = table.Flush() // a terminal that is gone needs no table
}
