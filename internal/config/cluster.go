package config

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/netip"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/plugin"
)

// A Cluster is what the directors need, as one of them sees it.
type Cluster struct {
	// Director is what the election decides by; its Self is this node. Director.Groups
	// and Groups have the same order.
	Director director.Config
	// Stranger: this machine is none of the nodes, and the site was built as the
	// first director would have it; for checking (see [Host]).
	Stranger bool

	// Fixed sums up what a reload cannot change: all of Director.Digest but the virtual
	// services.
	Fixed string

	// Links are the nodes' addresses with ports, for heartbeat.Settings; none if
	// there is no [cluster].
	Links     []heartbeat.Node
	LinkNames []string
	// KeyFiles are absolute paths; the first is used, all are accepted.
	KeyFiles []string
	// Relay: heartbeats also travel through the gateway.
	Relay bool

	Gateways []netip.Addr
	// Stonith is nil if no node can be powered off.
	Stonith *Stonith
	// Watchdog is the path of the device, "" for none.
	Watchdog string
	// Interfaces must be up for this node to hold anything, besides the devices of all
	// addresses.
	Interfaces []string
	// Require lists watches that must be good.
	Require []Require

	Groups []Group
}

// Alone reports whether there is no other node, so that nothing takes over.
func (c *Cluster) Alone() bool { return len(c.Director.Nodes) == 1 }

// clusterTable is [cluster].
type clusterTable struct {
	Node      raw             `toml:"node" doc:"The machines: [{ name = \"dr1\", address = [\"10.0.0.11\"], priority = 200 }, ...]."`
	Link      []string        `toml:"link" doc:"Names of the links, for people, in the order of the nodes' addresses; default \"link 1\" and so on."`
	Port      uint16          `toml:"port" doc:"Port of the heartbeats, UDP and TCP, the same on all nodes; default 6940."`
	KeyFile   []string        `toml:"key_file" doc:"File with the secret that all nodes share, made by monitord keygen, mode 600; of several the first is used and all are accepted; default \"/etc/monitord/cluster.key\"."`
	Relay     bool            `toml:"relay" doc:"Whether heartbeats also travel through the gateway, which is one more path without a cable; the same on all nodes; default true if there is a gateway on the directors' network."`
	Heartbeat plugin.Duration `toml:"heartbeat" doc:"Pause between two heartbeats; the other times follow it; default 50ms."`
	DeadTime  plugin.Duration `toml:"deadtime" doc:"Silence after which a director is dead to the others; default 225ms, with another heartbeat in proportion."`
	WarnTime  plugin.Duration `toml:"warntime" doc:"How late a heartbeat must be for people to be told; default 120ms, with another heartbeat in proportion."`
	InitDead  plugin.Duration `toml:"initdead" doc:"How long a director that starts waits for others that it never heard; default 10s."`
	Lease     plugin.Duration `toml:"lease" doc:"For how long the kernel holds an address that nobody renews, 1s to 10s in whole seconds; default 1s."`
	Takeover  string          `toml:"takeover" doc:"\"fast\" takes an address as soon as the wire is silent, \"strict\" also waits for the lease that a silent owner could still hold; default \"fast\"."`
}

const (
	// defaultPort is heartbeat's 694 with a zero behind it: a witness needs no
	// privilege for it, and an old heartbeat on the same machine is not disturbed.
	defaultPort    = 6940
	defaultKeyFile = "/etc/monitord/cluster.key"
)

func defaultCluster() clusterTable {
	return clusterTable{Takeover: "fast", Port: defaultPort, KeyFile: []string{defaultKeyFile}}
}

// cluster builds what the directors have to know: several of them, or a single one
// that holds groups.
func (b *builder) cluster() {
	d := &b.doc
	if d.Cluster.node == nil && d.Group.node == nil {
		switch {
		case d.Fence.node != nil && b.site.Compat:
			// mon.cf names the gateway, but what the directors hold is told elsewhere.
			b.warning(d.Fence.node.value, "[fence] says when a director may hold something, and there is nothing to hold yet: what heartbeat held belongs into a [[group]]")
		case d.Fence.node != nil:
			b.problem(d.Fence.node.value, "[fence] says when a director may hold something, and there is nothing to hold: write a [[group]]")
		}
		return
	}
	c := &Cluster{Director: director.Config{Timings: director.DefaultTimings()}}
	b.site.Cluster = c
	before := len(b.problems)
	t := defaultCluster()
	if n := d.Cluster.node; n != nil {
		b.several(n, &t, c)
	} else {
		b.alone(c)
	}
	b.fence(c)
	c.Relay = b.relay(t, c)
	if c.Relay && t.Port == math.MaxUint16 {
		b.blame(d.Cluster.node, "port", "port: heartbeats through the gateway use the next one, and there is none after %d: write a lower one, or relay = false", t.Port)
	}
	b.resourceGroups(c)
	c.Director.Digest = digest(d.Cluster.node, d.Fence.node, d.Group.node, d.Virtual.node)
	c.Fixed = digest(d.Cluster.node, d.Fence.node, d.Group.node)
	if len(b.problems) > before {
		return // what follows would say it again
	}
	b.judge(c)
}

// several reads [cluster].
func (b *builder) several(n *node, t *clusterTable, c *Cluster) {
	_ = b.table(n, t, "[cluster]") // the problems are in the report
	c.Director.Timings = b.timings(n, *t)
	if b.oneOf(n, "takeover", t.Takeover, "fast", "strict") == "strict" {
		c.Director.Takeover = director.Strict
	}
	if t.Port == 0 {
		b.blame(n, "port", "port: 0 is no port: write 1 to 65535, or leave the key out for %d", defaultPort)
	}
	before := len(b.problems)
	b.machines(t, c)
	if len(b.problems) == before {
		b.self(n, c)
	}
	b.linkNames(n, t, c)
	b.keys(n, t, c)
	if b.doc.Fence.node == nil {
		b.warning(n.value, "no [fence]: a director that is cut off from everybody does not notice; name the gateway")
	}
	if b.doc.Group.node == nil {
		b.warning(n.value, "no [[group]]: the directors have nothing to hold")
	}
}

// alone makes this machine the only director.
func (b *builder) alone(c *Cluster) {
	name := b.host.Node
	if name == "" {
		name = b.host.Hostname
	}
	c.Director.Nodes = []director.Node{{Name: name}}
	c.Director.Self = name
}

// judge refuses what the machine of the directors would, and warns.
func (b *builder) judge(c *Cluster) {
	place := b.clusterPlace()
	if _, err := director.Bounds(c.Director); err != nil {
		for _, wrong := range branches(err) {
			b.problem(place, "%v", wrong)
		}
		return
	}
	b.judgeSize(place, c)
	if n := len(c.Director.Groups); n > manyGroups && c.Director.Voters() > 1 {
		b.warning(place, "%d groups: each event has all of them decided anew, and a busy machine falls behind; addresses that always move together can be one group, however many they are", n)
	}
	if n := c.Director.Voters(); n >= 4 && n%2 == 0 {
		b.warning(place, "%d machines vote: when half of them are cut from the other half, neither has a majority; make it an odd number", n)
	}
}

// clusterPlace is where what concerns all directors is reported.
func (b *builder) clusterPlace() place {
	if n := b.doc.Cluster.node; n != nil {
		return n.value
	}
	return b.doc.Group.node.value
}

// timings are the measured ones, moved to the pace that is asked for.
func (b *builder) timings(n *node, t clusterTable) director.Timings {
	timings := director.DefaultTimings()
	if h := t.Heartbeat.Std(); n.get("heartbeat") != nil {
		const least, most = 10 * time.Millisecond, 10 * time.Second
		if h < least || h > most {
			b.blame(n, "heartbeat", "heartbeat: %s is out of range: write %s to %s", h, least, most)
			return timings
		}
		timings = director.TimingsFor(h)
	}
	if dead := t.DeadTime.Std(); n.get("deadtime") != nil {
		if dead < 3*timings.Heartbeat {
			b.blame(n, "deadtime", "deadtime: %s is shorter than three heartbeats of %s: a lost packet would be a death", dead, timings.Heartbeat)
			return timings
		}
		timings = timings.WithDead(dead)
	}
	if warn := t.WarnTime.Std(); n.get("warntime") != nil {
		if warn <= timings.Heartbeat || warn >= timings.Dead {
			b.blame(n, "warntime", "warntime: %s is not between heartbeat (%s) and deadtime (%s)", warn, timings.Heartbeat, timings.Dead)
		}
		timings.Warn = warn
	}
	if first := t.InitDead.Std(); n.get("initdead") != nil {
		if first < timings.Dead {
			b.blame(n, "initdead", "initdead: %s is shorter than deadtime (%s): a director that starts would not wait for one that lives", first, timings.Dead)
		}
		timings.InitDead = first
	}
	if lease := t.Lease.Std(); n.get("lease") != nil {
		if lease < time.Second || lease > 10*time.Second || lease%time.Second != 0 {
			b.blame(n, "lease", "lease: %s is no number of whole seconds from 1s to 10s: the kernel counts in seconds, and holds a killed director's address for so long", lease)
			return timings
		}
		timings = timings.WithLease(lease)
	}
	return timings
}

// digest sums up tables of the configuration. The directors have to agree on what they
// are, hold and forward before one hands a group to another; keys are changed on one
// node after the other, so they do not count.
func digest(tables ...*node) string {
	sum := sha256.New()
	for _, n := range tables {
		switch {
		case n == nil:
			writeString(sum, "none")
		case n.table != nil:
			write(sum, n.without("key_file"))
		default:
			write(sum, n)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// manyGroups is more than a site needs whose addresses are in few groups. A hundred were
// too many for a loop on a busy machine with two cores.
const manyGroups = 32

// judgeSize refuses groups that no heartbeat has room for, and warns of those that need
// more than a packet.
func (b *builder) judgeSize(at place, c *Cluster) {
	if c.Director.Voters() < 2 {
		return
	}
	var nodes, groups []string
	for _, n := range c.Director.Nodes {
		nodes = append(nodes, n.Name)
	}
	for _, g := range c.Director.Groups {
		groups = append(groups, g.Name)
	}
	const instead = "addresses that always move together can be one group"
	switch size, onePacket, err := heartbeat.Fit(nodes, groups); {
	case err != nil:
		b.problem(at, "%d groups on %d nodes: a heartbeat has no room for them: %v; %s", len(groups), len(nodes), err, instead)
	case !onePacket && c.Relay:
		b.warning(at, "%d groups on %d nodes: a heartbeat may need %d bytes, more than a packet, which the gateway does not relay: that guard may be off, and a lost piece loses the whole; %s", len(groups), len(nodes), size, instead)
	case !onePacket:
		b.warning(at, "%d groups on %d nodes: a heartbeat may need %d bytes, more than a packet, so that a lost piece loses the whole; %s", len(groups), len(nodes), size, instead)
	}
}
