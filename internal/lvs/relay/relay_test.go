package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
)

func TestConformance(t *testing.T) {
	lvstest.Run(t, lvstest.Subject{
		New:    func(testing.TB) lvs.Backend { return New(nil) },
		Actual: func(_ testing.TB, b lvs.Backend) lvs.Table { return b.(*Relay).Table() },
	})
}

// TestSharesOfConnections: the schedulers' exact order with real connections.
func TestSharesOfConnections(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	for _, tt := range []struct {
		scheduler lvs.Scheduler
		cycle     string // weights a 1, b 3
	}{
		{lvs.RoundRobin, "ab"},
		{lvs.WeightedRoundRobin, "bbab"},
	} {
		t.Run(string(tt.scheduler), func(t *testing.T) {
			vip := lvstest.FreeAddress(t)
			set(t, newRelay(t), serviceOn(vip, tt.scheduler, a.with(1), b.with(3)))
			var got strings.Builder
			for range 40 {
				got.WriteString(ask(t, vip))
			}
			if want := strings.Repeat(tt.cycle, 40/len(tt.cycle)); got.String() != want {
				t.Errorf("%s, want %s", &got, want)
			}
		})
	}
}

func TestLeastConnectionsCountsOpenOnes(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	for scheduler, want := range map[lvs.Scheduler]map[string]int{
		lvs.LeastConnection:         {"a": 20, "b": 20},
		lvs.WeightedLeastConnection: {"a": 10, "b": 30},
	} {
		vip := lvstest.FreeAddress(t)
		set(t, newRelay(t), serviceOn(vip, scheduler, a.with(1), b.with(3)))
		got := map[string]int{}
		for range 40 {
			got[connect(t, vip).server]++
		}
		if got["a"] != want["a"] || got["b"] != want["b"] {
			t.Errorf("%s: %v, want %v", scheduler, got, want)
		}
	}
}

func TestServerGoesAndReturns(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	for range 5 {
		set(t, r, serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(1)))
		if got := ask(t, vip) + ask(t, vip); !strings.Contains(got, "a") || !strings.Contains(got, "b") {
			t.Fatalf("both in: %s", got)
		}
		for _, quiesced := range []bool{false, true} {
			left := serviceOn(vip, lvs.RoundRobin, a.with(1))
			if quiesced {
				left.Servers = append(left.Servers, b.with(0))
			}
			set(t, r, left)
			if got := ask(t, vip) + ask(t, vip) + ask(t, vip); got != "aaa" {
				t.Fatalf("b out (quiesced %t): %s, want aaa", quiesced, got)
			}
		}
	}
}

// TestNoNewConnectionAfterSet: a client that began after Set returned never gets
// the removed server, with clients connecting all the time.
func TestNoNewConnectionAfterSet(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	both := serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(1))
	onlyA := serviceOn(vip, lvs.RoundRobin, a.with(1))
	quiet := serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(0))
	set(t, r, both)
	var removed atomic.Uint64 // odd while b is out
	var clients sync.WaitGroup
	var met atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := removed.Load()
				name := ask(t, vip)
				if name == "b" {
					met.Add(1)
					if before%2 == 1 && removed.Load() == before {
						t.Error("b was removed and got a new connection")
					}
				}
			}
		})
	}
	for i := range 100 {
		set(t, r, []lvs.Service{onlyA, quiet}[i%2])
		removed.Add(1)
		ask(t, vip)
		removed.Add(1)
		set(t, r, both)
		ask(t, vip)
	}
	close(stop)
	clients.Wait()
	if met.Load() == 0 {
		t.Error("b never got a connection: the test shows nothing")
	}
}

// TestOpeningIsWithdrawn: a connection that waits for a silent server goes to
// another one as soon as the silent one is removed.
func TestOpeningIsWithdrawn(t *testing.T) {
	silent, a := startSilent(t), startReal(t, "a")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	s := serviceOn(vip, lvs.RoundRobin, silent.with(1))
	s.ConnectTimeout = time.Hour
	set(t, r, s)
	c := dial(t, vip)
	eventually(t, "the relay is opening a connection", func() bool { return active(t, r, s.ID, silent) == 1 })
	s.Servers = []lvs.Server{a.with(1), silent.with(0)}
	set(t, r, s)
	got := make([]byte, 2)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "a\n" {
		t.Errorf("got %q, %v; want the greeting of a", got, err)
	}
	if n := active(t, r, s.ID, silent); n != 0 {
		t.Errorf("the silent server has %d connections, want 0", n)
	}
}

// TestSetWaitsForOpenings: Set does not return before a connection that is being
// opened to a removed server has been given up, even if it was accepted.
func TestSetWaitsForOpenings(t *testing.T) {
	for name, servers := range map[string]func(a *realServer) []lvs.Server{
		"removed":  func(*realServer) []lvs.Server { return nil },
		"quiesced": func(a *realServer) []lvs.Server { return []lvs.Server{a.with(0)} },
	} {
		a := startReal(t, "a")
		r := newRelay(t)
		w := serviceOn(lvstest.FreeAddress(t), lvs.RoundRobin, a.with(1))
		set(t, r, w)
		s := r.all()[w.ID]
		o := s.choose(nil)
		upstream, err := o.dial()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			w := w
			w.Servers = servers(a)
			if err := r.Set(t.Context(), lvs.Table{w}); err != nil {
				t.Errorf("Set: %v", err)
			}
			close(done)
		}()
		<-o.ctx.Done()
		select {
		case <-done:
			t.Fatalf("%s: Set returned while a connection was being opened", name)
		case <-time.After(20 * time.Millisecond): // for a wrong Set to return
		}
		if got := s.settle(o, &conn{server: o.server, upstream: upstream.(*net.TCPConn)}); got != withdrawn {
			t.Errorf("%s: outcome %d, want %d", name, got, withdrawn)
		}
		<-done
		if n := active(t, r, w.ID, a); n != 0 {
			t.Errorf("%s: %d connections, want 0", name, n)
		}
	}
}

// startSilent returns a server whose queue of connections is full, so that the
// kernel leaves further ones unanswered.
func startSilent(t *testing.T) *realServer {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := name.(*syscall.SockaddrInet4)
	address := netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
	for range 100 {
		c, err := net.DialTimeout("tcp", address.String(), 200*time.Millisecond)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return &realServer{"silent", address}
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not get full")
	return nil
}

func TestConnectTimeout(t *testing.T) {
	silent, a := startSilent(t), startReal(t, "a")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	s := serviceOn(vip, lvs.RoundRobin, silent.with(1), a.with(1))
	s.ConnectTimeout = 50 * time.Millisecond
	set(t, r, s)
	if got := ask(t, vip); got != "a" {
		t.Errorf("got %q, want a", got)
	}
}

// closedAddress is one that refuses connections.
func closedAddress(t *testing.T) lvs.Server {
	return lvs.Server{Address: lvstest.FreeAddress(t), Weight: 1}
}

func TestRefusedConnectionTriesOneOther(t *testing.T) {
	a := startReal(t, "a")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	refusing := closedAddress(t)
	s := serviceOn(vip, lvs.RoundRobin, refusing, a.with(1))
	set(t, r, s)
	for range 6 {
		if got := ask(t, vip); got != "a" {
			t.Fatalf("got %q, want a", got)
		}
	}
	counts, err := r.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := counts[s.ID][refusing.Address]; n.Failed != 3 || n.Total != 0 || n.Active != 0 {
		t.Errorf("the refusing server has %+v, want 3 failed: the sequence goes on", n)
	}

	s.Servers = []lvs.Server{refusing, closedAddress(t), closedAddress(t)}
	set(t, r, s)
	mustBeTurnedAway(t, vip)
	counts, _ = r.Counts(t.Context())
	failed := uint64(0)
	for _, n := range counts[s.ID] {
		failed += n.Failed
	}
	if failed != 3+2 {
		t.Errorf("%d attempts failed in all, want 5: two for the last client", failed)
	}
}

func TestNoServerResetsAtOnce(t *testing.T) {
	a := startReal(t, "a")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	for _, servers := range [][]lvs.Server{nil, {a.with(0)}} {
		set(t, r, serviceOn(vip, lvs.WeightedLeastConnection, servers...))
		mustBeTurnedAway(t, vip)
	}
}

func TestDrain(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	s := serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(1))
	s.DrainTimeout = 100 * time.Millisecond
	set(t, r, s)
	toA, toB := connect(t, vip), connect(t, vip)

	// a is out for less than its time and returns; b then is out for good.
	s.Servers = []lvs.Server{b.with(1)}
	set(t, r, s)
	toA.echo(t, "draining")
	if n := active(t, r, s.ID, a); n != 1 {
		t.Errorf("the removed server has %d connections, want 1", n)
	}
	s.Servers = []lvs.Server{a.with(1)}
	set(t, r, s)
	toB.echo(t, "draining")
	mustReset(t, toB)
	eventually(t, "the removed server is forgotten", func() bool { return active(t, r, s.ID, b) == 0 })
	// By now the time of a has passed too.
	toA.echo(t, "back")
}

func TestCut(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	s := serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(1))
	s.Drain, s.DrainTimeout = lvs.DrainCut, time.Hour
	set(t, r, s)
	toA, toB := connect(t, vip), connect(t, vip)
	s.Servers = []lvs.Server{b.with(1)}
	set(t, r, s)
	mustReset(t, toA)
	toB.echo(t, "unharmed")
}

func TestQuiesceKeepsConnections(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	vip := lvstest.FreeAddress(t)
	r := newRelay(t)
	s := serviceOn(vip, lvs.RoundRobin, a.with(1), b.with(1))
	s.Drain = lvs.DrainCut // is for removed servers only
	set(t, r, s)
	toA := connect(t, vip)
	s.Servers = []lvs.Server{a.with(0), b.with(1)}
	set(t, r, s)
	if got := ask(t, vip) + ask(t, vip); got != "bb" {
		t.Errorf("new connections: %s, want bb", got)
	}
	toA.echo(t, "still here")
}

func TestServiceLeavesAndReturns(t *testing.T) {
	a := startReal(t, "a")
	vip, other := lvstest.FreeAddress(t), lvstest.FreeAddress(t)
	r := newRelay(t)
	s, o := serviceOn(vip, lvs.RoundRobin, a.with(1)), serviceOn(other, lvs.RoundRobin, a.with(1))
	set(t, r, s, o)
	c := connect(t, vip)
	set(t, r, o)
	if _, err := net.Dial("tcp", vip.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the removed service's port: %v, want %v", err, syscall.ECONNREFUSED)
	}
	c.echo(t, "draining")
	if got := ask(t, other); got != "a" {
		t.Errorf("the other service: %q", got)
	}
	set(t, r, s, o)
	c.echo(t, "back")
	if got := ask(t, vip); got != "a" {
		t.Errorf("the service that came back: %q", got)
	}
	_ = c.Close()
	eventually(t, "all connections have ended", func() bool { return active(t, r, s.ID, a) == 0 })
	set(t, r)
	set(t, r) // the first call may have met a connection at its end
	eventually(t, "nothing is left", func() bool {
		set(t, r)
		counts, err := r.Counts(t.Context())
		return err == nil && len(counts) == 0
	})
}

func TestHalfClose(t *testing.T) {
	t.Run("the client ends first", func(t *testing.T) {
		counter := startRealOn(t, "count", "127.0.0.1:0", func(c *net.TCPConn) {
			all, err := io.ReadAll(c)
			if err == nil {
				_, _ = c.Write(bytes.ToUpper(all))
			}
		})
		vip := lvstest.FreeAddress(t)
		set(t, newRelay(t), serviceOn(vip, lvs.RoundRobin, counter.with(1)))
		c := dial(t, vip)
		_, _ = io.WriteString(c, "question")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "QUESTION" {
			t.Errorf("answer %q, %v; want QUESTION", got, err)
		}
	})
	t.Run("the server ends first", func(t *testing.T) {
		heard := make(chan string, 1)
		talker := startRealOn(t, "talk", "127.0.0.1:0", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "answer")
			_ = c.CloseWrite()
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})
		vip := lvstest.FreeAddress(t)
		set(t, newRelay(t), serviceOn(vip, lvs.RoundRobin, talker.with(1)))
		c := dial(t, vip)
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
			t.Fatalf("answer %q, %v", got, err)
		}
		_, _ = io.WriteString(c, "late question")
		_ = c.CloseWrite()
		if got := <-heard; got != "late question" {
			t.Errorf("the server heard %q, want late question", got)
		}
	})
}

func TestResetIsPassedOn(t *testing.T) {
	t.Run("to the client", func(t *testing.T) {
		s := startRealOn(t, "reset", "127.0.0.1:0", func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		})
		vip := lvstest.FreeAddress(t)
		set(t, newRelay(t), serviceOn(vip, lvs.RoundRobin, s.with(1)))
		c := dial(t, vip)
		_, _ = io.WriteString(c, "x")
		mustReset(t, c)
	})
	t.Run("to the server", func(t *testing.T) {
		ended := make(chan error, 1)
		s := startRealOn(t, "read", "127.0.0.1:0", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello\n")
			_, err := io.Copy(io.Discard, c)
			ended <- err
		})
		vip := lvstest.FreeAddress(t)
		set(t, newRelay(t), serviceOn(vip, lvs.RoundRobin, s.with(1)))
		c := connect(t, vip)
		_ = c.SetLinger(0)
		_ = c.Close()
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server's connection ended with %v, want %v", err, syscall.ECONNRESET)
		}
	})
}

func TestLongTransfer(t *testing.T) {
	a := startRealOn(t, "echo", "127.0.0.1:0", func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	vip := lvstest.FreeAddress(t)
	set(t, newRelay(t), serviceOn(vip, lvs.RoundRobin, a.with(1)))
	c := dial(t, vip)
	const size = 32 << 20
	source := rand.NewChaCha8([32]byte{1})
	sent, got := sha256.New(), sha256.New()
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := io.Copy(c, io.TeeReader(io.LimitReader(source, size), sent)); err != nil {
			t.Errorf("sending: %v", err)
		}
		_ = c.CloseWrite()
	})
	n, err := io.Copy(got, c)
	sending.Wait()
	if n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes came back, %v, equal %t; want %d", n, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)), size)
	}
}

func TestFamilies(t *testing.T) {
	four := startReal(t, "four")
	six := startRealOn(t, "six", "[::1]:0", func(c *net.TCPConn) { _, _ = io.WriteString(c, "six\n") })
	vip4, vip6 := lvstest.FreeAddress(t), lvstest.FreeAddress6(t)
	set(t, newRelay(t),
		serviceOn(vip4, lvs.RoundRobin, four.with(1), six.with(1)),
		serviceOn(vip6, lvs.RoundRobin, four.with(1), six.with(1)))
	for _, vip := range []netip.AddrPort{vip4, vip6} {
		if got := ask(t, vip) + ask(t, vip); got != "foursix" {
			t.Errorf("%s: %s, want foursix", vip, got)
		}
	}
}

// TestWildcards: both families' wildcards stand side by side on one port.
func TestWildcards(t *testing.T) {
	a := startReal(t, "a")
	port := lvstest.FreeAddress6(t).Port()
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	any6 := netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	set(t, newRelay(t), serviceOn(any4, lvs.RoundRobin, a.with(1)), serviceOn(any6, lvs.RoundRobin, a.with(1)))
	for _, host := range []string{"127.9.8.7", "::1"} {
		if got := ask(t, netip.AddrPortFrom(netip.MustParseAddr(host), port)); got != "a" {
			t.Errorf("%s: %q, want a", host, got)
		}
	}
}

func TestPortTaken(t *testing.T) {
	a := startReal(t, "a")
	taken, err := net.Listen("tcp", lvstest.FreeAddress(t).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	vip, free := taken.Addr().(*net.TCPAddr).AddrPort(), lvstest.FreeAddress(t)
	web, mail := serviceOn(vip, lvs.RoundRobin, a.with(1)), serviceOn(free, lvs.RoundRobin, a.with(1))
	web.Name, mail.Name = "web", "mail"
	r := newRelay(t)
	table := lvs.Table{web, mail}
	err = r.Set(t.Context(), table)
	if s, ok := errors.AsType[*lvs.ServiceError](err); !ok || s.Virtual != "web" || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Set: %v, want a ServiceError of web: %v", err, syscall.EADDRINUSE)
	}
	if want := `virtual "web": listen tcp4 ` + vip.String() + ": bind: address already in use"; err.Error() != want {
		t.Errorf("Set: %q, want %q", err, want)
	}
	if got := ask(t, free); got != "a" {
		t.Errorf("the other service: %q, want a", got)
	}
	_ = taken.Close()
	set(t, r, table...)
	if got := ask(t, vip); got != "a" {
		t.Errorf("after the port was freed: %q, want a", got)
	}
}

// TestPortMovesBetweenServices: a port is freed before it is taken.
func TestPortMovesBetweenServices(t *testing.T) {
	a := startReal(t, "a")
	r := newRelay(t)
	port := lvstest.FreeAddress6(t).Port()
	for range 3 {
		for _, host := range []string{"127.5.5.5", "0.0.0.0"} {
			set(t, r, serviceOn(netip.AddrPortFrom(netip.MustParseAddr(host), port), lvs.RoundRobin, a.with(1)))
			if got := ask(t, netip.AddrPortFrom(netip.MustParseAddr("127.5.5.5"), port)); got != "a" {
				t.Errorf("%s: %q, want a", host, got)
			}
		}
	}
}

// TestAcceptBacksOff: errors of accept are told, at a falling rate, and the
// service goes on afterwards. A deadline in the past stands for EMFILE.
func TestAcceptBacksOff(t *testing.T) {
	a := startReal(t, "a")
	vip := lvstest.FreeAddress(t)
	told := make(chan error, 1000)
	r := New(func(err error) { told <- err })
	defer func() { _ = r.Close() }()
	s := serviceOn(vip, lvs.RoundRobin, a.with(1))
	set(t, r, s)
	l := r.all()[s.ID].listener
	began := time.Now()
	_ = l.SetDeadline(time.Unix(1, 0))
	for range 5 {
		if err := <-told; !strings.Contains(err.Error(), vip.String()) {
			t.Errorf("told %q, which does not name %s", err, vip)
		}
	}
	if took := time.Since(began); took < 75*time.Millisecond {
		t.Errorf("five errors within %s, want pauses of 5, 10, 20 and 40 ms", took)
	}
	_ = l.SetDeadline(time.Time{})
	if got := ask(t, vip); got != "a" {
		t.Errorf("afterwards: %q, want a", got)
	}
}

func TestCloseDuringBackOff(t *testing.T) {
	told := make(chan error, 1000)
	r := New(func(err error) { told <- err })
	s := serviceOn(lvstest.FreeAddress(t), lvs.RoundRobin)
	set(t, r, s)
	_ = r.all()[s.ID].listener.SetDeadline(time.Unix(1, 0))
	if err := <-told; err == nil {
		t.Error("told of nothing")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestThousandConnections: they all work at once, and nothing is left after.
func TestThousandConnections(t *testing.T) {
	a, b := startReal(t, "a"), startReal(t, "b")
	before := goleak.IgnoreCurrent()
	vip := lvstest.FreeAddress(t)
	r := New(nil)
	s := serviceOn(vip, lvs.WeightedLeastConnection, a.with(1), b.with(1))
	set(t, r, s)
	var clients []*client
	for range 1000 {
		clients = append(clients, connect(t, vip))
	}
	for _, c := range clients {
		c.echo(t, "hello")
	}
	if na, nb := active(t, r, s.ID, a), active(t, r, s.ID, b); na != 500 || nb != 500 {
		t.Errorf("%d and %d connections, want 500 each", na, nb)
	}
	for _, c := range clients[:500] {
		_ = c.Close()
	}
	eventually(t, "half of the connections have ended", func() bool {
		return active(t, r, s.ID, a)+active(t, r, s.ID, b) == 500
	})
	if err := r.Close(); err != nil { // with the other half
		t.Error(err)
	}
	mustReset(t, clients[999])
	for _, c := range clients {
		_ = c.Close()
	}
	// The real servers' goroutines end with their connections, a little later.
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// TestCloseWhileBusy: Close ends with clients connecting and tables changing.
func TestCloseWhileBusy(t *testing.T) {
	a, silent := startReal(t, "a"), startSilent(t)
	vip := lvstest.FreeAddress(t)
	r := New(nil)
	s := serviceOn(vip, lvs.RoundRobin, a.with(1), silent.with(1))
	s.ConnectTimeout = time.Hour
	set(t, r, s)
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for ctx.Err() == nil {
				if c, err := net.Dial("tcp", vip.String()); err == nil {
					defer func() { _ = c.Close() }()
				}
			}
		})
	}
	busy.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s.Servers = []lvs.Server{a.with(i % 2), silent.with(1)}
			if err := r.Set(ctx, lvs.Table{s}); err != nil && !errors.Is(err, lvs.ErrClosed) && !errors.Is(err, context.Canceled) {
				t.Errorf("Set: %v", err)
			}
		}
	})
	eventually(t, "connections wait for the silent server", func() bool { return active(t, r, s.ID, silent) > 20 })
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("Close does not end")
	}
	stop()
	busy.Wait()
}
