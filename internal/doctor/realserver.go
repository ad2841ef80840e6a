package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/netif"
)

func (e *exam) realServer(r *RealServer) {
	e.failed()
	if e.Addresses.Err == nil && e.Links.Err == nil && r.Mode != "nat" {
		for _, vip := range r.VIPs {
			e.ownAddress(r, vip)
		}
	}
	if e.Links.Err == nil && slices.ContainsFunc(r.VIPs, netip.Addr.Is4) && r.Mode != "nat" {
		e.quiet()
	}
	if r.Mode == "nat" && e.Routes.Err == nil {
		e.throughDirector(r)
	}
	if r.Mode == "tun" && e.Links.Err == nil && e.Routes.Err == nil {
		e.roomForTunnel(r)
	}
	e.listening(r)
}

// up is the command that makes a real server right.
func up(r *RealServer, vip netip.Addr) string {
	return fmt.Sprintf("monitord realserver up --vip %s --mode %s", vip, r.Mode)
}

// ownAddress: the VIP has to be here, on a device where nobody asks for it.
func (e *exam) ownAddress(r *RealServer, vip netip.Addr) {
	const hidden = "a real server's VIP is on lo, or on the tunnel's device: elsewhere it is announced to the network"
	has, found := e.where(vip)
	if !found {
		e.say(Error, topicAddresses, fmt.Sprintf("%s is not an address of this machine", vip), "packets for it are dropped, or sent on", up(r, vip))
		return
	}
	l, _ := e.link(has.Device)
	remove := fmt.Sprintf("ip address del %s dev %s", has.Prefix, has.Device)
	switch {
	case r.Mode == "tun" && !isTunnel(l) && !l.Loop, r.Mode == "dr" && !l.Loop && !l.NoARP:
		e.say(Error, topicAddresses, fmt.Sprintf("%s is on %s", vip, has.Device), hidden, remove, up(r, vip))
	case !has.Prefix.IsSingleIP():
		e.say(Error, topicAddresses, fmt.Sprintf("%s on %s has the prefix length %d, not %d", vip, has.Device, has.Prefix.Bits(), vip.BitLen()),
			"the whole network "+has.Prefix.Masked().String()+" counts as this machine's: it cannot reach the others there", remove, up(r, vip))
	case !l.Up:
		e.say(Error, topicAddresses, fmt.Sprintf("%s is on %s, which is down", vip, has.Device), "packets for it are dropped", "ip link set "+has.Device+" up")
	default:
		e.ok(topicAddresses, "%s is on %s", has.Prefix, has.Device)
	}
	if r.Mode == "tun" {
		e.tunnelDevice(r, vip)
	}
}

// isTunnel: the kinds that IPVS sends to, and IPv6's.
func isTunnel(l netif.Link) bool {
	return slices.Contains([]string{"ipip", "sit", "ip6tnl", "gre", "ip6gre"}, l.Kind)
}

// tunnelDevice: one that unpacks is up, and rp_filter lets through what it
// unpacks, whose way back is another.
func (e *exam) tunnelDevice(r *RealServer, vip netip.Addr) {
	i := slices.IndexFunc(e.Links.Value, func(l netif.Link) bool { return isTunnel(l) && l.Up })
	if i < 0 {
		mend := []string{up(r, vip)}
		if j := slices.IndexFunc(e.Links.Value, isTunnel); j >= 0 {
			mend = []string{"ip link set " + e.Links.Value[j].Name + " up"}
		}
		e.say(Error, topicAddresses, "no tunnel device is up", "nobody unpacks what the director sends", mend...)
		return
	}
	for _, l := range e.Links.Value {
		if !isTunnel(l) || !l.Up || !vip.Is4() {
			continue
		}
		switch n, known := e.highest(topicAddresses, l.Name, "rp_filter"); {
		case !known:
		case n == 1:
			e.say(Error, topicAddresses, "rp_filter is strict on "+l.Name, "clients' packets come out of the tunnel, their answers leave elsewhere: the kernel drops them",
				set(confKey(l.Name, "rp_filter"), 2))
		default:
			e.ok(topicAddresses, "rp_filter lets tunnelled packets in on %s", l.Name)
		}
	}
}

// quiet: no device may answer ARP for the VIP, nor ask with it as sender.
func (e *exam) quiet() {
	const answers = "this machine answers for the VIP on the network, and clients come to it past the director"
	const asks = "neighbours learn from its questions that this machine has the VIP"
	for _, l := range e.Links.Value {
		if l.Loop || l.NoARP || !l.Up || l.Master != 0 {
			continue
		}
		switch n, known := e.highest(topicAddresses, l.Name, "arp_ignore"); {
		case !known:
		case !slices.Contains([]int{1, 2, 8}, n): // 3 answers for addresses of a wide scope
			e.say(Error, topicAddresses, fmt.Sprintf("arp_ignore is %d on %s", n, l.Name), answers, set(confKey("all", "arp_ignore"), 1))
		default:
			e.ok(topicAddresses, "%s does not answer for the VIP (arp_ignore %d)", l.Name, n)
		}
		switch n, known := e.highest(topicAddresses, l.Name, "arp_announce"); {
		case !known:
		case n != 2:
			e.say(Error, topicAddresses, fmt.Sprintf("arp_announce is %d on %s", n, l.Name), asks, set(confKey("all", "arp_announce"), 2))
		default:
			e.ok(topicAddresses, "%s does not ask in the name of the VIP (arp_announce 2)", l.Name)
		}
	}
}

// throughDirector: with nat the answers have to go back through the director.
func (e *exam) throughDirector(r *RealServer) {
	const why = "with nat only the director can put the VIP back into the answers"
	mend := fmt.Sprintf("ip route replace default via %s", r.Director)
	route, found := e.defaultRoute(r.Director)
	switch {
	case !r.Director.IsValid():
		e.say(Unknown, topicReals, "whether answers go through the director cannot be told without its address", why, "monitord doctor --realserver --mode nat --director ADDRESS")
	case !found:
		e.say(Error, topicReals, "there is no default route", why, mend)
	case route.Gateway != r.Director:
		gateway := "no gateway"
		if route.Gateway.IsValid() {
			gateway = route.Gateway.String()
		}
		e.say(Error, topicReals, fmt.Sprintf("the default route is by %s on %s, not by the director, %s", gateway, route.Device, r.Director), why, mend)
	default:
		e.ok(topicReals, "the default route is by the director, %s", r.Director)
	}
	if has, found := cover(e.Addresses.Value, r.Director); r.Director.IsValid() && found && slices.ContainsFunc(r.VIPs, has.Prefix.Masked().Contains) {
		e.say(Warning, topicReals, fmt.Sprintf("the VIP is in this machine's own network, %s", has.Prefix.Masked()),
			"clients of this network are answered directly, from an address that they do not know", "# in the director's configuration: forward = \"fullnat\" or \"dr\"")
	}
}

// roomForTunnel: what clients send has to fit after the director has packed it.
func (e *exam) roomForTunnel(r *RealServer) {
	for _, vip := range r.VIPs {
		route, found := e.defaultRoute(vip)
		l, there := e.link(route.Device)
		if !found || !there {
			e.unknown(topicReals, fmt.Sprintf("the MTU of the way to the clients of %s", vip), errUngathered)
			continue
		}
		outer := header(vip) // the tunnel is of the VIP's family, mostly
		mtu := l.MTU
		if route.MTU > 0 {
			mtu = route.MTU
		}
		if mtu+outer <= l.MTU {
			e.ok(topicReals, "clients of %s are told to leave %d bytes for the tunnel", vip, outer)
			continue
		}
		e.say(Warning, topicReals, fmt.Sprintf("clients of %s are told to send up to %d bytes, and the tunnel adds %d to them on a network of %d", vip, mtu, outer, l.MTU),
			"large packets from clients are dropped, uploads hang, wherever ICMP is filtered", changeMTU(route, l.MTU-outer))
	}
}

func changeMTU(r netif.Route, mtu int) string {
	by := ""
	if r.Gateway.IsValid() {
		by = "via " + r.Gateway.String() + " "
	}
	return fmt.Sprintf("ip route change default %sdev %s mtu %d", by, r.Device, mtu)
}

// listening: the service has to take connections to the VIP, or with nat to this
// machine's own address.
func (e *exam) listening(r *RealServer) {
	if len(r.Ports) > 0 && e.Listeners.Err != nil {
		e.unknown(topicService, "where services listen", e.Listeners.Err)
		return
	}
	for _, port := range r.Ports {
		var elsewhere []netip.Addr
		for _, l := range e.Listeners.Value {
			if l.Port() == port {
				elsewhere = append(elsewhere, l.Addr())
			}
		}
		for _, vip := range r.VIPs {
			e.listensFor(r, vip, port, elsewhere)
		}
	}
}

func (e *exam) listensFor(r *RealServer, vip netip.Addr, port uint16, at []netip.Addr) {
	service := netip.AddrPortFrom(vip, port)
	takes := func(a netip.Addr) bool {
		switch {
		case a.IsUnspecified(): // that of IPv6 takes IPv4 too, unless told otherwise
			return a.Is6() || vip.Is4()
		case r.Mode == "nat":
			return !a.IsLoopback() && a.Is4() == vip.Is4()
		}
		return a == vip
	}
	switch {
	case slices.ContainsFunc(at, takes):
		e.ok(topicService, "%s is listened to", service)
	case len(at) == 0:
		e.say(Error, topicService, fmt.Sprintf("nothing listens on port %d", port), "connections are refused", fmt.Sprintf("ss -ltnup sport = :%d", port))
	default:
		e.say(Error, topicService, fmt.Sprintf("port %d is listened to on %v only, not on %s", port, at, vip), "connections to the VIP are refused",
			fmt.Sprintf("# in the service's configuration: listen on %s, or on all addresses", service))
	}
}
