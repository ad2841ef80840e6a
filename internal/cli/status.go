package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/watch"
)

// DefaultSocket is the control socket where the configuration names no other.
const DefaultSocket = "/run/monitord/monitord.sock"

// callTimeout bounds one question to the daemon.
const callTimeout = 10 * time.Second

func socketFlag(c *cobra.Command) *string {
	return c.Flags().StringP("socket", "s", DefaultSocket, "control `SOCKET` of the daemon, the key \"socket\" of its configuration")
}

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [GROUP:SERVICE]",
		Short: "Show what the running daemon knows",
		Long: `Show each watch with the state of its hosts, and each virtual service with who is
in its pool and why. With GROUP:SERVICE, show that watch with its last decisions:
which alerts went out, which did not, and the reason for either.`,
		Example: "  monitord status\n  monitord status web:http\n  monitord status --json | jq .virtual_services",
		Args:    cobra.MaximumNArgs(1),
	}
	socket := socketFlag(c)
	asJSON := c.Flags().Bool("json", false, "print everything as JSON")
	follow := c.Flags().Bool("watch", false, "show it again each second, until interrupted")
	c.RunE = func(c *cobra.Command, args []string) error {
		show := func() error { return showStatus(c.Context(), c.OutOrStdout(), *socket, args, *asJSON) }
		if !*follow {
			return show()
		}
		return repeat(c.Context(), c.OutOrStdout(), *asJSON, show)
	}
	return c
}

// repeat shows the status each second; people get it in the same place.
func repeat(ctx context.Context, out io.Writer, asJSON bool, show func() error) error {
	for {
		if !asJSON {
			fmt.Fprint(out, "\x1b[H\x1b[2J") // cursor home, clear (ECMA-48)
		}
		if err := show(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func showStatus(ctx context.Context, out io.Writer, socket string, args []string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := control.NewClient(socket)
	if asJSON {
		return printAnswer(ctx, out, client.Status)
	}
	var s daemon.Status
	if err := client.Status(ctx, &s); err != nil {
		return err
	}
	if len(args) == 1 {
		return printWatch(out, s.Engine.Watches, args[0])
	}
	printWatches(out, s)
	printVirtuals(out, s.Virtuals)
	return nil
}

// printAnswer prints all of an answer as JSON, for programs.
func printAnswer(ctx context.Context, out io.Writer, ask func(context.Context, any) error) error {
	var raw json.RawMessage
	if err := ask(ctx, &raw); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, raw, "", "  "); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	_, err := fmt.Fprintln(out, text.String())
	return err
}

func printWatches(out io.Writer, s daemon.Status) {
	fmt.Fprintf(out, "monitord %s, running for %s, %s\n", s.Version, ago(&s.Started), s.ConfigFile)
	printWords(out, &s.Engine)
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "WATCH\tSTATE\tSINCE\tHOSTS\tDETAIL")
	for i := range s.Engine.Watches {
		w := &s.Engine.Watches[i]
		fmt.Fprintf(table, "%s:%s\t%s\t%s\t%s\t%s\n", w.Group, w.Service, state(w), ago(w.Since), hostCount(w), detail(w))
	}
	_ = table.Flush() // a terminal that is gone needs no table
}

// printWords says what operators said that holds for more than one watch.
func printWords(out io.Writer, s *engine.Status) {
	if s.Stopped {
		fmt.Fprintf(out, "PAUSED%s: nothing is tested, and nobody is told, until \"monitord resume\"\n", by(s.StoppedBy))
	}
	for _, v := range s.Silences {
		if v.Active {
			fmt.Fprintf(out, "%s (%s)\n", v, v.Covers())
		}
	}
}

// by says who said something, until when, and why.
func by(m *watch.Mark) string {
	if m == nil || m.At.IsZero() {
		return ""
	}
	text := ""
	if m.By != "" {
		text = " by " + m.By
	}
	text += " " + ago(&m.At) + " ago"
	if !m.Until.IsZero() {
		text += ", until " + m.Until.Local().Format("2006-01-02 15:04")
	}
	if m.Why != "" {
		text += " (" + m.Why + ")"
	}
	return text
}

func state(w *engine.WatchStatus) string {
	text := strings.ToUpper(w.State)
	switch {
	case w.State == "untested" && w.Runs > 0 && w.Unknown == "":
		text = "undecided" // fall and rise want more results
	case w.State == "ok" || w.State == "untested":
		text = w.State
	}
	switch {
	case w.Disabled:
		return text + " (disabled)"
	case w.Acked != "":
		return text + " (acked)"
	case len(w.Silenced) > 0:
		return text + " (silenced)"
	}
	return text
}

func hostCount(w *engine.WatchStatus) string {
	up, disabled := 0, 0
	for _, h := range w.Hosts {
		if h.State == "up" {
			up++
		}
		if h.Disabled {
			disabled++
		}
	}
	text := fmt.Sprintf("%d/%d up", up, len(w.Hosts))
	if disabled > 0 {
		text += fmt.Sprintf(", %d disabled", disabled)
	}
	return text
}

// detail is who is down and why, and who is disabled; or why nothing is known.
func detail(w *engine.WatchStatus) string {
	if w.Unknown != "" {
		return clip(firstLine(w.Unknown))
	}
	var down, disabled []string
	for _, h := range w.Hosts {
		switch {
		case h.Disabled: // what it was found before is of no interest
			disabled = append(disabled, h.Name+" (disabled)")
		case h.State == "down":
			down = append(down, fmt.Sprintf("%s (%s)", h.Name, clip(h.Reason)))
		}
	}
	const most = 3
	all := slices.Concat(down, disabled)
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, ", ")
}

// clip keeps a page that a server sent out of the table; the watch by itself shows it.
func clip(reason string) string {
	const most = 80
	if runes := []rune(reason); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return reason
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func printVirtuals(out io.Writer, virtuals []lvs.VirtualStatus) {
	for _, v := range virtuals {
		fmt.Fprintf(out, "\n%s  %s  %s  %d of %d up%s\n", v.Name, several(v.Services), v.Scheduler, v.Up, len(v.Servers), quorum(v))
		table := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
		fmt.Fprintln(table, "  SERVER\tWEIGHT\tPOOL\tSINCE\tACTIVE\tTOTAL\tWHY")
		for _, r := range v.Servers {
			in := "out"
			switch {
			case r.Drained != nil && r.Drained.Gone:
				in = "drained"
			case r.Drained != nil:
				in = "draining"
			case r.In:
				in = "in"
			}
			fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%d\t%d\t%s\n", r.Target, r.Weight, in, ago(&r.Since), r.Active, r.Total, r.Reason)
		}
		_ = table.Flush()
	}
}

// several writes the services of a range of addresses short.
func several(services []string) string {
	if len(services) > 1 {
		return fmt.Sprintf("%s and %d more", services[0], len(services)-1)
	}
	return strings.Join(services, "")
}

// quorum says what is out of the ordinary.
func quorum(v lvs.VirtualStatus) string {
	switch {
	case v.Sorry != "":
		return ", the sorry server " + v.Sorry + " serves"
	case v.Quorum == "lost":
		return ", the quorum is lost"
	}
	return ""
}

func printWatch(out io.Writer, all []engine.WatchStatus, name string) error {
	for i := range all {
		w := &all[i]
		if w.Group+":"+w.Service != name {
			continue
		}
		fmt.Fprintln(out, strings.TrimRight(name+"  "+state(w)+"  "+w.Description, " "))
		if w.Disabled {
			fmt.Fprintf(out, "disabled%s\n", by(w.DisabledBy))
		}
		if w.Acked != "" {
			fmt.Fprintf(out, "acknowledged %s ago by %s\n", ago(w.AckedAt), w.Acked)
		}
		for _, s := range w.Silenced {
			fmt.Fprintln(out, s)
		}
		if w.Unknown != "" {
			fmt.Fprintf(out, "could not test: %s\n", w.Unknown)
		}
		fmt.Fprintf(out, "%s\n\n", results(w))
		printHosts(out, w.Hosts)
		printDecisions(out, w)
		return nil
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Group + ":" + all[i].Service
	}
	return fmt.Errorf("no watch %q; there are %s", name, strings.Join(names, ", "))
}

// results is what the monitor found so far.
func results(w *engine.WatchStatus) string {
	text := "no monitor"
	if w.Monitor != "" {
		text = "monitor " + w.Monitor
	}
	text += fmt.Sprintf(", %s, %s in a row, ", count(w.Runs, "result", "results"), count(w.Failures, "failure", "failures"))
	if w.LastGood == nil || w.LastGood.IsZero() {
		return text + "no success yet"
	}
	return text + "last success " + ago(w.LastGood) + " ago"
}

// printDecisions prints the last decisions, the same silence again and again as one
// row, and what could not be delivered.
func printDecisions(out io.Writer, w *engine.WatchStatus) {
	if len(w.Decisions) > 0 {
		fmt.Fprintln(out, "\nlast decisions:")
	}
	const clock = "15:04:05.000"
	for _, s := range stretches(w.Decisions) {
		fmt.Fprintf(out, "  %s  %s", s.first.At.Format(clock), decision(s.first))
		if s.times > 1 {
			fmt.Fprintf(out, "; %d times until %s", s.times, s.last.At.Format(clock))
			if s.last.Reason != s.first.Reason {
				fmt.Fprint(out, ", then: ", s.last.Reason)
			}
		}
		fmt.Fprintln(out)
	}
	for _, d := range w.Deliveries {
		if d.Error != "" {
			fmt.Fprintf(out, "  %s  %s (%s): %s\n", d.At.Format(clock), d.Alert, d.List, d.Error)
		}
	}
}

// A stretch is one decision, or the same not to send an alert again and again.
type stretch struct {
	first, last engine.DecisionStatus
	times       int
}

// stretches folds decisions, until an alert is sent: then it counts anew.
func stretches(decisions []engine.DecisionStatus) []*stretch {
	var out []*stretch
	open := map[string]*stretch{}
	for _, d := range decisions {
		alike := strings.Join(append([]string{d.Kind, d.Period, d.Code}, d.Hosts...), "\x00")
		if s := open[alike]; s != nil {
			s.last = d
			s.times++
			continue
		}
		s := &stretch{d, d, 1}
		out = append(out, s)
		if len(d.Sent) > 0 {
			clear(open)
		} else {
			open[alike] = s
		}
	}
	return out
}

func printHosts(out io.Writer, hosts []engine.HostStatus) {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tSTATE\tSINCE\tTOOK\tREASON")
	for _, h := range hosts {
		text := h.State
		if h.Disabled {
			text += " (disabled" + by(h.DisabledBy) + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", h.Name, text, ago(h.Since), took(h), h.Reason)
	}
	_ = table.Flush() // a terminal that is gone needs no table
}

// took is what the last run of a host took: in all if it answered, and by phase.
func took(h engine.HostStatus) string {
	var parts []string
	if h.Took > 0 {
		parts = append(parts, time.Duration(h.Took*float64(time.Second)).Round(10*time.Microsecond).String())
	}
	if h.Timings != nil {
		parts = append(parts, h.Timings.String())
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ": ")
}

func decision(d engine.DecisionStatus) string {
	text := d.Kind + " not sent (" + d.Code + ")"
	if len(d.Sent) > 0 {
		text = d.Kind + " sent to " + strings.Join(d.Sent, ", ")
	}
	if len(d.Hosts) > 0 {
		text += " for " + strings.Join(d.Hosts, " ")
	}
	return text + ": " + d.Reason
}

// ago is how long ago something was, to the second.
func ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return time.Since(*t).Truncate(time.Second).String()
}

func newReload() *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make the running daemon read its configuration again",
		Long: `Make the running daemon read its configuration again, all or nothing, and say what
is wrong with it if it stays with the old one. SIGHUP does the same, silently.`,
		Args: cobra.NoArgs,
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		defer cancel()
		if err := control.NewClient(*socket).Reload(ctx); err != nil {
			return fmt.Errorf("not reloaded, the old configuration stays in force:\n%w", err)
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), "reloaded")
		return err
	}
	return c
}
