package director

import "time"

// pings sends what is due, at the pace that the situation asks for, and lets
// missing answers count.
func (m *machine) pings() {
	s, t := &m.s, m.c.Timings
	if fast := m.hurry(); fast != s.fast {
		s.fast, s.fastAt = fast, m.now
	}
	pace := t.LazyPing
	if s.fast {
		pace = t.FastPing
	}
	for i := range s.gateways {
		g := &s.gateways[i]
		due := !g.pinged || m.now.Sub(g.pingedAt) >= pace
		if due {
			g.pinged, g.pingedAt = true, m.now
			m.do(Ping{m.c.Gateways[i]})
		}
	}
	if !s.lost && (!s.carrier || s.fast && !m.enough(m.answering)) {
		m.lose()
	}
	m.compare()
}

// compare notices since when others reach the gateway and this node does not. It
// takes a window of own pings to believe that: a gateway that comes back is seen
// by one node first.
func (m *machine) compare() {
	s := &m.s
	reaches, _ := m.gatewayOfOthers()
	alone := s.lost && reaches >= 0
	if alone && !s.alone {
		s.aloneAt = m.now
	}
	s.alone = alone
}

// hurry tells whether pings should be fast: an answer may soon be needed.
func (m *machine) hurry() bool {
	s, t := &m.s, m.c.Timings
	if s.lost || s.proving || !s.reached {
		return true
	}
	for i := range s.gateways {
		g := &s.gateways[i]
		if g.pinged && g.pingedAt > g.answeredAt && m.now.Sub(g.pingedAt) > t.PingWindow {
			return true // a lazy ping was not answered
		}
		if s.fast && (!g.answered || m.now.Sub(g.answeredAt) > t.PingWindow) {
			return true // and is not yet made up for
		}
	}
	holds := m.holdsAny()
	for i := range s.peers {
		p := &s.peers[i]
		if i == m.self || p.state == Left || p.state == Fenced {
			continue
		}
		if p.state != Alive || !p.word.Gateway && p.known || m.thin(p) || m.thinAt(p) {
			return true
		}
		if holds && m.now.Sub(p.ackedAt) > t.AckStale {
			return true
		}
	}
	return false
}

func (m *machine) holdsAny() bool {
	for i := range m.s.groups {
		if g := &m.s.groups[i]; g.role == Acquiring || g.role == Active || g.role == Releasing {
			return true
		}
	}
	return false
}

// answering tells whether a gateway answered a ping of the window. Silence does
// not count before pings were fast for as long.
func (m *machine) answering(g gateway) bool {
	since := m.s.fastAt
	if g.answered {
		since = max(since, g.answeredAt)
	}
	return m.now.Sub(since) <= m.c.Timings.PingWindow
}

// enough tells whether as many gateways as needed are as ok says.
func (m *machine) enough(ok func(gateway) bool) bool {
	good := 0
	for _, g := range m.s.gateways {
		if ok(g) {
			good++
		}
	}
	if m.c.GatewaysNeeded == AllGateways {
		return good == len(m.s.gateways)
	}
	return good > 0 || len(m.s.gateways) == 0
}

func (m *machine) lose() {
	m.s.lost, m.s.lostAt, m.s.speak = true, m.now, true
	m.remark(nil, because(ReasonGatewayDown))
}

func (m *machine) pong(e PingAnswered) {
	for i, name := range m.c.Gateways {
		if g := &m.s.gateways[i]; name == e.Gateway && e.Sent <= m.now && (!g.answered || e.Sent > g.answeredAt) {
			g.answered, g.answeredAt = true, e.Sent
		}
	}
	m.regain()
	m.prove()
}

// regain notices that the gateway answers (again).
func (m *machine) regain() {
	s := &m.s
	fresh := func(g gateway) bool { return g.answered && m.now.Sub(g.answeredAt) <= m.c.Timings.PingWindow }
	if !s.carrier || !m.enough(fresh) {
		return
	}
	if !s.reached {
		s.reached, s.speak = true, true
	}
	if s.lost {
		s.lost, s.speak = false, true
		m.remark(nil, because(ReasonGatewayUp))
		m.reconnected()
	}
}

// reconnected: what was silent while this node was cut off may not have been.
func (m *machine) reconnected() {
	m.restartClocks()
	m.doubtAll()
}

func (m *machine) carrier(e Carrier) {
	if e.Group != "" {
		m.groupCarrier(e)
		return
	}
	s, up := &m.s, e.Up
	if s.carrier == up {
		return
	}
	s.carrier, s.speak = up, true
	if !up {
		m.remark(nil, detailed(ReasonCarrierDown, e.Detail))
		if !s.lost {
			m.lose()
		}
		return
	}
	m.remark(nil, because(ReasonCarrierUp))
	m.reconnected()
	for i := range s.gateways {
		s.gateways[i].pinged = false // ask at once
	}
	m.regain()
}

// groupCarrier: of several interfaces those of one group are up or not. The other groups
// have nothing to do with it; this one is as good as cut off while the carrier is lost.
func (m *machine) groupCarrier(e Carrier) {
	g := m.groupOf(e.Group)
	if g == nil || g.cut == !e.Up || m.c.without(OwnCarrier) {
		return
	}
	g.cut, g.cutWhy, m.s.speak = !e.Up, e.Detail, true
	if !m.s.carrier {
		return // all are lost: told, and taken in, for the node
	}
	if !e.Up {
		m.remark(g, detailed(ReasonCarrierDown, e.Detail))
		return
	}
	m.remark(g, because(ReasonCarrierUp))
	m.groupBack(g)
}

// groupBack: who was silent may have been heard there alone, so that this group waits a
// dead time anew. The clocks of peers go on: those of other groups must not wait for a
// contact that is loose.
func (m *machine) groupBack(g *group) {
	g.backAt, g.handed = m.now, false
	g.forgetProbes()
	m.doubt(g)
}

// connected tells whether the gateway is known to answer.
func (m *machine) connected() bool {
	s := &m.s
	return s.carrier && !s.lost && (s.reached || len(s.gateways) == 0)
}

// gatewayOfOthers tells what the others' pings say, when ours are not answered: a
// node that reaches the gateway (-1: none), and whether that is certain yet.
func (m *machine) gatewayOfOthers() (reaches int, certain bool) {
	s := &m.s
	certain = true
	for i := range s.peers {
		p := &s.peers[i]
		if i == m.self || p.state != Alive || !p.known || !p.word.Gateway {
			continue
		}
		answered := p.wordAt.Add(-max(p.word.GatewayAge, 0))
		switch {
		case answered > s.lostAt || len(m.c.Gateways) == 0 || m.now.Sub(s.lostAt) > 4*m.c.Timings.PingWindow:
			return i, true
		default:
			certain = false // it pings fast now, and will soon know
		}
	}
	return -1, certain
}

// allSeen tells whether all other directors are heard.
func (m *machine) allSeen() bool {
	for i, n := range m.c.Nodes {
		if i != m.self && !n.Witness && m.s.peers[i].state != Alive {
			return false
		}
	}
	return true
}

// acknowledged is the age of the newest own message that a peer heard.
func (m *machine) acknowledged(p *peer) time.Duration { return m.now.Sub(p.ackedAt) }
