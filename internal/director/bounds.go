package director

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Bound is the longest time that a group is not served after one fault. What
// its resources take to stop and start comes on top.
type Bound struct {
	Failure Failure
	Limit   time.Duration
	// Open: nothing bounds it, for the reason given in Formula.
	Open bool
	// Formula is how Limit comes about, for people.
	Formula string
}

// Failure is a kind of fault.
type Failure int

// The faults.
const (
	// DaemonKilled: the kernel goes on serving until its lease ends.
	DaemonKilled Failure = iota
	// HostDead, or its cable pulled.
	HostDead
	// Frozen: the process stands still, the kernel does not.
	Frozen
	// CutOff without a loss of carrier, or deaf, or mute.
	CutOff
	// OneWay: the peer does not hear the owner, and nobody else passes it on.
	OneWay
	// ServiceCut: cut off, deaf or mute on the network of the address, while another
	// link carries the heartbeats.
	ServiceCut
	// GatewayPath: only the owner's way to the gateway is lost.
	GatewayPath
	// Planned: switchover, failback, maintenance, SIGTERM.
	Planned
)

var faultNames = []string{"daemon killed", "host dead", "frozen", "cut off", "one-way loss", "cut off on one of several links", "gateway path lost", "planned"}

func (f Failure) String() string { return faultNames[f] }

// Bounds computes the worst case of each fault, and refuses, in words, a
// configuration that breaks an assumption of the machine.
func Bounds(c Config) ([]Bound, error) {
	if err := errors.Join(slices.Concat(c.wrongNames(), c.Timings.wrong(), c.tooMany())...); err != nil {
		return nil, err
	}
	dead, kernel := deadBound(c), kernelBound(c)
	cut, oneWay := dead, dead
	cut.Failure, oneWay.Failure = CutOff, OneWay
	killed, frozen := kernel, kernel
	killed.Failure, frozen.Failure = DaemonKilled, Frozen
	return c.withAddresses([]Bound{killed, dead, frozen, cut, oneWay, serviceBound(c), gatewayBound(c), plannedBound(c)}), nil
}

const (
	// perAddress is what each address adds to the time in which a kernel takes on those
	// of all groups, or lets go of them. Of 900 (netif's BenchmarkHoldAll) it took 15 µs
	// each; the rest is for a machine that is busy.
	perAddress = 50 * time.Microsecond
	// perPair is what each two IPv6 addresses add besides when they are taken on: for
	// each, Linux goes through the lifetimes of all (addrconf_verify_rtnl), and 300 took
	// 47 ms. To let go of so many takes no longer than perAddress says.
	perPair = time.Microsecond
	// fewAddresses take no time worth mentioning.
	fewAddresses = 20
)

// addresses is how many all groups have, and how many of these are IPv6.
func (c Config) addresses() (total, six int) {
	for _, g := range c.Groups {
		if !g.Bare {
			total, six = total+max(1, g.Addresses), six+g.IPv6
		}
	}
	return total, six
}

// addressTimes are how long the addresses of all groups take to be added, and removed.
func (c Config) addressTimes() (add, remove time.Duration) {
	total, six := c.addresses()
	if total <= fewAddresses {
		return 0, 0
	}
	remove = time.Duration(total-fewAddresses) * perAddress
	return remove + time.Duration(six*six)*perPair, remove
}

// withAddresses adds what many addresses take: they are added after each fault, and in a
// planned move removed before that.
func (c Config) withAddresses(all []Bound) []Bound {
	total, _ := c.addresses()
	add, remove := c.addressTimes()
	if add == 0 {
		return all
	}
	for i := range all {
		b := &all[i]
		if b.Open {
			continue
		}
		switch b.Failure {
		case Planned, GatewayPath, ServiceCut:
			b.Limit += add + remove
			b.Formula += fmt.Sprintf(" + %s to remove %d addresses + %s to add them", remove, total, add)
		case DaemonKilled, HostDead, Frozen, CutOff, OneWay:
			b.Limit += add
			b.Formula += fmt.Sprintf(" + %s to add %d addresses", add, total)
		}
	}
	return all
}

// tooMany tells that there are more addresses than an owner that is cut off can let go of
// before its peer takes over, or than can be taken before that is given up as too late.
func (c Config) tooMany() []error {
	t := c.Timings
	total, six := c.addresses()
	add, remove := c.addressTimes()
	var wrong []error
	if remove > 0 && len(c.Nodes) > 1 && t.Fence+2*t.Tick+remove > t.Dead {
		fit := fewAddresses + max(0, t.Dead-t.Fence-2*t.Tick)/perAddress
		wrong = append(wrong, fmt.Errorf("%d addresses: who is cut off needs %s to remove them all, and has to be done before deadtime %s: that leaves time for %d; make deadtime (or heartbeat) longer", total, remove, t.Dead, fit))
	}
	if six > 0 && add > t.Gap {
		left := max(0, t.Gap-remove)
		wrong = append(wrong, fmt.Errorf("%d IPv6 addresses (of %d): the kernel needs %s to add them all, since each takes the longer the more there are, and after %s that is given up: there is time for %d", six, total, add, t.Gap, int(math.Sqrt(float64(left/perPair)))))
	}
	return wrong
}

// open is why silence is not enough to take over, if it is not.
func (c Config) open() string {
	switch {
	case c.Stonith == StonithRequire:
		return "when stonith has succeeded"
	case c.OnPeerSilent == HoldStill && c.Voters() == 2:
		return `when the peer is back, or an operator confirms that it is off: on_peer_silent is "hold"`
	}
	return ""
}

// silentWire is how long it takes to find the wire silent: the probes, the age of
// the last, and the ticks at which they are sent and counted.
func (t Timings) silentWire() time.Duration {
	return time.Duration(t.Probes-1)*(t.ProbePause+t.Tick) + t.ProbeAge + t.Tick
}

// deadBound: silence for the dead time, counted at a tick; the probes run since
// the suspicion, and who may hear this node is told what they found a margin before;
// then the address is configured. Strict waits for the lease.
func deadBound(c Config) Bound {
	t := c.Timings
	if why := c.open(); why != "" {
		return Bound{Failure: HostDead, Open: true, Formula: why}
	}
	if c.Takeover == Strict {
		return Bound{
			Failure: HostDead, Limit: t.Fence + t.Tick + t.Lease + t.LeaseMargin + 2*t.Tick,
			Formula: "strict: fence + tick + lease + lease margin + 2 ticks",
		}
	}
	probed := t.Suspect + t.Tick + t.silentWire() + t.Margin
	if probed > t.Dead {
		return Bound{Failure: HostDead, Limit: probed + 2*t.Tick, Formula: "suspect + the probes of the wire + margin + 3 ticks"}
	}
	return Bound{Failure: HostDead, Limit: t.Dead + 2*t.Tick, Formula: "dead time + 2 ticks; the wire is asked meanwhile"}
}

// earlyEnd is how much too early a kernel may end a lease: Linux rounds with a fuzz
// of HZ/50 (ADDRCONF_TIMER_FUZZ_MINUS) and a tick; 0.97 of 1 s was measured.
const earlyEnd = 30 * time.Millisecond

// kernelBound: the kernel of a daemon that is dead or frozen serves until its
// lease ends; what clients miss is the time until the others have noticed.
func kernelBound(c Config) Bound {
	t := c.Timings
	if why := c.open(); why != "" {
		return Bound{Failure: DaemonKilled, Open: true, Formula: why}
	}
	b := Bound{Failure: DaemonKilled, Limit: t.ProbePause + t.silentWire() + 2*t.Tick, Formula: "one probe pause + the probes of the wire + 2 ticks, after the lease ended"}
	// A lease that ends before the owner is dead to the others.
	early := deadBound(c).Limit - (t.Lease - earlyEnd - t.Renew)
	if early > b.Limit {
		b.Limit, b.Formula = early, "the bound of a dead host, less what is left of the lease"
	}
	return b
}

// gatewayBound: a lazy ping is missed, fast ones are missed, the others look for
// themselves and say so, a window of own pings tells that it is not just back,
// and the group is handed over.
func gatewayBound(c Config) Bound {
	t := c.Timings
	if len(c.Gateways) == 0 {
		return Bound{Failure: GatewayPath, Open: true, Formula: "no gateway is configured: nobody notices"}
	}
	return Bound{
		Failure: GatewayPath, Limit: t.LazyPing + 3*t.PingWindow + t.FastPing + 4*t.Tick + plannedBound(c).Limit,
		Formula: "lazy ping + 3 ping windows + fast ping + 4 ticks + a planned move",
	}
}

// serviceBound: like a lost way to the gateway, but that the silence of one link,
// here or, as the others say, there, makes pings fast at once.
func serviceBound(c Config) Bound {
	t, b := c.Timings, gatewayBound(c)
	b.Failure = ServiceCut
	if !b.Open {
		b.Limit = min(b.Limit, b.Limit-t.LazyPing+t.AckStale+t.Heartbeat)
		b.Formula = "ack_stale + heartbeat + 3 ping windows + fast ping + 4 ticks + a planned move; no slower than a lost way to the gateway"
	}
	return b
}

// plannedBound: the message that says so may be lost once.
func plannedBound(c Config) Bound {
	t := c.Timings
	return Bound{Failure: Planned, Limit: t.Heartbeat + 2*t.Tick, Formula: "one heartbeat, if the first word is lost, + 2 ticks"}
}

// wrongNames finds what does not fit together in nodes and groups.
func (c Config) wrongNames() []error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.Without != 0 {
		bad("guards are taken out: %s; only the simulator may do that", c.Without)
	}
	if c.node(c.Self) < 0 {
		bad("this node, %q, is not one of the cluster's", c.Self)
	}
	for i, n := range c.Nodes {
		if c.node(n.Name) != i {
			bad("node %q is there twice", n.Name)
		}
	}
	for i, g := range c.Groups {
		if c.group(g.Name) != i {
			bad("group %q is there twice", g.Name)
		}
		wrong = append(wrong, c.wrongGroup(g)...)
	}
	return wrong
}

func (c Config) wrongGroup(g Group) []error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("group %q: %w", g.Name, fmt.Errorf(format, args...)))
	}
	for i, name := range g.Order {
		switch node := c.node(name); {
		case node < 0:
			bad("its order names %q, which is no node", name)
		case c.Nodes[node].Witness:
			bad("its order names %q, which is a witness and holds nothing", name)
		case slices.Index(g.Order, name) != i:
			bad("its order names %q twice", name)
		}
	}
	if len(c.Holders(g)) == 0 {
		bad("no node may hold it")
	}
	if g.Failback.After < 0 {
		bad("its failback waits for a negative time")
	}
	for leader, steps := g.Together, 0; leader != ""; steps++ {
		at := c.group(leader)
		if at < 0 {
			bad("together names %q, which is no group", leader)
			break
		}
		if steps > len(c.Groups) {
			bad("together goes in a circle through %q: one of the groups has to lead", leader)
			break
		}
		leader = c.Groups[at].Together
	}
	for _, apart := range g.Apart {
		if c.group(apart) < 0 || apart == g.Name {
			bad("apart names %q, which is no other group", apart)
		}
		if apart == g.Together {
			bad("it cannot be both together with and apart from %q", apart)
		}
	}
	return wrong
}

// wrong finds settings that break an assumption.
func (t Timings) wrong() []error {
	rules := []struct {
		ok  bool
		why string
	}{
		{t.Tick > 0 && t.Heartbeat > 0 && t.Renew > 0 && t.ProbePause > 0 && t.FastPing > 0 && t.Lease > 0 && t.PingWindow > 0, "tick, heartbeat, renew, ping and probe pauses, ping window and lease have to be longer than nothing"},
		{t.Probes >= 1, "at least one probe of the wire has to be unanswered"},
		{2*t.Tick <= t.Heartbeat, fmt.Sprintf("tick %s: two of them have to fit into a heartbeat (%s)", t.Tick, t.Heartbeat)},
		{t.Suspect >= 3*t.Heartbeat/2, fmt.Sprintf("suspect %s: a heartbeat comes each %s, and one that is a little late is no suspicion", t.Suspect, t.Heartbeat)},
		{t.Dead >= 3*t.Heartbeat, fmt.Sprintf("deadtime %s is shorter than three heartbeats (%s): a lost packet would be a death", t.Dead, t.Heartbeat)},
		{t.Suspect < t.Dead, fmt.Sprintf("suspect %s has to come before deadtime %s", t.Suspect, t.Dead)},
		{t.AckStale > t.Heartbeat, fmt.Sprintf("ack_stale %s: acknowledgements come each %s", t.AckStale, t.Heartbeat)},
		{t.AckStale+t.PingWindow <= t.Fence, fmt.Sprintf("fence %s: pings are fast from %s on, and have to be missed for %s until then", t.Fence, t.AckStale, t.PingWindow)},
		{t.Fence+t.Margin+2*t.Tick <= t.Dead, fmt.Sprintf("fence %s + margin %s + 2 ticks has to come before deadtime %s: who is cut off must let go before its peer takes over", t.Fence, t.Margin, t.Dead)},
		{2*(t.FastPing+t.Tick) < t.PingWindow, fmt.Sprintf("ping window %s: two pings, one each %s and up to a tick (%s) late, have to fit into it", t.PingWindow, t.FastPing, t.Tick)},
		{t.ProbeAge <= t.ProbePause, fmt.Sprintf("probe age %s is longer than the pause between probes, %s", t.ProbeAge, t.ProbePause)},
		{t.Probes <= len(group{}.probes)-2, fmt.Sprintf("%d probes: no more than %d are remembered", t.Probes, len(group{}.probes)-2)},
		{t.Lease >= 3*t.Renew, fmt.Sprintf("lease %s is shorter than three renewals (%s): one that fails would lose the address", t.Lease, t.Renew)},
		{t.Lease <= 10*time.Second, fmt.Sprintf("lease %s: a killed daemon's address is held for so long; 10s is the most", t.Lease)},
		{t.GapLimit < t.Lease-earlyEnd-t.Tick, fmt.Sprintf("gap limit %s has to be shorter than the lease (%s): nothing is renewed that may be gone", t.GapLimit, t.Lease)},
		{t.GapLimit >= 2*t.Renew, fmt.Sprintf("gap limit %s: a renewal that fails once, after %s, has to be repeated before", t.GapLimit, t.Renew)},
		{t.Gap >= 2*t.Tick && t.Gap <= t.Dead-t.Fence+t.Heartbeat, fmt.Sprintf("gap %s: more than two ticks, and no longer than deadtime - fence + heartbeat", t.Gap)},
		{t.LeaseMargin >= 0 && t.Margin >= 0 && t.Flush >= 0 && t.Patience >= t.Dead, fmt.Sprintf("patience %s is shorter than deadtime %s, or a margin is negative", t.Patience, t.Dead)},
		{t.StopTries >= 1 && t.StopRetry > 0 && t.BackOff > 0 && t.BackOffMax >= t.BackOff && t.StonithRetry > 0, "pauses between tries have to be longer than nothing, and there has to be one"},
		{len(t.Announce) > 0 && t.AnnounceEvery > 0 && slices.IsSorted(t.Announce), "the schedule of announcements has to go forward"},
	}
	var wrong []error
	for _, r := range rules {
		if !r.ok {
			wrong = append(wrong, errors.New(r.why))
		}
	}
	return wrong
}
