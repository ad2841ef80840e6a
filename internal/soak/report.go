package soak

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// severalFaults is the row of the faults on top of faults.
const severalFaults = "several, on top of each other"

// row is that of a fault, made if there is none yet.
func (s *Summary) row(kind string, owner bool, bound time.Duration) *Row {
	i := slices.IndexFunc(s.Rows, func(r Row) bool { return r.Kind == kind && r.Owner == owner })
	if i < 0 {
		i = len(s.Rows)
		s.Rows = append(s.Rows, Row{Kind: kind, Owner: owner, Bound: bound})
	}
	return &s.Rows[i]
}

// sort brings the rows into the order of the kinds.
func (s *Summary) sort() {
	order := map[string]int{}
	for i, k := range kinds() {
		order[k.name] = 2 * i
	}
	place := func(r Row) int {
		n, known := order[r.Kind]
		switch {
		case !known:
			return 2 * len(order)
		case r.Owner:
			return n
		}
		return n + 1
	}
	slices.SortStableFunc(s.Rows, func(a, b Row) int { return place(a) - place(b) })
}

// Write prints all of it but the script.
func (s *Summary) Write(out io.Writer) error {
	fmt.Fprintf(out, "seed %d, %s: %d single faults, %d times faults on top of faults\n\n", s.Seed, s.Lasted.Round(time.Second), s.Single, s.Compound)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "fault\tof\ttimes\toutage\tmost\tbound\thttp\tmost\t")
	for _, r := range s.Rows {
		of, bound := "others", ms(r.Bound)
		if r.Owner {
			of = "the owner"
		}
		if r.Bound < 0 {
			bound = "-"
		}
		if r.Kind == severalFaults {
			of = "any"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t\n", r.Kind, of, len(r.Outages),
			ms(middle(r.Outages)), ms(most(r.Outages)), bound, ms(middle(r.HTTP)), ms(most(r.HTTP)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n(milliseconds: medians, and the most)\ntwo owners: %s ms after single faults; %s ms after faults on top of faults, at most %s ms at a time\n",
		ms(s.Dual), ms(s.DualCompound), ms(s.Longest))
	fmt.Fprintf(out, "all well again after the end of the last fault: %s ms at most after a single one, %s ms after several\n", ms(s.Healed), ms(s.HealedCompound))
	fmt.Fprintf(out, "moves that nothing called for: %d; longest stall of the machine: %s ms\n", s.Unprovoked, ms(s.Stalled))
	if len(s.Growth) == 0 {
		fmt.Fprintln(out, "growth: no process lived long enough for a slope")
	}
	for _, g := range s.Growth {
		fmt.Fprintln(out, "growth:", g)
	}
	return nil
}

func ms(d time.Duration) string {
	if d > 0 && d < time.Millisecond {
		return "<1"
	}
	return fmt.Sprint(d.Round(time.Millisecond).Milliseconds())
}

func most(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return slices.Max(all)
}
