package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
)

// nodeTable is one machine of a cluster.
type nodeTable struct {
	Name     string   `toml:"name" doc:"The machine's name, as \"uname -n\" prints it; no default."`
	Address  []string `toml:"address" doc:"Its addresses, one for each link, in the same order on all nodes; \"\" for a link that it is not on; no default."`
	Priority int      `toml:"priority" doc:"Which director is preferred by groups without an order: more is better; default 0."`
	Witness  bool     `toml:"witness" doc:"Whether it only votes and never holds a group; default false."`
}

const (
	// longestName and mostLinks are what a packet of package heartbeat has room for.
	longestName = 64
	mostLinks   = 128
)

// machines reads the list of nodes.
func (b *builder) machines(t *clusterTable, c *Cluster) {
	list := t.Node.node
	if list == nil {
		b.problem(b.doc.Cluster.value, "[cluster] has no node: write node = [{ name = \"dr1\", address = [\"10.0.0.11\"] }, ...]")
		return
	}
	used := map[netip.Addr]string{}
	for _, n := range b.elements(list, "node") {
		var m nodeTable
		_ = b.table(n, &m, "node") // the problems are in the report
		b.machineName(n, m.Name, c)
		c.Director.Nodes = append(c.Director.Nodes, director.Node{Name: m.Name, Priority: m.Priority, Witness: m.Witness})
		links := b.links(n, m, t.Port, used)
		b.linkKinds(n, links, c)
		c.Links = append(c.Links, heartbeat.Node{Name: m.Name, Links: links})
	}
	if !slices.ContainsFunc(c.Director.Nodes, func(n director.Node) bool { return !n.Witness }) {
		b.blame(b.doc.Cluster.node, "node", "node: no director is among them, only witnesses")
	}
}

func (b *builder) machineName(n *node, name string, c *Cluster) {
	switch {
	case !validName(name):
		b.blame(n, "name", "name: %q is no name of a machine", name)
	case len(name) > longestName:
		b.blame(n, "name", "name: %d characters are too many: write at most %d", len(name), longestName)
	case slices.ContainsFunc(c.Links, func(other heartbeat.Node) bool { return strings.EqualFold(other.Name, name) }):
		b.blame(n, "name", "name: there is another node %q", name)
	}
}

// links reads a node's addresses; used are those of all nodes.
func (b *builder) links(n *node, t nodeTable, port uint16, used map[netip.Addr]string) []netip.AddrPort {
	links := make([]netip.AddrPort, len(t.Address))
	reachable := false
	for i, text := range t.Address {
		if text == "" {
			continue
		}
		reachable = true
		a, err := netip.ParseAddr(text)
		a = a.Unmap()
		at := b.element(n, "address", i)
		switch {
		case err != nil || a.IsUnspecified() || a.IsMulticast():
			b.problem(at, "address: %q is no address of a machine", text)
		case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
			b.problem(at, "address: %s can be on any network: write its interface too, like %s%%eth1", text, text)
		case used[a] != "":
			b.problem(at, "address: %s is an address of node %q already", text, used[a])
		default:
			used[a] = cmp.Or(t.Name, "without a name")
			links[i] = netip.AddrPortFrom(a, port)
		}
	}
	if !reachable {
		b.blame(n, "address", "node %q has no address: write one for each link", t.Name)
	}
	if len(links) > mostLinks {
		b.blame(n, "address", "address: %d links are too many: write at most %d", len(links), mostLinks)
	}
	return links
}

// linkKinds refuses an address of another kind than an earlier node's on the same link:
// neither would ever hear the other there.
func (b *builder) linkKinds(n *node, links []netip.AddrPort, c *Cluster) {
	for i, at := range links {
		other := slices.IndexFunc(c.Links, func(o heartbeat.Node) bool {
			return at.IsValid() && i < len(o.Links) && o.Links[i].IsValid() && o.Links[i].Addr().Is4() != at.Addr().Is4()
		})
		if other >= 0 {
			b.problem(b.element(n, "address", i), "address: %s is on the same link as %s of node %q, and only one of them is IPv4: all nodes list their links in the same order, \"\" for one that a node is not on",
				at.Addr(), c.Links[other].Links[i].Addr(), c.Links[other].Name)
		}
	}
}

// linkNames checks the names of the links.
func (b *builder) linkNames(n *node, t *clusterTable, c *Cluster) {
	most := 0
	for _, m := range c.Links {
		most = max(most, len(m.Links))
	}
	if len(t.Link) > most {
		b.blame(n, "link", "link: %s, but no node has more than %s", numbered(len(t.Link), "name", "names"), numbered(most, "address", "addresses"))
	}
	c.LinkNames = t.Link
}

func numbered(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// self finds this machine among the nodes.
func (b *builder) self(n *node, c *Cluster) {
	name, err := b.host.among(c.Links)
	switch {
	case err == nil:
		c.Director.Self = name
	case errors.Is(err, errStranger) && b.host.AnyNode:
		first := slices.IndexFunc(c.Director.Nodes, func(n director.Node) bool { return !n.Witness })
		c.Director.Self, c.Stranger = c.Director.Nodes[first].Name, true
	default:
		b.problem(n.at("node"), "%v", err)
	}
}

// errStranger says that a machine is none of the nodes.
var errStranger = errors.New("this machine is none of the nodes")

// among returns the name of the node that this machine is: the one it is told to be,
// the one of its host name, else the one that has one of its addresses.
func (h Host) among(nodes []heartbeat.Node) (string, error) {
	if h.Node != "" {
		return h.named(nodes)
	}
	for _, same := range []func(name string) bool{
		func(name string) bool { return strings.EqualFold(name, h.Hostname) },
		func(name string) bool { return strings.EqualFold(short(name), short(h.Hostname)) },
	} {
		if found := matching(nodes, func(n heartbeat.Node) bool { return same(n.Name) }); len(found) == 1 {
			return found[0], nil
		}
	}
	found := matching(nodes, h.hasOneOf)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("%w: none is called %q (its host name) and none has an address of it (%s): write a node for it, or start with --node NAME", errStranger, h.Hostname, h.addressList())
	}
	return "", fmt.Errorf("this machine has addresses of several nodes, %s, and the host name %q is none of them: start with --node NAME", strings.Join(found, ", "), h.Hostname)
}

func (h Host) named(nodes []heartbeat.Node) (string, error) {
	var names []string
	for _, n := range nodes {
		if n.Name == h.Node {
			return n.Name, nil
		}
		names = append(names, n.Name)
	}
	return "", fmt.Errorf("--node %s: there is no such node%s", h.Node, didYouMean(h.Node, names, "there are"))
}

func matching(nodes []heartbeat.Node, match func(heartbeat.Node) bool) []string {
	var names []string
	for _, n := range nodes {
		if match(n) {
			names = append(names, n.Name)
		}
	}
	return names
}

// short is a host name without its domain.
func short(name string) string {
	name, _, _ = strings.Cut(name, ".")
	return name
}

func (h Host) hasOneOf(n heartbeat.Node) bool {
	return slices.ContainsFunc(n.Links, func(at netip.AddrPort) bool {
		return slices.ContainsFunc(h.Addresses, func(a netip.Addr) bool { return sameAddress(a, at.Addr()) })
	})
}

// sameAddress compares without zones: they have other names on other machines.
func sameAddress(a, b netip.Addr) bool { return a.Unmap().WithZone("") == b.Unmap().WithZone("") }

func (h Host) addressList() string {
	var texts []string
	for _, a := range h.Addresses {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			texts = append(texts, a.Unmap().String())
		}
	}
	if len(texts) == 0 {
		return "it has none"
	}
	return strings.Join(texts, ", ")
}

// keys looks at the files with the cluster's secret, as far as this user may. On a
// machine that is none of the nodes there need not be any.
func (b *builder) keys(n *node, t *clusterTable, c *Cluster) {
	if len(t.KeyFile) == 0 {
		b.blame(n, "key_file", "key_file is empty: write a path, or leave the key out for %s", defaultKeyFile)
	}
	whole := true
	for i, text := range t.KeyFile {
		at := b.element(n, "key_file", i)
		path, err := filepath.Abs(below(filepath.Dir(at.in.name), text))
		if err == nil {
			_, err = heartbeat.LoadKeys(path)
		}
		c.KeyFiles = append(c.KeyFiles, path)
		whole = whole && err == nil
		b.keyFile(at, text, err, c.Director.Self == "" || c.Stranger)
	}
	if !whole {
		return
	}
	if _, err := heartbeat.LoadKeys(c.KeyFiles...); err != nil && len(c.KeyFiles) > 1 {
		b.blame(n, "key_file", "key_file: %v", err)
	}
}

func (b *builder) keyFile(at place, text string, err error, stranger bool) {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause // it names the path again
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		b.warning(at, "key_file: %s was not looked at: %v", text, err)
	case errors.Is(err, fs.ErrNotExist) && stranger: // or it was not found out who it is, which is a mistake by itself
		b.warning(at, "key_file: %s is not here, on none of the nodes; each node needs it: make it with \"monitord keygen %s\" and copy it to every node", text, text)
	case errors.Is(err, fs.ErrNotExist):
		b.problem(at, "key_file: %s: %v: make it with \"monitord keygen %s\" and copy it to every node", text, err, text)
	default:
		b.problem(at, "key_file: %s: %v", text, err)
	}
}

// relay decides whether heartbeats go through the gateway too: as the file says; else
// if there is one, unless it is known to be on none of this node's networks. What is
// decided here holds until the next start.
func (b *builder) relay(t clusterTable, c *Cluster) bool {
	n := b.doc.Cluster.node
	if n == nil || len(c.Links) < 2 {
		return false
	}
	if n.get("relay") != nil {
		if t.Relay && len(c.Gateways) == 0 {
			b.blame(n, "relay", "relay: there is no gateway to go through: write [fence] with one, or relay = false")
		}
		return t.Relay
	}
	if c.Stranger || len(b.host.Networks) == 0 {
		return len(c.Gateways) > 0
	}
	return slices.ContainsFunc(c.own(), func(own netip.Addr) bool { return b.host.mayReach(own, c.Gateways) })
}

// mayReach tells whether one of the gateways is on the network of an own address, or may
// be once the address's interface is there, which it need not be at the start.
func (h Host) mayReach(own netip.Addr, gateways []netip.Addr) bool {
	missing := own.IsValid() && !own.IsLinkLocalUnicast()
	for _, p := range h.Networks {
		if !p.Contains(own) {
			continue
		}
		if slices.ContainsFunc(gateways, p.Contains) {
			return true
		}
		missing = false
	}
	return missing && slices.ContainsFunc(gateways, func(via netip.Addr) bool {
		return via.Is4() == own.Is4() && !slices.ContainsFunc(h.Networks, func(p netip.Prefix) bool { return p.Contains(via) })
	})
}

// own are this node's addresses.
func (c *Cluster) own() []netip.Addr {
	var all []netip.Addr
	for _, n := range c.Links {
		if n.Name != c.Director.Self {
			continue
		}
		for _, at := range n.Links {
			all = append(all, at.Addr())
		}
	}
	return all
}

// nodeOf returns the name of the node that has an address, or "".
func (c *Cluster) nodeOf(a netip.Addr) string {
	for _, n := range c.Links {
		if slices.ContainsFunc(n.Links, func(at netip.AddrPort) bool { return sameAddress(at.Addr(), a) }) {
			return n.Name
		}
	}
	return ""
}
