package director

// reserve has the next epoch on disk before it is needed, so that no takeover
// waits for a disk.
func (m *machine) reserve(g *group) {
	want := g.seen + 1
	if g.role == Acquiring || g.role == Active {
		want = g.epoch
	}
	if !g.mine || g.role == Init || g.saved >= want || g.saving >= want {
		return
	}
	g.saving, g.saveAt = want, m.now
	m.do(Save{Group: g.name, Epoch: want})
}

func (m *machine) savedEpoch(e Saved) {
	g := m.groupOf(e.Group)
	if g == nil {
		return
	}
	if e.Epoch >= g.saving {
		g.saving = 0
	}
	if !e.OK {
		m.remark(g, detailed(ReasonDisk, e.Detail))
	}
	g.saved = max(g.saved, e.Epoch) // a disk that fails must not keep the address from people
}

// standby waits for its turn.
func (m *machine) standby(g *group) {
	if m.s.maintenance && g.mine && !m.s.leaving {
		m.to(g, Maintenance, because(ReasonMaintenanceOn))
		return
	}
	if why := m.obstacle(g); why.Code != None {
		m.refuse(g, why)
		m.askStonith(g, why)
		m.stonithThird(g)
		return
	}
	g.phase = Asking
	if g.to != m.self {
		g.to = -1 // it was released for one that cannot take it now: whoever is first goes on
	}
	m.claimNew(g)
	m.to(g, Acquiring, m.freed(g))
	m.reserve(g)
	m.acquire(g)
}

// claimNew makes a claim above all others, and asks everybody for leave.
func (m *machine) claimNew(g *group) {
	g.epoch = g.seen
	if !m.c.without(EpochRule) {
		g.epoch++
	}
	g.seen = max(g.seen, g.epoch)
	g.adopted = false
	g.askedSeq, g.askedAt = m.s.seq, m.now
	m.s.speak = true
}

// freed is why a group may be acquired.
func (m *machine) freed(g *group) Reason {
	if g.lastHeld < 0 || g.lastHeld == m.self {
		return because(ReasonNoOwner)
	}
	name := m.name(g.lastHeld)
	switch m.s.peers[g.lastHeld].state {
	case Dead:
		return about(ReasonOwnerDead, name)
	case Fenced:
		return about(ReasonFenced, name)
	case Left:
		return about(ReasonReleased, name)
	case Unheard, Alive, Suspect:
	}
	if g.handed {
		return about(ReasonReleased, name)
	}
	return because(ReasonNoOwner)
}

// acquire goes through its phases; each may be passed within one step.
func (m *machine) acquire(g *group) {
	if why := m.objection(g); why.Code != None {
		m.giveUp(g, why)
		return
	}
	set := m.c.Groups[g.index]
	if g.phase == Asking {
		if why := m.asking(g); why.Code != None {
			m.refuse(g, why)
			m.askStonith(g, why)
			m.askAgain(g)
			return
		}
		g.phase = Saving
	}
	if g.phase == Saving {
		if m.unsaved(g) {
			return
		}
		g.phase = Starting
		if set.Before {
			g.before = starting
			m.do(StartPart{Group: g.name, Part: Before})
		}
	}
	if g.phase == Starting {
		if set.Before && g.before != started {
			return
		}
		g.phase = Taking
	}
	m.take(g)
}

// objection is why acquiring has to end; None: it goes on. While only questions
// are asked, all that kept the node from beginning counts; later, what would let
// an owner go.
func (m *machine) objection(g *group) Reason {
	if g.phase == Asking {
		return m.obstacle(g)
	}
	if why := m.able(g); why.Code != None {
		return why
	}
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i == m.self || p.state != Alive {
			continue
		}
		switch c := p.claim(g); c.Role {
		case Active:
			return about(ReasonOwnerAlive, m.name(i))
		case Acquiring:
			if !m.above(m.claim(g), c, i) {
				return about(ReasonClaimLost, m.name(i))
			}
		case Init, Standby, Releasing, Fault, Maintenance:
		}
	}
	return m.fence(g)
}

// asking is what the wire, or a living director, did not answer yet.
func (m *machine) asking(g *group) Reason {
	if g.seen > g.epoch {
		m.claimNew(g) // somebody has seen a higher one
		m.reserve(g)
	}
	if m.c.NeedsMajority() && !m.followed() {
		return because(ReasonNoMajority)
	}
	if !m.c.without(Leave) {
		for i := range m.s.peers {
			if m.mayHold(g, i) && m.s.peers[i].state == Alive && !m.leave(g, i) {
				return about(ReasonLeaveMissing, m.name(i))
			}
		}
	}
	if why := m.noise(g); why.Code != None {
		return why
	}
	return m.yielding(g)
}

// yielding: of two voters, a silent owner that hears this one lets go when it is told
// that the wire is silent. It gets the margin for that, unless the wire answered since
// it fell silent: then its lease ended. A majority needs none of this.
func (m *machine) yielding(g *group) Reason {
	if m.c.Voters() >= 3 || m.c.Groups[g.index].Bare || m.c.without(WireProbe) {
		return Reason{}
	}
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if !m.mayHold(g, i) || p.state != Dead || g.answered && g.answerAt > p.clock {
			continue
		}
		if !g.ready || m.now.Sub(g.readyAt) < m.c.Timings.Margin {
			return about(ReasonYielding, m.name(i))
		}
	}
	return Reason{}
}

// noise is what the wire says against taking.
func (m *machine) noise(g *group) Reason {
	switch {
	case m.quiet(g):
		return Reason{}
	case g.answered && g.answer.Node == "":
		return detailed(ReasonForeign, g.answer.MAC)
	case g.answered:
		return about(ReasonAnswered, g.answer.Node)
	}
	return because(ReasonProbing)
}

// leave tells whether a living node has nothing against our claim: it answered it
// without a better one, or released the group for us or because it cannot hold it.
// One that hears nothing is not waited for long if it could not take the group.
func (m *machine) leave(g *group, i int) bool {
	p := &m.s.peers[i]
	c := p.claim(g)
	switch {
	case p.ackedSeq > g.askedSeq:
		return true
	case c.Leave == m.c.Self && c.LeaveEpoch == g.epoch && !c.Role.Holds():
		return true
	case g.handed && g.lastHeld == i && g.to == m.self && m.acknowledged(p) < m.c.Timings.Suspect:
		return true // it has heard us too lately to have gone on without us
	case g.handed && g.lastHeld == i && !c.Able:
		return true
	case !c.Role.Holds() && !c.Able && m.now.Sub(g.askedAt) >= m.c.Timings.Suspect:
		return true
	}
	return m.now.Sub(g.askedAt) >= m.c.Timings.Patience // it is heard, but does not hear us
}

// askAgain repeats the question sooner than the next heartbeat: it may be lost.
func (m *machine) askAgain(g *group) {
	if m.tick && m.now.Sub(m.s.beaten) >= 2*m.c.Timings.Tick && g.refusal.Code == ReasonLeaveMissing {
		m.s.speak = true
	}
}

// take configures the address, when the wire is still silent after the starts.
func (m *machine) take(g *group) {
	if m.c.Groups[g.index].Bare {
		m.activate(g, because(ReasonStarted))
		return
	}
	if g.setting || g.dropping || g.address {
		return
	}
	// The starts may have taken long: what was asked before them is asked again.
	if why := m.asking(g); why.Code != None {
		m.refuse(g, why)
		m.askAgain(g)
		return
	}
	if m.unsaved(g) {
		return
	}
	m.setAddress(g)
}

// unsaved tells whether the epoch is still on its way to the disk. One that takes
// too long does not keep the address from people.
func (m *machine) unsaved(g *group) bool {
	if g.saved >= g.epoch {
		return false
	}
	if m.now.Sub(g.saveAt) < m.c.Timings.SaveWait {
		return true
	}
	m.remark(g, because(ReasonDiskSlow))
	g.saved = g.epoch
	return false
}

func (m *machine) setAddress(g *group) {
	g.address, g.setting = true, true
	g.renewed, g.tried = m.now, m.now
	m.do(Take{Group: g.name, NotAfter: m.limit(m.now.Add(m.c.Timings.Gap))})
}

// limit is until when a call may begin and end; without the lease check there is none.
func (m *machine) limit(t Instant) Instant {
	if m.c.without(LeaseCheck) {
		return 1<<63 - 1
	}
	return t
}

// activate: the group is held.
func (m *machine) activate(g *group, why Reason) {
	m.to(g, Active, why)
	g.pinned = g.to == m.self && g.forced
	g.handed, g.lastHeld, g.to, g.forced, g.free = false, m.self, -1, false, false
	g.answered, g.doubt, g.better = false, false, -1
	m.announceBurst(g)
	if m.c.Groups[g.index].After {
		g.after = starting
		m.do(StartPart{Group: g.name, Part: After})
	}
	m.announce(g)
}

// giveUp ends acquiring: at once while nothing was started, else by releasing.
func (m *machine) giveUp(g *group, why Reason) {
	if g.empty() {
		g.phase = Asking
		m.to(g, Standby, why)
		return
	}
	m.letGo(g, why, -1)
}
