package lvs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Drained is an operator's wish that a real server gets no new connections, and
// leaves when the ones that it has are over. It stands until it is taken back,
// whatever watches say.
type Drained struct {
	Since time.Time `json:"since"`
	// Until is when the server leaves though it has connections.
	Until time.Time `json:"until"`
	// Gone says that the server has left.
	Gone bool `json:"gone"`
}

// Drain has a real server leave all virtual services it is in, or the one named:
// it gets no new connections from now on, and is taken out when it has none left,
// or after a time; 0 is each service's drain_timeout. It returns the names of the
// services concerned. A server that is drained already gets the new time.
func (p *Pool) Drain(ctx context.Context, virtual, host string, timeout time.Duration) ([]string, error) {
	if timeout < 0 {
		return nil, fmt.Errorf("%s is no time to wait", timeout)
	}
	return p.carryOut(ctx, virtual, host, func(v *virtualPool, s *server) {
		d := Drained{Since: p.now(), Until: p.now().Add(timeout)}
		if timeout == 0 {
			d.Until = d.Since.Add(v.DrainTimeout)
		}
		if s.drained != nil {
			d.Since, d.Gone = s.drained.Since, s.drained.Gone
		}
		s.drained = &d
	})
}

// Undrain takes [Pool.Drain] back, in the services whose names it returns. It is an error
// if the server is not drained.
func (p *Pool) Undrain(ctx context.Context, virtual, host string) ([]string, error) {
	back := map[string]bool{}
	names, err := p.carryOut(ctx, virtual, host, func(v *virtualPool, s *server) {
		back[v.Name] = back[v.Name] || s.drained != nil
		s.drained = nil
	})
	if names != nil && !slices.ContainsFunc(names, func(name string) bool { return back[name] }) {
		return nil, fmt.Errorf("%s is not drained in %s", host, some(names))
	}
	return slices.DeleteFunc(names, func(name string) bool { return !back[name] }), err
}

// carryOut carries out an operator's order for a host.
func (p *Pool) carryOut(ctx context.Context, virtual, host string, change func(*virtualPool, *server)) ([]string, error) {
	names, err := p.changeServers(virtual, host, change)
	if err != nil {
		return nil, err
	}
	return names, p.Apply(ctx)
}

func (p *Pool) changeServers(virtual, host string, change func(*virtualPool, *server)) (names []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.virtuals[virtual]; virtual != "" && !known {
		return nil, fmt.Errorf("there is no virtual service %q, only %s", virtual, some(p.order))
	}
	var hosts []string
	for _, name := range p.order {
		if virtual != "" && virtual != name {
			continue
		}
		v := p.virtuals[name]
		found := false
		for _, s := range v.servers {
			hosts = append(hosts, s.Host)
			if s.Means(host) {
				change(v, s)
				found = true
			}
		}
		if found {
			names = append(names, name)
			p.decided(v)
		}
	}
	if len(names) == 0 {
		slices.Sort(hosts)
		hosts = slices.Compact(hosts)
		there := "there are"
		if len(hosts) == 1 {
			there = "there is"
		}
		return nil, fmt.Errorf("%q is no real server here: %s %s", host, there, some(hosts))
	}
	return names, nil
}

// Tick does what time calls for: drained servers leave when they have no more
// connections or their time is up; and the backend is told the table once more,
// so that it mends what others changed.
func (p *Pool) Tick(ctx context.Context) error {
	err := p.leave(ctx)
	return errors.Join(err, p.apply(ctx, "", anyway))
}

// leave lets drained servers go.
func (p *Pool) leave(ctx context.Context) error {
	if !p.draining() {
		return nil
	}
	var counts Counts
	var err error
	if c, ok := p.backend.(Counter); ok {
		counts, err = c.Counts(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.virtuals {
		for _, s := range v.servers {
			if d := s.drained; d != nil && !d.Gone && (v.idle(s, counts) || !p.now().Before(d.Until)) {
				left := *d
				left.Gone = true
				s.drained = &left
				p.changes++
			}
		}
	}
	return err
}

func (p *Pool) draining() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.virtuals {
		if slices.ContainsFunc(v.servers, func(s *server) bool { return s.drained != nil && !s.drained.Gone }) {
			return true
		}
	}
	return false
}

// idle reports whether a server is known to have no connections. The kernel
// counts none of UDP as active (ipvsadm(8)).
func (v *virtualPool) idle(s *server, counts Counts) bool {
	for _, id := range v.IDs {
		count, known := counts[id][s.address]
		if !known || count.Active > 0 || id.Protocol != TCP && count.Inactive > 0 {
			return false
		}
	}
	return true
}
