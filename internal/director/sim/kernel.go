package sim

import (
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// earliestExpiry is how much too early a kernel may end a lease: Linux rounds
// (ADDRCONF_TIMER_FUZZ_MINUS), and 0.97 of 1 s was measured.
const earliestExpiry = 30 * ms

// An address as a kernel has it: with a lease, which it ends late, or a little early.
type address struct {
	held    bool
	renewal uint64 // counts, so that an older lease's end is none
	ends    Time
}

// A lane is where an executor does things of one group one after the other.
type lane struct {
	dropped uint64 // counts Drops: what was asked for before one is not done after it
	busy    bool   // between two addresses of a group
	waiting []func()
	looks   bool   // a look at whether addresses are gone is due
	free    Time   // when it is through with what it has
	current func() // ends the start that runs
}

// renew adds the address, or gives it a new lease; an expired one is created again.
func (n *node) renew(group, address int) {
	a := &n.addresses[group][address]
	a.renewal++
	lease := n.config.Timings.Lease
	a.ends = n.w.now + lease
	n.hold(group, address, true)
	n.expireAfter(group, address, lease-earliestExpiry+Time(n.w.rng.Int64N(int64(n.w.setup.LatestExpiry+earliestExpiry)+1)))
}

func (n *node) expireAfter(group, address int, d Time) {
	a := &n.addresses[group][address]
	renewal := a.renewal
	n.w.after(d, func() {
		switch {
		case !a.held || a.renewal != renewal:
		case n.paused: // the kernel's timers stand still as well
			n.expireAfter(group, address, 10*ms)
		default:
			n.w.log("%s: the kernel ends the lease of %s", n.name, n.w.setup.addressName(group, address))
			n.w.leased(group)
			n.remove(group, address)
			n.gone(group)
		}
	})
}

// remove an address.
func (n *node) remove(group, address int) {
	n.addresses[group][address].renewal++
	n.hold(group, address, false)
}

func (n *node) hold(group, address int, held bool) {
	if n.addresses[group][address].held == held {
		return
	}
	n.addresses[group][address].held = held
	n.w.holdersChanged(group, address)
}

// found is what a process that starts sees.
func (n *node) found(group int) (bool, Time) {
	if n.w.setup.Groups[group].Bare || !n.has(group) {
		return false, 0
	}
	left := n.config.Timings.Lease
	for _, a := range n.addresses[group] {
		if !a.held {
			return true, 0 // some of them: all are to be removed
		}
		left = min(left, max(a.ends-n.w.now, ms))
	}
	return true, left
}

// gone is called when the kernel says that an address went away. Where groups have
// several, what became of all is looked at, in its turn.
func (n *node) gone(group int) {
	if n.w.setup.Groups[group].Addresses == 0 {
		n.kernelSays(director.LeaseGone{Group: groupName(group)})
		return
	}
	if !n.running || n.lanes[group].looks {
		return
	}
	l := &n.lanes[group]
	l.looks = true
	dropped := l.dropped
	n.later(n.w.moment(), func() {
		n.inTurn(group, func() {
			if l.dropped != dropped {
				return
			}
			l.looks = false
			if !n.holdsAll(group) {
				n.deliver(director.LeaseGone{Group: groupName(group), Left: n.has(group) && n.w.options.Any&AnyGone == 0})
			}
		})
	})
}

// inTurn does something when no other is in the middle of the group's addresses.
func (n *node) inTurn(group int, do func()) {
	l := &n.lanes[group]
	if l.busy {
		l.waiting = append(l.waiting, do)
		return
	}
	do()
}

// next goes on with the next address. The process may be frozen, or die, before.
func (n *node) next(group int, do func()) {
	n.lanes[group].busy = true
	if h := n.halfway; h != nil {
		n.halfway = nil
		n.w.log("%s is struck between two addresses", n.name)
		if h.Arg == 1 {
			n.die()
			return
		}
		h.froze = true
		n.frozen++
	}
	n.later(n.w.moment()/2, do)
}

// through says what became of all the addresses, and lets others have their turn.
func (n *node) through(group int, what director.What) {
	l := &n.lanes[group]
	waiting := l.waiting
	l.busy, l.waiting = false, nil
	process := n.process
	n.deliver(what)
	for _, do := range waiting {
		if n.process == process {
			n.inTurn(group, do)
		}
	}
}

// A laying is a Take or Renew on its way through the addresses of a group.
type laying struct {
	group           int
	notAfter, began director.Instant
	first, failed   bool
}

// take or renew, as the executor does: look at the clock, call the kernel, look
// at the clock again. The process may be frozen at any point of it.
func (n *node) take(group int, notAfter director.Instant, first bool) {
	l := &n.lanes[group]
	dropped := l.dropped
	name := groupName(group)
	n.later(n.w.moment(), func() {
		began := n.clock()
		if l.dropped != dropped || began > notAfter {
			n.deliver(director.LeaseSet{Group: name, Began: began, Detail: "too late"})
			return
		}
		if h := n.freezing; h != nil && !first {
			n.w.log("%s is frozen inside a renewal", n.name)
			n.freezing, h.froze = nil, true
			n.frozen++
		}
		n.later(n.w.moment(), func() {
			if l.dropped != dropped {
				n.deliver(director.LeaseSet{Group: name, Began: began, Detail: "dropped"})
				return
			}
			n.lay(&laying{group: group, notAfter: notAfter, began: began, first: first}, 0)
		})
	})
}

// lay one address after the other. To take is all or nothing; of a renewal that is
// refused for one the others keep what they got; what is late is removed.
func (n *node) lay(y *laying, address int) {
	set := director.LeaseSet{Group: groupName(y.group), Began: y.began}
	if n.refuses(y.operation(), y.group, address) {
		y.failed, set.Detail = true, "operation not permitted"
	} else {
		n.renew(y.group, address)
	}
	switch {
	case n.clock() > y.notAfter:
		set.Detail = "late"
		n.takeBack(y.group)
	case address+1 < len(n.addresses[y.group]):
		n.next(y.group, func() { n.lay(y, address+1) })
		return
	case y.failed && (n.w.options.Any&AnyLaid == 0 || !n.has(y.group)):
		set.Detail = "operation not permitted"
		if y.first {
			n.takeBack(y.group)
		}
	default:
		set.OK, set.Detail = true, ""
		if y.first {
			n.w.owns(n, y.group)
		}
	}
	n.through(y.group, set)
}

func (y *laying) operation() int {
	if y.first {
		return refuseTake
	}
	return refuseRenew
}

// takeBack removes what can be removed at once.
func (n *node) takeBack(group int) {
	for k := range n.addresses[group] {
		if !n.drops(group, k) {
			n.w.rules.kept = true
		}
	}
}

// drop the addresses; it overtakes everything.
func (n *node) drop(group int) {
	l := &n.lanes[group]
	l.dropped++
	l.looks = false
	n.later(n.w.moment()/4, func() {
		n.inTurn(group, func() { n.dropFrom(group, 0, true) })
	})
}

// dropFrom removes one address after the other; one that fails keeps no other.
func (n *node) dropFrom(group, address int, ok bool) {
	ok = n.drops(group, address) && ok
	if address+1 < len(n.addresses[group]) {
		n.next(group, func() { n.dropFrom(group, address+1, ok) })
		return
	}
	if n.w.options.Any&AnyDropped != 0 && !n.holdsAll(group) {
		ok = true
	}
	dropped := director.Dropped{Group: groupName(group), OK: ok}
	if !ok {
		dropped.Detail = "operation not permitted"
	}
	n.through(group, dropped)
}

// drops one address, and tells whether the kernel has it no more.
func (n *node) drops(group, address int) bool {
	if !n.addresses[group][address].held {
		return true
	}
	if n.refuses(refuseDrop, group, address) {
		return false
	}
	n.remove(group, address)
	if n.w.setup.Groups[group].Addresses > 0 {
		n.gone(group) // the kernel tells of each, whoever asked for it
	}
	return true
}

// refuses tells whether the kernel refuses something for an address of a group.
func (n *node) refuses(operation, group, address int) bool {
	return slices.ContainsFunc(n.w.active, func(h *happening) bool {
		it := n.w.setup.about(group, h.Address, address)
		switch {
		case h.node != n.id:
			return false
		case h.Kind == SwitchRefuse:
			return it && operation == refuseDrop
		case h.Kind != KernelFails:
			return false
		}
		return it && (h.Arg == 0 || h.Arg&operation != 0) || operation == refuseDrop && h.Arg&refuseDrops != 0
	})
}

// moment is how long something small takes on this machine; seldom longer.
func (w *World) moment() Time {
	if w.rng.IntN(100) == 0 {
		return Time(w.rng.IntN(20)) * ms
	}
	return Time(20+w.rng.IntN(200)) * Time(1000)
}
