// Package netiftest gives tests network namespaces of their own with cables
// between them, a picture of everything that is configured in one, and the
// questions that neighbours ask on a cable.
package netiftest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// A Space is a network namespace of the test's own, with a thread that lives in it.
type Space struct {
	t    testing.TB
	work chan func()
	fd   int
}

// New makes a namespace in which only the loopback interface is up, and in which
// nothing is configured but by the test. It is gone when the test ends.
func New(t testing.TB) *Space {
	t.Helper()
	s := &Space{t: t, work: make(chan func())}
	ready, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		leave, err := unshare()
		if err == nil {
			defer leave()
			s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		ready <- err
		for do := range s.work {
			do()
		}
	}()
	if err := <-ready; err != nil {
		close(s.work)
		missing(t, "no network namespace to test in: %v", err)
	}
	t.Cleanup(func() {
		close(s.work)
		<-done
		_ = unix.Close(s.fd)
	})
	s.Do(func(ctx context.Context) error {
		// 1: devices get no link-local address, which the kernel would add and test
		// for duplicates at some moment in the middle of a test.
		return errors.Join(netif.Sysctl("net.ipv6.conf.default.addr_gen_mode").Set("1"), netif.SetUp(ctx, "lo", true))
	})
	return s
}

// Do calls do in the namespace and fails the test if it returns an error. What it
// starts on other goroutines is not in the namespace; sockets that it opens stay.
func (s *Space) Do(do func(ctx context.Context) error) {
	s.t.Helper()
	if err := s.Try(do); err != nil {
		s.t.Fatal(err)
	}
}

// Try calls do in the namespace and returns its error.
func (s *Space) Try(do func(ctx context.Context) error) error {
	result := make(chan error, 1)
	s.work <- func() { result <- do(s.t.Context()) }
	return <-result
}

// Cable connects two namespaces with a pair of veth devices that are up. It
// returns when both ends have a carrier.
func Cable(a *Space, nameA string, b *Space, nameB string) {
	a.t.Helper()
	a.Do(func(context.Context) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.fd)})
	})
	a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, nameA, true) })
	b.Do(func(ctx context.Context) error { return netif.SetUp(ctx, nameB, true) })
}

// Address gives a device an address with its network, which is in use when Address
// returns.
func (s *Space) Address(device, prefix string) {
	s.t.Helper()
	p := netip.MustParsePrefix(prefix)
	s.Do(func(ctx context.Context) error {
		return netif.AddAddress(ctx, netif.Add{Device: device, Prefix: p, NoDAD: true})
	})
	s.AwaitUse(p.Addr())
}

// AwaitUse returns when the namespace is reached at an address that it has, and answers
// questions for it. The kernel does not do that at once for IPv6: it joins the group of
// RFC 4291, 2.7.1, and then makes the route, in a worker of its own (addrconf_dad_begin
// and addrconf_dad_completed in net/ipv6/addrconf.c).
func (s *Space) AwaitUse(address netip.Addr) {
	s.t.Helper()
	s.Do(func(ctx context.Context) error {
		for {
			r, err := netif.RouteTo(ctx, address)
			if err != nil && !errors.Is(err, netif.ErrUnreachable) || r.Local {
				return err
			}
		}
	})
}

// Pin makes the namespace send what is for an address to one neighbour on a
// device, without asking who has the address: as a director does in DR.
func (s *Space) Pin(device string, to netip.Addr, neighbour *Space, neighbourDevice string) {
	s.t.Helper()
	mac := neighbour.link(neighbourDevice).MAC
	l := s.link(device)
	s.Do(func(context.Context) error {
		ip := to.AsSlice()
		return errors.Join(
			netlink.RouteReplace(&netlink.Route{LinkIndex: l.Index, Dst: netlink.NewIPNet(ip), Scope: netlink.SCOPE_LINK}),
			netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Index, IP: ip, HardwareAddr: mac, State: netlink.NUD_PERMANENT}),
		)
	})
}

// Route adds a route by a gateway, as somebody else than monitord does.
func (s *Space) Route(to netip.Prefix, gateway netip.Addr) {
	s.t.Helper()
	s.Do(func(context.Context) error {
		network := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
		return netlink.RouteAdd(&netlink.Route{Dst: network, Gw: gateway.AsSlice()})
	})
}

func (s *Space) link(device string) netif.Link {
	s.t.Helper()
	var l netif.Link
	s.Do(func(ctx context.Context) (err error) {
		l, err = netif.LinkNamed(ctx, device)
		return err
	})
	return l
}

// Snapshot lists everything that is configured in the namespace, sorted: each
// device, address and route, and each sysctl under net.
func (s *Space) Snapshot() []string {
	s.t.Helper()
	found := map[string]bool{}
	s.Do(func(ctx context.Context) error {
		links, err := netif.Links(ctx)
		for _, l := range links {
			found[fmt.Sprintf("link %+v", l)] = true
		}
		addresses, err2 := netif.Addresses(ctx)
		for _, a := range addresses {
			found[fmt.Sprintf("address %+v", a)] = true
		}
		routes, err3 := netif.Routes(ctx)
		for _, r := range routes {
			found[fmt.Sprintf("route %+v", r)] = true
		}
		return errors.Join(err, err2, err3, sysctls(found))
	})
	return slices.Sorted(maps.Keys(found))
}

// sysctls adds all that can be read, but for the counters among them.
func sysctls(found map[string]bool) error {
	return filepath.WalkDir("/proc/sys/net", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "/nf_conntrack_count") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil { // Write-only keys, and secrets that were not set.
			text = []byte("unreadable")
		}
		found[fmt.Sprintf("sysctl %s = %s", path, text)] = true
		return nil
	})
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

// Encapsulate makes the namespace send what is for an address through a tunnel to
// another machine, as a director does in TUN. kind is "ipip", "gre" or "sit"; with
// a port the packets go in GUE to it.
func (s *Space) Encapsulate(kind string, port uint16, local, remote, to netip.Addr) {
	s.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.TxQLen = "out0", -1
	ip, peer := net.IP(local.AsSlice()), net.IP(remote.AsSlice())
	var encap uint16
	if port != 0 {
		encap = uint16(netlink.GUE)
	}
	var l netlink.Link
	switch {
	case kind == "gre":
		l = &netlink.Gretun{LinkAttrs: attrs, Local: ip, Remote: peer, PMtuDisc: 1}
	case kind == "sit":
		l = &netlink.Sittun{LinkAttrs: attrs, Local: ip, Remote: peer, PMtuDisc: 1, EncapType: encap, EncapDport: port}
	case local.Is6():
		l = &netlink.Ip6tnl{LinkAttrs: attrs, Local: ip, Remote: peer, EncapType: encap, EncapDport: port}
	default:
		l = &netlink.Iptun{LinkAttrs: attrs, Local: ip, Remote: peer, PMtuDisc: 1, EncapType: encap, EncapDport: port}
	}
	s.Do(func(ctx context.Context) error {
		if err := netlink.LinkAdd(l); err != nil {
			return fmt.Errorf("tunnel of kind %s: %w", kind, err)
		}
		if err := netif.SetUp(ctx, attrs.Name, true); err != nil {
			return err
		}
		made, err := netif.LinkNamed(ctx, attrs.Name)
		r := &netlink.Route{LinkIndex: made.Index, Dst: netlink.NewIPNet(to.AsSlice()), Scope: netlink.SCOPE_LINK}
		if to.Is4() == local.Is4() {
			r.Src = ip
		}
		return errors.Join(err, netlink.RouteReplace(r))
	})
}
