package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Options say how a schedule is run.
type Options struct {
	// Make starts machines; nil: [Director].
	Make Maker
	// Without removes guards from all machines, NoRelay the relay that they think they have.
	Without director.Guard
	NoRelay bool
	// Any is in what the executors take one address of several for all.
	Any Any
	// Trace gets the story, with Verbose each event and action as well.
	Trace   io.Writer
	Verbose bool
	// Check makes each step twice (rule 8), by Step; nil: director.Step.
	Check bool
	Step  Stepper
}

// A Violation is a broken rule.
type Violation struct {
	At   Time
	Rule string
	Text string
}

func (v *Violation) Error() string { return fmt.Sprintf("%v: %s: %s", v.At, v.Rule, v.Text) }

// A Result is what came of a run.
type Result struct {
	Violation *Violation
	Steps     int
	// Overlaps were seen, of these Excepted in the documented case.
	Overlaps, Excepted int
	Longest            Time // overlap
	// Outages are the longest ones, by the kind of the fault that was on.
	Outages map[Kind]Time
}

// A World is one run of a schedule.
type World struct {
	Schedule
	setup   Setup
	options Options
	rng     *rand.Rand
	now     Time
	queue   queue
	steps   int

	nodes    []*node
	net      network
	links    []string
	carrier  [devices][]bool  // as the drivers tell
	believes [clients][][]int // by group and address
	active   []*happening
	rules    rules
	broken   *Violation

	timings director.Timings
	begun   []Fault
	last    *happening // the last that began
	ahead   int        // faults that are still to come, or not over
	restAt  Time
	resting bool
	done    bool
}

// A happening is a fault that began; whom it is about is known now.
type happening struct {
	Fault
	node, other int
	process     int
	over, froze bool
	bits        uint // the addresses that a Stranger has
	turn        int  // which device a Flap has unplugged
	wide        bool // what an Unplug did concerns more than the device's groups
	unheard     bool // and heartbeats
}

// Run plays a schedule to its end, or to the first broken rule.
func Run(s Schedule, o Options) Result {
	w := newWorld(s, o)
	w.ahead = len(s.Faults)
	if !s.Setup.Single {
		for _, f := range s.Faults {
			w.queue.push(f.At, func() { w.begin(f) })
		}
	}
	w.after(checkEvery, w.check)
	for !w.done && w.broken == nil {
		e := w.queue.pop()
		w.now = e.at
		e.do()
	}
	w.rules.result.Violation, w.rules.result.Steps = w.broken, w.steps
	if w.broken != nil {
		w.log("BROKEN %s", w.broken.Error())
	}
	return w.rules.result
}

func newWorld(s Schedule, o Options) *World {
	w := &World{Schedule: s, setup: s.Setup, options: o, rng: rand.New(rand.NewPCG(s.Seed, 2)), net: newNetwork(s.Setup)}
	if w.options.Make == nil {
		w.options.Make = Director
	}
	if o.Check {
		step := o.Step
		if step == nil {
			step = director.Step
		}
		w.options.Make = Twice(step, func(text string) { w.breaks("8 same events, same actions", "%s", text) })
	}
	w.links = []string{lan}
	if s.Setup.Relay {
		w.links = append(w.links, relay)
	}
	if s.Setup.Back {
		w.links = append(w.links, back)
	}
	for d := range w.carrier {
		w.carrier[d] = slices.Repeat([]bool{true}, s.Setup.voters())
	}
	for i := range w.believes {
		for k := range s.Setup.Groups {
			w.believes[i] = append(w.believes[i], slices.Repeat([]int{nobody}, s.Setup.addresses(k)))
		}
	}
	w.rules, w.timings = newRules(s.Setup), s.Setup.Timings()
	for i := range s.Setup.voters() {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	for i, n := range w.nodes {
		at := Time(w.rng.IntN(60)) * ms
		if i == s.Setup.Directors-1 {
			at += s.Setup.LateBoot
		}
		w.after(at, func() { w.touch(n); n.boot() })
	}
	return w
}

func (w *World) after(d Time, do func()) { w.queue.push(w.now+max(d, 0), do) }

// quiet tells whether the faults and their noise are over.
func (w *World) quiet() bool { return w.ahead == 0 }

func (w *World) log(format string, args ...any) {
	if w.options.Trace != nil {
		fmt.Fprintf(w.options.Trace, "%12.6f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *World) breaks(rule, format string, args ...any) {
	if w.broken == nil {
		w.broken = &Violation{At: w.now, Rule: rule, Text: fmt.Sprintf(format, args...)}
	}
}

func (w *World) group(name string) int {
	return slices.IndexFunc(w.nodes[0].config.Groups, func(g director.Group) bool { return g.Name == name })
}

// is tells whether a fault of a kind is on at a node.
func (w *World) is(k Kind, node int) bool {
	return slices.ContainsFunc(w.active, func(h *happening) bool { return h.Kind == k && h.node == node })
}

func (w *World) amount(k Kind, node int) Time {
	for _, h := range w.active {
		if h.Kind == k && h.node == node {
			return Time(h.Arg) * ms
		}
	}
	return 0
}
