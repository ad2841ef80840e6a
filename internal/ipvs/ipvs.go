// Package ipvs is the access to the kernel's virtual server (ip_vs): its
// services, their real servers ("destinations"), the sync daemons, timeouts,
// counters and the table of connections.
//
// A [Client] is safe for concurrent use. It belongs to the network namespace in
// which it was opened, each of which has a table of its own. [Access] is what
// users of the table should ask for; ipvstest.Kernel is a second one, in memory.
//
// Errors are an [*Error] that says what was being done; errors.Is tells
// [ErrExists], [ErrMissing], [ErrNoPermission], [ErrNoScheduler], [ErrNoKernel],
// [ErrNoTunnel], [ErrTimeout] and [ErrClosed] apart.
package ipvs

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"
)

// Access is the kernel's table. Each method is one change or one reading of the
// table, made when it returns nil; an error leaves the table as it was, save
// [ErrTimeout] and a ctx that is done, after which the change may have been made
// or not: read the table to know.
//
// Flushing is not offered: nobody may remove what somebody else has put in.
type Access interface {
	Info(ctx context.Context) (Info, error)
	// Services lists all services, with their counters.
	Services(ctx context.Context) ([]Service, error)
	// Destinations lists the real servers of one service, in the kernel's order.
	// ErrMissing if there is no such service.
	Destinations(ctx context.Context, key Key) ([]Destination, error)

	// AddService: ErrExists, ErrNoScheduler.
	AddService(ctx context.Context, s Service) error
	// UpdateService sets all of the service's settings; its destinations and
	// connections stay. ErrMissing, ErrNoScheduler.
	UpdateService(ctx context.Context, s Service) error
	// RemoveService removes the destinations with it. ErrMissing.
	RemoveService(ctx context.Context, key Key) error

	// AddDestination: ErrMissing if there is no such service, ErrExists,
	// ErrNoTunnel.
	AddDestination(ctx context.Context, key Key, d Destination) error
	// UpdateDestination sets all of the settings; connections stay. ErrMissing,
	// also for the service.
	UpdateDestination(ctx context.Context, key Key, d Destination) error
	// RemoveDestination: ErrMissing, also for the service.
	RemoveDestination(ctx context.Context, key Key, address netip.AddrPort) error

	// Zero sets the counters of one service and its destinations to 0, or of all
	// if key is nil. ErrMissing.
	Zero(ctx context.Context, key *Key) error

	Timeouts(ctx context.Context) (Timeouts, error)
	// SetTimeouts leaves those alone that are 0.
	SetTimeouts(ctx context.Context, t Timeouts) error

	// Daemons lists the running sync daemons: at most one of each role.
	Daemons(ctx context.Context) ([]Daemon, error)
	// StartDaemon: ErrExists if one of that role is running.
	StartDaemon(ctx context.Context, d Daemon) error
	// StopDaemon: ErrMissing if none of that role is running.
	StopDaemon(ctx context.Context, role Role) error

	// Connections goes through the table of connections while it changes: an
	// entry may be missed, or come twice. It ends after an error.
	Connections(ctx context.Context) iter.Seq2[Connection, error]

	Close() error
}

// A Family is an address family, with the numbers of AF_INET and AF_INET6.
type Family uint16

// The families.
const (
	INET  Family = 2
	INET6 Family = 10
)

func (f Family) String() string {
	switch f {
	case INET:
		return "IPv4"
	case INET6:
		return "IPv6"
	}
	return fmt.Sprintf("family %d", uint16(f))
}

// familyOf is the family of an address.
func familyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return INET
	}
	return INET6
}

// A Protocol is the number of an IP protocol.
type Protocol uint8

// The protocols of services.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// A Key tells services apart: either protocol and address, or a firewall mark
// and the family of the packets. [AddressKey] and [MarkKey] make it; the kernel
// is read in the same form, so that keys can be compared and be keys of a map.
type Key struct {
	Family   Family         `json:"family"`
	Protocol Protocol       `json:"protocol,omitempty"` // 0 with a mark
	Address  netip.AddrPort `json:"address,omitzero"`   // invalid with a mark
	FWMark   uint32         `json:"fwmark,omitempty"`
}

// AddressKey is the key of a service at an address. Port 0 is all ports.
func AddressKey(p Protocol, a netip.AddrPort) Key {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	return Key{Family: familyOf(a.Addr()), Protocol: p, Address: a}
}

// MarkKey is the key of a service for packets with that mark, which is not 0.
func MarkKey(mark uint32, f Family) Key { return Key{Family: f, FWMark: mark} }

// String writes the key as the options of ipvsadm(8) do: "-t 10.0.0.1:80",
// "-f 9 -6".
func (k Key) String() string {
	if k.FWMark != 0 {
		if k.Family == INET6 {
			return fmt.Sprintf("-f %d -6", k.FWMark)
		}
		return fmt.Sprintf("-f %d", k.FWMark)
	}
	switch k.Protocol {
	case TCP:
		return "-t " + k.Address.String()
	case UDP:
		return "-u " + k.Address.String()
	case SCTP:
		return "--sctp-service " + k.Address.String()
	}
	return fmt.Sprintf("%s %s", k.Protocol, k.Address)
}

// Flags are a service's options, with the kernel's numbers (IP_VS_SVC_F_*). The
// flag HASHED, which is the kernel's own, is never among them.
type Flags uint32

// The flags. What Sched1 to Sched3 mean is for the scheduler to say.
const (
	Persistent Flags = 0x01 // a client stays with its server for Timeout
	OnePacket  Flags = 0x04 // each UDP packet is scheduled by itself
	Sched1     Flags = 0x08
	Sched2     Flags = 0x10
	Sched3     Flags = 0x20

	SHFallback = Sched1 // sh: another server for one that is out
	SHPort     = Sched2 // sh: hash the client's port too
	MHFallback = Sched1
	MHPort     = Sched2

	// hashed is set by the kernel in every service of its table.
	hashed Flags = 0x02
)

// Names lists the scheduler's flags as ipvsadm -b does: "sh-port", "flag-3".
func (f Flags) Names(scheduler string) string {
	names := [...]string{"flag-1", "flag-2", "flag-3"}
	if scheduler == "sh" || scheduler == "mh" {
		names[0], names[1] = scheduler+"-fallback", scheduler+"-port"
	}
	var set []string
	for i, flag := range [...]Flags{Sched1, Sched2, Sched3} {
		if f&flag != 0 {
			set = append(set, names[i])
		}
	}
	return strings.Join(set, ",")
}

// A Service is one virtual service.
type Service struct {
	Key       Key    `json:"key"`
	Scheduler string `json:"scheduler"` // "rr", "wlc"; at most 15 bytes
	Flags     Flags  `json:"flags"`
	// Timeout of persistence in seconds; without the flag Persistent the kernel
	// keeps it and does nothing with it.
	Timeout uint32 `json:"timeout,omitempty"`
	// Prefix is the length of the mask under which clients count as one for
	// persistence: 1 to 32 or 128. 0 is taken as the whole address; -1 is read
	// where the kernel has a mask that is not of this form.
	Prefix int `json:"prefix,omitempty"`
	// Engine is the persistence engine, "sip" or "".
	Engine string `json:"engine,omitempty"`
	Stats  Stats  `json:"stats"`
}

// Same reports whether both are the same service with the same settings.
// Counters do not count, nor does what a service without persistence says of it.
func (s Service) Same(o Service) bool {
	if s.Key != o.Key || s.Scheduler != o.Scheduler || s.Flags&^hashed != o.Flags&^hashed || s.Engine != o.Engine {
		return false
	}
	return s.Flags&Persistent == 0 || (s.Timeout == o.Timeout && s.prefix() == o.prefix())
}

// prefix is the mask's length with the default put in.
func (s Service) prefix() int {
	if s.Prefix != 0 {
		return s.Prefix
	}
	return s.Key.Family.bits()
}

func (f Family) bits() int {
	if f == INET6 {
		return 128
	}
	return 32
}

// A Forward is how packets get to a real server, with the kernel's numbers
// (IP_VS_CONN_F_FWD_MASK).
type Forward uint32

// The ways: masquerading (NAT), the director itself, in a tunnel, direct routing.
const (
	Masq   Forward = 0
	Local  Forward = 1
	Tunnel Forward = 2
	Route  Forward = 3
)

// forwardMask is for the connection flags that the kernel keeps beside it.
const forwardMask = 7

// String is the word that ipvsadm -L prints.
func (f Forward) String() string {
	switch f & forwardMask {
	case Masq:
		return "Masq"
	case Local:
		return "Local"
	case Tunnel:
		return "Tunnel"
	case Route:
		return "Route"
	}
	return fmt.Sprintf("forward %d", uint32(f))
}

// A TunnelType is an encapsulation, with the kernel's numbers.
type TunnelType uint8

// The types. GUE and GRE came with Linux 5.2 and 5.3.
const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// String is the word of ipvsadm's --tun-type.
func (t TunnelType) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return fmt.Sprintf("tunnel type %d", uint8(t))
}

// TunnelFlags are options of gue and gre; none is --tun-nocsum.
type TunnelFlags uint16

// The flags: a checksum outside, a remote checksum (gue only).
const (
	Checksum       TunnelFlags = 1
	RemoteChecksum TunnelFlags = 2
)

// Encapsulation says how a destination of the kind [Tunnel] is reached. The zero
// value is ipip.
type Encapsulation struct {
	Type  TunnelType  `json:"type"`
	Port  uint16      `json:"port,omitempty"` // of gue, where it must not be 0
	Flags TunnelFlags `json:"flags,omitempty"`
}

// A Destination is one real server of a service.
type Destination struct {
	Address netip.AddrPort `json:"address"`
	Forward Forward        `json:"forward"`
	Weight  int            `json:"weight"` // 0 gets no new connections
	// Upper is the number of connections at which the server gets no more until
	// they are fewer than Lower (0: three quarters of Upper). 0 is no limit.
	Upper  uint32        `json:"upper,omitempty"`
	Lower  uint32        `json:"lower,omitempty"`
	Tunnel Encapsulation `json:"tunnel,omitzero"`

	// What follows is read only.
	Active     uint32 `json:"active"`
	Inactive   uint32 `json:"inactive"`
	Persistent uint32 `json:"persistent"`
	Stats      Stats  `json:"stats"`
}

// Same reports whether both are the same server with the same settings. Counters
// do not count, nor does the encapsulation of what is not tunnelled.
func (d Destination) Same(o Destination) bool {
	return d.Address == o.Address && d.Forward&forwardMask == o.Forward&forwardMask && d.Weight == o.Weight &&
		d.Upper == o.Upper && d.Lower == o.Lower && (d.Forward&forwardMask != Tunnel || d.Tunnel == o.Tunnel)
}

// Stats are counters since the start or the last Zero, which the kernel adds up
// every two seconds, and the rates per second that it estimates then. All have 64 bits from Linux 4.1 on;
// before, packets and connections wrap at 32.
type Stats struct {
	Connections uint64 `json:"connections"`
	InPackets   uint64 `json:"in_packets"`
	OutPackets  uint64 `json:"out_packets"`
	InBytes     uint64 `json:"in_bytes"`
	OutBytes    uint64 `json:"out_bytes"`

	CPS    uint64 `json:"cps"`     // connections
	InPPS  uint64 `json:"in_pps"`  // packets
	OutPPS uint64 `json:"out_pps"` // packets
	InBPS  uint64 `json:"in_bps"`  // bytes
	OutBPS uint64 `json:"out_bps"` // bytes
}

// Info is what the kernel says of itself.
type Info struct {
	Version             string `json:"version"` // "1.2.1"
	ConnectionTableSize int    `json:"connection_table_size"`
}

// Timeouts are how long idle connections are remembered, in whole seconds.
type Timeouts struct {
	TCP    time.Duration `json:"tcp"`
	TCPFin time.Duration `json:"tcp_fin"` // after a FIN was seen
	UDP    time.Duration `json:"udp"`
}

// A Role is a sync daemon's, with the kernel's numbers.
type Role uint32

// The roles. A machine can have both.
const (
	Master Role = 1 // sends the connections
	Backup Role = 2 // receives them
)

// String is the word of ipvsadm's --start-daemon.
func (r Role) String() string {
	switch r {
	case Master:
		return "master"
	case Backup:
		return "backup"
	}
	return fmt.Sprintf("role %d", uint32(r))
}

// A Daemon is a sync daemon of the kernel. 0 is the kernel's default for each
// setting, except that SyncID 0 as a Backup takes the messages of all; reading
// gives what the kernel uses.
type Daemon struct {
	Role      Role       `json:"role"`
	Interface string     `json:"interface"` // at most 15 bytes
	SyncID    int        `json:"sync_id"`   // 0 to 255
	MaxLength uint16     `json:"max_length,omitempty"`
	Group     netip.Addr `json:"group,omitzero"` // of multicast; 224.0.0.81
	Port      uint16     `json:"port,omitempty"` // 8848
	TTL       uint8      `json:"ttl,omitempty"`  // 1
}

// A Connection is one entry of the connection table. Templates, which are what
// persistence remembers, have the client's port 0.
type Connection struct {
	Protocol string         `json:"protocol"` // "TCP", "UDP", "SCTP", "IP" for templates of marks
	Client   netip.AddrPort `json:"client"`
	// Virtual is the service's address. A template of a mark has the mark
	// in it: 9 is 0.0.0.9.
	Virtual netip.AddrPort `json:"virtual"`
	Server  netip.AddrPort `json:"server"`
	State   string         `json:"state"` // "ESTABLISHED"
	Expires time.Duration  `json:"expires"`
	// Engine and EngineData are what a persistence engine knows of it, else "".
	Engine     string `json:"engine,omitempty"`
	EngineData string `json:"engine_data,omitempty"`
}
