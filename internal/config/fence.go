package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/watch"
)

// fenceTable is [fence].
type fenceTable struct {
	Gateway      []string        `toml:"gateway" doc:"Addresses that a director must reach to hold anything; default none, which leaves this guard out."`
	Need         string          `toml:"need" doc:"Whether \"any\" of several gateways is enough or \"all\" have to answer; default \"any\"."`
	Pace         plugin.Duration `toml:"pace" doc:"Pause between two pings while a director is in doubt; default 30ms, faster with a faster heartbeat."`
	Failures     int             `toml:"failures" doc:"How many pings in a row, at that pace, must be unanswered for a gateway to be lost; 2 or more; default 3."`
	AllLost      string          `toml:"all_lost" doc:"What happens to groups when no director reaches the gateway: \"hold\" leaves them where they are, \"release\" gives them up; default \"hold\"."`
	OnPeerSilent string          `toml:"on_peer_silent" doc:"Where only two machines vote: \"takeover\" trusts the silence of the wire, \"hold\" leaves it to an operator; default \"takeover\"."`
	Interface    []string        `toml:"interface" doc:"Network devices that must be up for a director to hold anything; default those that a group's own addresses are on."`
	Require      []string        `toml:"require" doc:"Watches, \"group:service\", that must be good for a director to hold anything; default none."`
	Stonith      raw             `toml:"stonith" doc:"How another director is powered off: { program = \"/usr/sbin/fence_ipmilan\", ... }; default not at all."`
	Watchdog     string          `toml:"watchdog" doc:"Watchdog device that restarts this machine when the daemon stands still, such as \"/dev/watchdog\"; default none."`
}

// stonithTable is the table stonith of [fence].
type stonithTable struct {
	Program  string            `toml:"program" doc:"Path of the program: a fence agent, or your own. A node is off when it says \"off\" or \"Status: OFF\" in its last line, called with \"status\"; no default."`
	Args     []string          `toml:"args" doc:"Its arguments, in which {action} is \"off\" or \"status\", {node} the node's name and {plug} its plug; default [\"{action}\", \"{node}\"], or none with options."`
	Options  map[string]string `toml:"options" doc:"What a fence agent reads from its standard input, besides action and plug: { ip = \"10.0.9.1\", username = \"monitord\" }; the same words are replaced; default none."`
	Password plugin.Secret     `toml:"password" doc:"One more line there, password=..., so that it is in no argument; default none."`
	Plug     map[string]string `toml:"plug" doc:"What stands for a node at its power switch: { dr1 = \"10.0.9.11\" }; default the node's name."`
	Timeout  plugin.Duration   `toml:"timeout" doc:"How long it may take until the node is off, all tries together; default 60s."`
	Required bool              `toml:"required" doc:"Whether no silent director is taken over from before it is off; default false: only if its address still answers, or it cannot stop what it holds."`
}

func defaultFence() fenceTable {
	return fenceTable{Need: "any", AllLost: "hold", OnPeerSilent: "takeover"}
}

func defaultStonith() stonithTable { return stonithTable{Timeout: plugin.Duration(time.Minute)} }

// A Stonith is the program that powers nodes off, for package fencing.
type Stonith struct {
	Program string
	// Timeout is for all of one power-off.
	Timeout time.Duration

	args     []string
	options  map[string]string
	password plugin.Secret
	plug     map[string]string
}

// Call returns the arguments (without the program) and the standard input, nil for
// none, of one call; the action is "off" or "status".
func (s *Stonith) Call(action, node string) (args []string, stdin []byte) {
	plug, ok := s.plug[node]
	if !ok {
		plug = node
	}
	fill := strings.NewReplacer("{action}", action, "{node}", node, "{plug}", plug)
	for _, a := range s.args {
		args = append(args, fill.Replace(a))
	}
	if s.options == nil && s.password == "" {
		return args, nil
	}
	var in bytes.Buffer
	fmt.Fprintf(&in, "action=%s\nplug=%s\n", action, plug)
	for _, name := range slices.Sorted(maps.Keys(s.options)) {
		fmt.Fprintf(&in, "%s=%s\n", name, fill.Replace(s.options[name]))
	}
	if s.password != "" {
		fmt.Fprintf(&in, "password=%s\n", string(s.password))
	}
	return args, in.Bytes()
}

// A Require is a watch that must be good for this node to hold a group.
type Require struct {
	// Group is the group's name, "" for all groups.
	Group string
	Watch watch.Key
}

// fence reads [fence].
func (b *builder) fence(c *Cluster) {
	n := b.doc.Fence.node
	if n == nil {
		return
	}
	t := defaultFence()
	_ = b.table(n, &t, "[fence]") // the problems are in the report
	b.gateways(n, t, c)
	if b.oneOf(n, "need", t.Need, "any", "all") == "all" {
		c.Director.GatewaysNeeded = director.AllGateways
	}
	if b.oneOf(n, "all_lost", t.AllLost, "hold", "release") == "release" {
		c.Director.AllLost = director.ReleaseAll
	}
	if b.oneOf(n, "on_peer_silent", t.OnPeerSilent, "takeover", "hold") == "hold" {
		c.Director.OnPeerSilent = director.HoldStill
	}
	b.pings(n, t, &c.Director.Timings)
	for i, name := range t.Interface {
		if !deviceName(name) {
			b.problem(b.element(n, "interface", i), "interface: %q is no name of a network device: write one that \"ip link\" lists", name)
		}
	}
	c.Interfaces = t.Interface
	b.require(n, t.Require, "")
	if t.Watchdog != "" && !filepath.IsAbs(t.Watchdog) {
		b.blame(n, "watchdog", "watchdog: %q is no path of a device: write one like \"/dev/watchdog\"", t.Watchdog)
	}
	c.Watchdog = t.Watchdog
	if t.Stonith.node != nil {
		b.stonith(t.Stonith.node, c)
	}
	b.needsOthers(n, c)
}

// needsOthers refuses what a single director has no use for.
func (b *builder) needsOthers(n *node, c *Cluster) {
	if b.doc.Cluster.node != nil {
		return
	}
	for _, key := range []string{"on_peer_silent", "stonith"} {
		if v := n.get(key); v != nil {
			b.problem(v.key, "%s is about another director, and %q is the only one: write [cluster] with a node for each, or leave it out", key, c.Director.Self)
		}
	}
}

func (b *builder) gateways(n *node, t fenceTable, c *Cluster) {
	for i, text := range t.Gateway {
		at := b.element(n, "gateway", i)
		a, err := netip.ParseAddr(text)
		a = a.Unmap()
		switch {
		case err != nil:
			b.problem(at, "gateway: %q is not an IP address: write the address itself, because the name server may be behind it", text)
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
			b.problem(at, "gateway: %s is no address of another machine", text)
		case c.nodeOf(a) != "":
			b.problem(at, "gateway: %s is an address of node %q: a gateway is what all nodes need to be reachable", text, c.nodeOf(a))
		case slices.Contains(c.Gateways, a):
			b.problem(at, "gateway: %s is there twice", text)
		default:
			c.Gateways = append(c.Gateways, a)
			c.Director.Gateways = append(c.Director.Gateways, a.String())
		}
	}
}

// pings sets the pace of the pings in doubt, and how long none may be answered.
func (b *builder) pings(n *node, t fenceTable, timings *director.Timings) {
	if n.get("pace") == nil && n.get("failures") == nil {
		return
	}
	pace, failures := timings.FastPing, 3
	if n.get("pace") != nil {
		pace = t.Pace.Std()
	}
	if n.get("failures") != nil {
		failures = t.Failures
	}
	window := time.Duration(failures)*pace + timings.Tick
	switch {
	case pace < timings.Tick || pace > time.Minute:
		b.blame(n, "pace", "pace: %s is out of range: write %s to 1m", pace, timings.Tick)
	case failures < 2 || failures > 100:
		b.blame(n, "failures", "failures: %d is out of range: write 2 to 100, a single lost ping is no failure", failures)
	case timings.AckStale+window > timings.Fence:
		key := "pace"
		if n.get(key) == nil {
			key = "failures"
		}
		b.blame(n, key, "%s: %d pings, one each %s, take %s, but a director that is cut off has %s to find out, or its peer takes over first: lower pace or failures, or raise deadtime",
			key, failures, pace, window, timings.Fence-timings.AckStale)
	default:
		timings.FastPing, timings.PingWindow = pace, window
	}
}

// deviceName reports whether the kernel could have a device of this name
// (dev_valid_name).
func deviceName(name string) bool {
	return name != "" && len(name) <= 15 && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n")
}

func (b *builder) stonith(n *node, c *Cluster) {
	t := defaultStonith()
	_ = b.table(n, &t, "stonith") // the problems are in the report
	b.stonithInput(n, &t)
	b.stonithProgram(n, t.Program, c)
	if t.Timeout <= 0 {
		b.blame(n, "timeout", "timeout: %s is no time to power off in", t.Timeout)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Plug)) {
		if !slices.Contains(c.names(), name) {
			b.problem(n.find("plug").table[name].key, "plug: there is no node %q%s", name, didYouMean(name, c.names(), "there are"))
		}
	}
	c.Director.Stonith = director.StonithAsk
	if t.Required {
		c.Director.Stonith = director.StonithRequire
	}
	c.Stonith = &Stonith{
		Program: t.Program, Timeout: t.Timeout.Std(),
		args: t.Args, options: t.Options, password: t.Password, plug: t.Plug,
	}
}

// stonithInput decides what the program is told by: its arguments, or, like a fence
// agent without any, its standard input.
func (b *builder) stonithInput(n *node, t *stonithTable) {
	onInput := t.Options != nil || t.Password != ""
	switch {
	case !onInput && t.Args == nil:
		t.Args = []string{"{action}", "{node}"}
	case onInput && t.Args != nil:
		b.blame(n, "args", "args: fence agents that get arguments do not read options: write either")
	case !onInput && !slices.ContainsFunc(t.Args, func(a string) bool { return strings.Contains(a, "{action}") }):
		b.blame(n, "args", "args: without {action} the program cannot tell \"off\" from \"status\"")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Options)) {
		if strings.ContainsAny(name+t.Options[name], "\r\n") {
			b.problem(n.find("options").table[name].value, "options: %q and its value have to fit into one line", name)
		}
	}
	if strings.ContainsAny(string(t.Password), "\r\n") {
		b.blame(n, "password", "password: it has to be one line")
	}
}

// stonithProgram looks for the program, on the cluster's own machines.
func (b *builder) stonithProgram(n *node, program string, c *Cluster) {
	if !filepath.IsAbs(program) {
		b.blame(n, "program", "program: %q is no path of a program: write one like \"/usr/sbin/fence_ipmilan\"", program)
		return
	}
	path, err := monprog.Lookup(program, nil)
	if err == nil {
		err = monprog.Trusted(path)
	}
	if elsewhere := c.Stranger && errors.Is(err, fs.ErrNotExist); err != nil && !elsewhere {
		b.blame(n, "program", "program: %v", err)
	}
}

// names lists the nodes.
func (c *Cluster) names() []string {
	names := make([]string, len(c.Director.Nodes))
	for i, n := range c.Director.Nodes {
		names[i] = n.Name
	}
	return names
}

// A required is a watch that was named before the watches are known.
type required struct {
	place place
	group string
	text  string
}

// require notes the watches of a key require.
func (b *builder) require(n *node, texts []string, group string) {
	for i, text := range texts {
		b.required = append(b.required, required{b.element(n, "require", i), group, text})
	}
}

// requirements finds the watches that must be good.
func (b *builder) requirements() {
	var known []string
	for _, w := range b.site.Watches {
		known = append(known, w.Key.String())
	}
	for _, r := range b.required {
		if !slices.Contains(known, r.text) {
			b.problem(r.place, "require: there is no watch %q%s", r.text, didYouMean(r.text, known, "there are"))
			continue
		}
		group, service, _ := strings.Cut(r.text, ":")
		b.site.Cluster.Require = append(b.site.Cluster.Require, Require{Group: r.group, Watch: watch.Key{Group: group, Service: service}})
	}
}
