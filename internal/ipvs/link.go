package ipvs

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// A link is one set of handles on the kernel. It is used by one goroutine, and
// may be cut by another.
type link struct {
	open    opener
	conn    *genetlink.Conn
	family  uint16  // the number that the kernel gave to the family IPVS
	library library // nil if it cannot be used
	tunnels bool    // the kernel has shown that it knows of gue or gre
	broken  bool    // the socket may hold answers to earlier questions
	handles handles
}

// An opener opens the handles of a link in the namespace of its client.
type opener interface {
	socket() (*genetlink.Conn, error)
	// library comes when the family is known to be there. The second value is
	// false if the library would not reach it.
	library() (library, bool, error)
	// connections opens the connection table. It is called by any goroutine.
	connections() (io.ReadCloser, error)
	io.Closer
}

// A library changes the table; moby/ipvs is one. It does not know the tunnels
// other than ipip, nor destinations of another family than their service's.
type library interface {
	AddService(Service) error
	UpdateService(Service) error
	RemoveService(Key) error
	AddDestination(Key, Destination) error
	UpdateDestination(Key, Destination) error
	RemoveDestination(Key, netip.AddrPort) error
	io.Closer
}

// handles are what is to be closed, from whichever goroutine.
type handles struct {
	mu   sync.Mutex // protects the rest
	cut  bool
	open []io.Closer
}

// add takes c into care; it is closed at once if the link was cut already.
func (h *handles) add(c io.Closer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut {
		return errors.Join(os.ErrClosed, c.Close())
	}
	h.open = append(h.open, c)
	return nil
}

// drop closes one that is not needed any more.
func (h *handles) drop(c io.Closer) {
	h.mu.Lock()
	h.open = slices.DeleteFunc(h.open, func(o io.Closer) bool { return o == c })
	h.mu.Unlock()
	_ = c.Close() // nothing was written that could be lost
}

// close closes all and waits for calls that are in the kernel: closing a socket
// that is being read wakes the reader, but not one that the kernel holds.
func (h *handles) close() {
	h.mu.Lock()
	h.cut = true
	open := h.open
	h.open = nil
	h.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // nothing was written that could be lost
	}
}

// connect opens the sockets, the kernel's family first: without it moby/ipvs
// would report success for everything.
func (l *link) connect() error {
	conn, err := l.open.socket()
	if err != nil {
		if errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EAFNOSUPPORT) {
			return because(ErrNoKernel, err)
		}
		return err
	}
	if err := l.handles.add(conn); err != nil {
		return err
	}
	l.conn = conn
	if _, err := l.probe(); err != nil {
		return err
	}
	lib, usable, err := l.open.library()
	if err != nil {
		return err
	}
	if lib == nil {
		return nil
	}
	if err := l.handles.add(lib); err != nil {
		return err
	}
	if usable {
		l.library = lib
	}
	return nil
}

// probe asks for the family's number, and tells whether it is another one than
// before. The module gets a new one each time it is loaded; moby/ipvs asks once
// in the life of a process and is of no use afterwards.
func (l *link) probe() (moved bool, err error) {
	f, err := l.conn.GetFamily(familyName)
	switch {
	case errors.Is(err, os.ErrNotExist):
		l.family, l.library = 0, nil
		return false, because(ErrNoKernel, err)
	case err != nil:
		return false, err
	}
	moved = f.ID != l.family
	if moved {
		l.family, l.library = f.ID, nil
	}
	return moved, nil
}

// settled makes a call, and repeats it if it went to a family that has got
// another number. The kernel says ENOENT to a number that nobody has, or
// EOPNOTSUPP if somebody else has got it.
//
// No call goes out without a number: the kernel acknowledges every message of
// the type 0 (NLMSG_NOOP).
func (l *link) settled(call func() error) error {
	if l.family == 0 {
		if _, err := l.probe(); err != nil {
			return err
		}
	}
	err := call()
	if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return err
	}
	moved, lost := l.probe()
	if lost != nil {
		return lost
	}
	if moved {
		return call()
	}
	return err
}

// attempts is how often a dump is read that changed meanwhile.
const attempts = 5

// errChanging is a dump that changed at each attempt.
var errChanging = fmt.Errorf("the table changed while it was read, %d times", attempts)

// read sends a request and returns the payload of each answer.
func (l *link) read(c command, flags netlink.HeaderFlags, data []byte) (answers [][]byte, err error) {
	err = l.settled(func() error {
		for range attempts {
			answers, err = l.exchange(c, flags, data)
			switch {
			case errors.Is(err, syscall.ENOBUFS): // answers are lost, others may follow
				if err := l.renew(); err != nil {
					return err
				}
			case !errors.Is(err, syscall.EINTR):
				return err
			}
		}
		return fmt.Errorf("%w: %w", errChanging, err)
	})
	return answers, err
}

// renew replaces the socket.
func (l *link) renew() error {
	conn, err := l.open.socket()
	if err != nil {
		return err
	}
	l.handles.drop(l.conn)
	l.conn, l.broken = conn, false
	return l.handles.add(conn)
}

// exchange is one request with its answers.
func (l *link) exchange(c command, flags netlink.HeaderFlags, data []byte) ([][]byte, error) {
	request := genetlink.Message{Header: genetlink.Header{Command: uint8(c), Version: familyVersion}, Data: data}
	messages, headers, err := l.roundTrip(request, flags)
	if err != nil {
		answer := (*netlink.OpError)(nil)
		if errors.As(err, &answer) && answer.Sequence != 0 {
			return nil, answer.Err // the kernel's own word
		}
		l.broken = true
		return nil, err
	}
	answers := make([][]byte, 0, len(messages))
	for i, m := range messages {
		switch {
		case headers[i].Header.Flags&netlink.DumpInterrupted != 0:
			return nil, syscall.EINTR
		case headers[i].Header.Type == netlink.Error: // an acknowledgement
		default:
			answers = append(answers, m.Data)
		}
	}
	return answers, nil
}

func (l *link) roundTrip(m genetlink.Message, flags netlink.HeaderFlags) ([]genetlink.Message, []netlink.Message, error) {
	sent, err := l.conn.Send(m, l.family, netlink.Request|flags)
	if err != nil {
		return nil, nil, err
	}
	messages, headers, err := l.conn.Receive()
	if err != nil {
		return nil, nil, err
	}
	return messages, headers, netlink.Validate(sent, headers)
}

// set sends a request that is acknowledged. The error is that of encoding it.
func (l *link) set(c command, data []byte, err error) error {
	return l.settled(func() error { return l.setOnce(c, data, err) })
}

// setOnce is set where the caller knows of the family.
func (l *link) setOnce(c command, data []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = l.exchange(c, netlink.Acknowledge, data)
	return err
}

// dump asks for a list.
func dump[T any](l *link, c command, data []byte, decode func([]byte) (T, error)) ([]T, error) {
	answers, err := l.read(c, netlink.Dump, data)
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(answers))
	for _, a := range answers {
		one, err := decode(a)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// single asks for one thing.
func single[T any](l *link, c command, data []byte, decode func([]byte) (T, error)) (T, error) {
	var none T
	answers, err := l.read(c, 0, data)
	if err != nil {
		return none, err
	}
	if len(answers) != 1 {
		return none, fmt.Errorf("the kernel gave %d answers for one question", len(answers))
	}
	return decode(answers[0])
}
