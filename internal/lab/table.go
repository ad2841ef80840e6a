package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable prints results in milliseconds.
func WriteTable(out io.Writer, rows []Row) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	near := false
	for _, r := range rows {
		near = near || r.Near.Asked > 0
	}
	fmt.Fprint(table, "after\tfault\toutage ms\t")
	if near {
		fmt.Fprint(table, "near ms\t")
	}
	fmt.Fprint(table, "http ms\ttwo owners ms\tby ARP\towner\t\n")
	for _, r := range rows {
		fmt.Fprintf(table, "%.1fs\t%s\t%s\t", (r.From - rows[0].From).Seconds(), r.Fault, r.Client)
		if near {
			fmt.Fprintf(table, "%s\t", r.Near)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t\n", r.HTTP, milliseconds(max(r.Dual.Kernels, r.Dual.Sampled)), r.Dual.Answered, orNone(r.Owner))
	}
	return table.Flush()
}

// String is the outage's length in milliseconds, with a "+" if it goes on.
func (o Outage) String() string {
	switch {
	case o.Asked == 0:
		return "-"
	case o.Ongoing:
		return milliseconds(o.Lasted) + "+"
	}
	return milliseconds(o.Lasted)
}

// milliseconds shows that something is more than nothing.
func milliseconds(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return "<1"
	}
	return fmt.Sprint(d.Round(time.Millisecond).Milliseconds())
}

func orNone(names string) string {
	if names == "" {
		return "none"
	}
	return names
}

// String is a line of the timeline, without its time.
func (e Event) String() string { return strings.TrimSpace(e.Node + " " + e.What) }
