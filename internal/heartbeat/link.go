package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A Link is one way between the nodes on which packets travel as they are: they
// are sealed, numbered and de-duplicated above it.
//
// UDP between two addresses is built in; a way through the gateway (an Ethernet
// frame for its MAC with the peer's address inside) is given in [Settings].
type Link interface {
	// Send hands a packet to the wire, towards a node. It must not wait; what
	// cannot be sent now is lost. It is called by several goroutines.
	Send(node string, packet []byte) error
	// Receive waits for the next packet and copies it into the buffer (64 KiB).
	// From is its sender's address, for people; the zero AddrPort if there is none.
	// It returns an error that wraps net.ErrClosed after Close; after another error
	// it is called again, a little later. One goroutine calls it.
	Receive(packet []byte) (n int, from netip.AddrPort, err error)
	// Close ends Receive. It is called once.
	Close() error
}

// A Relay is a link that is given from outside.
type Relay struct {
	// Name is for people and for [Received]; on all nodes the relays stand in the same order.
	Name string
	Link Link
}

// relays have numbers of their own, so that one more cable does not shift them.
const firstRelay = 128

// A udpLink is the network between the addresses that the nodes have on one link.
type udpLink struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	to   map[string]netip.AddrPort
}

func newUDPLink(conn *net.UDPConn, to map[string]netip.AddrPort) (*udpLink, error) {
	raw, err := conn.SyscallConn()
	return &udpLink{conn, raw, to}, err
}

// openLink opens the sockets of an address, for packets and for streams. The interface of
// one that belongs to an interface may come later; see zoned.look.
func openLink(ctx context.Context, at netip.AddrPort, to map[string]netip.AddrPort) (Link, listener, error) {
	if at.Addr().Zone() != "" {
		z := newZoned(at, to)
		return z, z, z.look(ctx)
	}
	conn, streams, err := listen(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	link, err := newUDPLink(conn, to)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close(), streams.Close())
	}
	return link, streams, nil
}

// listen binds both ports of an address. It may be configured later: the interface
// can be missing at boot.
func listen(ctx context.Context, at netip.AddrPort) (*net.UDPConn, *net.TCPListener, error) {
	config := net.ListenConfig{Control: freebind}
	packets, err := config.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return nil, nil, err
	}
	streams, err := config.Listen(ctx, "tcp", at.String())
	if err != nil {
		_ = packets.Close()
		return nil, nil, err
	}
	return packets.(*net.UDPConn), streams.(*net.TCPListener), nil
}

// Send sends from the link's own address: the socket is bound to it. It does not wait
// for room in the socket's buffer, as the connection's own methods do.
func (l *udpLink) Send(node string, packet []byte) error {
	to, ok := l.to[node]
	if !ok {
		return fmt.Errorf("%s has no address on this link", node)
	}
	address, err := sockaddr(to)
	if err != nil {
		return err
	}
	var failed error
	err = l.raw.Write(func(fd uintptr) bool {
		failed = syscall.Sendto(int(fd), packet, syscall.MSG_DONTWAIT, address)
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("send to %v: %w", to, err)
	}
	return nil
}

// sockaddr looks the zone up each time: the interface may go and come.
func sockaddr(to netip.AddrPort) (syscall.Sockaddr, error) {
	if to.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, nil
	}
	six := &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		device, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", to, err)
		}
		six.ZoneId = uint32(device.Index)
	}
	return six, nil
}

func (l *udpLink) Receive(packet []byte) (int, netip.AddrPort, error) {
	n, from, err := l.conn.ReadFromUDPAddrPort(packet)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

func (l *udpLink) Close() error { return l.conn.Close() }

// A path is a link with its number and name here.
type path struct {
	id      uint8
	name    string
	link    Link
	at      netip.AddrPort // not valid: a relay
	streams listener       // nil: a relay
}

// A listener accepts streams.
type listener interface {
	Accept() (net.Conn, error)
	Close() error
}

// reaches tells whether a node has an address on the link; relays reach everybody.
func (p *path) reaches(node Node) bool {
	return !p.at.IsValid() || int(p.id) < len(node.Links) && node.Links[p.id].IsValid()
}

// LinkState is what is known of one link to one node.
type LinkState int

// The states of a link.
const (
	// LinkDown: nothing was heard over it for two seconds.
	LinkDown LinkState = iota
	// LinkDeaf: the node is heard over it, but says that it does not hear this one.
	LinkDeaf
	// LinkUp: both hear each other.
	LinkUp
)

var linkStateNames = []string{"down", "one way only", "up"}

func (s LinkState) String() string { return linkStateNames[s] }

const (
	// helloEvery is the pace at which each link is tried and measured.
	helloEvery = 500 * time.Millisecond
	// answerEvery is the pace at which a node that proves nothing is answered.
	answerEvery = 5 * time.Millisecond
	// linkSilence is how long a link may be silent.
	linkSilence = 4 * helloEvery
)

// A linkStat is what is known of one link to one node, on our own clock.
type linkStat struct {
	heard     bool
	heardAt   time.Duration
	heardSent time.Duration // the peer's clock, for the echo

	acked   bool
	ackedAt time.Duration // when that was sent which the peer heard
	rtt     time.Duration

	told LinkState
}

func (s *linkStat) state(now time.Duration) LinkState {
	switch {
	case !s.heard || now-s.heardAt > linkSilence:
		return LinkDown
	case !s.acked || now-s.ackedAt > 2*linkSilence:
		return LinkDeaf
	}
	return LinkUp
}

// took notes an accepted packet, and what a hello says about the way back.
func (s *linkStat) took(f frame, now time.Duration) {
	s.heard, s.heardAt = true, now
	s.heardSent = f.sent
	if f.kind != kindHello {
		return
	}
	h, ok := parseHello(f.payload)
	if !ok || h.echo < 0 || h.echo > now {
		return
	}
	if rtt := now - h.echo - h.held; rtt >= 0 && (!s.acked || h.echo > s.ackedAt) {
		s.acked, s.ackedAt, s.rtt = true, h.echo, rtt
	}
}

// hello is what the peer gets to know about this link.
func (s *linkStat) hello(now time.Duration) helloBody {
	if !s.heard {
		return helloBody{echo: -1}
	}
	return helloBody{echo: s.heardSent, held: now - s.heardAt}
}
