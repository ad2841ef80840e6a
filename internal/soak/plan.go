package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// A kind of fault.
type kind struct {
	name string
	// begin and end are lines of the lab; NODE and WEB stand for one of them. Without an
	// end it is over at once.
	begin, end string
	// touches is what no two faults at a time may touch.
	touches []string
	// moves: happening to the owner, or to nobody in particular, it costs up to the
	// machine's bound for failure. Others cost nothing.
	moves   bool
	failure director.Failure
	// dies: it ends a process.
	dies bool
	// near: a client behind the gateway misses more. unbounded: any client does.
	near, unbounded bool
}

// kinds are all, in the order of the table.
func kinds() []kind {
	process, cable, port := []string{"process NODE"}, []string{"cable NODE"}, []string{"switch"}
	return []kind{
		{name: "kill9, start", begin: "kill9 NODE", end: "start NODE", touches: process, moves: true, failure: director.DaemonKilled, dies: true},
		{name: "freeze, resume", begin: "freeze NODE", end: "resume NODE", touches: process, moves: true, failure: director.Frozen},
		{name: "pull, plug", begin: "pull NODE", end: "plug NODE", touches: cable, moves: true, failure: director.HostDead},
		{name: "cut, heal", begin: "cut NODE", end: "heal", touches: port, moves: true, failure: director.CutOff},
		{name: "mute, heal", begin: "mute NODE", end: "heal", touches: port, moves: true, failure: director.OneWay},
		{name: "deafen, heal", begin: "deafen NODE", end: "heal", touches: port, moves: true, failure: director.CutOff},
		{name: "partition, heal", begin: "partition dr1 dr2", end: "heal", touches: port},
		{name: "gateway down, up", begin: "gateway down", end: "gateway up", touches: []string{"gateway"}, near: true},
		{name: "stop, start", begin: "stop NODE", end: "start NODE", touches: process, moves: true, failure: director.Planned, dies: true},
		{name: "restart", begin: "restart NODE", touches: process, dies: true},
		{name: "reload", begin: "reload NODE", touches: process},
		{name: "switchover", begin: "switchover", touches: []string{"process dr1", "process dr2"}, moves: true, failure: director.Planned},
		{name: "remove-address", begin: "remove-address NODE", touches: []string{"address"}, moves: true, failure: director.Planned},
		{name: "fail, return of a web server", begin: "fail WEB", end: "return WEB", touches: []string{"web"}},
		{name: "foreign on, off", begin: "foreign on", end: "foreign off", touches: []string{"address"}, unbounded: true},
	}
}

// A fault is a kind of them at a certain place.
type fault struct {
	kind
	node string // a director; "" if it is none's
}

// A step is a line of the lab, after a pause.
type step struct {
	pause time.Duration
	line  string
	heals bool // it ends a fault
}

// An episode is one fault, or several on top of each other, from the first until all are
// over.
type episode struct {
	faults []fault
	steps  []step
	// settle is how long it is waited after all is well again.
	settle time.Duration
}

func (e episode) single() bool { return len(e.faults) == 1 }

func (e episode) String() string {
	var lines []string
	for _, s := range e.steps {
		lines = append(lines, s.line)
	}
	return strings.Join(lines, ", ")
}

// lasts is how long it is planned to take.
func (e episode) lasts() time.Duration {
	all := e.settle
	for _, s := range e.steps {
		all += s.pause
	}
	return all
}

// A planner makes the same episodes of the same seed.
type planner struct {
	rand *rand.Rand
	// bag are the kinds that have not come yet, so that each comes as often as others.
	bag []kind
}

func newPlanner(seed uint64) *planner { return &planner{rand: rand.New(rand.NewPCG(seed, 0))} }

// compounds is the share of episodes with faults on top of faults.
const compounds = 0.25

// next plans an episode. With survive no process ends in it.
func (p *planner) next(survive bool) episode {
	e := episode{settle: p.between(1500*time.Millisecond, 3*time.Second)}
	wanted := 1
	if p.rand.Float64() < compounds {
		wanted = 2 + p.rand.IntN(2)
	}
	touched := map[string]bool{}
	for len(e.faults) < wanted {
		f := p.fault(survive)
		if touch(touched, f) {
			e.faults = append(e.faults, f)
		}
	}
	p.schedule(&e)
	return e
}

// touch reports whether a fault goes with those before.
func touch(touched map[string]bool, f fault) bool {
	for _, what := range f.touches {
		if touched[what] {
			return false
		}
	}
	for _, what := range f.touches {
		touched[what] = true
	}
	return true
}

// fault takes a kind from the bag, and a place.
func (p *planner) fault(survive bool) fault {
	for {
		if len(p.bag) == 0 {
			p.bag = kinds()
			p.rand.Shuffle(len(p.bag), func(i, j int) { p.bag[i], p.bag[j] = p.bag[j], p.bag[i] })
		}
		k := p.bag[0]
		p.bag = p.bag[1:]
		if !survive || !k.dies {
			return p.place(k)
		}
	}
}

func (p *planner) place(k kind) fault {
	f := fault{kind: k}
	node := fmt.Sprintf("dr%d", 1+p.rand.IntN(2))
	if strings.Contains(k.begin, "NODE") {
		f.node = node
	}
	put := strings.NewReplacer("NODE", node, "WEB", fmt.Sprintf("web%d", 1+p.rand.IntN(3)))
	f.begin, f.end, f.touches = put.Replace(k.begin), put.Replace(k.end), slices.Clone(k.touches)
	for i := range f.touches {
		f.touches[i] = put.Replace(f.touches[i])
	}
	return f
}

// schedule has one fault after another begin, and end in any order.
func (p *planner) schedule(e *episode) {
	var ends []string
	for i, f := range e.faults {
		s := step{line: f.begin}
		if i > 0 {
			s.pause = p.between(0, 1500*time.Millisecond)
		}
		e.steps = append(e.steps, s)
		if f.end != "" {
			ends = append(ends, f.end)
		}
	}
	p.rand.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
	for i, line := range ends {
		s := step{line: line, pause: p.between(0, time.Second), heals: true}
		if i == 0 {
			s.pause = p.hold()
		}
		e.steps = append(e.steps, s)
	}
}

// long is how long a fault lasts at least whose effects are over before it is.
const long = 2500 * time.Millisecond

// hold is how long a fault lasts: mostly until all has come of it, often not.
func (p *planner) hold() time.Duration {
	if p.rand.IntN(3) == 0 {
		return p.between(30*time.Millisecond, 1300*time.Millisecond)
	}
	return p.between(long, 4*time.Second)
}

func (p *planner) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(p.rand.Int64N(int64(most-least)))).Round(time.Millisecond)
}
