package director

// requests follows up what an operator wished here and another node decides.
func (m *machine) requests(g *group) {
	if g.request == "" {
		return
	}
	owner := m.holderOf(g.name)
	switch {
	case owner >= 0 && m.name(owner) == g.request:
		g.request = ""
		m.s.speak = true
	case owner >= 0 && owner != m.self && m.refusedBy(owner, g):
		m.reject(g, m.s.peers[owner].claim(g).Refused)
	case m.tick && m.now.Sub(g.requestAt) > m.c.Timings.Request:
		m.reject(g, about(ReasonRequestTimeout, g.request))
	}
}

// refusedBy tells whether an owner has heard the wish here and refuses it; what it refuses
// may be another node's wish.
func (m *machine) refusedBy(owner int, g *group) bool {
	p := &m.s.peers[owner]
	no := p.claim(g).Refused
	return no.Code != None && no.Node == g.request && p.ackedSeq > g.requested
}

// operator takes in a command; what becomes of it is told.
func (m *machine) operator(e Operator) {
	g := m.groupOf(e.Group)
	switch e.Command {
	case Switchover, FailbackNow:
		if g != nil {
			m.wish(g, e)
		}
	case MaintenanceOn, MaintenanceOff:
		m.maintain(e)
	case ClearFaults:
		if g != nil {
			g.failures, g.pause = 0, m.now
			m.remark(g, because(ReasonCleared))
		}
	case ConfirmFenced:
		m.confirm(e.Node)
	}
}

// maintain begins or ends maintenance here, or has another node do so.
func (m *machine) maintain(e Operator) {
	switch {
	case e.Node == "" || e.Node == m.c.Self:
		m.setMaintenance(e.Command, "")
	case m.c.node(e.Node) < 0:
		m.remark(nil, about(ReasonTargetUnknown, e.Node))
	default:
		// The next message is the first that says so.
		m.s.order, m.s.orderAt = Order{Node: e.Node, On: e.Command == MaintenanceOn, Seq: m.s.seq + 1}, m.now
		m.s.speak = true
		m.remark(nil, Reason{Code: ReasonAccepted, Node: e.Node, Detail: e.Command.String() + " for " + e.Node})
	}
}

// setMaintenance is carried out on this node; on is the one where an operator said so.
func (m *machine) setMaintenance(c Command, on string) {
	m.s.maintenance = c == MaintenanceOn
	m.s.speak = true
	m.do(SaveMaintenance{On: m.s.maintenance})
	detail := c.String()
	if on != "" {
		detail += ", said on " + on
	}
	m.remark(nil, detailed(ReasonAccepted, detail))
}

// obey carries out what an operator said of this node on another one, once: what is said
// here afterwards is newer, though the order still stands there.
func (m *machine) obey(i int, o Order) {
	p := &m.s.peers[i]
	if o.Node != m.c.Self || o.Seq <= p.obeyed {
		return
	}
	p.obeyed = o.Seq
	if o.On == m.s.maintenance {
		return
	}
	m.setMaintenance(o.command(), m.name(i))
}

// orders follows up what an operator wished here of another node.
func (m *machine) orders() {
	o := m.s.order
	if o.Node == "" || m.s.seq < o.Seq {
		return
	}
	p := &m.s.peers[m.c.node(o.Node)]
	switch {
	case p.known && p.word.Maintenance == o.On:
	case m.tick && m.now.Sub(m.s.orderAt) > m.c.Timings.Request:
		m.remark(nil, Reason{Code: ReasonRequestTimeout, Node: o.Node, Detail: o.command().String()})
	default:
		return
	}
	m.s.order = Order{}
}

// wish begins a switchover: the owner will carry it out, or say why not.
func (m *machine) wish(g *group, e Operator) {
	g.denied = Reason{}
	owner, to := m.holderOf(g.name), e.Node
	switch {
	case owner < 0:
		m.reject(g, because(ReasonNoOwnerKnown))
		return
	case e.Command == FailbackNow:
		to = m.nameOf(m.bestOr(g, owner))
	case to == "":
		to = m.nameOf(m.elsewhere(g, owner))
	}
	switch {
	case to == "":
		m.reject(g, because(ReasonNobodyElse))
	case to == m.name(owner):
		g.pinned = g.pinned && e.Command != FailbackNow
		m.reject(g, about(ReasonTargetHolds, to))
	case m.c.node(to) < 0 || m.priority(g, m.c.node(to)) == 0:
		m.reject(g, about(ReasonTargetUnknown, to))
	default:
		g.request, g.requestAt, g.requested = to, m.now, m.s.seq
		g.refused = Reason{}
		m.s.speak = true
		m.remark(g, Reason{Code: ReasonAccepted, Node: to, Detail: e.Command.String()})
	}
}

// reject tells why a wish comes to nothing.
func (m *machine) reject(g *group, why Reason) {
	g.request, g.denied = "", why
	m.remark(g, why)
}

// bestOr is the best candidate, the owner among them even if it cannot take the
// group just now: it has it, and was perhaps only restarted in place. What makes it
// unfit moves the group by itself.
func (m *machine) bestOr(g *group, owner int) int {
	return m.choose(g, func(k candidate, able bool) bool { return able || k.node == owner })
}

// elsewhere is the best candidate beside the owner: one that can take the group at once,
// else one whose reason why it cannot the owner will tell.
func (m *machine) elsewhere(g *group, owner int) int {
	at := m.choose(g, func(k candidate, able bool) bool { return able && k.node != owner && !m.waits(g, k.node) })
	if at < 0 {
		return m.best(g, owner)
	}
	return at
}

// waits tells whether a node would have to wait for another than the owner.
func (m *machine) waits(g *group, node int) bool {
	if node == m.self {
		return m.third(g).Code != None
	}
	return m.s.peers[node].claim(g).Blocked
}

func (m *machine) nameOf(node int) string {
	if node < 0 {
		return ""
	}
	return m.name(node)
}

// confirm takes an operator's word that a node holds nothing.
func (m *machine) confirm(name string) {
	i := m.c.node(name)
	switch {
	case i < 0 || i == m.self:
		m.remark(nil, about(ReasonTargetUnknown, name))
	case m.s.peers[i].state == Alive || m.s.peers[i].state == Suspect:
		m.remark(nil, about(ReasonStillHeard, name))
	default:
		m.s.peers[i].state, m.s.peers[i].fencedAt = Fenced, m.now
		m.remark(nil, about(ReasonConfirmed, name))
	}
}

func (m *machine) require(e Require) {
	g := m.groupOf(e.Group)
	if g == nil {
		return
	}
	g.meets, g.meetsWhy, g.base = e.OK, e.Detail, e.Fitness
	m.s.speak = true
}
