package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// Time is virtual: since the start of the schedule.
type Time = time.Duration

const ms = time.Millisecond

// A Setup is a cluster and its network, before anything goes wrong.
type Setup struct {
	// Single: one fault at a time, each with enough calm after it. Otherwise
	// faults come on top of faults, and the network is noisy while they last.
	Single               bool
	Directors, Witnesses int
	// Gateways are in the service network. Relay: the first one forwards back
	// out what directors send each other by it. Back: a second network.
	Gateways    int
	Relay, Back bool

	AllGateways  bool
	ReleaseAll   bool
	HoldStill    bool
	Strict       bool
	Stonith      director.Stonith
	Groups       []GroupSetup
	LatestExpiry Time // how late the kernels may remove an address whose lease ended
	Half         bool // all timers halved
	Tick         Time
	// Drift of the clocks is at most this, in parts per million.
	Drift int
	// Loss, Doubled and Late (5-40 ms) datagrams, per mille.
	Loss, Doubled, Late int
	// LateBoot is when the last director boots; the others are up at the start.
	LateBoot Time
	// Differs: the last director has another configuration file.
	Differs bool
	// Stranded: what an earlier power cut left is not the same everywhere.
	Stranded bool
	// Two devices carry addresses, each in a network of its own. The first has the
	// service network's heartbeats and gateways. BackOnSecond: what goes over the
	// second network goes over the second device. GatewaySecond: the second of two
	// gateways is there.
	Two           bool `json:",omitempty"`
	BackOnSecond  bool `json:",omitempty"`
	GatewaySecond bool `json:",omitempty"`
}

// A GroupSetup is one group.
type GroupSetup struct {
	// Rotate the order of preference by so many; 0: by priority.
	Rotate        int
	Failback      bool
	FailbackAfter Time
	Together      bool // with the first group
	Apart         bool // from the first group
	Before, After bool
	// Bare: without an address; who says that it is active has it.
	Bare bool
	// Second: its addresses are on the second device.
	Second bool `json:",omitempty"`
	// Addresses is how many it has; 0: one.
	Addresses int `json:",omitempty"`
	// Begin and End are how long its parts need to start and to stop.
	Begin, End Time
}

// NewSetup draws a cluster.
func NewSetup(r *rand.Rand) Setup {
	s := Setup{
		Single: r.IntN(2) == 0, Directors: 2, Gateways: 1, Relay: r.IntN(3) > 0, Back: r.IntN(3) == 0,
		ReleaseAll: r.IntN(6) == 0, HoldStill: r.IntN(8) == 0, Strict: r.IntN(4) == 0,
		LatestExpiry: 800 * ms, Half: r.IntN(6) == 0, Tick: []Time{5, 10, 10}[r.IntN(3)] * ms, Drift: r.IntN(1001), Doubled: r.IntN(3) * 10, Late: r.IntN(3) * 10,
		Stranded: r.IntN(4) == 0, Differs: r.IntN(20) == 0,
	}
	if r.IntN(2) == 0 {
		s.Directors = 2 + r.IntN(3)
		s.Witnesses = r.IntN(3)
		if s.Directors+s.Witnesses > 5 {
			s.Witnesses = 0
		}
		if r.IntN(12) == 0 {
			s.Directors, s.Witnesses = 5, 0
		}
	}
	if r.IntN(4) == 0 {
		s.Gateways = 2
		s.AllGateways = r.IntN(2) == 0
	}
	if s.voters() >= 3 && r.IntN(12) == 0 {
		s.Gateways, s.Relay = 0, false
	}
	switch r.IntN(10) {
	case 0:
		s.Stonith = director.StonithRequire
	case 1, 2:
		s.Stonith = director.StonithAsk
	}
	if !s.Single {
		s.Loss = r.IntN(4) * 10
	}
	if s.Strict {
		s.LatestExpiry = 500 * ms
	}
	if r.IntN(3) == 0 {
		s.LateBoot = Time(r.IntN(3000)) * ms
	}
	n := 1
	if r.IntN(4) == 0 {
		n = 2 + r.IntN(2)
	}
	for i := range n {
		s.Groups = append(s.Groups, newGroup(r, s, i))
	}
	return s
}

func newGroup(r *rand.Rand, s Setup, i int) GroupSetup {
	g := GroupSetup{
		Rotate: r.IntN(s.Directors), Before: r.IntN(2) == 0, After: r.IntN(2) == 0,
		Begin: Time(r.IntN(20)) * ms, End: Time(r.IntN(20)) * ms,
	}
	if r.IntN(3) == 0 {
		g.Failback = true
		if r.IntN(2) == 0 {
			g.FailbackAfter = Time(200+r.IntN(1500)) * ms
		}
	}
	if i > 0 {
		g.Bare = r.IntN(5) == 0
		g.Before = g.Before || g.Bare
		switch r.IntN(4) {
		case 0:
			g.Together = true
		case 1:
			g.Apart = true
		}
	}
	return g
}

func (s Setup) voters() int { return s.Directors + s.Witnesses }

func (s Setup) nodeName(i int) string {
	if i < s.Directors {
		return fmt.Sprintf("n%d", i+1)
	}
	return fmt.Sprintf("w%d", i-s.Directors+1)
}

func groupName(i int) string { return fmt.Sprintf("g%d", i+1) }

// Config is what the node's own configuration says.
func (s Setup) Config(node int) director.Config {
	c := director.Config{
		Self: s.nodeName(node), Digest: "same", Timings: s.Timings(), Stonith: s.Stonith,
	}
	for i := range s.voters() {
		c.Nodes = append(c.Nodes, director.Node{Name: s.nodeName(i), Priority: 100 - i, Witness: i >= s.Directors})
	}
	for i := range s.Gateways {
		c.Gateways = append(c.Gateways, gatewayName(i))
	}
	if s.Differs && node == s.Directors-1 {
		c.Digest = "other"
	}
	if s.AllGateways {
		c.GatewaysNeeded = director.AllGateways
	}
	if s.ReleaseAll {
		c.AllLost = director.ReleaseAll
	}
	if s.HoldStill {
		c.OnPeerSilent = director.HoldStill
	}
	if s.Strict {
		c.Takeover = director.Strict
	}
	for i := range s.Groups {
		c.Groups = append(c.Groups, s.group(i))
	}
	return c
}

func gatewayName(i int) string { return fmt.Sprintf("gw%d", i+1) }

func (s Setup) group(i int) director.Group {
	g := s.Groups[i]
	d := director.Group{
		Name: groupName(i), Failback: director.Failback{On: g.Failback, After: g.FailbackAfter},
		Before: g.Before, After: g.After, Bare: g.Bare,
		// More than one are asked for in parts; so few that they take no time.
		Addresses: 20 / len(s.Groups),
	}
	if g.Addresses > 1 {
		d.Addresses = g.Addresses // and each is asked for in its own part
	}
	if g.Rotate > 0 {
		for k := range s.Directors {
			d.Order = append(d.Order, s.nodeName((k+g.Rotate)%s.Directors))
		}
	}
	if g.Together {
		d.Together = groupName(0)
	}
	if g.Apart {
		d.Apart = []string{groupName(0)}
	}
	return d
}

// Timings are the default ones; what only costs patience is shortened.
func (s Setup) Timings() director.Timings {
	t := director.DefaultTimings()
	t.Tick = s.Tick
	t.InitDead = time.Second
	t.Request, t.Patience = 3*time.Second, 400*ms
	t.AnnounceEvery = time.Minute // so that it does not hide a missing announcement
	t.StopRetry, t.StonithRetry = 300*ms, 600*ms
	t.BackOff, t.BackOffMax = 300*ms, 1200*ms
	if s.Strict {
		t.LeaseMargin = 500 * ms
	}
	if s.Half {
		halve(&t)
	}
	return t
}

// halve what failover.md halved: detection and fence, not the kernel's lease,
// which cannot be shorter than a second.
func halve(t *director.Timings) {
	for _, d := range []*time.Duration{
		&t.Tick, &t.Heartbeat, &t.Warn, &t.Suspect, &t.Dead, &t.AckStale, &t.Fence, &t.Margin,
		&t.FastPing, &t.PingWindow, &t.ProbePause, &t.ProbeAge, &t.Gap, &t.Flush,
	} {
		*d /= 2
	}
}

// settle is how long anything may take to come to rest after the last fault: who
// starts waits initdead, who died must be noticed, its lease may end late, better
// candidates and failed starts have their patience.
func (s Setup) settle() Time {
	t := s.Timings()
	d := t.InitDead + s.bound() + t.BackOffMax + t.StopRetry
	for _, g := range s.Groups {
		if g.Failback {
			d += g.FailbackAfter + t.Patience
		}
	}
	return d
}

// bound is how long a group may go unserved while a connected director is
// entitled to it and nothing else happens.
func (s Setup) bound() Time {
	t := s.Timings()
	d := t.Dead + t.Lease + s.LatestExpiry + Time(t.Probes+1)*t.ProbePause + t.ProbeAge + t.SaveWait + 2*t.Patience + 4*t.Heartbeat
	if s.Strict {
		d += t.Lease + t.LeaseMargin
	}
	if s.Stonith != director.NoStonith {
		d += stonithTakes + t.StonithRetry
	}
	for _, g := range s.Groups {
		d += g.Begin + g.End
	}
	return d + 100*ms
}
