// Package relay is the backend that forwards TCP connections itself: it needs
// neither privilege nor ip_vs, and the real servers see the director's address
// instead of the client's.
//
// A connection goes to the server that the scheduler chooses; if that one does
// not accept it within the service's connect timeout, once more to the least
// loaded of the others. (LVS would leave the client to its next attempt; its
// packets are forwarded before anybody knows whether the server answers.) If
// there is none, the client is reset at once. Each side's end of writing is
// passed on, and so is a reset.
//
// Data pass through the kernel's pipes without being copied into the process
// (splice(2)), so that a connection takes six file descriptors: two sockets and a
// pipe for each way. When these run short, connections do without pipes, and then
// new ones wait.
package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/monitord/monitord/internal/lvs"
)

// A Relay is a [lvs.Backend] and [lvs.Counter].
type Relay struct {
	tell func(error)
	// running counts the goroutines: listeners' and connections'.
	running sync.WaitGroup

	setting sync.Mutex // protects against two calls of Set or Close at once

	mu       sync.Mutex // protects all below
	services map[lvs.ServiceID]*service
	closed   bool
}

// New returns a relay that forwards nothing yet. It tells of errors that no
// caller is there for: connections that could not be accepted for want of file
// descriptors. tell is called by several goroutines and may be nil.
func New(tell func(error)) *Relay {
	if tell == nil {
		tell = func(error) {}
	}
	return &Relay{tell: tell, services: map[lvs.ServiceID]*service{}}
}

// Set forwards what the table says. A service whose address cannot be listened
// on is a [lvs.ServiceError]; it is tried again by the next call.
func (r *Relay) Set(ctx context.Context, wanted lvs.Table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.setting.Lock()
	defer r.setting.Unlock()
	// Ports are freed before they are taken: a service may have got a new address
	// that covers another's old one.
	old, err := r.leave(wanted)
	if err != nil {
		return err
	}
	for _, s := range old {
		s.leave()
	}
	var errs []error
	for _, w := range wanted {
		if w.Leave {
			continue
		}
		if !able(w) {
			errs = append(errs, &lvs.ServiceError{Virtual: w.Name, Err: fmt.Errorf("the relay cannot forward %s with scheduler %s: that needs the kernel's IPVS", w.ID, w.Scheduler)})
			continue
		}
		if err := r.service(w).set(ctx, w); err != nil {
			errs = append(errs, &lvs.ServiceError{Virtual: w.Name, Err: err})
		}
	}
	return errors.Join(errs...)
}

// able reports whether the relay can forward a service; the configuration has been
// checked for it.
func able(w lvs.Service) bool {
	return w.ID.Protocol == lvs.TCP && w.ID.Address.Port() != 0 && slices.Contains(lvs.RelaySchedulers(), w.Scheduler)
}

// leave returns the services that are in the table no more, and drops those of
// them that have no connection left.
func (r *Relay) leave(wanted lvs.Table) (old []*service, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, lvs.ErrClosed
	}
	for id, s := range r.services {
		if _, stays := wanted.Find(id); stays {
			continue
		}
		old = append(old, s)
		if s.idle() {
			delete(r.services, id)
		}
	}
	return old, nil
}

func (r *Relay) service(w lvs.Service) *service {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.services[w.ID]
	if s == nil {
		s = newService(w.ID, r.tell, &r.running)
		r.services[w.ID] = s
	}
	return s
}

// Close ends all connections and waits for their goroutines.
func (r *Relay) Close() error {
	r.setting.Lock()
	defer r.setting.Unlock()
	r.mu.Lock()
	r.closed = true
	all := r.services
	r.services = map[lvs.ServiceID]*service{}
	r.mu.Unlock()
	for _, s := range all {
		s.close()
	}
	r.running.Wait()
	return nil
}

// Counts returns the connections of all servers, those included that only have
// old ones left.
func (r *Relay) Counts(context.Context) (lvs.Counts, error) {
	counts := lvs.Counts{}
	for id, s := range r.all() {
		counts[id] = s.counts()
	}
	return counts, nil
}

// Table returns what is forwarded now: services that are listening, with their
// servers.
func (r *Relay) Table() lvs.Table {
	var t lvs.Table
	for _, s := range r.all() {
		if w, listening := s.now(); listening {
			t = append(t, w)
		}
	}
	return t
}

func (r *Relay) all() map[lvs.ServiceID]*service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.services)
}

// listen opens exactly the address: for [::] that is IPv6 alone, so that 0.0.0.0
// may stand beside it. A floating address need not be this machine's yet.
func listen(ctx context.Context, address netip.AddrPort, floating bool) (*net.TCPListener, error) {
	network := "tcp6"
	if address.Addr().Is4() {
		network = "tcp4"
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // its sockets cannot be spliced
	if floating {
		config.Control = freebind
	}
	l, err := config.Listen(ctx, network, address.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
