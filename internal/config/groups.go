package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/transition"
	"github.com/monitord/monitord/resources"
)

// A Group is what one director holds at a time, and who is told of it.
type Group struct {
	Name string
	// Before, Addresses and After are the resources in the order in which they
	// start. A group without an address has all of them in Before.
	Before, Addresses, After []Resource
	// Alerts are told of each transition on this node.
	Alerts []transition.Alert
}

// A Resource is one resource of a group.
type Resource struct {
	Kind string
	// Name is the kind and what it is about, for people; it is unique in its group.
	Name string
	// StartTimeout and StopTimeout bound one call of Start, or Status, and one of Stop.
	StartTimeout, StopTimeout time.Duration
	// Resource is nil where this machine never holds the group and lacks a file
	// that the resource needs. Those of Addresses are resources.Address.
	Resource resources.Resource
}

// groupTable is one [[group]].
type groupTable struct {
	Name     string   `toml:"name" doc:"Name of the group of resources that moves as a whole; no default."`
	Order    []string `toml:"order" doc:"The directors that may hold it, the preferred first; default all, by priority."`
	Failback string   `toml:"failback" doc:"Whether it returns to a better director: \"off\", \"on\", or a time like \"5m\" after which it does; default \"off\"."`
	Together string   `toml:"together" doc:"Another group whose holder holds this one as well; default none."`
	Apart    []string `toml:"apart" doc:"Groups whose holders should not hold this one, if another can; default none."`
	Require  []string `toml:"require" doc:"Watches, \"group:service\", that must be good for a director to hold this group, beside those of [fence]; default none."`
	Resource raw      `toml:"resource" doc:"What it consists of, in the order in which it starts: [{ type = \"vip\", ... }, ...]."`
	Alert    raw      `toml:"alert" doc:"What to do at each transition of the group on this director: [{ type = \"mail\", ... }]."`
}

// resourceTable holds the keys that every resource has.
type resourceTable struct {
	Timeout     plugin.Duration `toml:"timeout" doc:"How long a start, or a look at the state, may take; default 20s."`
	StopTimeout plugin.Duration `toml:"stop_timeout" doc:"How long a stop may take before it has failed; default 20s."`
}

func defaultGroup() groupTable { return groupTable{Failback: "off"} }

func defaultResource() resourceTable {
	const long = plugin.Duration(20 * time.Second)
	return resourceTable{Timeout: long, StopTimeout: long}
}

// resourceGroups reads all [[group]].
func (b *builder) resourceGroups(c *Cluster) {
	nodes := b.sections(b.doc.Group.node, "group")
	for _, n := range nodes {
		b.resourceGroup(n, c)
	}
	for i, n := range nodes {
		b.relations(n, i, c)
	}
}

func (b *builder) resourceGroup(n *node, c *Cluster) {
	t := defaultGroup()
	_ = b.table(n, &t, "[[group]]") // the problems are in the report
	switch {
	case !validName(t.Name):
		b.blame(n, "name", "name: %q is no name of a group: write letters, digits, _ . and - only", t.Name)
	case slices.Contains(c.groupNames(), t.Name):
		b.blame(n, "name", "name: there is another group %q", t.Name)
	}
	back, err := failback(t.Failback)
	if err != nil {
		b.blame(n, "failback", "failback: %v", err)
	}
	g := director.Group{Name: t.Name, Order: t.Order, Failback: back, Together: t.Together, Apart: t.Apart}
	b.order(n, t, c)
	held := Group{Name: t.Name}
	b.resources(n, t, &held, b.mayHold(c, g))
	held.Alerts = b.groupAlerts(t)
	b.require(n, t.Require, t.Name)
	g.Bare, g.Before, g.After = len(held.Addresses) == 0, len(held.Before) > 0, len(held.After) > 0
	g.Addresses = len(held.Addresses)
	for _, r := range held.Addresses {
		if a, ok := r.Resource.(resources.Address); ok && a.Prefix().Addr().Is6() {
			g.IPv6++
		}
	}
	c.Director.Groups = append(c.Director.Groups, g)
	c.Groups = append(c.Groups, held)
}

// mayHold reports whether this machine is one of those that may hold the group.
func (b *builder) mayHold(c *Cluster, g director.Group) bool {
	return !c.Stranger && slices.Contains(c.Director.Holders(g), c.Director.Self)
}

func (c *Cluster) groupNames() []string {
	names := make([]string, len(c.Groups))
	for i, g := range c.Groups {
		names[i] = g.Name
	}
	return names
}

// order checks the directors that may hold a group.
func (b *builder) order(n *node, t groupTable, c *Cluster) {
	for i, name := range t.Order {
		at := b.element(n, "order", i)
		switch of := slices.Index(c.names(), name); {
		case of < 0 && b.doc.Cluster.node == nil:
			b.problem(at, "order: there is no node %q: without [cluster] this machine, %q, is the only one", name, c.Director.Self)
		case of < 0:
			b.problem(at, "order: there is no node %q%s", name, didYouMean(name, c.names(), "there are"))
		case c.Director.Nodes[of].Witness:
			b.problem(at, "order: %q is a witness and holds nothing", name)
		case slices.Index(t.Order, name) != i:
			b.problem(at, "order: %q is there twice", name)
		}
	}
	if len(t.Order) == 0 && n.get("order") != nil {
		b.blame(n, "order", "order is empty: nobody could hold the group; leave the key out for all directors")
	}
}

// relations checks what a group says of others, when all are known.
func (b *builder) relations(n *node, i int, c *Cluster) {
	g, known := c.Director.Groups[i], c.groupNames()
	switch {
	case g.Together == "":
	case !slices.Contains(known, g.Together):
		b.blame(n, "together", "together: there is no group %q%s", g.Together, didYouMean(g.Together, known, "there are"))
	case c.circular(i):
		b.blame(n, "together", "together goes in a circle through %q: one of the groups has to lead", g.Together)
	}
	for j, apart := range g.Apart {
		at := b.element(n, "apart", j)
		switch {
		case apart == g.Name:
			b.problem(at, "apart: %q is this group itself", apart)
		case apart == g.Together:
			b.problem(at, "apart: the group is held together with %q, it cannot be apart from it", apart)
		case !slices.Contains(known, apart):
			b.problem(at, "apart: there is no group %q%s", apart, didYouMean(apart, known, "there are"))
		}
	}
}

// circular reports whether a group follows itself.
func (c *Cluster) circular(i int) bool {
	at := i
	for range c.Groups {
		at = slices.Index(c.groupNames(), c.Director.Groups[at].Together)
		if at < 0 {
			return false
		}
		if at == i {
			return true
		}
	}
	return false
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

// resources builds what a group consists of; here is false where this machine never
// holds it.
func (b *builder) resources(n *node, t groupTable, g *Group, here bool) {
	nodes := b.elements(t.Resource.node, "resource")
	if len(nodes) == 0 {
		b.warning(n.value, "group %q has no resource: write [[group.resource]]", t.Name)
	}
	all := make([]Resource, 0, len(nodes))
	for _, rn := range nodes {
		r, ok := b.resource(rn, g.Name, here)
		if !ok {
			return // nobody knows whether it is an address
		}
		r.Name = uniqueName(all, r.Name)
		all = append(all, r)
	}
	first := slices.IndexFunc(all, isAddress)
	if first < 0 {
		g.Before = all
		return
	}
	last := first
	for i := first + 1; i < len(all); i++ {
		if !isAddress(all[i]) {
			continue
		}
		if i != last+1 {
			b.problem(nodes[last+1].value, "%q stands between two addresses of group %q, which are taken and given up at once: write it before the first or after the last", all[last+1].Name, g.Name)
			return
		}
		last = i
	}
	g.Before, g.Addresses, g.After = all[:first], all[first:last+1], all[last+1:]
	for i, r := range g.After {
		if f, ok := r.Resource.(resources.Forerunner); ok {
			b.problem(nodes[last+1+i].value, "%q stands after the address of group %q: write it before, because %s", r.Name, g.Name, f.BeforeAddress())
		}
	}
}

func isAddress(r Resource) bool {
	_, ok := r.Resource.(resources.Address)
	return ok
}

func uniqueName(all []Resource, name string) string {
	unique := name
	for n := 2; slices.ContainsFunc(all, func(r Resource) bool { return r.Name == unique }); n++ {
		unique = fmt.Sprintf("%s #%d", name, n)
	}
	return unique
}

// resource builds one resource; it is false if that failed.
func (b *builder) resource(n *node, group string, here bool) (Resource, bool) {
	times := b.resourceTimes(n)
	t := b.open("resource", resources.Kinds(), n, "timeout", "stop_timeout")
	if t == nil {
		return Resource{}, false
	}
	built, err := b.buildResource(t)
	if err != nil && !here && errors.Is(err, fs.ErrNotExist) {
		built, err = nil, nil // who holds the group has it, and looks for it
	}
	if err != nil {
		b.failed(t, n, err)
		return Resource{}, false
	}
	if a, ok := built.(resources.Address); ok {
		b.address(n, a, group)
	}
	if v, ok := built.(resources.Governor); ok {
		b.governs(n, v, group)
	}
	return Resource{
		Kind: t.kind, Name: nameOf(t), Resource: built,
		StartTimeout: times.Timeout.Std(), StopTimeout: times.StopTimeout.Std(),
	}, true
}

// resourceTimes reads the keys that every resource has.
func (b *builder) resourceTimes(n *node) resourceTable {
	t := defaultResource()
	if n.table == nil {
		return t
	}
	for _, f := range fieldsOf(elem(&t)) {
		if v := n.get(f.key); v != nil {
			b.value(v, f.value, f.key)
			if f.value.Int() <= 0 {
				b.blame(n, f.key, "%s: write a time above zero, like \"20s\"", f.key)
			}
		}
	}
	return t
}

func (b *builder) buildResource(t *pluginTable) (r resources.Resource, err error) {
	defer guard(&err)
	g := &b.site.Global
	bind := b.bind(t)
	site := resources.Site{
		StateDir: g.StateDir, LogDir: g.LogDir, ConfigDir: g.ConfigDir,
		Hostname: b.host.Hostname, Table: table{b.pool, b.host.Table},
	}
	r, err = resources.Build(t.kind, site, func(into any) error {
		b.leaseDefault(into)
		return bind(into)
	})
	b.heed(t, err)
	return r, err
}

// leaseDefault makes the cluster's lease the default of a resource's.
func (b *builder) leaseDefault(into any) {
	if b.doc.Cluster.node == nil {
		return
	}
	for _, f := range fieldsOf(elem(into)) {
		if d, ok := reflect.TypeAssert[*plugin.Duration](f.value.Addr()); ok && f.key == "lease" {
			*d = plugin.Duration(b.site.Cluster.Director.Timings.Lease)
		}
	}
}

// address checks an address against the others, and against who has one already.
func (b *builder) address(n *node, a resources.Address, group string) {
	c, ip := b.site.Cluster, a.Prefix().Addr()
	switch of, twice := b.addresses[ip]; {
	case twice:
		b.blame(n, "address", "address: %s is in group %q already", ip, of)
	case c.nodeOf(ip) != "":
		b.blame(n, "address", "address: %s is node %q's own: a virtual address belongs to nobody", ip, c.nodeOf(ip))
	case slices.Contains(c.Gateways, ip):
		b.blame(n, "address", "address: %s is the gateway's", ip)
	}
	if b.addresses == nil {
		b.addresses = map[netip.Addr]string{}
	}
	b.addresses[ip] = group
	b.lease(n, a, &c.Director.Timings)
}

// lease sees to it that all addresses are held for the same time, which the
// directors count on. Without [cluster] it is the first address's.
func (b *builder) lease(n *node, a resources.Address, t *director.Timings) {
	if a.Lease() == t.Lease {
		return
	}
	switch {
	case b.doc.Cluster.node != nil:
		b.blame(n, "lease", "lease: %s, but [cluster] has %s: all addresses have the same lease, write it there only", a.Lease(), t.Lease)
	case len(b.addresses) > 1:
		b.blame(n, "lease", "lease: %s, but the first address has %s: all addresses have the same lease", a.Lease(), t.Lease)
	default:
		*t = t.WithLease(a.Lease())
	}
}

// groupAlerts builds those who are told of transitions.
func (b *builder) groupAlerts(t groupTable) []transition.Alert {
	var all []transition.Alert
	for _, n := range b.elements(t.Alert.node, "alert") {
		table := b.open("alert", alerts.Kinds(), n)
		if table == nil {
			continue
		}
		b.pool.asked = nil
		alert, err := b.buildAlert(table)
		if err != nil {
			b.failed(table, n, err)
			continue
		}
		if _, follows := alert.(alerts.Follower); follows {
			b.problem(n.value, "%s follows who is up in a watch, and a group has no hosts: put it into a [[watch.period]]", table.kind)
			continue
		}
		name := nameOf(table)
		for n := 2; slices.ContainsFunc(all, func(a transition.Alert) bool { return a.Name == name }); n++ {
			name = fmt.Sprintf("%s #%d", nameOf(table), n)
		}
		all = append(all, transition.Alert{Name: name, Alert: alert})
	}
	return all
}
