package lvs

import (
	"context"
	"net/netip"
	"time"
)

// VirtualStatus is a virtual service as it is now.
type VirtualStatus struct {
	Name      string         `json:"name"`
	Protocol  Protocol       `json:"protocol"`
	Address   netip.AddrPort `json:"address"`
	Scheduler Scheduler      `json:"scheduler"`
	MinUp     int            `json:"min_up"`
	Up        int            `json:"up"` // real servers that are up
	Servers   []ServerStatus `json:"servers"`
}

// ServerStatus is a real server as it is now.
type ServerStatus struct {
	Host string `json:"host"`
	// Target is the address and port, or while the name could not be looked up
	// the name and port.
	Target string `json:"target"`
	Weight int    `json:"weight"` // as configured
	In     bool   `json:"in"`
	// Held says that the server is down and min_up keeps it in.
	Held bool `json:"held"`
	// Reason says why it is in or out: "down, says web:http".
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"` // of In
	Count
}

// Snapshot returns the state of all virtual services, as configured in order.
// The error is the backend's, which could not count; all else is there then too.
func (p *Pool) Snapshot(ctx context.Context) ([]VirtualStatus, error) {
	var counts Counts
	var err error
	if c, ok := p.backend.(Counter); ok {
		counts, err = c.Counts(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]VirtualStatus, 0, len(p.order))
	for _, name := range p.order {
		all = append(all, p.virtuals[name].status(counts))
	}
	return all, err
}

func (v *virtualPool) status(counts Counts) VirtualStatus {
	out := VirtualStatus{
		Name: v.Name, Protocol: v.Protocol, Address: v.Address, Scheduler: v.Scheduler,
		MinUp: v.MinUp, Servers: make([]ServerStatus, 0, len(v.servers)),
	}
	count := counts[ServiceID{v.Protocol, v.Address}]
	for _, s := range v.servers {
		if s.up {
			out.Up++
		}
		out.Servers = append(out.Servers, s.status(count[s.address]))
	}
	return out
}

func (s *server) status(count Count) ServerStatus {
	out := ServerStatus{
		Host: s.Host, Target: s.Target(), Weight: s.Weight,
		In: s.in, Held: s.held, Reason: s.reason, Since: s.since, Count: count,
	}
	if s.held {
		out.Reason += ", kept in by min_up"
	}
	if s.address.IsValid() {
		out.Target = s.address.String()
	} else if s.in {
		out.Reason += ", its name cannot be looked up"
	}
	return out
}
