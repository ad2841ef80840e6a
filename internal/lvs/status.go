package lvs

import (
	"context"
	"time"
)

// VirtualStatus is a virtual service as it is now.
type VirtualStatus struct {
	Name string `json:"name"`
	// Services are what clients connect to: "tcp 10.0.0.1:80", "fwmark 9".
	Services  []string       `json:"services"`
	Scheduler Scheduler      `json:"scheduler"`
	MinUp     int            `json:"min_up"`
	Up        int            `json:"up"` // real servers that are up
	Servers   []ServerStatus `json:"servers"`
	// Quorum is "had", "lost", or empty before all servers have been tested.
	Quorum string `json:"quorum"`
	// Sorry is the sorry server while it takes the connections.
	Sorry string `json:"sorry,omitempty"`
	// Position is empty for a service that belongs to no group.
	Position Position `json:"position,omitempty"`
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
	// Forward is empty where the backend has its own way.
	Forward Forward `json:"forward,omitempty"`
	// Drained is set if an operator wants the server to leave.
	Drained *Drained `json:"drained,omitempty"`
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
		Name: v.Name, Scheduler: v.Scheduler, Quorum: string(v.quorum),
		MinUp: v.MinUp, Position: v.position, Servers: make([]ServerStatus, 0, len(v.servers)),
	}
	for _, id := range v.IDs {
		out.Services = append(out.Services, id.String())
	}
	if v.sorry() {
		out.Sorry = v.Sorry.Target()
	}
	for _, s := range v.servers {
		if s.up {
			out.Up++
		}
		out.Servers = append(out.Servers, s.status(v.count(s, counts)))
	}
	return out
}

// count adds up what a server has in all services of the virtual one.
func (v *virtualPool) count(s *server, counts Counts) Count {
	var sum Count
	for _, id := range v.IDs {
		sum = sum.Plus(counts[id][s.address])
	}
	return sum
}

// Plus adds two counts.
func (c Count) Plus(o Count) Count {
	return Count{
		Active: c.Active + o.Active, Total: c.Total + o.Total, Failed: c.Failed + o.Failed, Inactive: c.Inactive + o.Inactive,
		InPackets: c.InPackets + o.InPackets, OutPackets: c.OutPackets + o.OutPackets,
		InBytes: c.InBytes + o.InBytes, OutBytes: c.OutBytes + o.OutBytes,
		Rates: Rates{
			Connections: c.Rates.Connections + o.Rates.Connections,
			InPackets:   c.Rates.InPackets + o.Rates.InPackets, OutPackets: c.Rates.OutPackets + o.Rates.OutPackets,
			InBytes: c.Rates.InBytes + o.Rates.InBytes, OutBytes: c.Rates.OutBytes + o.Rates.OutBytes,
		},
	}
}

func (s *server) status(count Count) ServerStatus {
	out := ServerStatus{
		Host: s.Host, Target: s.Target(), Weight: s.Weight,
		In: s.in, Held: s.held, Reason: s.reason, Since: s.since, Forward: s.Forward, Drained: s.drained, Count: count,
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
