package ipvs

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// sameAddresses compares netip values, which cmp cannot look into.
var sameAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// attr is one attribute as the kernel lays it out.
func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func nested(kind uint16, inner ...[]byte) []byte {
	var all []byte
	for _, a := range inner {
		all = append(all, a...)
	}
	return attr(kind, all...)
}

func u16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }
func str(s string) []byte { return append([]byte(s), 0) }

func join(all ...[]byte) (joined []byte) {
	for _, b := range all {
		joined = append(joined, b...)
	}
	return joined
}

// A request is one message that came to a wire.
type request struct {
	command command
	flags   netlink.HeaderFlags
	data    []byte
}

// A wire is a kernel at the level of messages.
type wire struct {
	answer func(request) ([]netlink.Message, error)
	lib    library

	mu       sync.Mutex // protects the rest
	family   uint16     // 0: IPVS is not loaded
	requests []request
	sockets  int
	open     int
}

func newWire(answer func(request) ([]netlink.Message, error)) *wire {
	return &wire{family: 30, answer: answer}
}

// newWireClient opens a client on the wire; GET_INFO of it is answered.
func newWireClient(t *testing.T, w *wire) *Client {
	t.Helper()
	c, err := newClient(t.Context(), w, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if w.open != 0 {
			t.Errorf("%d sockets are open after Close", w.open)
		}
	})
	return c
}

func (w *wire) socket() (*genetlink.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sockets++
	w.open++
	return genetlink.NewConn(netlink.NewConn(&wireSocket{wire: w, closed: make(chan struct{})}, 1)), nil
}

func (w *wire) library() (library, bool, error) { return w.lib, w.lib != nil, nil }

func (w *wire) connections() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("Pro FromIP\nTCP 0A000001 8000 C0A80001 0050 C0A80002 0050 ESTABLISHED     899\n")), nil
}

func (w *wire) Close() error { return nil }

// move gives the family another number.
func (w *wire) move(family uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.family = family
}

// seen returns the requests since the last call, that for the version apart.
func (w *wire) seen() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []request
	for _, r := range w.requests {
		if r.command != cmdGetInfo {
			all = append(all, r)
		}
	}
	w.requests = nil
	return all
}

// receive is what the kernel does with a message.
func (w *wire) receive(m netlink.Message) ([]netlink.Message, error) {
	w.mu.Lock()
	family := w.family
	w.mu.Unlock()
	switch {
	case m.Header.Type == 0x10 && family == 0: // GENL_ID_CTRL
		return refusal(syscall.ENOENT), nil
	case m.Header.Type == 0x10:
		return []netlink.Message{payload(join(attr(1, u16(family)...), attr(2, str(familyName)...)))}, nil
	case m.Header.Type == 0: // NLMSG_NOOP, which moby/ipvs would send
		return refusal(0), nil
	case uint16(m.Header.Type) != family:
		return refusal(syscall.ENOENT), nil
	}
	r := request{command: command(m.Data[0]), flags: m.Header.Flags, data: m.Data[4:]}
	w.mu.Lock()
	w.requests = append(w.requests, r)
	w.mu.Unlock()
	if r.command == cmdGetInfo {
		return []netlink.Message{payload(join(attr(infoVersion, u32(0x010201)...), attr(infoTableSize, u32(4096)...)))}, nil
	}
	return w.answer(r)
}

// payload is an answer with those attributes.
func payload(data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: 30}, Data: append([]byte{1, 1, 0, 0}, data...)}
}

// list is the answer to a dump.
func list(all ...[]byte) []netlink.Message {
	var messages []netlink.Message
	for _, data := range all {
		m := payload(data)
		m.Header.Flags = netlink.Multi
		messages = append(messages, m)
	}
	return append(messages, netlink.Message{Header: netlink.Header{Type: netlink.Done, Flags: netlink.Multi}, Data: u32(0)})
}

// refusal is an acknowledgement with an error, or with none.
func refusal(e syscall.Errno) []netlink.Message {
	return []netlink.Message{{Header: netlink.Header{Type: netlink.Error}, Data: append(u32(-uint32(e)), make([]byte, 16)...)}}
}

// acknowledge agrees to all.
func acknowledge(request) ([]netlink.Message, error) { return refusal(0), nil }

// A wireSocket is one socket; closing it wakes who waits for an answer.
type wireSocket struct {
	wire    *wire
	answers []netlink.Message
	err     error
	silent  bool
	once    sync.Once
	closed  chan struct{}
}

// silence is the error of an answer function that never answers.
type silence struct{}

func (silence) Error() string { return "no answer" }

func (s *wireSocket) Send(m netlink.Message) error {
	s.answers, s.err = s.wire.receive(m)
	_, s.silent = s.err.(silence) //nolint:errorlint // never wrapped
	for i := range s.answers {
		s.answers[i].Header.Sequence, s.answers[i].Header.PID = m.Header.Sequence, m.Header.PID
	}
	return nil
}

func (s *wireSocket) SendMessages([]netlink.Message) error { return syscall.EOPNOTSUPP }

func (s *wireSocket) Receive() ([]netlink.Message, error) {
	if s.silent {
		<-s.closed
		return nil, os.ErrClosed
	}
	answers, err := s.answers, s.err
	s.answers, s.err = nil, nil
	if len(answers) == 0 && err == nil {
		return nil, syscall.EAGAIN
	}
	return answers, err
}

func (s *wireSocket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.wire.mu.Lock()
		defer s.wire.mu.Unlock()
		s.wire.open--
	})
	return nil
}
