package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// Options say how a schedule is run.
type Options struct {
	// Make starts machines; nil: [Director].
	Make Maker
	// Without removes guards from all machines, NoRelay the relay that they think they have.
	Without director.Guard
	NoRelay bool
	// Trace gets the story, with Verbose each event and action as well.
	Trace   io.Writer
	Verbose bool
	// Check makes each step twice (rule 8).
	Check bool
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
	carrier  []bool
	believes [clients][]int
	active   []*happening
	rules    rules
	broken   *Violation

	timings director.Timings
	begun   []Fault
	ahead   int // faults that are still to come, or not over
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
		w.options.Make = Twice(func(text string) { w.breaks("8 same events, same actions", "%s", text) })
	}
	w.links = []string{lan}
	if s.Setup.Relay {
		w.links = append(w.links, relay)
	}
	if s.Setup.Back {
		w.links = append(w.links, back)
	}
	w.carrier = slices.Repeat([]bool{true}, s.Setup.voters())
	for i := range w.believes {
		w.believes[i] = slices.Repeat([]int{nobody}, len(s.Setup.Groups))
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

// pick decides whom a fault is about.
func (w *World) pick(f Fault) (int, int) {
	owner := 0
	for i, n := range w.nodes[:w.setup.Directors] {
		if n.answers(0) {
			owner = i
		}
	}
	a, b := f.Node, f.Other
	switch a {
	case Owner:
		a = owner
	case Another:
		a = (owner + 1) % w.setup.Directors
	}
	a %= len(w.nodes)
	if b < 0 {
		b = (a + 1) % w.setup.Directors
	}
	if b %= len(w.nodes); b == a {
		b = (a + 1) % len(w.nodes)
	}
	return a, b
}

// begin a fault.
func (w *World) begin(f Fault) {
	h := &happening{Fault: f}
	h.node, h.other = w.pick(f)
	w.rules.begun = w.now
	w.begun = append(w.begun, f)
	n := w.nodes[h.node]
	h.process = n.process
	w.log("FAULT %s at %s, %s, arg %d, for %v", f.Kind, n.name, w.nodes[h.other].name, f.Arg, f.For)
	w.active = append(w.active, h)
	w.changed(h)
	w.strike(h, n)
	w.after(f.For, func() {
		w.log("OVER %s at %s, %s", f.Kind, n.name, w.nodes[h.other].name)
		w.active = slices.DeleteFunc(w.active, func(x *happening) bool { return x == h })
		h.over = true
		w.ahead--
		w.changed(h)
		w.heal(h, n)
	})
}

// changed makes the network what the faults of the moment leave of it.
func (w *World) changed(h *happening) {
	w.net.clear()
	for _, a := range w.active {
		w.net.apply(a)
		// Where the directors hear each other in spite of the cut, nothing tells
		// them of clients behind it: the periodic announcement has to do.
		if a.Kind == Partition && (w.setup.Single || !w.bypassed()) {
			w.net.cutClients(a.node, a.other)
		}
	}
	w.affects(h)
}

// strike does what a fault does to a node.
func (w *World) strike(h *happening, n *node) {
	group := groupName(h.Arg % len(w.setup.Groups))
	switch h.Kind {
	case Kill:
		if n.crash = h.Arg/crashBetween - 1; n.crash < 0 {
			n.die()
		}
	case Power, Sworn:
		n.off()
		if h.Kind == Sworn {
			w.after(400*ms, func() { w.swear(n, w.nodes[h.other]) })
		}
	case Freeze:
		n.freeze(h)
	case Pause:
		n.paused = true
		w.pausedChanged()
	case Stall:
		w.stall(h, n)
	case Pull:
		w.after(Time(h.Arg)*ms, func() { w.plug(n) })
	case Stranger:
		w.strangerAnnounces(h, h.Arg%len(w.setup.Groups))
	case Remove:
		w.removeByHand(n, h.Arg%len(w.setup.Groups))
	case Unfit:
		n.conditions()
	case Switchover:
		w.command(n, director.Operator{Command: director.Switchover, Group: group, Node: w.target(h)})
	case FailbackNow:
		w.command(n, director.Operator{Command: director.FailbackNow, Group: group})
	case SwitchFrozen:
		other := w.nodes[h.other]
		h.process = other.process
		other.freeze(h)
		w.after(Time(w.rng.IntN(12))*ms, func() {
			n.kernelSays(director.Operator{Command: director.Switchover, Group: group, Node: other.name})
		})
	case Maintain:
		n.kernelSays(director.Operator{Command: director.MaintenanceOn})
	case Shutdown:
		n.kernelSays(director.Shutdown{})
	case Quit:
		n.kernelSays(director.Quit{})
	default: // the network, and what is asked for when it matters
	}
}

// target of a switchover: a director that is not the owner, or whoever the
// machine thinks is best.
func (w *World) target(h *happening) string {
	if h.other < w.setup.Directors && h.Arg%2 == 0 {
		return w.nodes[h.other].name
	}
	return ""
}

// heal a node.
func (w *World) heal(h *happening, n *node) {
	switch h.Kind {
	case Kill:
		if n.crash >= 0 {
			n.crash = -1
			n.die()
		}
		w.restart(h, n)
	case Power, Sworn:
		w.forget(h, n)
		w.reboot(n)
	case Freeze:
		n.unfreeze(h)
	case SwitchFrozen:
		w.nodes[h.other].unfreeze(h)
	case Pause:
		n.paused = false
		w.pausedChanged()
		n.wake()
	case Pull:
		w.after(Time(h.Arg)*ms, func() { w.plug(n) })
	case Unfit:
		n.conditions()
	case Maintain:
		w.command(n, director.Operator{Command: director.MaintenanceOff})
	case Shutdown, Quit:
		w.startAgain(n, h.process, 0)
	default:
	}
}

func (w *World) restart(h *happening, n *node) {
	w.forget(h, n)
	w.touch(n)
	n.start()
}

// forget what the state directory had.
func (w *World) forget(h *happening, n *node) {
	if n.running {
		return
	}
	if h.Arg&loseState != 0 {
		n.disk.epochs = map[string]uint64{}
	}
	if h.Arg&wallClockOff != 0 && n.disk.incarnation > 5 {
		n.disk.incarnation -= 5
	}
}

func (w *World) reboot(n *node) {
	if n.powered || w.is(Power, n.id) || w.is(Sworn, n.id) {
		return
	}
	w.log("%s boots", n.name)
	w.touch(n)
	n.boot()
}

// swear that a node is off, where it is.
func (w *World) swear(off, to *node) {
	if !off.powered && to.usable() {
		to.kernelSays(director.Operator{Command: director.ConfirmFenced, Node: off.name})
	}
}

// startAgain after Shutdown or Quit: when the process has ended, or its stop timeout has.
func (w *World) startAgain(n *node, process int, waited Time) {
	if n.running && n.process == process && waited < 4*time.Second {
		w.after(20*ms, func() { w.startAgain(n, process, waited+20*ms) })
		return
	}
	w.touch(n)
	if n.process == process {
		n.die()
	}
	n.start()
}

// command says something to a daemon; an operator tries again until it runs.
func (w *World) command(n *node, what director.Operator) {
	if !n.running || n.exiting {
		w.rules.disturbed = w.now
		w.after(200*ms, func() { w.command(n, what) })
		return
	}
	w.rules.disturbed = w.now
	n.kernelSays(what)
}

func (w *World) stall(h *happening, n *node) {
	if h.over || !n.running {
		return
	}
	process := n.process
	n.frozen++
	w.after(Time(h.Arg)*ms, func() {
		n.resume(process)
		w.after(Time(10+w.rng.IntN(200))*ms, func() { w.stall(h, n) })
	})
}

// plug: the driver tells what has become of the carrier.
func (w *World) plug(n *node) {
	w.carrier[n.id] = !w.is(Pull, n.id)
	w.touch(n)
	n.kernelSays(director.Carrier{Up: w.carrier[n.id]})
}

func (w *World) removeByHand(n *node, group int) {
	if n.addresses[group].held && !w.setup.Groups[group].Bare {
		n.remove(group)
		n.kernelSays(director.LeaseGone{Group: groupName(group)})
	}
}

// perform the actions of a step, in their order; the process may die between two.
func (n *node) perform(actions []director.Action) {
	process := n.process
	for _, a := range actions {
		if n.crash == 0 {
			n.die()
		}
		if n.process != process || n.w.broken != nil {
			return
		}
		if n.crash > 0 {
			n.crash--
		}
		n.act(a)
	}
}

func (n *node) act(action director.Action) {
	w := n.w
	if w.options.Verbose {
		w.log("%s > %T %+v", n.name, action, action)
	}
	switch a := action.(type) {
	case director.Send:
		w.send(n, a.To, a.Message)
	case director.Ping:
		w.ping(n, a.Gateway, n.clock())
	case director.Probe:
		w.probe(n, w.group(a.Group), a.ID)
	case director.Save:
		n.save(w.group(a.Group), a.Epoch)
	case director.SaveMaintenance:
		n.disk.maintenance, n.maintained = a.On, a.On
	case director.StartPart:
		n.startPart(w.group(a.Group), a.Part)
	case director.StopPart:
		n.stopPart(w.group(a.Group), a.Part)
	case director.Take:
		w.log("%s takes %s", n.name, a.Group)
		n.take(w.group(a.Group), a.NotAfter, true)
	case director.Renew:
		n.take(w.group(a.Group), a.NotAfter, false)
	case director.Drop:
		w.log("%s drops %s", n.name, a.Group)
		w.drops(n, w.group(a.Group))
		n.drop(w.group(a.Group))
	case director.Announce:
		w.announce(n, w.group(a.Group))
	case director.PowerOff:
		w.log("%s asks for a power-off of %s", n.name, a.Node)
		n.powerOff(a.Node)
	case director.Flush:
		n.flush()
	case director.Exit:
		n.exiting = true
		n.die()
	case director.Tell:
		w.tells(n, a.Notice)
	default:
		w.breaks("contract", "%s: an action nobody knows: %T", n.name, action)
	}
}
