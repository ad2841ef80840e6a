// Package lvs keeps virtual services and the pools of real servers behind them:
// what the configuration wants ([Virtual]), what the watches know of it
// ([Pool]), and what therefore should be forwarded ([Table]).
//
// A [Backend] makes a table true. There are two: the relay, an embedded TCP
// forwarder (internal/lvs/relay), and the record, which only notes what it was
// told (internal/lvs/record). Backends are told states and not changes, so a
// repeated or skipped call does no harm; the suite in internal/lvs/lvstest says
// what each has to keep.
package lvs

import (
	"fmt"
	"net/netip"
	"time"
)

// A Virtual is one virtual service as it is configured; [VirtualConfig.Build]
// makes one.
type Virtual struct {
	Name      string
	Address   netip.AddrPort
	Protocol  Protocol
	Scheduler Scheduler
	// Reals are the real servers, in the configuration's order.
	Reals []Real

	OnFailure OnFailure
	// MinUp is how many real servers of weight 1 or more stay in although they
	// are down: the last ones that were up.
	MinUp int
	// Start says where a real server is that no watch has reported on yet.
	Start Start

	Drain          Drain
	DrainTimeout   time.Duration
	ConnectTimeout time.Duration
}

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
	Port uint16
	// Weight is 0 to 65535. A server of weight 0 is in the table and gets no
	// new connections.
	Weight int
}

// Target is the server's address and port as text, the name not looked up.
func (r Real) Target() string {
	if r.Name != "" {
		return fmt.Sprintf("%s:%d", r.Name, r.Port)
	}
	return r.Address.String()
}

// A Protocol is the transport of a virtual service.
type Protocol string

// TCP is what all backends forward.
const TCP Protocol = "tcp"

// Protocols lists the accepted values.
func Protocols() []Protocol { return []Protocol{TCP} }

// A Scheduler chooses the real server of a new connection. The names are the
// kernel's.
type Scheduler string

// The schedulers: each in turn; in turn by weight; the fewest connections; the
// fewest connections by weight.
const (
	RoundRobin              Scheduler = "rr"
	WeightedRoundRobin      Scheduler = "wrr"
	LeastConnection         Scheduler = "lc"
	WeightedLeastConnection Scheduler = "wlc"
)

// Schedulers lists the accepted values.
func Schedulers() []Scheduler {
	return []Scheduler{RoundRobin, WeightedRoundRobin, LeastConnection, WeightedLeastConnection}
}

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

// DrainSlowly lets them go on until the service's DrainTimeout has passed;
// DrainCut ends them at once.
const (
	DrainSlowly Drain = "drain"
	DrainCut    Drain = "cut"
)
