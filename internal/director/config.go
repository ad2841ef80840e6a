package director

import (
	"slices"
	"time"
)

// A Config is one cluster as one node sees it. Step indexes it on each call: it
// must not change under a State; a changed configuration is a new [Start], which
// adopts what this node holds.
type Config struct {
	// Self is this node's name, one of Nodes.
	Self   string
	Nodes  []Node
	Groups []Group

	// Gateways are what must answer for this node to count as connected. None:
	// the gateway fence is not there, and the wire's silence is believed as it is.
	Gateways []string
	// GatewaysNeeded says how many of Gateways have to answer.
	GatewaysNeeded Needed
	// AllLost is what the owner does when all directors see each other and none
	// reaches the gateway.
	AllLost AllLost
	// OnPeerSilent matters where only two vote: whether a director that fell
	// silent without farewell is ever taken over from, stonith and the operator apart.
	OnPeerSilent OnPeerSilent
	// Takeover is Fast, or Strict: wait for the silent peer's last possible
	// renewal + lease + margin, unless it released or was fenced.
	Takeover Takeover
	// Stonith says whether there is a device to ask, and whether its word is needed.
	Stonith Stonith
	// Digest is the configuration's fingerprint, equal on nodes that agree.
	Digest string

	Timings Timings

	// Without removes guards. It is for the simulator, which has to find out what
	// each of them is worth; [Bounds] refuses a configuration that has it.
	Without Guard
}

// A Node is a voter: a director, or a witness, which never holds anything.
type Node struct {
	Name string
	// Priority orders the directors of groups without an Order; more is better.
	Priority int
	Witness  bool
}

// A Group is what moves as a whole: an address, and resources before and after it.
type Group struct {
	Name string
	// Order are the directors that may hold the group, preferred first; empty:
	// all of them, by priority, then name.
	Order []string
	// Failback says whether the group returns to a better node that is back.
	Failback Failback
	// Together names a group whose holder holds this one as well. Together is
	// one-way: this group follows that one.
	Together string
	// Apart names groups whose holders should not hold this one, if there is
	// another candidate.
	Apart []string
	// Bare groups have no address: no wire to ask and no lease guards them.
	Bare bool
	// Addresses is how many virtual addresses the group has; each takes its time to be
	// added and removed. Default (0): one.
	Addresses int
	// IPv6 is how many of Addresses are IPv6: many of these take longer.
	IPv6 int
	// Before and After say whether there are resources before and after the
	// address; a part that is empty is neither started nor stopped.
	Before, After bool
}

// A Failback is off (the zero value: nice_failback), on, or on after the better
// node was able to hold the group for a while (preempt_delay).
type Failback struct {
	On    bool
	After time.Duration
}

// Needed is any or all of several gateways.
type Needed int

// AnyGateway is the default.
const (
	AnyGateway Needed = iota
	AllGateways
)

// AllLost is what becomes of groups when the gateway itself died.
type AllLost int

// HoldAll keeps them where they are; ReleaseAll gives them up.
const (
	HoldAll AllLost = iota
	ReleaseAll
)

// OnPeerSilent is what silence without witnesses means.
type OnPeerSilent int

// TakeOver trusts the wire, HoldStill leaves it to stonith and the operator.
const (
	TakeOver OnPeerSilent = iota
	HoldStill
)

// Takeover says how much is waited for.
type Takeover int

// Fast takes over when the wire is silent; Strict waits for the lease as well.
const (
	Fast Takeover = iota
	Strict
)

// Stonith is what there is to power off a node.
type Stonith int

// With StonithAsk it is asked when a dead node's address is still answered after
// its lease, or its stop failed; with StonithRequire no silent node is taken over
// from without its success.
const (
	NoStonith Stonith = iota
	StonithAsk
	StonithRequire
)

// A Guard is a rule that can be taken out, in the simulator only.
type Guard uint

// The guards, in the order of failover.md.
const (
	// LeaseCheck: no renewal too long after the last one, delete at once what was
	// re-created late.
	LeaseCheck Guard = 1 << iota
	// WireProbe: nothing is taken while the address is answered.
	WireProbe
	// WireProof: silence counts only when the wire demonstrably works.
	WireProof
	// GatewayFence: an owner that is cut off gives up before its peer may take.
	GatewayFence
	// Majority of the voters, where there are three or more.
	Majority
	// EpochRule: a claim is above all claims seen.
	EpochRule
	// GapCheck: after a gap of its own loop a node proves itself anew.
	GapCheck
	// ReleaseFirst: in a handover the taker takes when the owner has released.
	ReleaseFirst
	// ReAnnounce: the winner announces again after every doubt.
	ReAnnounce
	// Leave: who acquires asks every living director and waits for the answers.
	Leave
	// Yield: an owner lets go for a peer that cannot hear it and is about to take.
	Yield
	// OwnCarrier: a group depends on the carrier of its own interfaces, whatever the
	// node's others have.
	OwnCarrier
)

var guardNames = []string{
	"lease check", "wire probe", "wire works", "gateway fence", "majority", "epoch rule", "gap check",
	"release before take", "re-announce", "leave of the living", "yield to the deaf", "own carrier",
}

// Guards lists all of them.
func Guards() []Guard {
	all := make([]Guard, len(guardNames))
	for i := range all {
		all[i] = 1 << i
	}
	return all
}

func (g Guard) String() string {
	text := ""
	for i, name := range guardNames {
		if g&(1<<i) != 0 {
			if text != "" {
				text += ", "
			}
			text += name
		}
	}
	return text
}

// Timings are all durations of the machine. [DefaultTimings] has worked in
// practice; [Bounds] refuses combinations that break an assumption.
type Timings struct {
	// Tick is the longest pause between two Ticks.
	Tick time.Duration
	// Heartbeat is the pause between two heartbeats to everybody.
	Heartbeat time.Duration
	// Warn is how late a heartbeat must be for people to be told (warntime).
	Warn time.Duration
	// Suspect is the silence that starts fast pings and probes.
	Suspect time.Duration
	// Dead is the silence after which a peer is dead (deadtime).
	Dead time.Duration
	// InitDead is how long a node that starts waits for peers it never heard.
	InitDead time.Duration

	// AckStale is the age of the newest acknowledged heartbeat that starts fast pings.
	AckStale time.Duration
	// Fence is the age, from its sending, of the newest acknowledged heartbeat
	// at which an owner gives up if the gateway does not answer either.
	Fence time.Duration
	// Margin is what must lie between Fence and Dead.
	Margin time.Duration
	// FastPing and LazyPing are the two paces of pings to the gateways.
	FastPing, LazyPing time.Duration
	// PingWindow is how far back an answered ping counts, at the fast pace.
	PingWindow time.Duration

	// ProbePause lies between two probes of an address; Probes unanswered ones in
	// a row, each at least ProbeAge old, are silence.
	ProbePause, ProbeAge time.Duration
	Probes               int

	// Lease is the lifetime of an address in the kernel, LeaseMargin how much
	// later than that the kernel may remove it.
	Lease, LeaseMargin time.Duration
	// Renew is the pause between two renewals.
	Renew time.Duration
	// GapLimit is the longest pause after which a lease may still be renewed.
	GapLimit time.Duration
	// Gap is the longest pause between two steps that is no gap.
	Gap time.Duration
	// Flush is how long after a gap messages must prove to be fresh.
	Flush time.Duration

	// Announce are the times after taking at which the address is announced, and
	// AnnounceEvery the pause between announcements after these.
	Announce      []time.Duration
	AnnounceEvery time.Duration

	// Patience is how long a better candidate, or the one a group was released
	// for, may take before the next in order goes on without it.
	Patience time.Duration
	// Request is how long a wish for a move is repeated before it is given up.
	Request time.Duration
	// SaveWait is how long an epoch's way to the disk may hold up a takeover.
	SaveWait time.Duration
	// StopRetry is the pause before a failed stop is tried again (later up to eight
	// times as long), StopTries how many failures make it a case for people and stonith.
	StopRetry time.Duration
	StopTries int
	// BackOff is the pause after the first failed start; it doubles with each
	// one, up to BackOffMax. A group held for BackOffMax has its failures forgiven.
	BackOff, BackOffMax time.Duration
	// StonithRetry is the pause between two requests to power off the same node.
	StonithRetry time.Duration
}

// DefaultTimings are the measured ones: a pulled cable costs about 225 ms.
func DefaultTimings() Timings {
	ms := func(n ...int) []time.Duration {
		list := make([]time.Duration, len(n))
		for i := range n {
			list[i] = time.Duration(n[i]) * time.Millisecond
		}
		return list
	}
	return Timings{
		Tick: 5 * time.Millisecond, Heartbeat: 50 * time.Millisecond, Warn: 120 * time.Millisecond,
		Suspect: 90 * time.Millisecond, Dead: 225 * time.Millisecond, InitDead: 10 * time.Second,
		AckStale: 80 * time.Millisecond, Fence: 175 * time.Millisecond, Margin: 30 * time.Millisecond,
		FastPing: 30 * time.Millisecond, LazyPing: time.Second, PingWindow: 95 * time.Millisecond,
		ProbePause: 30 * time.Millisecond, ProbeAge: 25 * time.Millisecond, Probes: 3,
		Lease: time.Second, LeaseMargin: 300 * time.Millisecond, Renew: 250 * time.Millisecond,
		GapLimit: 700 * time.Millisecond, Gap: 100 * time.Millisecond, Flush: 100 * time.Millisecond,
		Announce: ms(0, 10, 30, 70, 150, 300, 600, 1100, 1500, 2100), AnnounceEvery: 10 * time.Second,
		Patience: time.Second, Request: 5 * time.Second, SaveWait: 100 * time.Millisecond,
		StopRetry: time.Second, StopTries: 3,
		BackOff: 10 * time.Second, BackOffMax: 10 * time.Minute, StonithRetry: 5 * time.Second,
	}
}

// TimingsFor are the default timings for another pace of heartbeats: what finds
// out that a peer is dead goes with it, down to 10 ms and up to whatever is wanted;
// pings and probes get faster, but never slower than by default.
func TimingsFor(heartbeat time.Duration) Timings {
	t := DefaultTimings()
	usual := t.Heartbeat
	scale := func(d *time.Duration) { *d = time.Duration(int64(*d) * int64(heartbeat) / int64(usual)) }
	for _, d := range []*time.Duration{&t.Warn, &t.Suspect, &t.Dead, &t.AckStale, &t.Fence, &t.Margin} {
		scale(d)
	}
	if heartbeat < usual {
		for _, d := range []*time.Duration{&t.Tick, &t.FastPing, &t.PingWindow, &t.ProbePause, &t.ProbeAge, &t.Gap, &t.Flush} {
			scale(d)
		}
	}
	t.Heartbeat = heartbeat
	t.Patience = max(t.Patience, 4*t.Dead)
	t.InitDead = max(t.InitDead, 10*t.Dead)
	return t
}

// Voters is how many nodes the cluster has.
func (c Config) Voters() int { return len(c.Nodes) }

// NeedsMajority tells whether a majority of the voters is asked for.
func (c Config) NeedsMajority() bool { return len(c.Nodes) >= 3 && !c.without(Majority) }

// Holders are the directors that may hold a group, best first: the same list on
// every node with the same configuration.
func (c Config) Holders(g Group) []string {
	if len(g.Order) > 0 {
		return g.Order
	}
	var nodes []Node
	for _, n := range c.Nodes {
		if !n.Witness {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b Node) int {
		if a.Priority != b.Priority {
			return b.Priority - a.Priority
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}

func (c Config) without(g Guard) bool { return c.Without&g != 0 }

func (c Config) node(name string) int {
	return slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == name })
}

func (c Config) group(name string) int {
	return slices.IndexFunc(c.Groups, func(g Group) bool { return g.Name == name })
}
