package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/plugin"
)

// clusterTable is [cluster].
type clusterTable struct {
	Node      raw             `toml:"node" doc:"The machines: [{ name = \"dr1\", address = [\"10.0.0.11\"], priority = 200 }, ...]."`
	Heartbeat plugin.Duration `toml:"heartbeat" doc:"Pause between two heartbeats; the other times follow it; default 50ms."`
	DeadTime  plugin.Duration `toml:"deadtime" doc:"Silence after which a director is dead to the others; default 235ms, with another heartbeat in proportion."`
	WarnTime  plugin.Duration `toml:"warntime" doc:"How late a heartbeat must be for people to be told; default 120ms, with another heartbeat in proportion."`
	InitDead  plugin.Duration `toml:"initdead" doc:"How long a director that starts waits for others that it never heard; default 10s."`
	Lease     plugin.Duration `toml:"lease" doc:"For how long the kernel holds an address that nobody renews, 1s to 10s in whole seconds; default 1s."`
	Takeover  string          `toml:"takeover" doc:"\"fast\" takes an address as soon as the wire is silent, \"strict\" also waits for the lease that a silent owner could still hold; default \"fast\"."`
}

// nodeTable is one machine of a cluster.
type nodeTable struct {
	Name     string   `toml:"name" doc:"The machine's name, as \"uname -n\" prints it."`
	Address  []string `toml:"address" doc:"Its addresses, one on each network that links the machines."`
	Priority int      `toml:"priority" doc:"Which director is preferred by groups without an order: more is better; default 0."`
	Witness  bool     `toml:"witness" doc:"Whether it only votes and never holds a group; default false."`
}

// fenceTable is [fence].
type fenceTable struct {
	Gateway      []string `toml:"gateway" doc:"Addresses that a director must reach to hold anything; default none, which leaves this guard out."`
	Need         string   `toml:"need" doc:"Whether \"any\" of several gateways is enough or \"all\" have to answer; default \"any\"."`
	AllLost      string   `toml:"all_lost" doc:"What happens to groups when no director reaches the gateway: \"hold\" leaves them where they are, \"release\" gives them up; default \"hold\"."`
	OnPeerSilent string   `toml:"on_peer_silent" doc:"Where only two machines vote: \"takeover\" trusts the silence of the wire, \"hold\" leaves it to an operator; default \"takeover\"."`
}

// groupTable is one [[group]].
type groupTable struct {
	Name     string   `toml:"name" doc:"Name of the group of resources that moves as a whole."`
	Order    []string `toml:"order" doc:"The directors that may hold it, the preferred first; default all, by priority."`
	Failback string   `toml:"failback" doc:"Whether it returns to a better director: \"off\", \"on\", or a time like \"5m\" after which it does; default \"off\"."`
	Together string   `toml:"together" doc:"Another group whose holder holds this one as well."`
	Apart    []string `toml:"apart" doc:"Groups whose holders should not hold this one, if another can."`
}

// cluster builds what the directors have to know, if there are several.
func (b *builder) cluster() {
	n := b.doc.Cluster.node
	if n == nil {
		for _, other := range []*node{b.doc.Fence.node, b.doc.Group.node} {
			if other != nil {
				b.problem(other.value, "this is for several directors: write [cluster] with a node for each of them")
			}
		}
		return
	}
	t := clusterTable{Takeover: "fast"}
	if b.table(n, &t, "[cluster]") != nil {
		return
	}
	c := &director.Config{Timings: b.timings(n, t), Nodes: b.clusterNodes(t.Node.node)}
	if b.oneOf(n, "takeover", t.Takeover, "fast", "strict") == "strict" {
		c.Takeover = director.Strict
	}
	b.fence(c)
	for _, g := range b.sections(b.doc.Group.node, "group") {
		b.clusterGroup(g, c)
	}
	if len(c.Nodes) == 0 {
		return // which has been said
	}
	first := slices.IndexFunc(c.Nodes, func(n director.Node) bool { return !n.Witness })
	if first < 0 {
		b.problem(n.at("node"), "node: no director is among them, only witnesses")
		return
	}
	c.Self = c.Nodes[first].Name
	if _, err := director.Bounds(*c); err != nil {
		for _, wrong := range unjoin(err) {
			b.problem(n.value, "[cluster]: %v", wrong)
		}
		return
	}
	if n := c.Voters(); n >= 4 && n%2 == 0 {
		b.warning(b.doc.Cluster.node.value, "%d machines vote: when half of them are cut from the other half, neither has a majority; make it an odd number", n)
	}
	b.site.Cluster = c
}

// unjoin takes joined errors apart.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
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
	if n.get("warntime") != nil {
		timings.Warn = t.WarnTime.Std()
	}
	if n.get("initdead") != nil {
		timings.InitDead = t.InitDead.Std()
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

func (b *builder) clusterNodes(list *node) []director.Node {
	var nodes []director.Node
	if list == nil {
		b.problem(b.doc.Cluster.node.value, "[cluster] has no node: write node = [{ name = \"dr1\", address = [\"10.0.0.11\"] }, ...]")
		return nil
	}
	seen := map[string]string{}
	for _, n := range b.elements(list, "node") {
		var t nodeTable
		if b.table(n, &t, "node") != nil {
			continue
		}
		if !validName(t.Name) {
			b.blame(n, "name", "name: %q is no name of a machine", t.Name)
		}
		if len(t.Address) == 0 {
			b.problem(n.value, "node %q has no address: write one for each network that links the machines", t.Name)
		}
		for i, text := range t.Address {
			at := fmt.Sprintf("address[%d]", i)
			switch a, err := netip.ParseAddr(text); {
			case err != nil || a.IsUnspecified() || a.IsMulticast():
				b.blame(n, "address", "%s: %q is no address of a machine", at, text)
			case seen[a.Unmap().String()] != "":
				b.blame(n, "address", "%s: %q is node %q's already", at, text, seen[a.Unmap().String()])
			default:
				seen[a.Unmap().String()] = t.Name
			}
		}
		nodes = append(nodes, director.Node{Name: t.Name, Priority: t.Priority, Witness: t.Witness})
	}
	return nodes
}

func (b *builder) fence(c *director.Config) {
	n := b.doc.Fence.node
	if n == nil {
		b.warning(b.doc.Cluster.node.value, "no [fence]: a director that is cut off from everybody does not notice; name the gateway")
		return
	}
	t := fenceTable{Need: "any", AllLost: "hold", OnPeerSilent: "takeover"}
	if b.table(n, &t, "[fence]") != nil {
		return
	}
	for i, text := range t.Gateway {
		if _, err := netip.ParseAddr(text); err != nil {
			b.blame(n, "gateway", "gateway[%d]: %q is not an IP address: write the address itself, because the name server may be behind it", i, text)
		}
	}
	c.Gateways = t.Gateway
	if b.oneOf(n, "need", t.Need, "any", "all") == "all" {
		c.GatewaysNeeded = director.AllGateways
	}
	if b.oneOf(n, "all_lost", t.AllLost, "hold", "release") == "release" {
		c.AllLost = director.ReleaseAll
	}
	if b.oneOf(n, "on_peer_silent", t.OnPeerSilent, "takeover", "hold") == "hold" {
		c.OnPeerSilent = director.HoldStill
	}
}

func (b *builder) clusterGroup(n *node, c *director.Config) {
	t := groupTable{Failback: "off"}
	if b.table(n, &t, "[[group]]") != nil {
		return
	}
	if !validName(t.Name) {
		b.blame(n, "name", "name: %q is no name of a group: write letters, digits, _ . and - only", t.Name)
	}
	g := director.Group{Name: t.Name, Order: t.Order, Together: t.Together, Apart: t.Apart}
	var err error
	if g.Failback, err = failback(t.Failback); err != nil {
		b.blame(n, "failback", "failback: %v", err)
	}
	c.Groups = append(c.Groups, g)
}

func failback(text string) (director.Failback, error) {
	switch strings.TrimSpace(text) {
	case "off":
		return director.Failback{}, nil
	case "on":
		return director.Failback{On: true}, nil
	}
	var d plugin.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return director.Failback{}, errors.New(`"` + text + `" is not accepted: write "off", "on" or a time like "5m"`)
	}
	return director.Failback{On: true, After: d.Std()}, nil
}
