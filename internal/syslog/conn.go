package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// LocalSocket is where syslog listens on the machine itself.
const LocalSocket = "/dev/log"

// The bounds on a message in bytes: what each way of transport is sure to take.
const (
	// DatagramLimit is what a receiver SHOULD take (RFC 5424, 6.1).
	DatagramLimit = 2048
	// StreamLimit is rsyslog's default for one message.
	StreamLimit = 8192
	// OldLimit is RFC 3164's (4.1).
	OldLimit = 1024
)

// A Conn takes messages somewhere. It is used by one goroutine at a time.
type Conn struct {
	conn net.Conn
	// frame wraps a message for the way of transport.
	frame func(message []byte) []byte
	// secure is the TLS of conn; nil: none.
	secure *tls.Conn
}

// Dial connects to a server: network is "udp", "tcp" or "tls", address host:port. config
// is for TLS.
func Dial(ctx context.Context, network, address string, config *tls.Config) (*Conn, error) {
	dialer := net.Dialer{Resolver: &net.Resolver{PreferGo: true}}
	switch network {
	case "udp", "tcp":
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if network == "udp" {
			return &Conn{conn: conn, frame: whole}, nil
		}
		return &Conn{conn: conn, frame: counted}, nil
	case "tls":
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("TLS handshake: %w", err), conn.Close())
		}
		return &Conn{conn: secure, frame: counted, secure: secure}, nil
	}
	return nil, fmt.Errorf("no network %q", network)
}

// DialLocal connects to a socket of this machine, which may take datagrams or a stream.
func DialLocal(ctx context.Context, path string) (*Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unixgram", path)
	if err == nil {
		return &Conn{conn: conn, frame: whole}, nil
	}
	stream, streamErr := dialer.DialContext(ctx, "unix", path)
	if streamErr != nil {
		return nil, err
	}
	return &Conn{conn: stream, frame: line}, nil
}

func whole(message []byte) []byte { return message }

func line(message []byte) []byte { return append(slices.Clip(message), '\n') }

// counted is octet counting (RFC 6587, 3.4.1), which needs no character that ends a
// message.
func counted(message []byte) []byte {
	return append(append(strconv.AppendInt(nil, int64(len(message)), 10), ' '), message...)
}

// Send writes one message. It gives up when ctx is done.
func (c *Conn) Send(ctx context.Context, message []byte) error {
	defer c.bind(ctx)()
	_, err := c.conn.Write(c.frame(message))
	if err != nil && c.secure != nil && ctx.Err() == nil {
		// The server may have said why it does not read, before it closed.
		if _, why := c.secure.Read(make([]byte, 1)); why != nil && !errors.Is(why, io.EOF) {
			err = why
		}
	}
	return c.reason(ctx, err)
}

// farewell is how long a server that was sent everything may take to say that it
// takes nothing.
const farewell = time.Second

// Finish ends what was sent and waits until the server has read it, as far as that can
// be known: it closes its side, or says nothing against it for a second. With TLS a
// server that refuses our certificate says so only now. Of datagrams nothing is known.
func (c *Conn) Finish(ctx context.Context) error {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if _, local := c.conn.(*net.UnixConn); !ok || local {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	defer c.bind(short)()
	closed := half.CloseWrite()
	// Though that failed: what the server said before it closed says why.
	_, err := io.Copy(io.Discard, io.LimitReader(c.conn, 64<<10))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil // a second has passed
	case errors.Is(err, io.ErrUnexpectedEOF):
		return closed // it closed without TLS's farewell, as many do
	case err == nil:
		return closed
	}
	return err
}

// bind makes reads and writes end when ctx is done; the function that it returns undoes
// that.
func (c *Conn) bind(ctx context.Context) (release func()) {
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // it fails on a closed connection only
	})
	return func() {
		if !stop() {
			<-cut
		}
	}
}

func (c *Conn) reason(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.secure != nil {
		return c.secure.NetConn().Close() // tls.Conn would wait for a dead peer
	}
	return c.conn.Close()
}
