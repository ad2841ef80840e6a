package lvs

import (
	"net/netip"
	"time"
)

// A ServiceView is a service of a table for people and scripts.
type ServiceView struct {
	// Name is the virtual service's, empty if monitord does not know it.
	Name        string       `json:"name,omitempty"`
	Service     string       `json:"service"` // "tcp 10.0.0.1:80", "fwmark 9"
	Scheduler   Scheduler    `json:"scheduler"`
	Flags       []string     `json:"flags,omitempty"`
	Persistence int          `json:"persistence,omitempty"` // seconds
	Mask        int          `json:"mask,omitempty"`        // of persistence
	Servers     []ServerView `json:"servers"`
	// Count is the service's in all: what its servers have together, and if the
	// backend counts that, what servers had that left it.
	Count
}

// A ServerView is a real server of it.
type ServerView struct {
	Address  netip.AddrPort `json:"address"`
	Weight   int            `json:"weight"`
	Forward  Forward        `json:"forward,omitempty"`
	Tunnel   TunnelType     `json:"tunnel,omitempty"`
	Port     uint16         `json:"tunnel_port,omitempty"`
	Checksum Checksum       `json:"tunnel_checksum,omitempty"`
	Upper    uint32         `json:"upper,omitempty"`
	Lower    uint32         `json:"lower,omitempty"`
	Count
}

// View shows a table, without services that are to be left; counts may be nil.
func (t Table) View(counts Counts) []ServiceView {
	all := make([]ServiceView, 0, len(t))
	for _, s := range t {
		if s.Leave {
			continue
		}
		v := ServiceView{Name: s.Name, Service: s.ID.String(), Scheduler: s.Scheduler, Flags: s.Flags.Names(), Servers: make([]ServerView, 0, len(s.Servers))}
		if s.Persistence > 0 {
			v.Persistence, v.Mask = int(s.Persistence/time.Second), s.Mask
		}
		for _, r := range s.Servers {
			v.Servers = append(v.Servers, ServerView{
				Address: r.Address, Weight: r.Weight, Forward: r.Forward, Tunnel: r.Tunnel.Type, Port: r.Tunnel.Port, Checksum: r.Tunnel.Checksum,
				Upper: r.Upper, Lower: r.Lower, Count: counts[s.ID][r.Address],
			})
		}
		whole, counted := counts[s.ID][netip.AddrPort{}]
		for _, r := range v.Servers {
			v.Count = v.Plus(r.Count)
		}
		if counted {
			whole.Active, whole.Inactive = v.Active, v.Inactive
			v.Count = whole
		}
		all = append(all, v)
	}
	return all
}

// Lines are changes as lines of ipvsadm -R.
func Lines(changes []Change) []string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}
	return lines
}
