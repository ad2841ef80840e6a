// Package nstest gives tests hosts: network namespaces of their own, joined by
// cables. They are gone when the test ends.
package nstest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Host is a network namespace.
type Host struct {
	t    testing.TB
	name string
	ns   netns.NsHandle
	link *netlink.Handle
}

// New makes a host on which only the loopback device is up. Where namespaces
// cannot be had the test is skipped, or fails if MONITORD_REQUIRE_ALL=1.
func New(t testing.TB, name string) *Host {
	t.Helper()
	h := &Host{t: t, name: name}
	err := apart(func() (err error) {
		h.ns, err = netns.New()
		return err
	})
	if err != nil {
		missing(t, "no network namespace to test in: %v", err)
	}
	return h.open()
}

// Here is the namespace that the test's process runs in, which has to be one of
// its own: see icmptest.Isolated.
func Here(t testing.TB) *Host {
	t.Helper()
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	return (&Host{t: t, name: "here", ns: ns}).open()
}

func (h *Host) open() *Host {
	h.t.Helper()
	link, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		h.t.Fatal(err)
	}
	h.link = link
	h.t.Cleanup(func() {
		link.Close()
		if err := h.ns.Close(); err != nil {
			h.t.Error(err)
		}
	})
	lo, err := link.LinkByName("lo")
	if err == nil {
		err = link.LinkSetUp(lo)
	}
	h.must(err, "lo up")
	return h
}

// Do calls f on a thread of the host's namespace. Sockets that are made by f
// itself belong to the host; goroutines that it starts do not.
func (h *Host) Do(f func()) {
	h.t.Helper()
	err := apart(func() error {
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		f()
		return nil
	})
	h.must(err, "enter the namespace")
}

// apart calls f on a thread that ends with it, so that what f does to the thread
// stays there.
func apart(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := fmt.Errorf("the test ended")
		defer func() { result <- err }() // even if f calls t.Fatal
		err = f()
	}()
	return <-result
}

// Cable joins two hosts: a device of each, both up.
func (h *Host) Cable(device string, other *Host, otherDevice string) {
	h.t.Helper()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = device
	h.must(h.link.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: otherDevice, PeerNamespace: netlink.NsFd(other.ns)}), "veth "+device)
	h.up(device)
	other.up(otherDevice)
}

// Switch makes a bridge and joins devices to it; it is up.
func (h *Host) Switch(bridge string, devices ...string) {
	h.t.Helper()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridge
	h.must(h.link.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}), "bridge")
	for _, d := range devices {
		h.must(h.link.LinkSetMaster(h.device(d), h.device(bridge)), "join "+d)
	}
	h.up(bridge)
}

func (h *Host) up(device string) {
	h.t.Helper()
	h.must(h.link.LinkSetUp(h.device(device)), device+" up")
}

// Address gives a device addresses, like "10.0.0.1/24", usable at once.
func (h *Host) Address(device string, addresses ...string) {
	h.t.Helper()
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		h.must(err, text)
		if a.IP.To4() == nil {
			a.Flags = 0x02 // IFA_F_NODAD
		}
		h.must(h.link.AddrAdd(h.device(device), a), text)
	}
}

// MTU sets a device's.
func (h *Host) MTU(device string, mtu int) {
	h.t.Helper()
	h.must(h.link.LinkSetMTU(h.device(device), mtu), "mtu of "+device)
}

// MAC is a device's address.
func (h *Host) MAC(device string) string {
	h.t.Helper()
	return h.device(device).Attrs().HardwareAddr.String()
}

// Route adds a route, like "10.0.0.0/8", by a gateway.
func (h *Host) Route(to, gateway string) {
	h.t.Helper()
	network, err := netlink.ParseIPNet(to)
	h.must(err, to)
	by, err := netlink.ParseAddr(gateway + "/32")
	if err != nil {
		by, err = netlink.ParseAddr(gateway + "/128")
	}
	h.must(err, gateway)
	h.must(h.link.RouteAdd(&netlink.Route{Dst: network, Gw: by.IP}), "route to "+to)
}

// Sysctl sets one, like "net.ipv4.ip_forward".
func (h *Host) Sysctl(path ...string) {
	h.t.Helper()
	value := path[len(path)-1]
	file := filepath.Join(append([]string{"/proc/sys"}, path[:len(path)-1]...)...)
	h.Do(func() { h.must(os.WriteFile(file, []byte(value), 0o644), file) })
}

func (h *Host) device(name string) netlink.Link {
	h.t.Helper()
	l, err := h.link.LinkByName(name)
	h.must(err, name)
	return l
}

func (h *Host) must(err error, what string) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("host %s: %s: %v", h.name, what, err)
	}
}

// missing skips a test for want of something that the machine does not have. Where
// every layer is promised, as in CI, that is a failure.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("MONITORD_REQUIRE_ALL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
