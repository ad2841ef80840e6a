//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// A Host is a machine of a [Network].
type Host struct {
	Name string

	network *Network
	inside  namespace
	cables  []*Cable
}

// Host adds a machine without cables. Its loopback is up, it forwards nothing.
func (n *Network) Host(name string) *Host {
	n.t.Helper()
	h := &Host{Name: name, network: n, inside: newNamespace(n.t)}
	n.hosts[name] = h
	lo, err := h.inside.links.LinkByName("lo")
	if err == nil {
		err = h.inside.links.LinkSetUp(lo)
	}
	if err != nil {
		n.t.Fatalf("%s: bring lo up: %v", name, err)
	}
	for _, when := range []string{"all", "default"} {
		// Addresses are usable at once, and only those that the test gives.
		h.Sysctl("net.ipv6.conf."+when+".accept_dad", "0")
		h.Sysctl("net.ipv6.conf."+when+".accept_ra", "0")
		// The kernel takes the larger of "all" and the device's own.
		h.Sysctl("net.ipv4.conf."+when+".rp_filter", "0")
	}
	return h
}

// A Cable joins a host to a segment.
type Cable struct {
	Device string // the host's end: eth0, eth1, ...
	MAC    net.HardwareAddr

	host    *Host
	segment *Segment
	far     netlink.Link // the switch's end
}

// Join lays a cable to the segment and gives the host's end the addresses, each
// with its prefix length. It returns when the link is up.
func (h *Host) Join(s *Segment, addresses ...string) *Cable {
	n := h.network
	n.t.Helper()
	n.ports++
	c := &Cable{Device: fmt.Sprintf("eth%d", len(h.cables)), host: h, segment: s}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("port%d", n.ports), MasterIndex: s.bridge.Attrs().Index},
		PeerName:  c.Device, PeerNamespace: netlink.NsFd(h.inside.handle),
	}
	if err := n.cables.links.LinkAdd(veth); err != nil {
		n.t.Fatalf("%s: cable %s: %v", h.Name, c.Device, err)
	}
	c.far = veth
	h.cables = append(h.cables, c)
	near := h.link(c.Device)
	c.MAC = near.Attrs().HardwareAddr
	if err := h.inside.links.LinkSetUp(near); err != nil {
		n.t.Fatalf("%s: bring %s up: %v", h.Name, c.Device, err)
	}
	for _, a := range addresses {
		h.AddAddress(c.Device, a)
	}
	c.Plug()
	return c
}

// Cable returns the host's nth cable, beginning with 0.
func (h *Host) Cable(n int) *Cable { return h.cables[n] }

// Pull pulls the cable: both sides lose their carrier.
func (c *Cable) Pull() {
	t := c.host.network.t
	t.Helper()
	if err := c.host.network.cables.links.LinkSetDown(c.far); err != nil {
		t.Fatalf("%s: pull %s: %v", c.host.Name, c.Device, err)
	}
	c.await(false)
}

// Plug puts the cable in again and waits for the carrier.
func (c *Cable) Plug() {
	t := c.host.network.t
	t.Helper()
	if err := c.host.network.cables.links.LinkSetUp(c.far); err != nil {
		t.Fatalf("%s: plug %s: %v", c.host.Name, c.Device, err)
	}
	c.await(true)
}

// Silence lets the switch drop what it has for this host and gets from it. The
// carrier stays, as with a broken switch; Restore ends it.
func (c *Cable) Silence() {
	t := c.host.network.t
	t.Helper()
	if err := c.host.network.cables.links.LinkSetNoMaster(c.far); err != nil {
		t.Fatalf("%s: silence %s: %v", c.host.Name, c.Device, err)
	}
}

// Restore ends Silence.
func (c *Cable) Restore() {
	t := c.host.network.t
	t.Helper()
	if err := c.host.network.cables.links.LinkSetMaster(c.far, c.segment.bridge); err != nil {
		t.Fatalf("%s: restore %s: %v", c.host.Name, c.Device, err)
	}
}

// await waits until the host has seen that its carrier is there, or gone.
func (c *Cable) await(up bool) {
	c.host.network.t.Helper()
	Eventually(c.host.network.t, patience, func() error {
		link, err := c.host.inside.links.LinkByName(c.Device)
		if err != nil {
			return err
		}
		if state := link.Attrs().OperState; (state == netlink.OperUp) != up {
			return fmt.Errorf("%s: %s is %v", c.host.Name, c.Device, state)
		}
		return nil
	})
}

func (h *Host) link(device string) netlink.Link {
	h.network.t.Helper()
	link, err := h.inside.links.LinkByName(device)
	if err != nil {
		h.network.t.Fatalf("%s: device %s: %v", h.Name, device, err)
	}
	return link
}

// AddAddress gives a device an address with its prefix length. It is usable at
// once.
func (h *Host) AddAddress(device, prefix string) {
	h.network.t.Helper()
	a := h.address(prefix)
	if err := h.inside.links.AddrAdd(h.link(device), a); err != nil {
		h.network.t.Fatalf("%s: add %s to %s: %v", h.Name, prefix, device, err)
	}
}

// DelAddress takes an address from a device.
func (h *Host) DelAddress(device, prefix string) {
	h.network.t.Helper()
	if err := h.inside.links.AddrDel(h.link(device), h.address(prefix)); err != nil {
		h.network.t.Fatalf("%s: delete %s from %s: %v", h.Name, prefix, device, err)
	}
}

func (h *Host) address(prefix string) *netlink.Addr {
	h.network.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		h.network.t.Fatalf("%s: %v", h.Name, err)
	}
	if a.IP.To4() == nil {
		a.Flags = syscall.IFA_F_NODAD
	}
	return a
}

// Addresses returns the addresses of a device, with their prefix lengths, but
// not those of the link (fe80::).
func (h *Host) Addresses(device string) []string {
	h.network.t.Helper()
	list, err := h.inside.links.AddrList(h.link(device), netlink.FAMILY_ALL)
	if err != nil {
		h.network.t.Fatalf("%s: addresses of %s: %v", h.Name, device, err)
	}
	var found []string
	for _, a := range list {
		if !a.IP.IsLinkLocalUnicast() {
			found = append(found, a.IPNet.String())
		}
	}
	return found
}

// DefaultRoute sends everything that is not near through these gateways, one for
// each family, instead of what was there before.
func (h *Host) DefaultRoute(gateways ...string) {
	h.network.t.Helper()
	for _, gateway := range gateways {
		ip := net.ParseIP(gateway)
		everything := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		if ip.To4() != nil {
			everything = &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		}
		if err := h.inside.links.RouteReplace(&netlink.Route{Dst: everything, Gw: ip}); err != nil {
			h.network.t.Fatalf("%s: default route through %s: %v", h.Name, gateway, err)
		}
	}
}

// ForgetNeighbours makes the host ask anew who has the addresses that it talks
// to, as a gratuitous ARP of a new owner does.
func (h *Host) ForgetNeighbours() {
	h.network.t.Helper()
	list, err := h.inside.links.NeighList(0, netlink.FAMILY_ALL)
	for _, neighbour := range list {
		if err == nil && neighbour.State&netlink.NUD_NOARP == 0 {
			err = h.inside.links.NeighDel(&neighbour)
		}
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		h.network.t.Fatalf("%s: forget neighbours: %v", h.Name, err)
	}
}

// DefaultDevice sends everything that is not near through a device.
func (h *Host) DefaultDevice(device string) {
	h.network.t.Helper()
	route := &netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, LinkIndex: h.link(device).Attrs().Index}
	if err := h.inside.links.RouteReplace(route); err != nil {
		h.network.t.Fatalf("%s: default route through %s: %v", h.Name, device, err)
	}
}

// Up brings a device up that the kernel made, such as tunl0.
func (h *Host) Up(device string) {
	h.network.t.Helper()
	if err := h.inside.links.LinkSetUp(h.link(device)); err != nil {
		h.network.t.Fatalf("%s: bring %s up: %v", h.Name, device, err)
	}
}

// Sysctl sets a setting of this host, "net.ipv4.ip_forward"; a dot in the name
// of a device is written as a slash, as sysctl(8) has it.
func (h *Host) Sysctl(name, value string) {
	h.network.t.Helper()
	err := h.Do(func() error { return os.WriteFile(sysctlFile(name), []byte(value), 0o644) })
	if err != nil {
		h.network.t.Fatalf("%s: set %s to %q: %v", h.Name, name, value, err)
	}
}

// SysctlValue reads a setting of this host.
func (h *Host) SysctlValue(name string) string {
	h.network.t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile(sysctlFile(name))
		return err
	})
	if err != nil {
		h.network.t.Fatalf("%s: read %s: %v", h.Name, name, err)
	}
	return strings.TrimSpace(string(text))
}

func sysctlFile(name string) string {
	swap := strings.NewReplacer(".", "/", "/", ".")
	return filepath.Join("/proc/sys", swap.Replace(name))
}

// Forward makes the host a router, or a director: it passes packets on, and does
// not tell senders of a nearer way.
func (h *Host) Forward() {
	h.network.t.Helper()
	h.Sysctl("net.ipv4.ip_forward", "1")
	h.Sysctl("net.ipv6.conf.all.forwarding", "1")
	for _, when := range append([]string{"all", "default"}, h.devices()...) {
		h.Sysctl("net.ipv4.conf."+when+".send_redirects", "0")
	}
}

func (h *Host) devices() []string {
	var names []string
	for _, c := range h.cables {
		names = append(names, c.Device)
	}
	return names
}

// Do runs f on a thread that is in this host: sockets that it opens itself are
// the host's, those of goroutines that it starts are not. f must not end the
// test.
func (h *Host) Do(f func() error) error {
	if err := h.inside.do(f); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// Dial connects from this host to a literal address; local may be the address to
// come from.
func (h *Host) Dial(ctx context.Context, network, address, local string) (net.Conn, error) {
	dialer := net.Dialer{}
	if local != "" {
		ip := net.ParseIP(local)
		if strings.HasPrefix(network, "udp") {
			dialer.LocalAddr = &net.UDPAddr{IP: ip}
		} else {
			dialer.LocalAddr = &net.TCPAddr{IP: ip}
		}
	}
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens in this host.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a socket for datagrams in this host.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), network, address)
		return err
	})
	return c, err
}

// errNotStarted is what a command says that is waited for too early.
var errNotStarted = errors.New("not started")
