package sim

import (
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Rule 3: a quiet network never moves an address.

// drops is called when a machine lets an address go.
func (w *World) drops(n *node, group int) {
	g := &w.rules.groups[group]
	if !n.has(group) {
		return
	}
	if g.contested() {
		g.yielded = w.now
		return
	}
	w.movesInQuiet(n, group)
	w.movesWithoutNeed(n, group)
	w.bothRelease(n, group)
}

func (w *World) movesInQuiet(n *node, group int) {
	long := w.now > w.rules.disturbed+w.rules.settle && !w.is(KernelFails, n.id) // which lasts longer than that
	if long || w.resting && !w.mayReturn() {
		w.breaks("3 quiet is quiet", "%s lets %s go %v after anything happened", n.name, groupName(group), w.now-w.rules.disturbed)
	}
}

// movesWithoutNeed: a fault elsewhere never moves an address.
func (w *World) movesWithoutNeed(n *node, group int) {
	if w.spared(n, group) {
		w.breaks("3 quiet is quiet", "%s lets %s go, whose device is well", n.name, groupName(group))
	}
	if w.strands(n, group) {
		w.breaks("3 quiet is quiet", "%s lets %s go, which nobody can have without %s", n.name, groupName(group), groupName(0))
	}
	if !w.setup.Single || w.mayReturn() {
		return
	}
	last := w.lastBegun()
	switch {
	case len(w.begun) == 0:
	case last != nil && last.Kind.planned():
	case w.rules.touched[n.id] >= w.rules.begun:
	default:
		w.breaks("3 quiet is quiet", "%s lets %s go, and nothing happened to it", n.name, groupName(group))
	}
}

// mayReturn tells whether the group's policy moves it without any fault.
func (w *World) mayReturn() bool {
	return slices.ContainsFunc(w.setup.Groups, func(g GroupSetup) bool { return g.Failback || g.Together || g.Apart })
}

// Rule 4: everything acquired is released before another starts it.
func (w *World) begins(n *node, group int, p director.Part) {
	for i, o := range w.nodes[:w.setup.Directors] {
		if o == n || !o.parts[group][director.Before].running && !o.parts[group][director.After].running {
			continue
		}
		if w.understand(n, o) && !w.is(FailStop, i) {
			w.breaks("4 released before started", "%s starts what comes %v of %s, and %s still runs it", n.name, p, groupName(group), o.name)
		}
	}
}

// understand: both are well and heard each other for so long that each knows what the
// other does. That the way is free again is not yet a heartbeat that came by it.
func (w *World) understand(a, b *node) bool {
	calm := func(n *node) bool {
		return n.usable() && w.now-w.rules.touched[n.id] > w.timings.Lease+w.setup.LatestExpiry+w.timings.Dead && !w.had(NoBroadcast)
	}
	return calm(a) && calm(b) && !w.unclear() && w.now-w.rules.cleared > w.timings.Dead && w.hears(a.id, b.id) && w.hears(b.id, a.id) && w.now-w.rules.disturbed < w.now
}

// refusing tells whether a kernel refuses some things now: one that does not remove an
// address is told to again and again, and may be better in all other respects.
func (w *World) refusing() bool {
	return slices.ContainsFunc(w.active, func(h *happening) bool { return h.Kind == KernelFails && h.Arg != 0 })
}

// Rule 5: never both release when one could keep.
func (w *World) bothRelease(n *node, group int) {
	g := &w.rules.groups[group]
	if g.yielded < 0 || w.now-g.yielded > 1500*ms || w.rules.disturbed >= g.yielded || !w.entitled(n.id, group) || w.refusing() {
		return
	}
	since := w.now
	grace := 300 * ms
	for _, s := range w.setup.Groups {
		grace += s.Begin + s.End
	}
	w.after(grace, func() {
		if g.unserved >= 0 && g.unserved <= since+10*ms && w.rules.disturbed < since {
			w.breaks("5 one keeps", "both let %s go, %s at last, and nobody has it %v later", groupName(group), n.name, grace)
		}
	})
}
