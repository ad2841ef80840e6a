package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// How virtual addresses are asked for: so many times, so far apart, with the last
// answers awaited as long.
const (
	questions = 3
	patience  = 200 * time.Millisecond
)

// claims asks on the networks of virtual addresses who has them. This machine's
// own answer is not heard.
func claims(ctx context.Context, f Facts, d *Director) map[netip.Addr]Fact[[]net.HardwareAddr] {
	found := map[netip.Addr]Fact[[]net.HardwareAddr]{}
	type cable struct {
		device string
		is4    bool
	}
	asked := map[cable][]netip.Addr{}
	for _, s := range d.Services {
		for _, vip := range s.VIPs {
			own, on := cover(f.Addresses.Value, vip)
			if _, done := found[vip]; done || vip.IsUnspecified() || !on {
				continue // a router brings the clients' packets, nobody asks for it
			}
			found[vip] = Fact[[]net.HardwareAddr]{}
			c := cable{own.Device, vip.Is4()}
			asked[c] = append(asked[c], vip)
		}
	}
	for c, vips := range asked {
		answers, err := ask(ctx, f, c.device, vips)
		for _, vip := range vips {
			found[vip] = fact(answers[vip], err)
		}
	}
	return found
}

// ask puts the questions on one device, all addresses being of one family.
func ask(ctx context.Context, f Facts, device string, vips []netip.Addr) (map[netip.Addr][]net.HardwareAddr, error) {
	e := exam{Facts: f}
	l, found := e.link(device)
	switch {
	case !found || !l.Up:
		return nil, fmt.Errorf("%s is not up", device)
	case l.NoARP || l.Loop || len(l.MAC) != 6:
		return nil, nil // nobody asks there
	}
	a := asker{link: l, is4: vips[0].Is4()}
	if !a.is4 {
		if a.from = source(f.Addresses.Value, device); !a.from.IsValid() {
			return nil, fmt.Errorf("%s has no IPv6 address to ask from", device)
		}
	}
	wire, err := a.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = wire.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = wire.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answers := map[netip.Addr][]net.HardwareAddr{}
	for range questions {
		if err := a.round(ctx, wire, vips, answers); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// source is an IPv6 address of a device, of its link if there is one.
func source(all []netif.Address, device string) (best netip.Addr) {
	for _, a := range all {
		ip := a.Prefix.Addr()
		if a.Device == device && ip.Is6() && !a.Tentative && !a.Duplicate && (!best.IsValid() || ip.IsLinkLocalUnicast()) {
			best = ip
		}
	}
	return best
}

// An asker is this machine on a network.
type asker struct {
	link netif.Link
	is4  bool
	from netip.Addr // IPv6
}

// open opens a socket that hears the answers on the device and nothing else.
func (a asker) open() (*os.File, error) {
	protocol, filter := uint16(unix.ETH_P_ARP), []bpf.Instruction{
		bpf.LoadAbsolute{Off: 20, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipFalse: 1}, // reply
		bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0},
	}
	if !a.is4 {
		protocol, filter = unix.ETH_P_IPV6, []bpf.Instruction{
			bpf.LoadAbsolute{Off: 20, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipFalse: 3},
			bpf.LoadAbsolute{Off: 54, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 136, SkipFalse: 1}, // advertisement
			bpf.RetConstant{Val: 1 << 16},
			bpf.RetConstant{Val: 0},
		}
	}
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, err
	}
	// Protocol 0 hears nothing before it is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("to ask on the network needs root, or the capability CAP_NET_RAW: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	order := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: a.link.Index}),
	)
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", a.link.Name, errors.Join(err, unix.Close(fd)))
	}
	return os.NewFile(uintptr(fd), "packet socket"), nil
}

// round asks for all addresses once and hears answers for a while. Many addresses
// are asked for in portions, so that no queue overflows.
func (a asker) round(ctx context.Context, wire *os.File, vips []netip.Addr, answers map[netip.Addr][]net.HardwareAddr) error {
	const portion = 100
	for part := range slices.Chunk(vips, portion) {
		for _, vip := range part {
			if _, err := wire.Write(a.question(vip)); err != nil {
				return fmt.Errorf("ask for %s on %s: %w", vip, a.link.Name, ended(ctx, err))
			}
		}
		if err := a.hear(ctx, wire, time.Now().Add(patience/10), answers); err != nil {
			return err
		}
	}
	return a.hear(ctx, wire, time.Now().Add(patience), answers)
}

// ended prefers the context's error, which ended the wait.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (a asker) hear(ctx context.Context, wire *os.File, until time.Time, answers map[netip.Addr][]net.HardwareAddr) error {
	if err := wire.SetReadDeadline(until); err != nil {
		return err
	}
	frame := make([]byte, 2048)
	for ctx.Err() == nil {
		n, err := wire.Read(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return fmt.Errorf("hear answers on %s: %w", a.link.Name, err)
		}
		vip, mac, ok := a.answer(frame[:n])
		if ok && !slices.ContainsFunc(answers[vip], func(m net.HardwareAddr) bool { return slices.Equal(m, mac) }) {
			answers[vip] = append(answers[vip], mac)
		}
	}
	return ctx.Err()
}

// question is a frame that asks for an address. IPv4's is a probe (RFC 5227): it
// names no sender, so nobody learns anything wrong from it.
func (a asker) question(vip netip.Addr) []byte {
	if a.is4 {
		frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a.link.MAC...)
		frame = append(frame, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1) // ARP: Ethernet, IPv4, request (RFC 826)
		frame = append(append(frame, a.link.MAC...), 0, 0, 0, 0)
		return append(append(frame, 0, 0, 0, 0, 0, 0), vip.AsSlice()...)
	}
	to := vip.As16()
	group := [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: to[13], 14: to[14], 15: to[15]} // RFC 4291, 2.7.1
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, to[:]...)                            // solicitation (RFC 4861, 4.3)
	message = append(append(message, 1, 1), a.link.MAC...)
	binary.BigEndian.PutUint16(message[2:], checksum(a.from.As16(), group, message))
	frame := append([]byte{0x33, 0x33, 0xff, to[13], to[14], to[15]}, a.link.MAC...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255)
	frame = append(append(frame, a.from.AsSlice()...), group[:]...)
	return append(frame, message...)
}

// checksum is ICMPv6's (RFC 8200, 8.1), of a message of even length.
func checksum(from, to [16]byte, message []byte) uint16 {
	sum := uint32(len(message)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{from[:], to[:], message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// answer reads who says that he has an address.
func (a asker) answer(frame []byte) (vip netip.Addr, mac net.HardwareAddr, ok bool) {
	const arp, advertisement = 42, 78
	switch {
	case a.is4 && len(frame) >= arp:
		return netip.AddrFrom4([4]byte(frame[28:32])), net.HardwareAddr(slices.Clone(frame[22:28])), true
	case !a.is4 && len(frame) >= advertisement:
		return netip.AddrFrom16([16]byte(frame[62:78])), net.HardwareAddr(slices.Clone(frame[6:12])), true
	}
	return netip.Addr{}, nil, false
}
