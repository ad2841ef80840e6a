package lvs

import (
	"net/netip"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
)

// A Memory is what a pool has to know of its life before, so that neither a
// restart nor a crash puts a failed server back.
type Memory struct {
	Virtuals map[string]VirtualMemory `json:"virtuals"`
}

// VirtualMemory is what is remembered of a virtual service.
type VirtualMemory struct {
	// Said is what each source said last, by the source and the host's canonical
	// name: "up", "down" or "unknown".
	Said map[string]map[string]string `json:"said,omitempty"`
	// Quorum is "had", "lost" or empty.
	Quorum string    `json:"quorum,omitempty"`
	Lost   time.Time `json:"lost,omitzero"`
	// Servers are by [Real.Host].
	Servers   map[string]ServerMemory `json:"servers,omitempty"`
	Decisions uint64                  `json:"decisions"`
}

// ServerMemory is what is remembered of a real server.
type ServerMemory struct {
	In     bool      `json:"in"`
	Since  time.Time `json:"since"`
	LastUp uint64    `json:"last_up,omitempty"`
	// Address is of a server with a name: the name server may be down when it is
	// needed.
	Address netip.AddrPort `json:"address,omitzero"`
	Drained *Drained       `json:"drained,omitempty"`
}

// Aged is the memory without what time has made worthless: health. An operator's
// word does not age.
func (m Memory) Aged() Memory {
	old := Memory{Virtuals: map[string]VirtualMemory{}}
	for name, v := range m.Virtuals {
		kept := VirtualMemory{Servers: map[string]ServerMemory{}}
		for host, s := range v.Servers {
			if s.Drained != nil {
				kept.Servers[host] = ServerMemory{Drained: s.Drained}
			}
		}
		old.Virtuals[name] = kept
	}
	return old
}

// memory is what to remember now.
func (p *Pool) memory() Memory {
	m := Memory{Virtuals: make(map[string]VirtualMemory, len(p.virtuals))}
	for name, v := range p.virtuals {
		m.Virtuals[name] = v.memory()
	}
	return m
}

func (v *virtualPool) memory() VirtualMemory {
	m := VirtualMemory{
		Said: make(map[string]map[string]string, len(v.sources)), Quorum: string(v.quorum), Lost: v.lost,
		Servers: make(map[string]ServerMemory, len(v.servers)), Decisions: v.decisions,
	}
	for source, words := range v.sources {
		said := make(map[string]string, len(words))
		for host, state := range words {
			said[host] = state.String()
		}
		m.Said[source] = said
	}
	for _, s := range v.servers {
		of := ServerMemory{In: s.in, Since: s.since, LastUp: s.lastUp, Drained: s.drained}
		if s.Name != "" {
			of.Address = s.address
		}
		m.Servers[s.Host] = of
	}
	return m
}

// restore takes over what was remembered. What is not known any more, or not
// understood, is left out.
func (v *virtualPool) restore(m VirtualMemory) {
	states := map[string]alerts.HostState{}
	for _, s := range []alerts.HostState{alerts.HostUnknown, alerts.HostUp, alerts.HostDown} {
		states[s.String()] = s
	}
	for source, said := range m.Said {
		v.sources[source] = words{}
		for host, word := range said {
			if state, known := states[word]; known {
				v.sources[source][host] = state
			}
		}
	}
	v.decisions = m.Decisions
	if q := quorum(m.Quorum); q == quorumHad || q == quorumLost {
		v.quorum, v.lost = q, m.Lost
	}
	for _, s := range v.servers {
		of, known := m.of(v.Reals, s.Real)
		if !known {
			continue
		}
		s.in, s.lastUp, s.drained = of.In, of.LastUp, of.Drained
		if !of.Since.IsZero() {
			s.since = of.Since
		}
		if s.Name != "" && of.Address.IsValid() && of.Address.Port() == s.Port {
			s.address, s.stale = of.Address, true
		}
	}
}

// of is what is remembered of a server, or of the only one of its host if its port
// or the way it is written changed.
func (m VirtualMemory) of(reals []Real, r Real) (ServerMemory, bool) {
	if exact, known := m.Servers[r.Host]; known {
		return exact, true
	}
	var found []ServerMemory
	for host, s := range m.Servers {
		if name, _, err := splitHost(host); err == nil && strings.EqualFold(name, r.bare()) {
			found = append(found, s)
		}
	}
	same := 0
	for _, other := range reals {
		if other.bare() == r.bare() {
			same++
		}
	}
	if len(found) == 1 && same == 1 {
		return found[0], true
	}
	return ServerMemory{}, false
}

// save writes what is to be remembered, if it has changed. It is called by whoever
// has the turn.
func (p *Pool) save() {
	if p.remember == nil {
		return
	}
	p.mu.Lock()
	changes, m := p.changes, Memory{}
	if changes != p.saved {
		m = p.memory()
	}
	p.mu.Unlock()
	if changes != p.saved {
		p.remember(m)
		p.saved = changes
	}
}

// A QuorumChange tells that a virtual service has lost its quorum, or has it
// again.
type QuorumChange struct {
	Virtual string
	Had     bool
	Weight  int // of the servers that are up, together
	Quorum  int
	At      time.Time
	Lost    time.Time // when the quorum was lost, the last time
}

// tell tells of the quorums. It is called by whoever has the turn, so that the
// order is kept.
func (p *Pool) tell() {
	p.mu.Lock()
	news := p.news
	p.news = nil
	p.mu.Unlock()
	if p.quorum == nil {
		return
	}
	for _, n := range news {
		p.quorum(n)
	}
}
