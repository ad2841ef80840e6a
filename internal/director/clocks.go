package director

import "time"

// clocks lets silence count.
func (m *machine) clocks() {
	for i := range m.s.peers {
		if i == m.self {
			continue
		}
		p := &m.s.peers[i]
		if !p.voted && m.now.Sub(p.clock) >= m.enoughForVote() {
			p.voted = true
			m.s.speak = m.s.speak || m.c.NeedsMajority() // it is a vote
		}
		silent := m.now.Sub(p.relayed)
		switch p.state {
		case Alive:
			if silent >= m.suspicion(p) {
				p.state = Suspect
			}
		case Suspect:
			if silent >= m.c.Timings.Dead && m.votes(i) {
				m.die(i)
			}
		case Unheard:
			if m.initOver() && silent >= m.c.Timings.Dead && m.votes(i) {
				m.die(i)
			}
		case Dead:
			if !m.votes(i) {
				p.state = Suspect // others hear it (again)
			}
		case Left, Fenced:
		}
	}
}

// suspicion is the silence that makes a node suspect. What is heard of one through others
// only is older than what they heard, by up to a heartbeat of theirs: without that it
// would be suspect, and not, many times a second for as long as it is so.
func (m *machine) suspicion(p *peer) time.Duration {
	t := m.c.Timings
	if p.relayed.Sub(p.clock) < t.Suspect {
		return t.Suspect
	}
	return min(t.Suspect+t.Heartbeat+2*t.Tick, t.Dead)
}

func (m *machine) die(i int) {
	m.s.peers[i].state = Dead
	m.remark(nil, about(ReasonPeerDead, m.name(i)))
}

// votes tells whether a majority of the voters finds a node silent. Each says so
// in its newest heartbeat; one that does not hear us now has no vote.
func (m *machine) votes(dead int) bool {
	if !m.c.NeedsMajority() {
		return true
	}
	votes := 0
	if m.now.Sub(m.s.peers[dead].clock) >= m.c.Timings.Dead {
		votes++
	}
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || i == dead || p.state != Alive || m.now.Sub(p.clock) >= m.c.Timings.Suspect {
			continue
		}
		for _, h := range p.hears {
			if h.Node == m.name(dead) && h.Silent >= m.enoughForVote() {
				votes++
			}
		}
	}
	return 2*votes > m.c.Voters()
}

// enoughForVote is the silence that is a vote for death: the owner has let go then,
// so that the votes are there when the dead time is over.
func (m *machine) enoughForVote() time.Duration {
	return min(m.c.Timings.Dead, m.c.Timings.Fence+m.c.Timings.Margin)
}

// initOver tells whether a node that was never heard may be taken for dead: after
// initdead, or with a majority at hand - but for death by stonith, which would hit
// whoever is slow to boot.
func (m *machine) initOver() bool {
	return m.now.Sub(m.s.started) >= m.c.Timings.InitDead || m.c.NeedsMajority() && m.majority() && m.c.Stonith != StonithRequire
}

// majority tells whether a majority of the voters is heard.
func (m *machine) majority() bool {
	if !m.c.NeedsMajority() {
		return true
	}
	heard := 1
	for i := range m.s.peers {
		if p := &m.s.peers[i]; i != m.self && p.state == Alive && p.heard && m.now.Sub(p.clock) < m.c.Timings.Dead {
			heard++
		}
	}
	return 2*heard > m.c.Voters()
}

// gap notices that this daemon stood still: silence of others was its own, what
// it knows is old, and what it holds it has to prove anew.
func (m *machine) gap() {
	gap := m.now.Sub(m.s.now)
	if gap <= m.c.Timings.Gap || m.c.without(GapCheck) {
		return
	}
	m.remark(nil, detailed(ReasonGap, gap.String()))
	m.do(Flush{})
	s := &m.s
	s.proving, s.proveSince, s.proveSeq = true, m.now, s.seq
	s.speak = true
	m.restartClocks()
	m.doubtAll()
}

// restartClocks lets the silence of peers begin now: it was not theirs.
func (m *machine) restartClocks() {
	for i := range m.s.peers {
		p := &m.s.peers[i]
		p.clock, p.relayed, p.voted = m.now, m.now, false
		if p.state == Dead {
			p.state = Suspect
		}
	}
	for i := range m.s.groups {
		m.s.groups[i].forgetProbes()
		m.s.groups[i].handed = false
	}
}

// prove notices the first answer to something sent after the start or the gap.
func (m *machine) prove() {
	if m.s.proving && m.proved() {
		m.s.proving = false
		m.s.speak = true
	}
}

func (m *machine) proved() bool {
	s := &m.s
	answered, others := 1, false
	for i := range s.peers {
		if i == m.self {
			continue
		}
		others = true
		if p := &s.peers[i]; p.acked && p.ackedSeq > s.proveSeq {
			answered++
		}
	}
	if m.c.NeedsMajority() {
		return 2*answered > m.c.Voters()
	}
	if answered > 1 || !others {
		return true
	}
	for _, g := range s.gateways {
		if g.answered && g.answeredAt >= s.proveSince {
			return true
		}
	}
	return len(s.gateways) == 0 && m.tick && m.now.Sub(s.proveSince) > m.c.Timings.PingWindow
}
