package director

// letGo begins to release a group: an owner that lost its right drops the address
// first and stops the rest then; one that hands over (gently) stops what comes
// after the address while it still serves.
func (m *machine) letGo(g *group, why Reason, to int) {
	g.released, g.to, g.toAt = why, to, m.now
	g.gentle, g.pinned, g.forced = to >= 0, false, why.Code == ReasonSwitchover
	g.answered = false
	m.to(g, Releasing, why)
	m.release(g)
}

// failStart releases a group that could not be started here, and lowers the
// node's fitness for it.
func (m *machine) failStart(g *group, why Reason) {
	g.failed = true
	g.failures++
	pause := m.c.Timings.BackOff
	for i := 1; i < g.failures && pause < m.c.Timings.BackOffMax; i++ {
		pause *= 2
	}
	g.pause = m.now.Add(min(pause, m.c.Timings.BackOffMax))
	m.letGo(g, why, -1)
}

// release goes on with releasing until nothing is left.
func (m *machine) release(g *group) {
	if g.gentle {
		if why := m.rights(g); why.Code != None {
			g.gentle = false
		} else {
			m.renew(g)
		}
	}
	if !m.clear(g) {
		return
	}
	m.released(g)
}

// rights is why a group that is being handed over must be dropped now.
func (m *machine) rights(g *group) Reason {
	if why := m.fence(g); why.Code != None {
		return why
	}
	if node := m.loses(g); node >= 0 {
		return about(ReasonClaimLost, m.name(node))
	}
	return Reason{}
}

// clear stops what is left of a group, in its order, and tells whether nothing is.
func (m *machine) clear(g *group) bool {
	if g.gentle && g.after != stopped {
		m.stop(g, After)
		return false
	}
	if g.address {
		m.drop(g)
		return false
	}
	if g.after != stopped {
		m.stop(g, After)
		return false
	}
	if g.before != stopped {
		m.stop(g, Before)
		return false
	}
	return true
}

func (m *machine) drop(g *group) {
	if g.dropping {
		return
	}
	if m.now < g.dropAt {
		g.address = !m.tick || !g.leaseOver(m.c.Timings, m.now) // the kernel does it in the end
		return
	}
	g.dropping = true
	m.do(Drop{Group: g.name})
}

func (m *machine) dropped(g *group, e Dropped) {
	if e.OK {
		g.address, g.setting = false, false
		g.complaint = Reason{}
		return
	}
	g.gentle = false // else it would be renewed until the next attempt, and never end
	g.dropAt = m.now.Add(m.c.Timings.Heartbeat)
	m.complain(g, detailed(ReasonDropFailed, e.Detail))
}

// complain tells what the kernel refuses, once until that changes: it is asked
// again many times a second.
func (m *machine) complain(g *group, why Reason) {
	if g.complaint != why {
		g.complaint = why
		m.remark(g, why)
	}
}

func (m *machine) stop(g *group, part Part) {
	state := g.part(part)
	if *state == stopping || m.now < g.stopAt {
		return
	}
	*state = stopping
	m.do(StopPart{Group: g.name, Part: part})
}

func (g *group) part(p Part) *running {
	if p == Before {
		return &g.before
	}
	return &g.after
}

// resources takes in what became of starts and stops.
func (m *machine) resources(what What) {
	switch e := what.(type) {
	case Started:
		g := m.groupOf(e.Group)
		if g == nil || *g.part(e.Part) != starting {
			return // ended by a stop
		}
		m.startedPart(g, e)
	case Stopped:
		g := m.groupOf(e.Group)
		if g == nil || *g.part(e.Part) != stopping {
			return
		}
		m.stoppedPart(g, e)
	}
}

func (m *machine) startedPart(g *group, e Started) {
	if e.OK {
		*g.part(e.Part) = started
		return
	}
	*g.part(e.Part) = mayRun // unwound, but a stop makes sure
	if g.role == Acquiring || g.role == Active {
		m.failStart(g, detailed(ReasonStartFailed, e.Detail))
	}
}

func (m *machine) stoppedPart(g *group, e Stopped) {
	if e.OK {
		*g.part(e.Part) = stopped
		g.stopFails, g.stopAt = 0, 0
		return
	}
	t := m.c.Timings
	*g.part(e.Part) = mayRun
	g.gentle = false
	g.stopFails++
	pause := t.StopRetry
	for i := t.StopTries; i < g.stopFails && pause < 8*t.StopRetry; i++ {
		pause *= 2 // no more than that: nobody serves the group meanwhile
	}
	g.stopAt = m.now.Add(pause)
	m.remark(g, detailed(ReasonStopFailed, e.Detail))
	if g.stopFails == t.StopTries {
		g.stopFailed = true
		m.remark(g, because(ReasonEscalated))
		m.to(g, Fault, detailed(ReasonStopFailed, e.Detail))
	}
}

// released: nothing of the group is here any more.
func (m *machine) released(g *group) {
	g.gentle = false
	g.handed, g.lastHeld = m.nobodyClaims(g), m.self
	g.toAt = m.now
	switch {
	case g.failed:
		m.to(g, Fault, g.released)
	case m.s.maintenance && !m.s.leaving:
		m.to(g, Maintenance, g.released)
	default:
		m.to(g, Standby, because(ReasonStopped))
	}
}

func (m *machine) nobodyClaims(g *group) bool {
	for i := range m.s.peers {
		if p := &m.s.peers[i]; i != m.self && p.state == Alive && p.claim(g).Role.Holds() {
			return false
		}
	}
	return true
}

// fault waits for a stop that succeeds, or for the end of the pause.
func (m *machine) fault(g *group) {
	if g.stopFailed {
		if !m.clear(g) {
			return
		}
		g.stopFailed = false
		if !g.failed {
			m.to(g, Standby, because(ReasonStopped))
			return
		}
	}
	switch {
	case m.s.maintenance && !m.s.leaving:
		g.failed = false
		m.to(g, Maintenance, because(ReasonMaintenanceOn))
	case m.tick && m.now >= g.pause:
		g.failed = false
		m.to(g, Standby, because(ReasonPauseOver))
	}
}

// found takes in what an earlier process left: an address inside its lease is
// adopted, and proves its right like after a gap; everything else is cleaned.
func (m *machine) found(e Found) {
	g := m.groupOf(e.Group)
	if g == nil || g.role != Init || g.found {
		return
	}
	g.found = true
	t, set := m.c.Timings, m.c.Groups[g.index]
	if set.Before {
		g.before = mayRun
	}
	if set.After {
		g.after = mayRun
	}
	if !e.Held {
		return
	}
	g.address, g.laid = true, m.now
	margin := t.Lease / 20
	if e.Left <= margin || e.Left > t.Lease || !g.mine || set.Bare || m.s.leaving {
		g.renewed = m.now
		return
	}
	// The renewal must be over before the kernel removes the address.
	g.renewed = m.now.Add(e.Left - margin - t.GapLimit)
	g.tried = m.now.Add(-t.Renew)
	g.epoch, g.adopted = g.seen, true
	m.adopt(g)
}

func (m *machine) adopt(g *group) {
	m.to(g, Active, because(ReasonAdopted))
	g.handed, g.lastHeld, g.better = false, m.self, -1
	m.announceBurst(g)
	for _, part := range []Part{Before, After} { // idempotent, and nobody knows how far it had got
		if *g.part(part) == mayRun {
			*g.part(part) = starting
			m.do(StartPart{Group: g.name, Part: part})
		}
	}
}

// clean stops what an earlier process may have left.
func (m *machine) clean(g *group) {
	if !g.found || !m.clear(g) {
		return
	}
	if m.s.maintenance {
		m.to(g, Maintenance, because(ReasonClean))
		return
	}
	m.to(g, Standby, because(ReasonClean))
}

// sayFarewell says that nothing is held, when this daemon ends and that is true.
func (m *machine) sayFarewell() {
	s := &m.s
	if !s.leaving {
		return
	}
	for i := range s.groups {
		g := &s.groups[i]
		if g.mine && (g.role.Holds() || g.stopFailed || !g.empty()) {
			return
		}
	}
	if !s.farewell {
		s.farewell, s.farewellAt, s.speak = true, m.now, true
		s.farewellSeq = s.seq
	}
	if m.tick && m.now.Sub(s.beaten) >= 2*m.c.Timings.Tick {
		s.speak = true
	}
}

// farewellHeard tells whether all who live have heard the farewell.
func (m *machine) farewellHeard() bool {
	for i := range m.s.peers {
		p := &m.s.peers[i]
		if i != m.self && (p.state == Alive || p.state == Suspect) && p.ackedSeq <= m.s.farewellSeq {
			return false
		}
	}
	return true
}

// quit ends this process and leaves everything to the next: with a fresh lease.
func (m *machine) quit() {
	for i := range m.s.groups {
		g := &m.s.groups[i]
		if g.role == Active && !m.s.proving && m.now.Sub(g.renewed) <= m.c.Timings.GapLimit {
			g.tried = m.now.Add(-m.c.Timings.Renew)
			g.setting = false
			m.renew(g)
		}
	}
	m.s.gone = true
	m.do(Exit{})
}
