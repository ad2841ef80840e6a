package director

import "time"

// askStonith asks for a power-off where the reason why a group is not taken can
// be ended by it: a dead node still answers although its lease is over, does not
// stop what it should, or must be off by order.
func (m *machine) askStonith(g *group, why Reason) {
	if m.c.Stonith == NoStonith || !m.tick || m.able(g).Code != None || m.turn(g).Code != None {
		return
	}
	i := m.c.node(why.Node)
	if i < 0 || i == m.self {
		return
	}
	p := &m.s.peers[i]
	switch why.Code {
	case ReasonPeerStopFailed:
	case ReasonStonithNeeded:
		if !g.silent && (m.now < m.strictEnd(g, p) || m.cutOff()) && !m.c.Groups[g.index].Bare {
			return // its kernel answers: the daemon may only be restarting
		}
	case ReasonAnswered:
		if p.state != Dead || m.now < m.strictEnd(g, p) || m.cutOff() {
			return // the lease may do it
		}
	default:
		return
	}
	if !p.stonithDue(m.now, m.c.Timings.StonithRetry) {
		return
	}
	p.stonithing, p.stonithed, p.stonithAt = true, true, m.now
	m.remark(g, Reason{Code: ReasonStonithAsked, Node: why.Node, Detail: why.String()})
	m.do(PowerOff{Node: why.Node})
}

// stonithThird asks for it where the owner is alive and a third node, which is dead, would keep
// this one from being handed the group. Nobody is without service yet, so there is time for a
// daemon to be started again.
func (m *machine) stonithThird(g *group) {
	why := m.third(g)
	if why.Code == ReasonStonithNeeded && m.now.Sub(m.s.peers[m.c.node(why.Node)].relayed) >= m.c.Timings.InitDead {
		m.askStonith(g, why)
	}
}

// cutOff tells whether a device of any group here has no carrier, or had none until so
// lately that others need not have been heard since. A node that is silent and whose kernel
// answers is most likely well then, and would be heard on that device: to power it off would
// end the groups that it alone can hold.
func (m *machine) cutOff() bool {
	for i := range m.s.groups {
		if g := &m.s.groups[i]; g.cut || g.backAt != 0 && m.now.Sub(g.backAt) < m.c.Timings.Dead {
			return true
		}
	}
	return false
}

func (m *machine) stonithDone(e StonithDone) {
	i := m.c.node(e.Node)
	if i < 0 || i == m.self {
		return
	}
	p := &m.s.peers[i]
	p.stonithing, p.stonithAt = false, m.now
	if !e.OK {
		m.remark(nil, Reason{Code: ReasonStonithFailed, Node: e.Node, Detail: e.Detail})
		return
	}
	p.state, p.fencedAt = Fenced, m.now
	m.remark(nil, about(ReasonStonithOK, e.Node))
}

// stonithDue tells whether a power-off may be asked for (again).
func (p *peer) stonithDue(now Instant, retry time.Duration) bool {
	return !p.stonithing && (!p.stonithed || now.Sub(p.stonithAt) >= retry)
}
