package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

func open(t *testing.T, space *netiftest.Space, s gateway.Settings) (p *gateway.Pinger) {
	t.Helper()
	space.Do(func(context.Context) (err error) {
		p, err = gateway.Open(s)
		return err
	})
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
		if _, more := <-p.Answers(); more {
			t.Error("an answer is left")
		}
	})
	return p
}

func answer(t *testing.T, p *gateway.Pinger) gateway.Answer {
	t.Helper()
	select {
	case a := <-p.Answers():
		return a
	case <-time.After(patience):
		t.Fatalf("no answer: %v", p.Problems())
		return gateway.Answer{}
	}
}

// reaches pings until there is an answer, as the machine does.
func reaches(t *testing.T, p *gateway.Pinger, to netip.Addr) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for begun := time.Now(); time.Since(begun) < patience; {
		_ = p.Ping(to, netif.Boottime()) // it may take a moment
		select {
		case <-p.Answers():
			p.Flush()
			return
		case <-ticker.C:
		}
	}
	t.Fatalf("%s is not reached: %v", to, p.Problems())
}

func TestPing(t *testing.T) {
	for _, to := range []string{"10.0.0.3", "fd00::3", "fe80::3%eth0"} {
		t.Run(to, func(t *testing.T) {
			s := newSite(t)
			router := netip.MustParseAddr(to)
			p := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{router, router}})
			for i := range time.Duration(300) { // more than are remembered
				if err := p.Ping(router, i); err != nil {
					t.Fatal(err)
				}
				if a := answer(t, p); a.Gateway != router || a.Sent != i || a.At == 0 {
					t.Fatalf("answer %+v to ping %d", a, i)
				}
			}
			if err := p.Ping(netip.MustParseAddr("10.0.0.9"), 0); err == nil {
				t.Error("pinged a stranger")
			}
		})
	}
}

func TestFlush(t *testing.T) {
	s := newSite(t)
	router := netip.MustParseAddr("10.0.0.3")
	p := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{router}})
	reaches(t, p, router)
	if err := p.Ping(router, 1); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); len(p.Answers()) == 0 && time.Since(begun) < patience; { //nolint:revive // until it waits
	}
	if err := p.Ping(router, 2); err != nil { // which is in the socket, or not there yet
		t.Fatal(err)
	}
	p.Flush()
	if err := p.Ping(router, 3); err != nil {
		t.Fatal(err)
	}
	if a := answer(t, p); a.Sent != 3 {
		t.Errorf("answer %+v", a)
	}
}

// TestPingGoesNowhereElse although the same address answers in another network, to
// which the default route leads.
func TestPingGoesNowhereElse(t *testing.T) {
	for name, device := range map[string]string{"the device is given": "eth0", "the one that covers it": ""} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			other := netiftest.New(t)
			netiftest.Cable(s.a, "eth1", other, "eth0")
			s.a.Address("eth1", "10.1.0.1/24")
			other.Address("eth0", "10.1.0.2/24")
			other.Address("lo", "10.0.0.3/32")
			s.a.Do(func(context.Context) error { return netlink.RouteAdd(&netlink.Route{Gw: net.IP{10, 1, 0, 2}}) })
			router := netip.MustParseAddr("10.0.0.3")
			p := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{router}, Device: device})
			loose := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{router}, Device: "eth1"})
			reaches(t, p, router)
			s.a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", false) })
			for i := range time.Duration(20) {
				_ = p.Ping(router, i) // Whether it knows that the device is down is not asked here.
				reaches(t, loose, router)
			}
			if n := len(p.Answers()); n != 0 {
				t.Errorf("%d answers from elsewhere", n)
			}
			s.a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", true) })
			reaches(t, p, router)
		})
	}
}

func TestPingComesBack(t *testing.T) {
	for name, settings := range map[string]gateway.Settings{
		"a device":   {Device: "eth0"},
		"a source":   {Source: netip.MustParseAddr("10.0.0.1")},
		"any device": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			router := netip.MustParseAddr("10.0.0.3")
			settings.Gateways = []netip.Addr{router}
			remove := func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") }
			s.a.Do(remove)
			p := open(t, s.a, settings)
			for range 2 {
				if err := p.Ping(router, 0); err == nil {
					t.Error("sent without a device")
				}
				s.net.Plug(s.a, "eth0")
				s.addresses(s.a, 1)
				reaches(t, p, router)
				s.a.Do(remove)
			}
		})
	}
}

// TestErrorsAreNoAnswers pings by a router that knows no way.
func TestErrorsAreNoAnswers(t *testing.T) {
	s := newSite(t)
	router, beyond := netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.9.9.9")
	s.a.Do(func(context.Context) error { return netlink.RouteAdd(&netlink.Route{Gw: net.IP{10, 0, 0, 3}}) })
	p := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{router, beyond}, Device: "eth0"})
	reaches(t, p, router)
	for i := range time.Duration(5) {
		if err := p.Ping(beyond, i); err != nil {
			t.Fatal(err)
		}
		if err := p.Ping(router, i); err != nil {
			t.Fatal(err)
		}
		if a := answer(t, p); a.Gateway != router {
			t.Errorf("answer %+v", a)
		}
	}
}

func TestOwnAddressIsNoGateway(t *testing.T) {
	s := newSite(t)
	own := netip.MustParseAddr("10.0.0.1")
	for _, device := range []string{"", "eth0"} {
		p := open(t, s.a, gateway.Settings{Gateways: []netip.Addr{own}, Device: device})
		if err := p.Ping(own, 0); !errors.Is(err, netif.ErrOwn) {
			t.Errorf("device %q: %v", device, err)
		}
		if err := p.Problems()[own]; !errors.Is(err, netif.ErrOwn) {
			t.Errorf("device %q: %v", device, err)
		}
	}
	for _, a := range []string{"0.0.0.0", "224.0.0.1", "::"} {
		if p, err := gateway.Open(gateway.Settings{Gateways: []netip.Addr{own, netip.MustParseAddr(a)}}); err == nil {
			t.Errorf("%s: opened: %v", a, p.Close())
		}
	}
}
