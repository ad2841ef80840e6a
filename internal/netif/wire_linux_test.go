package netif_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// openWire opens the wire of eth0 until the test ends.
func openWire(t *testing.T, s *netiftest.Space) (w *netif.Wire) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		w, err = netif.OpenWire(ctx, "eth0")
		return err
	})
	t.Cleanup(func() {
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func macOf(t *testing.T, s *netiftest.Space) (mac string) {
	t.Helper()
	s.Do(func(ctx context.Context) error {
		l, err := netif.LinkNamed(ctx, "eth0")
		mac = l.MAC.String()
		return err
	})
	return mac
}

// heard is the next sighting.
func heard(t *testing.T, w *netif.Wire) netif.Sighting {
	t.Helper()
	select {
	case s := <-w.Heard():
		return s
	case <-time.After(deadline):
		t.Fatal("nothing is heard")
		return netif.Sighting{}
	}
}

func ask(t *testing.T, w *netif.Wire, id uint64, address string, gateways ...string) {
	t.Helper()
	q := netif.Question{ID: id, Addresses: []netip.Addr{netip.MustParseAddr(address)}}
	for _, g := range gateways {
		q.Gateways = append(q.Gateways, netip.MustParseAddr(g))
	}
	if err := w.Ask(q); err != nil {
		t.Error(err)
	}
}

// pair is two machines on a cable.
func pair(t *testing.T) (a, b *netiftest.Space) {
	a, b = netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	a.Address("eth0", "10.0.0.1/24")
	a.Address("eth0", "fd00::1/64")
	b.Address("eth0", "10.0.0.2/24")
	b.Address("eth0", "fd00::2/64")
	return a, b
}

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct{ held, free, gateway string }{
		"IPv4": {"10.0.0.100", "10.0.0.99", "10.0.0.2"},
		"IPv6": {"fd00::100", "fd00::99", "fd00::2"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			b.Do(func(ctx context.Context) error {
				held := netip.MustParseAddr(c.held)
				_, err := netif.Hold(ctx, "eth0", netip.PrefixFrom(held, held.BitLen()), netif.HoldOptions{Lifetime: time.Hour})
				return err
			})
			b.AwaitUse(netip.MustParseAddr(c.held))
			w, mac := openWire(t, a), macOf(t, b)
			for id := uint64(1); id <= 6; id += 2 {
				ask(t, w, id, c.held, c.gateway)
				for _, want := range []netif.Sighting{
					{Kind: netif.Answered, ID: id, Address: netip.MustParseAddr(c.held)},
					{Kind: netif.Works, ID: id, Address: netip.MustParseAddr(c.gateway)},
				} {
					if s := heard(t, w); s.Kind != want.Kind || s.ID != want.ID || s.Address != want.Address || s.MAC.String() != mac {
						t.Errorf("held: got %+v, want %+v by %s", s, want, mac)
					}
				}
				// Nobody answers this; the gateway's answer comes after it would have.
				ask(t, w, id+1, c.free, c.gateway)
				if s := heard(t, w); s.Kind != netif.Works || s.ID != id+1 {
					t.Errorf("free: got %+v, want that the wire works for %d", s, id+1)
				}
			}
		})
	}
}

// A machine without any IPv6 address asks in the form of RFC 4862, which is answered
// to everybody: an answer, but no proof that this machine can be reached.
func TestAskWithoutSource(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	b.Address("eth0", "fd00::2/64")
	b.Address("eth0", "10.0.0.2/24")
	w := openWire(t, a)
	ask(t, w, 1, "fd00::2", "fd00::2", "10.0.0.2")
	var answered, works int
	for asked := false; answered == 0 || works == 0 || !asked; { // The two protocols have a socket each, and so no order.
		switch s := heard(t, w); {
		case s.Kind == netif.Answered && s.Address.Is6() && s.ID == 1:
			if answered++; answered == 1 {
				ask(t, w, 2, "fd00::2") // what comes before this is answered was heard before it
			}
		case s.Kind == netif.Answered && s.Address.Is6() && s.ID == 2:
			asked = true
		case s.Kind == netif.Works && s.Address.Is4():
			works++
		default:
			t.Errorf("got %+v", s)
		}
	}
	if answered > 2 || works != 1 {
		t.Errorf("answered %d times, proved %d times, want one or two of two that are alike, and 1", answered, works)
	}
}

// What is asked on a cable that is cut proves nothing, also when it is plugged in
// again a moment later.
func TestAskOnACutCable(t *testing.T) {
	a, b := pair(t)
	w := openWire(t, a)
	ask(t, w, 1, "10.0.0.99", "10.0.0.2")
	if s := heard(t, w); s.Kind != netif.Works || s.ID != 1 {
		t.Fatalf("before: %+v", s)
	}
	b.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", false) })
	for id := uint64(2); id < 5; id++ {
		// The kernel may say so, or lose it.
		_ = w.Ask(netif.Question{ID: id, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.99")}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.2")}})
	}
	b.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", true) })
	ask(t, w, 5, "10.0.0.99", "10.0.0.2")
	if s := heard(t, w); s.Kind != netif.Works || s.ID != 5 {
		t.Errorf("plugged in again: %+v, want the proof of 5", s)
	}
	a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", false) })
	if err := w.Ask(netif.Question{ID: 6, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.99")}}); err == nil {
		t.Error("no error on a device that is down")
	}
	a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", true) })
	ask(t, w, 7, "10.0.0.2")
	if s := heard(t, w); s.Kind != netif.Answered || s.ID != 7 {
		t.Errorf("up again: %+v", s)
	}
	a.Do(func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") })
	if err := w.Announce(netip.MustParseAddr("10.0.0.1")); !errors.Is(err, netif.ErrMissing) {
		t.Errorf("removed: %v, want ErrMissing", err)
	}
}

func TestForeignClaim(t *testing.T) {
	for _, vip := range []string{"10.0.0.100", "fd00::100"} {
		a, b := pair(t)
		ours, theirs := openWire(t, a), openWire(t, b)
		guarded := netip.MustParseAddr(vip)
		ours.Guard(guarded)
		// Another address, a question of somebody who has it not (which is seen for what it
		// is), and what is announced here are no claims.
		for _, err := range []error{
			ours.Announce(guarded), theirs.Announce(guarded.Next()),
			theirs.Ask(netif.Question{ID: 1, Addresses: []netip.Addr{guarded}}), theirs.Announce(guarded),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		mac := macOf(t, b)
		if guarded.Is4() {
			if s := heard(t, ours); s.Kind != netif.Sought || s.Address != guarded || s.MAC.String() != mac {
				t.Errorf("got %+v, want that %s is sought by %s", s, vip, mac)
			}
		}
		if s := heard(t, ours); s.Kind != netif.Claimed || s.Address != guarded || s.MAC.String() != mac || s.ID != 0 {
			t.Errorf("got %+v, want a claim of %s by %s", s, vip, mac)
		}
	}
}

// lan is a client with a bridge to two directors.
func lan(t *testing.T) (client, a, b *netiftest.Space) {
	client, a, b = netiftest.New(t), netiftest.New(t), netiftest.New(t)
	netiftest.Cable(client, "port1", a, "eth0")
	netiftest.Cable(client, "port2", b, "eth0")
	client.Do(func(ctx context.Context) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "br0"
		bridge := &netlink.Bridge{LinkAttrs: attrs}
		err := netlink.LinkAdd(bridge)
		for _, name := range []string{"port1", "port2"} {
			port, err2 := netlink.LinkByName(name)
			err = errors.Join(err, err2, netlink.LinkSetMaster(port, bridge))
		}
		return errors.Join(err, netif.SetUp(ctx, "br0", true))
	})
	client.Address("br0", "10.0.0.9/24")
	client.Address("br0", "fd00::9/64")
	return client, a, b
}

// knows is the MAC that the client would send to.
func knows(t *testing.T, client *netiftest.Space, address string) (mac string) {
	t.Helper()
	client.Do(func(ctx context.Context) error {
		all, err := netif.Neighbours(ctx)
		for _, n := range all {
			if n.Address == netip.MustParseAddr(address) {
				mac = n.MAC.String()
			}
		}
		return err
	})
	return mac
}

func believe(t *testing.T, client *netiftest.Space, address, mac string) {
	t.Helper()
	hardware, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	client.Do(func(context.Context) error {
		l, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, IP: net.ParseIP(address), HardwareAddr: hardware, State: netlink.NUD_REACHABLE,
		})
	})
}

// switches waits until the client believes it, which was told once.
func switches(t *testing.T, client *netiftest.Space, address, mac string) {
	t.Helper()
	for over := time.Now().Add(deadline); knows(t, client, address) != mac; {
		if time.Now().After(over) {
			t.Fatalf("the neighbour sends %s to %s, want %s", address, knows(t, client, address), mac)
		}
	}
}

// Each form alone, sent once, switches a neighbour that has just heard of the other
// director.
func TestAnnounce(t *testing.T) {
	client, a, b := lan(t)
	w, before, after := openWire(t, b), macOf(t, a), macOf(t, b)
	mac, err := net.ParseMAC(after)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]byte{}
	for _, vip := range []string{"10.0.0.100", "fd00::100"} {
		for i, frame := range netif.Announcement(mac, netip.MustParseAddr(vip), false) {
			forms[vip+[]string{" 1", " 2"}[i]] = frame
		}
	}
	if len(forms) != 3 {
		t.Fatalf("%d forms, want request, reply, advertisement", len(forms))
	}
	for name, frame := range forms {
		vip := name[:len(name)-2]
		believe(t, client, vip, before)
		if err := w.SendFrame(frame); err != nil {
			t.Fatal(err)
		}
		switches(t, client, vip, after)
	}
	for _, vip := range []string{"10.0.0.100", "fd00::100"} {
		believe(t, client, vip, before)
		if err := w.Announce(netip.MustParseAddr(vip)); err != nil {
			t.Fatal(err)
		}
		switches(t, client, vip, after)
	}
	// The counter-proof: a reply whose target is nobody is ignored by a neighbour that
	// has just changed its mind. What is announced after it has arrived after it.
	believe(t, client, "10.0.0.100", before)
	believe(t, client, "10.0.0.101", before)
	reply := slices.Clone(forms["10.0.0.100 2"])
	clear(reply[32:38])
	if err := errors.Join(w.SendFrame(reply), w.Announce(netip.MustParseAddr("10.0.0.101"))); err != nil {
		t.Fatal(err)
	}
	switches(t, client, "10.0.0.101", after)
	if got := knows(t, client, "10.0.0.100"); got != before {
		t.Logf("this kernel, or a pause of a second, took the reply with target 0 too")
	}
}

// waits waits until something about an address waits for a reader.
func waits(t *testing.T, w *netif.Wire, address netip.Addr) {
	t.Helper()
	for over := time.Now().Add(deadline); !w.Waits(address); {
		if time.Now().After(over) {
			t.Fatalf("nothing is heard about %s", address)
		}
	}
}

// A pause makes what waits worthless, also what is about to be handed over.
func TestFlush(t *testing.T) {
	a, b := pair(t)
	ours, theirs := openWire(t, a), openWire(t, b)
	first, old, young := netip.MustParseAddr("fd00::100"), netip.MustParseAddr("fd00::101"), netip.MustParseAddr("fd00::102")
	ours.Guard(first, old, young)
	if err := errors.Join(theirs.Announce(first), theirs.Announce(old)); err != nil {
		t.Fatal(err)
	}
	waits(t, ours, old)
	ours.Flush()
	if err := theirs.Announce(young); err != nil {
		t.Fatal(err)
	}
	if s := heard(t, ours); s.Address != young {
		t.Errorf("after a flush: %+v", s)
	}
}

// A flood that nobody reads blocks nobody, and costs nothing that is different.
func TestFlood(t *testing.T) {
	a, b := pair(t)
	ours, theirs := openWire(t, a), openWire(t, b)
	all := []netip.Addr{netip.MustParseAddr("fd00::1:0")}
	for len(all) < 600 {
		all = append(all, all[len(all)-1].Next())
	}
	ours.Guard(all...)
	for i, each := range all {
		for range 3 {
			if err := theirs.Announce(each); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 49 { // The kernel's own queue has room for some hundreds.
			waits(t, ours, each)
		}
	}
	last, seen := all[len(all)-1], map[netip.Addr]bool{}
	for !seen[last] {
		seen[heard(t, ours).Address] = true
	}
	if len(seen) != len(all) {
		t.Errorf("claims of %d addresses are heard, want %d", len(seen), len(all))
	}
}

// What came before a question is no answer to it, however late it is read: or the answer
// of the owner before and that of the one after it would both be answers to one question.
func TestAskHearsFirstWhatWaits(t *testing.T) {
	a, b := pair(t)
	held := netip.MustParseAddr("10.0.0.100")
	b.Do(func(ctx context.Context) error {
		_, err := netif.Hold(ctx, "eth0", netip.PrefixFrom(held, 32), netif.HoldOptions{Lifetime: time.Hour})
		return err
	})
	var w *netif.Wire
	a.Do(func(ctx context.Context) (err error) {
		w, err = netif.OpenUnread(ctx, "eth0")
		return err
	})
	ask(t, w, 1, held.String())
	if err := w.AwaitARP(deadline); err != nil {
		t.Fatal(err)
	}
	b.Do(func(ctx context.Context) error { return netif.Release(ctx, "eth0", held) })
	ask(t, w, 2, held.String(), "10.0.0.2")
	w.Read()
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if s := heard(t, w); s.Kind != netif.Answered || s.ID != 1 {
		t.Errorf("got %+v, want an answer to the first question", s)
	}
	if s := heard(t, w); s.Kind != netif.Works || s.ID != 2 {
		t.Errorf("got %+v, want the proof of the second question", s)
	}
}

// A storm about other addresses, in which nobody reads, leaves room for claims and searches
// that concern the guarded ones. (TestAsk shows that answers come through.)
func TestStorm(t *testing.T) {
	a, b := pair(t)
	guarded, sought := netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.102")
	var w *netif.Wire
	a.Do(func(ctx context.Context) (err error) {
		w, err = netif.OpenUnread(ctx, "eth0")
		return err
	})
	theirs := openWire(t, b)
	w.Guard(guarded, sought)
	mac, err := net.ParseMAC(macOf(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 { // more than the socket has room for
		frame := netif.Announcement(mac, netip.AddrFrom4([4]byte{10, 9, byte(i / 250), byte(i % 250)}), false)[i%2]
		if err := theirs.SendFrame(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(theirs.Ask(netif.Question{ID: 1, Addresses: []netip.Addr{sought}}), theirs.Announce(guarded)); err != nil {
		t.Fatal(err)
	}
	w.Read()
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if s := heard(t, w); s.Kind != netif.Sought || s.Address != sought {
		t.Errorf("got %+v, want that %s is sought", s, sought)
	}
	if s := heard(t, w); s.Kind != netif.Claimed || s.Address != guarded {
		t.Errorf("got %+v, want a claim of %s", s, guarded)
	}
}

// Of more addresses than a filter has room for all are heard, as of fewer before and after.
func TestGuardMany(t *testing.T) {
	a, b := pair(t)
	ours, theirs := openWire(t, a), openWire(t, b)
	many := []netip.Addr{netip.MustParseAddr("10.1.0.0")}
	for len(many) < 3000 {
		many = append(many, many[len(many)-1].Next())
	}
	for _, guarded := range [][]netip.Addr{many[:1], many, many[:900], many[500:1000]} {
		ours.Guard(guarded...)
		last := guarded[len(guarded)-1]
		if err := theirs.Announce(last); err != nil {
			t.Fatal(err)
		}
		for got := (netip.Addr{}); got != last; { // what came before may come twice
			got = heard(t, ours).Address
		}
	}
}

func TestOpenWireRefuses(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		if _, err := netif.OpenWire(ctx, "lo"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("lo: %v, want ErrUnsupported", err)
		}
		if _, err := netif.OpenWire(ctx, "nope"); !errors.Is(err, netif.ErrMissing) {
			t.Errorf("no device: %v, want ErrMissing", err)
		}
		return nil
	})
}

// An address that came later is asked from after Refresh, a MAC that changed at once.
func TestRefresh(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	b.Address("eth0", "fd00::2/64")
	w := openWire(t, a)
	a.Address("eth0", "fd00::1/64")
	a.Do(func(ctx context.Context) error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 7}), w.Refresh(ctx))
	})
	ask(t, w, 1, "fd00::99", "fd00::2")
	if s := heard(t, w); s.Kind != netif.Works {
		t.Errorf("got %+v", s)
	}
	theirs := openWire(t, b)
	theirs.Guard(netip.MustParseAddr("fd00::100"))
	if err := w.Announce(netip.MustParseAddr("fd00::100")); err != nil {
		t.Fatal(err)
	}
	if s := heard(t, theirs); s.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("announced as %s", s.MAC)
	}
}
