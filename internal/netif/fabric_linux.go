package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// AddSwitch makes a bridge, which is up.
func AddSwitch(ctx context.Context, name string) error {
	snooping := false // Multicasts go to everybody.
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	err := with(ctx, func(h *netlink.Handle) error {
		if err := h.LinkAdd(bridge); err != nil {
			return err
		}
		return h.LinkSetUp(bridge)
	})
	if err != nil {
		return fmt.Errorf("switch %s: %w", name, err)
	}
	return nil
}

// AddCable makes a cable. Both ends are down.
func AddCable(ctx context.Context, c Cable) error {
	err := with(ctx, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = c.Port
		if c.Switch != "" {
			bridge, err := h.LinkByName(c.Switch)
			if err != nil {
				return err
			}
			attrs.MasterIndex = bridge.Attrs().Index
		}
		return h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: c.Device, PeerNamespace: netlink.NsFd(c.Inside)})
	})
	if err != nil {
		return fmt.Errorf("cable %s: %w", c.Port, err)
	}
	return nil
}

// NumberNamespace is the number that another network namespace, of which a descriptor
// is open, has in the calling thread's one; it gets one if it has none. A [Feed] here
// hears of those that have.
func NumberNamespace(ctx context.Context, descriptor int) (number int, err error) {
	err = with(ctx, func(h *netlink.Handle) error {
		if number, err = h.GetNetNsIdByFd(descriptor); err != nil || number >= 0 {
			return err
		}
		if err := h.SetNetNsIdByFd(descriptor, -1); err != nil { // any
			return err
		}
		number, err = h.GetNetNsIdByFd(descriptor)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("number a network namespace: %w", err)
	}
	return number, nil
}

// A Feed hears of every change of an address in the calling thread's network
// namespace and in those that have a number there: through one socket, so that the
// order of events in different namespaces is the kernel's own.
type Feed struct{ file *os.File }

// OpenFeed opens it. Needs CAP_NET_BROADCAST in the namespaces.
func OpenFeed() (*Feed, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("feed of addresses: %w", named(err))
	}
	groups := uint32(1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1))
	room := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // hundreds of addresses come at once
	if room != nil {
		room = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	}
	err = errors.Join(
		room,
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("feed of addresses: %w", named(err)), unix.Close(fd))
	}
	return &Feed{os.NewFile(uintptr(fd), "feed of addresses")}, nil
}

// Next waits for events and returns all that one message holds; [os.ErrClosed] after
// Close.
func (f *Feed) Next() ([]AddressEvent, error) {
	conn, err := f.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("feed of addresses: %w", err)
	}
	var buffer [32 << 10]byte
	var control [64]byte
	var n, oob int
	var received error
	err = conn.Read(func(fd uintptr) bool {
		n, oob, _, _, received = unix.Recvmsg(int(fd), buffer[:], control[:], 0)
		return !errors.Is(received, unix.EAGAIN) && !errors.Is(received, unix.EINTR)
	})
	at := Boottime()
	switch {
	case err != nil: // Nothing else but a Close ends such a wait.
		return nil, fmt.Errorf("feed of addresses: %w (%w)", os.ErrClosed, err)
	case errors.Is(received, unix.ENOBUFS):
		return []AddressEvent{{Lost: true, At: at}}, nil
	case received != nil:
		return nil, fmt.Errorf("feed of addresses: %w", received)
	}
	return addressEvents(buffer[:n], namespaceOf(control[:oob]), at)
}

// namespaceOf reads the control message NETLINK_LISTEN_ALL_NSID; the own namespace's
// messages have none.
func namespaceOf(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(m.Data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	return -1
}

func addressEvents(raw []byte, namespace int, at time.Duration) ([]AddressEvent, error) {
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("feed of addresses: %w", err)
	}
	var all []AddressEvent
	for _, m := range messages {
		kind := m.Header.Type
		if kind != unix.RTM_NEWADDR && kind != unix.RTM_DELADDR || len(m.Data) < unix.SizeofIfAddrmsg {
			continue
		}
		a, _ := addressAttributes(m.Data[unix.SizeofIfAddrmsg:])
		index := int(nl.DeserializeIfAddrmsg(m.Data).Index)
		all = append(all, AddressEvent{Namespace: namespace, At: at, Index: index, Address: a, Gone: kind == unix.RTM_DELADDR})
	}
	return all, nil
}

// Close ends a Next that waits, with [os.ErrClosed].
func (f *Feed) Close() error { return f.file.Close() }

// A Gauge asks the kernel again and again for an address, by a socket that stays open
// in the namespace in which [OpenGauge] was called. Not safe for concurrent use.
type Gauge struct{ handle *netlink.Handle }

// OpenGauge opens it.
func OpenGauge() (*Gauge, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("gauge of addresses: rtnetlink socket: %w", named(err))
	}
	if err := h.SetSocketTimeout(longest); err != nil {
		h.Close()
		return nil, fmt.Errorf("gauge of addresses: rtnetlink socket: %w", err)
	}
	return &Gauge{h}, nil
}

// On lists the devices, by number, that have the address now.
func (g *Gauge) On(ctx context.Context, address netip.Addr) ([]int, error) {
	family := netlink.FAMILY_V4
	if address.Is6() {
		family = netlink.FAMILY_V6
	}
	all, err := dump(ctx, func() ([]netlink.Addr, error) { return g.handle.AddrList(nil, family) })
	if err != nil {
		return nil, fmt.Errorf("devices with %s: %w", address, named(err))
	}
	var found []int
	for i := range all {
		if addr(all[i].IP) == address {
			found = append(found, all[i].LinkIndex)
		}
	}
	return found, nil
}

// Close closes the socket.
func (g *Gauge) Close() error {
	g.handle.Close()
	return nil
}
