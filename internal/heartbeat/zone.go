package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// A zoned link connects addresses that belong to an interface (fe80::1%eth1). So do
// its sockets: they are opened when the interface is there, and anew when another one
// comes under its name.
type zoned struct {
	at    netip.AddrPort
	to    map[string]netip.AddrPort
	index func(zone string) int // 0: there is no such interface

	mu      sync.Mutex // protects what follows
	bound   int        // the interface that the sockets belong to
	packets *udpLink   // nil: there is none
	streams *net.TCPListener
	changed chan struct{} // closed when the sockets are others
	closed  bool
}

// newZoned has no sockets yet; see look.
func newZoned(at netip.AddrPort, to map[string]netip.AddrPort) *zoned {
	return &zoned{at: at, to: to, index: indexOf, changed: make(chan struct{})}
}

func indexOf(zone string) int {
	device, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return device.Index
}

// numbered has the interface's number for a zone: package net remembers the numbers of
// names for a minute.
func numbered(at netip.AddrPort, index int) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().WithZone(strconv.Itoa(index)), at.Port())
}

// reachable is an address as it can be dialled now.
func reachable(at netip.AddrPort) netip.AddrPort {
	if zone := at.Addr().Zone(); zone != "" {
		return numbered(at, indexOf(zone))
	}
	return at
}

// look opens the sockets if the interface is another one than before. An error says that
// they cannot be opened on it now.
func (z *zoned) look(ctx context.Context) error {
	index := z.index(z.at.Addr().Zone())
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed || index == z.bound {
		return nil
	}
	z.drop()
	if index == 0 {
		return nil
	}
	conn, streams, err := listen(ctx, numbered(z.at, index))
	if err != nil {
		return err
	}
	packets, err := newUDPLink(conn, z.to)
	if err != nil {
		return errors.Join(err, conn.Close(), streams.Close())
	}
	z.bound, z.packets, z.streams = index, packets, streams
	return nil
}

// drop closes the sockets, and has all who wait for them look again. It needs the lock.
func (z *zoned) drop() {
	if z.packets != nil {
		_ = z.packets.Close() // nothing depends on it any more
		_ = z.streams.Close()
	}
	z.bound, z.packets, z.streams = 0, nil, nil
	close(z.changed)
	z.changed = make(chan struct{})
}

// sockets are those of now; if they are nil there are none before the channel is closed.
func (z *zoned) sockets() (*udpLink, *net.TCPListener, <-chan struct{}, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed {
		return nil, nil, nil, net.ErrClosed
	}
	return z.packets, z.streams, z.changed, nil
}

// Send is that of [Link].
func (z *zoned) Send(node string, packet []byte) error {
	link, _, _, err := z.sockets()
	if err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("there is no interface for %v", z.at.Addr())
	}
	return link.Send(node, packet)
}

// Receive is that of [Link].
func (z *zoned) Receive(packet []byte) (int, netip.AddrPort, error) {
	for {
		link, _, changed, err := z.sockets()
		switch {
		case err != nil:
			return 0, netip.AddrPort{}, err
		case link == nil:
			<-changed
			continue
		}
		if n, from, err := link.Receive(packet); !errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
	}
}

// Accept is a listener's.
func (z *zoned) Accept() (net.Conn, error) {
	for {
		_, streams, changed, err := z.sockets()
		switch {
		case err != nil:
			return nil, err
		case streams == nil:
			<-changed
			continue
		}
		if conn, err := streams.Accept(); !errors.Is(err, net.ErrClosed) {
			return conn, err
		}
	}
}

// Close ends Receive and Accept. It may be called again.
func (z *zoned) Close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.closed {
		z.closed = true
		z.drop()
	}
	return nil
}
