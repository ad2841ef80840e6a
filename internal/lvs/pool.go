package lvs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/alerts"
)

// A Pool decides which real servers are in, from what watches report, and has
// the backend follow. It implements [alerts.Pool]; its methods may be called by
// several goroutines at once.
//
// What is reported is kept before the backend is called: if that fails, the
// error goes to the caller, and the next call of any kind pushes the whole table
// again. Calls that wait for the backend are answered by one push of the newest
// table.
type Pool struct {
	backend  Backend
	resolver Resolver
	now      func() time.Time

	mu       sync.Mutex // protects all below; never held while calling out
	order    []string
	virtuals map[string]*virtualPool

	// turn holds a token while somebody calls the backend, who alone may use
	// pushed and clean.
	turn   chan struct{}
	pushed Table
	clean  bool // the backend has accepted pushed
}

// A Resolver looks up the addresses of a name; [net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// PoolConfig is what a pool works with.
type PoolConfig struct {
	Backend  Backend          // required
	Resolver Resolver         // default: the system's
	Now      func() time.Time // default: time.Now
}

// NewPool returns a pool without virtual services; [Pool.Reconfigure] gives it
// some.
func NewPool(c PoolConfig) *Pool {
	p := &Pool{
		backend: c.Backend, resolver: c.Resolver, now: c.Now,
		virtuals: map[string]*virtualPool{}, turn: make(chan struct{}, 1),
	}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

var _ alerts.Pool = (*Pool)(nil)

// virtualPool is a virtual service with what is known of it.
type virtualPool struct {
	Virtual
	servers   []*server // as Virtual.Reals
	sources   map[string]words
	followers []string
	decisions uint64
}

// server is a real server's standing.
type server struct {
	Real
	judgement
	in, held bool
	since    time.Time // of in
	lastUp   uint64    // see candidate
	address  netip.AddrPort
	// stale says that a name should be looked up again, the server having come
	// back; until that succeeds the old address is good.
	stale bool
}

// decide brings the servers' standing in line with what the sources said.
func (v *virtualPool) decide(now time.Time) {
	forget(v.Reals, v.sources, v.followers)
	v.decisions++
	candidates := make([]candidate, len(v.servers))
	for i, s := range v.servers {
		s.judgement = judge(s.Real, v.Start, v.sources)
		if s.up {
			s.lastUp = v.decisions
		}
		candidates[i] = candidate{weight: s.Weight, up: s.up, lastUp: s.lastUp}
	}
	held := hold(v.MinUp, candidates)
	for i, s := range v.servers {
		s.held = slices.Contains(held, i)
		if in := s.up || s.held; in != s.in {
			s.in, s.since = in, now
			s.stale = in
		}
	}
}

// service is the virtual service as it should be forwarded now.
func (v *virtualPool) service() (Service, error) {
	out := Service{
		Name: v.Name, ID: ServiceID{v.Protocol, v.Address}, Scheduler: v.Scheduler,
		Drain: v.Drain, DrainTimeout: v.DrainTimeout, ConnectTimeout: v.ConnectTimeout,
	}
	var errs []error
	by := map[netip.AddrPort]string{}
	for _, s := range v.servers {
		if !s.address.IsValid() || !s.in && v.OnFailure == Remove {
			continue
		}
		if other, dup := by[s.address]; dup {
			errs = append(errs, &ServiceError{v.Name, fmt.Errorf("real server %s has the address %s, which %s has too: it is left out", s.Host, s.address, other)})
			continue
		}
		by[s.address] = s.Host
		out.Servers = append(out.Servers, Server{Address: s.address, Weight: s.weight()})
	}
	return out, errors.Join(errs...)
}

// weight is the server's weight in the table.
func (s *server) weight() int {
	if s.in {
		return s.Weight
	}
	return 0
}

// Reconfigure replaces the virtual services. Those that stay, by their names,
// keep their health, and their listeners and connections as far as the backend
// can. followers are the sources that will report on each service from now on,
// by its name: what other sources said is forgotten once all followers have been
// heard. A nil map forgets nothing.
func (p *Pool) Reconfigure(ctx context.Context, virtuals []Virtual, followers map[string][]string) error {
	p.mu.Lock()
	old := p.virtuals
	p.order, p.virtuals = nil, map[string]*virtualPool{}
	for _, v := range virtuals {
		p.order = append(p.order, v.Name)
		p.virtuals[v.Name] = old[v.Name].succeed(v, followers[v.Name], p.now())
	}
	p.mu.Unlock()
	return p.Apply(ctx)
}

// succeed makes the pool of a service's new configuration; the receiver is nil
// if there was none.
func (v *virtualPool) succeed(config Virtual, followers []string, now time.Time) *virtualPool {
	next := &virtualPool{Virtual: config, followers: followers, sources: map[string]words{}}
	old := map[string]*server{}
	if v != nil {
		next.sources, next.decisions = v.sources, v.decisions
		for _, s := range v.servers {
			old[s.Host+" "+s.Target()] = s
		}
	}
	for _, r := range config.Reals {
		s := &server{since: now, address: r.Address}
		if before := old[r.Host+" "+r.Target()]; before != nil {
			s = before
		}
		s.Real = r
		next.servers = append(next.servers, s)
	}
	next.decide(now)
	return next
}

// Servers lists the hosts of a virtual service's real servers, as configured.
func (p *Pool) Servers(virtual string) (hosts []string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.virtuals[virtual]
	if !ok {
		return nil, false
	}
	for _, s := range v.servers {
		hosts = append(hosts, s.Host)
	}
	return hosts, true
}

// Virtuals lists the names of the virtual services, as configured.
func (p *Pool) Virtuals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.order)
}

// Report tells what one source knows about hosts; see [alerts.Pool]. Hosts that
// are no real servers are ignored. A host without a port means all real servers
// of that host, one with a port the server at it.
//
// An error is in need of a repeated call unless it has [alerts.ErrDelivered] in
// its chain: a [RefusedError], and one that says that no host at all was a real
// server.
func (p *Pool) Report(ctx context.Context, virtual, source string, hosts map[string]alerts.HostState) error {
	complaint, err := p.hear(virtual, source, hosts)
	if err != nil {
		return err
	}
	if err := concerning(virtual, p.apply(ctx, virtual)); err != nil {
		return err
	}
	return complaint
}

// hear decides anew after a report.
func (p *Pool) hear(virtual, source string, hosts map[string]alerts.HostState) (complaint, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.virtuals[virtual]
	if !ok {
		return nil, fmt.Errorf("there is no virtual service %q, only %s", virtual, some(p.order))
	}
	if v.sources[source] == nil {
		v.sources[source] = words{}
	}
	v.sources[source].hear(hosts)
	v.decide(p.now())
	return v.complain(source, hosts), nil
}

// complain says what of a report was not done.
func (v *virtualPool) complain(source string, hosts map[string]alerts.HostState) error {
	said := words{}
	said.hear(hosts)
	concerned := len(hosts) == 0
	refused := RefusedError{Virtual: v.Name, MinUp: v.MinUp, Of: len(v.servers)}
	for _, s := range v.servers {
		state, named := said.about(s.Real)
		concerned = concerned || named
		if s.up {
			refused.Up++
		}
		if s.held && state == alerts.HostDown {
			refused.Kept = append(refused.Kept, s.Host)
		}
	}
	switch {
	case !concerned:
		return v.strangers(source, hosts)
	case len(refused.Kept) > 0:
		return &refused
	}
	return nil
}

func (v *virtualPool) strangers(source string, hosts map[string]alerts.HostState) error {
	var names, servers []string
	for h := range hosts {
		names = append(names, h)
	}
	for _, s := range v.servers {
		servers = append(servers, s.Host)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: no host of %s (%s) is a real server of virtual %q (%s)",
		alerts.ErrDelivered, source, some(names), v.Name, some(servers))
}

// some writes at most five names out.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// A RefusedError says that min_up kept servers in that are down. It has
// [alerts.ErrDelivered] in its chain: to repeat the report is of no use.
type RefusedError struct {
	Virtual string
	MinUp   int
	Kept    []string // hosts that were reported down and are in
	Up, Of  int      // servers that are up, of how many
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("virtual %q: min_up = %d keeps %s in although down: %d of %d real servers are up",
		e.Virtual, e.MinUp, some(e.Kept), e.Up, e.Of)
}

// Unwrap says that the report has been taken in.
func (e *RefusedError) Unwrap() error { return alerts.ErrDelivered }

// concerning leaves out of an error what concerns other virtual services.
func concerning(virtual string, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var kept []error
		for _, e := range joined.Unwrap() {
			kept = append(kept, concerning(virtual, e))
		}
		return errors.Join(kept...)
	}
	if s, ok := errors.AsType[*ServiceError](err); ok && s.Virtual != virtual {
		return nil
	}
	return err
}
