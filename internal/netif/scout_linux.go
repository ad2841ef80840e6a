package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Scout finds the way to machines on the links, again and again, in the network
// namespace that its opener was in. One goroutine at a time may use it.
type Scout struct{ handle *netlink.Handle }

// scouting bounds one question of a scout, which asks again soon.
const scouting = 2 * time.Second

// OpenScout opens its socket.
func OpenScout() (*Scout, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("scout: rtnetlink socket: %w", named(err))
	}
	if err := h.SetSocketTimeout(scouting); err != nil {
		h.Close()
		return nil, fmt.Errorf("scout: rtnetlink socket: %w", err)
	}
	return &Scout{h}, nil
}

// Look finds the way to a machine by a device; an empty name means the device that
// covers it (see [Covering]). While the kernel is not sure of the machine's MAC it
// is made to ask for it (needs CAP_NET_ADMIN), so that the next look knows more.
// [ErrMissing] says that there is no such device yet, [ErrOwn] that the machine is
// this one.
func (s *Scout) Look(ctx context.Context, device string, to netip.Addr) (Way, error) {
	to = to.Unmap()
	w, err := s.device(ctx, device, to.WithZone(""))
	if err != nil {
		return Way{}, fmt.Errorf("way to %s: %w", to, named(err))
	}
	w.To = to
	mac, state, err := s.neighbour(ctx, w.Index, to.WithZone(""))
	if err != nil {
		return Way{}, fmt.Errorf("way to %s: %w", to, named(err))
	}
	if w.MAC = mac; !sure(state) {
		// A favour: the device may be down, or the process not permitted to ask.
		_ = s.handle.NeighSet(&netlink.Neigh{
			LinkIndex: w.Index, Family: familyOf(to), IP: to.AsSlice(), State: unix.NUD_NONE, Flags: netlink.NTF_USE,
		})
	}
	return w, nil
}

// Close ends it.
func (s *Scout) Close() { s.handle.Close() }

func (s *Scout) device(ctx context.Context, name string, to netip.Addr) (Way, error) {
	raw, err := dump(ctx, s.handle.LinkList)
	if err != nil {
		return Way{}, err
	}
	names := map[int]string{}
	links := make([]Link, len(raw))
	for i, l := range raw {
		links[i] = link(l)
		names[links[i].Index] = links[i].Name
	}
	addresses, err := s.addresses(ctx, names)
	if err != nil {
		return Way{}, err
	}
	if i := slices.IndexFunc(addresses, func(a Address) bool { return a.Prefix.Addr() == to }); i >= 0 {
		return Way{}, fmt.Errorf("on %s: %w", addresses[i].Device, ErrOwn)
	}
	if name == "" {
		if name, err = s.covering(ctx, to, links, addresses); err != nil {
			return Way{}, err
		}
	}
	i := slices.IndexFunc(links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Way{}, fmt.Errorf("device %s: %w", name, ErrMissing)
	}
	return Way{Device: name, Index: links[i].Index, MTU: links[i].MTU}, nil
}

func (s *Scout) addresses(ctx context.Context, names map[int]string) ([]Address, error) {
	raw, err := dump(ctx, func() ([]netlink.Addr, error) { return s.handle.AddrList(nil, netlink.FAMILY_ALL) })
	var all []Address
	for i := range raw {
		a := address(&raw[i])
		a.Device = names[a.Index]
		all = append(all, a)
	}
	return all, err
}

// covering is [Covering], with the routes of the main table only: there may be a
// million of others.
func (s *Scout) covering(ctx context.Context, to netip.Addr, links []Link, addresses []Address) (string, error) {
	device, err := covering(to, links, addresses, nil)
	if !errors.Is(err, ErrMissing) {
		return device, err
	}
	devices := map[int]Link{}
	for _, l := range links {
		devices[l.Index] = l
	}
	raw, err := dump(ctx, func() ([]netlink.Route, error) { return s.handle.RouteList(nil, familyOf(to)) })
	if err != nil {
		return "", err
	}
	routes := make([]Route, len(raw))
	for i := range raw {
		routes[i] = route(&raw[i], devices)
	}
	return covering(to, links, addresses, routes)
}

// neighbour is what the kernel knows.
func (s *Scout) neighbour(ctx context.Context, index int, to netip.Addr) (mac net.HardwareAddr, state int, err error) {
	all, err := dump(ctx, func() ([]netlink.Neigh, error) { return s.handle.NeighList(index, familyOf(to)) })
	for _, n := range all {
		if addr(n.IP) != to {
			continue
		}
		const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT
		if n.State&known != 0 && len(n.HardwareAddr) == 6 {
			mac = n.HardwareAddr
		}
		return mac, n.State, err
	}
	return nil, unix.NUD_NONE, err
}

// sure tells whether the kernel knows a neighbour, is asking for it, or must not ask.
func sure(state int) bool {
	return state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP|unix.NUD_INCOMPLETE|unix.NUD_DELAY|unix.NUD_PROBE) != 0
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
