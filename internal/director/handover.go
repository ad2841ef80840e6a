package director

// handover moves a group that another node should have; it tells whether it did.
// The owner decides, and releases first. The reasons stand in their order of weight.
func (m *machine) handover(g *group) bool {
	refused := Reason{}
	for _, move := range []func(*group) (Reason, int, bool){
		m.shutdownMove, m.maintenanceMove, m.carrierMove, m.requireMove, m.gatewayMove, m.requestMove, m.togetherMove, m.failbackMove,
	} {
		why, to, now := move(g)
		if now {
			m.letGo(g, why, to)
			return true
		}
		if refused.Code == None {
			refused = why
		}
	}
	m.refuse(g, refused)
	return false
}

// fit is the best other node that can take the group at once, and hears us.
func (m *machine) fit(g *group) int {
	return m.heir(g, func(node int) bool { return !m.waits(g, node) })
}

// heir is the best of the other nodes that count and can take the group, if it hears us.
func (m *machine) heir(g *group, counts func(node int) bool) int {
	to := m.choose(g, func(k candidate, able bool) bool { return able && k.node != m.self && counts(k.node) })
	if to < 0 || !m.hearsUs(to) {
		return -1
	}
	return to
}

// hearsUs tells whether a node will hear that the group was released for it; with
// three voters or more one of them passes it on.
func (m *machine) hearsUs(node int) bool {
	p := &m.s.peers[node]
	return p.state == Alive && (m.c.NeedsMajority() || p.acked && m.acknowledged(p) < m.c.Timings.Suspect)
}

// takes tells whether a node can take the group at once, and will hear that it may.
func (m *machine) takes(g *group, node int) bool {
	return m.s.peers[node].claim(g).Able && !m.waits(g, node) && m.hearsUs(node)
}

// unable says why a node cannot be handed a group.
func (m *machine) unable(g *group, node int) Reason {
	c := m.s.peers[node].claim(g)
	why := Reason{Code: ReasonTargetUnable, Node: m.name(node), Detail: "it does not hear this node"}
	if !c.Able || c.Blocked {
		why.Detail = c.Why.String()
	}
	return why
}

// shutdownMove: this daemon ends, with or without somebody to take over.
func (m *machine) shutdownMove(g *group) (Reason, int, bool) {
	if !m.s.leaving {
		return Reason{}, -1, false
	}
	to := m.fit(g)
	if to < 0 {
		to = m.heir(g, func(int) bool { return true })
	}
	return because(ReasonShutdown), to, true
}

func (m *machine) maintenanceMove(g *group) (Reason, int, bool) {
	if !m.s.maintenance {
		return Reason{}, -1, false
	}
	return m.unless(g, ReasonMaintenance, "")
}

// carrierMove: the group's own interfaces lost their carrier, and others did not. Without
// a node that can take it nothing is gained by letting go.
func (m *machine) carrierMove(g *group) (Reason, int, bool) {
	if !g.cut || !m.s.carrier {
		return Reason{}, -1, false
	}
	return m.unfit(g, g.cutWhy)
}

func (m *machine) requireMove(g *group) (Reason, int, bool) {
	if g.meets {
		return Reason{}, -1, false
	}
	return m.unfit(g, g.meetsWhy)
}

// unfit moves a group that this node should not hold, unless nobody else can take it: one
// that follows another nobody can but who holds that one.
func (m *machine) unfit(g *group, detail string) (Reason, int, bool) {
	if together := m.c.Groups[g.index].Together; together != "" {
		if at := m.holderOf(together); at < 0 || at != m.fit(g) {
			return because(ReasonNobodyElse), -1, false
		}
	}
	return m.unless(g, ReasonRequire, detail)
}

// unless moves a group, unless nobody else can take it.
func (m *machine) unless(g *group, why Code, detail string) (Reason, int, bool) {
	to := m.fit(g)
	if to < 0 {
		return because(ReasonNobodyElse), -1, false
	}
	return Reason{Code: why, Node: m.name(to), Detail: detail}, to, true
}

// gatewayMove: the gateway does not answer this owner. If it answers others, one
// of them takes over; if it answers nobody, it is the gateway that died, and
// all_lost decides. Who is silent meanwhile is the fence's business.
func (m *machine) gatewayMove(g *group) (Reason, int, bool) {
	if !m.s.lost || m.s.proving {
		return Reason{}, -1, false
	}
	reaches, certain := m.gatewayOfOthers()
	switch {
	case reaches >= 0 && (!m.s.alone || m.now.Sub(m.s.aloneAt) < m.c.Timings.PingWindow):
		return Reason{}, -1, false
	case reaches >= 0:
		if to := m.fit(g); to >= 0 {
			return about(ReasonGatewayLost, m.name(to)), to, true
		}
		return because(ReasonNobodyElse), -1, false
	case !certain:
		return Reason{}, -1, false
	case !m.allSeen() && m.c.Voters() == 2:
		return Reason{}, -1, false // the fence will tell
	case m.c.AllLost == ReleaseAll:
		return because(ReasonAllLost), -1, true
	}
	return because(ReasonHeldAllLost), -1, false
}

// requestMove carries out the wish of an operator, here or on another node.
func (m *machine) requestMove(g *group) (Reason, int, bool) {
	wish := g.request
	for i := range m.s.peers {
		if p := &m.s.peers[i]; wish == "" && i != m.self && p.state == Alive {
			wish = p.claim(g).Request
		}
	}
	if wish == "" || wish == m.c.Self {
		g.refused = Reason{} // who wished has heard it
		return Reason{}, -1, false
	}
	to := m.c.node(wish)
	switch {
	case m.priority(g, max(to, 0)) == 0 || to < 0:
		m.deny(g, about(ReasonTargetUnknown, wish))
	case !m.takes(g, to):
		m.deny(g, m.unable(g, to))
	default:
		return about(ReasonSwitchover, wish), to, true
	}
	return Reason{}, -1, false
}

// deny answers a wish with no.
func (m *machine) deny(g *group, why Reason) {
	if g.refused.Code == why.Code && g.refused.Node == why.Node {
		return
	}
	g.refused = why
	m.s.speak = true
	m.remark(g, why)
	if g.request != "" {
		g.request, g.denied = "", why
	}
}

// togetherMove follows the leader of the group.
func (m *machine) togetherMove(g *group) (Reason, int, bool) {
	why := m.leader(g)
	if why.Code != ReasonLeaderElsewhere {
		return Reason{}, -1, false
	}
	to := m.c.node(why.Node)
	p := &m.s.peers[to]
	switch {
	case p.differs:
		return about(ReasonDigest, why.Node), -1, false
	case m.priority(g, to) == 0 || !m.takes(g, to):
		return m.unable(g, to), -1, false
	}
	return about(ReasonTogether, why.Node), to, true
}

// failbackMove returns the group to a better node that is back, if and when the
// operator wants that; never to one with another configuration.
func (m *machine) failbackMove(g *group) (Reason, int, bool) {
	set, t := m.c.Groups[g.index], m.c.Timings
	to := -1
	if set.Together == "" && m.able(g).Code == None {
		to = m.best(g, -1)
	}
	if to == m.self || to < 0 {
		g.better = -1
		return Reason{}, -1, false
	}
	if g.better != to {
		g.better, g.betterAt = to, m.now
	}
	name := m.name(to)
	switch {
	case !set.Failback.On:
		return about(ReasonFailbackOff, name), -1, false
	case m.s.peers[to].differs:
		return about(ReasonDigest, name), -1, false
	case g.pinned:
		return about(ReasonPinned, name), -1, false
	case m.now.Sub(g.betterAt) < max(set.Failback.After, t.Dead) || g.held(m.now) < t.Dead || !m.takes(g, to):
		// That one acknowledgement is late does not begin the wait anew.
		return about(ReasonFailbackWaits, name), -1, false
	}
	return about(ReasonFailback, name), to, true
}
