package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// virtuals looks at the addresses that clients connect to.
func (e *exam) virtuals(d *Director) {
	seen := map[netip.Addr]bool{}
	for _, s := range d.Services {
		for _, vip := range s.VIPs {
			if seen[vip] || vip.IsUnspecified() || e.Addresses.Err != nil {
				continue
			}
			seen[vip] = true
			here, found := e.where(vip)
			switch {
			case found && here.Duplicate:
				e.say(Error, topicAddresses, fmt.Sprintf("%s on %s is a duplicate", vip, here.Device), "another machine had it first, so the kernel does not use it")
			case found:
				e.ok(topicAddresses, "%s is on %s", vip, here.Device)
				e.returnPath(vip)
			default:
				device := e.deviceOf(vip)
				if device == "" {
					device = "DEVICE"
				}
				e.say(Warning, topicAddresses, fmt.Sprintf("%s is not an address of this machine", vip),
					"clients do not find it here; right for a standby director", fmt.Sprintf("ip address add %s dev %s", host(vip), device))
			}
			e.claims(d, vip, found)
		}
	}
}

// returnPath: rp_filter drops clients' packets that come in where their answer
// would not go out.
func (e *exam) returnPath(vip netip.Addr) {
	in := e.deviceOf(vip)
	out, found := e.defaultRoute(vip)
	if !vip.Is4() || in == "" || !found || out.Device == "" || in == out.Device {
		return
	}
	n, known := e.highest(topicAddresses, in, "rp_filter")
	if known && n == 1 {
		e.say(Warning, topicAddresses, fmt.Sprintf("rp_filter is strict on %s, and the default route is by %s", in, out.Device),
			"clients that come in by one and are answered by the other are dropped", set(confKey(in, "rp_filter"), 2))
	} else if known {
		e.ok(topicAddresses, "rp_filter lets clients of %s in on %s", vip, in)
	}
}

// claims: only one machine may say that it has a virtual address.
func (e *exam) claims(d *Director, vip netip.Addr, here bool) {
	fact, asked := e.Claims[vip]
	if _, on := cover(e.Addresses.Value, vip); !on {
		e.ok(topicAddresses, "%s is in no network of this machine, so nobody can be asked for it", vip)
		return
	}
	if !asked {
		fact.Err = errUngathered
	}
	if fact.Err != nil {
		e.unknown(topicAddresses, fmt.Sprintf("who answers for %s on the network", vip), fact.Err)
		return
	}
	for _, mac := range fact.Value {
		name, isReal := e.owner(d, vip, mac)
		switch {
		case isReal:
			e.say(Error, topicAddresses, fmt.Sprintf("the real server %s (%s) answers for %s", name, mac, vip),
				"its clients' packets go to it past the director, whoever answers first",
				hush(name, vip)...)
		case here:
			e.say(Error, topicAddresses, fmt.Sprintf("%s answers for %s, which this machine has", name, vip),
				"clients' packets go to whoever answers first; two directors are active, or it is a real server", "# on that machine: monitord realserver up --vip "+vip.String())
		default:
			e.say(Warning, topicAddresses, fmt.Sprintf("%s answers for %s", name, vip), "right if that is the active director")
		}
	}
	if len(fact.Value) == 0 {
		e.ok(topicAddresses, "nobody else answers for %s", vip)
	}
}

// owner is who has a MAC address: the real server's IP address, of the virtual
// one's family if it has one, else the MAC.
func (e *exam) owner(d *Director, vip netip.Addr, mac net.HardwareAddr) (name string, isReal bool) {
	name = mac.String()
	for _, n := range e.Neighbours.Value {
		if !slices.Equal(n.MAC, mac) || !e.isReal(d, n.Address) {
			continue
		}
		if name, isReal = n.Address.String(), true; n.Address.Is4() == vip.Is4() {
			break
		}
	}
	return name, isReal
}

func (e *exam) isReal(d *Director, a netip.Addr) bool {
	for _, s := range d.Services {
		for _, r := range s.Reals {
			if r.Address == a || slices.Contains(e.Names[r.Name].Value, a) {
				return true
			}
		}
	}
	return false
}

// hush is what keeps a real server from answering for a virtual address. IPv6
// answers for none of another device (ndisc_recv_ns), so it has it on the wrong one.
func hush(name string, vip netip.Addr) []string {
	if vip.Is6() {
		return []string{"# on " + name + ":", fmt.Sprintf("ip address del %s dev DEVICE", host(vip)), "monitord realserver up --vip " + vip.String()}
	}
	return []string{
		"# on " + name + ":", set(confKey("all", "arp_ignore"), 1), set(confKey("all", "arp_announce"), 2),
		"# on the gateway:", "ip neighbour flush to " + vip.String(),
	}
}
