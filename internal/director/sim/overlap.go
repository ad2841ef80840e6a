package sim

import (
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Rule 1: at most one kernel answers for an address.

func (w *World) holdersChanged(group, address int) {
	g := &w.rules.groups[group]
	a, served := &g.addresses[address], len(g.holders) > 0
	a.holders, g.holders = a.holders[:0], g.holders[:0]
	for i, n := range w.nodes[:w.setup.Directors] {
		if n.answers(group, address) {
			a.holders = append(a.holders, i)
		}
		if n.serves(group) {
			g.holders = append(g.holders, i)
		}
	}
	if len(a.holders) > 1 && a.overlap == 0 {
		a.overlap, a.apart, a.known = w.now, 0, w.wireAnswered(a, w.setup.device(group))
		if w.part(); w.rules.parted {
			a.apart = w.now // but for the wire they could know nothing of each other
		}
	}
	if len(a.holders) == 1 {
		a.since = w.now
	}
	w.log("%s is answered by %v", w.setup.addressName(group, address), w.names(a.holders))
	if len(a.holders) <= 1 && a.overlap > 0 {
		w.excuse(a)
		w.overlapped(group, address)
		w.count()
		a.overlap = 0
	}
	if served && len(g.holders) == 0 && g.owner >= 0 {
		w.movesWithoutNeed(w.nodes[g.owner], group)
		w.leavesInPlace(group)
	}
	w.rules.moved = w.now
	w.servedChanged(group)
}

// blindly: where no broadcast passes for long, silence proves nothing, and nobody
// may take what another's kernel still has.
func (w *World) blindly(group int, a *answered) {
	blind := slices.ContainsFunc(w.active, func(h *happening) bool { return h.Kind == NoBroadcast && a.overlap-h.At > 500*ms })
	if blind && !w.setup.Single && w.setup.Gateways > 0 && w.gatewayOn(w.setup.device(group)) && !w.setup.Groups[group].Bare && !w.had(Pause) && !w.had(KernelFails) {
		w.breaks("1 one kernel answers", "%s was taken on a wire that does not work: %v", groupName(group), w.names(a.holders))
	}
}

// leavesInPlace: who is restarted by Quit finds its address again, inside the lease.
func (w *World) leavesInPlace(group int) {
	last := w.lastBegun()
	if w.setup.Single && last != nil && last.Kind == Quit && !w.mayReturn() && !w.shot(group) {
		w.breaks("2 held within the bound", "%s is gone, and Quit leaves it in place", groupName(group))
	}
}

// shot tells whether a group's host was powered off because its process was away for
// longer than the dead time, as it is documented: where no takeover is without stonith,
// and a group has no address whose lease could be waited for.
func (w *World) shot(group int) bool {
	owner := w.nodes[w.rules.groups[group].owner]
	bare := slices.ContainsFunc(owner.config.Groups, func(g director.Group) bool { return g.Bare })
	return bare && owner.config.Stonith == director.StonithRequire && !owner.powered
}

// wireAnswered tells whether one of two holders has been there for long, and nothing
// was ever in the way of a question to it and its answer. Then there is no excuse: not
// even a node that was fenced or said farewell is believed before the wire.
func (w *World) wireAnswered(x *answered, device int) bool {
	if w.setup.Single || w.now-w.rules.rewired < 400*ms || w.loss() > 0 || w.had(Pause) || w.had(KernelFails) || w.had(Loss) || w.had(Slow) {
		return false
	}
	for i, a := range x.holders {
		for _, b := range x.holders[i+1:] {
			if !w.net.both(device, a, b, arp) {
				return false
			}
		}
	}
	return w.now-x.since > 400*ms
}

func (w *World) count() {
	w.rules.result.Overlaps++
	if w.excepted() {
		w.rules.result.Excepted++
	}
}

func (w *World) pausedChanged() {
	for i := range w.rules.groups {
		for k := range w.rules.groups[i].addresses {
			w.holdersChanged(i, k)
		}
	}
}

func (w *World) names(nodes []int) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = w.nodes[n].name
	}
	return names
}

// overlapped judges two kernels that answer, while they do and when one ceases
// to. What lasts no time at all is a renewal that came back late and was undone.
func (w *World) overlapped(group, address int) {
	a, name := &w.rules.groups[group].addresses[address], w.setup.addressName(group, address)
	lasted := w.now - max(a.overlap, a.apart)
	if w.now == a.overlap || w.setup.Groups[group].Bare {
		return // nothing but heartbeats guards a group without an address
	}
	w.blindly(group, a)
	if a.known {
		w.breaks("1 one kernel answers", "%s was taken while the wire answered: %v", name, w.names(a.holders))
	}
	w.rules.result.Longest = max(w.rules.result.Longest, lasted)
	longest := w.timings.Lease + w.setup.LatestExpiry + 200*ms
	switch {
	case w.excepted():
		if lasted > longest {
			w.breaks("1 one kernel answers", "%s is answered by %v %v after the cut was healed", name, w.names(a.holders), lasted)
		}
	case w.setup.Single:
		w.breaks("1 one kernel answers", "%s is answered by two for %v: %v now", name, w.now-a.overlap, w.names(a.holders))
	case w.setup.Strict && !w.had(Pause) && a.apart == 0 && !w.rules.kept:
		w.breaks("1 one kernel answers", "%s, strict, is answered by two for %v: %v now", name, w.now-a.overlap, w.names(a.holders))
	case lasted > longest:
		w.breaks("1 one kernel answers", "%s is answered by two for %v, longer than %v: %v now", name, lasted, longest, w.names(a.holders))
	}
}

// excepted is the one exception that is documented: two directors that vote
// alone, no other path, and a cut between them that ARP does not pass either.
func (w *World) excepted() bool {
	s := w.setup
	if w.unnoticed() {
		return true
	}
	if s.voters() != 2 || s.Relay || s.Back || s.HoldStill || s.Stonith == director.StonithRequire || !s.Single {
		return false
	}
	return len(w.begun) > 0 && w.begun[len(w.begun)-1].Kind == Partition
}

// lastBegun is the fault that began last.
func (w *World) lastBegun() *Fault {
	if len(w.begun) == 0 {
		return nil
	}
	return &w.begun[len(w.begun)-1]
}

// had tells whether a fault of a kind began already.
func (w *World) had(k Kind) bool {
	return slices.ContainsFunc(w.begun, func(f Fault) bool { return f.Kind == k })
}

// part notes whether two voters that both reach the gateway cannot speak to each
// other: then both are entitled, for all they know, and strict waits for a lease
// that may go on being renewed. It is over when both are alive to speak again: who
// died before has told the other nothing. One that is cut off from the gateway as
// well lets go at its fence, and strict has no excuse.
func (w *World) part() {
	switch {
	case w.setup.voters() != 2:
	case !w.hears(0, 1) || !w.hears(1, 0):
		w.rules.parted = w.rules.parted || w.pinged(0) && w.pinged(1)
	case w.rules.parted && w.nodes[0].usable() && w.nodes[1].usable():
		w.rules.parted = w.now-w.rules.cleared <= 2*w.timings.Heartbeat
	}
}

// excuse an overlap of two voters that cannot speak to each other: it has to end
// when they can. Three have a majority, which excuses nothing.
func (w *World) excuse(a *answered) {
	if a.overlap == 0 || w.setup.voters() != 2 {
		return
	}
	if !w.hears(0, 1) || !w.hears(1, 0) || w.is(Loss, 0) || w.is(Loss, 1) || w.is(Slow, 0) || w.is(Slow, 1) {
		a.apart = w.now
	}
}
