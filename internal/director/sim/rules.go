package sim

import (
	"slices"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// checkEvery is how often what lasts is looked at; what changes is looked at when it does.
const checkEvery = 25 * ms

// rules is what they remember.
type rules struct {
	result    Result
	disturbed Time // when something last happened to the cluster
	begun     Time // when the last fault did
	moved     Time // when it last did something about it
	bound     Time
	settle    Time
	rewired   Time // when ARP between two nodes last began or ceased to pass
	cleared   Time // when something last ended that made it unclear who hears whom
	parted    bool // two voters that reach the gateway could not speak to each other, and have not had the chance since: see part
	kept      bool // a kernel did not take back what it was given too late, or in part
	extra     Time
	bounds    map[director.Failure]director.Bound
	touched   []Time
	groups    []held
}

// held is what became of one group.
type held struct {
	addresses []answered
	holders   []int // whose kernels answer for all of them
	unserved  Time  // since when nobody serves it; negative: somebody does
	leased    Time  // when a host without a process last had one of its several addresses
	owner     int   // who took it last
	epoch     uint64
	yielded   Time // when one of two holders let go, which then was not the last
}

// answered is what became of one address.
type answered struct {
	holders []int
	overlap Time // since when two hold, if they do
	apart   Time // last instant at which an overlap was excused
	since   Time // since when the last one that was alone holds
	known   bool // the newer of two holders could have known by the wire
}

// contested tells whether two hold one of the addresses.
func (g *held) contested() bool {
	return slices.ContainsFunc(g.addresses, func(a answered) bool { return len(a.holders) > 1 })
}

func newRules(s Setup) rules {
	r := rules{groups: make([]held, len(s.Groups)), touched: make([]Time, s.voters()), bound: s.bound(), settle: s.settle(), result: Result{Outages: map[Kind]Time{}}}
	r.extra, r.bounds = s.extra(), map[director.Failure]director.Bound{}
	bounds, _ := director.Bounds(s.Config(0)) // none: the rule does without
	for _, b := range bounds {
		r.bounds[b.Failure] = b
	}
	for i := range r.groups {
		r.groups[i] = held{owner: -1, yielded: -1, addresses: make([]answered, s.addresses(i))}
	}
	return r
}

// touch a node: what it does in the next time may have a cause.
func (w *World) touch(n *node) {
	w.rules.touched[n.id] = w.now
	w.rules.disturbed = w.now
}

// affects notes whom a fault that begins or ends is about.
func (w *World) affects(h *happening) {
	w.rules.disturbed = w.now
	for _, n := range w.nodes {
		if w.touches(h, n.id) {
			w.touch(n)
		}
	}
}

// touches tells whether a fault gives a node a reason to let go of what it has.
// A fault that is about others, or that another path makes good, does not.
func (w *World) touches(h *happening, node int) bool {
	s := w.setup
	switch h.Kind { //nolint:exhaustive // the other faults do not matter here
	case Partition, OneWay:
		return !w.bypassed() && (node == h.node || node == h.other)
	case Split:
		return true
	case AllGatewaysDown:
		return s.ReleaseAll
	case GatewayDown:
		return s.ReleaseAll && (s.Gateways == 1 || s.AllGateways)
	case Heartbeats, ARP, NoBroadcast, BackDown, NoRelay, DiskFails, DiskSlow, DiskForgets, FailStart, SlowStart, FailStop, SlowStop,
		Stranger, NoStonith:
		return false
	}
	return node == h.node
}

// bypassed tells whether there is another way between two directors than the
// service network: the relay, a second network, or what a third voter passes on.
func (w *World) bypassed() bool {
	return w.setup.Relay || w.setup.Back || w.setup.voters() >= 3
}

// check what lasts.
func (w *World) check() {
	w.part()
	for i := range w.rules.groups {
		g := &w.rules.groups[i]
		for k := range g.addresses {
			w.excuse(&g.addresses[k])
			if g.addresses[k].overlap > 0 {
				w.overlapped(i, k)
			}
		}
		w.leased(i)
		w.servedChanged(i)
		w.inTime(i)
	}
	w.rest()
	w.after(checkEvery, w.check)
}

// rest is what comes between faults, and at the end: every lease of before is
// over, nothing moves, and everything is as it should be. It must come in time.
func (w *World) rest() {
	var wrong *Violation
	for i := range w.rules.groups {
		if wrong == nil {
			wrong = w.oneOwner(i)
		}
	}
	since := w.now - w.rules.disturbed
	calm := since > w.timings.Lease+w.setup.LatestExpiry && w.now-w.rules.moved > restful
	idle := len(w.active) == 0 && w.now > w.setup.LateBoot+100*ms && w.allRun() && (w.setup.Single || w.ahead == 0)
	switch {
	case w.now > 5*time.Minute:
		w.breaks("6 one owner", "the cluster does not come to rest")
	case !idle:
	case wrong != nil && since > w.rules.settle:
		w.broken = wrong
	case w.resting:
		w.done = w.now-w.restAt > quietTime
	case wrong == nil && calm && w.ahead > 0:
		if f := w.Faults[len(w.begun)]; w.restAt == 0 {
			w.restAt = w.now
			w.after(f.At, func() { w.restAt = 0; w.begin(f) })
		}
	case wrong == nil && calm:
		w.log("quiet")
		w.resting, w.restAt = true, w.now
	}
}

// allRun tells whether every node has its daemon; who was powered off comes back.
func (w *World) allRun() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.running })
}

const (
	// restful is how long nothing must have moved.
	restful = 800 * ms
	// quietTime is how long nothing may move at the end.
	quietTime = 1500 * ms
)
