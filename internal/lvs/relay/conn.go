package relay

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/monitord/monitord/internal/lvs"
)

// A conn is a connection that is forwarded.
type conn struct {
	client, upstream *net.TCPConn
	server           *server
}

// serve forwards a client's connection to its end.
func (s *service) serve(client *net.TCPConn) {
	c := s.connect(client)
	if c == nil {
		reset(client)
		return
	}
	c.pump()
	s.finish(c)
}

// connect opens the connection to a server, to a second one if the first does
// not accept it; nil if there is none. A server that is taken out meanwhile does
// not count as one.
func (s *service) connect(client *net.TCPConn) *conn {
	var failed *server
	for {
		o := s.choose(failed)
		if o == nil {
			return nil
		}
		upstream, err := o.dial()
		c := &conn{client: client, server: o.server}
		if err == nil {
			c.upstream = upstream.(*net.TCPConn)
		}
		switch s.settle(o, c) {
		case opened:
			return c
		case refused:
			if failed != nil {
				return nil
			}
			failed = o.server
		case withdrawn:
		}
	}
}

// An opening is a connection that is being opened to a server.
type opening struct {
	server *server
	ctx    context.Context // ended when the server is withdrawn
	config lvs.Service
}

func (o *opening) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: o.config.ConnectTimeout}
	return d.DialContext(o.ctx, "tcp", o.server.address.String())
}

// choose takes the scheduler's choice, or after a failure the least loaded of
// the other servers, which leaves the scheduler's sequence as it is.
func (s *service) choose(failed *server) *opening {
	s.mu.Lock()
	defer s.mu.Unlock()
	var v *server
	if failed == nil && s.schedule != nil {
		v = s.schedule.next(s.servers)
	} else if failed != nil {
		v = s.other(failed)
	}
	if v == nil {
		return nil
	}
	v.active++
	v.opening.Add(1)
	return &opening{server: v, ctx: v.ctx, config: s.config}
}

func (s *service) other(failed *server) *server {
	var others []*server
	for _, v := range s.servers {
		if v != failed {
			others = append(others, v)
		}
	}
	return leastConnection{weighted: true}.next(others)
}

// outcome is what became of an opening.
type outcome int

const (
	opened outcome = iota
	refused
	withdrawn
)

// settle counts the connection in if it was opened and its server is still in
// the table.
func (s *service) settle(o *opening, c *conn) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := o.server
	v.opening.Done()
	if c.upstream != nil && o.ctx.Err() == nil {
		v.total++
		v.conns[c] = struct{}{}
		return opened
	}
	v.active--
	s.prune()
	if o.ctx.Err() != nil {
		if c.upstream != nil {
			reset(c.upstream)
		}
		return withdrawn
	}
	v.failed++
	return refused
}

// finish takes the connection out of the count.
func (s *service) finish(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(c.server.conns, c)
	c.server.active--
	s.prune()
}

// pump copies both ways until both sides have ended.
func (c *conn) pump() {
	var back sync.WaitGroup
	back.Go(func() { c.copy(c.client, c.upstream) })
	c.copy(c.upstream, c.client)
	back.Wait()
	_ = c.client.Close() // both ways are at their end; nothing is lost
	_ = c.upstream.Close()
}

// copy passes one direction on, its end included. What is not a regular end is a
// reset, and the other side gets one too.
func (c *conn) copy(to, from *net.TCPConn) {
	_, err := io.Copy(to, from) // by splice(2)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		c.cut()
	}
}

// cut ends the connection at once; both sides are reset.
func (c *conn) cut() {
	reset(c.client)
	reset(c.upstream)
}

// reset closes with RST instead of FIN, and drops what is not yet sent. It does
// not matter whether the connection was closed before.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
