package lvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
// A service that the table wants left alone ([Service.Leave]) stays as it is, there
// or not.
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
// that were removed and still have connections; and under the zero address, if the
// backend counts that, what the service had in all, with servers that left it.
type Counts map[ServiceID]map[netip.AddrPort]Count

// A Count is the traffic of one real server in one service.
type Count struct {
	Active int    `json:"active"` // open connections
	Total  uint64 `json:"total"`  // connections since the server was first put in
	Failed uint64 `json:"failed"` // connections that the server did not accept
	// What follows is the kernel's: connections that are being closed or, of UDP,
	// all; traffic in both directions, and what it was in a second of late.
	Inactive   int    `json:"inactive"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"`
	InBytes    uint64 `json:"in_bytes"`
	OutBytes   uint64 `json:"out_bytes"`
	Rates      Rates  `json:"rates"`
}

// Rates are what happens in a second.
type Rates struct {
	Connections uint64 `json:"connections"`
	InPackets   uint64 `json:"in_packets"`
	OutPackets  uint64 `json:"out_packets"`
	InBytes     uint64 `json:"in_bytes"`
	OutBytes    uint64 `json:"out_bytes"`
}

// A Flaw is an error in spite of which a service, or all of them, is forwarded as
// it should be but for a server, a timeout, or a sync daemon.
type Flaw struct{ Err error }

func (e *Flaw) Error() string { return e.Err.Error() }
func (e *Flaw) Unwrap() error { return e.Err }

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
	Flags          Flags
	Persistence    time.Duration // whole seconds; 0 is none
	Mask           int           // of persistence: leading bits of a client's address
	Drain          Drain
	DrainTimeout   time.Duration
	ConnectTimeout time.Duration
	// Floating says that the address comes and goes with a group: it need not be
	// here to be listened on.
	Floating bool
	// Leave has whatever is forwarded of this service stay as it is, or not be there;
	// the rest only says what that may be.
	Leave   bool
	Servers []Server
}

// A ServiceID is what tells virtual services apart.
type ServiceID struct {
	Protocol Protocol
	// Address has port 0 for a service of all ports. For a firewall mark it is
	// 0.0.0.0:0 or [::]:0, which tells the family.
	Address netip.AddrPort
	Mark    uint32
}

func (id ServiceID) String() string {
	if id.Protocol == FWMark {
		return string(FWMark) + strings.TrimPrefix(id.ipvsadm(), "-f")
	}
	return fmt.Sprintf("%s %s", id.Protocol, id.Address)
}

// A Server is a real server in a table.
type Server struct {
	// Address has port 0 for the port that the client connected to.
	Address      netip.AddrPort
	Weight       int
	Forward      Forward
	Tunnel       Tunnel
	Upper, Lower uint32
}

// Equal reports whether the tables are the same, order included.
func (t Table) Equal(other Table) bool {
	return slices.EqualFunc(t, other, func(a, b Service) bool {
		return sameSettings(a, b) && slices.Equal(a.Servers, b.Servers)
	})
}

func sameSettings(a, b Service) bool {
	return a.Name == b.Name && a.ID == b.ID && sameInTable(a, b) &&
		a.Drain == b.Drain && a.DrainTimeout == b.DrainTimeout && a.ConnectTimeout == b.ConnectTimeout &&
		a.Floating == b.Floating && a.Leave == b.Leave
}

// sameInTable compares what the kernel's table holds of a service.
func sameInTable(a, b Service) bool {
	return a.Scheduler == b.Scheduler && a.Flags == b.Flags && a.Persistence == b.Persistence &&
		(a.Mask == b.Mask || a.Persistence == 0)
}

// Clone returns a copy that shares no memory with t.
func (t Table) Clone() Table {
	c := slices.Clone(t)
	for i := range c {
		c[i].Servers = slices.Clone(c[i].Servers)
	}
	return c
}

// Over is what is forwarded when the table has come true over another one: services
// that are to be left are as they were there.
func (t Table) Over(before Table) Table {
	if !slices.ContainsFunc(t, leaves) {
		return t
	}
	var all Table
	for _, s := range t {
		if s.Leave {
			old, there := before.Find(s.ID)
			if !there {
				continue
			}
			s = old
		}
		all = append(all, s)
	}
	return all
}

func leaves(s Service) bool { return s.Leave }

// Find returns the service of that identity.
func (t Table) Find(id ServiceID) (Service, bool) {
	for _, s := range t {
		if s.ID == id {
			return s, true
		}
	}
	return Service{}, false
}

// Full is the table when all real servers are in.
func Full(virtuals []Virtual) Table {
	var table Table
	for _, v := range virtuals {
		full := (*virtualPool)(nil).succeed(v, nil, time.Time{})
		full.quorum = quorumHad
		for _, s := range full.servers {
			s.in = true
		}
		services, _ := full.services() // names have no addresses yet, and are left out
		table = append(table, services...)
	}
	return table
}
