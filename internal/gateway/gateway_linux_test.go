package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

var _ heartbeat.Link = (*gateway.Relay)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for a machine that is busy.
const patience = 20 * time.Second

// A site is two directors whose switch keeps them apart, and a router.
type site struct {
	t            *testing.T
	net          *netiftest.Switch
	a, b, router *netiftest.Space
	portA, portB string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, net: netiftest.NewSwitch(t), a: netiftest.New(t), b: netiftest.New(t), router: netiftest.New(t)}
	s.net.Plug(s.router, "eth0")
	s.portA, s.portB = s.net.Plug(s.a, "eth0"), s.net.Plug(s.b, "eth0")
	s.net.Isolate(true, s.portA, s.portB)
	s.router.Forward()
	for i, space := range []*netiftest.Space{s.a, s.b, s.router} {
		s.addresses(space, i+1)
	}
	return s
}

func (s *site) addresses(space *netiftest.Space, i int) {
	space.Address("eth0", fmt.Sprintf("10.0.0.%d/24", i))
	space.Address("eth0", fmt.Sprintf("fd00::%d/64", i))
	space.Address("eth0", fmt.Sprintf("fe80::%d/64", i))
}

// relay is one node's end.
func (s *site) relay(space *netiftest.Space, local, peer, by string) (r *gateway.Relay) {
	s.t.Helper()
	space.Do(func(context.Context) (err error) {
		r, err = gateway.OpenRelay(gateway.RelaySettings{
			Gateway: netip.MustParseAddr(by), Local: netip.MustParseAddrPort(local),
			Peers: map[string]netip.AddrPort{"peer": netip.MustParseAddrPort(peer)},
		})
		return err
	})
	s.t.Cleanup(func() {
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			s.t.Error(err)
		}
		if _, _, err := r.Receive(nil); !errors.Is(err, net.ErrClosed) {
			s.t.Errorf("closed: %v", err)
		}
	})
	return r
}

// inbox brings what a relay receives, until it is closed.
func (s *site) inbox(r *gateway.Relay) <-chan string {
	got, ended := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := r.Receive(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.t.Errorf("receive: %v", err)
			}
			select {
			case got <- string(buffer[:n]) + " from " + from.String():
			default: // more than a test looks at
			}
		}
	}()
	s.t.Cleanup(func() { _ = r.Close(); <-ended })
	return got
}

// carries sends until something arrives, as heartbeats do.
func (s *site) carries(from *gateway.Relay, to <-chan string, packet string) string {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(patience)
	var failed error
	for {
		failed = from.Send("peer", []byte(packet))
		select {
		case got := <-to:
			return got
		case <-ticker.C:
		case <-end:
			s.t.Fatalf("nothing arrives: %v, %+v", failed, from.State())
		}
	}
}

func drain(c <-chan string) {
	for len(c) > 0 {
		<-c
	}
}

func TestRelay(t *testing.T) {
	for name, c := range map[string]struct{ a, b, router string }{
		"IPv4":                    {"10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3"},
		"IPv6":                    {"[fd00::1]:7001", "[fd00::2]:7001", "fd00::3"},
		"IPv6, link-local router": {"[fd00::1]:7001", "[fd00::2]:7001", "fe80::3%eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := s.relay(s.a, c.a, c.b, c.router)
			b := s.relay(s.b, c.b, c.a, c.router)
			toA, toB := s.inbox(a), s.inbox(b)
			if got, want := s.carries(a, toB, "hello"), "hello from "+c.a; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got, want := s.carries(b, toA, "hello"), "hello from "+c.b; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if err := a.Send("nobody", nil); err == nil {
				t.Error("sent to a stranger")
			}
			if state := a.State(); state.Device != "eth0" || state.MAC == nil || state.Err != nil || state.Direct != 0 {
				t.Errorf("state %+v", state)
			}
		})
	}
}

// TestRelayIgnoresWhatIsDirect sends the same content without the router.
func TestRelayIgnoresWhatIsDirect(t *testing.T) {
	s := newSite(t)
	a := s.relay(s.a, "10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3")
	b := s.relay(s.b, "10.0.0.2:7001", "10.0.0.1:7001", "10.0.0.3")
	toB := s.inbox(b)
	s.carries(a, toB, "hello")
	s.net.Isolate(false, s.portA, s.portB)
	s.a.Do(func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", "10.0.0.2:7001")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for begun := time.Now(); b.State().Direct == 0; {
			if _, err := conn.Write([]byte("direct")); err != nil || time.Since(begun) > patience {
				return fmt.Errorf("direct: %w", err)
			}
		}
		return nil
	})
	drain(toB)
	if got, want := s.carries(a, toB, "relayed"), "relayed from 10.0.0.1:7001"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRelayKeepsTheMAC of a gateway that does not say it any more.
func TestRelayKeepsTheMAC(t *testing.T) {
	s := newSite(t)
	a := s.relay(s.a, "10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3")
	b := s.relay(s.b, "10.0.0.2:7001", "10.0.0.1:7001", "10.0.0.3")
	toB := s.inbox(b)
	s.carries(a, toB, "hello")
	s.router.Do(func(context.Context) error { return netif.Sysctl("net.ipv4.conf.eth0.arp_ignore").Set("8") })
	s.a.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0")
		return errors.Join(err, netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Index, IP: net.IP{10, 0, 0, 3}}))
	})
	var scout *netif.Scout
	s.a.Do(func(context.Context) (err error) {
		scout, err = netif.OpenScout()
		return err
	})
	defer scout.Close()
	if w, err := scout.Look(t.Context(), "", netip.MustParseAddr("10.0.0.3")); err != nil || w.MAC != nil {
		t.Fatalf("the kernel still knows: %+v, %v", w, err)
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for begun := time.Now(); time.Since(begun) < 1100*time.Millisecond; <-ticker.C { // two looks
		if err := a.Send("peer", []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	drain(toB)
	s.carries(a, toB, "hello")
	if state := a.State(); state.MAC == nil || state.Err != nil {
		t.Errorf("state %+v", state)
	}
}

// TestRelayComesBack after its device was missing, at first and in between.
func TestRelayComesBack(t *testing.T) {
	s := newSite(t)
	b := s.relay(s.b, "10.0.0.2:7001", "10.0.0.1:7001", "10.0.0.3")
	toB := s.inbox(b)
	remove := func() {
		s.a.Do(func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") })
	}
	remove()
	a := s.relay(s.a, "10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3")
	toA := s.inbox(a)
	for range 2 {
		if err := a.Send("peer", []byte("lost")); !errors.Is(err, netif.ErrMissing) {
			t.Errorf("without a device: %v", err)
		}
		s.net.Isolate(true, s.net.Plug(s.a, "eth0"))
		s.addresses(s.a, 1)
		s.carries(a, toB, "hello")
		s.carries(b, toA, "hello")
		remove()
		drain(toB)
	}
}

// TestRelayByAnotherMAC hears what was forwarded, from a MAC that is not known as the
// gateway's: routers that share an address may send from their own.
func TestRelayByAnotherMAC(t *testing.T) {
	s := newSite(t)
	a := s.relay(s.a, "10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3")
	b := s.relay(s.b, "10.0.0.2:7001", "10.0.0.1:7001", "10.0.0.99")
	s.carries(a, s.inbox(b), "hello")
	if state := b.State(); state.MAC != nil || state.Direct != 0 {
		t.Errorf("state %+v", state)
	}
}

func TestRelayRefuses(t *testing.T) {
	local, peer := netip.MustParseAddrPort("10.0.0.1:7001"), netip.MustParseAddrPort("10.0.0.2:7001")
	for name, s := range map[string]gateway.RelaySettings{
		"nothing":             {},
		"itself":              {Gateway: local.Addr(), Local: local},
		"the peer":            {Gateway: peer.Addr(), Local: local, Peers: map[string]netip.AddrPort{"peer": peer}},
		"no port":             {Gateway: netip.MustParseAddr("10.0.0.3"), Local: netip.AddrPortFrom(local.Addr(), 0)},
		"no port of the peer": {Gateway: netip.MustParseAddr("10.0.0.3"), Local: local, Peers: map[string]netip.AddrPort{"peer": netip.AddrPortFrom(peer.Addr(), 0)}},
		"two families":        {Gateway: netip.MustParseAddr("10.0.0.3"), Local: local, Peers: map[string]netip.AddrPort{"peer": netip.MustParseAddrPort("[fd00::2]:7001")}},
	} {
		if r, err := gateway.OpenRelay(s); err == nil {
			t.Errorf("%s: opened: %v", name, r.Close())
		}
	}
}
