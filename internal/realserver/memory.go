package realserver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/monitord/monitord/internal/state"
)

// A memory is what Down has to know.
type memory struct {
	// Namespace is where and since when it holds, see netif.Namespace.
	Namespace string   `json:"namespace"`
	VIPs      []entry  `json:"vips"`
	Changes   []change `json:"changes"`
}

// A change is written before it is made: a crash in between leaves one that is
// not needed, which undoing finds out.
type change struct {
	Thing    thing  `json:"thing"`
	Previous string `json:"previous"`
	Written  string `json:"written"`
}

func document() state.Document { return state.Document{Name: "realserver", Version: 1} }

// entry is the VIP's, or nil.
func (m *memory) entry(e entry) *entry {
	i := slices.IndexFunc(m.VIPs, func(o entry) bool { return o.VIP == e.VIP })
	if i < 0 {
		return nil
	}
	return &m.VIPs[i]
}

func (m *memory) change(t thing) *change {
	i := slices.IndexFunc(m.Changes, func(c change) bool { return c.Thing == t })
	if i < 0 {
		return nil
	}
	return &m.Changes[i]
}

func (m *memory) forget(t thing) {
	m.Changes = slices.DeleteFunc(m.Changes, func(c change) bool { return c.Thing == t })
}

// needs reports whether a VIP that is up needs the thing.
func (m *memory) needs(t thing) bool {
	for _, e := range m.VIPs {
		if slices.ContainsFunc(plan(e), func(w want) bool { return w.thing == t }) {
			return true
		}
	}
	return false
}

// load reads the memory and keeps of it what holds for this namespace.
func (s *server) load(report *Report) (memory, error) {
	now, err := s.kernel.namespace()
	if err != nil {
		return memory{}, err
	}
	m := memory{}
	_, err = s.store.Load(document(), &m)
	damaged, isDamaged := errors.AsType[*state.Damaged](err)
	switch {
	case errors.Is(err, state.ErrNone):
		return memory{Namespace: now}, nil
	case isDamaged:
		report.left("%v; what was changed before is not known, and will not be undone", damaged)
		return memory{Namespace: now}, nil
	case err != nil:
		return memory{}, err
	}
	if m.Namespace != now {
		if len(m.VIPs) > 0 {
			report.left("%s was up before this machine, or its network namespace, was started; that is gone", vips(m.VIPs))
		}
		return memory{Namespace: now}, nil
	}
	return m, nil
}

func (s *server) save(m memory) error {
	if err := s.store.Save(document(), m); err != nil {
		return fmt.Errorf("remember what is going to be changed: %w", err)
	}
	return nil
}
