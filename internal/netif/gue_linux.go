package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Ports lists the UDP ports at which the kernel unpacks GUE. Without the module
// fou there are none, and that is [errors.ErrUnsupported].
func Ports(ctx context.Context) ([]Port, error) {
	var all []Port
	err := overGeneric(ctx, func(h *netlink.Handle) error {
		raw, err := dump(ctx, func() ([]netlink.Fou, error) { return h.FouList(unix.AF_UNSPEC) })
		for _, f := range raw {
			if f.EncapType == netlink.FOU_ENCAP_GUE {
				all = append(all, Port{uint16(f.Port), f.Family == unix.AF_INET6})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the ports of encapsulation: %w", err)
	}
	return all, nil
}

// AddPort makes the kernel unpack GUE at a port; [ErrExists] if somebody has it.
func AddPort(ctx context.Context, p Port) error {
	err := overGeneric(ctx, func(*netlink.Handle) error { return p.send(netlink.FOU_CMD_ADD) })
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("%w (%w)", ErrExists, err)
	}
	if err != nil {
		return fmt.Errorf("unpack GUE at UDP port %d: %w", p.Number, err)
	}
	return nil
}

// RemovePort ends that; a port that is not there is no error.
func RemovePort(ctx context.Context, p Port) error {
	err := overGeneric(ctx, func(*netlink.Handle) error { return p.send(netlink.FOU_CMD_DEL) })
	// EINVAL is how fou says that it has no such port.
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return fmt.Errorf("no longer unpack GUE at UDP port %d: %w", p.Number, err)
}

// send is not the library's FouAdd, which for GUE too names an inner protocol, 0:
// that is out of the range that kernels since 6.1 allow (ERANGE).
func (p Port) send(command uint8) error {
	family, err := netlink.FouFamilyId()
	if err != nil {
		return err
	}
	address := byte(unix.AF_INET)
	if p.IPv6 {
		address = unix.AF_INET6
	}
	request := nl.NewNetlinkRequest(family, unix.NLM_F_ACK)
	request.AddData(&nl.Genlmsg{Command: command, Version: 1})
	request.AddData(nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, p.Number)))
	request.AddData(nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{address}))
	if command == netlink.FOU_CMD_ADD {
		request.AddData(nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}))
	}
	_, err = request.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

// overGeneric asks the module fou, which has its own protocol (genl). The library
// looks the protocol's number up once and keeps it, so a missing module shows
// there, as ENOENT.
func overGeneric(ctx context.Context, do func(h *netlink.Handle) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := netlink.FouFamilyId(); errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel has no module fou loaded (modprobe fou): %w", errors.ErrUnsupported)
	} else if err != nil {
		return named(err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("generic netlink socket: %w", err)
	}
	defer h.Close()
	if err := h.SetSocketTimeout(longest); err != nil {
		return fmt.Errorf("generic netlink socket: %w", err)
	}
	return named(do(h))
}
