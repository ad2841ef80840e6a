//go:build linux

package hosts

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server answers with its host's name and with the address that it sees of the
// client: "web1 10.1.0.100:40000".
type Server struct {
	unhealthy atomic.Bool
	close     func()
}

// SetHealthy decides what an HTTP server answers to /healthz: 200, at first, or
// 503.
func (s *Server) SetHealthy(healthy bool) { s.unhealthy.Store(!healthy) }

// Close stops the service: what connects is refused, and open connections are
// closed. It may be called more than once; the end of the test does.
func (s *Server) Close() { s.close() }

func (h *Host) serve(s *Server, stop func()) *Server {
	s.close = sync.OnceFunc(stop)
	h.network.t.Cleanup(s.close)
	return s
}

// ServeHTTP starts an HTTP server on a literal address, or ":80".
func (h *Host) ServeHTTP(address string) *Server {
	h.network.t.Helper()
	l, err := h.Listen("tcp", address)
	if err != nil {
		h.network.t.Fatal(err)
	}
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, h.Name, r.RemoteAddr)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.unhealthy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, h.Name)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	return h.serve(s, func() {
		_ = server.Close()
		done.Wait()
	})
}

// ServeTCP starts a TCP server that greets with the answer in a line and then
// sends back each line it gets, with the host's name before it.
func (h *Host) ServeTCP(address string) *Server {
	h.network.t.Helper()
	return h.serveLines(address, "")
}

// ServeTelnet is ServeTCP with a login prompt after the greeting.
func (h *Host) ServeTelnet(address string) *Server {
	h.network.t.Helper()
	return h.serveLines(address, "login: ")
}

func (h *Host) serveLines(address, prompt string) *Server {
	h.network.t.Helper()
	l, err := h.Listen("tcp", address)
	if err != nil {
		h.network.t.Fatal(err)
	}
	e := &echo{name: h.Name, prompt: prompt, listener: l, open: map[net.Conn]bool{}}
	e.running.Go(e.accept)
	return h.serve(&Server{}, e.stop)
}

// An echo is a TCP server with its connections.
type echo struct {
	name     string
	prompt   string // after the greeting
	listener net.Listener
	running  sync.WaitGroup

	mu   sync.Mutex // protects open, and is held while a connection is added to running
	open map[net.Conn]bool
	over bool
}

func (e *echo) accept() {
	for {
		c, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		if e.over {
			_ = c.Close()
		} else {
			e.open[c] = true
			e.running.Go(func() { e.talk(c) })
		}
		e.mu.Unlock()
	}
}

func (e *echo) talk(c net.Conn) {
	defer func() {
		_ = c.Close()
		e.mu.Lock()
		delete(e.open, c)
		e.mu.Unlock()
	}()
	if _, err := fmt.Fprintf(c, "%s %s\n%s", e.name, c.RemoteAddr(), e.prompt); err != nil {
		return
	}
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if _, err := fmt.Fprintln(c, e.name, lines.Text()); err != nil {
			return
		}
	}
}

func (e *echo) stop() {
	_ = e.listener.Close()
	e.mu.Lock()
	e.over = true
	for c := range e.open {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.running.Wait()
}

// ServeUDP starts a UDP server that answers each datagram. Behind direct routing
// or a tunnel the address must be the virtual one: from ":53" the answer would
// come from the host's own.
func (h *Host) ServeUDP(address string) *Server {
	h.network.t.Helper()
	c, err := h.ListenPacket("udp", address)
	if err != nil {
		h.network.t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			_, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(fmt.Appendln(nil, h.Name, from), from)
			}
		}
	})
	return h.serve(&Server{}, func() {
		_ = c.Close()
		done.Wait()
	})
}
