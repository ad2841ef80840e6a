package kernel

import (
	"context"

	"github.com/monitord/monitord/internal/lvs"
)

// Actual returns what the kernel holds: our services, named as they were last
// wanted, and those of others, each in the kernel's order.
func (k *Kernel) Actual(ctx context.Context) (ours, others lvs.Table, err error) {
	s, _ := k.snapshot()
	wanted := make(map[lvs.ServiceID]lvs.Service, len(s.last))
	for i, w := range s.last {
		wanted[s.views[i].ID] = w
	}
	services, err := k.access.Services(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, found := range services {
		a := fromService(found)
		gone, err := k.fill(ctx, &a)
		if err != nil {
			return nil, nil, err
		}
		w, isWanted := wanted[a.ID]
		switch {
		case gone:
		case isWanted:
			ours = append(ours, resembling(a, w))
		case s.memory.services[a.ID]:
			ours = append(ours, a)
		default:
			others = append(others, a)
		}
	}
	return ours, others, nil
}

// Diff returns what a Set of the table would change in the kernel's, and changes
// nothing. May be called while Set runs.
func (k *Kernel) Diff(ctx context.Context, wanted lvs.Table) ([]lvs.Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, settings := k.snapshot()
	r := round{Kernel: k, state: s, settings: settings}
	r.look(wanted)
	actual, err := r.read(ctx, r.name, r.owns)
	if err != nil {
		return nil, err
	}
	return lvs.Changes(differing(actual, r.views, r.wants)), nil
}
