package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Kind of fault, or of anything else that happens to a cluster from outside.
type Kind string

// The kinds. A fault lasts from At for For; what ends then stands behind the colon.
const (
	// Kill the daemon, the kernel goes on: restarted. Arg: see the bits below.
	Kill Kind = "kill"
	// Power of the host: booted again.
	Power Kind = "power"
	// Sworn is the same, and an operator confirms soon that it is off.
	Sworn Kind = "sworn"
	// Freeze the process; its clock and its kernel go on: resumed. Arg 1: in the
	// middle of its next renewal.
	Freeze Kind = "freeze"
	// Pause the whole host, as hypervisors do: resumed.
	Pause Kind = "pause"
	// Stall: the process stands still for Arg ms, again and again.
	Stall Kind = "stall"
	// Halfway: the process is frozen between two addresses of what it does next with
	// several: resumed; with Arg 1 it is killed there: restarted.
	Halfway Kind = "halfway"
	// Pull the service network's cable; the driver tells Arg ms late: plugged in.
	Pull Kind = "pull"
	// Unplug one device of two; the driver tells Arg ms late: plugged in.
	Unplug Kind = "unplug"
	// Flap: both devices lose their carrier in turns, each for Arg ms.
	Flap Kind = "flap"
	// CutOff is a dead switch port without a loss of carrier; Mute and Deaf are
	// halves of it.
	CutOff Kind = "cutoff"
	Mute   Kind = "mute"
	Deaf   Kind = "deaf"
	// Partition: nothing between Node and Other in the service network, which
	// both have else. Client 1 is cut from Node as well, client 2 from Other.
	Partition Kind = "partition"
	// OneWay: the same from Node to Other only.
	OneWay Kind = "oneway"
	// Split the service network in two; Arg has the bits of the nodes without gateways.
	Split Kind = "split"
	// Heartbeats between Node and Other only, as by a packet filter; Arg 1: on all links.
	Heartbeats Kind = "heartbeats"
	// ARP between Node and Other only.
	ARP Kind = "arp"
	// NoBroadcast: the switch loses all broadcasts.
	NoBroadcast Kind = "nobroadcast"
	// Loss of Arg per mille at Node's port, Slow by Arg ms.
	Loss Kind = "loss"
	Slow Kind = "slow"
	// BackDown: the second network.
	BackDown Kind = "backdown"
	// GatewayDown: Arg is which; AllGatewaysDown; GatewayPath: from Node only; NoRelay.
	GatewayDown     Kind = "gatewaydown"
	AllGatewaysDown Kind = "allgatewaysdown"
	GatewayPath     Kind = "gatewaypath"
	NoRelay         Kind = "norelay"
	// DiskFails, DiskSlow (Arg ms), DiskForgets what is written while it lasts at the next crash.
	DiskFails   Kind = "diskfails"
	DiskSlow    Kind = "diskslow"
	DiskForgets Kind = "diskforgets"
	// FailStart, SlowStart (Arg ms), FailStop, SlowStop (Arg ms) of resources.
	FailStart Kind = "failstart"
	SlowStart Kind = "slowstart"
	FailStop  Kind = "failstop"
	SlowStop  Kind = "slowstop"
	// KernelFails: addresses are neither taken nor renewed nor removed; with an Arg, its
	// bits are what is refused, see below.
	KernelFails Kind = "kernelfails"
	// Remove an address of group Arg by hand, or all.
	Remove Kind = "remove"
	// Unfit: the conditions of all groups are not met.
	Unfit Kind = "unfit"
	// Stranger: a foreign host answers for an address of group Arg, or all, and announces
	// them now and then.
	Stranger Kind = "stranger"
	// NoStonith: the device does not answer.
	NoStonith Kind = "nostonith"

	// Switchover of group Arg asked for at Node, to Other.
	Switchover Kind = "switchover"
	// Maintain Node: until it is over.
	Maintain Kind = "maintenance"
	// SwitchFrozen is a switchover of group Arg to Other, which is frozen just then.
	SwitchFrozen Kind = "switchfrozen"
	// SwitchRemove is a switchover of group Arg during which somebody removes an address.
	SwitchRemove Kind = "switchremove"
	// SwitchRefuse is one where the kernel does not remove an address.
	SwitchRefuse Kind = "switchrefuse"
	// FailbackNow of group Arg, asked for at Node.
	FailbackNow Kind = "failbacknow"
	// Shutdown (SIGTERM): started again. Quit (SIGUSR2): the same.
	Shutdown Kind = "shutdown"
	Quit     Kind = "quit"
)

// The bits of Kill's and Power's Arg. From crashBetween on: how many actions of
// the next step that has some are still done.
const (
	loseState    = 1
	wallClockOff = 2
	crashBetween = 4
)

// The bits of KernelFails' Arg; 0: all of them.
const (
	refuseTake = 1 << iota
	refuseRenew
	refuseDrop
	// refuseDrops: none is removed, whatever Address says.
	refuseDrops
)

// Whom a fault is about is decided when it begins.
const (
	// Owner of the first group, or else the first director.
	Owner = -1
	// Another director than the owner.
	Another = -2
	// Second is the next director after Node; for pairs.
	Second = -3
)

// A Fault is one thing that happens.
type Fault struct {
	// At is when, or, with one fault at a time, how long after all came to rest.
	At, For     Time
	Kind        Kind
	Node, Other int `json:",omitempty"`
	Arg         int `json:",omitempty"`
	// Device is which is unplugged, where there are two.
	Device int `json:",omitempty"`
	// Address is which of a group's it is about, counted from 1 (of a group that has
	// fewer: from the first again); 0: all.
	Address int `json:",omitempty"`
}

func (f Fault) String() string {
	return fmt.Sprintf("%s at %v for %v, node %d, other %d, arg %d, device %d, address %d", f.Kind, f.At, f.For, f.Node, f.Other, f.Arg, f.Device, f.Address)
}

// planned tells whether it is an operator's wish and no fault.
func (k Kind) planned() bool {
	switch k { //nolint:exhaustive // the other faults do not matter here
	case Switchover, SwitchFrozen, SwitchRemove, SwitchRefuse, Maintain, FailbackNow, Shutdown, Quit:
		return true
	}
	return false
}

// A Schedule is all that happens in one run.
type Schedule struct {
	Seed   uint64
	Setup  Setup
	Faults []Fault
}

// A weighted kind.
type chance struct {
	kind   Kind
	weight int
}

var chances = []chance{
	{Kill, 12},
	{Power, 6},
	{Sworn, 2},
	{Freeze, 12},
	{Stall, 4},
	{Pull, 8},
	{CutOff, 6},
	{Mute, 6},
	{Deaf, 6},
	{Partition, 12},
	{OneWay, 8},
	{Split, 5},
	{Heartbeats, 6},
	{ARP, 3},
	{NoBroadcast, 2},
	{Loss, 3},
	{Slow, 3},
	{BackDown, 2},
	{GatewayDown, 3},
	{AllGatewaysDown, 4},
	{GatewayPath, 5},
	{NoRelay, 2},
	{DiskFails, 2},
	{DiskSlow, 2},
	{DiskForgets, 2},
	{FailStart, 3},
	{SlowStart, 3},
	{FailStop, 3},
	{SlowStop, 3},
	{KernelFails, 2},
	{Remove, 2},
	{Unfit, 3},
	{Stranger, 1},
	{NoStonith, 1},
	{Switchover, 8},
	{SwitchFrozen, 4},
	{Maintain, 5},
	{FailbackNow, 2},
	{Shutdown, 5},
	{Quit, 4},
}

// onlyTogether are kinds that break the promise for single faults by themselves,
// as failover.md says (a paused host), or that are nothing alone.
var onlyTogether = []chance{{Pause, 5}}

// NewSchedule draws the schedule of a seed.
func NewSchedule(seed uint64) Schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	s := Schedule{Seed: seed, Setup: NewSetup(r)}
	if s.Setup.Single {
		s.oneByOne(r)
	} else {
		s.together(r)
	}
	s.twoDevices(rand.New(rand.NewPCG(seed, 3)))
	s.severalAddresses(rand.New(rand.NewPCG(seed, 4)))
	return s
}

// oneByOne draws faults with calm between them.
func (s *Schedule) oneByOne(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		f := newFault(r, s.Setup, chances)
		f.At = Time(r.IntN(300_000)) * Time(1000)
		s.Faults = append(s.Faults, f)
	}
}

// together draws faults on top of faults, the first ones while the cluster starts.
func (s *Schedule) together(r *rand.Rand) {
	all := append(slices.Clone(chances), onlyTogether...)
	span := 2000 + r.IntN(5000)
	for range 2 + r.IntN(7) {
		f := newFault(r, s.Setup, all)
		f.At = Time(r.IntN(span*1000)) * Time(1000)
		if n := len(s.Faults); n > 0 && r.IntN(3) == 0 {
			last := s.Faults[n-1]
			f.At = last.At + Time(r.Int64N(int64(last.For+1500*ms)))
		}
		s.Faults = append(s.Faults, f)
	}
	if r.IntN(4) == 0 {
		s.Faults = append(s.Faults, headless(r, s.Setup)...)
	}
	if r.IntN(12) == 0 {
		s.Faults = append(s.Faults, blind(r, s.Setup)...)
	}
	if s.Setup.Strict && s.Setup.voters() == 2 && r.IntN(4) == 0 {
		s.Faults = sleeper(r, s.Setup) // others would hide it
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// sleeper: the owner dies and comes back, and the other, for which the last lease was
// just about to end, stands still meanwhile.
func sleeper(r *rand.Rand, s Setup) []Fault {
	at, owner, t := Time(2000+r.IntN(2000))*ms, s.Groups[0].Rotate%s.Directors, s.Timings()
	soon := t.Fence + t.Tick + t.Lease + t.LeaseMargin - t.Heartbeat/2 - Time(r.Int64N(int64(t.Dead-t.Fence)))
	return []Fault{
		{At: at, For: 2500 * ms, Kind: Power, Node: owner, Other: Second},
		{At: at + soon, For: Time(4700+r.IntN(500))*ms - soon, Kind: Freeze, Node: (owner + 1) % s.Directors, Other: Second},
	}
}

// blind: no heartbeats between two directors, and a wire that carries no question.
func blind(r *rand.Rand, s Setup) []Fault {
	at := Time(2000+r.IntN(3000)) * ms
	return []Fault{
		{At: at, For: 2500 * ms, Kind: NoBroadcast, Node: Owner, Other: Second},
		{At: at + 600*ms, For: 1500 * ms, Kind: Heartbeats, Node: Owner, Other: r.IntN(s.Directors), Arg: 1},
	}
}

// headless: the owner dies where the others do not all hear each other.
func headless(r *rand.Rand, s Setup) []Fault {
	at := Time(2000+r.IntN(3000)) * ms
	cut := Fault{At: at, For: duration(r) + 500*ms, Kind: []Kind{Heartbeats, OneWay, Partition}[r.IntN(3)], Arg: 1}
	cut.Node, cut.Other = r.IntN(s.Directors), r.IntN(s.Directors)
	dies := Fault{At: at + Time(r.IntN(400))*ms, For: duration(r) + 1000*ms, Kind: []Kind{Power, Kill, Freeze}[r.IntN(3)], Node: Owner, Other: Second}
	return []Fault{cut, dies}
}

func newFault(r *rand.Rand, s Setup, from []chance) Fault {
	total := 0
	for _, c := range from {
		total += c.weight
	}
	var kind Kind
	for at, i := r.IntN(total), 0; at >= 0; i++ {
		kind = from[i].kind
		at -= from[i].weight
	}
	f := Fault{Kind: kind, For: duration(r), Node: Owner, Other: Second}
	switch r.IntN(4) {
	case 0:
		f.Node = Another
	case 1:
		f.Node = r.IntN(s.voters())
	}
	if r.IntN(3) == 0 {
		f.Other = r.IntN(s.voters())
	}
	f.detail(r, s)
	return f
}

// duration of a fault: most are about as long as the machine's timers.
func duration(r *rand.Rand) Time {
	switch r.IntN(4) {
	case 0:
		return Time(1+r.IntN(300)) * ms
	case 1:
		return Time(100+r.IntN(1000)) * ms
	}
	return Time(500+r.IntN(3500)) * ms
}

// detail draws what only some kinds have.
func (f *Fault) detail(r *rand.Rand, s Setup) {
	switch f.Kind { //nolint:exhaustive // the other faults do not matter here
	case Kill, Power, Sworn:
		if r.IntN(5) == 0 {
			f.Arg |= loseState
		}
		if !s.Single && r.IntN(6) == 0 {
			f.Arg |= wallClockOff
		}
		f.Arg += crashBetween * r.IntN(4)
		if f.Kind != Kill {
			f.For += 1000 * ms
		}
	case Quit:
		f.For = Time(20+r.IntN(500)) * ms
	case Shutdown:
		f.For += 500 * ms
	case Freeze:
		f.Arg = r.IntN(2)
	case SwitchFrozen:
		f.Arg, f.Node, f.Other = r.IntN(4), Owner, Second
	case Stall:
		f.Arg = 10 + r.IntN(85)
	case Pull:
		f.Arg = []int{0, 0, 2, 150, 700}[r.IntN(5)]
	case Split:
		f.Arg = r.IntN(1 << s.voters())
	case Heartbeats:
		f.Arg = r.IntN(2)
	case Loss:
		if f.Arg = 50 + r.IntN(600); s.Single {
			f.Arg /= 2 // more than a third of all packets is no single fault
		}
	case Slow:
		f.Arg = 5 + r.IntN(200)
	case DiskSlow:
		f.Arg = 20 + r.IntN(400)
	case SlowStart, SlowStop:
		f.Arg = 200 + r.IntN(1500)
	case GatewayDown, Remove, Stranger, Switchover, FailbackNow:
		f.Arg = r.IntN(4)
	}
	switch f.Kind { //nolint:exhaustive // the other faults do not matter here
	case Remove, Switchover, FailbackNow:
		f.For = 0
	}
}
