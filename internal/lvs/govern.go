package lvs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monitord/monitord/resources"
)

// A Position says what becomes of a virtual service on this director. Whatever it
// is, watches are heard and the service's state is kept.
//
//	Undecided ──Hold──▶ Held ──Resign──▶ Resigned ◀──Resign── Undecided
//	                      ▲                 │
//	                      └──────Hold───────┘
type Position string

// The positions: a service of no group is always forwarded; what the backend has of
// an undecided one stays exactly as it is, so that a daemon that is started anew
// loses no connection; one that is held is forwarded, one that is resigned is not, but
// see [Partner].
const (
	Always    Position = ""
	Undecided Position = "undecided"
	Held      Position = "held"
	Resigned  Position = "resigned"
)

// unsettled is in force when the backend has done something, and not all.
const unsettled Position = "unsettled"

// An Activity is what the positions of all services come to.
type Activity string

// The activities: no service belongs to a group; nothing is decided; at least one
// service of a group is held here; none is, and another director may hold them.
const (
	Alone   Activity = ""
	Waiting Activity = "undecided"
	Active  Activity = "active"
	Standby Activity = "standby"
)

// with is the activity with one more service.
func (a Activity) with(p Position) Activity {
	switch {
	case p == Always, a == Active:
		return a
	case p == Held:
		return Active
	case p == Undecided, a == Waiting:
		return Waiting
	}
	return Standby
}

// A Partner is a backend that works together with those of other directors, and has
// to know which of them is active. SetActivity comes before a Set, by which it takes
// effect.
type Partner interface {
	SetActivity(a Activity)
	// Follows reports whether a standby is told of the active director's connections:
	// then it is given the services that are resigned as well, to know the servers of
	// these connections, and forwards nothing itself.
	Follows() bool
}

// A Differ is a backend that finds out what a Set would change.
type Differ interface {
	Diff(ctx context.Context, wanted Table) ([]Change, error)
}

var _ resources.Table = (*Pool)(nil)

// Govern names the virtual services that belong to groups, from the next
// [Pool.Reconfigure] on. They keep the positions that they have, and are undecided if
// they have none; the others are always forwarded.
func (p *Pool) Govern(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.governed = make(map[string]bool, len(names))
	for _, name := range names {
		p.governed[name] = true
	}
}

// place gives a service its position after a reload.
func (v *virtualPool) place(before *virtualPool, governed bool) {
	switch {
	case !governed:
		v.position = Always
	case before == nil || before.position == Always:
		v.position = Undecided
		v.there = v.there || before != nil
	default:
		v.position, v.inForce, v.there = before.position, before.inForce, before.there
	}
}

// placed is what the backend should have of the service in its position; follows says
// that those which are resigned are not forwarded anyway.
func (v *virtualPool) placed(follows bool) ([]Service, error) {
	switch v.position {
	case Resigned:
		if !follows {
			return nil, nil
		}
	case Undecided:
		return v.left(), nil
	case Always, Held, unsettled:
	}
	return v.services()
}

// left is the service with all servers that the backend may have of it.
func (v *virtualPool) left() []Service {
	all, _ := v.services() // what cannot be forwarded will be said when it is held
	var servers []Server
	for _, s := range v.servers {
		if s.address.IsValid() {
			servers = append(servers, s.server(s.address, s.Weight))
		}
	}
	if v.Sorry != nil {
		servers = append(servers, v.Sorry.server(v.Sorry.Address, v.Sorry.Weight))
	}
	for i := range all {
		all[i].Leave, all[i].Servers = true, slices.Clone(servers)
	}
	return all
}

// Hold has services of groups forwarded; without names all that belong to groups. It
// returns when the backend has accepted them: their addresses may come now. A server
// that could not be put in is no error as long as the service is forwarded, and is
// tried again. With an error none is forwarded that was not before, unless the
// backend refuses that too: the next call of any kind tries it again.
func (p *Pool) Hold(ctx context.Context, names ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	moved, err := p.move(names, Held)
	if err != nil {
		return err
	}
	err = p.settle(ctx, names)
	if err == nil || len(moved) == 0 {
		return err
	}
	if _, gone := p.move(moved, Resigned); gone == nil && ctx.Err() == nil {
		err = errors.Join(err, p.settle(ctx, moved))
	}
	return err
}

// Resign withdraws services of groups; without names all that belong to groups. It
// returns when the backend forwards none of them any more. After an error they are
// resigned nevertheless, and the next call of any kind tries again.
func (p *Pool) Resign(ctx context.Context, names ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := p.move(names, Resigned); err != nil {
		return err
	}
	return p.settle(ctx, names)
}

// move gives the services a position, all or none, and returns those that had
// another one.
func (p *Pool) move(names []string, to Position) (moved []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.those(names)
	for _, v := range all {
		if v.position != to {
			v.position = to
			moved = append(moved, v.Name)
		}
	}
	return moved, err
}

// those are the services of these names; without names all that belong to groups.
func (p *Pool) those(names []string) (all []*virtualPool, err error) {
	if len(names) == 0 {
		for _, name := range p.order {
			if v := p.virtuals[name]; v.position != Always {
				all = append(all, v)
			}
		}
		return all, nil
	}
	for _, name := range names {
		switch v := p.virtuals[name]; {
		case v == nil:
			return nil, fmt.Errorf("there is no virtual service %q, only %s", name, some(p.order))
		case v.position == Always:
			return nil, &ServiceError{name, errors.New("belongs to no group: it is always forwarded")}
		default:
			all = append(all, v)
		}
	}
	return all, nil
}

// settle has the backend accept the positions of these services.
func (p *Pool) settle(ctx context.Context, names []string) error {
	err := p.push(ctx, ifChanged)
	p.mu.Lock()
	defer p.mu.Unlock()
	all, gone := p.those(names)
	if gone != nil {
		return gone // a reload has come between
	}
	open := slices.DeleteFunc(all, func(v *virtualPool) bool { return v.inForce == v.position })
	if len(open) == 0 {
		return nil
	}
	why := grave(err, func(name string) bool {
		return slices.ContainsFunc(open, func(v *virtualPool) bool { return v.called(name) })
	})
	if why == nil {
		why = &ServiceError{open[0].Name, fmt.Errorf("is %s no more, by another call", open[0].position)}
	}
	return why
}

// accepted notes which services are as planned. It is called by whoever has the
// turn.
func (p *Pool) accepted(done plan, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, position := range done.positions {
		v := p.virtuals[name]
		switch {
		case v == nil:
		case grave(err, v.called) == nil:
			v.inForce = position
		default:
			v.inForce = unsettled
		}
	}
}

// called reports whether a backend's error means the service: what is removed it may
// know by its address alone.
func (v *virtualPool) called(name string) bool {
	return name == v.Name || slices.ContainsFunc(v.IDs, func(id ServiceID) bool { return id.String() == name })
}

// grave leaves of a backend's error what keeps a service from being as wanted.
func grave(err error, concerned func(virtual string) bool) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var kept []error
		for _, e := range joined.Unwrap() {
			kept = append(kept, grave(e, concerned))
		}
		return errors.Join(kept...)
	}
	if _, flaw := errors.AsType[*Flaw](err); flaw {
		return nil
	}
	if s, ok := errors.AsType[*ServiceError](err); ok && !concerned(s.Virtual) {
		return nil
	}
	return err
}

// Holding reports whether a service is held and the backend has accepted that; it is
// true of a service that belongs to no group, too.
func (p *Pool) Holding(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.virtuals[name]
	return v != nil && v.position == v.inForce && (v.position == Held || v.position == Always)
}

// Standing finds out what the services are, without names all that belong to groups:
// running if they are held and forwarded, stopped if they are neither. They have
// failed if it is not the same for all; if the backend has not accepted it, or has
// another table by somebody else's doing; and if nothing is decided and something of
// them was forwarded when the daemon started. No services are stopped.
func (p *Pool) Standing(ctx context.Context, names ...string) (resources.Status, error) {
	if err := ctx.Err(); err != nil {
		return resources.Stopped, err
	}
	wrong, err := p.wrong(ctx)
	if err != nil {
		return resources.Stopped, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.those(names)
	if err != nil || len(all) == 0 {
		return resources.Stopped, err
	}
	first := all[0].standing(wrong)
	for _, v := range all[1:] {
		if v.standing(wrong) != first {
			return resources.Failed, nil
		}
	}
	return first, nil
}

func (v *virtualPool) standing(wrong map[ServiceID]bool) resources.Status {
	switch {
	case v.position == Undecided && !v.there:
		return resources.Stopped
	case v.position == Undecided, v.position != v.inForce,
		slices.ContainsFunc(v.IDs, func(id ServiceID) bool { return wrong[id] }):
		return resources.Failed
	case v.position == Held:
		return resources.Running
	}
	return resources.Stopped
}

// wrong are the services that the backend lacks, or has to remove. Servers come and
// go all the time, and are mended by [Pool.Tick].
func (p *Pool) wrong(ctx context.Context) (map[ServiceID]bool, error) {
	all := map[ServiceID]bool{}
	b, ok := p.backend.(Differ)
	if !ok {
		return all, nil
	}
	changes, err := b.Diff(ctx, p.Wanted())
	for _, c := range changes {
		if c.Operation == AddService || c.Operation == RemoveService {
			all[c.Service.ID] = true
		}
	}
	return all, err
}
