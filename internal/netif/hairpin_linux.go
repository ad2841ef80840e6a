package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Hairpin carries UDP datagrams between machines of one network by way of a router:
// each goes to the router's MAC with the other machine's address inside, and the
// router forwards it back out of the interface it came in by. So it arrives also
// where two machines are cut from each other but not from the router.
//
// Only what came that way is received: the frame's sender is the router, or its time
// to live shows that it was forwarded once (routers that share an address may answer
// for it with one MAC and send from another; some do not count down). What comes
// directly, in whatever form, has neither. The own firewall sees nothing of it, the
// router's does.
//
// The router may send ICMP redirects for it. They do no harm: a kernel obeys those
// that are about its routes by way of that router (ip_rt_redirect, rt6_do_redirect),
// and nothing here asks the kernel for a route.
type Hairpin struct {
	local   netip.AddrPort
	holder  *net.UDPConn
	out, in *os.File
	outConn rawConn
	inConn  rawConn
	id      atomic.Uint32 // of the last IPv4 packet
	way     atomic.Pointer[Way]
	direct  atomic.Uint64
	closed  atomic.Bool
	frame   [64 << 10]byte // of Receive
}

// OpenHairpin opens the sockets of one end, on an address of this machine (it may be
// configured later) and a port that nobody else uses. [ErrPermission] without
// CAP_NET_RAW. Nothing is sent or received before [Hairpin.Aim].
func OpenHairpin(ctx context.Context, local netip.AddrPort) (*Hairpin, error) {
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	if a := local.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || local.Port() == 0 {
		return nil, fmt.Errorf("hairpin: %v is no address and port that a router forwards to", local)
	}
	h := &Hairpin{local: local}
	h.id.Store(rand.Uint32())
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("hairpin of %v: %w", local, named(err)), h.Close())
	}
	return h, nil
}

func (h *Hairpin) open(ctx context.Context) error {
	// The kernel must not answer that nobody is at the port. What it delivers there is
	// dropped at once; the packet socket has it.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1),
				attach(int(fd), []bpf.Instruction{bpf.RetConstant{Val: 0}}),
			)
		}), err)
	}}
	holder, err := config.ListenPacket(ctx, "udp", h.local.String())
	if err != nil {
		return err
	}
	h.holder = holder.(*net.UDPConn)
	if h.out, h.outConn, err = packetSocket(unix.SOCK_DGRAM, nil); err != nil {
		return err
	}
	h.in, h.inConn, err = packetSocket(unix.SOCK_RAW, toHere(h.local))
	return err
}

// packetSocket makes one that hears nothing until it is bound.
func packetSocket(kind int, filter []bpf.Instruction) (*os.File, rawConn, error) {
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("packet socket (needs CAP_NET_RAW): %w", err)
	}
	file := os.NewFile(uintptr(fd), "hairpin")
	conn, err := file.SyscallConn()
	if err == nil && filter != nil {
		err = attach(fd, filter)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, conn, nil
}

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// toHere leaves to the kernel, without a copy, all that is not a UDP packet for an
// address and port in a frame for this machine.
func toHere(local netip.AddrPort) []bpf.Instruction {
	type test struct {
		off, size int
		mask, val uint32
	}
	tests := []test{{etherHeader + 9, 1, 0xff, udp}, {etherHeader + 6, 2, 0x3fff, 0}}
	destination := etherHeader + 16
	port := bpf.Instruction(bpf.LoadIndirect{Off: etherHeader + 2, Size: 2})
	if local.Addr().Is6() {
		tests = []test{{etherHeader + 6, 1, 0xff, udp}}
		destination = etherHeader + 24
		port = bpf.LoadAbsolute{Off: etherHeader + ipv6Header + 2, Size: 2}
	}
	for octets := range slices.Chunk(local.Addr().AsSlice(), 4) {
		tests = append(tests, test{destination, 4, 0xffffffff, binary.BigEndian.Uint32(octets)})
		destination += 4
	}
	drop := bpf.RetConstant{Val: 0}
	program := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtType}, bpf.JumpIf{Val: unix.PACKET_HOST, SkipTrue: 1}, drop}
	for _, t := range tests {
		program = append(program,
			bpf.LoadAbsolute{Off: uint32(t.off), Size: t.size}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask},
			bpf.JumpIf{Val: t.val, SkipTrue: 1}, drop)
	}
	if local.Addr().Is4() {
		program = append(program, bpf.LoadMemShift{Off: etherHeader})
	}
	return append(program, port, bpf.JumpIf{Val: uint32(local.Port()), SkipTrue: 1}, drop, bpf.RetConstant{Val: 1 << 18})
}

// Aim says where the router is: its device, which may have gone and come back, and
// its MAC, without which nothing can be sent.
func (h *Hairpin) Aim(w Way) error {
	protocol := uint16(unix.ETH_P_IP)
	if h.local.Addr().Is6() {
		protocol = unix.ETH_P_IPV6
	}
	var err error
	control := h.inConn.Control(func(fd uintptr) {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		// A device that was removed has taken the binding with it.
		if a, ok := name.(*unix.SockaddrLinklayer); !ok || a.Ifindex != w.Index || a.Protocol != networkOrder(protocol) {
			err = unix.Bind(int(fd), &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: w.Index})
		}
	})
	if err := errors.Join(control, err); err != nil {
		return fmt.Errorf("hairpin of %v by %s: %w", h.local, w.Device, named(err))
	}
	h.way.Store(&w)
	return nil
}

// Send sends one datagram, and waits for nothing. It has to fit into one packet. Safe
// for concurrent use.
func (h *Hairpin) Send(to netip.AddrPort, payload []byte) error {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	w := h.way.Load()
	switch {
	case w == nil:
		return fmt.Errorf("hairpin to %v: the router's device: %w", to, ErrMissing)
	case w.MAC == nil:
		return fmt.Errorf("hairpin to %v: the hardware address of %v, by %s: %w", to, w.To, w.Device, ErrMissing)
	case to.Addr().Is4() != h.local.Addr().Is4():
		return fmt.Errorf("hairpin from %v to %v: %w", h.local, to, errors.ErrUnsupported)
	}
	packet := datagram(h.local, to, uint16(h.id.Add(1)), payload)
	if len(packet) > w.MTU || len(packet) > 0xffff {
		return fmt.Errorf("hairpin to %v: %d bytes, %s takes %d: %w", to, len(packet), w.Device, w.MTU, unix.EMSGSIZE)
	}
	if err := h.send(packet, w); err != nil {
		return fmt.Errorf("hairpin to %v by %s: %w", to, w.Device, named(err))
	}
	return nil
}

func (h *Hairpin) send(packet []byte, w *Way) error {
	link := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: w.Index, Halen: 6}
	if h.local.Addr().Is6() {
		link.Protocol = networkOrder(unix.ETH_P_IPV6)
	}
	copy(link.Addr[:], w.MAC)
	var err error
	control := h.outConn.Control(func(fd uintptr) { err = unix.Sendto(int(fd), packet, unix.MSG_DONTWAIT, link) })
	if errors.Is(err, unix.ENXIO) {
		err = fmt.Errorf("%w (%w)", ErrMissing, err)
	}
	return errors.Join(control, err)
}

// Receive waits for the next datagram and copies its payload into the buffer. After
// Close the error is [net.ErrClosed]. One goroutine at a time may call it.
func (h *Hairpin) Receive(buffer []byte) (n int, from netip.AddrPort, err error) {
	var r received
	var failed error
	err = h.inConn.Read(func(fd uintptr) bool {
		r, failed = h.receive(int(fd))
		return !errors.Is(failed, unix.EAGAIN)
	})
	switch {
	case h.closed.Load():
		return 0, from, net.ErrClosed
	case err != nil || failed != nil:
		return 0, from, fmt.Errorf("hairpin of %v: %w", h.local, errors.Join(err, failed))
	case len(r.payload) > len(buffer):
		return 0, r.from, fmt.Errorf("hairpin from %v: %d bytes, there is room for %d: %w", r.from, len(r.payload), len(buffer), unix.EMSGSIZE)
	}
	return copy(buffer, r.payload), r.from, nil
}

// receive takes in what waits until there is one that counts.
func (h *Hairpin) receive(fd int) (received, error) {
	for {
		size, sender, err := unix.Recvfrom(fd, h.frame[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue // It says once that the device went down, or away.
		case err != nil:
			return received{}, err
		}
		link, ok := sender.(*unix.SockaddrLinklayer)
		if !ok || size < etherHeader {
			continue
		}
		r, ok := readDatagram(h.frame[etherHeader:size])
		if !ok || r.to != h.local {
			continue
		}
		if h.forwarded(link, r.ttl) {
			return r, nil
		}
		h.direct.Add(1)
	}
}

// forwarded tells whether a packet came by way of the router.
func (h *Hairpin) forwarded(from *unix.SockaddrLinklayer, ttl byte) bool {
	w := h.way.Load()
	return ttl == hops-1 || w != nil && w.MAC != nil && from.Halen == 6 && slices.Equal(from.Addr[:6], w.MAC)
}

// Direct counts the datagrams that did not come by way of the router.
func (h *Hairpin) Direct() uint64 { return h.direct.Load() }

// Close ends Receive. It may be called again.
func (h *Hairpin) Close() error {
	if h.closed.Swap(true) {
		return nil
	}
	var err error
	for _, f := range []*os.File{h.out, h.in} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if h.holder != nil {
		err = errors.Join(err, h.holder.Close())
	}
	return err
}
