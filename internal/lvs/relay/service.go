package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/lvs"
)

// A service is a listener with the servers behind it. A service that has left
// the table stays as long as it has connections, and may come back.
type service struct {
	id   lvs.ServiceID
	tell func(error)
	// running is the relay's count of goroutines.
	running *sync.WaitGroup

	mu       sync.Mutex // protects all below
	config   lvs.Service
	listener *listener // nil if there is none
	schedule scheduler
	servers  []*server // in the table, in its order
	// old servers are out of the table and have connections.
	old []*server
}

// A listener is open until shut is closed.
type listener struct {
	*net.TCPListener
	shut chan struct{}
}

// A server is one real server of one service. The service's lock protects it.
type server struct {
	address netip.AddrPort
	weight  int
	active  int    // connections, those included that are being opened
	chosen  uint64 // see leastConnection
	total   uint64
	failed  uint64
	conns   map[*conn]struct{}
	// opening counts the connections being opened; withdraw ends these.
	opening  sync.WaitGroup
	ctx      context.Context
	withdraw context.CancelFunc
	// deadline cuts what is left of the connections of an old server.
	deadline *time.Timer
}

func newService(id lvs.ServiceID, tell func(error), running *sync.WaitGroup) *service {
	return &service{id: id, tell: tell, running: running}
}

// set makes the service as wanted. When it returns, no server that was taken out
// or has weight 0 gets a connection, whatever the error.
func (s *service) set(ctx context.Context, wanted lvs.Service) error {
	wait(s.change(wanted))
	return s.open(ctx)
}

// change takes the new servers over and returns those of which connections being
// opened have to be waited for.
func (s *service) change(wanted lvs.Service) (withdrawn []*server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.schedule == nil || s.config.Scheduler != wanted.Scheduler {
		s.schedule = newScheduler(wanted.Scheduler)
		s.schedule.changed(s.servers)
	}
	s.config = wanted
	servers := make([]*server, 0, len(wanted.Servers))
	changed := len(wanted.Servers) != len(s.servers)
	for i, w := range wanted.Servers {
		v := s.find(w.Address)
		changed = changed || s.servers[i] != v || v.weight != w.Weight
		if w.Weight == 0 && v.weight > 0 {
			withdrawn = append(withdrawn, v)
		}
		v.weight = w.Weight
		servers = append(servers, v)
	}
	for _, v := range s.servers {
		if !slices.Contains(servers, v) {
			withdrawn = append(withdrawn, v)
			s.retire(v)
		}
	}
	s.servers = servers
	s.config.Servers = nil
	if changed {
		s.schedule.changed(servers)
	}
	for _, v := range withdrawn {
		v.withdraw()
	}
	return withdrawn
}

// wait returns when no connection to the servers is being opened any more, and
// makes them ready to be used again. It does not take long: they were withdrawn.
func wait(withdrawn []*server) {
	for _, v := range withdrawn {
		v.opening.Wait()
	}
}

// find returns the server of that address, an old one if it comes back.
func (s *service) find(address netip.AddrPort) *server {
	same := func(v *server) bool { return v.address == address }
	if i := slices.IndexFunc(s.servers, same); i >= 0 {
		return s.servers[i].ready()
	}
	if i := slices.IndexFunc(s.old, same); i >= 0 {
		v := s.old[i]
		s.old = slices.Delete(s.old, i, i+1)
		if v.deadline != nil {
			v.deadline.Stop()
			v.deadline = nil
		}
		return v.ready()
	}
	return (&server{address: address, conns: map[*conn]struct{}{}}).ready()
}

// ready lets connections be opened to a server that is new or was withdrawn.
func (v *server) ready() *server {
	if v.ctx == nil || v.ctx.Err() != nil {
		v.ctx, v.withdraw = context.WithCancel(context.Background())
	}
	return v
}

// retire handles the connections of a server that has left the table.
func (s *service) retire(v *server) {
	v.weight = 0
	if s.config.Drain == lvs.DrainCut {
		v.cut()
	} else {
		v.deadline = time.AfterFunc(s.config.DrainTimeout, func() { s.expire(v) })
	}
	s.old = append(s.old, v)
	s.prune()
}

// expire ends the connections of a server that was given time to drain, unless
// it has come back meanwhile.
func (s *service) expire(v *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.old, v) {
		v.cut()
	}
}

func (v *server) cut() {
	for c := range v.conns {
		c.cut()
	}
}

// prune drops the old servers that have no connection left.
func (s *service) prune() {
	s.old = slices.DeleteFunc(s.old, func(v *server) bool {
		gone := v.active == 0
		if gone && v.deadline != nil {
			v.deadline.Stop()
		}
		return gone
	})
}

// open listens, if the service does not yet.
func (s *service) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	tcp, err := listen(ctx, s.id.Address, s.config.Floating)
	if err != nil {
		return err
	}
	l := &listener{tcp, make(chan struct{})}
	s.listener = l
	s.running.Go(func() { s.accept(l) })
	return nil
}

// leave takes the service out of the table: nothing is accepted any more, and
// the connections are handled as those of removed servers are.
func (s *service) leave() {
	s.shut()
	s.mu.Lock()
	config := s.config
	s.mu.Unlock()
	config.Servers = nil
	if config.Scheduler != "" {
		wait(s.change(config))
	}
}

func (s *service) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		close(s.listener.shut)
		_ = s.listener.Close() // the accept loop ends; nothing else can be done
		s.listener = nil
	}
}

// close ends the service with its connections; their goroutines follow.
func (s *service) close() {
	s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.old {
		v.cut()
		if v.deadline != nil {
			v.deadline.Stop()
		}
	}
}

// idle reports whether nothing depends on the service any more.
func (s *service) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener == nil && len(s.servers) == 0 && len(s.old) == 0
}

func (s *service) counts() map[netip.AddrPort]lvs.Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[netip.AddrPort]lvs.Count{}
	for _, v := range slices.Concat(s.old, s.servers) {
		counts[v.address] = lvs.Count{Active: v.active, Total: v.total, Failed: v.failed}
	}
	return counts
}

func (s *service) now() (w lvs.Service, listening bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w = s.config
	for _, v := range s.servers {
		w.Servers = append(w.Servers, lvs.Server{Address: v.address, Weight: v.weight})
	}
	return w, s.listener != nil
}

// accept takes connections until the listener is closed. When file descriptors
// or memory are short it waits: connections that are there will end.
func (s *service) accept(l *listener) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		client, err := l.AcceptTCP()
		if err == nil {
			pause = shortest
			s.running.Go(func() { s.serve(client) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.tell(fmt.Errorf("virtual service %s: %w", s.id, err))
		select {
		case <-l.shut:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}
