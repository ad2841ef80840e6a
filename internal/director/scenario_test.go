package director_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/monitord/monitord/internal/director"
)

// TestScenarios plays the scripts of testdata/scenarios: what people, cables and
// processes do, and under it what the directors did, with their reasons. Run it
// with -rewrite after a change of the rules, and read the difference.
//
//	cluster             nodes, groups and policies, one a line
//	do [for=1s] [quiet] commands, one a line; then time passes
func TestScenarios(t *testing.T) {
	arrows := diagram(t)
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		var w *world
		t.Cleanup(func() {
			for _, n := range w.walked {
				if !arrows[arrow{n.From.String(), n.To.String()}] {
					t.Errorf("%s went from %s to %s, which is no arrow of the diagram", n.node, n.From, n.To)
				}
			}
		})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cluster":
				c, err := parseCluster(d.Input)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				if _, err := director.Bounds(c); err != nil {
					d.Fatalf(t, "%v", err)
				}
				w = newWorld(c)
				w.devices = parseDevices(d.Input)
				return "ok"
			case "do":
				pause := "0s"
				d.MaybeScanArgs(t, "for", &pause)
				for line := range strings.Lines(d.Input) {
					if err := w.command(strings.Fields(line)); err != nil {
						d.Fatalf(t, "%v", err)
					}
				}
				length, err := time.ParseDuration(pause)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				w.run(length)
				if d.HasArg("quiet") {
					w.log.Reset()
				}
				return w.report()
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

// split takes a script apart: commands separated by semicolons.
func split(script string) [][]string {
	var all [][]string
	for command := range strings.SplitSeq(script, ";") {
		if words := strings.Fields(command); len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// report is what happened, who holds what, and what clients saw of it.
func (w *world) report() string {
	out := w.log.String()
	w.log.Reset()
	for _, g := range w.config.Groups {
		t := w.counted[g.Name]
		holders := "nobody"
		if len(t.holders) > 0 {
			holders = strings.Join(t.holders, " and ")
		}
		out += fmt.Sprintf("%s: held by %s; outage %s, double %s; last announced by %s\n", g.Name, holders,
			t.outage.Round(time.Millisecond), t.dual.Round(100*time.Microsecond), t.announced)
		t.outage, t.dual = 0, 0
	}
	return out
}

func parseCluster(text string) (director.Config, error) {
	c := director.Config{Timings: director.DefaultTimings(), Gateways: []string{"gw"}, Digest: "one"}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if err := parseLine(&c, words); err != nil {
			return c, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	c.Self = c.Nodes[0].Name
	return c, nil
}

// parseDevices: "group web device=eth1"; the others are on eth0.
func parseDevices(text string) map[string]string {
	devices := map[string]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for _, word := range words[1:] {
			if device, ok := strings.CutPrefix(word, "device="); ok {
				devices[words[1]] = device
			}
		}
	}
	return devices
}

func parseLine(c *director.Config, words []string) error {
	set := map[string]string{}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		set[key] = value
	}
	switch words[0] {
	case "node":
		priority, _ := strconv.Atoi(set["priority"])
		_, witness := set["witness"]
		c.Nodes = append(c.Nodes, director.Node{Name: words[1], Priority: priority, Witness: witness})
	case "group":
		g := director.Group{Name: words[1], Together: set["together"], Before: true}
		_, g.Bare = set["bare"]
		g.Addresses, _ = strconv.Atoi(set["addresses"])
		_, g.After = set["after"]
		if order := set["order"]; order != "" {
			g.Order = strings.Split(order, ",")
		}
		if apart := set["apart"]; apart != "" {
			g.Apart = strings.Split(apart, ",")
		}
		switch failback := set["failback"]; failback {
		case "", "off":
		case "on":
			g.Failback.On = true
		default:
			after, err := time.ParseDuration(failback)
			if err != nil {
				return err
			}
			g.Failback = director.Failback{On: true, After: after}
		}
		c.Groups = append(c.Groups, g)
	case "policy":
		return parsePolicies(c, set)
	default:
		return fmt.Errorf("unknown line")
	}
	return nil
}

func parsePolicies(c *director.Config, set map[string]string) error {
	for key, value := range set {
		switch key + "=" + value {
		case "takeover=strict":
			c.Takeover = director.Strict
		case "on_peer_silent=hold":
			c.OnPeerSilent = director.HoldStill
		case "gateways=any", "gateways=all":
			c.Gateways = []string{"gw", "gw2"}
			if value == "all" {
				c.GatewaysNeeded = director.AllGateways
			}
		case "all_lost=release":
			c.AllLost = director.ReleaseAll
		case "stonith=ask":
			c.Stonith = director.StonithAsk
		case "stonith=require":
			c.Stonith = director.StonithRequire
		default:
			return fmt.Errorf("unknown policy %s=%s", key, value)
		}
	}
	return nil
}

var commands = map[string]director.Command{
	"switchover": director.Switchover, "maintenance-on": director.MaintenanceOn, "maintenance-off": director.MaintenanceOff,
	"failback": director.FailbackNow, "clear": director.ClearFaults, "confirm-fenced": director.ConfirmFenced,
}

// command does one line: "start a", "kill a", "cut a b", "heal", "operator a switchover web b".
func (w *world) command(words []string) error {
	verb, rest := words[0], append(slices.Clone(words[1:]), "", "", "")
	n := w.nodes[rest[0]]
	both := func(cut bool) { w.cuts[[2]string{rest[0], rest[1]}], w.cuts[[2]string{rest[1], rest[0]}] = cut, cut }
	switch verb {
	case "start":
		w.start(n)
	case "kill": // the process only: the kernel keeps the address until its lease ends
		n.alive = false
	case "crash":
		w.crash(n)
	case "freeze":
		n.frozen = true
	case "resume":
		w.resume(n)
	case "unplug-one", "plug-one": // one device of several
		n.lost[rest[1]] = verb == "unplug-one"
		w.carriers(n)
	case "unplug", "plug":
		n.carrier = verb == "plug"
		w.carriers(n)
	case "cut":
		both(true)
	case "join":
		both(false)
	case "oneway": // nothing comes through from the first to the second
		w.cuts[[2]string{rest[0], rest[1]}] = true
	case "mute", "deaf":
		for _, other := range append(slices.Clone(w.names), "gw") {
			if verb == "mute" {
				w.cuts[[2]string{n.name, other}] = true
			} else {
				w.cuts[[2]string{other, n.name}] = true
			}
		}
	case "heal":
		clear(w.cuts)
		clear(w.silence)
	case "no-relay":
		w.relay = false
	case "second-network":
		w.second = true
	case "kernel-refuses", "kernel-works":
		n.refuses = verb == "kernel-refuses"
	case "kernel-refuses-one":
		n.refusesOne = true
	case "kernel-keeps":
		n.keeps = true
	case "kernel-late":
		n.late, _ = time.ParseDuration(rest[1])
	case "silence": // heartbeats alone are cut, ARP is not
		w.silence[[2]string{rest[0], rest[1]}], w.silence[[2]string{rest[1], rest[0]}] = true, true
	case "gateway-down", "gateway-up":
		for _, name := range w.names {
			w.cuts[[2]string{name, "gw"}], w.cuts[[2]string{"gw", name}] = verb == "gateway-down", verb == "gateway-down"
		}
	case "sigterm":
		w.give(n, director.Shutdown{})
	case "sigusr2":
		w.give(n, director.Quit{})
	case "operator":
		w.give(n, director.Operator{Command: commands[rest[1]], Group: group(rest[2], w), Node: node0(rest, w)})
	case "require":
		fitness, _ := strconv.Atoi(rest[3])
		w.give(n, director.Require{Group: rest[1], OK: rest[2] == "ok", Fitness: fitness, Detail: "disk full"})
	case "remove": // somebody removes the address by hand
		delete(n.leases, rest[1])
		w.give(n, director.LeaseGone{Group: rest[1]})
	case "remove-one": // one of several: the others are left
		w.give(n, director.LeaseGone{Group: rest[1], Left: true})
	case "stranger", "stranger-leaves": // a machine that is no director answers for all addresses
		w.stranger = verb == "stranger"
	case "foreign":
		w.give(n, director.ForeignClaim{Group: rest[1], By: director.Answerer{MAC: "02:00:00:00:00:99"}})
	case "start-fails", "start-works":
		n.startFails = verb == "start-fails"
	case "stop-fails", "stop-works":
		n.stopFails = verb == "stop-fails"
	case "disk-fails":
		n.diskFails = true
	case "stonith-fails":
		n.stonith = false
	case "slow":
		n.slow, _ = time.ParseDuration(rest[1])
	case "forget":
		clear(n.epochs)
	case "digest":
		n.digest = rest[1] // from its next start on
	case "announcements":
		w.verbose = true
	default:
		return fmt.Errorf("unknown command %q", strings.Join(words, " "))
	}
	w.count()
	return nil
}

// group and node0 take the words of an operator's command apart.
func group(word string, w *world) string {
	if w.counted[word] != nil {
		return word
	}
	return ""
}

func node0(words []string, w *world) string {
	for _, word := range words[2:] {
		if w.nodes[word] != nil {
			return word
		}
	}
	return ""
}

// resume hands over what waited, before the next tick.
func (w *world) resume(n *node) {
	n.frozen = false
	for len(n.mailbox) > 0 {
		next := n.mailbox[0]
		n.mailbox = n.mailbox[1:]
		w.give(n, next)
	}
}
