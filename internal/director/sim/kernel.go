package sim

import "github.com/monitord/monitord/internal/director"

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
	free    Time   // when it is through with what it has
	current func() // ends the start that runs
}

// renew adds the address, or gives it a new lease; an expired one is created again.
func (n *node) renew(group int) {
	a := &n.addresses[group]
	a.renewal++
	lease := n.config.Timings.Lease
	a.ends = n.w.now + lease
	n.hold(group, true)
	n.expireAfter(group, lease-earliestExpiry+Time(n.w.rng.Int64N(int64(n.w.setup.LatestExpiry+earliestExpiry)+1)))
}

func (n *node) expireAfter(group int, d Time) {
	renewal := n.addresses[group].renewal
	n.w.after(d, func() {
		a := &n.addresses[group]
		switch {
		case !a.held || a.renewal != renewal:
		case n.paused: // the kernel's timers stand still as well
			n.expireAfter(group, 10*ms)
		default:
			n.w.log("%s: the kernel ends the lease of %s", n.name, groupName(group))
			n.remove(group)
			n.kernelSays(director.LeaseGone{Group: groupName(group)})
		}
	})
}

// remove the address.
func (n *node) remove(group int) {
	n.addresses[group].renewal++
	n.hold(group, false)
}

func (n *node) hold(group int, held bool) {
	if n.addresses[group].held == held {
		return
	}
	n.addresses[group].held = held
	n.w.holdersChanged(group)
}

// found is what a process that starts sees.
func (n *node) found(group int) (bool, Time) {
	a := n.addresses[group]
	if !a.held || n.w.setup.Groups[group].Bare {
		return false, 0
	}
	return true, max(a.ends-n.w.now, ms)
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
			if n.w.is(KernelFails, n.id) {
				n.deliver(director.LeaseSet{Group: name, Began: began, Detail: "operation not permitted"})
				return
			}
			n.renew(group)
			if n.clock() > notAfter {
				n.remove(group)
				n.deliver(director.LeaseSet{Group: name, Began: began, Detail: "late"})
				return
			}
			if first {
				n.w.owns(n, group)
			}
			n.deliver(director.LeaseSet{Group: name, Began: began, OK: true})
		})
	})
}

// drop the address; it overtakes everything.
func (n *node) drop(group int) {
	n.lanes[group].dropped++
	n.later(n.w.moment()/4, func() {
		if n.w.is(KernelFails, n.id) {
			n.deliver(director.Dropped{Group: groupName(group), OK: !n.addresses[group].held, Detail: "operation not permitted"})
			return
		}
		n.remove(group)
		n.deliver(director.Dropped{Group: groupName(group), OK: true})
	})
}

// moment is how long something small takes on this machine; seldom longer.
func (w *World) moment() Time {
	if w.rng.IntN(100) == 0 {
		return Time(w.rng.IntN(20)) * ms
	}
	return Time(20+w.rng.IntN(200)) * Time(1000)
}
