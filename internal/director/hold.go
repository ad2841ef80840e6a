package director

import "time"

// hold is what an owner does: let go when it must, renew, announce, and hand over
// when another should have the group.
func (m *machine) hold(g *group) {
	if why := m.fence(g); why.Code != None {
		m.lapse(g, why)
		return
	}
	if node := m.loses(g); node >= 0 {
		m.letGo(g, about(ReasonClaimLost, m.name(node)), -1)
		return
	}
	m.settle(g)
	if m.handover(g) {
		return
	}
	m.renew(g)
	m.resolve(g)
	m.announce(g)
	if g.failures > 0 && m.tick && g.held(m.now) > m.c.Timings.BackOffMax {
		g.failures = 0
		m.remark(g, because(ReasonCleared))
	}
}

// lapse lets a group go that this node has no right to any more. One whose lease the
// kernel did not renew is better off elsewhere: to take it here again would be refused.
func (m *machine) lapse(g *group, why Reason) {
	if why.Code == ReasonLeaseLost && g.unheld {
		m.failStart(g, why)
		return
	}
	m.letGo(g, why, -1)
}

// fence is why an owner is not entitled any more, claims apart. It counts on what
// did not come, so it speaks on ticks only. A fenced peer counts like any other:
// it may have been booted again where this node does not hear it.
func (m *machine) fence(g *group) Reason {
	if !m.tick {
		return Reason{}
	}
	t := m.c.Timings
	if g.address && !m.c.without(LeaseCheck) && m.now.Sub(g.renewed) > t.GapLimit {
		return because(ReasonLeaseLost)
	}
	if m.s.proving && !m.c.without(GapCheck) {
		if m.now.Sub(m.s.proveSince) > t.PingWindow {
			return because(ReasonUnproved)
		}
		return Reason{} // what is old was not answered since this daemon stood still
	}
	if m.c.Voters() >= 3 {
		if !m.followed() {
			return because(ReasonMajorityLost)
		}
		return Reason{}
	}
	if m.c.without(GatewayFence) {
		return Reason{}
	}
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || m.acknowledged(p) < t.Fence || !m.mayHold(g, i) {
			continue
		}
		if m.s.lost {
			return about(ReasonCutOff, m.name(i))
		}
		if g.cut {
			return detailed(ReasonRequire, g.cutWhy+", and "+m.name(i)+" does not hear this node")
		}
		if c := p.claim(g); p.state == Alive && c.Ready && !m.c.without(Yield) {
			return about(ReasonYield, m.name(i))
		}
	}
	return Reason{}
}

// followed tells whether a majority of the voters heard this node lately.
func (m *machine) followed() bool { return m.followedWithin(m.c.Timings.Fence) }

func (m *machine) followedWithin(age time.Duration) bool {
	if m.c.without(Majority) {
		return true
	}
	heard := 1
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i != m.self && p.state != Left && p.state != Fenced && p.acked && m.acknowledged(p) < age {
			heard++
		}
	}
	return 2*heard > m.c.Voters()
}

// loses is a living node whose claim to the group is above ours, -1 if none is.
func (m *machine) loses(g *group) int {
	own := m.claim(g)
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || p.state != Alive {
			continue
		}
		if c := p.claim(g); c.Role == Active && !m.above(own, c, i) {
			return i
		}
	}
	return -1
}

// settle gives an adopted group a claim of its own, when the others are heard and
// have seen a higher one that nobody holds.
func (m *machine) settle(g *group) {
	if !g.adopted || m.s.proving {
		return
	}
	for i := range m.s.peers {
		if p := &m.s.peers[i]; m.mayHold(g, i) && (p.state == Unheard || p.state == Suspect) {
			return
		}
	}
	g.adopted = false
	if g.seen > g.epoch {
		g.epoch = g.seen + 1
		g.seen = g.epoch
		m.s.speak = true
	}
}

// renew renews the lease in its turn, if the last renewal is not too long ago and
// nothing is left to be proved.
func (m *machine) renew(g *group) {
	t := m.c.Timings
	if m.c.Groups[g.index].Bare || !g.address || g.setting || g.dropping || (m.s.proving && !m.c.without(GapCheck)) {
		return
	}
	if m.now.Sub(g.tried) < t.Renew {
		return
	}
	if !m.c.without(LeaseCheck) && m.now.Sub(g.renewed) > t.GapLimit {
		return // the next tick lets go
	}
	g.setting, g.tried = true, m.now
	m.do(Renew{Group: g.name, NotAfter: m.limit(g.renewed.Add(t.GapLimit))})
}

// lease takes in what became of Take, Renew and Drop.
func (m *machine) lease(what What) {
	switch e := what.(type) {
	case LeaseSet:
		if g := m.groupOf(e.Group); g != nil {
			g.laid = m.now
			if g.setting {
				g.setting = false
				m.leaseSet(g, e)
			}
		}
	case Dropped:
		if g := m.groupOf(e.Group); g != nil && g.dropping {
			g.dropping = false
			m.dropped(g, e)
		}
	case LeaseGone:
		if g := m.groupOf(e.Group); g != nil && g.address && !g.setting && !g.dropping {
			m.leaseGone(g, e.Left)
		}
	}
}

func (m *machine) leaseSet(g *group, e LeaseSet) {
	if g.dropping || g.role != Acquiring && g.role != Active && (g.role != Releasing || !g.address) {
		return
	}
	first := g.role == Acquiring
	g.unheld = !e.OK && m.now.Sub(g.renewed) <= m.c.Timings.GapLimit
	switch {
	case !e.OK && first && m.now.Sub(g.renewed) > m.c.Timings.Gap:
		m.letGo(g, because(ReasonTooLate), -1) // this daemon stood still: no fault of the address
	case !e.OK && first:
		m.failStart(g, detailed(ReasonTakeFailed, e.Detail))
	case !e.OK:
		m.complain(g, detailed(ReasonRenewFailed, e.Detail))
		g.tried = m.now.Add(m.c.Timings.Heartbeat - m.c.Timings.Renew) // again soon, until the limit
	case !m.c.without(LeaseCheck) && m.now.Sub(g.renewed) > m.c.Timings.GapLimit:
		// The call may have put an address back that was gone already.
		if g.role == Releasing {
			g.gentle = false
			return
		}
		m.letGo(g, because(ReasonLeaseLost), -1)
	default:
		g.renewed, g.complaint = max(g.renewed, e.Began), Reason{}
		if first {
			m.activate(g, because(ReasonLeaseSet))
		}
	}
}

// leaseGone: within the gap limit the kernel does not remove an address, so somebody
// else did. It is put back where nobody can have taken it since. What is left of several
// addresses has to be dropped like all of them before anybody is told that they are free.
func (m *machine) leaseGone(g *group, left bool) {
	g.address = left
	if g.role != Active {
		return
	}
	if m.now.Sub(g.renewed) > m.c.Timings.GapLimit || m.s.proving || !m.undisputed(g) {
		m.letGo(g, because(ReasonLeaseLost), -1)
		return
	}
	m.remark(g, because(ReasonRepaired))
	m.setAddress(g)
	m.doubt(g)
}

// undisputed tells whether all other holders have heard lately that the group is
// held here.
func (m *machine) undisputed(g *group) bool {
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if !m.mayHold(g, i) || p.state == Left || p.state == Fenced {
			continue
		}
		if p.state != Alive || m.acknowledged(p) >= m.c.Timings.Fence {
			return false
		}
	}
	return true
}

// doubt is anything after which clients may believe somebody else: the owner
// announces now, and again when the doubt is over.
func (m *machine) doubt(g *group) {
	if g.role != Active || m.c.without(ReAnnounce) {
		return
	}
	g.doubt, g.untold = true, false
	m.s.speak = true
	m.announceBurst(g)
}

func (m *machine) doubtAll() {
	for i := range m.s.groups {
		m.doubt(&m.s.groups[i])
	}
}

// resolve ends a doubt when no living node claims the group any more.
func (m *machine) resolve(g *group) {
	if !g.doubt || m.s.proving {
		return
	}
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || p.state != Alive && p.state != Suspect {
			continue
		}
		if c := p.claim(g); p.known && (c.Role == Active || c.Role == Releasing || c.Role == Acquiring) {
			return
		}
	}
	if !g.untold {
		m.remark(g, because(ReasonDoubtOver))
	}
	g.doubt, g.untold = false, false
	m.announceBurst(g)
}

func (m *machine) announceBurst(g *group) {
	g.announceAt, g.announced = m.now, 0
}

// announce sends what the schedule has due.
func (m *machine) announce(g *group) {
	t := m.c.Timings
	if m.c.Groups[g.index].Bare || !g.address || g.setting && g.renewed == g.tried {
		return // not there yet
	}
	if !m.c.without(LeaseCheck) && m.now.Sub(g.renewed) > t.GapLimit {
		return // nor any more, perhaps: this daemon stood still, and lets go on the next tick
	}
	due := false
	for g.announced < len(t.Announce) && m.now.Sub(g.announceAt) >= t.Announce[g.announced] {
		g.announced++
		due = true
	}
	if g.announced == len(t.Announce) && m.now.Sub(g.lastSaid) >= t.AnnounceEvery {
		due = true
	}
	if due {
		g.lastSaid = m.now
		m.do(Announce{Group: g.name})
	}
}
