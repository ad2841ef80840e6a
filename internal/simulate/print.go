package simulate

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the report for people: what happened in the order of time, in which
// the same silence again and again is one row.
func (r *Report) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s to %s, %s, %s\n\n", r.From.Format(dated+" MST"), r.To.Format(dated+" MST"),
		count(r.Watches, "watch", "watches"), count(r.Checks, "check", "checks"))
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	day := r.From.Format(time.DateOnly)
	for _, row := range r.rows() {
		if date := row.at.Format(time.DateOnly); date != day {
			day = date
			fmt.Fprintln(table, row.at.Format("Mon 2006-01-02"))
		}
		fmt.Fprintln(table, row.text())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "\nnote: %s", n)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "\n%s would be sent, %s; %s not to send one\n",
		count(r.Sent(), "alert", "alerts"), count(r.Moves(), "change of a pool", "changes of pools"), count(r.Withheld(), "decision", "decisions"))
	return err
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// A row is one event, or several alike.
type row struct {
	at          time.Time
	watch, what string
	detail      string
	// times counts silences of one reason; last is when the last one was, and why.
	times   int
	last    time.Time
	because string
	reason  string
}

func (r *row) text() string {
	text := r.detail
	if r.times > 1 {
		text += fmt.Sprintf("; %d times until %s", r.times, r.last.Format(clock))
		if r.because != r.reason {
			text += ", then: " + r.because
		}
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s", r.at.Format(clock), cmp.Or(r.watch, "-"), r.what, text)
}

// rows makes one row of silences of the same kind, until something is heard of their
// watch; and one of the servers that join the same pool at the same time.
func (r *Report) rows() []*row {
	var rows []*row
	quiet := map[string]*row{} // by what is the same
	for i := range r.Events {
		e := &r.Events[i]
		if e.Line > 0 {
			clear(quiet)
		}
		key := strings.Join(append([]string{e.Watch, e.Kind, e.Period, e.Code}, e.Hosts...), "\x00")
		if open := quiet[key]; e.Code != "" && open != nil {
			open.times++
			open.last, open.because = e.At, e.Reason
			continue
		}
		row := e.row()
		if before := last(rows); e.Pool != "" && before != nil && before.watch == row.watch && before.at.Equal(row.at) && before.what == row.what && before.reason == row.reason {
			before.detail = e.pool(before.detail)
			continue
		}
		if e.Code != "" {
			quiet[key] = row
		}
		if e.Sent != "" { // what was held back before counts anew
			for k := range quiet {
				if strings.HasPrefix(k, e.Watch+"\x00") {
					delete(quiet, k)
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func last(rows []*row) *row {
	if len(rows) == 0 {
		return nil
	}
	return rows[len(rows)-1]
}

func (e *Event) row() *row {
	out := &row{at: e.At, watch: e.Watch, times: 1, last: e.At, reason: e.Reason, because: e.Reason}
	switch {
	case e.Line > 0:
		out.watch, out.what, out.detail = "", fmt.Sprintf("line %d", e.Line), e.Said
		if e.Reason != "" {
			out.detail += "  (has no effect: " + e.Reason + ")"
		}
	case e.Pool != "":
		out.what, out.reason = "pool "+e.Pool, string(e.Change)+e.Reason
		out.detail = e.pool("")
	case e.Sent != "":
		out.what = "SENT"
		out.detail = e.about() + " to " + e.Sent + ": " + e.Reason
	default:
		out.what = "not sent"
		out.detail = e.about() + ": " + e.Reason + " (" + e.Code + ")"
	}
	return out
}

// pool says who moves, behind others who do the same.
func (e *Event) pool(before string) string {
	one, many := " "+string(e.Change)+": "+e.Reason, " "+plural[e.Change]+": "+e.Reason
	for _, tail := range []string{one, many} {
		if who, alike := strings.CutSuffix(before, tail); alike {
			return who + ", " + e.Hosts[0] + many
		}
	}
	return e.Hosts[0] + one
}

var plural = map[Change]string{Joins: "join", Leaves: "leave", Kept: "are down and stay", Returns: "are up again", Sorry: "serve as sorry servers", NotSorry: "serve no longer"}

// about is the kind of alert, its period and its hosts.
func (e *Event) about() string {
	text := e.Kind
	if e.Period != "" {
		text += " of period \"" + e.Period + "\""
	}
	const most = 8
	hosts := e.Hosts
	if extra := len(hosts) - most; extra > 0 {
		hosts = append(slices.Clone(hosts[:most]), fmt.Sprintf("and %d more", extra))
	}
	if len(hosts) > 0 {
		text += " for " + strings.Join(hosts, " ")
	}
	return text
}
