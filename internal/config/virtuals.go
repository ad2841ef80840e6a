package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/watch"
)

// virtuals builds the virtual services and what they stand on.
func (b *builder) virtuals() {
	b.site.LVS = lvs.DefaultConfig()
	if n := b.doc.LVS.node; n != nil && b.table(n, &b.site.LVS, "[lvs]") == nil {
		b.complain(n, "lvs", b.site.LVS.Check())
	}
	b.sync(b.doc.Sync.node)
	for _, n := range b.sections(b.doc.Virtual.node, "virtual") {
		b.virtual(n)
	}
}

func (b *builder) sync(n *node) {
	if n == nil {
		return
	}
	c := lvs.DefaultSyncConfig()
	if b.table(n, &c, "[sync]") != nil {
		return
	}
	s, err := c.Build(b.site.LVS.Backend)
	b.complain(n, "sync", err)
	b.site.Sync = &s
}

func (b *builder) virtual(n *node) {
	t := virtualTable{VirtualConfig: lvs.DefaultVirtualConfig()}
	if b.table(n, &t, "[[virtual]]") != nil {
		b.pool.broken = append(b.pool.broken, t.Name)
		return
	}
	if other, twice := b.virtualPlaces[t.Name]; twice && t.Name != "" {
		b.problem(n.at("name"), "name: there is another virtual service %q, in %s", t.Name, other.position())
		return
	}
	b.virtualPlaces[t.Name] = n.value
	v, err := t.Build(b.site.LVS.Backend)
	b.complain(n, "virtual", err)
	if err == nil {
		err = lvs.Clash(b.site.Virtuals, v)
		b.complain(n, "virtual", err)
	}
	if err != nil {
		b.pool.broken = append(b.pool.broken, t.Name)
		return
	}
	b.site.Virtuals = append(b.site.Virtuals, v)
	b.pool.virtuals = b.site.Virtuals
	b.quorum(v, t)
	b.reachable(n, v)
	b.oneFamily(n, v)
}

// oneFamily refuses what the kernel would: it cannot tell another director of
// connections from one address family to the other (ip_vs_ctl.c,
// ip_vs_genl_set_cmd).
func (b *builder) oneFamily(n *node, v lvs.Virtual) {
	if b.site.Sync == nil {
		return
	}
	for _, r := range v.Reals {
		if a := r.Address.Addr(); a.IsValid() && a.BitLen() != v.Family().BitLen() {
			b.problem(n.at("real"), "real server %s is of another address family than the virtual service: the kernel cannot have that beside [sync]", r.Host)
		}
	}
}

// quorum builds the alerts about a virtual service's quorum.
func (b *builder) quorum(v lvs.Virtual, t virtualTable) {
	if t.QuorumAlert.node == nil && t.QuorumUpAlert.node == nil {
		return
	}
	q := &Quorum{Watch: Watch{
		Config:      watch.Config{Key: watch.Key{Group: v.Name, Service: "quorum"}},
		Actions:     map[string]alerts.Alert{},
		Description: "servers of virtual service " + v.Name,
	}}
	q.Lost = b.actions(t.QuorumAlert.node, "quorum_alert", &q.Watch)
	q.Had = b.actions(t.QuorumUpAlert.node, "quorum_upalert", &q.Watch)
	b.site.Quorums[v.Name] = q
}

// actions builds a list of alerts that are messages.
func (b *builder) actions(list *node, key string, w *Watch) []watch.Action {
	var all []watch.Action
	for _, n := range b.elements(list, key) {
		if a, ok := b.action(n, fmt.Sprintf("%s/%s", w.Key, key), w, true); ok {
			all = append(all, a)
		}
	}
	return all
}

// reachable warns of real servers that direct routing does not reach: it changes
// the address of the frame alone, so that a router on the way would send the
// packet back to the virtual address.
func (b *builder) reachable(n *node, v lvs.Virtual) {
	if len(b.host.Networks) == 0 || b.site.LVS.Backend != lvs.BackendKernel {
		return
	}
	for _, r := range v.Reals {
		a := r.Address.Addr()
		if r.Forward != lvs.DirectRouting || !a.IsValid() {
			continue
		}
		if !slices.ContainsFunc(b.host.Networks, func(p netip.Prefix) bool { return p.Contains(a) }) {
			b.warning(n.at("real"), "real server %s is on no network of this machine: forward = %q reaches servers on the same network only, use %q, %q or %q", r.Host, lvs.DirectRouting, lvs.Tunneling, lvs.NAT, lvs.FullNAT)
		}
	}
}
