package netif_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is far longer than anything takes, also on a machine that is busy.
const deadline = 30 * time.Second

// early is by how much the kernel may be early (see remaining).
const early = 30 * time.Millisecond

// The address that is renewed stays for three lifetimes; the other goes, and not
// before its time.
func TestLease(t *testing.T) {
	for name, c := range map[string]struct{ renewed, left netip.Prefix }{
		"IPv4":          {netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")},
		"IPv4, on link": {netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.3.2/24")},
		"IPv6":          {netip.MustParsePrefix("fd00::1/128"), netip.MustParsePrefix("fd00::2/128")},
	} {
		t.Run(name, func(t *testing.T) {
			s := netiftest.New(t)
			hold := func(p netip.Prefix) (h netif.Held) {
				s.Do(func(ctx context.Context) (err error) {
					h, err = netif.Hold(ctx, "lo", p, netif.HoldOptions{Lifetime: time.Second})
					return err
				})
				return h
			}
			first, last := hold(c.left), hold(c.renewed)
			w := watch(t, s, netif.WatchOptions{Device: "lo", Addresses: []netip.Addr{c.renewed.Addr(), c.left.Addr()}})
			renew := time.NewTicker(200 * time.Millisecond)
			defer renew.Stop()
			over := time.After(deadline)
			// A busy machine may renew late: then the address may rightly go, which may be
			// seen later still, and the three lifetimes begin once more.
			gone, late, since := false, false, last.Ended
			again := func() {
				next := hold(c.renewed)
				if next.Ended-last.Began >= time.Second-early {
					late, since = true, next.Ended
				}
				last = next
			}
			for !gone || last.Ended-since < 3*time.Second {
				select {
				case change := <-w.Changes():
					switch {
					case change.Kind != netif.AddressGone:
					case change.Address == c.renewed.Addr():
						if !late && change.At-last.Began < time.Second-early {
							t.Fatalf("the renewed address is gone %s after it was renewed", change.At-last.Began)
						}
						again()
						late, since = false, last.Ended
					case change.At-first.Began < time.Second-early:
						t.Fatalf("gone after %s, before its time", change.At-first.Began)
					default:
						gone = true
					}
				case <-renew.C:
					again()
				case <-over:
					t.Fatalf("after %s the address that nobody renews is still there", deadline)
				}
			}
		})
	}
}

func TestHoldIsInUseAtOnceAndNoSource(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	a.Address("eth0", "10.0.0.1/24")
	a.Address("eth0", "fd00::1/64")
	b.Address("eth0", "10.0.0.2/24")
	b.Address("eth0", "fd00::2/64")
	routes := networks(t, a)
	for _, vip := range []string{"10.0.0.100/32", "10.0.0.101/24", "fd00::100/128", "fd00::101/64"} {
		p := netip.MustParsePrefix(vip)
		known := netip.MustParseAddr("10.0.0.1")
		if p.Addr().Is6() {
			known = netip.MustParseAddr("fd00::1")
		}
		a.Do(func(ctx context.Context) error {
			if _, err := netif.Hold(ctx, "eth0", p, netif.HoldOptions{Lifetime: time.Minute}); err != nil {
				return err
			}
			// Tentative, it would be in use after duplicate-address detection: a second or two.
			got := find(ctx, t, "eth0", p.Addr().String())
			if got == nil || got.Tentative || got.Valid > time.Minute || p.Addr().Is6() && got.Preferred != 0 {
				t.Errorf("%s: %+v", vip, got)
			}
			return nil
		})
		a.AwaitUse(p.Addr())
		if !b.Answers("eth0", p.Addr(), known) {
			t.Errorf("%s is not answered for", vip)
		}
		a.Do(func(ctx context.Context) error {
			r, err := netif.RouteTo(ctx, known.Next())
			if r.Source == p.Addr() {
				t.Errorf("%s is the source of new connections", vip)
			}
			return err
		})
	}
	for _, far := range []string{"192.0.2.100/24", "fd77::100/64"} {
		a.Do(func(ctx context.Context) error {
			_, err := netif.Hold(ctx, "eth0", netip.MustParsePrefix(far), netif.HoldOptions{Lifetime: time.Minute})
			return err
		})
	}
	if now := networks(t, a); now != routes {
		t.Errorf("routes to networks: %d before, %d with the addresses", routes, now)
	}
}

// networks counts the routes to networks in the table "main".
func networks(t *testing.T, s *netiftest.Space) (n int) {
	t.Helper()
	s.Do(func(ctx context.Context) error {
		all, err := netif.Routes(ctx)
		for _, r := range all {
			// The host route of an IPv6 address of /128 is not what is meant.
			if r.Table == 254 && !r.Destination.IsSingleIP() {
				n++
			}
		}
		return err
	})
	return n
}

func TestHoldLate(t *testing.T) {
	p := netip.MustParsePrefix("192.0.2.1/32")
	netiftest.New(t).Do(func(ctx context.Context) error {
		o := netif.HoldOptions{Lifetime: time.Minute, NotAfter: netif.Boottime() - 1}
		if _, err := netif.Hold(ctx, "lo", p, o); !errors.Is(err, netif.ErrLate) {
			t.Errorf("begun late: %v, want ErrLate", err)
		}
		if got := find(ctx, t, "lo", "192.0.2.1"); got != nil {
			t.Errorf("begun late: %+v is there", got)
		}
		// Sooner or later the time ends in the middle of the call.
		for allowed := time.Microsecond; ; allowed += time.Microsecond {
			o.NotAfter = netif.Boottime() + allowed
			h, err := netif.Hold(ctx, "lo", p, o)
			if err == nil {
				t.Fatalf("never late, up to %s", allowed)
			}
			if !errors.Is(err, netif.ErrLate) {
				t.Fatalf("%v, want ErrLate", err)
			}
			if got := find(ctx, t, "lo", "192.0.2.1"); got != nil {
				t.Fatalf("ended %s late: %+v is still there", h.Ended-o.NotAfter, got)
			}
			if h.Began <= o.NotAfter && h.Ended > o.NotAfter {
				break
			}
		}
		o.NotAfter = netif.Boottime() + time.Hour
		if _, err := netif.Hold(ctx, "lo", p, o); err != nil || find(ctx, t, "lo", "192.0.2.1") == nil {
			t.Errorf("in time: %v", err)
		}
		return nil
	})
}

func TestHoldRefuses(t *testing.T) {
	p := netip.MustParsePrefix("192.0.2.1/32")
	netiftest.New(t).Do(func(ctx context.Context) error {
		for _, c := range []struct {
			name, device string
			o            netif.HoldOptions
			want         string
		}{
			{"no lease", "lo", netif.HoldOptions{}, "whole seconds"},
			{"half a second", "lo", netif.HoldOptions{Lifetime: 1500 * time.Millisecond}, "whole seconds"},
			{"another's label", "lo", netif.HoldOptions{Lifetime: time.Second, Label: "eth0:1"}, `"lo:"`},
			{"no device", "nope", netif.HoldOptions{Lifetime: time.Second}, "does not exist"},
		} {
			_, err := netif.Hold(ctx, c.device, p, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
		return nil
	})
}

func TestRelease(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		for _, p := range []string{"192.0.2.1/32", "192.0.2.1/24", "fd00::1/64"} {
			for _, valid := range []time.Duration{0, time.Minute} {
				prefix := netip.MustParsePrefix(p)
				if err := netif.ReplaceAddress(ctx, netif.Add{Device: "lo", Prefix: prefix, Valid: valid, NoDAD: true}); err != nil {
					return err
				}
				for range 2 {
					if err := netif.Release(ctx, "lo", prefix.Addr()); err != nil {
						t.Errorf("release %s: %v", p, err)
					}
				}
				if got := find(ctx, t, "lo", prefix.Addr().String()); got != nil {
					t.Errorf("released: still %+v", got)
				}
			}
		}
		return netif.Release(ctx, "nope", netip.MustParseAddr("192.0.2.1"))
	})
}

// An address with another end (ip addr add A peer B) is removed like any other: the kernel
// finds it by the network of the other end, and says of others what it says of what is gone.
func TestReleaseWithAnotherEnd(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		device, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for address, end := range map[string]string{"192.0.2.1/32": "198.51.100.7/32", "192.0.2.2/32": "198.51.100.7/24", "fd00::1/128": "fd00:1::7/64"} {
			for _, valid := range []int{0, 60} {
				a, err := netlink.ParseAddr(address)
				if err != nil {
					return err
				}
				other, err := netlink.ParseAddr(end)
				if err != nil {
					return err
				}
				a.Peer, a.ValidLft = other.IPNet, valid
				if err := netlink.AddrAdd(device, a); err != nil {
					return err
				}
				own := netip.MustParsePrefix(address).Addr()
				if err := netif.Release(ctx, "lo", own); err != nil {
					t.Errorf("release %s: %v", address, err)
				}
				here, err := netif.Addresses(ctx)
				if err != nil {
					return err
				}
				for _, h := range here {
					if h.Prefix.Addr() == own {
						t.Errorf("released: still %+v", h)
					}
				}
			}
		}
		return nil
	})
}

// What Find says is left is never too much, and hardly too little, at any moment of
// a second.
func TestFind(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		if f, err := netif.Find(ctx, "nope", netip.MustParseAddr("192.0.2.1")); err != nil || f.Held {
			t.Errorf("on no device: %+v, %v", f, err)
		}
		if f, err := netif.Find(ctx, "lo", netip.MustParseAddr("127.0.0.1")); err != nil || !f.Held || !f.Permanent || f.Left != 0 || f.Bits != 8 {
			t.Errorf("a permanent one: %+v, %v", f, err)
		}
		const lease = 5 * time.Second
		for _, p := range []string{"192.0.2.1/32", "fd00::1/128"} {
			prefix := netip.MustParsePrefix(p)
			h, err := netif.Hold(ctx, "lo", prefix, netif.HoldOptions{Lifetime: lease})
			if err != nil {
				return err
			}
			step := time.NewTicker(70 * time.Millisecond)
			for now := h.Ended; now-h.Ended < 2200*time.Millisecond; now = netif.Boottime() {
				before := netif.Boottime()
				f, err := netif.Find(ctx, "lo", prefix.Addr())
				after := netif.Boottime()
				if err != nil || !f.Held || f.Permanent || f.Unusable {
					t.Fatalf("%s: %+v, %v", p, f, err)
				}
				most, least := lease-(before-h.Ended), lease-(after-h.Began)
				// Around a whole second it may be told short by one, never long.
				soonest, latest := before-h.Ended-60*time.Millisecond, after-h.Began+20*time.Millisecond
				if second := latest.Truncate(time.Second); second > 0 && second >= soonest {
					least -= time.Second
				}
				// The counter moves in steps of up to 10 ms, and is read as hundredths.
				if f.Left > most || f.Left < least-(after-before)-80*time.Millisecond {
					t.Errorf("%s, %s after it was held: %s left, want from %s to %s", p, before-h.Ended, f.Left, least, most)
				}
				<-step.C
			}
			step.Stop()
		}
		return nil
	})
}

func TestRemaining(t *testing.T) {
	for _, hz := range []uint64{100, 250, 300, 1000} {
		start := (uint64(1)<<32 - 300*hz) * 100 / hz
		for _, c := range []struct {
			uptime, since uint64 // hundredths
			seconds       uint32
			want          time.Duration
		}{
			{1000, 0, 1, time.Second - early},
			{1000, 50, 1, 500*time.Millisecond - early},
			{1000, 99, 1, 0},
			{1000, 130, 4, 3700*time.Millisecond - early}, // held for 5 s
			{1000, 100, 0, 0},
			{1000, 100, 5, 4*time.Second - early},         // the kernel has not taken it off yet
			{1000, 101, 4, 2990*time.Millisecond - early}, // it has, and nobody can tell
			{1000, 102, 4, 3980*time.Millisecond - early},
			{1 << 33, 50, 1, 500*time.Millisecond - early}, // both counters overflowed
		} {
			got := netif.Remaining(start+c.uptime, uint32(c.uptime-c.since), c.seconds) //nolint:gosec // as the kernel cuts it
			if got != c.want {
				t.Errorf("HZ %d, %+v: got %s", hz, c, got)
			}
		}
	}
	if got := netif.Remaining(1<<31, 99, 1); got != 0 {
		t.Errorf("a clock of its own: got %s, want nothing that is certain", got)
	}
}

func TestCovering(t *testing.T) {
	s, far := netiftest.New(t), netiftest.New(t)
	for _, device := range []string{"eth0", "eth1", "eth2", "eth3"} {
		netiftest.Cable(s, device, far, device)
	}
	s.Address("lo", "10.0.0.100/32") // as on a real server
	s.Address("eth0", "10.0.0.1/24")
	s.Address("eth1", "10.0.0.129/25")
	s.Address("eth0", "fd00::1/64")
	s.Address("eth2", "10.7.0.1/24")
	s.Address("eth3", "10.7.0.2/24")
	s.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth1")
		if err != nil {
			return err
		}
		err = errors.Join(
			netlink.RouteAdd(&netlink.Route{LinkIndex: l.Index, Dst: network("192.0.2.0"), Scope: netlink.SCOPE_LINK}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: l.Index, Dst: network("198.51.100.0"), Gw: net.IPv4(10, 0, 0, 130)}),
		)
		for _, c := range []struct {
			addr, want string
			err        error
		}{
			{"10.0.0.100", "eth0", nil},
			{"::ffff:10.0.0.100", "eth0", nil},
			{"10.0.0.200", "eth1", nil},
			{"fd00::100", "eth0", nil},
			{"192.0.2.7", "eth1", nil},
			{"198.51.100.7", "", netif.ErrMissing},
			{"203.0.113.1", "", netif.ErrMissing},
			{"127.0.0.2", "", netif.ErrMissing},
			{"fd01::1", "", netif.ErrMissing},
			{"10.7.0.9", "", errAny},
		} {
			got, err := netif.Covering(ctx, netip.MustParseAddr(c.addr))
			if got != c.want || (err == nil) != (c.err == nil) || c.err != nil && c.err != errAny && !errors.Is(err, c.err) { //nolint:errorlint // errAny is a mark
				t.Errorf("%s: got %q, %v, want %q, %v", c.addr, got, err, c.want, c.err)
			}
		}
		return err
	})
}

// Without privileges each call says what it lacks.
func TestLeaseAndWirePermission(t *testing.T) {
	s, far := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(s, "eth0", far, "eth0")
	s.Do(func(ctx context.Context) error {
		return without(func() {
			_, err := netif.Hold(ctx, "eth0", netip.MustParsePrefix("192.0.2.1/32"), netif.HoldOptions{Lifetime: time.Second})
			if !errors.Is(err, netif.ErrPermission) || !strings.Contains(err.Error(), "192.0.2.1/32 on eth0") {
				t.Errorf("hold: %v, want ErrPermission and what it was about", err)
			}
			if _, err = netif.OpenWire(ctx, "eth0"); !errors.Is(err, netif.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
				t.Errorf("wire: %v, want ErrPermission and CAP_NET_RAW", err)
			}
			w, err := netif.Watch(ctx, netif.WatchOptions{Device: "eth0"})
			if err != nil {
				t.Errorf("watch: %v, which everybody may", err)
				return
			}
			if c := <-w.Changes(); !c.Carrier {
				t.Errorf("watch: %+v", c)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// without calls do without the capabilities of the network, on a thread that is
// locked to the goroutine.
func without(do func()) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return err
	}
	all := caps
	caps[0].Effective &^= 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return err
	}
	do()
	return unix.Capset(&header, &all[0])
}

func network(addr string) *net.IPNet {
	return &net.IPNet{IP: net.ParseIP(addr).To4(), Mask: net.CIDRMask(24, 32)}
}
