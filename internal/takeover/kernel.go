package takeover

import (
	"context"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/netif"
)

// Kernel are the wires of this machine.
type Kernel struct{}

// Open opens the device's wire.
func (Kernel) Open(ctx context.Context, device string) (Wire, error) {
	w, err := netif.OpenWire(ctx, device)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Watch tells of the device's carrier and of addresses that go.
func (Kernel) Watch(ctx context.Context, device string, addresses []netip.Addr) (<-chan netif.Change, error) {
	w, err := netif.Watch(ctx, netif.WatchOptions{Device: device, Addresses: addresses})
	if err != nil {
		return nil, err
	}
	return w.Changes(), nil
}

// OnLink are those of the addresses that the kernel reaches over the device without
// a router. Those that say themselves on which device they are (fe80::1%eth0) are without
// that: a neighbour that answers knows nothing of it, nor does the kernel's table.
func (Kernel) OnLink(ctx context.Context, device string, addresses []netip.Addr) []netip.Addr {
	var near []netip.Addr
	for _, a := range addresses {
		if zone := a.Zone(); zone != "" {
			if zone == device {
				near = append(near, a.WithZone(""))
			}
			continue
		}
		if r, err := netif.RouteTo(ctx, a); err == nil && r.Device == device && !r.Gateway.IsValid() && !r.Local {
			near = append(near, a)
		}
	}
	return near
}

// Carrier tells whether the device is there, up and plugged in.
func (Kernel) Carrier(ctx context.Context, device string) bool {
	l, err := netif.LinkNamed(ctx, device)
	return err == nil && l.Up && l.Carrier
}

// Neighbours are the machines on the device that the kernel knows.
func (Kernel) Neighbours(ctx context.Context, device string) ([]netif.Neighbour, error) {
	all, err := netif.Neighbours(ctx)
	return slices.DeleteFunc(all, func(n netif.Neighbour) bool { return n.Device != device || len(n.MAC) == 0 }), err
}
