package sim

import (
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Rule 2: an entitled, connected director holds within the bound: all addresses of a group.

func (w *World) servedChanged(group int) {
	g := &w.rules.groups[group]
	served := slices.ContainsFunc(g.holders, func(n int) bool { return w.reachable(n, group) })
	switch {
	case served && g.unserved >= 0:
		if w.setup.Single {
			w.outage(w.now - g.unserved)
		}
		g.unserved = -1
	case !served && g.unserved < 0:
		g.unserved = w.now
	}
}

func (w *World) outage(d Time) {
	s := w.setup
	if last := w.lastBegun(); last != nil && !s.Strict && !s.HoldStill && s.Stonith == director.NoStonith {
		w.rules.result.Outages[last.Kind] = max(w.rules.result.Outages[last.Kind], d)
	}
}

// reachable tells whether clients behind the gateways reach a node and back.
func (w *World) reachable(node, group int) bool {
	device, bare := w.setup.device(group), w.setup.Groups[group].Bare
	switch {
	case !bare && !w.net.up(device, node):
		return false
	case w.setup.Gateways == 0:
		return true // nobody looks for more
	case !bare && !w.gatewayOn(device):
		return w.net.both(device, node, w.net.client(0), everything) || w.net.both(device, node, w.net.client(1), everything)
	}
	return w.gatewaysOf(node) > 0
}

func (w *World) gatewaysOf(node int) int {
	answered := 0
	for i := range w.net.gateways {
		if w.net.both(w.net.deviceOf(i), node, w.net.gateway(i), everything) {
			answered++
		}
	}
	return answered
}

func (w *World) connected(node int) bool {
	return w.enough(w.gatewaysOf(node))
}

// pinged tells whether the gateways answer a node's pings, which is all that its
// fence asks.
func (w *World) pinged(node int) bool {
	answered := 0
	for i := range w.net.gateways {
		if w.net.both(w.net.deviceOf(i), node, w.net.gateway(i), ping) {
			answered++
		}
	}
	return w.enough(answered)
}

func (w *World) enough(n int) bool {
	if w.setup.AllGateways {
		return n == w.setup.Gateways
	}
	return n > 0 || w.setup.Gateways == 0
}

// entitled tells whether a director could hold groups, beyond any doubt: it is
// well and connected, and each other node is either well and heard, or dead or
// cut off as a whole.
func (w *World) entitled(node, group int) bool {
	n := w.nodes[node]
	if !n.usable() || n.exiting || n.maintained || !w.capable(node, group) || !w.connected(node) || w.unclear() || w.troubled(node) || w.follows(node, group) {
		return false
	}
	heard := 1
	for i, o := range w.nodes {
		switch {
		case i == node:
		case o.usable() && !o.exiting && w.net.isolated[i] == 0 && !w.troubled(i):
			if w.halved(i) || w.halved(node) {
				if heardBoth := w.hears(node, i) && w.hears(i, node); heardBoth {
					heard++
				} else if w.neverOver(node) {
					return false
				}
				continue
			}
			if !w.net.both(0, node, i, everything) || w.net.filtered[node][i] {
				return false
			}
			heard++
		case w.neverOver(node):
			return false
		}
	}
	return w.setup.voters() < 3 || heard > w.setup.voters()/2
}

// troubled: something is on at a node that is neither death nor health.
func (w *World) troubled(node int) bool {
	return slices.ContainsFunc(w.active, func(h *happening) bool {
		switch h.Kind { //nolint:exhaustive // the other faults do not matter here
		case KernelFails, Stall, Loss, Slow, FailStart, SlowStart, FailStop, SlowStop, Unfit, GatewayPath, DiskSlow, SwitchRefuse:
			return h.node == node
		case Shutdown, Quit, Maintain:
			return h.node == node
		}
		return false
	})
}

// unclear: something is on that concerns everybody.
func (w *World) unclear() bool {
	return slices.ContainsFunc(w.active, (*happening).muddles)
}

func (h *happening) muddles() bool {
	switch h.Kind { //nolint:exhaustive // the other faults do not matter here
	case Split, NoBroadcast, Stranger, NoStonith, Partition, OneWay, Heartbeats, ARP:
		return true
	}
	return false
}

// inTime breaks rule 2 if a group was not served for too long since anything happened.
func (w *World) inTime(group int) {
	g := &w.rules.groups[group]
	if g.unserved < 0 {
		return
	}
	w.promised(group)
	since := max(g.unserved, w.rules.disturbed)
	limit := w.rules.bound
	if w.now-since <= limit || w.fresh() {
		return
	}
	for i := range w.nodes[:w.setup.Directors] {
		if w.entitled(i, group) {
			w.breaks("2 held within the bound", "%s is not served for %v, and %s could", groupName(group), w.now-since, w.nodes[i].name)
			return
		}
	}
}

// failures are the faults that director.Bounds promises something for.
var failures = map[Kind]director.Failure{
	Kill: director.DaemonKilled, Power: director.HostDead, Sworn: director.HostDead, Pull: director.HostDead, Freeze: director.Frozen,
	CutOff: director.CutOff, Mute: director.CutOff, Deaf: director.CutOff, OneWay: director.OneWay,
	GatewayPath: director.GatewayPath, Switchover: director.Planned, FailbackNow: director.Planned,
	Maintain: director.Planned, Shutdown: director.Planned,
}

// promised breaks rule 2 if a single fault costs more than the configuration's
// bound for it, printed by monitord check.
func (w *World) promised(group int) {
	g, last := &w.rules.groups[group], w.lastBegun()
	if !w.setup.Single || last == nil || g.unserved < w.rules.begun || w.setup.Groups[group].Bare {
		return
	}
	failure, known := failures[last.Kind]
	if w.setup.Back && known && last.Kind != Power && last.Kind != Sworn && (failure == director.HostDead || failure == director.CutOff) {
		failure = director.ServiceCut // heartbeats go on over the second network
	}
	extra := w.rules.extra
	if last.Kind == Unplug {
		failure, known = w.unplugged(group)
		extra += Time(last.Arg) * ms // nothing but its driver tells of a device
	}
	b, promised := w.rules.bounds[failure]
	since := g.unserved
	if failure == director.DaemonKilled || failure == director.Frozen {
		since = max(since, g.leased) // it is promised from when the lease of the last address ended
	}
	if lasted := w.now - since; known && promised && !b.Open && lasted > b.Limit+extra {
		w.breaks("2 held within the bound", "%s is not served for %v, promised are %v (%s) and %v for resources and delays",
			groupName(group), lasted, b.Limit, b.Formula, extra)
	}
}

// leased notes that a host whose process is dead, or stands still, has an address of
// several: kernels end their leases one by one, and nobody takes some of them.
func (w *World) leased(group int) {
	if w.setup.addresses(group) == 1 {
		return
	}
	for _, n := range w.nodes[:w.setup.Directors] {
		if !n.usable() && n.has(group) {
			w.rules.groups[group].leased = w.now
		}
	}
}

// extra is what comes on top of a bound: resources, this world's slow moments and
// delays, and that it is looked at now and then.
func (s Setup) extra() Time {
	d := 3*20*ms + checkEvery
	if s.Late > 0 {
		d += 3 * 40 * ms
	}
	for _, g := range s.Groups {
		d += 2 * (g.Begin + g.End)
	}
	return d
}

// fresh: a process started so lately that it may wait for others.
func (w *World) fresh() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool {
		return n.running && w.now-n.started < w.timings.InitDead+w.rules.bound
	})
}
