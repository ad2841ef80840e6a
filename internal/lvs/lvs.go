// Package lvs keeps virtual services and the pools of real servers behind them:
// what the configuration wants ([Virtual]), what the watches know of it
// ([Pool]), and what therefore should be forwarded ([Table]).
//
// A [Backend] makes a table true. There are three: the kernel's IPVS
// (internal/lvs/kernel), the relay, an embedded TCP forwarder
// (internal/lvs/relay), and the record, which only notes what it was told
// (internal/lvs/record). Backends are told states and not changes, so a repeated
// or skipped call does no harm; the suite in internal/lvs/lvstest says what each
// has to keep.
package lvs

import (
	"fmt"
	"net/netip"
	"time"
)

// A Virtual is one virtual service as it is configured; [VirtualConfig.Build]
// makes one.
type Virtual struct {
	Name string
	// IDs are what clients connect to: one, or more for a range of addresses.
	// All have one pool.
	IDs       []ServiceID
	Scheduler Scheduler
	Flags     Flags
	// Persistence is how long a client's connections go to one server, in whole
	// seconds; 0 is not. Mask is how many leading bits of its address make a
	// client: 32 or 128 is each address by itself.
	Persistence time.Duration
	Mask        int
	// Reals are the real servers, in the configuration's order.
	Reals []Real
	// Sorry takes the connections while the quorum is missing; nil is nobody.
	Sorry *Real

	OnFailure OnFailure
	// MinUp is how many real servers of weight 1 or more stay in although they
	// are down: the last ones that were up.
	MinUp int
	// Quorum is the weight of servers that must be up, and Hysteresis what it
	// may lack, or has to have more, until that counts as changed.
	Quorum, Hysteresis int
	// Start says where a real server is that no watch has reported on yet.
	Start Start

	Drain          Drain
	DrainTimeout   time.Duration
	ConnectTimeout time.Duration
}

// Family returns an address of the family of the virtual service.
func (v Virtual) Family() netip.Addr { return v.IDs[0].Address.Addr() }

// A Real is a real server.
type Real struct {
	// Host is the server as written in the host group, by which watches report
	// on it: a name or an address, with or without ":port".
	Host string
	// Address is where to forward to. It is invalid if the host is a name,
	// which is looked up when the server is put in.
	Address netip.AddrPort
	// Name is the name to look up, empty if Address is valid.
	Name string
	// Port is 0 for the port that the client connected to.
	Port uint16
	// Weight is 0 to 65535. A server of weight 0 is in the table and gets no
	// new connections.
	Weight  int
	Forward Forward
	Tunnel  Tunnel
	// Upper is the number of connections at which the server gets no new ones,
	// until it has less than Lower again; 0 is no limit.
	Upper, Lower uint32
}

// Target is the server's address and port as text, the name not looked up.
func (r Real) Target() string {
	if r.Name != "" {
		return fmt.Sprintf("%s:%d", r.Name, r.Port)
	}
	return r.Address.String()
}

// server is the real server in a table.
func (r Real) server(address netip.AddrPort, weight int) Server {
	return Server{Address: address, Weight: weight, Forward: r.Forward, Tunnel: r.Tunnel, Upper: r.Upper, Lower: r.Lower}
}

// A Protocol is the transport of a virtual service.
type Protocol string

// The protocols; the relay forwards TCP alone. FWMark is a service made of all
// packets that carry a firewall mark.
const (
	TCP    Protocol = "tcp"
	UDP    Protocol = "udp"
	SCTP   Protocol = "sctp"
	FWMark Protocol = "fwmark"
)

// Protocols lists what the key "protocol" accepts.
func Protocols() []Protocol { return []Protocol{TCP, UDP, SCTP} }

// A Scheduler chooses the real server of a new connection. The names are the
// kernel's, which are the modules' too: "ip_vs_wlc".
type Scheduler string

// The schedulers that the relay has: each in turn; in turn by weight; the fewest
// connections; the fewest connections by weight.
const (
	RoundRobin              Scheduler = "rr"
	WeightedRoundRobin      Scheduler = "wrr"
	LeastConnection         Scheduler = "lc"
	WeightedLeastConnection Scheduler = "wlc"
)

// The schedulers that the kernel alone has (ipvsadm(8)).
const (
	LocalityLeastConnection           Scheduler = "lblc"
	LocalityLeastConnectionReplicated Scheduler = "lblcr"
	DestinationHashing                Scheduler = "dh"
	SourceHashing                     Scheduler = "sh"
	MaglevHashing                     Scheduler = "mh"
	ShortestExpectedDelay             Scheduler = "sed"
	NeverQueue                        Scheduler = "nq"
	WeightedFailover                  Scheduler = "fo"
	WeightedOverflow                  Scheduler = "ovf"
)

// Schedulers lists the accepted values.
func Schedulers() []Scheduler {
	return append(RelaySchedulers(), LocalityLeastConnection, LocalityLeastConnectionReplicated,
		DestinationHashing, SourceHashing, MaglevHashing, ShortestExpectedDelay, NeverQueue, WeightedFailover, WeightedOverflow)
}

// RelaySchedulers lists those that need no kernel.
func RelaySchedulers() []Scheduler {
	return []Scheduler{RoundRobin, WeightedRoundRobin, LeastConnection, WeightedLeastConnection}
}

// Flags change what a scheduler does.
type Flags uint8

// The flags (ipvsadm(8), --sched-flags and --ops): a connection for each UDP
// packet; source or Maglev hashing that passes over servers of weight 0 or
// overloaded ones, and that includes the client's port.
const (
	OnePacket Flags = 1 << iota
	SourceHashingFallback
	SourceHashingPort
	MaglevFallback
	MaglevPort
)

// flagNames are the words of the key "flags", ipvsadm's.
var flagNames = []struct {
	name      string
	flag      Flags
	scheduler Scheduler // that alone has it, "" for any
}{
	{"ops", OnePacket, ""},
	{"sh-fallback", SourceHashingFallback, SourceHashing},
	{"sh-port", SourceHashingPort, SourceHashing},
	{"mh-fallback", MaglevFallback, MaglevHashing},
	{"mh-port", MaglevPort, MaglevHashing},
}

// Names lists the flags as they are written in the configuration.
func (f Flags) Names() []string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// Forward is how packets get to a real server.
type Forward string

// The ways (ipvsadm(8), "packet-forwarding-method"): with the frame's address
// changed alone, so that the server answers the client directly; with the
// destination changed; in a tunnel; to this machine itself; with both addresses
// changed, so that the answer comes back without a route through the director.
// The zero value is the backend's own way, the relay's.
const (
	DirectRouting Forward = "dr"
	NAT           Forward = "nat"
	Tunneling     Forward = "tun"
	Local         Forward = "local"
	FullNAT       Forward = "fullnat"
)

// Forwards lists the accepted values.
func Forwards() []Forward { return []Forward{DirectRouting, NAT, Tunneling, Local, FullNAT} }

// keepsPort reports whether packets reach the server as the client sent them, so
// that it must listen on the port of the virtual service.
func (f Forward) keepsPort() bool {
	return f == DirectRouting || f == Tunneling || f == Local
}

// A Tunnel is how packets are wrapped for [Tunneling]. The zero value is IPIP.
type Tunnel struct {
	Type TunnelType
	Port uint16 // of GUE
	// Checksum is of GUE and GRE.
	Checksum Checksum
}

// TunnelType is what packets are wrapped in.
type TunnelType string

// The types: IP in IP, the zero value; generic UDP encapsulation and generic
// routing encapsulation, from Linux 5.2 and 5.3 on.
const (
	IPIP TunnelType = ""
	GUE  TunnelType = "gue"
	GRE  TunnelType = "gre"
)

// Checksum says what of a tunnel's packets is checked.
type Checksum string

// The checksums: none, the zero value; of the outer packet; and remote checksum
// offload, which GUE has.
const (
	NoChecksum     Checksum = ""
	OuterChecksum  Checksum = "csum"
	RemoteChecksum Checksum = "remcsum"
)

// OnFailure says what happens to a real server that is out.
type OnFailure string

// Remove takes it from the table; Quiesce leaves it there with weight 0, so that
// its connections go on and it gets no new ones.
const (
	Remove  OnFailure = "remove"
	Quiesce OnFailure = "quiesce"
)

// Start says where a real server is before the first result.
type Start string

// StartDown keeps it out, StartUp takes it in.
const (
	StartDown Start = "down"
	StartUp   Start = "up"
)

// Drain says what happens to the connections of a server that was removed.
type Drain string

// DrainSlowly lets them go on: in the relay until the service's DrainTimeout has
// passed; the kernel drops their packets and takes them up again if the server
// comes back before they expire. DrainCut ends them at once.
const (
	DrainSlowly Drain = "drain"
	DrainCut    Drain = "cut"
)
