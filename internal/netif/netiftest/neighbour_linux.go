package netiftest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// Answers asks on a cable who has an address, by an ARP request (RFC 826) or a
// neighbour solicitation (RFC 4861), and reports whether anybody answers.
// The question is followed by one for known, an address that certainly is
// answered; no answer to the first before that to the second, three times, counts
// as none.
func (s *Space) Answers(device string, who, known netip.Addr) bool {
	s.t.Helper()
	from := s.source(device, who)
	l := s.link(device)
	answered := false
	s.Do(func(context.Context) error {
		wire, err := listen(l, from.addr)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(wire) }()
		for range 3 {
			if err := errors.Join(ask(wire, from, who), ask(wire, from, known)); err != nil {
				return err
			}
			for {
				got, err := answer(wire, from.addr)
				if err != nil {
					return err
				}
				if got == who {
					answered = true
				}
				if got == known {
					break
				}
			}
		}
		return nil
	})
	return answered
}

// An asker is this side of a cable.
type asker struct {
	addr netip.Addr
	mac  net.HardwareAddr
}

// source is the device's address of the same family.
func (s *Space) source(device string, like netip.Addr) asker {
	s.t.Helper()
	from := asker{mac: s.link(device).MAC}
	s.Do(func(ctx context.Context) error {
		all, err := netif.Addresses(ctx)
		for _, a := range all {
			if ip := a.Prefix.Addr(); a.Device == device && ip.Is4() == like.Is4() && !ip.IsLinkLocalUnicast() {
				from.addr = ip
			}
		}
		return err
	})
	if !from.addr.IsValid() {
		s.t.Fatalf("%s has no address to ask for %s from", device, like)
	}
	return from
}

// listen opens a socket for the protocol's frames on a device.
func listen(l netif.Link, like netip.Addr) (int, error) {
	protocol := uint16(unix.ETH_P_ARP)
	if like.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	wireOrder := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(wireOrder))
	if err != nil {
		return -1, err
	}
	patience := unix.NsecToTimeval(int64(10 * time.Second))
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wireOrder, Ifindex: l.Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
	)
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

func ask(wire int, from asker, who netip.Addr) error {
	frame := arpRequest(from, who)
	if who.Is6() {
		frame = solicitation(from, who)
	}
	_, err := unix.Write(wire, frame)
	return err
}

func arpRequest(from asker, who netip.Addr) []byte {
	frame := bytes.Repeat([]byte{0xff}, 6)
	frame = append(frame, from.mac...)
	// ARP over Ethernet for IPv4, request.
	frame = append(frame, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(append(frame, from.mac...), from.addr.AsSlice()...)
	return append(append(frame, 0, 0, 0, 0, 0, 0), who.AsSlice()...)
}

func solicitation(from asker, who netip.Addr) []byte {
	target := who.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: target[13], 14: target[14], 15: target[15]}
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
	message = append(append(message, 1, 1), from.mac...) // source link-layer address
	pseudo := append(append([]byte(nil), from.addr.AsSlice()...), group[:]...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(message)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	frame := append([]byte{0x33, 0x33, 0xff, target[13], target[14], target[15]}, from.mac...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255)
	frame = append(append(frame, from.addr.AsSlice()...), group[:]...)
	return append(frame, message...)
}

// answer reads until somebody says that he has an address.
func answer(wire int, to netip.Addr) (netip.Addr, error) {
	frame := make([]byte, 2048)
	for {
		n, err := unix.Read(wire, frame)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return netip.Addr{}, err
		}
		switch f := frame[:n]; {
		case to.Is4() && n >= 42 && f[21] == 2: // a reply: the sender's address
			return netip.AddrFrom4([4]byte(f[28:32])), nil
		case to.Is6() && n >= 78 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 136: // an advertisement: its target
			return netip.AddrFrom16([16]byte(f[62:78])), nil
		}
	}
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, octet := range b {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Heard calls do, and returns who then asks on a cable for an address by ARP.
func (s *Space) Heard(device string, forWhom netip.Addr, do func()) netip.Addr {
	s.t.Helper()
	l := s.link(device)
	var sender netip.Addr
	s.Do(func(context.Context) error {
		wire, err := listen(l, forWhom)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(wire) }()
		do()
		frame := make([]byte, 2048)
		for {
			n, err := unix.Read(wire, frame)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			// A request, for that address.
			if n >= 42 && frame[21] == 1 && netip.AddrFrom4([4]byte(frame[38:42])) == forWhom {
				sender = netip.AddrFrom4([4]byte(frame[28:32]))
				return nil
			}
		}
	})
	return sender
}
