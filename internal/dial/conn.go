package dial

import (
	"net"
	"time"

	"github.com/monitord/monitord/monitors"
)

// A Conn is a connection that measures itself: the wait for its first byte.
type Conn struct {
	net.Conn
	took  *monitors.Timings
	ready time.Time // when the host's turn came; zero once it has said something
}

func newConn(conn net.Conn, took *monitors.Timings) *Conn {
	return &Conn{Conn: conn, took: took, ready: time.Now()}
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.ready.IsZero() {
		c.took.FirstByte += time.Since(c.ready)
		c.ready = time.Time{}
	}
	return n, err
}

// secured is the connection inside of a handshake that began at start. What came
// before STARTTLS was the first byte; otherwise the handshake counts as its own
// phase, and the wait begins after it.
func (c *Conn) secured(inside net.Conn, start time.Time) *Conn {
	now := time.Now()
	c.took.TLS += now.Sub(start)
	secure := &Conn{Conn: inside, took: c.took}
	if !c.ready.IsZero() {
		secure.ready = now
	}
	return secure
}
