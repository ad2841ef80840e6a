package takeover

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// TestALinkLocalGatewayProvesTheWire: what a router of IPv6 has for an address for sure
// is written with the interface, which no neighbour knows.
func TestALinkLocalGatewayProvesTheWire(t *testing.T) {
	a, b := netiftest.New(t), netiftest.New(t)
	netiftest.Cable(a, "eth0", b, "eth0")
	a.Address("eth0", "fd00::1/64")
	a.Address("eth0", "fe80::1/64")
	b.Address("eth0", "fe80::3/64")
	var near []netip.Addr
	var wire Wire
	a.Do(func(ctx context.Context) (err error) {
		near = Kernel{}.OnLink(ctx, "eth0", []netip.Addr{netip.MustParseAddr("fe80::3%eth0"), netip.MustParseAddr("fe80::4%eth1")})
		wire, err = Kernel{}.Open(ctx, "eth0")
		return err
	})
	defer func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	}()
	if want := []netip.Addr{netip.MustParseAddr("fe80::3")}; !slices.Equal(near, want) {
		t.Errorf("on the link are %v, want %v", near, want)
	}
	q := netif.Question{ID: 7, Addresses: []netip.Addr{netip.MustParseAddr("fd00::99")}, Gateways: near}
	patience := time.After(30 * time.Second)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if err := wire.Ask(q); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-wire.Heard():
			if s.Kind == netif.Works && s.ID == q.ID {
				return
			}
		case <-again.C:
		case <-patience:
			t.Fatal("the gateway proves nothing")
		}
	}
}
