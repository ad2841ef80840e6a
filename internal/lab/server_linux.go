package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// echoPort is that of the UDP echo (RFC 862) on directors and web servers.
const echoPort = 7

// An echo sends every datagram back, with its own name behind the first 8 bytes, from
// the address to which it was sent: whoever has an address answers for it.
type echo struct {
	conn  *net.UDPConn
	ended chan struct{}
}

func newEcho(ctx context.Context, s *space, v6 bool) (*echo, error) {
	network, level, option := "udp4", unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		network, level, option = "udp6", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }), err)
	}}
	e := &echo{ended: make(chan struct{})}
	err := s.do(func() error {
		conn, err := config.ListenPacket(ctx, network, fmt.Sprintf(":%d", echoPort))
		if err == nil {
			e.conn, _ = conn.(*net.UDPConn) // as the network says
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("echo on %s: %w", s.name, err)
	}
	go func() {
		defer close(e.ended)
		e.answer(s.name)
	}()
	return e, nil
}

// answer sends back what came with it: where it was sent to (ip(7), IP_PKTINFO), which
// is where the answer comes from.
func (e *echo) answer(name string) {
	var datagram, control [512]byte
	for {
		n, oob, _, client, err := e.conn.ReadMsgUDPAddrPort(datagram[:], control[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= 8 {
			// It fails if the address has gone in between.
			_, _, _ = e.conn.WriteMsgUDPAddrPort(append(datagram[:8:8], name...), control[:oob], client)
		}
	}
}

func (e *echo) close() error {
	err := e.conn.Close()
	<-e.ended
	return err
}

// A webServer that says its name, and on /healthz that it is well.
type webServer struct {
	space *space

	mu     sync.Mutex   // protects what follows
	server *http.Server // nil while it is down
	ended  chan struct{}
}

// serve begins to serve at port 80; a server that runs goes on.
func (w *webServer) serve(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server != nil {
		return nil
	}
	var listener net.Listener
	err := w.space.do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", ":80")
		return err
	})
	if err != nil {
		return fmt.Errorf("web server on %s: %w", w.space.name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(r http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(r, "ok\n") })
	mux.HandleFunc("/", func(r http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(r, w.space.name+"\n") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends by fail
	}()
	w.server, w.ended = server, ended
	return nil
}

// fail is sudden death: the port is closed and every connection is cut.
func (w *webServer) fail() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server == nil {
		return nil
	}
	err := w.server.Close()
	<-w.ended
	w.server = nil
	return err
}

// silent makes a machine take packets for an address without a word about it by ARP,
// as a real server behind direct routing does (arp_ignore and arp_announce).
func silent(a netip.Addr) sysctls {
	if a.Is6() {
		return nil
	}
	return sysctls{"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}
}
