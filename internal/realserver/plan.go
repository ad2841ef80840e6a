package realserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/monitord/monitord/internal/netif"
)

// An entry is a VIP that is up, or meant to be.
type entry struct {
	VIP    netip.Addr    `json:"vip"`
	Mode   Mode          `json:"mode"`
	Device string        `json:"device"`
	Tunnel Encapsulation `json:"tunnel,omitempty"`
	Port   uint16        `json:"port,omitempty"`
	Outer  int           `json:"outer,omitempty"`
	Via    []string      `json:"via,omitempty"`
}

func (e entry) equal(o entry) bool {
	return slices.Equal(e.Via, o.Via) && e.VIP == o.VIP && e.Mode == o.Mode && e.Device == o.Device &&
		e.Tunnel == o.Tunnel && e.Port == o.Port && e.Outer == o.Outer
}

func (e entry) String() string {
	if e.Mode == DR {
		return fmt.Sprintf("%s by dr on %s", e.VIP, e.Device)
	}
	return fmt.Sprintf("%s by tun (%s) on %s", e.VIP, e.Tunnel, e.Device)
}

// A kind is what a thing is.
type kind string

const (
	sysctl    kind = "sysctl"    // its value
	address   kind = "address"   // present or absent
	link      kind = "link"      // up or down, or absent
	tunnel    kind = "tunnel"    // present or absent
	port      kind = "port"      // present or absent
	quiet     kind = "quiet"     // the device answers no ARP: "quiet" or what it is
	elsewhere kind = "elsewhere" // the address on devices that do answer ARP: "10.0.0.1/24 dev eth0", or nothing
)

// Values of things.
const (
	present = "present"
	absent  = "absent"
	up      = "up"
	down    = "down"
)

// A thing is something of the kernel's with a value. It is comparable, and written
// to the memory.
type thing struct {
	Kind   kind         `json:"kind"`
	Key    netif.Sysctl `json:"key,omitempty"`
	Device string       `json:"device,omitempty"`
	VIP    netip.Addr   `json:"vip,omitzero"`
	Port   uint16       `json:"port,omitempty"`
	Outer  int          `json:"outer,omitempty"` // of the port: 4 or 6
}

func (t thing) String() string {
	switch t.Kind {
	case sysctl:
		return string(t.Key)
	case address:
		return fmt.Sprintf("%s on %s", t.prefix(), t.Device)
	case link:
		return "device " + t.Device
	case tunnel:
		return "tunnel device " + t.Device
	case port:
		return fmt.Sprintf("GUE at UDP port %d (IPv%d)", t.Port, t.Outer)
	case quiet:
		return "ARP at " + t.Device
	case elsewhere:
		return fmt.Sprintf("%s on other devices", t.VIP)
	}
	return string(t.Kind)
}

func (t thing) prefix() netip.Prefix { return netip.PrefixFrom(t.VIP, t.VIP.BitLen()) }

// command is what a person would type to give the thing a value.
func (t thing) command(value string) string {
	switch t.Kind {
	case sysctl:
		return t.Key.Command(value)
	case address:
		if t.VIP.Is4() {
			return fmt.Sprintf("ip addr add %s dev %s scope host", t.prefix(), t.Device)
		}
		return fmt.Sprintf("ip addr add %s dev %s nodad preferred_lft 0", t.prefix(), t.Device)
	case link:
		return fmt.Sprintf("ip link set %s up", t.Device)
	case tunnel:
		return "modprobe " + module(t)
	case port:
		if t.Outer == 6 {
			return fmt.Sprintf("modprobe fou; ip -6 fou add port %d gue", t.Port)
		}
		return fmt.Sprintf("modprobe fou; ip fou add port %d gue", t.Port)
	case quiet, elsewhere:
	}
	return ""
}

// tunnelKinds are rtnetlink's kinds of the devices that come with a module, and
// the modules.
func tunnelKinds() map[string][2]string {
	return map[string][2]string{
		"tunl0": {"ipip", "ipip"}, "sit0": {"sit", "sit"}, "ip6tnl0": {"ip6tnl", "ip6_tunnel"},
		"gre0": {"gre", "ip_gre"}, "ip6gre0": {"ip6gre", "ip6_gre"},
	}
}

// module is what the kernel needs for a thing.
func module(t thing) string {
	if t.Kind == port {
		return "fou"
	}
	return tunnelKinds()[t.Device][1]
}

// A want is the value that a thing has to have.
type want struct {
	thing thing
	value string
	why   string
	// fine are further values that are as good.
	fine []string
	// and is a second condition: not that value of another sysctl, unless the own
	// one is the wanted. It serves rp_filter, of which a maximum counts.
	and *thing
	not string
}

// accepts says whether the value of the thing, and of the other one, will do.
func (w want) accepts(value, other string) bool {
	if value == w.value {
		return true
	}
	return slices.Contains(w.fine, value) && (w.and == nil || other != w.not)
}

// plan lists what a VIP needs in the order to do it: the machine is silent about
// the address before it has it.
func plan(e entry) []want {
	wants := []want{{
		thing: thing{Kind: elsewhere, VIP: e.VIP}, value: "",
		why: "a device on the network with the VIP answers for it, beside the director",
	}}
	if e.Mode == Tun {
		wants = append(wants, want{
			thing: thing{Kind: tunnel, Device: e.Device}, value: present, why: "it unpacks what comes through the tunnel",
		})
	}
	if e.Tunnel == GUE {
		wants = append(wants, want{
			thing: thing{Kind: port, Port: e.Port, Outer: e.Outer}, value: present, why: "GUE comes in UDP packets to this port",
		})
	}
	wants = append(wants, want{
		thing: thing{Kind: quiet, Device: e.Device}, value: "quiet", why: "the device of the VIP must not answer for it",
	})
	if e.VIP.Is4() {
		// 2 and 8 answer less than 1 does; 3 does not answer for the scope "host".
		wants = append(wants, want{
			thing: thing{Kind: sysctl, Key: "net.ipv4.conf.all.arp_ignore"}, value: "1", fine: []string{"2", "3", "8"},
			why: "else this machine answers ARP for the VIP, beside the director",
		}, want{
			thing: thing{Kind: sysctl, Key: "net.ipv4.conf.all.arp_announce"}, value: "2",
			why: "else it names the VIP as the sender of its own ARP requests, and neighbours learn that",
		})
		if e.Mode == Tun {
			wants = append(wants, loose(e.Device))
		}
		for _, device := range e.Via {
			wants = append(wants, loose(device))
		}
	}
	return append(wants, want{
		thing: thing{Kind: link, Device: e.Device}, value: up, why: "the addresses of a device that is down are not in use",
	}, want{
		thing: thing{Kind: address, Device: e.Device, VIP: e.VIP}, value: present, why: "else packets for the VIP are not for this machine",
	})
}

// loose repairs a strict rp_filter, which drops packets that arrive by another
// device than the one on the way to their sender.
func loose(device string) want {
	return want{
		thing: thing{Kind: sysctl, Key: netif.InterfaceKey("net.ipv4.conf", device, "rp_filter")},
		value: strconv.Itoa(2), fine: []string{"0"},
		and: &thing{Kind: sysctl, Key: "net.ipv4.conf.all.rp_filter"}, not: "1",
		why: "else packets are dropped that come by another device than the answers go",
	}
}

// rank orders the undoing: the address goes first, while the machine is still
// silent about it.
func rank(k kind) int {
	return slices.Index([]kind{address, link, sysctl, port, tunnel}, k)
}
