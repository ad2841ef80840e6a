package netif_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// hundreds are addresses of both kinds for a device.
func hundreds(device string, count int) []netif.Lease {
	var all []netif.Lease
	for i := range count {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i / 250), byte(1 + i%250)}), 32)
		if i%3 == 2 {
			p = netip.MustParsePrefix(fmt.Sprintf("fd00::%x/128", i+1))
		}
		all = append(all, netif.Lease{Device: device, Prefix: p, Lifetime: time.Minute})
	}
	return all
}

// held counts those of the leases that a device has.
func held(ctx context.Context, t *testing.T, all []netif.Lease) (count int) {
	t.Helper()
	found, err := netif.FindAll(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Held && !f.Unusable {
			count++
			if f.Left < 50*time.Second || f.Left > time.Minute || f.Permanent {
				t.Errorf("found: %+v", f)
			}
		}
	}
	return count
}

// Hundreds of addresses are held, renewed, found and removed.
func TestHoldAll(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		all := hundreds("lo", 300)
		for range 2 {
			if _, err := netif.HoldAll(ctx, all, 0); err != nil {
				return err
			}
			if n := held(ctx, t, all); n != 300 {
				t.Errorf("held: %d of 300", n)
			}
		}
		if err := netif.ReleaseAll(ctx, all[100:]); err != nil {
			return err
		}
		if n := held(ctx, t, all); n != 100 {
			t.Errorf("held after a removal of 200: %d", n)
		}
		return netif.ReleaseAll(ctx, all)
	})
}

// What fails keeps nothing else from being held, and is told, not hundreds of times.
func TestHoldAllButSome(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		all := append(hundreds("nope", 100), hundreds("lo", 300)[100:]...)
		_, err := netif.HoldAll(ctx, all, 0)
		if !errors.Is(err, netif.ErrMissing) || len(err.Error()) > 500 {
			t.Errorf("error of a hundred addresses: %v", err)
		}
		if n := held(ctx, t, all[100:]); n != 200 {
			t.Errorf("held: %d of 200", n)
		}
		return netif.ReleaseAll(ctx, all)
	})
}

// Too late is too late for all of them.
func TestHoldAllLate(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		all := hundreds("lo", 300)
		for _, after := range []time.Duration{-1, 200 * time.Microsecond} { // before, and in its midst
			if _, err := netif.HoldAll(ctx, all, netif.Boottime()+after); !errors.Is(err, netif.ErrLate) {
				t.Errorf("%s: %v", after, err)
			}
			if n := held(ctx, t, all); n != 0 {
				t.Errorf("%s: %d are held", after, n)
			}
		}
		return nil
	})
}

// An address goes with a device that is renamed. Who releases it, knowing the device by
// its old name, must not believe that it is gone.
func TestReleaseFromRenamedDevice(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		// Without a carrier, but with neighbours.
		if err := netif.AddSwitch(ctx, "eth0"); err != nil {
			return err
		}
		all := hundreds("eth0", 6)
		if _, err := netif.HoldAll(ctx, all, 0); err != nil {
			return err
		}
		if err := netif.RenameLink(ctx, "eth0", "lan0"); err != nil {
			return err
		}
		found, err := netif.FindAll(ctx, all)
		if err != nil {
			return err
		}
		for _, f := range found {
			if !f.Held || !f.Unusable {
				t.Errorf("found under the other name: %+v", f)
			}
		}
		if err := netif.ReleaseAll(ctx, all); err != nil {
			return err
		}
		if n := held(ctx, t, hundreds("lan0", 6)); n != 0 {
			t.Errorf("%d of 6 are there", n)
		}
		// What is there for good is somebody else's.
		other := netif.Add{Device: "lan0", Prefix: all[0].Prefix}
		if err := netif.AddAddress(ctx, other); err != nil {
			return err
		}
		if err := netif.ReleaseAll(ctx, all); err != nil {
			return err
		}
		if find(ctx, t, "lan0", other.Prefix.Addr().String()) == nil {
			t.Error("another's address was removed")
		}
		return nil
	})
}

// What an address costs, of which director.addressTime is several times as much. The
// kernel goes through all addresses of IPv6 for each that is added or renewed, so that
// many of these cost more than as many times one.
func BenchmarkHoldAll(b *testing.B) {
	for _, kind := range []string{"IPv4", "IPv6"} {
		for _, count := range []int{1, 20, 100, 300, 900} {
			b.Run(fmt.Sprint(kind, "/", count), func(b *testing.B) {
				s, far := netiftest.New(b), netiftest.New(b)
				netiftest.Cable(s, "eth0", far, "eth0")
				s.Do(func(ctx context.Context) error {
					return measure(ctx, b, slices.DeleteFunc(hundreds("eth0", 3*count), func(l netif.Lease) bool { return l.Prefix.Addr().Is4() != (kind == "IPv4") })[:count])
				})
			})
		}
	}
}

// measure holds, renews and releases addresses, again and again.
func measure(ctx context.Context, b *testing.B, all []netif.Lease) error {
	var took [3]time.Duration
	for b.Loop() {
		for i, do := range []func() error{
			func() error { _, err := netif.HoldAll(ctx, all, 0); return err },
			func() error { _, err := netif.HoldAll(ctx, all, 0); return err },
			func() error { return netif.ReleaseAll(ctx, all) },
		} {
			began := netif.Boottime()
			if err := do(); err != nil {
				return err
			}
			took[i] += netif.Boottime() - began
		}
	}
	for i, what := range []string{"hold", "renew", "release"} {
		b.ReportMetric(float64(took[i].Microseconds())/float64(b.N), "µs-"+what)
	}
	return nil
}

// What cannot be removed keeps nothing else from being removed, and is told: also not what
// is under another name.
func TestReleaseAllButOne(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		for _, device := range []string{"eth0", "eth1"} {
			if err := netif.AddSwitch(ctx, device); err != nil {
				return err
			}
		}
		there, renamed := hundreds("eth0", 300)[:150], hundreds("eth1", 300)[150:]
		all := slices.Concat(there, renamed)
		if _, err := netif.HoldAll(ctx, all, 0); err != nil {
			return err
		}
		if err := netif.RenameLink(ctx, "eth1", "lan1"); err != nil {
			return err
		}
		// The kernel refuses a request about no address at all.
		if err := netif.ReleaseAll(ctx, slices.Insert(slices.Clone(all), 100, netif.Lease{Device: "eth0"})); err == nil || len(err.Error()) > 500 {
			t.Errorf("error of what cannot be removed: %v", err)
		}
		if n := held(ctx, t, there); n != 0 {
			t.Errorf("%d of 150 are still held", n)
		}
		if n := held(ctx, t, hundreds("lan1", 300)[150:]); n != 0 {
			t.Errorf("%d of 150 are still held under the other name", n)
		}
		return nil
	})
}

// A device on which IPv6 is turned off gets the other addresses; which it did not get is
// said, and why. All are removed without an error.
func TestHoldAllWithoutIPv6(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		if err := netif.AddSwitch(ctx, "eth0"); err != nil {
			return err
		}
		if err := netif.InterfaceKey("net.ipv6.conf", "eth0", "disable_ipv6").Set("1"); err != nil {
			return err
		}
		all := hundreds("eth0", 300)
		_, err := netif.HoldAll(ctx, all, 0)
		if !errors.Is(err, netif.ErrPermission) || !strings.Contains(fmt.Sprint(err), "fd00::3/128 on eth0") || !strings.Contains(fmt.Sprint(err), "and 97 more") {
			t.Errorf("error of a hundred addresses: %v", err)
		}
		if n := held(ctx, t, all); n != 200 {
			t.Errorf("held: %d of 200", n)
		}
		err = netif.ReleaseAll(ctx, all)
		if n := held(ctx, t, all); n != 0 {
			t.Errorf("%d are still held", n)
		}
		return err
	})
}

// An address that is also there for good, on a network of another length, is there for
// good: no end of a lease takes it away.
func TestFoundForGoodBesideALease(t *testing.T) {
	for _, order := range [][2]bool{{true, false}, {false, true}} {
		netiftest.New(t).Do(func(ctx context.Context) error {
			if err := netif.AddSwitch(ctx, "eth0"); err != nil {
				return err
			}
			lease := netif.Lease{Device: "eth0", Prefix: netip.MustParsePrefix("192.0.2.100/32"), Lifetime: time.Minute}
			for _, leased := range order {
				var err error
				if leased {
					_, err = netif.HoldAll(ctx, []netif.Lease{lease}, 0)
				} else {
					err = netif.AddAddress(ctx, netif.Add{Device: "eth0", Prefix: netip.MustParsePrefix("192.0.2.100/24")})
				}
				if err != nil {
					return err
				}
			}
			found, err := netif.FindAll(ctx, []netif.Lease{lease})
			if err != nil {
				return err
			}
			if !found[0].Held || !found[0].Permanent {
				t.Errorf("the lease first: %t: %+v", order[0], found[0])
			}
			// None is left, of whatever length.
			if err := netif.ReleaseAll(ctx, []netif.Lease{lease}); err != nil {
				return err
			}
			if found, err = netif.FindAll(ctx, []netif.Lease{lease}); err == nil && found[0].Held {
				t.Errorf("after it was removed: %+v", found[0])
			}
			return err
		})
	}
}

// A batch that ends after its time was begun in time: what it added is taken back, and how
// late it was is said.
func TestHoldAllEndsLate(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		all := hundreds("lo", 300)
		if _, err := netif.HoldAll(ctx, all, 0); err != nil { // a renewal may not leave them either
			return err
		}
		h, err := netif.HoldAll(ctx, all, netif.Boottime()+300*time.Microsecond)
		for err != nil && strings.Contains(err.Error(), "not begun") { // this thread had to wait
			h, err = netif.HoldAll(ctx, all, netif.Boottime()+300*time.Microsecond)
		}
		if !errors.Is(err, netif.ErrLate) || h.Ended < h.Began || strings.Count(err.Error(), "\n") > 6 {
			t.Errorf("%+v: %v", h, err)
		}
		if n := held(ctx, t, all); n != 0 {
			t.Errorf("%d are held", n)
		}
		return nil
	})
}
