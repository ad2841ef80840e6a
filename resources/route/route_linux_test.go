package route

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside is a resource whose calls are made in a namespace.
type inside struct {
	resources.Resource
	space *netiftest.Space
}

func (i inside) Start(ctx context.Context) error { return i.do(ctx, i.Resource.Start) }
func (i inside) Stop(ctx context.Context) error  { return i.do(ctx, i.Resource.Stop) }

func (i inside) Status(ctx context.Context) (s resources.Status, err error) {
	err = i.do(ctx, func(ctx context.Context) (err error) {
		s, err = i.Resource.Status(ctx)
		return err
	})
	return s, err
}

func (i inside) do(ctx context.Context, call func(context.Context) error) error {
	return i.space.Try(func(context.Context) error { return call(ctx) })
}

var (
	vip4 = netip.MustParsePrefix("192.0.2.100/32")
	vip6 = netip.MustParsePrefix("fd00::100/128")
)

// place is a director's namespace with a network, a gateway and the group's addresses.
func place(t testing.TB) *netiftest.Space {
	s, far := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(s, "eth0", far, "eth0")
	s.Address("eth0", "192.0.2.1/24")
	s.Address("eth0", "fd00::1/64")
	s.Address("eth0", vip4.String())
	s.Address("eth0", vip6.String())
	return s
}

func made(t testing.TB, s *netiftest.Space, c Config) inside {
	t.Helper()
	if c.Table == 0 {
		c.Table = mainTable
	}
	r, err := build(c, resources.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return inside{r, s}
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]Config{
		"a network":       {To: "198.51.100.0/24", Via: "192.0.2.254"},
		"on the link":     {To: "198.51.100.1", Device: "eth0", Table: 77},
		"with a source":   {To: "default", Via: "192.0.2.254", Device: "eth0", Source: "192.0.2.100"},
		"IPv6":            {To: "2001:db8::/32", Via: "fd00::fe", Metric: 10},
		"IPv6, by source": {To: "default", Via: "fd00::fe", Source: "fd00::100"},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.Run(t, resourcetest.Subject{
				New: func(t testing.TB) func() resources.Resource {
					s := place(t)
					return func() resources.Resource { return made(t, s, c) }
				},
				Broken: func(t testing.TB) func() resources.Resource {
					s := netiftest.New(t) // without a network
					return func() resources.Resource { return made(t, s, c) }
				},
				NeverWaits: "the kernel answers at once",
			})
		})
	}
}

func status(t *testing.T, r resources.Resource) resources.Status {
	t.Helper()
	s, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// source is the address that the machine's own connections come from.
func source(t *testing.T, s *netiftest.Space, to string) (from netip.Addr) {
	t.Helper()
	s.Do(func(ctx context.Context) error {
		r, err := netif.RouteTo(ctx, netip.MustParseAddr(to))
		from = r.Source
		return err
	})
	return from
}

// The machine has a default route of its own: connections come from the group's
// address as long as the resource is started, and then as before.
func TestSource(t *testing.T) {
	for _, c := range []struct {
		to, gateway string
		own, vip    netip.Addr
		metric      int
	}{
		{"198.51.100.1", "192.0.2.254", netip.MustParseAddr("192.0.2.1"), vip4.Addr(), 0},
		{"2001:db8::1", "fd00::fe", netip.MustParseAddr("fd00::1"), vip6.Addr(), 10},
	} {
		s := place(t)
		own := netif.NewRoute{Gateway: netip.MustParseAddr(c.gateway), Source: c.own}
		own.Destination = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if c.vip.Is6() {
			own.Destination = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		s.Do(func(ctx context.Context) error { return netif.PutRoute(ctx, own) })
		before := s.Snapshot()
		r := made(t, s, Config{To: "default", Via: c.gateway, Source: c.vip.String(), Metric: c.metric})
		must(t, r.Start(t.Context()), r.Start(t.Context()))
		if got := source(t, s, c.to); got != c.vip {
			t.Errorf("started: %s comes from %s, want %s", c.to, got, c.vip)
		}
		must(t, r.Stop(t.Context()))
		if got := source(t, s, c.to); got != c.own {
			t.Errorf("stopped: %s comes from %s, want %s", c.to, got, c.own)
		}
		if after := s.Snapshot(); !slices.Equal(before, after) {
			t.Errorf("before %v\nafter  %v", before, after)
		}
	}
}

// Somebody else's route of the same metric goes before ours: that is seen, and mended
// by a Start. Theirs stays.
func TestShadowed(t *testing.T) {
	s := place(t)
	r := made(t, s, Config{To: "default", Via: "192.0.2.254", Source: "192.0.2.100"})
	must(t, r.Start(t.Context()))
	theirs := netif.NewRoute{Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: netip.MustParseAddr("192.0.2.253")}
	s.Do(func(ctx context.Context) error { return netif.PutRoute(ctx, theirs) })
	if got := status(t, r); got != resources.Failed {
		t.Errorf("behind another route: %s", got)
	}
	must(t, r.Start(t.Context()))
	if got := status(t, r); got != resources.Running {
		t.Errorf("started again: %s", got)
	}
	must(t, r.Stop(t.Context()))
	s.Do(func(ctx context.Context) error {
		all, err := netif.RoutesOf(ctx, theirs.Destination, 0)
		if len(all) != 1 || all[0].Gateway != theirs.Gateway {
			t.Errorf("afterwards %+v", all)
		}
		return err
	})
}

// The kernel takes a route away with the device, or the source of it: that is seen.
func TestDrift(t *testing.T) {
	s := place(t)
	r4 := made(t, s, Config{To: "default", Via: "192.0.2.254", Source: "192.0.2.100"})
	r6 := made(t, s, Config{To: "default", Via: "fd00::fe", Source: "fd00::100"})
	must(t, r4.Start(t.Context()), r6.Start(t.Context()))
	s.Do(func(ctx context.Context) error {
		return errors.Join(netif.RemoveAddress(ctx, "eth0", vip4), netif.RemoveAddress(ctx, "eth0", vip6))
	})
	if got := status(t, r4); got != resources.Stopped {
		t.Errorf("IPv4 without its source: %s", got)
	}
	if got := settled(t, r6); got != resources.Failed {
		t.Errorf("IPv6 without its source: %s", got)
	}
	if err := r4.Start(t.Context()); err == nil {
		t.Error("IPv4 started without its source")
	}
	s.Address("eth0", vip6.String())
	must(t, r6.Start(t.Context()))
	if got := status(t, r6); got != resources.Running {
		t.Errorf("IPv6 with its source again: %s", got)
	}
	s.Do(func(ctx context.Context) error { return netif.RemoveAddress(ctx, "eth0", vip6) })
	settled(t, r6)
	must(t, r6.Stop(t.Context()))
	if got := status(t, r6); got != resources.Stopped {
		t.Errorf("stopped without its source: %s", got)
	}
}

// settled waits until the kernel has come to the routes of an address that is gone.
func settled(t *testing.T, r resources.Resource) resources.Status {
	t.Helper()
	for over := time.Now().Add(10 * time.Second); ; {
		if got := status(t, r); got != resources.Running || time.Now().After(over) {
			return got
		}
	}
}

// Of IPv6 somebody else's route of the same metric is neither taken nor removed, also
// one that differs by the source alone.
func TestTheirs(t *testing.T) {
	network := netip.MustParsePrefix("2001:db8::/32")
	for _, text := range []string{"fd00::fd", "fd00::fe"} {
		s, theirs := place(t), netip.MustParseAddr(text)
		s.Route(network, theirs)
		r := made(t, s, Config{To: network.String(), Via: "fd00::fe", Source: "fd00::100"})
		if err := r.Start(t.Context()); !errors.Is(err, netif.ErrExists) {
			t.Errorf("start: %v", err)
		}
		if got := status(t, r); got != resources.Stopped {
			t.Errorf("beside %s: %s", text, got)
		}
		must(t, r.Stop(t.Context()))
		s.Do(func(ctx context.Context) error {
			all, err := netif.RoutesOf(ctx, network, 0)
			if len(all) != 1 || all[0].Gateway != theirs || all[0].Own {
				t.Errorf("afterwards %+v", all)
			}
			return err
		})
	}
}
