package netif

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ownRoutes is the rtm_protocol of routes that this package made: one that nobody has
// in iproute2's rt_protos.
const ownRoutes = 109

// RoutesOf lists the routes to exactly this destination in a table (0: main), in the
// order in which the kernel takes them.
func RoutesOf(ctx context.Context, to netip.Prefix, table int) ([]Route, error) {
	var all []Route
	err := with(ctx, func(h *netlink.Handle) error {
		devices, err := devices(ctx, h)
		if err != nil {
			return err
		}
		family := unix.AF_INET
		if to.Addr().Is6() {
			family = unix.AF_INET6
		}
		filter := &netlink.Route{Table: cmp.Or(table, unix.RT_TABLE_MAIN), Dst: ipNet(to)}
		raw, err := dump(ctx, func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		})
		for i := range raw {
			all = append(all, route(&raw[i], devices))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the routes to %s: %w", to, err)
	}
	return all, nil
}

// PutRoute adds a route. Of IPv4 it comes before others of the same destination and
// metric, as "ip route prepend" has it; of IPv6 there may be none: [ErrExists], which
// also says that the very same route is there. [ErrMissing] is the device's,
// [ErrUnreachable] the gateway's. A source that is no address of this machine is
// refused, and of IPv4 the kernel removes the route when the address goes.
func PutRoute(ctx context.Context, r NewRoute) error {
	err := changeRoute(ctx, r, func(h *netlink.Handle, raw *netlink.Route) error {
		raw.Protocol = ownRoutes
		if r.Destination.Addr().Is6() {
			return h.RouteAdd(raw)
		}
		return h.RouteAddEcmp(raw) // without NLM_F_EXCL, which for IPv4 is to prepend
	})
	if err != nil {
		return fmt.Errorf("add %s: %w", r, err)
	}
	return nil
}

// RemoveRoute takes away a route like this one: one of the same destination, table,
// metric, gateway, device and source, as far as they are given. That there is none is
// no error.
func RemoveRoute(ctx context.Context, r NewRoute) error {
	err := changeRoute(ctx, r, (*netlink.Handle).RouteDel)
	if err != nil && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("remove %s: %w", r, err)
	}
	return nil
}

func changeRoute(ctx context.Context, r NewRoute, change func(*netlink.Handle, *netlink.Route) error) error {
	if !r.Destination.IsValid() || r.Device == "" && !r.Gateway.IsValid() {
		return errors.New("a route has a destination, and a device or a gateway")
	}
	return with(ctx, func(h *netlink.Handle) error {
		raw := &netlink.Route{
			Dst: ipNet(r.Destination), Table: cmp.Or(r.Table, unix.RT_TABLE_MAIN), Priority: r.Metric,
			Gw: r.Gateway.AsSlice(), Src: r.Source.AsSlice(), Scope: netlink.SCOPE_UNIVERSE,
		}
		if !r.Gateway.IsValid() && r.Destination.Addr().Is4() {
			raw.Scope = netlink.SCOPE_LINK
		}
		if r.OnLink {
			raw.Flags = unix.RTNH_F_ONLINK
		}
		if r.Device != "" {
			link, err := h.LinkByName(r.Device)
			if err != nil {
				return err
			}
			raw.LinkIndex = link.Attrs().Index
		}
		return change(h, raw)
	})
}
