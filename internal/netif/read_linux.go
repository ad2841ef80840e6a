package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses lists the addresses of all devices, in the kernel's order.
func Addresses(ctx context.Context) ([]Address, error) {
	var all []Address
	err := with(ctx, func(h *netlink.Handle) error {
		names, err := names(ctx, h)
		if err != nil {
			return err
		}
		raw, err := dump(ctx, func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
		for i := range raw {
			if a := address(&raw[i]); a.Prefix.IsValid() {
				a.Device = names[a.Index]
				all = append(all, a)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	return all, nil
}

func address(raw *netlink.Addr) Address {
	return Address{
		Index: raw.LinkIndex, Prefix: prefix(raw.IPNet), Peer: prefix(raw.Peer), Scope: Scope(raw.Scope), Label: raw.Label,
		Valid: lifetime(raw.ValidLft), Preferred: lifetime(raw.PreferedLft),
		Tentative: raw.Flags&unix.IFA_F_TENTATIVE != 0, Duplicate: raw.Flags&unix.IFA_F_DADFAILED != 0,
	}
}

// lifetime reads a __u32 of seconds, all ones being infinity.
func lifetime(seconds int) time.Duration {
	if uint32(seconds) == infinity {
		return Forever
	}
	return time.Duration(seconds) * time.Second
}

// infinity is INFINITY_LIFE_TIME of linux/addrconf.h.
const infinity = 0xffffffff

// Links lists the network devices, in the kernel's order.
func Links(ctx context.Context) ([]Link, error) {
	var all []Link
	err := with(ctx, func(h *netlink.Handle) error {
		raw, err := dump(ctx, h.LinkList)
		for _, l := range raw {
			all = append(all, link(l))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the devices: %w", err)
	}
	return all, nil
}

// LinkNamed is the device of that name; [ErrMissing] if there is none.
func LinkNamed(ctx context.Context, name string) (Link, error) {
	var found Link
	err := with(ctx, func(h *netlink.Handle) error {
		raw, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		found = link(raw)
		return nil
	})
	if err != nil {
		return Link{}, fmt.Errorf("device %s: %w", name, err)
	}
	return found, nil
}

func link(raw netlink.Link) Link {
	a := raw.Attrs()
	return Link{
		Name: a.Name, Index: a.Index, Kind: raw.Type(), MTU: a.MTU, MAC: a.HardwareAddr, Master: a.MasterIndex,
		Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		Loop: a.RawFlags&unix.IFF_LOOPBACK != 0, NoARP: a.RawFlags&unix.IFF_NOARP != 0,
	}
}

// RouteTo says which way the kernel would send to an address, as "ip route get"
// does; [ErrUnreachable] if it has no way, or a rule that forbids it.
func RouteTo(ctx context.Context, to netip.Addr) (Route, error) {
	var found Route
	err := with(ctx, func(h *netlink.Handle) error {
		to := to.Unmap()
		if !to.IsValid() {
			return errors.New("not an address")
		}
		raw, err := h.RouteGet(net.IP(to.AsSlice()))
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return ErrUnreachable
		}
		devices, err := devices(ctx, h)
		if err != nil {
			return err
		}
		found = route(&raw[0], devices)
		found.Destination = netip.PrefixFrom(to, to.BitLen())
		return nil
	})
	if err != nil {
		return Route{}, fmt.Errorf("route to %s: %w", to, err)
	}
	return found, nil
}

// Routes lists the routes of all tables.
func Routes(ctx context.Context) ([]Route, error) {
	var all []Route
	err := with(ctx, func(h *netlink.Handle) error {
		devices, err := devices(ctx, h)
		if err != nil {
			return err
		}
		raw, err := dump(ctx, func() ([]netlink.Route, error) {
			// Without a table in the filter the library hides all but "main".
			return h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		for i := range raw {
			if raw[i].Family == unix.AF_INET || raw[i].Family == unix.AF_INET6 {
				all = append(all, route(&raw[i], devices))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	return all, nil
}

func route(raw *netlink.Route, devices map[int]Link) Route {
	r := Route{
		Destination: prefix(raw.Dst), Device: devices[raw.LinkIndex].Name, Gateway: addr(raw.Gw), Source: addr(raw.Src),
		Local: raw.Type == unix.RTN_LOCAL, Own: raw.Protocol == ownRoutes, MTU: raw.MTU, Scope: Scope(raw.Scope), Table: raw.Table, Metric: raw.Priority,
	}
	switch raw.Type {
	case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		r.Rejected = true
	}
	if r.MTU == 0 {
		r.MTU = devices[raw.LinkIndex].MTU
	}
	if via, ok := raw.Via.(*netlink.Via); ok && !r.Gateway.IsValid() {
		r.Gateway = addr(via.Addr) // RFC 5549: an IPv4 route by an IPv6 gateway.
	}
	for _, hop := range raw.MultiPath {
		r.NextHops = append(r.NextHops, NextHop{devices[hop.LinkIndex].Name, addr(hop.Gw)})
	}
	return r
}

// Neighbours lists the machines that the kernel knows on its links.
func Neighbours(ctx context.Context) ([]Neighbour, error) {
	var all []Neighbour
	err := with(ctx, func(h *netlink.Handle) error {
		names, err := names(ctx, h)
		if err != nil {
			return err
		}
		raw, err := dump(ctx, func() ([]netlink.Neigh, error) { return h.NeighList(0, netlink.FAMILY_ALL) })
		for i := range raw {
			if ip := addr(raw[i].IP); ip.IsValid() {
				all = append(all, Neighbour{names[raw[i].LinkIndex], ip, raw[i].HardwareAddr, neighbourState(raw[i].State)})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the neighbours: %w", err)
	}
	return all, nil
}

func neighbourState(state int) string {
	switch state {
	case unix.NUD_NONE:
		return "none"
	case unix.NUD_INCOMPLETE:
		return "incomplete"
	case unix.NUD_REACHABLE:
		return "reachable"
	case unix.NUD_STALE:
		return "stale"
	case unix.NUD_DELAY:
		return "delay"
	case unix.NUD_PROBE:
		return "probe"
	case unix.NUD_FAILED:
		return "failed"
	case unix.NUD_NOARP:
		return "noarp"
	case unix.NUD_PERMANENT:
		return "permanent"
	}
	return fmt.Sprintf("state %#x", state)
}

func devices(ctx context.Context, h *netlink.Handle) (map[int]Link, error) {
	raw, err := dump(ctx, h.LinkList)
	if err != nil {
		return nil, err
	}
	found := make(map[int]Link, len(raw))
	for _, l := range raw {
		found[l.Attrs().Index] = link(l)
	}
	return found, nil
}

func names(ctx context.Context, h *netlink.Handle) (map[int]string, error) {
	links, err := devices(ctx, h)
	found := make(map[int]string, len(links))
	for index, l := range links {
		found[index] = l.Name
	}
	return found, err
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr(n.IP), bits)
}
