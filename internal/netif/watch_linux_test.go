package netif_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// watch begins to watch in a namespace until the test ends.
func watch(t *testing.T, s *netiftest.Space, o netif.WatchOptions) (w *netif.Watcher) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		w, err = netif.Watch(ctx, o)
		return err
	})
	t.Cleanup(func() {
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		for range w.Changes() { // Closed, and empty.
			t.Error("a change after Close")
		}
	})
	return w
}

// next is the next change.
func next(t *testing.T, w *netif.Watcher) netif.Change {
	t.Helper()
	select {
	case c := <-w.Changes():
		return c
	case <-time.After(deadline):
		t.Fatal("no change is seen")
		return netif.Change{}
	}
}

func TestWatchCarrier(t *testing.T) {
	for name, poll := range map[string]time.Duration{"by messages": time.Hour, "by both": time.Millisecond} {
		t.Run(name, func(t *testing.T) { watchCarrier(t, poll) })
	}
}

func watchCarrier(t *testing.T, poll time.Duration) {
	a, b := netiftest.New(t), netiftest.New(t)
	w := watch(t, a, netif.WatchOptions{Device: "eth0", Poll: poll})
	if c := next(t, w); c.Kind != netif.CarrierChange || c.Carrier || c.Index != 0 {
		t.Errorf("without a device: %+v", c)
	}
	netiftest.Cable(a, "eth0", b, "eth0")
	c := next(t, w)
	for !c.Carrier { // The device may be seen before it is up.
		c = next(t, w)
	}
	first := c.Index
	for _, up := range []bool{false, true, false, true} {
		b.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", up) })
		if c := next(t, w); c.Kind != netif.CarrierChange || c.Carrier != up || c.Index != first {
			t.Errorf("the other end is up: %t, got %+v", up, c)
		}
	}
	a.Do(func(ctx context.Context) error { return netif.SetUp(ctx, "eth0", false) })
	if c := next(t, w); c.Carrier {
		t.Errorf("taken down: %+v", c)
	}
	a.Do(func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") })
	if c := next(t, w); c.Carrier || c.Index != 0 {
		t.Errorf("removed: %+v", c)
	}
	netiftest.Cable(a, "eth0", b, "eth0")
	c = next(t, w)
	for !c.Carrier {
		c = next(t, w)
	}
	if c.Index == first || c.Index == 0 {
		t.Errorf("another device of that name: %+v, before %d", c, first)
	}
}

func TestWatchAddresses(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	vip4, vip6, last := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("fd00::100/128"), netip.MustParsePrefix("192.0.2.2/32")
	w := watch(t, a, netif.WatchOptions{Device: "eth0", Addresses: []netip.Addr{vip4.Addr(), vip6.Addr(), last.Addr()}})
	if c := next(t, w); !c.Carrier {
		t.Fatalf("at first: %+v", c)
	}
	hold := func(p netip.Prefix) {
		a.Do(func(ctx context.Context) error {
			for range 5 { // Neither the first nor the renewals are changes.
				if _, err := netif.Hold(ctx, "eth0", p, netif.HoldOptions{Lifetime: time.Minute}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	remove := func(p netip.Prefix) {
		a.Do(func(ctx context.Context) error { return netif.RemoveAddress(ctx, "eth0", p) })
		if c := next(t, w); c.Kind != netif.AddressGone || c.Address != p.Addr() {
			t.Errorf("%s removed: %+v", p, c)
		}
	}
	for _, p := range []netip.Prefix{vip4, vip6, vip4} {
		hold(p)
		// The same address elsewhere is another's business.
		a.Do(func(ctx context.Context) error {
			if err := netif.AddAddress(ctx, netif.Add{Device: "lo", Prefix: p}); err != nil {
				return err
			}
			return netif.RemoveAddress(ctx, "lo", p)
		})
		remove(p)
	}
	hold(vip4)
	hold(vip6)
	hold(last)
	remove(last) // What was before this is seen: nobody misses what he has not seen.
	a.Do(func(ctx context.Context) error { return netif.RemoveLink(ctx, "eth0") })
	seen := map[netip.Addr]bool{}
	for range 3 {
		if c := next(t, w); c.Kind == netif.AddressGone {
			seen[c.Address] = true
		} else if c.Carrier {
			t.Errorf("with the device removed: %+v", c)
		}
	}
	if len(seen) != 2 {
		t.Errorf("with the device removed only %v are gone", seen)
	}
}

// A watcher that nobody reads from ends all the same, and so does one whose context
// ends.
func TestWatchEnds(t *testing.T) {
	s := netiftest.New(t)
	watch(t, s, netif.WatchOptions{Device: "lo", Poll: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	var w *netif.Watcher
	s.Do(func(context.Context) (err error) {
		w, err = netif.Watch(ctx, netif.WatchOptions{Device: "lo", Poll: time.Hour})
		return err
	})
	next(t, w)
	cancel()
	select {
	case _, open := <-w.Changes():
		if open {
			t.Error("a change of nothing")
		}
	case <-time.After(deadline):
		t.Fatal("does not end with its context")
	}
}
