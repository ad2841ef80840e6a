package relay

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that end by an event.
const patience = 20 * time.Second

func newRelay(t testing.TB) *Relay {
	r := New(func(err error) { t.Logf("told: %v", err) })
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

func set(t testing.TB, r *Relay, services ...lvs.Service) {
	t.Helper()
	if err := r.Set(t.Context(), services); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func serviceOn(address netip.AddrPort, scheduler lvs.Scheduler, servers ...lvs.Server) lvs.Service {
	s := lvstest.Service(address, servers...)
	s.Scheduler = scheduler
	return s
}

// A realServer greets with its name and echoes what it gets.
type realServer struct {
	name    string
	address netip.AddrPort
}

func (s *realServer) with(weight int) lvs.Server {
	return lvs.Server{Address: s.address, Weight: weight}
}

func startReal(t testing.TB, name string) *realServer {
	t.Helper()
	return startRealOn(t, name, "127.0.0.1:0", func(c *net.TCPConn) {
		_, _ = io.WriteString(c, name+"\n")
		_, _ = io.Copy(c, c)
	})
}

// startRealOn serves each connection with handle and closes it afterwards.
func startRealOn(t testing.TB, name, address string, handle func(*net.TCPConn)) *realServer {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				stop := closeAtEnd(t, c)
				handle(c.(*net.TCPConn))
				_ = c.Close()
				stop()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return &realServer{name, l.Addr().(*net.TCPAddr).AddrPort()}
}

// closeAtEnd closes c when the test ends before stop is called.
func closeAtEnd(t testing.TB, c net.Conn) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-t.Context().Done():
			_ = c.Close()
		case <-done:
		}
	}()
	return func() { close(done); <-stopped }
}

// A client is a connection to a virtual service that has been greeted.
type client struct {
	*net.TCPConn
	lines  *bufio.Reader
	server string
}

func dial(t testing.TB, address netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func connect(t testing.TB, address netip.AddrPort) *client {
	t.Helper()
	c := dial(t, address)
	lines := bufio.NewReader(c)
	name, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no greeting: %v", err)
	}
	return &client{c, lines, strings.TrimSpace(name)}
}

// ask connects, closes, and returns which server answered.
func ask(t testing.TB, address netip.AddrPort) string {
	t.Helper()
	c := connect(t, address)
	_ = c.Close()
	return c.server
}

func (c *client) echo(t testing.TB, line string) {
	t.Helper()
	if err := c.tryEcho(line); err != nil {
		t.Fatalf("the connection to %s does not echo: %v", c.server, err)
	}
}

func (c *client) tryEcho(line string) error {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	got, err := c.lines.ReadString('\n')
	if err == nil && got != line+"\n" {
		return errors.New("got " + got)
	}
	return err
}

// mustReset reads until the end, which has to be a reset.
func mustReset(t testing.TB, r io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want %v", err, syscall.ECONNRESET)
	}
}

// mustBeTurnedAway connects and has to be reset, before the client has noticed
// that it was connected or after.
func mustBeTurnedAway(t testing.TB, address netip.AddrPort) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address.String(), patience)
	if err == nil {
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want %v", err, syscall.ECONNRESET)
	}
}

// active returns the connections that the relay counts for a server.
func active(t testing.TB, r *Relay, id lvs.ServiceID, s *realServer) int {
	t.Helper()
	c, err := r.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c[id][s.address].Active
}

// eventually waits for a state that has no event to wait for.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
