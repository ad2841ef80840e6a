package lvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// Apply has the backend follow if it does not yet, and looks up the names of
// servers that have no address. It does nothing if nothing is amiss, so it may
// be called as often as a failure before calls for.
func (p *Pool) Apply(ctx context.Context) error { return p.apply(ctx, "", ifChanged) }

// again says whether a backend that has accepted the newest table is told it once
// more, so that it mends what others changed.
type again bool

const (
	ifChanged again = false
	anyway    again = true
)

// apply pushes the table first and waits for name servers afterwards: a server
// that is down must not stay in for want of another one's address. A virtual
// service's name restricts the lookups to it.
func (p *Pool) apply(ctx context.Context, virtual string, again again) error {
	err := p.push(ctx, again)
	missing := p.nameless(virtual)
	if len(missing) == 0 {
		return err
	}
	found, unknown := p.lookUp(ctx, missing)
	if found {
		err = p.push(ctx, again)
	}
	return errors.Join(err, unknown)
}

// push has the backend follow the newest table, one caller at a time.
func (p *Pool) push(ctx context.Context, again again) error {
	if err := p.take(ctx); err != nil {
		return err
	}
	defer p.release()
	plan := p.plan()
	p.save()
	defer p.tell()
	if p.clean && again == ifChanged && p.pushed.Equal(plan.table) && p.activity == plan.activity {
		p.accepted(plan, nil)
		return plan.faults
	}
	p.clean = false // should Set panic
	if b, ok := p.backend.(Partner); ok {
		b.SetActivity(plan.activity)
	}
	err := p.backend.Set(ctx, plan.table.Clone())
	p.pushed, p.activity, p.clean = plan.table, plan.activity, err == nil
	p.accepted(plan, err)
	return errors.Join(err, plan.faults)
}

func (p *Pool) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an earlier change of the table is still under way: %w", ctx.Err())
	}
}

func (p *Pool) release() { <-p.turn }

// Close closes the backend, waiting for a change that is under way.
func (p *Pool) Close() error {
	p.turn <- struct{}{}
	defer p.release()
	return p.backend.Close()
}

// A plan is what should be forwarded.
type plan struct {
	table Table
	// faults are what cannot be.
	faults error
	// positions are by the names of the services.
	positions map[string]Position
	activity  Activity
}

// plan is what should be forwarded now.
func (p *Pool) plan() plan {
	partner, ok := p.backend.(Partner)
	follows := ok && partner.Follows()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := plan{table: make(Table, 0, len(p.order)), positions: make(map[string]Position, len(p.order))}
	for _, name := range p.order {
		now.positions[name] = p.virtuals[name].position
		now.activity = now.activity.with(now.positions[name])
	}
	var faults []error
	for _, name := range p.order {
		services, err := p.virtuals[name].placed(follows && now.activity == Standby)
		now.table, faults = append(now.table, services...), append(faults, err)
	}
	now.faults = errors.Join(faults...)
	return now
}

// A lookup is one name that is to be looked up, and whose.
type lookup struct {
	virtual string
	server  *server
	host    string // of the server, as configured
	name    string // what is looked up
	port    uint16
	like    netip.Addr // an address of the family to prefer
	needed  bool       // there is no old address
}

// nameless lists the servers whose names are to be looked up, until that succeeds:
// those without an address, and those that came back, whose old address will do
// meanwhile.
func (p *Pool) nameless(virtual string) []lookup {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []lookup
	for _, name := range p.order {
		v := p.virtuals[name]
		if virtual != "" && virtual != name {
			continue
		}
		for _, s := range v.servers {
			needed := !s.address.IsValid() && v.listed(s)
			if s.Name != "" && (needed || s.stale) {
				all = append(all, lookup{virtual: name, server: s, host: s.Host, name: s.Name, port: s.Port, like: v.Family(), needed: needed})
			}
		}
	}
	return all
}

// lookUp finds the addresses, several at once. It reports whether one is new,
// and returns an error for each server that has none.
func (p *Pool) lookUp(ctx context.Context, missing []lookup) (found bool, err error) {
	const atOnce = 16
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(missing))
	news := make([]bool, len(missing))
	var running sync.WaitGroup
	for i, l := range missing {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			news[i], errs[i] = p.one(ctx, l)
		})
	}
	running.Wait()
	return slices.Contains(news, true), errors.Join(errs...)
}

func (p *Pool) one(ctx context.Context, l lookup) (found bool, err error) {
	addrs, err := p.resolver.LookupNetIP(ctx, "ip", l.name)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	switch {
	case err == nil:
		return p.found(l, addrs), nil
	case l.needed:
		return false, &ServiceError{l.virtual, &Flaw{fmt.Errorf("real server %s is left out: %w", l.host, err)}}
	}
	return false, nil
}

// found notes a server's address and reports whether it is new. As long as the
// name has the address that the server is used by, it stays: name servers turn
// their answers round.
func (p *Pool) found(l lookup, addrs []netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.server.stale = false
	best := netip.Addr{}
	for _, a := range addrs {
		a = a.Unmap()
		if netip.AddrPortFrom(a, l.port) == l.server.address {
			return false
		}
		if !best.IsValid() || a.Is4() == l.like.Is4() && best.Is4() != l.like.Is4() {
			best = a
		}
	}
	l.server.address = netip.AddrPortFrom(best, l.port)
	return true
}
