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
	case owner >= 0 && owner != m.self && m.s.peers[owner].claim(g).Refused.Code != None && m.s.peers[owner].ackedSeq > g.requested:
		why := m.s.peers[owner].claim(g).Refused
		g.request = ""
		m.remark(g, why)
	case m.tick && m.now.Sub(g.requestAt) > m.c.Timings.Request:
		m.remark(g, about(ReasonRequestTimeout, g.request))
		g.request = ""
	}
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
		m.s.maintenance = e.Command == MaintenanceOn
		m.s.speak = true
		m.do(SaveMaintenance{On: m.s.maintenance})
		m.remark(nil, Reason{Code: ReasonAccepted, Detail: e.Command.String()})
	case ClearFaults:
		if g != nil {
			g.failures, g.pause = 0, m.now
			m.remark(g, because(ReasonCleared))
		}
	case ConfirmFenced:
		m.confirm(e.Node)
	}
}

// wish begins a switchover: the owner will carry it out, or say why not.
func (m *machine) wish(g *group, e Operator) {
	owner, to := m.holderOf(g.name), e.Node
	switch {
	case owner < 0:
		m.remark(g, because(ReasonNoOwnerKnown))
		return
	case e.Command == FailbackNow:
		to = m.nameOf(m.bestOr(g, owner))
	case to == "":
		to = m.nameOf(m.best(g, owner))
	}
	switch {
	case to == "":
		m.remark(g, because(ReasonNobodyElse))
	case to == m.name(owner):
		g.pinned = g.pinned && e.Command != FailbackNow
		m.remark(g, about(ReasonTargetHolds, to))
	case m.c.node(to) < 0 || m.priority(g, m.c.node(to)) == 0:
		m.remark(g, about(ReasonTargetUnknown, to))
	default:
		g.request, g.requestAt, g.requested = to, m.now, m.s.seq
		g.refused = Reason{}
		m.s.speak = true
		m.remark(g, Reason{Code: ReasonAccepted, Node: to, Detail: e.Command.String()})
	}
}

// bestOr is the best candidate, the owner among them even if it cannot take the
// group just now: it has it, and was perhaps only restarted in place. What makes it
// unfit moves the group by itself.
func (m *machine) bestOr(g *group, owner int) int {
	return m.choose(g, func(k candidate, able bool) bool { return able || k.node == owner })
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
