//go:build linux

package takeover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// A leasedAddress belongs on a device, or it cannot be told on which.
type leasedAddress struct {
	slowAddress
	device string
	err    error
	laid   []time.Duration
}

func (a *leasedAddress) Want(context.Context, func() (*netif.Census, error)) (netif.Lease, error) {
	return netif.Lease{Device: a.device, Prefix: a.prefix, Lifetime: time.Minute}, a.err
}

func (a *leasedAddress) Laid(began time.Duration, _ string) { a.laid = append(a.laid, began) }

// An address of which nobody knows where it belongs keeps no other from being removed, and
// is removed from where it is itself; what hides behind one that has no device is told.
func TestRemoveAllButOne(t *testing.T) {
	netiftest.New(t).Do(func(ctx context.Context) error {
		if err := netif.AddSwitch(ctx, "eth0"); err != nil {
			return err
		}
		var all []Address
		var leases []netif.Lease
		for i := range 10 {
			a := &leasedAddress{slowAddress: slowAddress{prefix: netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", 100+i))}, device: "eth0"}
			l, _ := a.Want(ctx, nil)
			all, leases = append(all, a), append(leases, l)
		}
		if _, err := netif.HoldAll(ctx, leases, 0); err != nil {
			return err
		}
		none, two := all[2].(*leasedAddress), all[5].(*leasedAddress)
		none.device, none.err = "", netif.ErrMissing
		two.device, two.err = "", errors.New("eth0 and eth1 fit equally well")
		if err := removeAll(ctx, all); !errors.Is(err, two.err) {
			t.Errorf("removed, with the error %v", err)
		}
		found, err := netif.FindAll(ctx, leases)
		for i, f := range found {
			if f.Held {
				t.Errorf("%s is still there: %+v", leases[i].Prefix, f)
			}
		}
		two.err = nil
		return errors.Join(err, removeAll(ctx, all))
	})
}
