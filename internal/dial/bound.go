package dial

import (
	"context"
	"net"
	"sync"
	"time"
)

// noDeadline hides a deadline from package net, which would arm a timer of its
// own with it. That timer can fire before the context is done, and the caller
// could not tell its own timeout (down) from the end of the run (unknown).
type noDeadline struct{ context.Context }

func (noDeadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// bind makes a connection break off when ctx is done. It waits for the context
// itself and sets no deadline beforehand, for the reason given at noDeadline.
func bind(ctx context.Context, conn net.Conn) *boundConn {
	b := &boundConn{Conn: conn, cut: make(chan struct{})}
	b.unbind = context.AfterFunc(ctx, func() {
		defer close(b.cut)
		// It fails only on a connection that is closed already.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return b
}

type boundConn struct {
	net.Conn
	unbind func() bool
	cut    chan struct{} // closed when ctx was done and the deadline is set
	once   sync.Once     // crypto/tls closes a connection that its user closes too
}

// Close closes the connection and leaves no goroutine behind.
func (b *boundConn) Close() error {
	err := net.ErrClosed
	b.once.Do(func() {
		b.release()
		err = b.Conn.Close()
	})
	return err
}

// release ends what bind began. The connection stays open.
func (b *boundConn) release() {
	if !b.unbind() {
		<-b.cut
	}
}

// SetDeadline does nothing: the deadline is the context's, and crypto/tls would
// give a dead peer five seconds more for its farewell.
func (b *boundConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (b *boundConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (b *boundConn) SetWriteDeadline(time.Time) error { return nil }

// boundPackets is a boundConn of datagrams: package net tells by the interface
// how to speak to a name server.
type boundPackets struct {
	*boundConn
	packets net.PacketConn
}

func (b *boundPackets) ReadFrom(p []byte) (int, net.Addr, error) { return b.packets.ReadFrom(p) }

func (b *boundPackets) WriteTo(p []byte, to net.Addr) (int, error) { return b.packets.WriteTo(p, to) }
