package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/history"
)

func newHistory() *cobra.Command {
	c := &cobra.Command{
		Use:   "history [GROUP:SERVICE]",
		Short: "Show which alerts were sent, when, why, and whether they were delivered",
		Long: `Show the alerts of the last 90 days, oldest first: when each was decided, what it
was about, whom it went to, and what became of it. Alerts that could not be delivered
yet are at their place, as "waiting". With GROUP:SERVICE, show those of that watch.

The history survives a restart; at least the last 10,000 alerts are kept. Where
"historicfile" names the alert history of mon, what mon wrote there comes first.`,
		Example: "  monitord history --since 24h\n  monitord history --since 2026-07-01 web:http\n  monitord history --json | jq '.alerts[] | select(.fate != \"delivered\")'",
		Args:    cobra.MaximumNArgs(1),
	}
	socket := socketFlag(c)
	since := c.Flags().String("since", "", "`TIME` of the first alert: \"2h\" or \"7d\" ago, \"2026-07-01\" or \"2026-07-01T12:00:00\"")
	last := c.Flags().IntP("last", "n", 50, "how many to show at most, the newest; 0 is all")
	asJSON := c.Flags().Bool("json", false, "print everything as JSON")
	follow := c.Flags().Bool("watch", false, "show it again each second, until interrupted")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := control.HistoryQuery{Last: *last, Watch: strings.Join(args, "")}
		var err error
		if q.Since, err = instantOf(*since, time.Now()); err != nil {
			return &usageError{err, c.CommandPath()}
		}
		if *last < 0 {
			return &usageError{errors.New("--last: write 0 or more"), c.CommandPath()}
		}
		if *since != "" && !c.Flags().Changed("last") {
			q.Last = 0
		}
		show := func() error { return showHistory(c.Context(), c.OutOrStdout(), *socket, q, *asJSON) }
		if !*follow {
			return show()
		}
		return repeat(c.Context(), c.OutOrStdout(), *asJSON, show)
	}
	return c
}

// instantOf reads a time, or how long ago it was; an empty text is the zero time.
func instantOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	for _, form := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("--since: %q is no time: write how long ago as \"2h\" or \"7d\", or a day like \"2026-07-01\"", text)
}

func showHistory(ctx context.Context, out io.Writer, socket string, q control.HistoryQuery, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := control.NewClient(socket)
	if asJSON {
		return printAnswer(ctx, out, func(ctx context.Context, into any) error { return client.History(ctx, q, into) })
	}
	var h daemon.History
	if err := client.History(ctx, q, &h); err != nil {
		return err
	}
	printHistory(out, h)
	return nil
}

func printHistory(out io.Writer, h daemon.History) {
	if h.Problem != "" {
		fmt.Fprintf(out, "some may be missing: %s\n\n", h.Problem)
	}
	if len(h.Alerts) == 0 {
		fmt.Fprintln(out, "no alerts")
		return
	}
	var rows strings.Builder
	table := tabwriter.NewWriter(&rows, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tWATCH\tKIND\tABOUT\tALERT\tWHAT BECAME OF IT")
	for i := range h.Alerts {
		a := &h.Alerts[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", a.At.Local().Format(time.DateTime), a.Watch(), a.Kind, cell(string(a.Summary)), cell(a.Alert), became(a))
	}
	_ = table.Flush() // a builder takes everything
	heading, rest, _ := strings.Cut(rows.String(), "\n")
	fmt.Fprintln(out, heading)
	for i, row := range strings.Split(strings.TrimSuffix(rest, "\n"), "\n") {
		fmt.Fprintln(out, row)
		if a := &h.Alerts[i]; a.Reason != "" {
			fmt.Fprintln(out, because(a))
		}
	}
}

// because is the line below an alert that says why it was sent. A screen of 100 columns
// has room for it.
func because(a *history.Entry) string {
	const margin, most = "    why: ", 100
	why := string(a.Reason)
	if a.Period != "" {
		why += ", in period " + a.Period
	}
	return margin + clipped(why, most-len(margin))
}

// cell is the beginning of a text's first line, without what would move a terminal's
// cursor.
func cell(text string) string { return clipped(text, 60) }

// clipped is at most so many characters of it.
func clipped(text string, most int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, firstLine(text)))
	if len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return string(runes)
}

// became is what became of an alert: "delivered after 3m20s, 5 attempts".
func became(a *history.Entry) string {
	if a.Fate == "" {
		return "-"
	}
	text := string(a.Fate)
	if a.Merged > 0 {
		text += fmt.Sprintf(", for %d more before it", a.Merged)
	}
	if took := a.Ended.Sub(a.At); !a.Ended.IsZero() && took >= time.Second {
		text += " after " + took.Truncate(time.Second).String()
	}
	switch {
	case a.Attempts > 1:
		text += fmt.Sprintf(", %d attempts", a.Attempts)
	case a.Attempts == 1 && a.Fate == history.Waiting:
		text += ", 1 attempt"
	}
	if a.Why != "" {
		text += ": " + cell(string(a.Why))
	}
	return text
}
