package sim

import (
	"slices"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// pick decides whom a fault is about.
func (w *World) pick(f Fault) (int, int) {
	owner := 0
	for i, n := range w.nodes[:w.setup.Directors] {
		if n.serves(0) {
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
	h.bits = w.setup.bits(f.Arg%len(w.setup.Groups), f.Address)
	w.rules.begun = w.now
	w.begun = append(w.begun, f)
	n := w.nodes[h.node]
	h.process = n.process
	w.log("FAULT %s at %s, %s, arg %d, for %v", f.Kind, n.name, w.nodes[h.other].name, f.Arg, f.For)
	w.active, w.last = append(w.active, h), h
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
	defer w.part()
	if h.muddles() {
		w.rules.cleared = w.now
	}
	before := w.asked()
	w.net.clear()
	for _, a := range w.active {
		w.net.apply(a)
		// Where the directors hear each other in spite of the cut, nothing tells
		// them of clients behind it: the periodic announcement has to do.
		if a.Kind == Partition && (w.setup.Single || !w.bypassed()) {
			w.net.cutClients(a.node, a.other)
		}
	}
	if !slices.Equal(before, w.asked()) {
		w.rules.rewired = w.now
	}
	w.reach(h)
	w.affects(h)
}

// asked tells, for each two nodes, whether ARP passes between them.
func (w *World) asked() []bool {
	var list []bool
	for a := range w.nodes {
		for b := range a {
			for d := range devices {
				list = append(list, w.net.both(d, a, b, arp))
			}
		}
	}
	return list
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
	case Pull, Unplug:
		w.after(Time(h.Arg)*ms, func() { w.plug(n) })
	case Flap:
		w.flap(h, n)
	case Stranger:
		w.strangerAnnounces(h, h.Arg%len(w.setup.Groups))
	case Remove:
		w.removeByHand(n, h.Arg%len(w.setup.Groups), h.Address)
	case SwitchRemove:
		w.switchRemove(h, n)
	case Halfway:
		if n.running {
			n.halfway = h
		}
	case Unfit:
		n.conditions()
	case Switchover, SwitchRefuse:
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
	case Halfway:
		n.unfreeze(h)
		w.restart(h, n)
	case SwitchFrozen:
		w.nodes[h.other].unfreeze(h)
	case Pause:
		n.paused = false
		w.pausedChanged()
		n.wake()
	case Pull, Unplug:
		w.after(Time(h.Arg)*ms, func() { w.plug(n) })
	case Flap:
		w.plug(n)
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
	w.plugged(n)
	w.touch(n)
	n.carriers(n.kernelSays)
}

// removeByHand removes an address of a group, or all.
func (w *World) removeByHand(n *node, group, which int) {
	if w.setup.Groups[group].Bare {
		return
	}
	for k := range n.addresses[group] {
		if w.setup.about(group, which, k) && n.addresses[group][k].held {
			n.remove(group, k)
			n.gone(group)
		}
	}
}

// switchRemove removes an address of a group soon after an operator wanted it elsewhere.
func (w *World) switchRemove(h *happening, n *node) {
	group := h.Arg % len(w.setup.Groups)
	w.command(n, director.Operator{Command: director.Switchover, Group: groupName(group), Node: w.target(h)})
	w.after(Time(w.rng.Int64N(int64(max(h.For, 1)))), func() {
		for _, n := range w.nodes[:w.setup.Directors] {
			if n.has(group) {
				w.touch(n)
				w.removeByHand(n, group, h.Address)
			}
		}
	})
}
