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

// A Difference is what another configuration makes of the same results: an alert, or
// a change of a pool, that only one of them has, or that comes at another time.
type Difference struct {
	// Before is nil if only the other configuration has it, After if only the first.
	Before *Event `json:"before,omitempty"`
	After  *Event `json:"after,omitempty"`
}

func (d Difference) at() time.Time {
	if d.Before != nil {
		return d.Before.At
	}
	return d.After.At
}

// Diff compares two rehearsals of the same results. What is the same in both - the
// watch, the kind, the hosts, and who is told - is matched in the order of time; of
// what is matched only another time, to the second, is a difference.
func Diff(before, after *Report) []Difference {
	same := map[string][]*Event{}
	for i := range after.Events {
		if e := &after.Events[i]; e.visible() {
			same[e.identity()] = append(same[e.identity()], e)
		}
	}
	var out []Difference
	for i := range before.Events {
		e := &before.Events[i]
		if !e.visible() {
			continue
		}
		id := e.identity()
		if len(same[id]) == 0 {
			out = append(out, Difference{Before: e})
			continue
		}
		match := same[id][0]
		same[id] = same[id][1:]
		if !e.At.Truncate(time.Second).Equal(match.At.Truncate(time.Second)) {
			out = append(out, Difference{e, match})
		}
	}
	for _, left := range same {
		for _, e := range left {
			out = append(out, Difference{After: e})
		}
	}
	slices.SortStableFunc(out, func(a, b Difference) int {
		return cmp.Or(a.at().Compare(b.at()), cmp.Compare(a.text(), b.text()))
	})
	return out
}

// visible reports whether anybody notices.
func (e *Event) visible() bool { return e.Sent != "" || e.Pool != "" }

func (e *Event) identity() string {
	return strings.Join(append([]string{e.Watch, e.Kind, e.Sent, e.Pool, string(e.Change)}, slices.Sorted(slices.Values(e.Hosts))...), "\x00")
}

// Compared is two rehearsals of the same results, and how they differ.
type Compared struct {
	Before      *Report      `json:"before"`
	After       *Report      `json:"after"`
	Differences []Difference `json:"differences"`
}

// Compare makes it.
func Compare(before, after *Report) Compared {
	out := Diff(before, after)
	if out == nil {
		out = []Difference{}
	}
	return Compared{before, after, out}
}

// Print writes the differences for people: "-" is what only the first configuration
// does, "+" what only the other does, "~" what comes at another time.
func (c Compared) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s to %s\n- %s\n+ %s\n\n", c.Before.From.Format(dated+" MST"), c.Before.To.Format(dated+" MST"), c.Before.Config, c.After.Config)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	day := c.Before.From.Format(time.DateOnly)
	for _, d := range c.Differences {
		if date := d.at().Format(time.DateOnly); date != day {
			day = date
			fmt.Fprintln(table, d.at().Format("  Mon 2006-01-02"))
		}
		fmt.Fprintln(table, d.text())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(c.Differences) > 0 {
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "%s before, %s after; %s\n", count(c.Before.Sent(), "alert", "alerts"), count(c.After.Sent(), "alert", "alerts"),
		count(len(c.Differences), "difference", "differences"))
	return err
}

func (d Difference) text() string {
	sign, e := "-", d.Before
	switch {
	case d.Before == nil:
		sign, e = "+", d.After
	case d.After != nil:
		sign = "~"
	}
	r := e.row()
	text := fmt.Sprintf("%s %s\t%s\t%s\t%s", sign, e.At.Format(clock), e.Watch, r.what, r.detail)
	if d.Before != nil && d.After != nil {
		text += "; now at " + d.After.At.Format(clock) + ", " + apart(d.After.At.Truncate(time.Second).Sub(d.Before.At.Truncate(time.Second)))
	}
	return text
}

func apart(by time.Duration) string {
	if by < 0 {
		return (-by).String() + " earlier"
	}
	return by.String() + " later"
}
