//go:build linux

package hosts

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
)

// An LVS is the usual set-up: a client, and behind a gateway two directors and
// real servers on one Ethernet.
//
//	client ── gateway ──┬── dr1    10.2.0.11  fd00:2::11
//	.100   .1        .1 ├── dr2    10.2.0.12  fd00:2::12
//	10.1.0.0/24         ├── web1   10.2.0.21  fd00:2::21
//	fd00:1::/64         └── web2 … 10.2.0.22  fd00:2::22
type LVS struct {
	*Network
	Client, Gateway, DR1, DR2 *Host
	Web                       []*Host

	Outside, Inside *Segment
}

// The virtual addresses that the tests use; nobody has them at first.
const (
	VIP  = "10.2.0.100"
	VIP6 = "fd00:2::100"
)

// NewLVS makes it, with so many real servers, at most 70. Directors forward;
// they have no virtual service and no virtual address.
func NewLVS(t testing.TB, webs int) *LVS {
	t.Helper()
	n := New(t)
	l := &LVS{Network: n, Outside: n.Segment("outside"), Inside: n.Segment("inside")}
	l.Client = n.Host("client")
	l.Client.Join(l.Outside, "10.1.0.100/24", "fd00:1::100/64")
	l.Client.DefaultRoute("10.1.0.1", "fd00:1::1")
	l.Gateway = n.Host("gateway")
	l.Gateway.Join(l.Outside, "10.1.0.1/24", "fd00:1::1/64")
	l.Gateway.Join(l.Inside, "10.2.0.1/24", "fd00:2::1/64")
	l.Gateway.Forward()
	l.DR1, l.DR2 = l.inside("dr1", 11), l.inside("dr2", 12)
	l.DR1.Forward()
	l.DR2.Forward()
	for i := range webs {
		l.Web = append(l.Web, l.inside(fmt.Sprintf("web%d", i+1), 21+i))
	}
	return l
}

func (l *LVS) inside(name string, number int) *Host {
	l.t.Helper()
	h := l.Host(name)
	h.Join(l.Inside, fmt.Sprintf("10.2.0.%d/24", number), fmt.Sprintf("fd00:2::%d/64", number))
	h.DefaultRoute("10.2.0.1", "fd00:2::1")
	return h
}

// WebAddress is the IPv4 address of a real server, beginning with 0.
func WebAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 2, 0, byte(21 + i)}) }

// WebAddress6 is the IPv6 address of a real server, beginning with 0.
func WebAddress6(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:2::%d", 21+i)) }

// TakeQuietly gives a real server a virtual address on lo, or tunl0, that it
// does not answer ARP for. (IPv6 needs nothing of the kind: nobody asks on lo.)
func (h *Host) TakeQuietly(device, address string) {
	h.network.t.Helper()
	for _, when := range append([]string{"all", "default"}, h.devices()...) {
		h.Sysctl("net.ipv4.conf."+when+".arp_ignore", "1")
		h.Sysctl("net.ipv4.conf."+when+".arp_announce", "2")
	}
	// A packet from a tunnel has a source that is reached through another device.
	h.Sysctl("net.ipv4.conf."+device+".rp_filter", "0")
	h.AddAddress(device, host(address))
}

// Take gives a director a virtual address on eth0. One of IPv6 is "deprecated":
// fit for those who ask for it, but not the source of what the director itself
// sends, or masquerades; the kernel would prefer it to the director's own.
func (h *Host) Take(address string) {
	h.network.t.Helper()
	a := h.address(host(address))
	if a.IP.To4() == nil {
		const forever = math.MaxUint32
		a.ValidLft, a.PreferedLft = forever, 0
	}
	if err := h.inside.links.AddrAdd(h.link("eth0"), a); err != nil {
		h.network.t.Fatalf("%s: take %s: %v", h.Name, address, err)
	}
}

// Drop takes it from the director.
func (h *Host) Drop(address string) {
	h.network.t.Helper()
	h.DelAddress("eth0", host(address))
}

// host writes an address with the prefix length of one host.
func host(address string) string {
	a := netip.MustParseAddr(address)
	return netip.PrefixFrom(a, a.BitLen()).String()
}
