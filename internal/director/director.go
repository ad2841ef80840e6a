// Package director decides who may hold a virtual address. It is a pure machine:
// [Step] takes a configuration, a state and an event, and returns the next state
// and what to do; no clock, I/O, goroutine or lock is in it, and the same
// arguments give the same answer. A cluster is one such machine on each node.
//
// # What the world owes the machine
//
// The world is the loop that calls Step, or the simulator.
//
//   - Start once, then Carrier (of groups only where it is down), and [Found] once for each group that this node is
//     a holder of (see [Config.Holders]), before anything else. A changed
//     configuration is a new Start, with Found for what is held.
//   - Events one after the other, with At from CLOCK_BOOTTIME, read when the event
//     is handed over: never going back, and standing still for no frozen process.
//   - A [Tick] at least every Timings.Tick, after all queued events: what arrived
//     before a timer is due counts before the timer.
//   - All actions of a step, in their order, none of them waiting in the loop:
//     results come back as events, exactly one for each action that has one.
//     StartPart and StopPart of one group run one after the other; Drop overtakes them.
//   - [Take] and [Renew] are checked against NotAfter by who executes them, before
//     and after the call, since it may have been frozen in between. What was taken
//     or renewed late is removed at once.
//   - After [Drop] the address is not configured by an earlier Take or Renew any
//     more, and their results come before that of Drop; in the same way Started
//     comes before the Stopped of a StopPart that ended the start.
//   - Messages are authentic. They may be lost, late, doubled, and out of order.
//   - A [StonithDone] that is OK, and ConfirmFenced, are true.
//   - When the process ends by [Shutdown], it waits for [Exit] (or gives up after
//     its own time: the lease ends then). [Quit] leaves everything where it is.
//
// # What the machine owes the world
//
//   - An address is taken (Take) only after: the owner is dead, left, was fenced
//     or released; every living director that could object has answered the claim;
//     the wire is silent, or the owner said that it released; a majority is there
//     (three voters or more); the gateway answers; the epoch is saved, or the disk
//     refuses.
//   - Renew comes only while the node is entitled, and Drop at the moment it ceases
//     to be, before anything else is stopped. In a handover, where the node is still
//     entitled, what comes after the address is stopped while it serves.
//   - Everything started is stopped, in reverse; a group is standby only when it
//     is. A failed StopPart is repeated for ever.
//   - Every transition is told with its reason, and a refusal whenever its reason
//     changes.
//
// # Roles
//
// One machine for each group on each node.
//
//	┌──────┐  clean   ┌─────────┐ free, our turn  ┌───────────┐   taken  ┌────────┐
//	│ init │─────────▶│ standby │────────────────▶│ acquiring │─────────▶│ active │
//	└──────┘          └─────────┘◀────────────────└───────────┘          └────────┘
//	 │  │  │            │  ▲  ▲       objection          │ lost, failed     ▲  │
//	 │  │  │            │  │  │                         ▼                  │  │ fence, claim,
//	 │  │  │            │  │  │    stopped        ┌───────────┐            │  │ handover
//	 │  │  │            │  │  └───────────────────│ releasing │◀───────────│──┘
//	 │  │  │            │  │                      └───────────┘            │
//	 │  │  │            │  │ pause over, stopped      │    │               │
//	 │  │  │ stop fails │  └───────────┌───────┐      │    │               │
//	 │  │  └────────────│─────────────▶│ fault │◀─────┘    │               │
//	 │  │               │              └───────┘ start or  │               │
//	 │  │  maintenance  ▲                  │     stop failed│              │
//	 │  │  on and off   ▼                  │                │              │
//	 │  │   ┌─────────────┐  maintenance   │                │              │
//	 │  └──▶│ maintenance │◀───────────────┴────────────────┘              │
//	 │      └─────────────┘                                                │
//	 └─ found here, inside its lease ──────────────────────────────────────┘
//
// The arrows, each of which a test walks:
//
//	init        -> active       its address was found here, inside its lease
//	init        -> standby      nothing of it runs here
//	init        -> maintenance  nothing of it runs here
//	init        -> fault        what an earlier process left does not stop
//	standby     -> acquiring    the owner is dead, left, was fenced or released, and it is our turn
//	standby     -> maintenance  an operator ordered it
//	acquiring   -> active       asked, saved, started, taken
//	acquiring   -> standby      an objection, before anything was started
//	acquiring   -> releasing    an objection or a failure, later
//	active      -> releasing    the fence, a higher claim, a lost lease, a handover, a failure
//	releasing   -> standby      everything is stopped
//	releasing   -> fault        it did not start, or does not stop
//	releasing   -> maintenance  everything is stopped
//	fault       -> standby      the pause after a failed start is over, or the stop succeeded
//	fault       -> maintenance  an operator ordered it
//	maintenance -> standby      it is over
package director

import "slices"

// Start makes the state of a node that just started.
func Start(c Config, r Restored, now Instant) (State, []Action) {
	s := State{
		now: now, started: now, incarnation: r.Incarnation, maintenance: r.Maintenance,
		carrier: true, proving: true, proveSince: now, fast: true, fastAt: now, beaten: now, speak: true,
		gateways: make([]gateway, len(c.Gateways)), peers: make([]peer, len(c.Nodes)), groups: make([]group, len(c.Groups)),
	}
	for i := range s.peers {
		s.peers[i] = peer{clock: now, relayed: now, ackedAt: now}
	}
	self := c.node(c.Self)
	for i, set := range c.Groups {
		g := &s.groups[i]
		*g = group{name: set.Name, index: i, since: now, meets: true, lastHeld: -1, to: -1, better: -1, leave: -1, able: because(ReasonStarting)}
		g.seen = r.Epochs[set.Name]
		g.epoch, g.saved = g.seen, g.seen
		for _, name := range c.Holders(set) {
			g.holders = append(g.holders, c.node(name))
		}
		g.mine = slices.Contains(g.holders, self)
		if !g.mine {
			g.role, g.why, g.able = Standby, because(ReasonNotHolder), because(ReasonNotHolder)
		}
	}
	m := machine{c: &c, s: s, now: now, self: self}
	m.end()
	return m.s, m.actions
}

// Step makes the next state. The old one is not changed.
//
// Time decides on a [Tick] only, since what is still queued may say otherwise;
// what an event makes possible is done at once.
func Step(c Config, s State, e Event) (State, []Action) {
	if s.gone {
		return s, nil
	}
	m := machine{c: &c, s: s.clone(), self: c.node(c.Self)}
	m.now = max(e.At, s.now)
	m.gap()
	m.s.now = m.now
	m.event(e.What)
	for i := range m.s.groups {
		m.decide(&m.s.groups[i])
	}
	m.orders()
	m.end()
	return m.s, m.actions
}

// A machine is one step under way.
type machine struct {
	c       *Config
	self    int // the own index in Config.Nodes
	s       State
	now     Instant
	tick    bool // the event is a Tick: time may decide
	answer  int  // whom to answer, plus one
	actions []Action
}

// clone copies what Step may change; words and hears are never changed.
func (s State) clone() State {
	s.gateways = slices.Clone(s.gateways)
	s.peers = slices.Clone(s.peers)
	s.groups = slices.Clone(s.groups)
	return s
}

func (m *machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *machine) name(node int) string { return m.c.Nodes[node].Name }

// event takes in what happened, before anything is decided.
func (m *machine) event(what What) {
	switch e := what.(type) {
	case Tick:
		m.tick = true
		m.pings()
		m.clocks()
		m.prove()
	case Heard:
		m.overLink(e)
		m.heard(e.Message)
	case PingAnswered:
		m.pong(e)
	case Carrier:
		m.carrier(e)
	case WireAnswered, WireWorks, ForeignClaim:
		m.wire(e)
	case LeaseSet, Dropped, LeaseGone:
		m.lease(e)
	case Found:
		m.found(e)
	case Started, Stopped:
		m.resources(e)
	case StonithDone:
		m.stonithDone(e)
	case Saved:
		m.savedEpoch(e)
	case Require:
		m.require(e)
	case Operator:
		m.operator(e)
	case Shutdown:
		m.s.leaving = true
		m.s.speak = true
	case Quit:
		m.quit()
	}
}

// decide does what the rules ask of one group now.
func (m *machine) decide(g *group) {
	if m.s.gone {
		return
	}
	m.reserve(g)
	m.probe(g)
	switch g.role {
	case Init:
		m.clean(g)
	case Standby:
		m.standby(g)
	case Acquiring:
		m.acquire(g)
	case Active:
		m.hold(g)
	case Releasing:
		m.release(g)
	case Fault:
		m.fault(g)
	case Maintenance:
		if !m.s.maintenance {
			m.to(g, Standby, because(ReasonMaintenanceOff))
		}
	}
	m.requests(g)
	m.show(g)
}

// to changes a group's role, and tells.
func (m *machine) to(g *group, role Role, why Reason) {
	from := g.role
	g.role, g.since, g.why, g.refusal = role, m.now, why, Reason{}
	m.s.speak = true
	m.do(Tell{Notice{At: m.now, Kind: Transition, Group: g.name, From: from, To: role, Epoch: g.shown(), Reason: why}})
}

// refuse tells why a group is not taken, moved or let go, when that changes.
func (m *machine) refuse(g *group, why Reason) {
	if g.refusal == why {
		return
	}
	g.refusal = why
	if why.Code != None {
		m.do(Tell{Notice{At: m.now, Kind: Refusal, Group: g.name, From: g.role, To: g.role, Epoch: g.shown(), Reason: why}})
	}
}

// remark tells everything else; g may be nil.
func (m *machine) remark(g *group, why Reason) {
	n := Notice{At: m.now, Kind: Remark, Reason: why}
	if g != nil {
		n.Group, n.From, n.To, n.Epoch = g.name, g.role, g.role, g.shown()
	}
	m.do(Tell{n})
}

func (m *machine) groupOf(name string) *group {
	if i := m.c.group(name); i >= 0 {
		return &m.s.groups[i]
	}
	return nil
}

// show updates what the others are told about a group.
func (m *machine) show(g *group) {
	able := m.able(g)
	ready := able.Code == None && (g.role == Standby || g.role == Acquiring) && g.silent && m.onlyTime(g)
	if able != g.able || ready != g.ready {
		m.s.speak = true
	}
	if ready && !g.ready {
		g.readyAt = m.now
	}
	if ready && m.tick && m.now.Sub(g.readyAt) <= m.c.Timings.Dead-m.c.Timings.Fence {
		m.s.speak = true // an owner that cannot be heard has to hear this, and cannot acknowledge it
	}
	g.able, g.ready = able, ready
	if leave := m.claimant(g); leave != g.leave {
		g.leave = leave
		m.s.speak = m.s.speak || m.c.NeedsMajority()
	}
}

// end sends what is due at the end of a step: the farewell, heartbeats, answers.
func (m *machine) end() {
	if m.s.gone {
		return
	}
	m.sayFarewell()
	if m.tick && m.now.Sub(m.s.beaten) >= m.c.Timings.Heartbeat {
		m.s.speak = true
	}
	switch {
	case m.s.speak:
		m.do(Send{Message: m.message(false)})
		m.s.speak, m.s.beaten = false, m.now
	case m.answer > 0:
		m.do(Send{To: m.name(m.answer - 1), Message: m.message(true)})
	}
	if m.s.farewell && (m.now.Sub(m.s.farewellAt) >= m.c.Timings.Suspect || m.farewellHeard()) {
		m.s.gone = true
		m.do(Exit{})
	}
}
