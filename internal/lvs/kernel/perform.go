package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// A performer makes changes, one after the other, and knows of each service how
// far it got.
type performer struct {
	access   ipvs.Access
	actual   map[lvs.ServiceID]lvs.Service
	wanted   func(lvs.ServiceID) lvs.Service // with the servers that are left out
	progress map[lvs.ServiceID]*progress
	order    []lvs.ServiceID // of progress

	done []lvs.Change
	// astray are the places that were otherwise than the change took them for.
	astray    map[place]bool
	surprised bool
	// stopped is an error that concerns all: the rest is left undone, of the
	// services that are unfinished.
	stopped    error
	unfinished map[lvs.ServiceID]bool
}

// progress is what has become of a service.
type progress struct {
	virtual string
	weights map[netip.AddrPort]int // in the kernel now
	wanted  bool                   // a server that is up is wanted
	short   bool                   // a wanted server could not be put in
	absent  bool                   // the service could not be added
	lost    bool                   // the service is another one than was read
	stays   bool                   // the service could not be removed
	errs    []error
}

// newPerformer begins with the kernel's table; wanted returns a service with all
// its servers.
func newPerformer(access ipvs.Access, actual map[lvs.ServiceID]lvs.Service, wanted func(lvs.ServiceID) lvs.Service) *performer {
	return &performer{
		access: access, actual: actual, wanted: wanted,
		progress: map[lvs.ServiceID]*progress{}, astray: map[place]bool{}, unfinished: map[lvs.ServiceID]bool{},
	}
}

// lack says which services lack servers from the beginning, and why.
func (p *performer) lack(servers []lack) {
	for _, l := range servers {
		g := p.of(l.service)
		g.short, g.errs = true, append(g.errs, l.err)
	}
}

func (p *performer) of(s lvs.Service) *progress {
	if g := p.progress[s.ID]; g != nil {
		return g
	}
	g := &progress{virtual: s.Name, weights: map[netip.AddrPort]int{}}
	for _, r := range p.actual[s.ID].Servers {
		g.weights[r.Address] = r.Weight
	}
	for _, r := range p.wanted(s.ID).Servers {
		g.wanted = g.wanted || r.Weight > 0
	}
	p.progress[s.ID] = g
	p.order = append(p.order, s.ID)
	return g
}

// perform makes the changes in their order. A failure is noted with the service.
func (p *performer) perform(ctx context.Context, changes []lvs.Change) {
	for _, c := range changes {
		if p.stopped == nil {
			p.stopped = ctx.Err()
		}
		if p.stopped != nil {
			p.unfinished[c.Service.ID] = true
			continue
		}
		p.change(ctx, c)
	}
}

func (p *performer) change(ctx context.Context, c lvs.Change) {
	g := p.of(c.Service)
	if g.absent || g.lost || g.empties(c) {
		return
	}
	err := p.call(ctx, c)
	switch {
	case err == nil:
		p.done = append(p.done, c)
		g.note(c)
	case endsAll(err) || ctx.Err() != nil:
		p.stopped = err
		p.unfinished[c.Service.ID] = true
	default:
		g.fail(c, err)
		p.surprised = p.surprised || g.lost
	}
}

// endsAll tells an error that the next call would give as well, perhaps after
// a long wait.
func endsAll(err error) bool {
	return errors.Is(err, ipvs.ErrNoKernel) || errors.Is(err, ipvs.ErrTimeout) || errors.Is(err, ipvs.ErrClosed)
}

// empties reports whether the change would take the last server that is up from
// a service that should have one, and has not got it.
func (g *progress) empties(c lvs.Change) bool {
	takes := c.Operation == lvs.RemoveServer || c.Operation == lvs.EditServer && c.Server.Weight == 0
	if !takes || !g.short || !g.wanted || g.weights[c.Server.Address] == 0 {
		return false
	}
	for address, weight := range g.weights {
		if weight > 0 && address != c.Server.Address {
			return false
		}
	}
	return true
}

func (g *progress) note(c lvs.Change) {
	switch c.Operation {
	case lvs.AddServer, lvs.EditServer:
		g.weights[c.Server.Address] = c.Server.Weight
	case lvs.RemoveServer:
		delete(g.weights, c.Server.Address)
	case lvs.AddService, lvs.EditService, lvs.RemoveService:
	}
}

func (g *progress) fail(c lvs.Change, err error) {
	g.errs = append(g.errs, err)
	switch c.Operation {
	case lvs.AddService:
		// If it exists it has servers that we do not know.
		g.absent, g.lost = true, errors.Is(err, ipvs.ErrExists)
	case lvs.RemoveService:
		g.stays = true
	case lvs.EditService, lvs.RemoveServer:
		g.lost = errors.Is(err, ipvs.ErrMissing)
	case lvs.AddServer, lvs.EditServer:
		g.short = true
		g.lost = errors.Is(err, ipvs.ErrMissing)
	}
}

// call makes one change. What somebody else did meanwhile is made up for: a
// server that is there already is changed instead, one that is not is added, and
// what was to be removed may be gone.
func (p *performer) call(ctx context.Context, c lvs.Change) error {
	key := keyOf(c.Service.ID)
	switch c.Operation {
	case lvs.AddService:
		return p.access.AddService(ctx, toService(c.Service))
	case lvs.EditService:
		return p.access.UpdateService(ctx, toService(c.Service))
	case lvs.RemoveService:
		return p.removed(c, p.access.RemoveService(ctx, key))
	case lvs.RemoveServer:
		return p.removed(c, p.access.RemoveDestination(ctx, key, c.Server.Address))
	case lvs.AddServer, lvs.EditServer:
		return p.put(ctx, key, c)
	}
	return fmt.Errorf("unknown %s", c)
}

func (p *performer) put(ctx context.Context, key ipvs.Key, c lvs.Change) error {
	d, err := toDestination(c.Server)
	if err != nil {
		return err
	}
	add := func() error { return p.access.AddDestination(ctx, key, d) }
	update := func() error { return p.access.UpdateDestination(ctx, key, d) }
	if c.Operation == lvs.EditServer {
		return p.orElse(c, update(), ipvs.ErrMissing, add)
	}
	return p.orElse(c, add(), ipvs.ErrExists, update)
}

// orElse does the other thing if the first one failed for that reason.
func (p *performer) orElse(c lvs.Change, err, reason error, other func() error) error {
	if !errors.Is(err, reason) {
		return err
	}
	p.stray(c)
	return other()
}

// removed takes what is gone for removed.
func (p *performer) removed(c lvs.Change, err error) error {
	if errors.Is(err, ipvs.ErrMissing) {
		p.stray(c)
		return nil
	}
	return err
}

func (p *performer) stray(c lvs.Change) {
	p.surprised = true
	p.astray[placeOf(c)] = true
}

// clean reports whether all was done for the service.
func (p *performer) clean(id lvs.ServiceID) bool {
	g := p.progress[id]
	return !p.unfinished[id] && (g == nil || len(g.errs) == 0)
}

// cleanAll reports whether everything was done.
func (p *performer) cleanAll() bool {
	for id := range p.progress {
		if !p.clean(id) {
			return false
		}
	}
	return p.stopped == nil
}

// untouched reports whether what the kernel holds of the service is still what
// was read: nothing was tried, or somebody else has been at work since.
func (p *performer) untouched(id lvs.ServiceID) bool {
	g := p.progress[id]
	return p.unfinished[id] && (g == nil || errors.Is(p.stopped, ipvs.ErrNoKernel)) || g != nil && g.lost
}

// errors lists what went wrong, in the order of the services.
func (p *performer) errors() []error {
	var all []error
	for _, id := range p.order {
		g := p.progress[id]
		all = append(all, errorsOf(g.virtual, g.errs, g.forwards())...)
	}
	return append(all, p.stopped)
}

// forwards reports whether the service is there and has a server, if it should.
func (g *progress) forwards() bool {
	able := !g.wanted
	for _, weight := range g.weights {
		able = able || weight > 0
	}
	return able && !g.absent && !g.lost && !g.stays
}

// errorsOf returns errors of a service, of a great many the first ones; flawed says
// that it is forwarded all the same.
func errorsOf(virtual string, errs []error, flawed bool) []error {
	const most = 4
	if more := len(errs) - most; more > 1 {
		errs = append(errs[:most:most], fmt.Errorf("and %d more errors", more))
	}
	out := make([]error, len(errs))
	for i, err := range errs {
		if flawed {
			err = &lvs.Flaw{Err: err}
		}
		out[i] = &lvs.ServiceError{Virtual: virtual, Err: err}
	}
	return out
}
