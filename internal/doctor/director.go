package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/netif"
)

// The sysctls that are looked at.
const (
	forward4        = "net.ipv4.ip_forward"
	forward6        = "net.ipv6.conf.all.forwarding"
	vsConntrack     = "net.ipv4.vs.conntrack"
	expireTemplates = "net.ipv4.vs.expire_quiescent_template"
	expireNoDest    = "net.ipv4.vs.expire_nodest_conn"
	conntrackMax    = "net.netfilter.nf_conntrack_max"
	conntrackCount  = "net.netfilter.nf_conntrack_count"
)

// itself is said of sysctls that the daemon sets.
const itself = "; monitord run sets it while it forwards with the kernel"

func (e *exam) director(d *Director) {
	e.failed()
	if d.Kernel {
		if e.ipvs() {
			e.schedulers(d)
			e.connections(d)
		}
		e.forwarding(d)
		e.redirects(d)
		for _, s := range d.Services {
			for _, r := range s.Reals {
				for _, a := range e.addresses(r) {
					e.real(s, r, a)
				}
			}
		}
		e.wayBack(d)
	}
	e.virtuals(d)
	e.tracked()
	if d.Sync != nil {
		e.sync(*d.Sync)
	}
}

// ipvs reports whether the kernel has it, so that the rest is worth a look.
func (e *exam) ipvs() bool {
	const why = "without ip_vs the kernel forwards nothing"
	switch err := e.IPVS.Err; {
	case err == nil:
		e.ok(topicKernel, "ip_vs %s, connection table of %d", e.IPVS.Value.Version, e.IPVS.Value.ConnectionTableSize)
		return true
	case errors.Is(err, ipvs.ErrNoKernel):
		mend := []string{"modprobe ip_vs"}
		if e.Modules["ip_vs"].Value != Loadable {
			mend = append(packages(), mend...)
		}
		e.say(Error, topicKernel, "the kernel has no ip_vs", why, append(mend, "echo ip_vs > /etc/modules-load.d/ip_vs.conf")...)
	case errors.Is(err, ipvs.ErrNoPermission):
		e.say(Unknown, topicKernel, "this user may not use ip_vs", "only root, or the capability CAP_NET_ADMIN, may", "sudo monitord doctor")
	default:
		e.unknown(topicKernel, "ip_vs", err)
	}
	return false
}

// packages are where distributions keep modules that their smaller kernels lack.
func packages() []string {
	return []string{
		"apt-get install linux-modules-extra-$(uname -r)   # Ubuntu; Debian: linux-image-amd64 in place of the -cloud one",
		"dnf install kernel-modules-$(uname -r)            # Fedora, RHEL",
	}
}

func (e *exam) schedulers(d *Director) {
	for _, name := range schedulers(d) {
		module := "ip_vs_" + name
		fact, asked := e.Modules[module]
		switch {
		case !asked:
			e.unknown(topicKernel, "module "+module, errUngathered)
		case fact.Err != nil:
			e.unknown(topicKernel, "module "+module, fact.Err)
		case fact.Value == Absent:
			e.say(Error, topicKernel, fmt.Sprintf("the scheduler %s needs the module %s, which is not installed", name, module),
				"its services cannot be made", append(packages(), "modprobe "+module)...)
		default:
			e.ok(topicKernel, "scheduler %s: module %s is %s", name, module, fact.Value)
		}
	}
}

func schedulers(d *Director) []string {
	var all []string
	for _, s := range d.Services {
		if s.Scheduler != "" {
			all = append(all, s.Scheduler)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// uses reports whether a real server of a family is forwarded to like that.
func (d *Director) uses(is4 bool, forwards ...string) bool {
	for _, s := range d.Services {
		for _, r := range s.Reals {
			family := r.Address.Is4()
			if !r.Address.IsValid() && len(s.VIPs) > 0 { // a name
				family = s.VIPs[0].Is4()
			}
			if family == is4 && slices.Contains(forwards, r.Forward) {
				return true
			}
		}
	}
	return false
}

func (e *exam) forwarding(d *Director) {
	const why = "with nat and fullnat the answers of the real servers go through the director, which drops them"
	for _, key := range []string{forward4, forward6} {
		if !d.uses(key == forward4, "nat", "fullnat") {
			continue
		}
		n, known := e.number(topicForwarding, key, -1)
		switch {
		case !known:
		case n == 0:
			e.say(Error, topicForwarding, key+" is off", why, set(key, 1))
		default:
			e.ok(topicForwarding, "%s is on", key)
		}
	}
}

// redirects: the director may not tell machines of one network to talk to each
// other past it. IPv6 sends none for what IPVS forwards.
func (e *exam) redirects(d *Director) {
	const why = "in one network the director tells real servers and clients of a shorter way past itself, on which connections hang"
	var devices []string
	for _, s := range d.Services {
		for _, r := range s.Reals {
			for _, a := range e.addresses(r) {
				if (r.Forward == "nat" || r.Forward == "dr") && a.Is4() && e.RoutesTo[a].Value.Device != "" && !e.RoutesTo[a].Value.Local {
					devices = append(devices, e.RoutesTo[a].Value.Device)
				}
			}
		}
	}
	slices.Sort(devices)
	for _, device := range slices.Compact(devices) {
		n, known := e.highest(topicForwarding, device, "send_redirects")
		switch {
		case !known:
		case n != 0:
			e.say(Warning, topicForwarding, "send_redirects is on for "+device, why, set(confKey("all", "send_redirects"), 0), set(confKey(device, "send_redirects"), 0))
		default:
			e.ok(topicForwarding, "send_redirects is off for %s", device)
		}
	}
}

// addresses are a real server's. That a name has none was said by the caller of
// Gather's facts in real.
func (e *exam) addresses(r Real) []netip.Addr {
	if r.Address.IsValid() {
		return []netip.Addr{r.Address}
	}
	fact, asked := e.Names[r.Name]
	if !asked {
		fact.Err = errUngathered
	}
	if fact.Err != nil {
		e.unknown(topicReals, "the address of "+r.Host, fact.Err)
	}
	return fact.Value
}

// real looks at the way to one real server.
func (e *exam) real(s Service, r Real, a netip.Addr) {
	fact, asked := e.RoutesTo[a]
	if !asked {
		fact.Err = errUngathered
	}
	route := fact.Value
	switch {
	case errors.Is(fact.Err, netif.ErrUnreachable), fact.Err == nil && route.Rejected:
		e.say(Error, topicReals, fmt.Sprintf("%s has no route", a), "nothing can be forwarded to it", fmt.Sprintf("ip route add %s via GATEWAY", host(a)))
	case fact.Err != nil:
		e.unknown(topicReals, fmt.Sprintf("the route to %s", a), fact.Err)
	case route.Local || r.Forward == "local":
	case r.Forward == "dr" && route.Gateway.IsValid():
		e.say(Warning, topicReals, fmt.Sprintf("%s with dr is behind the gateway %s, not on the director's network", a, route.Gateway),
			"dr changes the MAC address alone: the gateway gets packets for the VIP and sends them back, or away", "# in the configuration: forward = \"tun\", \"nat\" or \"fullnat\" for "+r.Host)
	case r.Forward == "dr":
		e.ok(topicReals, "%s is on the director's network, on %s", a, route.Device)
	case r.Forward == "tun":
		e.tunnel(s, r, a, route)
	}
}

// host is an address as a network of one.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// The headers' lengths, in bytes (RFC 791, RFC 8200, RFC 9293).
const (
	header4, header6, headerTCP = 20, 40, 20
)

func header(a netip.Addr) int {
	if a.Is4() {
		return header4
	}
	return header6
}

// tunnel compares what clients may send with what the tunnel may carry.
func (e *exam) tunnel(s Service, r Real, a netip.Addr, route netif.Route) {
	for _, vip := range s.VIPs {
		device := e.deviceOf(vip)
		l, found := e.link(device)
		if !found || route.MTU == 0 {
			e.unknown(topicReals, fmt.Sprintf("the MTU of the way from the clients of %s to %s", vip, a), errUngathered)
			continue
		}
		overhead := header(a) + r.Overhead
		if route.MTU >= l.MTU+overhead {
			e.ok(topicReals, "the tunnel to %s carries the clients' packets: %d ≥ %d + %d", a, route.MTU, l.MTU, overhead)
			continue
		}
		mss := route.MTU - overhead - header(vip) - headerTCP
		e.say(Warning, topicReals,
			fmt.Sprintf("the MTU to %s is %d, but clients of %s may send %d and the tunnel adds %d", a, route.MTU, vip, l.MTU, overhead),
			"large packets from clients are dropped, uploads hang, wherever ICMP is filtered",
			fmt.Sprintf("# on %s, for what it answers:", r.Host),
			"nft add table inet mss",
			"nft 'add chain inet mss output { type route hook output priority mangle; }'",
			fmt.Sprintf("nft add rule inet mss output %s saddr %s tcp flags syn tcp option maxseg size set %d", ipWord(vip), vip, mss))
	}
}

func ipWord(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// deviceOf is where the clients of a virtual address come in, as far as can be
// told: the device in whose network it is, else that which has it, else that of
// the default route.
func (e *exam) deviceOf(vip netip.Addr) string {
	if has, found := cover(e.Addresses.Value, vip); found {
		return has.Device
	}
	if has, found := e.where(vip); found {
		if l, _ := e.link(has.Device); !l.Loop {
			return has.Device
		}
	}
	r, _ := e.defaultRoute(vip)
	return r.Device
}

// wayBack: whether a real server with nat answers through the director is seen
// only there, but in one case it is seen that it does not.
func (e *exam) wayBack(d *Director) {
	for _, s := range d.Services {
		for _, r := range s.Reals {
			for _, a := range e.addresses(r) {
				if r.Forward != "nat" || e.RoutesTo[a].Value.Local {
					continue
				}
				e.answersBack(s, a)
			}
		}
	}
}

func (e *exam) answersBack(s Service, a netip.Addr) {
	own := "ADDRESS"
	network, onLink := cover(e.Addresses.Value, a)
	if onLink {
		own = network.Prefix.Addr().String()
	}
	for _, vip := range s.VIPs {
		command := fmt.Sprintf("monitord doctor --realserver --mode nat --vip %s --director %s   # on %s", vip, own, a)
		if onLink && network.Prefix.Masked().Contains(vip) {
			e.say(Warning, topicReals, fmt.Sprintf("%s with nat is in the network of its VIP %s, %s", a, vip, network.Prefix.Masked()),
				"it answers clients of this network directly, from its own address, which they do not know",
				"# in the configuration: forward = \"fullnat\" or \"dr\", or keep clients out of this network", command)
			continue
		}
		e.say(Unknown, topicReals, fmt.Sprintf("whether %s answers through this director cannot be seen from here", a),
			"with nat, answers that go another way have an address that clients do not know", command)
	}
}

// connections looks at what IPVS does with those of servers that went away.
func (e *exam) connections(d *Director) {
	var templates, cut bool
	for _, s := range d.Services {
		templates = templates || s.Persistent
		cut = cut || s.Cut
	}
	if templates {
		e.wantOn(expireTemplates, "persistent clients are sent to a server that is down until their time is over"+itself)
	}
	if cut {
		e.wantOn(expireNoDest, "connections to a removed server hang instead of ending"+itself)
	}
	tracked, known := e.number(topicConnections, vsConntrack, 0)
	fullnat := d.uses(true, "fullnat") || d.uses(false, "fullnat")
	switch {
	case !known:
	case fullnat && tracked == 0:
		e.say(Warning, topicConnections, vsConntrack+" is off", "fullnat needs it to translate the clients' addresses"+itself, set(vsConntrack, 1))
	case !fullnat && tracked != 0:
		e.say(Warning, topicConnections, vsConntrack+" is on and no service needs it",
			"each connection is tracked twice, which costs time and memory; right if a firewall filters by state", set(vsConntrack, 0))
	default:
		e.ok(topicConnections, "%s is %d", vsConntrack, tracked)
	}
}

func (e *exam) wantOn(key, why string) {
	n, known := e.number(topicConnections, key, 0)
	switch {
	case !known:
	case n == 0:
		e.say(Warning, topicConnections, key+" is off", why, set(key, 1))
	default:
		e.ok(topicConnections, "%s is on", key)
	}
}

// tracked: a full table of netfilter's drops new connections.
func (e *exam) tracked() {
	if errors.Is(e.Sysctls[conntrackMax].Err, netif.ErrMissing) {
		return // it does not track
	}
	most, knownMost := e.number(topicConnections, conntrackMax, -1)
	now, knownNow := e.number(topicConnections, conntrackCount, -1)
	if !knownMost || !knownNow || most == 0 { // 0 is no limit
		return
	}
	const why = "when the table is full new connections are dropped: \"nf_conntrack: table full\" in the kernel's log"
	what := fmt.Sprintf("%d of %d connections are tracked by netfilter", now, most)
	switch share := 100 * now / most; {
	case share >= 95:
		e.say(Error, topicConnections, what, why, set(conntrackMax, 4*most))
	case share >= 75:
		e.say(Warning, topicConnections, what, why, set(conntrackMax, 4*most))
	default:
		e.ok(topicConnections, "%s", what)
	}
}

func (e *exam) sync(s Sync) {
	if e.Links.Err != nil {
		return
	}
	l, found := e.link(s.Interface)
	if !found {
		names := make([]string, len(e.Links.Value))
		for i, l := range e.Links.Value {
			names[i] = l.Name
		}
		e.say(Error, topicSync, fmt.Sprintf("there is no interface %s", s.Interface), "the sync daemon cannot start",
			"# in the configuration, [sync] interface: one of "+strings.Join(names, ", "))
		return
	}
	can, known := e.Multicast.Value[s.Interface]
	hasAddress := slices.ContainsFunc(e.Addresses.Value, func(a netif.Address) bool {
		return a.Device == s.Interface && a.Prefix.Addr().Is4() == s.Group.Is4()
	})
	switch {
	case !l.Up:
		e.say(Error, topicSync, s.Interface+" is down", "no other director hears of connections", "ip link set "+s.Interface+" up")
	case !known:
		e.unknown(topicSync, "whether "+s.Interface+" can multicast", errors.Join(e.Multicast.Err, errUngathered))
	case !can:
		e.say(Error, topicSync, s.Interface+" cannot multicast", "the sync daemon's messages are multicast", "ip link set "+s.Interface+" multicast on")
	case e.Addresses.Err == nil && !hasAddress:
		e.say(Error, topicSync, s.Interface+" has no address of the family of "+s.Group.String(), "the sync daemon has nothing to send from", "ip address add ADDRESS dev "+s.Interface)
	default:
		e.ok(topicSync, "%s is up, has an address, and can multicast", s.Interface)
	}
}
