package kernel

import (
	"cmp"
	"maps"
	"slices"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// Memory is what is ours in the kernel, so that a later process can undo it. It
// is to be saved as JSON.
type Memory struct {
	// Namespace is where it is true, as in [Config].
	Namespace string `json:"namespace,omitempty"`
	// Services were added by us, or were there and are configured.
	Services []lvs.ServiceID `json:"services"`
	// Sysctls that we set, with their values before.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Daemons are the sync daemons that we started.
	Daemons []SyncRole `json:"daemons,omitempty"`
	// Masquerade says that we have rules.
	Masquerade bool `json:"masquerade,omitempty"`
}

// memory is a Memory to work with.
type memory struct {
	namespace  string
	services   map[lvs.ServiceID]bool
	sysctls    map[string]string
	daemons    map[ipvs.Role]bool
	masquerade bool
}

// in is the memory as it is worth in a namespace: nothing in another one, where
// all that was ours is gone, and what looks like it is somebody else's.
func (m Memory) in(namespace string) Memory {
	if m.Namespace != "" && namespace != "" && m.Namespace != namespace {
		m = Memory{}
	}
	if namespace != "" {
		m.Namespace = namespace
	}
	return m
}

func (m Memory) open() memory {
	out := memory{
		namespace: m.Namespace,
		services:  make(map[lvs.ServiceID]bool, len(m.Services)), sysctls: map[string]string{},
		daemons: map[ipvs.Role]bool{}, masquerade: m.Masquerade,
	}
	for _, id := range m.Services {
		out.services[id] = true
	}
	maps.Copy(out.sysctls, m.Sysctls)
	for _, d := range m.Daemons {
		for _, role := range d.roles() {
			out.daemons[role] = true
		}
	}
	return out
}

// closed is the memory in a form that is the same for the same contents.
func (m memory) closed() Memory {
	out := Memory{
		Namespace:  m.namespace,
		Services:   slices.SortedFunc(maps.Keys(m.services), compareIDs),
		Sysctls:    maps.Clone(m.sysctls),
		Masquerade: m.masquerade,
	}
	for _, role := range slices.Sorted(maps.Keys(m.daemons)) {
		out.Daemons = append(out.Daemons, SyncRole(role.String()))
	}
	return out
}

func (m memory) clone() memory {
	m.services, m.sysctls, m.daemons = maps.Clone(m.services), maps.Clone(m.sysctls), maps.Clone(m.daemons)
	return m
}

func (m memory) equal(o memory) bool {
	return m.namespace == o.namespace && maps.Equal(m.services, o.services) && maps.Equal(m.sysctls, o.sysctls) &&
		maps.Equal(m.daemons, o.daemons) && m.masquerade == o.masquerade
}

func compareIDs(a, b lvs.ServiceID) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Address.Compare(b.Address), cmp.Compare(a.Mark, b.Mark))
}
