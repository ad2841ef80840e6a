package sim

import (
	"maps"

	"github.com/monitord/monitord/internal/director"
)

// A part of a group's resources, as it is on a host whatever the daemon thinks.
type part struct {
	running bool
}

// partWork starts or stops one part; works of a group wait for each other, but
// a stop ends the start that it follows.
func (n *node) startPart(group int, p director.Part) {
	l := &n.work[group]
	d := n.w.setup.Groups[group].Begin + n.w.moment()
	if n.w.is(SlowStart, n.id) {
		d += n.w.amount(SlowStart, n.id)
	}
	begin := max(l.free, n.w.now)
	l.free = begin + d
	done, name := false, groupName(group)
	end := func(ok bool, detail string) {
		if !done {
			done = true
			n.deliver(director.Started{Group: name, Part: p, OK: ok, Detail: detail})
		}
	}
	l.current = func() { end(false, "stopped") }
	n.later(begin-n.w.now, func() {
		if done {
			return
		}
		n.w.begins(n, group, p)
		n.setPart(group, p, true)
		n.later(d, func() {
			switch {
			case done:
			case n.w.is(FailStart, n.id):
				n.setPart(group, p, false)
				end(false, "exit 1")
			default:
				end(true, "")
			}
		})
	})
}

func (n *node) stopPart(group int, p director.Part) {
	l := &n.work[group]
	name := groupName(group)
	if end := l.current; end != nil {
		l.current = nil
		n.later(0, end)
		l.free = n.w.now
	}
	d := n.w.moment()
	if n.parts[group][p].running {
		d += n.w.setup.Groups[group].End
		if n.w.is(SlowStop, n.id) {
			d += n.w.amount(SlowStop, n.id)
		}
	}
	begin := max(l.free, n.w.now)
	l.free = begin + d
	n.later(begin-n.w.now+d, func() {
		if n.w.is(FailStop, n.id) && n.parts[group][p].running {
			n.deliver(director.Stopped{Group: name, Part: p, Detail: "does not stop"})
			return
		}
		n.setPart(group, p, false)
		n.deliver(director.Stopped{Group: name, Part: p, OK: true})
	})
}

func (n *node) setPart(group int, p director.Part, running bool) {
	if n.parts[group][p].running != running {
		n.parts[group][p].running = running
		n.w.log("%s: %s, what comes %v, runs: %v", n.name, groupName(group), p, running)
	}
}

// save an epoch.
func (n *node) save(group int, epoch uint64) {
	d := Time(300+n.w.rng.IntN(4000)) * Time(1000)
	if n.w.is(DiskSlow, n.id) {
		d += n.w.amount(DiskSlow, n.id)
	}
	name := groupName(group)
	n.later(d, func() {
		if n.w.is(DiskFails, n.id) {
			n.deliver(director.Saved{Group: name, Epoch: epoch, Detail: "no space left on device"})
			return
		}
		if n.w.is(DiskForgets, n.id) {
			if n.disk.certain == nil {
				n.disk.certain = maps.Clone(n.disk.epochs)
			}
		}
		n.disk.epochs[name] = max(n.disk.epochs[name], epoch) // the highest one counts, whatever the order
		n.deliver(director.Saved{Group: name, Epoch: epoch, OK: true})
	})
}

// stonithTakes is how long a power-off takes at most.
const stonithTakes = 400 * ms

// powerOff another node, which is booted again after a while.
func (n *node) powerOff(name string) {
	d := 50*ms + Time(n.w.rng.Int64N(int64(stonithTakes-50*ms)))
	// What the device does, it does whether the asking process lives or not.
	n.w.after(d, func() {
		if n.w.net.noStonith {
			return
		}
		for _, victim := range n.w.nodes {
			if victim.name == name && victim.powered {
				n.w.log("%s is powered off, as %s asked", name, n.name)
				n.w.touch(victim)
				victim.off()
				n.w.after(2500*ms, func() { n.w.reboot(victim) })
			}
		}
	})
	n.later(d+ms, func() {
		if n.w.net.noStonith {
			n.deliver(director.StonithDone{Node: name, Detail: "no answer"})
			return
		}
		n.deliver(director.StonithDone{Node: name, OK: true})
	})
}
