package sim

import (
	"fmt"
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Rule 6: after the last fault exactly one owner, of all addresses of a group, each of
// them announced after the last doubt, and none of them left with anybody else.

// oneOwner tells what is wrong with a group, where everything that happened is over.
func (w *World) oneOwner(group int) *Violation {
	g := &w.rules.groups[group]
	wrong := func(rule, format string, args ...any) *Violation {
		return &Violation{w.now, rule, groupName(group) + " " + fmt.Sprintf(format, args...)}
	}
	if len(g.holders) != 1 {
		return wrong("6 one owner", "is held by %v", w.names(g.holders))
	}
	owner := g.holders[0]
	for i := range w.believes {
		for k, b := range w.believes[i][group] {
			if b != owner && !w.setup.Groups[group].Bare && !w.had(NoBroadcast) {
				return wrong("6 announced", "is at %s, and client %d believes in node %d for %s", w.nodes[owner].name, i+1, b+1, w.setup.addressName(group, k))
			}
		}
	}
	for i, n := range w.nodes[:w.setup.Directors] {
		if i != owner && n.has(group) {
			return wrong("6 one owner", "is held by %s, and %s has some of its addresses", w.nodes[owner].name, n.name)
		}
		for p := range n.parts[group] {
			wanted := i == owner && w.wants(group, director.Part(p))
			if n.parts[group][p].running != wanted {
				return wrong("6 one owner", "is held by %s, and what comes %v at %s runs: %v",
					w.nodes[owner].name, director.Part(p), n.name, !wanted)
			}
		}
	}
	if best := w.belongs(group); best != "" && best != w.nodes[owner].name && !w.pinned(owner, group) {
		return wrong("6 failback", "is at %s, and should be at %s", w.nodes[owner].name, best)
	}
	return nil
}

// pinned tells whether an operator's FailbackNow put a group where it is: to the best
// that was there then.
func (w *World) pinned(owner, group int) bool {
	return w.had(FailbackNow) && w.nodes[owner].running && w.nodes[owner].machine.Groups()[group].Refusal.Code == director.ReasonPinned
}

func (w *World) wants(group int, p director.Part) bool {
	if p == director.Before {
		return w.setup.Groups[group].Before
	}
	return w.setup.Groups[group].After
}

// belongs tells where a group has to return to; empty: anywhere.
func (w *World) belongs(group int) string {
	s := w.setup.Groups[group]
	if !s.Failback || w.setup.Differs || s.Together || s.Apart || w.had(FailStart) || w.had(KernelFails) || w.had(SlowStart) || w.had(Switchover) || w.had(SwitchFrozen) || w.had(SwitchRemove) || w.had(SwitchRefuse) || w.had(Unfit) || w.had(FailStop) {
		return ""
	}
	return w.nodes[0].config.Holders(w.nodes[0].config.Groups[group])[0]
}

// Rule 7: epochs only grow.

// owns is called when the addresses of a group were taken.
func (w *World) owns(n *node, group int) {
	g := &w.rules.groups[group]
	standing := n.machine.Groups()[group]
	epoch := standing.Epoch
	if g.owner == n.id && standing.Role == director.Active {
		return // put back what somebody removed
	}
	const rule = "7 epochs grow"
	switch {
	case epoch < n.takeEpochs[group]:
		w.breaks(rule, "%s takes %s with epoch %d and has heard of %d", n.name, groupName(group), epoch, n.takeEpochs[group])
	case epoch > n.disk.epochs[groupName(group)] && !w.had(DiskFails) && !w.had(DiskSlow) && !w.had(DiskForgets):
		w.breaks(rule, "%s takes %s with epoch %d and has saved %d only", n.name, groupName(group), epoch, n.disk.epochs[groupName(group)])
	case w.setup.Single && g.owner >= 0 && g.owner != n.id && epoch <= g.epoch && !w.lost():
		w.breaks(rule, "%s takes %s with epoch %d, after %s with %d", n.name, groupName(group), epoch, w.nodes[g.owner].name, g.epoch)
	}
	g.owner, g.epoch = n.id, epoch
}

// lost tells whether a state directory was lost.
func (w *World) lost() bool {
	return slices.ContainsFunc(w.Faults, func(f Fault) bool {
		return (f.Kind == Kill || f.Kind == Power) && f.Arg&loseState != 0 || f.Kind == DiskForgets || f.Kind == DiskFails
	})
}

// bare: a group without an address is where a director says that it is active.
func (w *World) bare(n *node, group int, t director.Notice) {
	if t.From == director.Active {
		w.drops(n, group)
	}
	n.hold(group, 0, t.To == director.Active)
}

// tells is called for each notice.
func (w *World) tells(n *node, t director.Notice) {
	if t.Kind == director.Transition {
		w.log("%s: %s %v -> %v, epoch %d: %v", n.name, t.Group, t.From, t.To, t.Epoch, t.Reason)
		group := w.group(t.Group)
		if group < 0 {
			return
		}
		if t.Epoch < n.shown[group] {
			w.breaks("7 epochs grow", "%s goes from epoch %d of %s to %d", n.name, n.shown[group], t.Group, t.Epoch)
		}
		n.shown[group] = t.Epoch
		if w.setup.Groups[group].Bare {
			w.bare(n, group, t)
		}
		w.rules.moved = w.now
		return
	}
	w.log("%s: %s %v: %v", n.name, t.Group, t.Kind, t.Reason)
}
