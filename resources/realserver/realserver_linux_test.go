package realserver

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
	"github.com/monitord/monitord/resources/vip"
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

// A machine is a director's namespace with a network, a neighbour, and a statedir.
type machine struct {
	*netiftest.Space
	neighbour *netiftest.Space
	dir       string
}

func newMachine(t testing.TB) machine {
	m := machine{netiftest.New(t), netiftest.New(t), t.TempDir()}
	netiftest.Cable(m.Space, "eth0", m.neighbour, "eth0")
	m.Address("eth0", "192.0.2.1/24")
	m.Address("eth0", "fd00::1/64")
	m.neighbour.Address("eth0", "192.0.2.9/24")
	return m
}

func (m machine) made(t testing.TB, addresses ...string) inside {
	t.Helper()
	r, err := build(Config{Address: addresses, Mode: "dr"}, resources.Site{StateDir: m.dir})
	if err != nil {
		t.Fatal(err)
	}
	return inside{r, m.Space}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, when string, r resources.Resource, want resources.Status) {
	t.Helper()
	if got, err := r.Status(t.Context()); err != nil || got != want {
		t.Errorf("%s: %s, %v; want %s", when, got, err, want)
	}
}

func TestConformance(t *testing.T) {
	resourcetest.Run(t, resourcetest.Subject{
		New: func(t testing.TB) func() resources.Resource {
			m := newMachine(t)
			build := func() resources.Resource { return m.made(t, "192.0.2.100", "fd00::100") }
			must(t, build().Stop(t.Context())) // as the daemon does at its start
			return build
		},
		NeverFails: "to start it is to take away what monitord put there, see TestInverted",
		NeverWaits: "the kernel answers at once",
	})
}

// Stopped is a real server that nobody on the network hears of; started, the machine
// is as it was before monitord, whichever process does it.
func TestInverted(t *testing.T) {
	m := newMachine(t)
	vip4, known := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.1")
	before := m.Snapshot()
	has(t, "at first", m.made(t, "192.0.2.100", "fd00::100"), resources.Running)
	must(t, m.made(t, "192.0.2.100", "fd00::100").Stop(t.Context()))
	has(t, "stopped", m.made(t, "192.0.2.100", "fd00::100"), resources.Stopped)
	m.Do(func(ctx context.Context) error {
		r, err := netif.RouteTo(ctx, vip4)
		if !r.Local {
			t.Errorf("stopped, %s is not this machine's: %+v", vip4, r)
		}
		return err
	})
	if m.neighbour.Answers("eth0", vip4, known) {
		t.Errorf("stopped, the machine says on the network that it has %s", vip4)
	}
	must(t, m.made(t, "192.0.2.100", "fd00::100").Start(t.Context()))
	if after := m.Snapshot(); !slices.Equal(before, after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

// The group's address comes to the network when this machine is no real server any
// more, and goes before it is one again.
func TestOrder(t *testing.T) {
	m := newMachine(t)
	server := m.made(t, "192.0.2.100")
	made, err := resources.Build("vip", resources.Site{}, func(into any) error {
		*into.(*vip.Config) = vip.Config{Address: "192.0.2.100", Device: "eth0", Lease: resources.Duration(time.Minute)}
		return nil
	})
	must(t, err)
	address := inside{made, m.Space}
	vip4, known := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.1")
	ctx := t.Context()

	must(t, server.Stop(ctx))
	for range 2 {
		must(t, server.Start(ctx), address.Start(ctx))
		has(t, "active", server, resources.Running)
		if !m.neighbour.Answers("eth0", vip4, known) {
			t.Error("active, nobody answers")
		}
		if err := server.Stop(ctx); err == nil {
			t.Error("a real server although the address is on the network")
		}
		has(t, "refused", server, resources.Running)
		must(t, address.Stop(ctx), server.Stop(ctx))
		has(t, "standby", server, resources.Stopped)
		if m.neighbour.Answers("eth0", vip4, known) {
			t.Error("standby, it answers")
		}
	}
}

// What somebody takes from the real server is seen and put back.
func TestDrift(t *testing.T) {
	m := newMachine(t)
	r := m.made(t, "192.0.2.100", "fd00::100")
	must(t, r.Stop(t.Context()))
	m.Do(func(ctx context.Context) error {
		return netif.RemoveAddress(ctx, "lo", netip.MustParsePrefix("fd00::100/128"))
	})
	has(t, "one address gone", r, resources.Failed)
	must(t, r.Stop(t.Context()))
	has(t, "stopped again", r, resources.Stopped)
	m.Do(func(context.Context) error { return netif.Sysctl("net.ipv4.conf.all.arp_ignore").Set("0") })
	has(t, "not silent", r, resources.Failed)
	must(t, r.Stop(t.Context()))
	has(t, "silent again", r, resources.Stopped)
}

// An address on lo that was there before monitord stays, and is no obstacle.
func TestThereBefore(t *testing.T) {
	m := newMachine(t)
	m.Do(func(ctx context.Context) error {
		return netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: netip.MustParsePrefix("192.0.2.100/32")})
	})
	r := m.made(t, "192.0.2.100")
	must(t, r.Stop(t.Context()))
	has(t, "stopped", r, resources.Stopped)
	must(t, r.Start(t.Context()))
	has(t, "started", r, resources.Running)
}

// Without its memory it cannot start, and says so.
func TestNoMemory(t *testing.T) {
	m := newMachine(t)
	m.dir = filepath.Join(m.dir, "file")
	must(t, os.WriteFile(m.dir, nil, 0o600))
	r := m.made(t, "192.0.2.100")
	if err := r.Start(t.Context()); err == nil {
		t.Error("started without a memory")
	}
	if s, err := r.Status(t.Context()); err == nil {
		t.Errorf("status %s without a memory", s)
	}
}
