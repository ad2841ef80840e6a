package habench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Result is all repetitions of one fault with one contender.
type Result struct {
	Contender string
	// Own: it is monitord, whose figures must be met.
	Own     bool
	Fault   string
	Must    time.Duration
	Undone  string // what undoing the fault is called; "" if it was not undone
	Samples []Sample
}

// String is a cell of the table: the median in milliseconds, what it lies between, the
// same since the fault was undone, and how long all repetitions together had two owners.
func (r Result) String() string {
	if len(r.Samples) == 0 {
		return "-"
	}
	text := r.outage().String()
	if r.Undone != "" {
		text += fmt.Sprintf("; %s at %s", r.after(), r.Undone)
	}
	return text + "; dual " + r.duals()
}

func (r Result) outage() spread {
	return spreadOf(r.Samples, func(s Sample) (time.Duration, bool) { return s.Outage.Lasted, s.Outage.Ongoing })
}

func (r Result) after() spread {
	return spreadOf(r.Samples, func(s Sample) (time.Duration, bool) { return s.After.Lasted, s.After.Ongoing })
}

// duals is the median, unless there never was one; how often it had not ended.
func (r Result) duals() string {
	d := spreadOf(r.Samples, func(s Sample) (time.Duration, bool) { return s.dual(), strings.Contains(s.Owner, "+") })
	if d.high == 0 {
		return "0"
	}
	return d.String() + " ms"
}

// A spread is the median of durations, and what they lie between.
type spread struct {
	low, median, high time.Duration
	ongoing           int // so many of them had not ended
}

func spreadOf(samples []Sample, figure func(Sample) (time.Duration, bool)) (s spread) {
	var all []time.Duration
	for _, sample := range samples {
		d, ongoing := figure(sample)
		all = append(all, d)
		if ongoing {
			s.ongoing++
		}
	}
	slices.Sort(all)
	s.low, s.high = all[0], all[len(all)-1]
	s.median = (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	return s
}

func (s spread) String() string {
	text := milliseconds(s.median)
	if s.low != s.high {
		text += fmt.Sprintf(" [%s-%s]", milliseconds(s.low), milliseconds(s.high))
	}
	if s.ongoing > 0 {
		text += fmt.Sprintf(" (%d without end)", s.ongoing)
	}
	return text
}

// milliseconds shows that something is more than nothing.
func milliseconds(d time.Duration) string {
	if d > 0 && d < time.Millisecond/2 {
		return "<1"
	}
	return fmt.Sprint(d.Round(time.Millisecond).Milliseconds())
}

// Verdict is what was not as it must be: an instant with two owners, or a median beyond
// the figure.
func (r Result) Verdict() error {
	if !r.Own {
		return nil
	}
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%s, %s: %w", r.Contender, r.Fault, fmt.Errorf(format, args...)))
	}
	for i, s := range r.Samples {
		if !s.Dual.None() {
			bad("repetition %d had two owners: %+v", i+1, s.Dual)
		}
	}
	if len(r.Samples) == 0 {
		bad("nothing was measured")
		return errors.Join(wrong...)
	}
	if o := r.outage(); o.median > r.Must {
		bad("outage %s ms, want at most %s", o, milliseconds(r.Must))
	}
	if a := r.after(); r.Undone != "" && a.median > 0 {
		bad("outage at %s %s ms, want none", r.Undone, a)
	}
	return errors.Join(wrong...)
}

// WriteTable prints results as Markdown: a line for each fault, a column for each
// contender, in the order in which they come.
func WriteTable(out io.Writer, results []Result) {
	var faults, contenders []string
	for _, r := range results {
		if !slices.Contains(faults, r.Fault) {
			faults = append(faults, r.Fault)
		}
		if !slices.Contains(contenders, r.Contender) {
			contenders = append(contenders, r.Contender)
		}
	}
	fmt.Fprintf(out, "| fault | %s | monitord must |\n|---%s|---|\n", strings.Join(contenders, " | "), strings.Repeat("|---", len(contenders)))
	for _, f := range faults {
		var cells []string
		var must string
		for _, c := range contenders {
			r := Result{}
			if i := slices.IndexFunc(results, func(r Result) bool { return r.Fault == f && r.Contender == c }); i >= 0 {
				r = results[i]
			}
			if r.Own {
				must = r.must()
			}
			cells = append(cells, r.String())
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", f, strings.Join(cells, " | "), must)
	}
	fmt.Fprintln(out, "\nOutage as the client sees it, in ms: median [least-most]. Dual: both kernels have the address.")
}

func (r Result) must() string {
	text := "<= " + milliseconds(r.Must)
	if r.Must == 0 {
		text = "0"
	}
	if r.Undone != "" {
		text += "; 0 at " + r.Undone
	}
	return text + "; dual 0"
}

// Verdict is the verdict about all of them.
func Verdict(results []Result) error {
	var wrong []error
	for _, r := range results {
		wrong = append(wrong, r.Verdict())
	}
	return errors.Join(wrong...)
}
