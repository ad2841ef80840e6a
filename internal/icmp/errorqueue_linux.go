package icmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// An errorQueue is where Linux puts the ICMP errors about what a datagram socket
// sent: ip(7), IP_RECVERR. Each entry holds our request as it was quoted, its
// destination, and who complained.
type errorQueue struct {
	raw     syscall.RawConn
	session session
	quoted  []byte
	control []byte
}

func newErrorQueue(conn net.PacketConn, s session, size int) (*errorQueue, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T has no queue of errors", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("queue of errors: %w", err)
	}
	return &errorQueue{raw: raw, session: s, quoted: make([]byte, size), control: make([]byte, 512)}, nil
}

// drain empties the queue. A raw socket has none: there errors arrive like
// replies.
func (q *errorQueue) drain(take func(event)) error {
	if q == nil {
		return nil
	}
	var failed error
	err := q.raw.Control(func(fd uintptr) {
		for failed == nil {
			failed = q.next(int(fd), take)
		}
	})
	if errors.Is(failed, syscall.EAGAIN) {
		failed = nil
	}
	return errors.Join(err, failed)
}

func (q *errorQueue) next(fd int, take func(event)) error {
	n, oobn, _, to, err := unix.Recvmsg(fd, q.quoted, q.control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(q.control[:oobn])
	if err != nil {
		return fmt.Errorf("queue of errors: %w", err)
	}
	for _, m := range messages {
		if e, ok := q.session.parseQueued(m, q.quoted[:n]); ok {
			e.about = destination(to)
			take(e)
		}
	}
	return nil
}

// The layout of struct sock_extended_err, linux/errqueue.h, and of the address
// behind it.
const (
	extendedErrLen = 16
	originAt       = 4
	typeAt         = 5
	codeAt         = 6
)

// parseQueued reads a control message of the queue of errors.
func (s session) parseQueued(m unix.SocketControlMessage, quoted []byte) (e event, ok bool) {
	isV4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
	isV6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
	if !isV4 && !isV6 || len(m.Data) < extendedErrLen {
		return event{}, false
	}
	switch m.Data[originAt] {
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
		e.refusal = s.refusal(m.Data[typeAt], m.Data[codeAt])
		e.from = offender(m.Data[extendedErrLen:])
	case unix.SO_EE_ORIGIN_LOCAL:
		e.refusal = syscall.Errno(binary.NativeEndian.Uint32(m.Data)).Error()
	}
	if e.refusal == "" || len(quoted) < headerLen {
		return event{}, false
	}
	return s.quoted(e, quoted)
}

// offender is the address of who sent the error: a sockaddr_in or _in6.
func offender(sockaddr []byte) netip.Addr {
	if len(sockaddr) < 2 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(sockaddr); {
	case family == unix.AF_INET && len(sockaddr) >= 8:
		return netip.AddrFrom4([4]byte(sockaddr[4:8]))
	case family == unix.AF_INET6 && len(sockaddr) >= 24:
		return netip.AddrFrom16([16]byte(sockaddr[8:24])).Unmap()
	}
	return netip.Addr{}
}

func destination(to unix.Sockaddr) netip.Addr {
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(to.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(to.Addr).Unmap()
	}
	return netip.Addr{}
}
