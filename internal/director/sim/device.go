package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// devices is how many a host has at most. What is wrong with the service network by
// the other faults is wrong on both; Unplug and Flap are about one.
const devices = 2

// twoDevices gives every fourth cluster a second device, and faults of one. It draws
// from a source of its own, so that the other schedules are what they were.
func (s *Schedule) twoDevices(r *rand.Rand) {
	if r.IntN(4) != 0 {
		return
	}
	s.Setup.Two, s.Setup.BackOnSecond, s.Setup.GatewaySecond = true, r.IntN(2) == 0, r.IntN(2) == 0
	if len(s.Setup.Groups) == 1 {
		s.Setup.Groups = append(s.Setup.Groups, newGroup(r, s.Setup, 1))
	}
	for i := range s.Setup.Groups {
		s.Setup.Groups[i].Second = r.IntN(2) == 0 && !s.Setup.Groups[i].Bare
	}
	for i := range s.Faults {
		if s.Setup.Single && r.IntN(3) > 0 {
			at := s.Faults[i].At
			s.Faults[i] = newDeviceFault(r, s.Setup)
			s.Faults[i].At = at
		}
	}
	if s.Setup.Single {
		return
	}
	for range 1 + r.IntN(4) {
		f := newDeviceFault(r, s.Setup)
		f.At = Time(r.IntN(6000)) * ms
		if n := len(s.Faults); n > 0 && r.IntN(2) == 0 {
			near := s.Faults[r.IntN(n)]
			f.At = near.At + Time(r.Int64N(int64(near.For+300*ms)))
		}
		s.Faults = append(s.Faults, f)
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

func newDeviceFault(r *rand.Rand, s Setup) Fault {
	f := newFault(r, s, []chance{{Unplug, 5}, {Flap, 1}})
	f.Device = r.IntN(devices)
	if f.Arg = []int{0, 0, 2, 150, 700}[r.IntN(5)]; f.Kind == Flap {
		f.Arg = 3 + r.IntN([]int{20, 200, 700}[r.IntN(3)])
	}
	return f
}

// device is on which one a group's address is.
func (s Setup) device(group int) int {
	if s.Two && s.Groups[group].Second {
		return 1
	}
	return 0
}

// deviceOf is the one in whose network a gateway is.
func (n *network) deviceOf(gateway int) int {
	if n.second[gateway] {
		return 1
	}
	return 0
}

// gatewayOn tells whether there is a gateway that proves a device's wire.
func (w *World) gatewayOn(device int) bool {
	for i := range w.net.gateways {
		if w.net.deviceOf(i) == device {
			return true
		}
	}
	return false
}

// halved tells whether a node has a device that is unplugged.
func (w *World) halved(node int) bool {
	return w.net.unplugged[0][node] || w.net.unplugged[1][node]
}

// neverOver: nobody takes over from who is silent, for good.
func (w *World) neverOver(int) bool {
	return w.setup.HoldStill && w.setup.voters() == 2 || w.setup.Stonith == director.StonithRequire
}

// plugged is what the drivers tell of a node's devices from now on.
func (w *World) plugged(n *node) {
	pulled := w.is(Pull, n.id)
	for d := range w.carrier {
		w.carrier[d][n.id] = !pulled && !w.net.unplugged[d][n.id]
	}
}

// carriers tells whether a group's device has one on a node, and one of the node's too.
func (w *World) carriers(node, group int) bool { return w.carrier[w.setup.device(group)][node] }

// capable tells whether a node's devices let it serve a group; without an address it
// needs none but one at all.
func (w *World) capable(node, group int) bool {
	if w.setup.Groups[group].Bare {
		return w.anyCarrier(node)
	}
	return w.carriers(node, group)
}

// anyCarrier is what monitord says of a node: a device that an address is on has one.
func (w *World) anyCarrier(node int) bool {
	for i, g := range w.setup.Groups {
		if !g.Bare && w.carriers(node, i) {
			return true
		}
	}
	return false
}

// carriers says what is known of the devices, in monitord's order: that all are lost
// before what the groups lost, and that it is over after what they have again.
func (n *node) carriers(say func(director.What)) {
	up := n.w.anyCarrier(n.id)
	if !up {
		say(director.Carrier{Detail: "all are down"})
	}
	for _, is := range []bool{false, true} {
		for i, g := range n.w.setup.Groups {
			if !g.Bare && n.id < n.w.setup.Directors && n.w.carriers(n.id, i) == is {
				say(n.carrierOf(i))
			}
		}
	}
	if up {
		say(director.Carrier{Up: true})
	}
}

func (n *node) carrierOf(group int) director.Carrier {
	c := director.Carrier{Group: groupName(group), Up: n.w.carriers(n.id, group)}
	if !c.Up {
		c.Detail = "no carrier"
	}
	return c
}

// carriersAtStart: of the groups only what is down.
func (n *node) carriersAtStart() {
	n.deliver(director.Carrier{Up: n.w.anyCarrier(n.id)})
	for i, g := range n.w.setup.Groups {
		if c := n.carrierOf(i); !c.Up && !g.Bare && n.id < n.w.setup.Directors {
			n.deliver(c)
		}
	}
}

func (n *node) pollCarriers() {
	if n.w.setup.Two {
		n.carriers(n.receive)
		return
	}
	n.receive(director.Carrier{Up: n.w.anyCarrier(n.id)})
}

// flap takes one device's carrier and gives the other its own back, again and again.
func (w *World) flap(h *happening, n *node) {
	if h.over {
		return
	}
	h.turn = 1 - h.turn
	w.changed(h)
	w.plug(n)
	w.after(Time(h.Arg)*ms, func() { w.flap(h, n) })
}

// reach notes what an Unplug does beside its device's groups: heartbeats are not heard,
// or the gateway is behind it, or, with a majority, there is none.
func (w *World) reach(h *happening) {
	switch {
	case h.Kind == Flap:
		h.wide = true
	case h.Kind != Unplug || h.over:
	default:
		for i := range w.nodes {
			h.unheard = h.unheard || i != h.node && (!w.hears(i, h.node) || !w.hears(h.node, i))
		}
		h.wide = !w.connected(h.node) || h.unheard && w.setup.voters() >= 3
	}
}

// spared tells whether all that happened to a node is that the device of other groups
// was unplugged: this one has nothing to do with that. Who is not heard any more may be
// powered off, where that is configured.
func (w *World) spared(n *node, group int) bool {
	h := w.last
	g := w.setup.Groups[group]
	return w.setup.Single && n.powered && h != nil && h.Kind == Unplug && !h.wide && h.node == n.id && h.Device != w.setup.device(group) &&
		!g.Bare && !g.Together && !g.Apart && !g.Failback
}

// unplugged is what the loss of one device is to a group: with heartbeats that go on a
// planned move, or a lost gateway for the groups of the other device; without, a cut.
// One that follows another stays where that one is.
func (w *World) unplugged(group int) (f director.Failure, promised bool) {
	own := w.last.Device == w.setup.device(group)
	switch {
	case w.last.unheard:
		return director.CutOff, true
	case !own:
		return director.ServiceCut, true
	}
	return director.Planned, !w.setup.Groups[group].Together
}

// follows tells whether a group cannot be at a node, since the one that it goes with
// is at another, which has lost a device.
func (w *World) follows(node, group int) bool {
	if !w.setup.Two || !w.setup.Groups[group].Together {
		return false
	}
	return slices.ContainsFunc(w.rules.groups[0].holders, func(at int) bool { return at != node && w.halved(at) })
}

// unnoticed is the exception that is documented for two devices: two directors that
// vote alone and have no other path, a gateway that the lost device is not needed for,
// and a driver that tells of the loss after the fence only.
func (w *World) unnoticed() bool {
	h, s := w.last, w.setup
	return h != nil && h.Kind == Unplug && h.unheard && !h.wide && s.voters() == 2 && Time(h.Arg)*ms >= w.timings.Fence &&
		!s.HoldStill && s.Stonith != director.StonithRequire && s.Single
}

// strands tells whether a group that follows the first is let go for its own device, while
// the first stays: then nobody has it.
func (w *World) strands(n *node, group int) bool {
	h := w.last
	first, g := w.setup.Groups[0], w.setup.Groups[group]
	return w.setup.Single && n.powered && h != nil && h.Kind == Unplug && !h.wide && !h.unheard && h.node == n.id &&
		h.Device == w.setup.device(group) && h.Device != w.setup.device(0) && g.Together && !first.Failback && n.has(0)
}
