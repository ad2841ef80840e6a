package director_test

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// A world is a small LAN on virtual time in which the scenarios are played: nodes
// with a kernel each, one gateway "gw" behind which the clients are, and no luck.
// What chance can do is internal/director/sim's business.
type world struct {
	config   director.Config
	devices  map[string]string // of groups; eth0, where heartbeats and gateway are, if not here
	now      time.Duration
	queue    queue
	serial   int
	nodes    map[string]*node
	names    []string
	relay    bool               // the gateway forwards heartbeats
	stranger bool               // has one address of each group
	known    bool               // somebody was told of it, and asks for it each time
	asked    int                // how many addresses were asked for
	second   bool               // there is a second network, for heartbeats alone, which never fails
	cuts     map[[2]string]bool // from, to
	silence  map[[2]string]bool // the same for heartbeats alone
	log      strings.Builder
	verbose  bool
	counted  map[string]*tally
	walked   []walk // all transitions
}

// A walk is a transition of a node.
type walk struct {
	node string
	director.Notice
}

// A node is a host: its kernel lives on when the process is killed or frozen.
type node struct {
	name        string
	host, alive bool
	frozen      bool
	carrier     bool
	lost        map[string]bool // devices without a carrier
	state       director.State
	incarnation uint64
	epochs      map[string]uint64
	maintenance bool
	diskFails   bool
	boot        time.Duration // the difference of its clock
	mailbox     []director.What
	leases      map[string]time.Duration // group: until when
	runs        map[string]bool          // group/part
	drops       map[string]int           // calls from before a Drop come to nothing
	digest      string                   // of its configuration file, if it is not that of all
	running     string                   // of the configuration that it runs with
	startFails  bool
	refuses     bool          // its kernel neither sets, nor renews, nor removes
	refusesOne  bool          // it renews all of a group's addresses but one, and removes none
	keeps       bool          // it removes none
	late        time.Duration // how late it ends leases
	stopFails   bool
	slow        time.Duration // how long starts and stops take
	stonith     bool          // powering off others works
}

// A tally is what the clients, and both kernels, saw of a group.
type tally struct {
	outage, dual   time.Duration
	from           time.Duration
	holders        []string
	served, double bool
	announced      string
}

type item struct {
	at     time.Duration
	late   bool // after everything else of the same instant: ticks
	serial int
	do     func()
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	if q[i].late != q[j].late {
		return q[j].late
	}
	return q[i].serial < q[j].serial
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

const (
	wireDelay = 200 * time.Microsecond
	callDelay = 100 * time.Microsecond
	diskDelay = 2 * time.Millisecond
)

func newWorld(c director.Config) *world {
	w := &world{config: c, nodes: map[string]*node{}, cuts: map[[2]string]bool{}, silence: map[[2]string]bool{}, relay: true, counted: map[string]*tally{}}
	for i, n := range c.Nodes {
		w.names = append(w.names, n.Name)
		w.nodes[n.Name] = &node{
			name: n.Name, host: true, carrier: true, boot: time.Duration(i+1) * time.Hour, epochs: map[string]uint64{},
			drops: map[string]int{}, lost: map[string]bool{}, leases: map[string]time.Duration{}, runs: map[string]bool{}, stonith: true,
		}
	}
	for _, g := range c.Groups {
		w.counted[g.Name] = &tally{}
	}
	return w
}

func (w *world) at(d time.Duration, late bool, do func()) {
	w.serial++
	heap.Push(&w.queue, item{at: w.now + d, late: late, serial: w.serial, do: do})
}

func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		next := heap.Pop(&w.queue).(item)
		w.now = next.at
		w.expire()
		next.do()
		w.count()
	}
	w.now = end
	w.expire()
	w.count()
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(&w.log, "%9.3fs  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
}

func (n *node) clock(now time.Duration) director.Instant { return director.Instant(now + n.boot) }

func (w *world) configOf(n *node) director.Config {
	c := w.config
	c.Self = n.name
	if n.running != "" {
		c.Digest = n.running
	}
	return c
}

// start begins a process on a node.
func (w *world) start(n *node) {
	n.incarnation++
	n.running = n.digest
	n.alive, n.frozen, n.host, n.mailbox = true, false, true, nil
	s, actions := director.Start(w.configOf(n), director.Restored{Incarnation: n.incarnation, Epochs: n.epochs, Maintenance: n.maintenance}, n.clock(w.now))
	n.state = s
	w.execute(n, actions)
	w.carriers(n)
	for _, g := range w.config.Groups {
		until, held := n.leases[g.Name]
		w.give(n, director.Found{Group: g.Name, Held: held, Left: until - w.now})
	}
	w.tick(n, n.incarnation)
}

func (w *world) tick(n *node, incarnation uint64) {
	w.at(w.config.Timings.Tick, true, func() {
		if !n.alive || n.incarnation != incarnation {
			return
		}
		if !n.frozen {
			w.give(n, director.Tick{})
		}
		w.tick(n, incarnation)
	})
}

// give hands an event over, or queues it for a frozen process.
func (w *world) give(n *node, what director.What) {
	if !n.alive {
		return
	}
	if n.frozen {
		n.mailbox = append(n.mailbox, what)
		return
	}
	var actions []director.Action
	n.state, actions = director.Step(w.configOf(n), n.state, director.Event{At: n.clock(w.now), What: what})
	w.execute(n, actions)
}

func (w *world) later(n *node, d time.Duration, what func() director.What) {
	incarnation := n.incarnation
	w.at(d, false, func() {
		if n.incarnation == incarnation && n.alive {
			w.give(n, what())
		}
	})
}

func (w *world) cut(from, to string) bool {
	for _, end := range []string{from, to} {
		if n := w.nodes[end]; n != nil && (!n.host || !n.carrier || n.lost["eth0"]) {
			return true
		}
	}
	return w.cuts[[2]string{from, to}]
}

func (w *world) path(from, to string) bool {
	return !w.cut(from, to) && !w.silence[[2]string{from, to}] || w.relay && !w.cut(from, "gw") && !w.cut("gw", to)
}

func (w *world) both(a, b string) bool { return !w.cut(a, b) && !w.cut(b, a) }

func (w *world) device(group string) string {
	if device := w.devices[group]; device != "" {
		return device
	}
	return "eth0"
}

// meet tells whether two ends reach each other on the wire of a group. Each device's has
// a gateway; what is cut is eth0's.
func (w *world) meet(a, b, group string) bool {
	device := w.device(group)
	if device == "eth0" {
		return w.both(a, b)
	}
	for _, end := range []string{a, b} {
		if n := w.nodes[end]; n != nil && (!n.host || !n.carrier || n.lost[device]) {
			return false
		}
	}
	return true
}

// carriers hands over what is up, in the order of the loop: that all are lost before what
// the groups lost, and that it is over after what they have again.
func (w *world) carriers(n *node) {
	if len(w.devices) == 0 {
		w.give(n, director.Carrier{Up: n.carrier})
		return
	}
	up := false
	for _, g := range w.config.Groups {
		up = up || n.carrier && !n.lost[w.device(g.Name)]
	}
	if !up {
		w.give(n, director.Carrier{})
	}
	for _, is := range []bool{false, true} {
		for _, g := range w.config.Groups {
			device := w.device(g.Name)
			if has := n.carrier && !n.lost[device]; has == is {
				w.give(n, director.Carrier{Group: g.Name, Up: is, Detail: map[bool]string{false: device + " has no carrier"}[is]})
			}
		}
	}
	if up {
		w.give(n, director.Carrier{Up: true})
	}
}

func (w *world) execute(n *node, actions []director.Action) {
	for _, a := range actions {
		w.action(n, a)
	}
}

func (w *world) action(n *node, a director.Action) {
	yes := func(what director.What) func() director.What { return func() director.What { return what } }
	switch a := a.(type) {
	case director.Send:
		for _, to := range w.names {
			if to != n.name && (a.To == "" || a.To == to) && w.path(n.name, to) {
				w.later(w.nodes[to], wireDelay, yes(director.Heard{Link: "eth0", Message: a.Message}))
			}
			if to != n.name && (a.To == "" || a.To == to) && w.second && w.nodes[to].host {
				w.later(w.nodes[to], wireDelay, yes(director.Heard{Link: "eth1", Message: a.Message}))
			}
		}
	case director.Ping:
		if w.both(n.name, a.Gateway) {
			w.later(n, 2*wireDelay, yes(director.PingAnswered{Gateway: a.Gateway, Sent: n.clock(w.now)}))
		}
	case director.Probe:
		w.probe(n, a)
	case director.Save:
		w.later(n, diskDelay, func() director.What {
			if n.diskFails {
				return director.Saved{Group: a.Group, Epoch: a.Epoch, Detail: "no space left on device"}
			}
			n.epochs[a.Group] = a.Epoch
			return director.Saved{Group: a.Group, Epoch: a.Epoch, OK: true}
		})
	case director.SaveMaintenance:
		n.maintenance = a.On
	case director.StartPart:
		w.later(n, callDelay+n.slow, func() director.What {
			n.runs[a.Group+a.Part.String()] = !n.startFails
			return director.Started{Group: a.Group, Part: a.Part, OK: !n.startFails, Detail: map[bool]string{true: "exit status 1"}[n.startFails]}
		})
	case director.StopPart:
		w.later(n, callDelay+n.slow, func() director.What {
			if !n.stopFails {
				delete(n.runs, a.Group+a.Part.String())
			}
			return director.Stopped{Group: a.Group, Part: a.Part, OK: !n.stopFails, Detail: map[bool]string{true: "exit status 1"}[n.stopFails]}
		})
	case director.Take:
		w.lease(n, a.Group, a.NotAfter)
	case director.Renew:
		w.lease(n, a.Group, a.NotAfter)
	case director.Drop:
		if n.refuses || n.refusesOne || n.keeps {
			w.later(n, callDelay, yes(director.Dropped{Group: a.Group, Detail: "operation not permitted"}))
			return
		}
		delete(n.leases, a.Group)
		n.drops[a.Group]++
		w.count()
		w.later(n, callDelay, yes(director.Dropped{Group: a.Group, OK: true}))
	case director.Announce:
		w.counted[a.Group].announced = n.name
		if w.verbose {
			w.say("%s announces %s", n.name, a.Group)
		}
	case director.PowerOff:
		w.later(n, 500*time.Millisecond, func() director.What {
			if !n.stonith {
				return director.StonithDone{Node: a.Node, Detail: "connection refused"}
			}
			w.crash(w.nodes[a.Node])
			return director.StonithDone{Node: a.Node, OK: true}
		})
	case director.Flush:
		n.mailbox = slices.DeleteFunc(n.mailbox, func(what director.What) bool {
			_, heard := what.(director.Heard)
			return heard
		})
	case director.Exit:
		w.say("%s: exit", n.name)
		n.alive = false
	case director.Tell:
		w.told(n, a.Notice)
	}
}

func (w *world) told(n *node, notice director.Notice) {
	switch notice.Kind {
	case director.Transition:
		w.walked = append(w.walked, walk{n.name, notice})
		w.say("%s %s: %s -> %s (epoch %d): %s", n.name, notice.Group, notice.From, notice.To, notice.Epoch, notice.Reason)
	case director.Refusal:
		w.say("%s %s: stays %s: %s", n.name, notice.Group, notice.From, notice.Reason)
	case director.Remark:
		w.say("%s%s: %s", n.name, strings.TrimRight(" "+notice.Group, " "), notice.Reason)
	}
}

func (w *world) lease(n *node, group string, notAfter director.Instant) {
	began, drops := n.clock(w.now), n.drops[group]
	w.later(n, callDelay, func() director.What {
		if n.refuses {
			return director.LeaseSet{Group: group, Began: began, Detail: "operation not permitted"}
		}
		ok := n.clock(w.now) <= notAfter && n.drops[group] == drops
		if ok {
			n.leases[group] = w.now + w.config.Timings.Lease
			w.count()
		}
		if n.refusesOne {
			return director.LeaseSet{Group: group, Began: began, Detail: "operation not permitted"}
		}
		return director.LeaseSet{Group: group, Began: began, OK: ok}
	})
}

func (w *world) probe(n *node, a director.Probe) {
	stranger := w.strangers(a)
	for _, name := range w.names {
		other := w.nodes[name]
		if _, held := other.leases[a.Group]; held && name != n.name && w.meet(n.name, name, a.Group) {
			w.later(n, 2*wireDelay, func() director.What {
				return director.WireAnswered{Group: a.Group, Probe: a.ID, By: director.Answerer{Node: name}}
			})
		}
	}
	if stranger {
		w.later(n, 2*wireDelay, func() director.What {
			return director.WireAnswered{Group: a.Group, Probe: a.ID, By: director.Answerer{MAC: "02:00:00:00:00:99"}}
		})
	}
	if w.meet(n.name, "gw", a.Group) {
		w.later(n, 2*wireDelay, func() director.What { return director.WireWorks{Group: a.Group, Probe: a.ID} })
	}
}

// strangers counts the addresses of a probe, and tells whether the stranger's is one of
// them: the eighth, if there are so many.
func (w *world) strangers(a director.Probe) bool {
	count := 1
	for _, g := range w.config.Groups {
		if g.Name == a.Group {
			count = max(1, g.Addresses)
		}
	}
	is := false
	for i := range count {
		asked := a.Parts <= 1 || i%a.Parts == a.Part || w.known && i == min(count-1, 7)
		if asked {
			w.asked++
		}
		is = is || w.stranger && asked && i == min(count-1, 7)
	}
	w.known = w.known || is
	return is
}

func (w *world) crash(n *node) {
	n.alive, n.host = false, false
	clear(n.leases)
	clear(n.runs)
	w.say("%s: powered off", n.name)
}

// expire is what kernels do.
func (w *world) expire() {
	for _, name := range w.names {
		n := w.nodes[name]
		for _, g := range w.config.Groups {
			if until, held := n.leases[g.Name]; held && until+n.late <= w.now {
				delete(n.leases, g.Name)
				w.later(n, 0, func() director.What { return director.LeaseGone{Group: g.Name} })
			}
		}
	}
}

// count looks at who answers for each address, and whether clients reach one.
func (w *world) count() {
	for _, g := range w.config.Groups {
		t := w.counted[g.Name]
		if !t.served {
			t.outage += w.now - t.from
		}
		if t.double {
			t.dual += w.now - t.from
		}
		t.from, t.served, t.holders = w.now, false, nil
		for _, name := range w.names {
			n := w.nodes[name]
			if _, held := n.leases[g.Name]; held && n.host {
				t.holders = append(t.holders, name)
				t.served = t.served || w.meet(name, "gw", g.Name)
			}
		}
		reachable := 0
		for _, name := range t.holders {
			if w.nodes[name].carrier && !w.nodes[name].lost[w.device(g.Name)] {
				reachable++
			}
		}
		t.double = reachable > 1
	}
}
