package config

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/resources"
)

// A table stands before the daemon's, as the pool does: resources are built against
// the virtual services of the configuration that is being read.
type table struct {
	*pool
	behind resources.Table
}

// Virtuals implements [resources.Table]. A service that has mistakes is one too.
func (t table) Virtuals() []string { return slices.Concat(t.pool.Virtuals(), t.broken) }

// Hold implements [resources.Table].
func (t table) Hold(ctx context.Context, names ...string) error {
	if t.behind == nil {
		return errNoTable
	}
	return t.behind.Hold(ctx, names...)
}

// Resign implements [resources.Table].
func (t table) Resign(ctx context.Context, names ...string) error {
	if t.behind == nil {
		return errNoTable
	}
	return t.behind.Resign(ctx, names...)
}

// Standing implements [resources.Table].
func (t table) Standing(ctx context.Context, names ...string) (resources.Status, error) {
	if t.behind == nil {
		return resources.Stopped, errNoTable
	}
	return t.behind.Standing(ctx, names...)
}

var errNoTable = errors.New("this configuration was only checked: there is no table behind it")

// governs notes the virtual services that belong to a group.
func (b *builder) governs(n *node, r resources.Governor, group string) {
	names := r.Governs()
	all := len(names) == 0
	if all {
		names = table{pool: b.pool}.Virtuals()
	}
	for i, name := range names {
		at := b.element(n, "virtual", i)
		if all {
			at = n.at("virtual")
		}
		if of, twice := b.servers[name]; twice {
			b.problem(at, "virtual: %q is in group %q already", name, of.group)
			continue
		}
		if b.servers == nil {
			b.servers = map[string]server{}
		}
		b.servers[name] = server{group, at}
	}
}

// A server is the group that serves a virtual service, and where it says so.
type server struct {
	group string
	place place
}

// unaddressed warns of virtual services that move without their address.
func (b *builder) unaddressed() {
	for _, v := range b.site.Virtuals {
		s, served := b.servers[v.Name]
		if !served {
			continue
		}
		for _, ip := range clientAddresses(v) {
			if b.addresses[ip] != s.group {
				b.warning(s.place, "virtual: %q is served at %s, which is no address of group %q: nothing brings it to the director that has the group", v.Name, ip, s.group)
				break // one of a range is enough
			}
		}
	}
}

// syncRole warns of a role in [sync] that a director cannot have: one that holds one
// group and not another would have to send for the first and receive for the other.
func (b *builder) syncRole() {
	y := b.site.Sync
	if y == nil || y.Master && y.Backup {
		return
	}
	groups := map[string]bool{}
	for _, s := range b.servers {
		groups[s.group] = true
	}
	if len(groups) > 1 {
		b.warning(b.doc.Sync.node.at("role"), "role: %d groups have virtual services, and a director may hold one and not another; \"both\" sends and receives", len(groups))
	}
}

// clientAddresses are those that a virtual service is reached at; none with a
// firewall mark.
func clientAddresses(v lvs.Virtual) []netip.Addr {
	var all []netip.Addr
	for _, id := range v.IDs {
		if id.Mark == 0 {
			all = append(all, id.Address.Addr().Unmap())
		}
	}
	return all
}

// owner is the group whose holder tells people about a watch.
func (b *builder) owner(n *node, t *watchTable) string {
	c := b.site.Cluster
	switch {
	case n.get("owner") == nil:
		return c.firstGroup()
	case c == nil || len(c.Groups) == 0:
		b.blame(n, "owner", "owner: there is no [[group]] that a director could own: leave the key out")
	case !slices.Contains(c.groupNames(), t.Owner):
		b.blame(n, "owner", "owner: there is no [[group]] %q%s", t.Owner, didYouMean(t.Owner, c.groupNames(), "there are"))
	}
	return t.Owner
}

func (c *Cluster) firstGroup() string {
	if c == nil || len(c.Groups) == 0 {
		return ""
	}
	return c.Groups[0].Name
}

// quorumOwners finds the groups whose holders tell of quorums: those that serve the
// virtual services, or have their addresses, else the first.
func (b *builder) quorumOwners() {
	for name, q := range b.site.Quorums {
		q.Owner = b.site.Cluster.firstGroup()
		i := slices.IndexFunc(b.site.Virtuals, func(v lvs.Virtual) bool { return v.Name == name })
		if i < 0 {
			continue
		}
		for _, ip := range clientAddresses(b.site.Virtuals[i]) {
			if group, ok := b.addresses[ip]; ok {
				q.Owner = group
			}
		}
		if s, ok := b.servers[name]; ok {
			q.Owner = s.group
		}
	}
}
