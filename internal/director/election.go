package director

import (
	"slices"
	"time"
)

// mayHold tells whether another node may hold a group: it is one of its holders,
// or says so.
func (m *machine) mayHold(g *group, node int) bool {
	if node == m.self {
		return false
	}
	if slices.Contains(g.holders, node) {
		return true
	}
	return m.s.peers[node].known && m.s.peers[node].claim(g).Role.Holds()
}

// able is why this node cannot take a group, whoever holds it now; None: it can.
func (m *machine) able(g *group) Reason {
	switch {
	case !g.mine:
		return because(ReasonNotHolder)
	case m.s.leaving:
		return because(ReasonShutdown)
	case m.s.maintenance:
		return because(ReasonMaintenanceOn)
	case g.role == Init:
		return because(ReasonStarting)
	case g.stopFailed:
		return because(ReasonStopFailed)
	case g.role == Releasing:
		return because(ReasonReleasing)
	case g.role == Fault || g.failed:
		return because(ReasonPause)
	case !g.meets:
		return detailed(ReasonRequire, g.meetsWhy)
	case g.cut:
		return detailed(ReasonRequire, g.cutWhy)
	case m.s.proving && !m.c.without(GapCheck):
		return because(ReasonNotProved)
	case !m.connected():
		return because(ReasonNoGateway)
	case !m.majority() || m.c.NeedsMajority() && !m.followable(g):
		return because(ReasonNoMajority)
	}
	return Reason{}
}

// followable tells whether a majority would hear this node as an owner: what is
// acknowledged grows older by a heartbeat until the next one, and must not pass
// the fence then. Who has begun to acquire is measured as an owner.
func (m *machine) followable(g *group) bool {
	if g.role == Acquiring {
		return m.followed()
	}
	return m.followedWithin(m.c.Timings.Fence - m.c.Timings.Heartbeat)
}

// blocked is why the other nodes are in the way; None: the group is free.
func (m *machine) blocked(g *group) Reason {
	if why := m.leader(g); why.Code != None {
		return why
	}
	return m.others(g)
}

// others is why another node is in the way; None: none is.
func (m *machine) others(g *group) Reason {
	for i := range m.s.peers {
		if !m.mayHold(g, i) {
			continue
		}
		if why := m.blockedBy(g, i); why.Code != None {
			return why
		}
	}
	return Reason{}
}

// third is why another node would be in the way even if the owner released the group.
func (m *machine) third(g *group) Reason {
	for i := range m.s.peers {
		if !m.mayHold(g, i) {
			continue
		}
		switch why := m.blockedBy(g, i); why.Code {
		default:
			return why
		case None, ReasonOwnerAlive, ReasonPeerAcquiring, ReasonPeerReleasing:
		}
	}
	return Reason{}
}

func (m *machine) blockedBy(g *group, i int) Reason {
	p, name := &m.s.peers[i], m.name(i)
	switch p.state {
	case Unheard:
		return about(ReasonInitDead, name)
	case Suspect:
		return about(ReasonPeerSuspect, name)
	case Dead:
		return m.blockedByDead(g, i)
	case Left, Fenced:
		return Reason{}
	case Alive:
	}
	c := p.claim(g)
	switch c.Role {
	case Init:
		return about(ReasonPeerStarting, name)
	case Acquiring:
		if g.role == Acquiring && m.above(m.claim(g), c, i) {
			return Reason{}
		}
		return about(ReasonPeerAcquiring, name)
	case Active:
		return about(ReasonOwnerAlive, name)
	case Releasing:
		return about(ReasonPeerReleasing, name)
	case Standby, Fault, Maintenance:
	}
	if c.StopFailed {
		return about(ReasonPeerStopFailed, name)
	}
	return Reason{}
}

// blockedByDead: a node that is silent without farewell may live on where it
// cannot be heard.
func (m *machine) blockedByDead(g *group, i int) Reason {
	p, name := &m.s.peers[i], m.name(i)
	switch {
	case g.backAt != 0 && m.now.Sub(g.backAt) < m.c.Timings.Dead:
		return about(ReasonPeerSuspect, name) // its silence may have been the lost carrier's
	case m.c.Stonith == StonithRequire:
		return about(ReasonStonithNeeded, name)
	case m.c.OnPeerSilent == HoldStill && m.c.Voters() == 2:
		return about(ReasonHold, name)
	case m.c.Takeover == Strict && m.now < m.strictEnd(g, p):
		return about(ReasonStrict, name)
	case m.c.Stonith == StonithAsk && p.claim(g).StopFailed:
		return about(ReasonStonithNeeded, name)
	}
	return Reason{}
}

// strictEnd is when the kernel of a silent node must have let go: it may have
// renewed until its fence, which it counts from no later than we heard it.
func (m *machine) strictEnd(g *group, p *peer) Instant {
	t := m.c.Timings
	heard := max(p.relayed, g.backAt)
	if m.c.Groups[g.index].Bare {
		return heard.Add(t.Fence + t.Tick) // there is no lease to wait for
	}
	return heard.Add(t.Fence + t.Tick + t.Lease + t.LeaseMargin)
}

// leader is why a group that goes with another cannot be here.
func (m *machine) leader(g *group) Reason {
	together := m.c.Groups[g.index].Together
	if together == "" {
		return Reason{}
	}
	if own := m.groupOf(together); own != nil && own.role == Acquiring {
		return Reason{} // it is on its way; if it ends up elsewhere, this group follows
	}
	switch at := m.holderOf(together); at {
	case m.self:
		return Reason{}
	case -1:
		return because(ReasonLeaderNowhere)
	default:
		return about(ReasonLeaderElsewhere, m.name(at))
	}
}

// holderOf is the node that holds a group, as far as is known; -1: none.
func (m *machine) holderOf(name string) int {
	g := m.groupOf(name)
	if g == nil {
		return -1
	}
	if g.role == Active {
		return m.self
	}
	for i := range m.s.peers {
		if p := &m.s.peers[i]; i != m.self && (p.state == Alive || p.state == Suspect) && p.claim(g).Role == Active {
			return i
		}
	}
	return -1
}

// above compares two claims: epoch, the address, priority, name. It is the same on both
// sides. Who released the group may claim it again before it hears who has taken it at
// once: who only asks does not have the other give it up.
func (m *machine) above(own, other Claim, node int) bool {
	switch {
	case own.Epoch != other.Epoch:
		return own.Epoch > other.Epoch
	case own.takes() != other.takes():
		return own.takes()
	case own.Priority != other.Priority:
		return own.Priority > other.Priority
	}
	return m.c.Self < m.name(node)
}

// A candidate is a node that can take a group, with what orders candidates.
type candidate struct {
	node, fitness, apart, place int
}

// candidate tells whether a node can take a group, and how well.
func (m *machine) candidate(g *group, place int) (candidate, bool) {
	node := g.holders[place]
	k := candidate{node: node, fitness: g.fitness(), place: place, apart: m.neighbours(g, node)}
	if node == m.self {
		return k, m.able(g).Code == None
	}
	p := &m.s.peers[node]
	c := p.claim(g)
	k.fitness = c.Fitness
	return k, p.state == Alive && c.Able
}

// neighbours is how many of the groups that should be apart from g a node holds, or
// is about to.
func (m *machine) neighbours(g *group, node int) int {
	n := 0
	for _, name := range m.c.Groups[g.index].Apart {
		apart := m.groupOf(name)
		switch {
		case apart == nil:
		case node == m.self && (apart.role == Active || apart.role == Acquiring), apart.role == Releasing && apart.to == node:
			n++
		case node != m.self:
			if c := m.s.peers[node].claim(apart); c.Role == Active || c.Role == Acquiring {
				n++
			}
		}
	}
	return n
}

// before orders candidates: fitness, groups apart, place in the order (which is by
// priority, then name, where no order was given).
func (a candidate) before(b candidate) bool {
	switch {
	case a.fitness != b.fitness:
		return a.fitness > b.fitness
	case a.apart != b.apart:
		return a.apart < b.apart
	}
	return a.place < b.place
}

// best is the best candidate other than the node given, -1 if there is none.
func (m *machine) best(g *group, except int) int {
	return m.choose(g, func(k candidate, able bool) bool { return able && k.node != except })
}

// choose the best of the holders that count.
func (m *machine) choose(g *group, counts func(k candidate, able bool) bool) int {
	best, found := candidate{node: -1}, false
	for place := range g.holders {
		k, able := m.candidate(g, place)
		if counts(k, able) && (!found || k.before(best)) {
			best, found = k, true
		}
	}
	return best.node
}

// turn is why a free group is another node's to take; None: it is ours. Who lets
// the patience pass loses its turn, since nobody knows what hinders it.
func (m *machine) turn(g *group) Reason {
	t := m.c.Timings
	if g.to == m.self || m.c.Groups[g.index].Together != "" {
		return Reason{}
	}
	if g.to >= 0 && m.now.Sub(g.toAt) < t.Patience && m.s.peers[g.to].state == Alive && m.s.peers[g.to].claim(g).Able {
		return about(ReasonReleasedFor, m.name(g.to))
	}
	var own candidate
	for place := range g.holders {
		if g.holders[place] == m.self {
			own, _ = m.candidate(g, place)
		}
	}
	ahead, first := 0, candidate{}
	for place := range g.holders {
		if k, ok := m.candidate(g, place); ok && k.node != m.self && k.before(own) {
			if ahead == 0 || k.before(first) {
				first = k
			}
			ahead++
		}
	}
	if ahead > 0 && m.now.Sub(g.freeAt) < time.Duration(ahead)*t.Patience {
		return about(ReasonBetter, m.name(first.node))
	}
	return Reason{}
}

// obstacle is the first reason why this node does not acquire a group; None: it may.
func (m *machine) obstacle(g *group) Reason {
	if why := m.able(g); why.Code != None {
		g.free = false
		return why
	}
	if why := m.blocked(g); why.Code != None {
		g.free = false
		return why
	}
	if !g.free {
		g.free, g.freeAt = true, m.now
	}
	return m.turn(g)
}

// onlyTime tells whether nothing but the silence of others, or how long it
// lasted, is in the way.
func (m *machine) onlyTime(g *group) bool {
	if m.leader(g).Code != None {
		// It would come with its leader, in the same step.
		if leader := m.groupOf(m.c.Groups[g.index].Together); leader == nil || !leader.ready {
			return false
		}
	}
	switch why := m.others(g); why.Code {
	default:
		return false
	case None:
		return true
	case ReasonPeerSuspect:
		return m.c.Takeover == Fast && m.c.Stonith != StonithRequire && (m.c.OnPeerSilent == TakeOver || m.c.Voters() != 2)
	case ReasonStrict:
		left := m.strictEnd(g, &m.s.peers[m.c.node(why.Node)]).Sub(m.now)
		return left <= m.c.Timings.Dead-m.c.Timings.Fence
	}
}
