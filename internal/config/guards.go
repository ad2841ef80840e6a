package config

import (
	"fmt"
	"strings"

	"github.com/monitord/monitord/internal/director"
)

// A Guard is one of the things that keep two directors from holding the same address,
// for people: whether the configuration has it, and what it is or what would bring it.
type Guard struct {
	Name   string
	Live   bool
	Detail string
}

// Guards lists them.
func (c *Cluster) Guards() []Guard {
	t := c.Director.Timings
	guards := []Guard{{"lease", true, fmt.Sprintf("the kernel removes an address %s after its last renewal", t.Lease)}}
	if !c.Alone() {
		guards = append(guards,
			Guard{"wire", true, fmt.Sprintf("no address is taken that somebody answers for (%d probes)", t.Probes)},
			c.linkGuard(), c.relayGuard(), c.witnessGuard())
	}
	guards = append(guards, c.gatewayGuard())
	if !c.Alone() {
		guards = append(guards, c.stonithGuard())
	}
	watchdog := Guard{"watchdog", c.Watchdog != "", c.Watchdog}
	if !watchdog.Live {
		watchdog.Detail = "a machine whose daemon stands still goes on running; [fence] watchdog restarts it"
	}
	return append(guards, watchdog)
}

// linkGuard counts the links that all directors are on.
func (c *Cluster) linkGuard() Guard {
	links := mostLinks
	for i, n := range c.Links {
		if c.Director.Nodes[i].Witness {
			continue
		}
		own := 0
		for _, at := range n.Links {
			if at.IsValid() {
				own++
			}
		}
		links = min(links, own)
	}
	if links < 2 {
		return Guard{"second link", false, "one cable carries all heartbeats; a second address for each node is a second link"}
	}
	return Guard{"second link", true, fmt.Sprintf("heartbeats travel over %d links", links)}
}

func (c *Cluster) relayGuard() Guard {
	if c.Relay {
		return Guard{"relay", true, "heartbeats also travel through the gateway, if it forwards them"}
	}
	why := "relay = false, or the gateway is on no network of this node"
	if len(c.Gateways) == 0 {
		why = "there is no gateway"
	}
	return Guard{"relay", false, "no heartbeat goes through a gateway (" + why + "): directors that are cut from each other only cannot tell that from a death"}
}

func (c *Cluster) witnessGuard() Guard {
	var names []string
	for _, n := range c.Director.Nodes {
		if n.Witness {
			names = append(names, n.Name)
		}
	}
	voters := c.Director.Voters()
	switch {
	case len(names) > 0 && c.Director.NeedsMajority():
		return Guard{"witness", true, fmt.Sprintf("%s: nobody takes a group without %d of %d voters", strings.Join(names, ", "), voters/2+1, voters)}
	case c.Director.NeedsMajority():
		return Guard{"majority", true, fmt.Sprintf("nobody takes a group without %d of %d directors", voters/2+1, voters)}
	}
	return Guard{"witness", false, "two voters have no majority; any third machine can be a node with witness = true"}
}

func (c *Cluster) gatewayGuard() Guard {
	if len(c.Gateways) == 0 {
		return Guard{"gateway", false, "a director that is cut off does not notice; [fence] gateway tells it"}
	}
	need := ""
	if len(c.Gateways) > 1 {
		need = "any of "
		if c.Director.GatewaysNeeded == director.AllGateways {
			need = "all of "
		}
	}
	what := "gives up what it holds"
	switch {
	case c.Director.AllLost == director.ReleaseAll:
	case c.Alone():
		return Guard{"gateway", false, "there is no other director, and all_lost is \"hold\": the groups stay"}
	default:
		what += ", unless no director reaches it"
	}
	return Guard{"gateway", true, fmt.Sprintf("a director that does not reach %s%s for %s %s", need, strings.Join(c.Director.Gateways, ", "), c.Director.Timings.PingWindow, what)}
}

func (c *Cluster) stonithGuard() Guard {
	if c.Stonith == nil {
		return Guard{"stonith", false, "a machine that was paused as a whole, and resumes, may answer until it hears of its successor"}
	}
	when := "asked if a dead node still answers, or cannot stop"
	if c.Director.Stonith == director.StonithRequire {
		when = "nothing is taken from a silent node before it is off"
	}
	return Guard{"stonith", true, c.Stonith.Program + ": " + when}
}
