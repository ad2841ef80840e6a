package netif_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// find is the address of a device, or nil.
func find(ctx context.Context, t *testing.T, device, addr string) *netif.Address {
	t.Helper()
	all, err := netif.Addresses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a netif.Address) bool {
		return a.Device == device && a.Prefix.Addr() == netip.MustParseAddr(addr)
	})
	if i < 0 {
		return nil
	}
	return &all[i]
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name string
		add  netif.Add
		want netif.Address // without device and index
	}{
		{
			"a network, for ever",
			netif.Add{Prefix: netip.MustParsePrefix("10.1.2.3/24")},
			netif.Address{Label: "lo", Valid: netif.Forever, Preferred: netif.Forever},
		},
		{
			"one address with scope and label",
			netif.Add{Prefix: netip.MustParsePrefix("10.1.2.3/32"), Scope: netif.Host, Label: "lo:vip"},
			netif.Address{Label: "lo:vip", Scope: netif.Host, Valid: netif.Forever, Preferred: netif.Forever},
		},
		{
			"for ten minutes",
			netif.Add{Prefix: netip.MustParsePrefix("10.1.2.3/32"), Valid: 10 * time.Minute},
			netif.Address{Label: "lo", Valid: 10 * time.Minute, Preferred: 10 * time.Minute},
		},
		{
			"IPv6, never a source",
			netif.Add{Prefix: netip.MustParsePrefix("fd00::1/128"), NoDAD: true, Deprecated: true, Scope: netif.Host, Label: "lo:x"},
			netif.Address{Valid: netif.Forever},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			netiftest.New(t).Do(func(ctx context.Context) error {
				c.add.Device, c.want.Device, c.want.Index, c.want.Prefix = "lo", "lo", 1, c.add.Prefix
				if err := netif.AddAddress(ctx, c.add); err != nil {
					return err
				}
				got := find(ctx, t, "lo", c.add.Prefix.Addr().String())
				if got == nil || *got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				if err := netif.AddAddress(ctx, c.add); !errors.Is(err, netif.ErrExists) {
					t.Errorf("added again: %v, want ErrExists", err)
				}
				c.add.Valid = time.Hour
				if err := netif.ReplaceAddress(ctx, c.add); err != nil {
					t.Errorf("replaced: %v", err)
				}
				if got := find(ctx, t, "lo", c.add.Prefix.Addr().String()); got == nil || got.Valid != time.Hour {
					t.Errorf("replaced with an hour: got %+v", got)
				}
				for range 2 { // idempotent
					if err := netif.RemoveAddress(ctx, "lo", c.add.Prefix); err != nil {
						t.Errorf("remove: %v", err)
					}
				}
				if got := find(ctx, t, "lo", c.add.Prefix.Addr().String()); got != nil {
					t.Errorf("removed: still %+v", got)
				}
				return nil
			})
		})
	}
}

func TestKindsOfErrors(t *testing.T) {
	p := netip.MustParsePrefix("10.1.2.3/32")
	netiftest.New(t).Do(func(ctx context.Context) error {
		for _, c := range []struct {
			name string
			err  error
			want error
		}{
			{"address on no device", netif.AddAddress(ctx, netif.Add{Device: "nope", Prefix: p}), netif.ErrMissing},
			{"no device up", netif.SetUp(ctx, "nope", true), netif.ErrMissing},
			{"address removed from no device", netif.RemoveAddress(ctx, "nope", p), nil},
			{"no device removed", netif.RemoveLink(ctx, "nope"), nil},
			{"lifetime of half a second", netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: p, Valid: time.Second / 2}), errAny},
			{"no tunnel of that kind", netif.AddTunnel(ctx, netif.Tunnel{Name: "x", Kind: "wormhole"}), errAny},
			{"no key", second(netif.Sysctl("net.ipv4.no_such_key").Get()), netif.ErrMissing},
			{"no key set", netif.Sysctl("net.ipv4.no_such_key").Set("1"), netif.ErrMissing},
			{"bad value", netif.Sysctl("net.ipv4.ip_forward").Set("many"), unix.EINVAL},
			{"no route", second(netif.RouteTo(ctx, netip.MustParseAddr("192.0.2.1"))), netif.ErrUnreachable},
		} {
			switch {
			case c.want == nil && c.err != nil:
				t.Errorf("%s: %v, want no error", c.name, c.err)
			case c.want != nil && (c.err == nil || !errors.Is(errors.Join(c.err, errAny), c.want)):
				t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
			}
		}
		return nil
	})
}

// errAny stands for an error without a kind.
var errAny = errors.New("any error")

func second[T any](_ T, err error) error { return err }

func TestPermission(t *testing.T) {
	s := netiftest.New(t)
	s.Do(func(ctx context.Context) error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&header, &caps[0]); err != nil {
			return err
		}
		all := caps
		caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &caps[0]); err != nil {
			return err
		}
		err := netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: netip.MustParsePrefix("10.1.2.3/32")})
		if !errors.Is(err, netif.ErrPermission) {
			t.Errorf("without CAP_NET_ADMIN: %v, want ErrPermission", err)
		}
		return unix.Capset(&header, &all[0])
	})
	s.Do(func(ctx context.Context) error {
		if err := netif.Sysctl("net.ipv6.conf.lo.disable_ipv6").Set("1"); err != nil {
			return err
		}
		err := netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: netip.MustParsePrefix("fd00::1/128")})
		if !errors.Is(err, netif.ErrPermission) {
			t.Errorf("with IPv6 disabled: %v, want ErrPermission", err)
		}
		return nil
	})
}

func TestLinksAndRoutes(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0.5", b, "eth1")
	a.Address("eth0.5", "10.0.0.1/24")
	b.Address("eth1", "10.0.0.2/24")
	b.Address("eth1", "fd00::2/64")
	a.Address("eth0.5", "fd00::1/64")
	if !a.Answers("eth0.5", netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.2")) {
		t.Error("the other end does not answer ARP")
	}
	a.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0.5")
		if err != nil {
			return err
		}
		if l.Kind != "veth" || !l.Up || !l.Carrier || l.MTU != 1500 || len(l.MAC) != 6 || l.Loop || l.NoARP {
			t.Errorf("link %+v", l)
		}
		all, err := netif.Links(ctx)
		if err != nil || !slices.ContainsFunc(all, func(l netif.Link) bool { return l.Name == "lo" && l.Loop && l.Index == 1 }) {
			t.Errorf("no loopback in %+v, %v", all, err)
		}
		for _, c := range []struct {
			to   string
			want netif.Route
		}{
			{"10.0.0.2", netif.Route{Device: "eth0.5", Source: netip.MustParseAddr("10.0.0.1"), MTU: 1500}},
			{"::ffff:10.0.0.2", netif.Route{Device: "eth0.5", Source: netip.MustParseAddr("10.0.0.1"), MTU: 1500}},
			{"fd00::2", netif.Route{Device: "eth0.5", Source: netip.MustParseAddr("fd00::1"), MTU: 1500}},
			{"10.0.0.1", netif.Route{Device: "lo", Source: netip.MustParseAddr("10.0.0.1"), Local: true, MTU: 65536}},
		} {
			got, err := netif.RouteTo(ctx, netip.MustParseAddr(c.to))
			if err != nil || got.Device != c.want.Device || got.Source != c.want.Source || got.Local != c.want.Local || got.MTU != c.want.MTU || got.Gateway.IsValid() {
				t.Errorf("route to %s: got %+v, %v, want %+v", c.to, got, err, c.want)
			}
		}
		routes, err := netif.Routes(ctx)
		if err != nil || !slices.ContainsFunc(routes, func(r netif.Route) bool {
			return r.Destination == netip.MustParsePrefix("10.0.0.1/32") && r.Local && r.Table == 255
		}) || !slices.ContainsFunc(routes, func(r netif.Route) bool {
			return r.Destination == netip.MustParsePrefix("10.0.0.0/24") && !r.Local && r.Table == 254 && r.Device == "eth0.5"
		}) {
			t.Errorf("routes %+v, %v", routes, err)
		}
		return nil
	})
	b.Do(func(ctx context.Context) error {
		neighbours, err := netif.Neighbours(ctx)
		if err != nil || !slices.ContainsFunc(neighbours, func(n netif.Neighbour) bool {
			return n.Device == "eth1" && n.Address == netip.MustParseAddr("10.0.0.1") && len(n.MAC) == 6 && n.State != ""
		}) {
			t.Errorf("neighbours %+v, %v", neighbours, err)
		}
		return netif.SetUp(ctx, "eth1", false)
	})
	a.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0.5")
		if l.Carrier || !l.Up {
			t.Errorf("with the other end down: %+v", l)
		}
		return errors.Join(err, netif.RemoveLink(ctx, "eth0.5"))
	})
}

func TestSysctl(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0.5", b, "eth1")
	a.Do(func(context.Context) error {
		key := netif.InterfaceKey("net.ipv4.conf", "eth0.5", "arp_ignore")
		if got, want := string(key), "net.ipv4.conf.eth0/5.arp_ignore"; got != want {
			t.Errorf("key %s, want %s", got, want)
		}
		if got, want := key.Command("1"), "sysctl -w net.ipv4.conf.eth0/5.arp_ignore=1"; got != want {
			t.Errorf("command %q, want %q", got, want)
		}
		if err := key.Set("1"); err != nil {
			return err
		}
		raw, err := os.ReadFile("/proc/sys/net/ipv4/conf/eth0.5/arp_ignore")
		if got, err2 := key.Get(); got != "1" || string(raw) != "1\n" {
			t.Errorf("got %q, the file has %q, want 1 (%v, %v)", got, raw, err, err2)
		}
		return nil
	})
	for _, bad := range []netif.Sysctl{"", ".", "net..ipv4", "net.///.x", "kernel./.hostname", "net.ipv4.", "a\x00b"} {
		if got, err := bad.Get(); err == nil {
			t.Errorf("Sysctl(%q).Get() = %q, want an error", bad, got)
		}
	}
}

func TestNamespace(t *testing.T) {
	name := func(s *netiftest.Space) (n string) {
		s.Do(func(context.Context) (err error) {
			n, err = netif.Namespace()
			return err
		})
		return n
	}
	a, b := netiftest.New(t), netiftest.New(t)
	one, again, another := name(a), name(a), name(b)
	if one != again || one == another || one == "" {
		t.Errorf("names %q, again %q, another's %q", one, again, another)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := netif.Links(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := netif.RouteTo(past, netip.MustParseAddr("::1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline that has passed: %v", err)
	}
}

// Lists that change while they are read are complete all the same: the thousand
// addresses that stay are found each time, while others come and go.
func TestDumpUnderChange(t *testing.T) {
	s := netiftest.New(t)
	const stay = 1000
	s.Do(func(ctx context.Context) error {
		for i := range stay {
			if err := netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)}); err != nil {
				return err
			}
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			runtime.LockOSThread() // never unlocked: the thread ends here
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				t.Error(err)
				return
			}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, 0, byte(i)}), 32)
				if err := errors.Join(netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: p}), netif.RemoveAddress(ctx, "lo", p)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		interrupted := 0
		for range 20 {
			all, err := netif.Addresses(ctx)
			if err != nil {
				interrupted++ // Named as what it is, never a short list.
				if !errors.Is(err, unix.EINTR) {
					t.Error(err)
				}
				continue
			}
			n := 0
			for _, a := range all {
				if netip.MustParsePrefix("10.9.0.0/16").Contains(a.Prefix.Addr()) {
					n++
				}
			}
			if n != stay {
				t.Errorf("%d addresses listed, want %d", n, stay)
			}
		}
		close(stop)
		<-stopped
		t.Logf("%d of 20 lists were given up", interrupted)
		return unix.Close(fd)
	})
}
