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

// AddAddress puts an address on a device. Not idempotent: [ErrExists] says that it
// is there already, of whatever scope, label and lifetime. [ErrMissing] is the
// device's, [ErrPermission] also where the sysctl disable_ipv6 forbids it.
func AddAddress(ctx context.Context, a Add) error {
	return changeAddress(ctx, a, (*netlink.Handle).AddrAdd)
}

// ReplaceAddress puts an address on a device, or gives the one that is there new
// lifetimes. IPv4: the scope and the label of one that is there stay.
func ReplaceAddress(ctx context.Context, a Add) error {
	return changeAddress(ctx, a, (*netlink.Handle).AddrReplace)
}

func changeAddress(ctx context.Context, a Add, change func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
	if !a.Prefix.IsValid() || a.Valid < 0 || a.Valid%time.Second != 0 {
		return fmt.Errorf("address %s on %s, lifetime %s: not an address with whole seconds", a.Prefix, a.Device, a.Valid)
	}
	err := with(ctx, func(h *netlink.Handle) error {
		link, err := h.LinkByName(a.Device)
		if err != nil {
			return err
		}
		return change(h, link, a.raw())
	})
	if err != nil {
		return fmt.Errorf("address %s on %s: %w", a.Prefix, a.Device, err)
	}
	return nil
}

func (a Add) raw() *netlink.Addr {
	raw := &netlink.Addr{IPNet: ipNet(a.Prefix), Scope: int(a.Scope), Label: a.Label}
	if a.NoPrefixRoute {
		raw.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if a.Prefix.Addr().Is4() {
		if a.Scope == Host || a.Prefix.Bits() == 32 {
			raw.Broadcast = net.IPv4zero // none
		}
	} else {
		raw.Scope, raw.Label = 0, ""
		if a.NoDAD {
			raw.Flags |= unix.IFA_F_NODAD
		}
	}
	if a.Valid == 0 && !a.Deprecated {
		return raw // No lifetimes: the kernel's default is forever.
	}
	raw.ValidLft = infinity
	if a.Valid > 0 {
		raw.ValidLft = int(a.Valid / time.Second)
	}
	if !a.Deprecated {
		raw.PreferedLft = raw.ValidLft
	}
	return raw
}

// RemoveAddress takes an address from a device; that it is not there, or that the
// device is not, is no error.
func RemoveAddress(ctx context.Context, device string, p netip.Prefix) error {
	err := with(ctx, func(h *netlink.Handle) error {
		link, err := h.LinkByName(device)
		if err != nil {
			return err
		}
		return h.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)})
	})
	if err != nil && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("remove address %s from %s: %w", p, device, err)
	}
	return nil
}

// SetUp brings a device up, or takes it down.
func SetUp(ctx context.Context, device string, up bool) error {
	err := with(ctx, func(h *netlink.Handle) error {
		link, err := h.LinkByName(device)
		if err != nil {
			return err
		}
		if up {
			return h.LinkSetUp(link)
		}
		return h.LinkSetDown(link)
	})
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	return nil
}

// RenameLink gives a device another name. An older kernel (before 6.2) says that one
// that is up is busy.
func RenameLink(ctx context.Context, device, name string) error {
	err := with(ctx, func(h *netlink.Handle) error {
		link, err := h.LinkByName(device)
		if err != nil {
			return err
		}
		return h.LinkSetName(link, name)
	})
	if err != nil {
		return fmt.Errorf("rename device %s to %s: %w", device, name, err)
	}
	return nil
}

// AddTunnel makes a tunnel device that receives from anywhere. The kernel loads
// the module itself if it can, which brings a device of that kind with it (tunl0,
// sit0, ip6tnl0, gre0, ip6gre0): that one is there is no error, whoever made it.
// [errors.ErrUnsupported] if the kernel has no such kind of device.
func AddTunnel(ctx context.Context, t Tunnel) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = t.Name
	attrs.TxQLen = -1 // the kernel's default
	var link netlink.Link
	switch t.Kind {
	case "ipip":
		link = &netlink.Iptun{LinkAttrs: attrs, PMtuDisc: 1}
	case "sit":
		link = &netlink.Sittun{LinkAttrs: attrs, PMtuDisc: 1}
	case "ip6tnl":
		link = &netlink.Ip6tnl{LinkAttrs: attrs, Proto: unix.IPPROTO_IPV6}
	case "gre":
		link = &netlink.Gretun{LinkAttrs: attrs, PMtuDisc: 1, Local: net.IPv4zero, Remote: net.IPv4zero}
	case "ip6gre":
		link = &netlink.Gretun{LinkAttrs: attrs, Local: net.IPv6zero, Remote: net.IPv6zero}
	default:
		return fmt.Errorf("tunnel %s: kind %q is none of ipip, sit, ip6tnl, gre, ip6gre", t.Name, t.Kind)
	}
	err := with(ctx, func(h *netlink.Handle) error {
		if err := h.LinkAdd(link); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		// EEXIST is also said of another device that receives from anywhere.
		_, err := h.LinkByName(t.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("tunnel %s of kind %s: %w", t.Name, t.Kind, err)
	}
	return nil
}

// RemoveLink removes a device; that there is none is no error. The devices that
// came with a module (tunl0 and its like) cannot be removed: the kernel says yes
// and keeps them.
func RemoveLink(ctx context.Context, device string) error {
	err := with(ctx, func(h *netlink.Handle) error {
		link, err := h.LinkByName(device)
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	})
	if err != nil && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("remove device %s: %w", device, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
