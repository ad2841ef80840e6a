package lvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

	// governed are the services that belong to groups, from the next Reconfigure on.
	governed map[string]bool

	// turn holds a token while somebody calls the backend, who alone may use
	// pushed, activity and clean.
	turn     chan struct{}
	pushed   Table
	activity Activity // that the backend was told
	clean    bool     // the backend has accepted pushed
	// saved counts the changes that have been remembered.
	saved uint64

	quorum   func(QuorumChange)
	remember func(Memory)
	// Of what follows, mu protects all.
	changes    uint64 // of what is remembered
	remembered map[string]VirtualMemory
	atStart    Table          // what the backend held before the first Reconfigure
	news       []QuorumChange // not told yet
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
	// Quorum is told, in order, of each quorum that is lost or had again; nil is
	// nobody. It must not call the pool.
	Quorum func(QuorumChange)
	// Memory is what an earlier pool left, for the services of the first
	// [Pool.Reconfigure].
	Memory Memory
	// Found is what the backend's table holds: a server that is in it stays in until
	// it is known to be down.
	Found Table
	// Remember writes what a later pool has to know, before the backend is told;
	// nil is nowhere. It must return soon, written or not: a disk that hangs or is
	// full is no reason to keep a failed server in.
	Remember func(Memory)
}

// NewPool returns a pool without virtual services; [Pool.Reconfigure] gives it
// some.
func NewPool(c PoolConfig) *Pool {
	p := &Pool{
		backend: c.Backend, resolver: c.Resolver, now: c.Now,
		virtuals: map[string]*virtualPool{}, turn: make(chan struct{}, 1),
		quorum: c.Quorum, remember: c.Remember, remembered: c.Memory.Virtuals, atStart: c.Found,
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
	quorum    quorum
	lost      time.Time // when the quorum was lost, the last time
	position  Position
	// inForce is the position that the backend has accepted last.
	inForce Position
	// there says that some of it was forwarded before anything was decided.
	there bool
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
	// drained is the operator's wish; nil is none.
	drained *Drained
	// found says that it was in the backend's table when the pool was made.
	found bool
}

// decide brings the servers' standing in line with what the sources said, and
// returns the change of the quorum if there is one.
func (v *virtualPool) decide(now time.Time) (QuorumChange, bool) {
	forget(v.Reals, v.sources, v.followers)
	v.decisions++
	candidates := make([]candidate, len(v.servers))
	for i, s := range v.servers {
		s.judgement = judge(s.Real, v.Start, s.found, v.sources)
		s.found = s.found && !s.tested
		if s.up {
			s.lastUp = v.decisions
		}
		candidates[i] = candidate{weight: s.Weight, up: s.up, tested: s.tested, in: s.in, lastUp: s.lastUp}
		if s.drained != nil {
			candidates[i].weight = 0
		}
	}
	held := hold(v.MinUp, candidates)
	for i, s := range v.servers {
		s.held = slices.Contains(held, i)
		if in := s.up || s.held; in != s.in {
			s.in, s.since = in, now
			s.stale = in
		}
	}
	weight, possible := weights(candidates)
	before := v.quorum
	v.quorum = before.next(weight, possible, v.Quorum, v.Hysteresis)
	if before != quorumLost && v.quorum == quorumLost {
		v.lost = now
	}
	return QuorumChange{v.Name, v.quorum == quorumHad, weight, v.Quorum, now, v.lost}, before.tellsOf(v.quorum)
}

// services is what should be forwarded now: the virtual service at each of its
// addresses.
func (v *virtualPool) services() ([]Service, error) {
	servers, err := v.table()
	all := make([]Service, len(v.IDs))
	for i, id := range v.IDs {
		all[i] = Service{
			Name: v.Name, ID: id, Scheduler: v.Scheduler, Flags: v.Flags, Persistence: v.Persistence, Mask: v.Mask,
			Drain: v.Drain, DrainTimeout: v.DrainTimeout, ConnectTimeout: v.ConnectTimeout, Servers: slices.Clone(servers),
			Floating: v.position != Always,
		}
	}
	return all, err
}

// table lists the servers with the weights that they should have now.
func (v *virtualPool) table() ([]Server, error) {
	var servers []Server
	var errs []error
	by := map[netip.AddrPort]string{}
	for _, s := range v.servers {
		if !s.address.IsValid() || !v.listed(s) {
			continue
		}
		if other, dup := by[s.address]; dup {
			errs = append(errs, &ServiceError{v.Name, &Flaw{fmt.Errorf("real server %s has the address %s, which %s has too: it is left out", s.Host, s.address, other)}})
			continue
		}
		if err := v.suits(s); err != nil {
			errs = append(errs, &ServiceError{v.Name, &Flaw{err}})
			continue
		}
		by[s.address] = s.Host
		servers = append(servers, s.server(s.address, v.weight(s)))
	}
	if r := v.Sorry; v.sorry() && by[r.Address] == "" {
		servers = append(servers, r.server(r.Address, r.Weight))
	}
	return servers, errors.Join(errs...)
}

// suits says why an address that a name server gave cannot be used. Addresses of
// the configuration were checked when it was read.
func (v *virtualPool) suits(s *server) error {
	for _, id := range v.IDs {
		a := s.address.Addr()
		switch {
		case s.Forward == Local:
		case s.address == id.Address, s.Forward != "" && a == id.Address.Addr():
			return fmt.Errorf("real server %s has the virtual service's own address %s: it is left out", s.Host, a)
		case s.Forward != "" && s.Forward != Tunneling && a.BitLen() != id.Address.Addr().BitLen():
			return fmt.Errorf("real server %s has the address %s, of another family than the virtual service: it is left out", s.Host, a)
		}
	}
	return nil
}

// sorry reports whether the sorry server takes the connections.
func (v *virtualPool) sorry() bool { return v.Sorry != nil && v.quorum != quorumHad }

// listed reports whether the server is in the table, if only with weight 0 so that
// its connections go on: those of a server that is drained, and of one that is up
// while the sorry server takes the new ones.
func (v *virtualPool) listed(s *server) bool {
	switch {
	case s.drained != nil && s.drained.Gone:
		return false
	case v.OnFailure == Quiesce:
		return true
	}
	return s.in
}

// weight is the server's weight in the table.
func (v *virtualPool) weight(s *server) int {
	if s.in && !v.sorry() && s.drained == nil {
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
		before := predecessor(old, v)
		next := before.succeed(v, followers[v.Name], p.now())
		if m, ok := p.remembered[v.Name]; ok && before == nil {
			next.restore(m)
		}
		next.find(p.atStart)
		next.place(before, p.governed[v.Name])
		p.virtuals[v.Name] = next
		p.decided(next)
	}
	p.remembered, p.atStart = nil, nil
	p.mu.Unlock()
	return p.Apply(ctx)
}

// predecessor is the service's pool before a reload: of its name, or else of its
// address under another name.
func predecessor(old map[string]*virtualPool, v Virtual) *virtualPool {
	if before := old[v.Name]; before != nil {
		return before
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if old[name].IDs[0] == v.IDs[0] {
			return old[name].clone()
		}
	}
	return nil
}

// clone is a pool that shares nothing that changes: the old one may live on under
// its name at another address.
func (v *virtualPool) clone() *virtualPool {
	c := *v
	c.sources = make(map[string]words, len(v.sources))
	for source, w := range v.sources {
		c.sources[source] = maps.Clone(w)
	}
	c.servers = make([]*server, len(v.servers))
	for i, s := range v.servers {
		one := *s
		c.servers[i] = &one
	}
	return &c
}

// find notes which servers the backend's table has already.
func (v *virtualPool) find(table Table) {
	for _, id := range v.IDs {
		service, there := table.Find(id)
		if !there {
			continue
		}
		v.there = true
		for _, s := range v.servers {
			s.found = s.found || slices.ContainsFunc(service.Servers, func(t Server) bool { return t.Address == s.address && t.Weight > 0 })
		}
	}
}

// succeed makes the pool of a service's new configuration; the receiver is nil
// if there was none.
func (v *virtualPool) succeed(config Virtual, followers []string, now time.Time) *virtualPool {
	next := &virtualPool{Virtual: config, followers: followers, sources: map[string]words{}}
	if v != nil {
		next.sources, next.decisions, next.quorum, next.lost = v.sources, v.decisions, v.quorum, v.lost
	}
	for i, r := range config.Reals {
		s := &server{since: now, address: r.Address}
		if v != nil {
			s = v.heir(config.Reals, i, now)
		}
		s.Real = r
		next.servers = append(next.servers, s)
	}
	return next
}

// heir is the server that the one at i of the new configuration continues: the
// same, or the only one of that host if its port or the way it is written changed.
func (v *virtualPool) heir(reals []Real, i int, now time.Time) *server {
	r := reals[i]
	var same, sameHost []*server
	for _, s := range v.servers {
		switch {
		case s.Host == r.Host && s.Target() == r.Target():
			same = append(same, s)
		case s.bare() == r.bare():
			sameHost = append(sameHost, s)
		}
	}
	only := 0
	for _, other := range reals {
		if other.bare() == r.bare() {
			only++
		}
	}
	fresh := &server{since: now, address: r.Address}
	switch {
	case len(same) > 0:
		return same[0]
	case len(sameHost) == 1 && only == 1:
		old := sameHost[0]
		fresh.in, fresh.since, fresh.lastUp, fresh.drained, fresh.found = old.in, old.since, old.lastUp, old.drained, old.found
	}
	return fresh
}

// decided decides anew on a virtual service, of which something has changed.
func (p *Pool) decided(v *virtualPool) {
	p.changes++
	if change, tell := v.decide(p.now()); tell {
		p.news = append(p.news, change)
	}
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
	if err := concerning(virtual, p.apply(ctx, virtual, ifChanged)); err != nil {
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
	if v.sources[source].hear(hosts) {
		p.decided(v)
	}
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

// Wanted is what should be forwarded now, services that are to be left among it.
func (p *Pool) Wanted() Table {
	return p.plan().table // what cannot be forwarded is an error of Apply
}
