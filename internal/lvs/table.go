package lvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Backend makes a [Table] true: afterwards exactly its services are forwarded
// to exactly its servers.
//
// Set is called by one goroutine at a time, with the whole wanted state, and
// does nothing for what is so already: connections, listeners and the
// scheduler's position stay. When it returns nil, no server that is not in the
// table, or has weight 0 there, gets a new connection. An error means that a
// part could not be had, each a [ServiceError] where it concerns one service
// only; all else is done, and the call may be repeated. Set keeps nothing of the
// table's memory, and returns when ctx is done at the latest.
//
// Close ends what the backend forwards and waits for it. It may be called twice;
// a Set after it returns [ErrClosed].
type Backend interface {
	Set(ctx context.Context, wanted Table) error
	Close() error
}

// A Counter is a backend that counts connections. Counts may be called at any
// time, while Set runs too.
type Counter interface {
	Counts(ctx context.Context) (Counts, error)
}

// Counts holds what is known of each server of each service, those included
// that were removed and still have connections.
type Counts map[ServiceID]map[netip.AddrPort]Count

// A Count is the traffic of one real server in one service.
type Count struct {
	Active int    `json:"active"` // open connections
	Total  uint64 `json:"total"`  // connections since the server was first put in
	Failed uint64 `json:"failed"` // connections that the server did not accept
}

// ErrClosed is returned by a backend that has been closed.
var ErrClosed = errors.New("the backend is closed")

// A ServiceError is a failure of one virtual service.
type ServiceError struct {
	Virtual string
	Err     error
}

func (e *ServiceError) Error() string { return fmt.Sprintf("virtual %q: %v", e.Virtual, e.Err) }
func (e *ServiceError) Unwrap() error { return e.Err }

// A Table is the wanted state: what is forwarded where. No two services have the
// same [ServiceID], no two servers of a service the same address.
type Table []Service

// A Service is one virtual service with the servers that are in it now.
type Service struct {
	// Name is for messages and no part of the service's identity.
	Name           string
	ID             ServiceID
	Scheduler      Scheduler
	Drain          Drain
	DrainTimeout   time.Duration
	ConnectTimeout time.Duration
	Servers        []Server
}

// A ServiceID is what tells virtual services apart.
type ServiceID struct {
	Protocol Protocol
	Address  netip.AddrPort
}

func (id ServiceID) String() string { return fmt.Sprintf("%s %s", id.Protocol, id.Address) }

// A Server is a real server in a table.
type Server struct {
	Address netip.AddrPort
	Weight  int
}

// Equal reports whether the tables are the same, order included.
func (t Table) Equal(other Table) bool {
	return slices.EqualFunc(t, other, func(a, b Service) bool {
		return sameSettings(a, b) && slices.Equal(a.Servers, b.Servers)
	})
}

func sameSettings(a, b Service) bool {
	return a.Name == b.Name && a.ID == b.ID && a.Scheduler == b.Scheduler &&
		a.Drain == b.Drain && a.DrainTimeout == b.DrainTimeout && a.ConnectTimeout == b.ConnectTimeout
}

// Clone returns a copy that shares no memory with t.
func (t Table) Clone() Table {
	c := slices.Clone(t)
	for i := range c {
		c[i].Servers = slices.Clone(c[i].Servers)
	}
	return c
}

// Find returns the service of that identity.
func (t Table) Find(id ServiceID) (Service, bool) {
	for _, s := range t {
		if s.ID == id {
			return s, true
		}
	}
	return Service{}, false
}

// Changes returns what leads from one table to the other, as lines of ipvsadm -R.
// Servers are put in and raised before others are taken out, so that no step
// leaves a service emptier than both tables have it.
func Changes(from, to Table) []string {
	var put, gone []string
	for _, s := range to {
		old, had := from.Find(s.ID)
		switch {
		case !had:
			put = append(put, fmt.Sprintf("-A %s -s %s", service(s.ID), s.Scheduler))
		case old.Scheduler != s.Scheduler:
			put = append(put, fmt.Sprintf("-E %s -s %s", service(s.ID), s.Scheduler))
		}
		p, g := serverChanges(s.ID, old.Servers, s.Servers)
		put, gone = append(put, p...), append(gone, g...)
	}
	for _, s := range from {
		if _, stays := to.Find(s.ID); !stays {
			gone = append(gone, "-D "+service(s.ID))
		}
	}
	return append(put, gone...)
}

func serverChanges(id ServiceID, from, to []Server) (put, gone []string) {
	for _, s := range to {
		i := slices.IndexFunc(from, func(f Server) bool { return f.Address == s.Address })
		switch {
		case i < 0:
			put = append(put, fmt.Sprintf("-a %s -r %s -w %d", service(id), s.Address, s.Weight))
		case from[i].Weight < s.Weight:
			put = append(put, fmt.Sprintf("-e %s -r %s -w %d", service(id), s.Address, s.Weight))
		case from[i].Weight > s.Weight:
			gone = append(gone, fmt.Sprintf("-e %s -r %s -w %d", service(id), s.Address, s.Weight))
		}
	}
	for _, s := range from {
		if !slices.ContainsFunc(to, func(t Server) bool { return t.Address == s.Address }) {
			gone = append(gone, fmt.Sprintf("-d %s -r %s", service(id), s.Address))
		}
	}
	return put, gone
}

// service writes a service as ipvsadm(8) does: -t for TCP.
func service(id ServiceID) string {
	switch id.Protocol {
	case TCP:
		return "-t " + id.Address.String()
	}
	return string(id.Protocol) + " " + id.Address.String()
}
