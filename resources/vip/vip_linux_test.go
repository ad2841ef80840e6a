package vip

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
	*Address
	space *netiftest.Space
}

func (i inside) Start(ctx context.Context) error { return i.do(ctx, i.Address.Start) }
func (i inside) Stop(ctx context.Context) error  { return i.do(ctx, i.Address.Stop) }
func (i inside) Renew(ctx context.Context) error { return i.do(ctx, i.Address.Renew) }

func (i inside) Status(ctx context.Context) (s resources.Status, err error) {
	err = i.do(ctx, func(ctx context.Context) (err error) {
		s, err = i.Address.Status(ctx)
		return err
	})
	return s, err
}

func (i inside) do(ctx context.Context, call func(context.Context) error) error {
	return i.space.Try(func(context.Context) error { return call(ctx) })
}

// place is a director's namespace with a network.
func place(t testing.TB) *netiftest.Space {
	s, far := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(s, "eth0", far, "eth0")
	s.Address("eth0", "192.0.2.1/24")
	s.Address("eth0", "fd00::1/64")
	return s
}

// made is the resource of a configuration as users write it.
func made(t testing.TB, s *netiftest.Space, c Config) inside {
	t.Helper()
	r, err := resources.Build("vip", resources.Site{}, func(into any) error {
		if c.Lease == 0 {
			c.Lease = into.(*Config).Lease
		}
		*into.(*Config) = c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return inside{r.(*Address), s}
}

const minute = resources.Duration(time.Minute)

func TestConformance(t *testing.T) {
	for name, c := range map[string]Config{
		"IPv4":             {Address: "192.0.2.100", Device: "eth0", Label: "eth0:vip", Lease: minute},
		"IPv4, by network": {Address: "192.0.2.100/24", Lease: minute},
		"IPv6":             {Address: "fd00::100", Lease: minute},
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

// A stopped address leaves the namespace as it was.
func TestLeavesNothing(t *testing.T) {
	for _, address := range []string{"192.0.2.100", "192.0.2.100/24", "fd00::100"} {
		s := place(t)
		before := s.Snapshot()
		r := made(t, s, Config{Address: address, Lease: minute})
		if err := errors.Join(r.Start(t.Context()), r.Renew(t.Context()), r.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		if after := s.Snapshot(); !slices.Equal(before, after) {
			t.Errorf("%s:\nbefore %v\nafter  %v", address, before, after)
		}
	}
}

func TestStatus(t *testing.T) {
	vip := netip.MustParsePrefix("192.0.2.100/32")
	for _, c := range []struct {
		name string
		add  netif.Add
		want resources.Status
	}{
		{"on the device, for good", netif.Add{Device: "eth0", Prefix: vip}, resources.Failed},
		{"on the device, for good, with a network", netif.Add{Device: "eth0", Prefix: netip.PrefixFrom(vip.Addr(), 24)}, resources.Failed},
		{"on a real server's lo", netif.Add{Device: "lo", Prefix: vip}, resources.Stopped},
		{"leased", netif.Add{Device: "eth0", Prefix: vip, Valid: time.Minute}, resources.Running},
		{"another", netif.Add{Device: "eth0", Prefix: netip.MustParsePrefix("192.0.2.101/32")}, resources.Stopped},
	} {
		s := place(t)
		s.Do(func(ctx context.Context) error { return netif.AddAddress(ctx, c.add) })
		r := made(t, s, Config{Address: "192.0.2.100"})
		if got := status(t, r); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Somebody configured the address for good: the director takes it over, and with it
// comes the lease. If somebody does so later, the next renewal brings that back.
func TestTakesOver(t *testing.T) {
	s := place(t)
	r := made(t, s, Config{Address: "192.0.2.100", Lease: minute})
	permanent := func() {
		s.Do(func(ctx context.Context) error {
			if err := netif.RemoveAddress(ctx, "eth0", r.Prefix()); err != nil {
				return err
			}
			return netif.AddAddress(ctx, netif.Add{Device: "eth0", Prefix: r.Prefix()})
		})
		if got := status(t, r); got != resources.Failed {
			t.Fatalf("for good: %s", got)
		}
	}
	permanent()
	if err := r.Renew(t.Context()); err == nil {
		t.Error("renewed what was never started")
	}
	if err := r.Start(t.Context()); err != nil || status(t, r) != resources.Running {
		t.Errorf("start: %v, %s", err, status(t, r))
	}
	permanent()
	if err := r.Renew(t.Context()); err != nil || status(t, r) != resources.Running {
		t.Errorf("renew: %v, %s", err, status(t, r))
	}
}

// A daemon that is started inside the lease finds and renews it.
func TestAdopts(t *testing.T) {
	s := place(t)
	c := Config{Address: "192.0.2.100", Lease: minute}
	if err := made(t, s, c).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := made(t, s, c)
	s.Do(func(ctx context.Context) error {
		f, err := r.Found(ctx)
		if !f.Held || f.Permanent || f.Left <= 30*time.Second || f.Left > time.Minute {
			t.Errorf("found %+v", f)
		}
		return err
	})
	if err := errors.Join(r.Renew(t.Context()), r.Renew(t.Context())); err != nil {
		t.Error(err)
	}
	// Its network may be gone: what was found stays known, and can be stopped.
	s.Do(func(ctx context.Context) error {
		return netif.RemoveAddress(ctx, "eth0", netip.MustParsePrefix("192.0.2.1/24"))
	})
	again := made(t, s, c)
	if got := status(t, again); got != resources.Running {
		t.Errorf("without its network: %s", got)
	}
	if err := again.Stop(t.Context()); err != nil || status(t, r) != resources.Stopped {
		t.Errorf("stop without its network: %v, %s", err, status(t, r))
	}
}

// A director that slept through its lease does not take the address back.
func TestRenewLate(t *testing.T) {
	s := place(t)
	r := made(t, s, Config{Address: "192.0.2.100"})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As if the last renewal had been a lease ago; the kernel has not got round to it.
	r.renewed -= r.lease + time.Second
	if err := r.Renew(t.Context()); !errors.Is(err, netif.ErrLate) && !errors.Is(err, netif.ErrMissing) {
		t.Errorf("renewed late: %v, want ErrLate", err)
	}
	s.Do(func(ctx context.Context) error {
		if _, err := r.Take(ctx, netif.Boottime()-1); !errors.Is(err, netif.ErrLate) {
			t.Errorf("taken late: %v, want ErrLate", err)
		}
		return nil
	})
}

// Unrenewed, it goes by itself.
func TestLeaseEnds(t *testing.T) {
	s := place(t)
	r := made(t, s, Config{Address: "fd00::100"})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for over := time.Now().Add(30 * time.Second); status(t, r) != resources.Stopped; {
		if time.Now().After(over) {
			t.Fatal("the address stays for ever")
		}
	}
	if held := netif.Boottime() - r.renewed; held < 970*time.Millisecond { // It may be a little early.
		t.Errorf("gone after %s", held)
	}
	if err := r.Renew(t.Context()); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("renewed after its end: %v", err)
	}
}
