package netif_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// openHairpin opens one on port 7000 of an address, until the test ends.
func openHairpin(t *testing.T, s *netiftest.Space, local string) (h *netif.Hairpin) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		h, err = netif.OpenHairpin(ctx, netip.AddrPortFrom(netip.MustParseAddr(local), 7000))
		return err
	})
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func openScout(t *testing.T, s *netiftest.Space) (scout *netif.Scout) {
	t.Helper()
	s.Do(func(context.Context) (err error) {
		scout, err = netif.OpenScout()
		return err
	})
	t.Cleanup(scout.Close)
	return scout
}

// known is the way to a neighbour once the kernel knows its MAC.
func known(t *testing.T, scout *netif.Scout, device, to string) netif.Way {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < deadline; {
		w, err := scout.Look(t.Context(), device, netip.MustParseAddr(to))
		if err != nil {
			t.Fatal(err)
		}
		if w.MAC != nil {
			return w
		}
	}
	t.Fatalf("the kernel does not learn who has %s", to)
	return netif.Way{}
}

// linkLocal gives both ends what the kernel asks IPv6 neighbours from.
func linkLocal(a, b *netiftest.Space) {
	a.Address("eth0", "fe80::1/64")
	b.Address("eth0", "fe80::2/64")
}

// TestHairpinIsNoDirectLink aims at the peer itself, which is what a switch that
// knows better, or a "gateway" that is the peer, would amount to.
func TestHairpinIsNoDirectLink(t *testing.T) {
	for name, c := range map[string]struct{ a, b, other string }{
		"IPv4": {"10.0.0.1", "10.0.0.2", "10.0.0.77"},
		"IPv6": {"fd00::1", "fd00::2", "fd00::77"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			linkLocal(a, b)
			from, to := openHairpin(t, a, c.a), openHairpin(t, b, c.b)
			wayB := known(t, openScout(t, a), "", c.b)
			wayA := known(t, openScout(t, b), "", c.a)
			elsewhere := wayA // somebody else is the router
			elsewhere.MAC = slices.Clone(wayA.MAC)
			elsewhere.MAC[5] ^= 1
			at := netip.AddrPortFrom(netip.MustParseAddr(c.b), 7000)
			if err := errors.Join(from.Aim(wayB), to.Aim(elsewhere)); err != nil {
				t.Fatal(err)
			}
			if err := from.Send(at, []byte("direct")); err != nil {
				t.Fatal(err)
			}
			// Others' packets are not even looked at.
			for _, stray := range []netip.AddrPort{netip.AddrPortFrom(at.Addr(), 7001), netip.AddrPortFrom(netip.MustParseAddr(c.other), 7000)} {
				if err := from.Send(stray, []byte("stray")); err != nil {
					t.Fatal(err)
				}
			}
			got := make(chan string, 1)
			go func() {
				buffer := make([]byte, 100)
				n, sender, err := to.Receive(buffer)
				got <- string(buffer[:n]) + " from " + sender.String()
				if err != nil {
					t.Error(err)
				}
			}()
			for to.Direct() == 0 { //nolint:revive // the reader is at it
			}
			// Now the sender is the router, as far as the receiver can see.
			if err := errors.Join(to.Aim(wayA), from.Send(at, []byte("routed"))); err != nil {
				t.Fatal(err)
			}
			if want := "routed from " + netip.AddrPortFrom(netip.MustParseAddr(c.a), 7000).String(); <-got != want || to.Direct() != 1 {
				t.Errorf("want %s and 1 direct one, %d", want, to.Direct())
			}
		})
	}
}

// TestHairpinKeepsThePort sees to it that the kernel does not refuse what comes, and
// that nobody else gets the port.
func TestHairpinKeepsThePort(t *testing.T) {
	a, b := pair(t)
	to := openHairpin(t, b, "10.0.0.2")
	if err := to.Aim(known(t, openScout(t, b), "eth0", "10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	came := make(chan error, 1)
	go func() {
		_, _, err := to.Receive(make([]byte, 1))
		came <- err
	}()
	a.Do(func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", "10.0.0.2:7000")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		if err := <-came; err != nil { // from this end's MAC, which is the router's here
			return err
		}
		// The second would bring the refusal of the first.
		_, err = conn.Write([]byte("x"))
		return err
	})
	err := b.Try(func(ctx context.Context) error {
		_, err := netif.OpenHairpin(ctx, netip.MustParseAddrPort("10.0.0.2:7000"))
		return err
	})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestHairpinRefuses(t *testing.T) {
	a, _ := pair(t)
	for _, local := range []string{"0.0.0.0:7000", "10.0.0.1:0", "224.0.0.1:7000", "[fe80::1%eth0]:7000"} {
		err := a.Try(func(ctx context.Context) error {
			_, err := netif.OpenHairpin(ctx, netip.MustParseAddrPort(local))
			return err
		})
		if err == nil {
			t.Errorf("%s: opened", local)
		}
	}
	h := openHairpin(t, a, "10.0.0.1")
	at := netip.MustParseAddrPort("10.0.0.2:7000")
	if err := h.Send(at, nil); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("without a device: %v", err)
	}
	way := known(t, openScout(t, a), "eth0", "10.0.0.2")
	blind := way
	blind.MAC = nil
	if err := h.Aim(blind); err != nil {
		t.Fatal(err)
	}
	if err := h.Send(at, nil); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("without a MAC: %v", err)
	}
	if err := h.Aim(way); err != nil {
		t.Fatal(err)
	}
	if err := h.Send(at, make([]byte, 1500-28)); err != nil {
		t.Errorf("a full packet: %v", err)
	}
	if err := h.Send(at, make([]byte, 1500-27)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("too long: %v", err)
	}
	if err := h.Send(netip.MustParseAddrPort("[fd00::2]:7000"), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the other family: %v", err)
	}
	a.Do(func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") })
	if err := h.Send(at, nil); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("the device is gone: %v", err)
	}
	if err := h.Aim(way); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("aimed at a device that is gone: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := h.Receive(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestScout(t *testing.T) {
	a, b := pair(t)
	linkLocal(a, b)
	scout := openScout(t, a)
	look := func(device, to string) (netif.Way, error) {
		return scout.Look(t.Context(), device, netip.MustParseAddr(to))
	}
	// The first look makes the kernel ask.
	if w := known(t, scout, "", "10.0.0.2"); w.Device != "eth0" || w.MTU != 1500 || w.MAC.String() != macOf(t, b) {
		t.Errorf("way %+v", w)
	}
	if w := known(t, scout, "", "fd00::2"); w.Device != "eth0" || w.MAC.String() != macOf(t, b) {
		t.Errorf("way %+v", w)
	}
	if _, err := look("", "10.0.0.1"); !errors.Is(err, netif.ErrOwn) {
		t.Errorf("the own address: %v", err)
	}
	if _, err := look("eth0", "10.0.0.1"); !errors.Is(err, netif.ErrOwn) {
		t.Errorf("the own address: %v", err)
	}
	if _, err := look("", "10.9.9.9"); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("a strange network: %v", err)
	}
	if _, err := look("eth7", "10.0.0.2"); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("a strange device: %v", err)
	}
	if w, err := look("eth0", "10.0.0.99"); err != nil || w.MAC != nil {
		t.Errorf("nobody: %+v, %v", w, err)
	}
	// What an administrator wrote down stays.
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	a.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0")
		return errors.Join(err, netlink.NeighSet(&netlink.Neigh{
			LinkIndex: l.Index, IP: net.IP{10, 0, 0, 9}, HardwareAddr: mac, State: netlink.NUD_PERMANENT,
		}))
	})
	for range 2 {
		if w, err := look("", "10.0.0.9"); err != nil || w.MAC.String() != mac.String() {
			t.Errorf("permanent: %+v, %v", w, err)
		}
	}
	// A host route without a gateway, as clouds have it.
	a.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0")
		return errors.Join(err, netlink.RouteAdd(&netlink.Route{
			LinkIndex: l.Index, Dst: netlink.NewIPNet(net.IP{10, 9, 9, 9}), Scope: netlink.SCOPE_LINK,
		}))
	})
	if w, err := look("", "10.9.9.9"); err != nil || w.Device != "eth0" {
		t.Errorf("by a route: %+v, %v", w, err)
	}
}
