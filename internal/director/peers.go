package director

// heard takes in a message. One that is old, doubled or, after a gap, stale, says
// nothing.
func (m *machine) heard(msg Message) {
	i := m.c.node(msg.From)
	if i < 0 || i == m.self {
		return
	}
	m.epochs(msg.Word)
	p := &m.s.peers[i]
	if !m.current(p, msg) {
		if msg.Incarnation != p.incarnation && !msg.Answer {
			m.answer = i + 1
		}
		return
	}
	if m.stale(msg) {
		// It may have waited while this daemon stood still, and proves nobody alive.
		// The answer to ours will be fresh; so that it can be, theirs is acknowledged,
		// which is leave for what it claims: so the claim is taken in. Its sender counts
		// its fence from there, so its silence counts from no earlier.
		if p.incarnation == msg.Incarnation {
			p.clock, p.relayed = m.now, m.now
			p.seq, p.sent, m.answer = msg.Seq, msg.Sent, i+1
			m.said(i, msg.Seq, msg.Word, m.now)
		}
		return
	}
	m.incarnate(i, msg.Incarnation)
	m.late(i)
	p.heard, p.heardAt, p.clock, p.relayed = true, m.now, m.now, m.now
	p.voted = false
	p.seq, p.sent, p.hears = msg.Seq, msg.Sent, msg.Hears
	if echo, ok := m.echo(msg); ok && echo.Sent <= m.now {
		p.acked, p.ackedSeq, p.ackedAt = true, max(p.ackedSeq, echo.Seq), max(p.ackedAt, echo.Sent)
	}
	m.said(i, msg.Seq, msg.Word, m.now)
	m.revive(i)
	for _, h := range msg.Hears {
		m.relay(h)
	}
	if !msg.Answer {
		m.answer = i + 1
	}
	m.prove()
}

// epochs takes in the epochs of a message, however old it is: they only grow, so
// that one which was claimed once is never news too late.
func (m *machine) epochs(w Word) {
	for _, c := range w.Groups {
		if g := m.groupOf(c.Group); g != nil {
			g.seen = max(g.seen, c.Epoch)
		}
	}
}

// current tells whether a message is news.
func (m *machine) current(p *peer, msg Message) bool {
	echo, echoed := m.echo(msg)
	switch {
	case msg.Incarnation > p.incarnation && !p.wentBack:
		return true
	case msg.Incarnation != p.incarnation:
		// A node whose clock went back, or the last messages of its former self: who
		// has heard more of us is the later one.
		return echoed && echo.Seq > p.ackedSeq
	case p.state == Fenced:
		return echoed && echo.Sent > p.fencedAt
	case p.state == Left && !msg.Word.Leaving:
		return false // sent before the farewell
	}
	return msg.Seq > p.seq
}

// stale tells whether a message may be what the sockets held during a gap: it is
// no answer to anything sent since.
func (m *machine) stale(msg Message) bool {
	if m.c.without(GapCheck) || m.s.proveSeq == 0 || m.now.Sub(m.s.proveSince) >= m.c.Timings.Flush {
		return false
	}
	echo, echoed := m.echo(msg)
	return !echoed || echo.Seq <= m.s.proveSeq
}

// echo is what the sender of a message last heard of this node.
func (m *machine) echo(msg Message) (Hear, bool) {
	for _, h := range msg.Hears {
		if h.Node == m.c.Self {
			return h, h.Incarnation == m.s.incarnation && h.Seq > 0
		}
	}
	return Hear{}, false
}

// incarnate forgets what another process on the node said.
func (m *machine) incarnate(i int, incarnation uint64) {
	p := &m.s.peers[i]
	if p.incarnation == incarnation {
		return
	}
	if p.incarnation != 0 && (p.state == Alive || p.state == Suspect) {
		m.remark(nil, about(ReasonPeerRestarted, m.name(i)))
	}
	*p = peer{
		wentBack: p.wentBack || incarnation < p.incarnation, links: p.links,
		state: p.state, incarnation: incarnation, clock: p.clock, relayed: p.relayed, ackedAt: p.ackedAt, differs: p.differs,
		stonithing: p.stonithing, stonithAt: p.stonithAt, lateAt: p.lateAt, late: p.late,
	}
}

// overLink notices a link that carries again: others may have been cut off there.
func (m *machine) overLink(e Heard) {
	i := m.c.node(e.Message.From)
	if i < 0 || i == m.self {
		return
	}
	links := &m.s.peers[i].links
	for k := range links {
		l := &links[k]
		if l.name == "" {
			l.name, l.at = e.Link, m.now
		}
		if l.name == e.Link {
			if m.now.Sub(l.at) >= m.c.Timings.Dead {
				m.doubtAll()
			}
			l.at = m.now
			return
		}
	}
}

// thin tells whether a peer fell silent on one of its links lately, and is heard on
// another: what the silent one shares with the address may be cut. A link that is
// down for good is no news, and no reason for haste.
func (m *machine) thin(p *peer) bool {
	t := m.c.Timings
	for _, l := range p.links {
		if silent := m.now.Sub(l.at); l.name != "" && silent > t.AckStale && silent <= t.AckStale+t.Patience {
			return true
		}
	}
	return false
}

// thinAt tells whether a peer says the same of this node, which cannot see for
// itself that what it sends is lost on one link.
func (m *machine) thinAt(p *peer) bool {
	for _, h := range p.hears {
		if h.Node == m.c.Self {
			return h.Thin
		}
	}
	return false
}

func (m *machine) late(i int) {
	p := &m.s.peers[i]
	if late := m.now.Sub(p.heardAt); p.heard && p.state != Left && late > m.c.Timings.Warn && (!p.late || m.now.Sub(p.lateAt) > m.c.Timings.InitDead) {
		p.late, p.lateAt = true, m.now
		m.remark(nil, Reason{Code: ReasonLate, Node: m.name(i), Detail: late.String()})
	}
}

// relay takes in what another node hears, at first hand, of a third.
func (m *machine) relay(h Hear) {
	i := m.c.node(h.Node)
	if i < 0 || i == m.self || !h.Heard {
		return
	}
	p := &m.s.peers[i]
	strange := h.Incarnation != p.incarnation && (h.Incarnation < p.incarnation || p.wentBack || h.Silent >= m.c.Timings.Suspect || p.heard && m.now.Sub(p.heardAt) < m.c.Timings.Suspect)
	at := m.now.Add(-max(h.Silent, 0))
	// Who was powered off may be back where only others hear it; what they heard
	// before it was may still be under way.
	fenced := p.state == Fenced && at.Sub(p.fencedAt) < m.c.Timings.Suspect
	if strange || fenced || (p.state == Left && h.Incarnation == p.incarnation) {
		return
	}
	m.incarnate(i, h.Incarnation)
	if h.Seq <= p.wordOf {
		return // known; one that stood still counts the silence of others from its own return
	}
	p.relayed = max(p.relayed, at)
	if h.Silent < m.c.Timings.Suspect {
		m.said(i, h.Seq, h.Word, at)
		m.revive(i)
	}
}

// said takes in a node's word about itself, directly or through others.
func (m *machine) said(i int, seq uint64, w Word, at Instant) {
	p := &m.s.peers[i]
	if seq <= p.wordOf {
		return
	}
	old, known := *p, p.known
	p.word, p.wordAt, p.wordOf, p.known = w, at, seq, true
	m.obey(i, w.Order)
	if known && w.Gateway && !old.word.Gateway {
		m.doubtAll() // it was cut off, and so may be those whom our announcements did not reach
	}
	if differs := w.Digest != m.c.Digest; differs != p.differs {
		p.differs = differs
		if differs {
			m.remark(nil, about(ReasonDiffers, m.name(i)))
		}
	}
	for k := range m.s.groups {
		g := &m.s.groups[k]
		before := old.claim(g)
		if !known {
			before.Role = Init
		}
		m.learn(g, i, before, p.claim(g))
	}
}

// revive makes a peer that is heard alive, or left if that is what it says.
func (m *machine) revive(i int) {
	p := &m.s.peers[i]
	was := p.state
	p.state = Alive
	if p.word.Leaving {
		p.state = Left
	}
	if was == p.state || was == Suspect && p.state == Alive {
		return
	}
	m.s.speak = true
	if p.state == Left {
		m.remark(nil, about(ReasonPeerLeft, m.name(i)))
		return
	}
	m.remark(nil, about(ReasonPeerHeard, m.name(i)))
	m.doubtAll() // it may have announced the address meanwhile
}

// learn takes in what a peer says about a group, and what it said before.
func (m *machine) learn(g *group, i int, before, now Claim) {
	g.seen = max(g.seen, now.Epoch)
	switch now.Role {
	case Acquiring, Active, Releasing:
		g.handed, g.lastHeld, g.to = false, i, -1
		if g.role == Active && now.Role == Active && before.Role != Active {
			m.remark(g, about(ReasonDouble, m.name(i)))
		}
		if g.role == Active && now.Role == Active {
			m.doubt(g)
		}
	case Standby, Fault, Maintenance:
		if (before.Role == Active || before.Role == Releasing) && !now.StopFailed {
			g.handed, g.lastHeld, g.to, g.toAt = true, i, -1, m.now
			if now.To != "" {
				g.to = m.c.node(now.To)
			}
			g.forced = now.Forced
		}
	case Init:
	}
}
