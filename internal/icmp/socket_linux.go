package icmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// domain and protocol are the family's in the call of socket(2).
func (f family) domain() int {
	if f == ipv4Family {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (f family) protocol() int {
	if f == ipv4Family {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}

// A descriptor is an open ICMP socket.
type descriptor struct {
	fd int
	// datagram sockets hand out nothing but replies to their own requests, and
	// errors by a queue of their own.
	datagram bool
}

// obtain opens a datagram socket if that is permitted, else a raw one. The
// children of this process do not inherit it.
func obtain(f family) (descriptor, error) {
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, datagramErr := unix.Socket(f.domain(), unix.SOCK_DGRAM|flags, f.protocol())
	if datagramErr == nil {
		return descriptor{fd, true}, nil
	}
	fd, err := unix.Socket(f.domain(), unix.SOCK_RAW|flags, f.protocol())
	switch {
	case err == nil:
		return descriptor{fd, false}, nil
	case errors.Is(err, os.ErrPermission):
		return descriptor{}, fmt.Errorf("%s: %w", f, ErrPermission)
	}
	return descriptor{}, fmt.Errorf("%s socket for pings: %w", f, err)
}

// privileged reports whether only a raw socket can be had, and fails if there is
// none at all or the source address is not ours.
func privileged(f family, source netip.Addr) (bool, error) {
	d, err := obtain(f)
	if err != nil {
		return false, err
	}
	err = d.bind(f, source)
	return !d.datagram, errors.Join(err, os.NewSyscallError("close", unix.Close(d.fd)))
}

// open opens a session's wire to targets.
func open(c Config, s session, targets []netip.Addr) (wire, error) {
	d, err := obtain(s.family)
	if err != nil {
		return nil, err
	}
	if err := d.configure(c, s); err != nil {
		return nil, errors.Join(err, unix.Close(d.fd))
	}
	file := os.NewFile(uintptr(d.fd), "icmp")
	conn, err := net.FilePacketConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("ping socket: %w", err)
	}
	return newSocket(c, s, d.datagram, conn, targets)
}

// bufferSize is what we ask for in both directions: replies to a burst, or
// requests that wait for a neighbour's address, some 1 KiB each. Without
// CAP_NET_ADMIN the system's limits hold (net.core.rmem_max, wmem_max).
const bufferSize = 8 << 20

func (d descriptor) configure(c Config, s session) error {
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, force, bufferSize) == nil {
			continue
		}
		if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, plain, bufferSize); err != nil {
			return fmt.Errorf("ping socket: size of the buffers: %w", err)
		}
	}
	if err := d.setTTL(s.family, c.TTL); err != nil {
		return fmt.Errorf("ping socket: ttl %d: %w", c.TTL, err)
	}
	if err := d.bind(s.family, c.Source); err != nil {
		return err
	}
	return d.subscribe(s)
}

func (d descriptor) setTTL(f family, ttl int) error {
	switch {
	case ttl == 0:
		return nil
	case f == ipv4Family:
		return unix.SetsockoptInt(d.fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
	}
	return unix.SetsockoptInt(d.fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
}

func (d descriptor) bind(f family, source netip.Addr) error {
	if !source.IsValid() {
		return nil
	}
	zone, err := zoneID(source.Zone())
	switch {
	case err != nil:
	case f == ipv4Family:
		err = unix.Bind(d.fd, &unix.SockaddrInet4{Addr: source.Unmap().As4()})
	default:
		err = unix.Bind(d.fd, &unix.SockaddrInet6{Addr: source.As16(), ZoneId: zone})
	}
	if err != nil {
		return fmt.Errorf("ping from source address %s: %w", source, err)
	}
	return nil
}

// zoneID is the number of the interface that an address's zone names.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	dev, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(dev.Index), nil
}

// subscribe chooses what arrives: on a raw socket what the filter lets through,
// on a datagram socket our replies, to which the errors are added.
func (d descriptor) subscribe(s session) error {
	if !d.datagram {
		return d.attach(s.filter())
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if s.family == ipv6Family {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(d.fd, level, option, 1); err != nil {
		return fmt.Errorf("ping socket: queue of errors: %w", err)
	}
	return nil
}

func (d descriptor) attach(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("ping socket: filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program4 := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(d.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program4); err != nil {
		return fmt.Errorf("ping socket: filter: %w", err)
	}
	return nil
}

// A messenger reads and writes many messages in one system call: what
// golang.org/x/net's IPv4 and IPv6 connections have in common.
type messenger interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// A socket is a [wire] on the network.
type socket struct {
	conn     messenger
	queue    *errorQueue // of a datagram socket, else nil
	session  session
	to       []net.Addr // of each target
	out, in  []ipv4.Message
	datagram bool
}

// Sizes of the messages read at once.
const (
	readBatch   = 64
	maxIPHeader = 60
	minMessage  = 256 // an ICMP error with all of the quotation that matters
)

func newSocket(c Config, s session, datagram bool, conn net.PacketConn, targets []netip.Addr) (*socket, error) {
	k := &socket{session: s, datagram: datagram, to: addresses(targets, datagram), conn: ipv4.NewPacketConn(conn)}
	if s.family == ipv6Family {
		k.conn = ipv6.NewPacketConn(conn)
	}
	size := max(headerLen+c.Size+maxIPHeader, minMessage)
	k.in = make([]ipv4.Message, max(1, min(readBatch, len(targets), (1<<20)/size)))
	for i := range k.in {
		k.in[i].Buffers = [][]byte{make([]byte, size)}
	}
	k.out = make([]ipv4.Message, min(maxBurst, len(targets)))
	for i := range k.out {
		k.out[i].Buffers = make([][]byte, 1)
	}
	if datagram {
		queue, err := newErrorQueue(conn, s, size)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		k.queue = queue
	}
	return k, nil
}

// addresses puts targets into the form that the kind of socket wants.
func addresses(targets []netip.Addr, datagram bool) []net.Addr {
	list := make([]net.Addr, len(targets))
	for i, t := range targets {
		if datagram {
			list[i] = &net.UDPAddr{IP: t.AsSlice(), Zone: t.Zone()}
		} else {
			list[i] = &net.IPAddr{IP: t.AsSlice(), Zone: t.Zone()}
		}
	}
	return list
}

// send implements [wire]. An error that an earlier ping brought about is
// reported by the next call of whatever kind; it is in the queue of errors, too,
// so that here it means no more than "try again".
func (k *socket) send(packets []packet) (n int, err error) {
	out := k.out[:len(packets)]
	for i, p := range packets {
		out[i].Buffers[0], out[i].Addr = p.message, k.to[p.to]
	}
	for range 3 {
		if n, err = k.conn.WriteBatch(out, unix.MSG_DONTWAIT); n > 0 {
			return n, nil
		}
		if k.queue == nil || errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	return 0, err
}

// drain implements [wire].
func (k *socket) drain(take func(event)) (empty time.Time, err error) {
	if err := k.conn.SetReadDeadline(time.Time{}); err != nil {
		return time.Time{}, err
	}
	for {
		before := time.Now()
		err := k.read(unix.MSG_DONTWAIT, take)
		if errors.Is(err, syscall.EAGAIN) {
			return before, k.queue.drain(take)
		}
		if err != nil {
			return time.Time{}, errors.Join(err, k.queue.drain(take))
		}
	}
}

// wait implements [wire].
func (k *socket) wait(ctx context.Context, until time.Time, take func(event)) error {
	// The end of ctx wakes the reader. Whichever of the two deadlines is set
	// last, it is seen: here by looking at ctx once more.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = k.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	if err := k.conn.SetReadDeadline(until); err != nil || ctx.Err() != nil {
		return err
	}
	err := k.read(0, take)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// read reads some messages and hands over what they tell.
func (k *socket) read(flags int, take func(event)) error {
	n, err := k.conn.ReadBatch(k.in, flags)
	if err != nil {
		return err
	}
	for _, m := range k.in[:n] {
		message, from := m.Buffers[0][:m.N], sender(m.Addr)
		if !k.datagram && k.session.family == ipv4Family {
			var ok bool
			if from, _, message, ok = stripIPv4(message); !ok {
				continue
			}
		}
		if e, ok := k.session.parse(message, from, !k.datagram); ok {
			take(e)
		}
	}
	return nil
}

func sender(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.IPAddr:
		return fromSlice(a.IP)
	case *net.UDPAddr:
		return fromSlice(a.IP)
	}
	return netip.Addr{}
}

func fromSlice(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func (k *socket) close() error { return k.conn.Close() }
