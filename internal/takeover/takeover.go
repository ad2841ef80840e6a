// Package takeover runs the machine of package director on a real machine. Its loop
// is the only owner of the machine's state: it hands over what the heartbeat, the
// gateways, the wire, the kernel and the resources have to say, and has the actions
// carried out, without ever waiting for one.
//
//	heartbeat ──┐                         ┌─▶ heartbeat, gateways, wire: sent at once
//	gateways ───┤   ┌───────┐   ┌──────┐  ├─▶ lane: the group's address, on a lease
//	wire ───────┼──▶│ queue │──▶│ loop │──┼─▶ works: the group's resources
//	kernel ─────┤   └───────┘   └──────┘  ├─▶ disk: epochs
//	operator ───┘                ▲    │   └─▶ people
//	results ─────────────────────┘ director.Step
package takeover

import (
	"context"
	"net/netip"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/resources"
)

// Settings are what a loop works with.
type Settings struct {
	// Director is the machine's configuration; Self is this node.
	Director director.Config
	// Groups are parallel to Director.Groups.
	Groups []Group
	// Nodes are the addresses of the nodes, to know who answers for an address.
	Nodes []Node
	// Heartbeats is the way to the other nodes; nil for a single director.
	Heartbeats Heartbeats
	// Gateways pings Director.Gateways; nil if there are none.
	Gateways Gateways
	// Wires are the ways to ask and to announce on the devices of the addresses.
	Wires Wires
	// Stonith powers a node off, and returns nil only if that is certain; nil: there is none.
	Stonith func(ctx context.Context, node string) error
	// Save writes the memory so that it survives a crash; nil: there is no disk.
	Save func(Memory) error
	// Memory is what an earlier process saved, with this one's incarnation (see
	// [NextIncarnation]).
	Memory Memory
	// Notice is told everything that people should know, in its order. It must not wait.
	Notice func(Notice)
	// Watchdog is called by each turn of the loop; nil: there is none. It must not wait.
	Watchdog func()
	// StatusEvery is how often resources that run are looked at; default 10s.
	StatusEvery time.Duration
	// Isolate keeps the loop's thread, and this process's memory, from waiting for the
	// rest of the machine, as far as that is allowed.
	Isolate bool
	// Boottime is the clock; default netif.Boottime.
	Boottime func() time.Duration
}

// A Node is known by its addresses.
type Node struct {
	Name      string
	Addresses []netip.Addr
}

// A Group is what one group of the machine's configuration is made of.
type Group struct {
	Name string
	// Before are started before the address, in their order, After are started after it.
	Before, After []Resource
	Addresses     []Address
}

// A Resource has limits in time: a call that takes longer has failed.
type Resource struct {
	Name        string
	Resource    resources.Resource
	Start, Stop time.Duration
}

// An Address is one of a group's virtual addresses; resources/vip is one.
type Address interface {
	Prefix() netip.Prefix
	// Device is the device that has or gets it; netif.ErrMissing while there is none.
	Device(ctx context.Context) (string, error)
	// Take holds it for one lease; see vip.Address.
	Take(ctx context.Context, notAfter time.Duration) (netif.Held, error)
	// Stop removes it. Without an error the kernel does not have it.
	Stop(ctx context.Context) error
	Found(ctx context.Context) (netif.Found, error)
}

// A Leased address is held together with its group's others, by few calls to the kernel:
// hundreds of them one after the other take longer than the fence leaves time for.
type Leased interface {
	Address
	// Want is what the kernel is asked for; see vip.Address.
	Want(ctx context.Context, look func() (*netif.Census, error)) (netif.Lease, error)
	// Laid says since when it is held, and on which device; see vip.Address.
	Laid(began time.Duration, device string)
}

// Heartbeats carries messages; heartbeat.Cluster does.
type Heartbeats interface {
	Send(to string, m director.Message) error
	Broadcast(m director.Message) error
	Received() <-chan heartbeat.Received
	Flush()
}

// Gateways sends pings; gateway.Pinger does. Its methods do not wait.
type Gateways interface {
	// Ping sends one ping; the answer brings sent back.
	Ping(gateway netip.Addr, sent time.Duration) error
	Answers() <-chan gateway.Answer
	Flush()
}

// Wires opens what is needed on a device.
type Wires interface {
	// Open opens the device's wire; *netif.Wire is one.
	Open(ctx context.Context, device string) (Wire, error)
	// Watch tells of the device's carrier and of addresses that go, until ctx ends.
	Watch(ctx context.Context, device string, addresses []netip.Addr) (<-chan netif.Change, error)
	// OnLink are those of the addresses that are neighbours on the device.
	OnLink(ctx context.Context, device string, addresses []netip.Addr) []netip.Addr
	// Carrier tells whether the device is there, up and plugged in.
	Carrier(ctx context.Context, device string) bool
	// Neighbours are the machines that are known on the device.
	Neighbours(ctx context.Context, device string) ([]netif.Neighbour, error)
}

// A Wire asks and announces on one device.
type Wire interface {
	Ask(q netif.Question) error
	Announce(address netip.Addr) error
	Guard(addresses ...netip.Addr)
	Heard() <-chan netif.Sighting
	Flush()
	Refresh(ctx context.Context) error
	Close() error
}

// A Memory is what outlives a process.
type Memory struct {
	// Incarnation of the process that writes it.
	Incarnation uint64 `json:"incarnation"`
	// Epochs are the highest that were claimed, by group.
	Epochs      map[string]uint64 `json:"epochs"`
	Maintenance bool              `json:"maintenance"`
}

// A Notice is news of the machine, with what only the loop knows.
type Notice struct {
	director.Notice
	// Time is the wall clock's.
	Time time.Time
	// Priority is this node's for the group, see [Priority].
	Priority int
	// Without is for how long nobody held the group before this node did, as far as
	// this node can know; negative: that is not known, or not asked.
	Without time.Duration
}
