package director

import (
	"slices"
	"time"
)

// probe asks the wire while an answer may soon be needed: a holder is silent, or
// this node acquires. It goes on until the address is taken.
func (m *machine) probe(g *group) {
	if !m.tick || m.c.Groups[g.index].Bare {
		return
	}
	need := g.role == Acquiring && !g.address || g.role == Standby && g.mine && m.silentHolder(g)
	if !need {
		if g.probing {
			g.probing = false
			g.forgetProbes()
		}
		return
	}
	if is := (hindrance{g.role, g.refusal.Code}); !g.probing || is != g.paced {
		g.paced, g.pacedAt = is, m.now
	}
	if !g.probing || m.now.Sub(g.probedAt) >= m.c.Timings.ProbePause {
		g.probing, g.probedAt = true, m.now
		m.question(g)
	}
	g.silent = m.silence(g)
	if g.answered && m.now.Sub(g.answerAt) > m.c.Timings.Lease {
		g.answered = false
	}
}

// question asks for all addresses of a group, or for the next part of them.
func (m *machine) question(g *group) {
	ask := Probe{Group: g.name, Parts: 1}
	if parts := m.parts(g); parts > 1 && m.leisure(g) {
		g.asked = (g.asked + 1) % parts
		ask.Part, ask.Parts = g.asked, parts
	}
	g.probeID++
	ask.ID = g.probeID
	copy(g.probes[1:], g.probes[:])
	g.probes[0] = probe{id: g.probeID, at: m.now, works: len(m.c.Gateways) == 0 || m.c.without(WireProof), part: ask.Parts > 1}
	m.do(ask)
}

// leisurely is how often each address is asked for when there is no hurry.
const leisurely = time.Second

// parts is in how many parts the addresses are asked for then.
func (m *machine) parts(g *group) int {
	return min(m.c.Groups[g.index].Addresses, int(leisurely/m.c.Timings.ProbePause))
}

// leisure tells that the wire is asked without a hurry: for longer than any lease can
// last nothing has changed in what keeps this node from taking the group, and what that
// is does not end by itself. Hundreds of addresses would be asked for thirty times a
// second, for as long as a stranger has one of them. All of them are asked for again as
// soon as the one that was answered for is not any more: that one is in each part, so
// that this is known after one pause.
func (m *machine) leisure(g *group) bool {
	t := m.c.Timings
	if m.now.Sub(g.pacedAt) < 2*t.Lease+t.LeaseMargin+t.Dead || g.role == Acquiring && g.phase != Asking {
		return false
	}
	if g.answered {
		return !m.missed(g)
	}
	switch g.refusal.Code {
	case None, ReasonBetter, ReasonReleasedFor, ReasonStrict, ReasonPeerSuspect, ReasonYielding, ReasonLeaveMissing:
		return false // time alone is in the way
	case ReasonProbing:
		return !m.missed(g) // the wire does not work
	default:
		return true
	}
}

// missed tells whether a question was not answered though the wire works; an answer
// has all questions before it forgotten.
func (m *machine) missed(g *group) bool {
	return slices.ContainsFunc(g.probes[:], func(p probe) bool {
		return p.id != 0 && p.works && m.now.Sub(p.at) >= m.c.Timings.ProbeAge
	})
}

// silentHolder tells whether another node that may hold the group is silent.
func (m *machine) silentHolder(g *group) bool {
	for i := range m.s.peers {
		if p := &m.s.peers[i]; m.mayHold(g, i) && (p.state == Suspect || p.state == Dead) {
			return true
		}
	}
	return false
}

// silence tells whether the newest probes were not answered: each old enough, and
// sent when the wire worked.
func (m *machine) silence(g *group) bool {
	t := m.c.Timings
	unanswered := 0
	for _, p := range g.probes {
		if p.id == 0 || m.now.Sub(p.at) > silenceWindow*t.ProbePause {
			break
		}
		if !p.part && p.works && m.now.Sub(p.at) >= t.ProbeAge {
			unanswered++
		}
	}
	return unanswered >= t.Probes
}

// silenceWindow is how many probe pauses back an unanswered probe counts.
const silenceWindow = 8

func (m *machine) wire(what What) {
	switch e := what.(type) {
	case WireAnswered:
		m.wireAnswered(e)
	case WireWorks:
		if g := m.groupOf(e.Group); g != nil {
			for i := range g.probes {
				if g.probes[i].id == e.Probe {
					g.probes[i].works = true
				}
			}
		}
	case ForeignClaim:
		m.foreignClaim(e)
	}
}

func (m *machine) wireAnswered(e WireAnswered) {
	g := m.groupOf(e.Group)
	if g == nil || !g.probing || e.By.Node == m.c.Self {
		return
	}
	g.forgetProbes()
	before := g.answered
	g.answered, g.answerAt = true, m.now
	// Of several who answer people are told of one, until that one does so no more: who is
	// first with it changes from question to question.
	if !before || e.By == g.answer || m.now.Sub(g.answererAt) > 2*leisurely+m.c.Timings.Lease {
		g.answer, g.answererAt = e.By, m.now
	}
	if g.ready {
		m.s.speak = true
	}
}

// foreignClaim: who else announces an address that is held here is compared by
// its heartbeats; here it is a doubt, and people want to know.
func (m *machine) foreignClaim(e ForeignClaim) {
	g := m.groupOf(e.Group)
	if g == nil || g.role != Active || e.By.Node == m.c.Self {
		return
	}
	m.s.speak = true
	if g.doubt && m.now.Sub(g.announceAt) < m.c.Timings.Lease {
		return // defended already
	}
	// Each is answered at once; people are told of the first within a lease: who claims the
	// address a hundred times a second must not fill their logs.
	told, before := g.foreignAt == 0 || m.now.Sub(g.foreignAt) >= m.c.Timings.Lease, g.doubt
	if told {
		g.foreignAt = m.now
		m.remark(g, Reason{Code: ReasonForeignClaim, Node: e.By.Node, Detail: e.By.String()})
	}
	m.doubt(g)
	g.untold = !told && !before
}

// quiet tells whether the wire lets this node take the address: silent, or not
// asked, since the owner said that it released, or was fenced, and no holder is
// silent otherwise. Who left or was fenced a while ago may have been started again
// where nobody hears it, and have found the wire silent once.
func (m *machine) quiet(g *group) bool {
	if m.c.Groups[g.index].Bare || m.c.without(WireProbe) || g.silent {
		return true
	}
	fenced := false
	for i := range m.s.peers {
		if !m.mayHold(g, i) {
			continue
		}
		p := &m.s.peers[i]
		switch p.state {
		case Alive:
		case Left:
			if !m.justHanded(g) && m.now.Sub(p.wordAt) >= m.c.Timings.Dead {
				return false
			}
		case Fenced:
			if !m.justHanded(g) && m.now.Sub(p.fencedAt) >= m.c.Timings.Dead {
				return false
			}
			fenced = true
		case Unheard, Suspect, Dead:
			return false
		}
	}
	return g.handed || fenced
}

// justHanded tells whether the group was released so lately that nobody who asks
// the wire can have found it silent since.
func (m *machine) justHanded(g *group) bool {
	t := m.c.Timings
	return g.handed && m.now.Sub(g.toAt) < time.Duration(t.Probes-1)*t.ProbePause+t.ProbeAge
}
