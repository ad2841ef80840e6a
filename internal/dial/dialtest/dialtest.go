// Package dialtest has what tests of monitors over TCP need: listeners that
// behave well or badly, name servers that do or do not answer, and certificates.
// All of it lives on loopback and ends with the test.
package dialtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Loopbacks are the addresses that each monitor is tested on.
func Loopbacks() []string { return []string{"127.0.0.1", "::1"} }

// Serve accepts connections on a free port of a loopback address, calls handle
// for each and closes it afterwards. It returns the entry of a host group for it.
// At the end of the test all connections are closed, and handle must return then.
func Serve(t testing.TB, address string, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatalf("this test needs the loopback address %s: %v", address, err)
	}
	s := server{open: map[net.Conn]bool{}}
	s.running.Go(func() { s.accept(listener, handle) })
	t.Cleanup(func() {
		_ = listener.Close()
		s.closeAll()
		s.running.Wait()
	})
	return listener.Addr().String()
}

type server struct {
	running sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool // protected by mu; nil once closed
}

func (s *server) accept(listener net.Listener, handle func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if !s.add(conn) {
			_ = conn.Close()
			return
		}
		s.running.Go(func() {
			defer func() { _ = conn.Close() }()
			handle(conn)
		})
	}
}

func (s *server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		return false
	}
	s.open[conn] = true
	return true
}

func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
}

// Say returns a handler that sends text and closes.
func Say(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// Hang is a handler that says nothing and reads until the client is gone.
func Hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// SayAndHang returns a handler that sends text and then keeps silent.
func SayAndHang(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		Hang(conn)
	}
}

// Flood is a handler that sends without end.
func Flood(conn net.Conn) {
	piece := make([]byte, 64<<10)
	for i := range piece {
		piece[i] = 'x'
	}
	for {
		if _, err := conn.Write(piece); err != nil {
			return
		}
	}
}

// Reset is a handler that breaks the connection off with a RST.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
