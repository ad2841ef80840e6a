package icmp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Pinger pings one target for as long as it is open, one ping at a time, whenever
// its user says so, through one device. It waits for nobody and keeps no account: its
// user numbers the pings, and hears which were answered.
type Pinger struct {
	session    session
	target     netip.Addr // without a zone
	descriptor descriptor
	file       *os.File
	conn       syscall.RawConn
	closed     atomic.Bool

	mu     sync.Mutex // protects what follows, and sending
	index  int        // of the device that the socket is bound to
	packet [headerLen + pingerSize]byte
}

// pingerSize is ping(8)'s.
const pingerSize = 56

// OpenPinger opens the socket. The source may be the zero Addr: the system chooses
// among the device's; it may be configured later. [ErrPermission] is possible.
func OpenPinger(target, source netip.Addr) (*Pinger, error) {
	target = target.Unmap().WithZone("")
	f := familyOf(target)
	if source.IsValid() && familyOf(source) != f {
		return nil, fmt.Errorf("ping %s from %s: the source address is not %s", target, source, f)
	}
	d, err := obtain(f)
	if err != nil {
		return nil, err
	}
	p := &Pinger{session: newSession(f), target: target, descriptor: d}
	if err := p.configure(source); err != nil {
		return nil, errors.Join(err, unix.Close(d.fd))
	}
	p.file = os.NewFile(uintptr(d.fd), "pinger")
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("ping socket: %w", err), p.file.Close())
	}
	return p, nil
}

// configure leaves out the queue of errors: nobody asks why a ping was not answered.
func (p *Pinger) configure(source netip.Addr) error {
	if source.IsValid() {
		if err := unix.SetsockoptInt(p.descriptor.fd, unix.SOL_IP, unix.IP_FREEBIND, 1); err != nil {
			return fmt.Errorf("ping socket: freebind: %w", err)
		}
		if err := p.descriptor.bind(p.session.family, source); err != nil {
			return err
		}
	}
	if p.descriptor.datagram {
		return nil
	}
	return p.descriptor.attach(p.session.filter())
}

// Ping sends ping number k (from 0) through a device and no other, and does not wait
// for anything. An error says that it was not sent: the device is missing or down,
// there is no way, or no room in a queue. Safe for concurrent use.
func (p *Pinger) Ping(device string, k int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session.request(p.packet[:], k, uint16(k))
	var err error
	control := p.conn.Control(func(fd uintptr) {
		if err = p.bind(int(fd), device); err == nil {
			err = unix.Sendto(int(fd), p.packet[:], unix.MSG_DONTWAIT, p.to())
		}
	})
	if err := errors.Join(control, err); err != nil {
		return fmt.Errorf("ping %s by %s: %w", p.target, device, err)
	}
	return nil
}

// bind binds the socket to the device that has this name now: it may have gone and
// come back as another.
func (p *Pinger) bind(fd int, device string) error {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return err
	}
	index := int(request.Uint32())
	if index == p.index {
		return nil
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		return err
	}
	p.index = index
	return nil
}

func (p *Pinger) to() unix.Sockaddr {
	if p.session.family == ipv4Family {
		return &unix.SockaddrInet4{Addr: p.target.As4()}
	}
	to := &unix.SockaddrInet6{Addr: p.target.As16()}
	if p.target.IsLinkLocalUnicast() {
		to.ZoneId = uint32(p.index)
	}
	return to
}

// Answered waits for the next reply to a ping, and returns its number. Replies may
// come twice, or late. It returns an error that wraps [os.ErrClosed] after Close, and
// may be called again after any other. One goroutine calls it.
func (p *Pinger) Answered() (k int, err error) {
	var failed error
	err = p.conn.Read(func(fd uintptr) bool {
		k, failed = p.receive(int(fd))
		return !errors.Is(failed, unix.EAGAIN)
	})
	if p.closed.Load() {
		return 0, fmt.Errorf("answers of %s: %w", p.target, os.ErrClosed)
	}
	if err := errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("answers of %s: %w", p.target, err)
	}
	return k, nil
}

// receive takes in what waits until there is a reply. Errors of ICMP are none.
func (p *Pinger) receive(fd int) (int, error) {
	var buffer [maxIPHeader + headerLen + pingerSize]byte
	for {
		n, sender, err := unix.Recvfrom(fd, buffer[:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		message, from, ok := buffer[:n], destination(sender), true
		if !p.descriptor.datagram && p.session.family == ipv4Family {
			from, _, message, ok = stripIPv4(message)
		}
		if !ok || from != p.target {
			continue
		}
		if e, ok := p.session.parse(message, from, !p.descriptor.datagram); ok && e.refusal == "" {
			return e.ping, nil
		}
	}
}

// Close ends Answered. It is called once.
func (p *Pinger) Close() error {
	p.closed.Store(true)
	return p.file.Close()
}
