package mon

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A writer writes mon.cf files that mon takes and that mean the same here: of all
// keywords, in the forms that they have.
type writer struct {
	*rand.Rand
	strings.Builder
}

func (w *writer) pick(choices ...string) string { return choices[w.IntN(len(choices))] }

func (w *writer) line(format string, args ...any) {
	if w.IntN(12) == 0 {
		w.WriteString("# a comment, \"quoted\" \\ and ${unset}\n")
	}
	fmt.Fprintf(w, strings.Repeat(" ", w.IntN(8))+format+w.pick("", " ", "\t")+"\n", args...)
}

// maybe writes a line as often as not.
func (w *writer) maybe(format string, args ...any) {
	if w.IntN(2) == 0 {
		w.line(format, args...)
	}
}

func (w *writer) span() string { return w.pick("1s", "90s", "5m", "1.5h", "2H", "1d", "0.5d") }

func (w *writer) args() string {
	return w.pick("", " -p 80", ` "two words" 'it''s'`, ` a\ b "c\"d" $HOME ${HOME}`, " -x=1 ü", ` "unbalanced`, " ''", " \\\n   joined -q")
}

func (w *writer) groups(n int) {
	w.maybe("dep_behavior = %s", w.pick("a", "m", "hm"))
	w.maybe("dep_memory = %s", w.span())
	w.maybe("unack_summary = %s", w.pick("yes", "no", "1", "0"))
	for i := range n {
		if w.IntN(4) == 0 {
			continue // an implicit group
		}
		w.line("hostgroup g%d h%d.example.org 192.0.2.%d %s", i, i, i+1, w.pick("", "x-1", "fd00::1"))
		w.maybe("more%d", i)
		w.WriteString("\n")
	}
}

func (w *writer) watch(i, n int) {
	w.line("watch g%d", i)
	for j := range 1 + w.IntN(2) {
		w.line("service s%d", j)
		w.service(n)
		for k := range w.IntN(4) {
			w.period(k)
		}
	}
	w.WriteString("\n")
	if w.IntN(6) == 0 {
		w.line("dep_behavior = %s\n", w.pick("a", "m", "hm"))
	}
	if w.IntN(6) == 0 {
		w.line("unack_summary = %s\n", w.pick("y", "n"))
	}
}

func (w *writer) service(n int) {
	w.line("interval %s", w.pick("10s", "1m", "2M", "0.5h"))
	w.maybe("failure_interval %s", w.span())
	w.maybe("randskew %s", w.pick("1s", "90s", "5m"))
	w.maybe("description %s", w.pick("plain", `with "quotes" and \`+"x", "ünïcode", "${HOME} $${x}"))
	w.line("monitor m%d.monitor%s%s", w.IntN(3), w.pick("", " -p 80", ` "two words"`), w.pick("", "", ";;", " ;;"))
	w.maybe("allow_empty_group")
	w.maybe("exclude_hosts 192.0.2.%d none", 1+w.IntN(3))
	w.maybe("exclude_period hr {%d-%d}", w.IntN(24), w.IntN(24))
	expression := w.pick("SELF:s0", fmt.Sprintf("g%d:s0 && !g0:s1", w.IntN(n)), "g0:s0 || (g1:s0 and not nosuch:x)", "broken &&", "g0:s0 g1:s0")
	w.maybe("%s %s", w.pick("depend", "alertdepend", "monitordepend", "hostdepend"), expression)
	w.maybe("dep_behavior %s", w.pick("a", "m", "hm"))
	w.maybe("dep_memory %s", w.span())
	w.maybe("unack_summary %s", w.pick("y", "no", "0"))
	w.maybe("traptimeout %s", w.span())
	w.maybe("trapduration %s", w.span())
	w.maybe("FOO=%s", w.pick("bar", ` "kept" `, "${HOME}"))
	w.maybe("redistribute %s", w.pick("r.alert", "nosuch.alert"))
}

func (w *writer) period(k int) {
	label := fmt.Sprintf("P%d: ", k)
	if k == 0 { // the others need a name of their own
		label = w.pick("", label)
	}
	w.line("period %s%s", label, w.pick("", "none", "wd {Mon-Fri} hr {7am-9pm}", "wd {Sat}, md {1-3}", fmt.Sprintf("hr {%d}", k)))
	for range w.IntN(4) {
		exit := w.pick("", "", "exit=2 ", "exit=1-3 ", "EXIT=0-255 ")
		w.line("%s %s%s%s", w.pick("alert", "upalert", "startupalert", "ackalert", "disablealert"), exit, w.pick("a.alert", "b.alert", "nosuch.alert"), w.args())
	}
	w.maybe("alertafter %s", w.pick("3", "30m", "2 20h", "1 5m", "0", fmt.Sprintf("%d 10h", 1+w.IntN(50))))
	w.maybe("alertafter %s", w.pick("4", "2h"))
	w.maybe("alertevery %s%s", w.span(), w.pick("", " strict", " observe_detail", " ignore_summary", " summary", "\tSTRICT"))
	w.maybe("numalerts %d", w.IntN(20))
	w.maybe("upalertafter %s", w.span())
	w.maybe("no_comp_alerts")
	w.maybe("alerts_dont_count")
	w.maybe("alertexitrange %s", w.pick("1", "2-5", "0-255"))
}

// TestSameMachines: importing random files and loading the result gives the watches
// that the traces of mon are replayed with.
func TestSameMachines(t *testing.T) {
	taken := 0
	for seed := range uint64(150) {
		w := &writer{Rand: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // reproducible
		w.line("alertdir = @ALERTDIR@")
		w.line("mondir = @MONDIR@")
		w.WriteString("\n")
		const n = 4
		w.groups(n)
		for i := range n {
			w.watch(i, n)
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			if sameMachines(t, w.String()) {
				taken++
			}
			if t.Failed() {
				t.Log(w.String())
			}
		})
	}
	if taken < 100 {
		t.Errorf("mon takes %d of the files only", taken)
	}
}
