package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/takeover"
)

// A ClusterView is what "monitord cluster" shows.
type ClusterView struct {
	takeover.View
	Links []LinkView `json:"links"`
	// Guards are what keeps two directors from holding one address.
	Guards []GuardView `json:"guards"`
	// Problems are why gateways cannot be pinged at all.
	Problems []string `json:"problems,omitempty"`
	// Events are the last ones, oldest first.
	Events []ClusterEvent `json:"events"`
}

// A LinkView is one way to one node.
type LinkView struct {
	Node  string `json:"node"`
	Name  string `json:"name"`
	State string `json:"state"` // up, one way only (it does not hear this node) or down
	// Heard is how many seconds ago something came over it, negative: never.
	Heard float64 `json:"heard_seconds"`
	// Latency is there and back, 0: not measured.
	Latency float64 `json:"latency_seconds"`
	// Member is what the membership says of the node.
	Member string `json:"member"`
}

var errNoGroups = errors.New("there are no directors and no groups: the configuration has no [cluster] and no [[group]]")

func (d *daemon) clusterView(ctx context.Context) (any, error) {
	if d.cluster == nil {
		return nil, errNoGroups
	}
	view, err := d.cluster.loop.View(ctx)
	if err != nil {
		return nil, err
	}
	v := ClusterView{View: view, Events: d.cluster.news.events()}
	if d.cluster.beats != nil {
		for _, p := range d.cluster.beats.Peers() {
			for _, l := range p.Links {
				v.Links = append(v.Links, LinkView{
					Node: p.Name, Name: l.Name, State: l.State.String(), Heard: l.Heard.Seconds(), Latency: l.Latency.Seconds(),
					Member: p.Membership.String(),
				})
			}
		}
	}
	if d.cluster.pings != nil {
		for gateway, problem := range d.cluster.pings.Problems() {
			v.Problems = append(v.Problems, fmt.Sprintf("gateway %s: %v", gateway, problem))
		}
	}
	v.Guards = guardsNow(d.cluster.site, v)
	return v, nil
}

// commands are what operators can say, in the words of the command line.
var commands = map[string]director.Command{
	"switchover": director.Switchover, "failback": director.FailbackNow,
	"maintenance on": director.MaintenanceOn, "maintenance off": director.MaintenanceOff,
	"clear faults": director.ClearFaults, "confirm fenced": director.ConfirmFenced,
}

// command carries out an operator's word.
func (d *daemon) command(ctx context.Context, o control.Command) ([]string, error) {
	if d.cluster == nil {
		return nil, errNoGroups
	}
	command, known := commands[o.Command]
	if !known {
		return nil, fmt.Errorf("%q is no command", o.Command)
	}
	if err := d.cluster.knows(command, o); err != nil {
		return nil, err
	}
	if command == director.MaintenanceOn || command == director.MaintenanceOff {
		if err := d.cluster.hears(ctx, o.Node); err != nil {
			return nil, err
		}
	}
	d.Log.WithField("group", o.Group).WithField("node", o.Node).Info(o.Command + ", says an operator")
	return d.cluster.loop.Command(ctx, director.Operator{Command: command, Group: o.Group, Node: o.Node})
}

// knows checks the names in a command.
func (c *cluster) knows(command director.Command, o control.Command) error {
	var groups, nodes []string
	for _, g := range c.site.Director.Groups {
		groups = append(groups, g.Name)
	}
	for _, n := range c.site.Director.Nodes {
		nodes = append(nodes, n.Name)
	}
	switch command {
	case director.Switchover, director.FailbackNow, director.ClearFaults:
		if err := among("group", o.Group, groups); err != nil {
			return err
		}
	case director.MaintenanceOn, director.MaintenanceOff, director.ConfirmFenced:
	}
	if o.Node != "" || command == director.ConfirmFenced {
		return among("node", o.Node, nodes)
	}
	return nil
}

// hears refuses a command for a node that would not hear of it.
func (c *cluster) hears(ctx context.Context, node string) error {
	v, err := c.loop.View(ctx)
	if err != nil {
		return err
	}
	for _, n := range v.Nodes {
		if n.Name == node && !n.Self && n.State != director.Alive.String() && n.State != director.Suspect.String() {
			return fmt.Errorf("%s is %s and does not hear of it: say it when it is there, or there", node, n.State)
		}
	}
	return nil
}

func among(what, name string, all []string) error {
	if slices.Contains(all, name) {
		return nil
	}
	return fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(all, ", "))
}

// sameGroups refuses a reload that would change who the directors are and what they
// hold: a restart with SIGUSR2 does that without an interruption.
func (d *daemon) sameGroups(site *config.Site) error {
	now := d.current().Cluster
	if (now == nil) != (site.Cluster == nil) || now != nil && (now.Fixed != site.Cluster.Fixed || now.Director.Self != site.Cluster.Director.Self) {
		return errors.New("a new [cluster], [fence] or [[group]] needs a restart (systemctl restart monitord), which leaves the addresses where they are; nothing was changed")
	}
	return nil
}

// adopt takes up a reload: the other directors hear that this one has another
// configuration, and what is held is looked at with it.
func (c *cluster) adopt(digest string) {
	c.loop.Reloaded(digest)
	if c.beats == nil {
		return
	}
	if err := c.beats.SetDigest(digest); err != nil {
		c.log.WithError(err).Warn("the other directors were not told of the new configuration")
	}
}
