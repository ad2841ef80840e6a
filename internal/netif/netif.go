// Package netif knows and changes the addresses, links, routes, neighbours and
// sysctls of the network namespace that the calling thread is in. It alone talks
// rtnetlink(7); everybody else gets the words of net/netip.
//
// Every call opens a socket of its own, so a caller that is locked to a thread in
// another namespace (setns(2)) works there, and calls may run at the same time.
// A call ends with its context's deadline, and after ten seconds at the latest.
// Calls that change something are idempotent unless they say otherwise, and their
// errors are told apart with [errors.Is]: [ErrExists], [ErrMissing],
// [ErrPermission], [ErrUnreachable] and [errors.ErrUnsupported].
//
// Outside of Linux every call returns [errors.ErrUnsupported].
package netif

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"
)

// Kinds of errors.
var (
	ErrExists      = errors.New("exists already")
	ErrMissing     = errors.New("does not exist")
	ErrPermission  = errors.New("not permitted")
	ErrUnreachable = errors.New("no route")
)

// Forever is the lifetime of what does not end.
const Forever = time.Duration(math.MaxInt64)

// A Scope is how far an address or a route is valid: rtnetlink(7)'s rtm_scope.
type Scope uint8

// The scopes.
const (
	Universe Scope = 0
	Site     Scope = 200
	OnLink   Scope = 253
	Host     Scope = 254
	Nowhere  Scope = 255
)

// String names a scope as ip(8) does.
func (s Scope) String() string {
	switch s {
	case Universe:
		return "global"
	case Site:
		return "site"
	case OnLink:
		return "link"
	case Host:
		return "host"
	case Nowhere:
		return "nowhere"
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// An Address is an IP address of a device.
type Address struct {
	Device string
	Index  int          // of the device
	Prefix netip.Prefix // the address itself with the length of its network
	Peer   netip.Prefix // the other end's, zero where there is none
	Scope  Scope
	Label  string // IPv4 only: the device's name, or that with ":something"
	// Valid and Preferred are what is left of the address's lifetimes, in whole
	// seconds, or Forever. A Preferred of 0 is a deprecated address: in use, but
	// not chosen for new connections.
	Valid, Preferred time.Duration
	Tentative        bool // IPv6: not in use before the search for duplicates ends
	Duplicate        bool // IPv6: another machine has it, and so it is not in use
}

// A Link is a network device.
type Link struct {
	Name    string
	Index   int
	Kind    string // "veth", "bridge", "ipip" …; "device" for hardware and lo
	MTU     int    // bytes
	Up      bool   // the administrator's wish
	Carrier bool   // the cable is plugged in, or the other end is up
	MAC     net.HardwareAddr
	Master  int  // index of the bridge or bond it is a port of, or 0
	Loop    bool // the loopback device
	NoARP   bool // no neighbour discovery: tunnels, dummies
}

// A Route is an entry of a routing table, or the answer to [RouteTo].
type Route struct {
	Destination netip.Prefix // 0.0.0.0/0 or ::/0 for the default route
	Device      string       // empty with several next hops, see NextHops
	Gateway     netip.Addr   // zero: the destination is on the link
	Source      netip.Addr   // what the kernel would send from, if it says so
	Local       bool         // to an address of this machine
	Own         bool         // made by [PutRoute], in whatever process
	// Rejected is a route that refuses: unreachable, blackhole, prohibit, throw.
	Rejected bool
	MTU      int // bytes: the route's own, else the device's
	Scope    Scope
	Table    int // 254 main, 255 local
	Metric   int
	NextHops []NextHop
}

// NewRoute describes the route that [PutRoute] is to add, or [RemoveRoute] to take
// away.
type NewRoute struct {
	Destination netip.Prefix // required; 0.0.0.0/0 or ::/0 is the default route
	Device      string       // default: the one by which Gateway is reached
	Gateway     netip.Addr   // default: the destination is on the link; of the same family
	Source      netip.Addr   // an address of this machine; default: the kernel chooses
	Table       int          // default (0) 254, main
	Metric      int          // the least wins; default (0) for IPv6 1024, the kernel's
	// OnLink says that the gateway is on the device's link though no address of the
	// device says so.
	OnLink bool
}

// A NextHop is one of several ways of a route.
type NextHop struct {
	Device  string
	Gateway netip.Addr
}

// A Neighbour is what the kernel knows of a machine on a link: ARP's table, or
// that of IPv6's neighbour discovery.
type Neighbour struct {
	Device  string
	Address netip.Addr
	MAC     net.HardwareAddr
	State   string // as ip(8) says it: reachable, stale, failed, permanent …
}

// Add describes the address that [AddAddress] is to add.
type Add struct {
	Device string
	Prefix netip.Prefix
	Scope  Scope  // IPv4 only; IPv6 addresses have the scope of their range
	Label  string // IPv4 only; must begin with the device's name; default that name
	// Valid is for how long, in whole seconds from 1; default (0) Forever.
	Valid time.Duration
	// Deprecated addresses are never chosen as the source of a new connection.
	Deprecated bool
	// NoDAD leaves out IPv6's search for duplicates (RFC 4862 section 5.4): the
	// address is in use at once (its route comes a moment after the call).
	NoDAD bool
	// NoPrefixRoute leaves out the route to the address's network, which is the
	// own address's business where an address only visits a device.
	NoPrefixRoute bool
}

// A Tunnel describes the device that [AddTunnel] is to add: it decapsulates what
// comes from anywhere.
type Tunnel struct {
	Name string
	Kind string // "ipip", "sit", "ip6tnl", "gre" or "ip6gre"
}

// A Port is a UDP port at which the kernel unpacks Generic UDP Encapsulation.
type Port struct {
	Number uint16
	IPv6   bool // of the packets that carry, not of those inside
}
