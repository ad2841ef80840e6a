package director

// message makes a heartbeat of the present state.
func (m *machine) message(answer bool) Message {
	s := &m.s
	s.seq++
	return Message{
		From: m.c.Self, Incarnation: s.incarnation, Seq: s.seq, Sent: m.now, Answer: answer,
		Word: m.word(), Hears: m.hears(),
	}
}

func (m *machine) word() Word {
	s := &m.s
	w := Word{
		Leaving: s.farewell, Maintenance: s.maintenance, Gateway: s.reached && !s.lost && s.carrier, GatewayAge: -1,
		Digest: m.c.Digest, Order: s.order, Groups: make([]Claim, len(s.groups)),
	}
	for _, g := range s.gateways {
		if age := m.now.Sub(g.answeredAt); g.answered && (w.GatewayAge < 0 || age < w.GatewayAge) {
			w.GatewayAge = age
		}
	}
	if len(s.gateways) == 0 {
		w.Gateway = s.carrier
	}
	for i := range s.groups {
		w.Groups[i] = m.claim(&s.groups[i])
	}
	return w
}

// claim is what this node says about a group.
func (m *machine) claim(g *group) Claim {
	c := Claim{
		Group: g.name, Role: g.role, Epoch: g.shown(), Priority: m.priority(g, m.self), Fitness: g.fitness(), Renewed: -1,
		Able: g.able.Code == None, Ready: g.ready, StopFailed: g.stopFailed, Request: g.request, Refused: g.refused, Why: g.why,
	}
	if !g.role.Holds() {
		switch third := m.third(g); {
		case g.able.Code != None:
			c.Why = g.able
		case third.Code != None:
			c.Blocked, c.Why = true, third
		}
	}
	if by := m.claimant(g); by >= 0 && !g.role.Holds() {
		c.Leave, c.LeaveEpoch = m.name(by), m.s.peers[by].claim(g).Epoch
	}
	if g.address {
		c.Renewed = m.now.Sub(g.renewed)
	}
	if g.to >= 0 {
		c.To, c.Forced = m.name(g.to), g.forced
	}
	if g.role == Releasing && m.c.without(ReleaseFirst) {
		c.Role = Standby
	}
	return c
}

// claimant is the living node with the highest claim among those that acquire a
// group, -1 if none does.
func (m *machine) claimant(g *group) int {
	best := -1
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || p.state != Alive || p.claim(g).Role != Acquiring {
			continue
		}
		if c := p.claim(g); best < 0 || c.Epoch > m.s.peers[best].claim(g).Epoch {
			best = i
		}
	}
	return best
}

// priority orders claims of one epoch: the place in the group's order.
func (m *machine) priority(g *group, node int) int {
	for place, holder := range g.holders {
		if holder == node {
			return len(g.holders) - place
		}
	}
	return 0
}

func (m *machine) hears() []Hear {
	list := make([]Hear, 0, len(m.s.peers))
	for i := range m.s.peers {
		if i == m.self {
			continue
		}
		p := &m.s.peers[i]
		h := Hear{Node: m.name(i), Incarnation: p.incarnation, Seq: p.seq, Sent: p.sent, Silent: m.now.Sub(p.clock), Heard: p.heard, Thin: m.thin(p)}
		if p.heard && p.wordOf == p.seq {
			h.Word = p.word
		} else {
			h.Heard = false // its newest word came through others: not ours to pass on
		}
		list = append(list, h)
	}
	return list
}
