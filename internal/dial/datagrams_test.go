package dial_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/monitors"
)

func open(t *testing.T, d *dial.Dialer, entry string, took *monitors.Timings) *dial.Datagrams {
	t.Helper()
	conn, err := d.Datagrams(netip.MustParseAddrPort(entry), took)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func is(text string) func([]byte) bool {
	return func(answer []byte) bool { return string(answer) == text }
}

// TestExchangeRepeats: what is lost is sent again, until the answer comes; other
// datagrams are passed over.
func TestExchangeRepeats(t *testing.T) {
	for _, address := range dialtest.Loopbacks() {
		t.Run(address, func(t *testing.T) {
			came := 0
			entry := dialtest.ServeDatagrams(t, address, func(packet []byte) [][]byte {
				if came++; came < 3 {
					return nil
				}
				return [][]byte{[]byte("stray"), nil, append([]byte("re "), packet...)}
			})
			var took monitors.Timings
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := open(t, newDialer(t, "", ""), entry, &took).Exchange(ctx, []byte("hello"), 20*time.Millisecond, is("re hello")); err != nil {
				t.Fatal(err)
			}
			if took.FirstByte < 40*time.Millisecond || took.Sum() != took.FirstByte {
				t.Errorf("took %s, want the first byte after two intervals", took)
			}
		})
	}
}

func TestExchangeFails(t *testing.T) {
	flood := make([][]byte, 2000)
	for _, c := range []struct {
		name  string
		entry func(address string) string
		want  string
	}{
		{"refused", func(a string) string { return dialtest.RefusedDatagrams(t, a) }, "connection refused"},
		{"flood", func(a string) string {
			return dialtest.ServeDatagrams(t, a, func([]byte) [][]byte { return flood })
		}, "1000 datagrams came, and none was the answer"},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				entry := c.entry(address)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := open(t, newDialer(t, "", ""), entry, new(monitors.Timings)).Exchange(ctx, nil, 50*time.Millisecond, is("x"))
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), entry) || errors.Is(err, monitors.ErrUntested) {
					t.Errorf("got %v, want %s: %s", err, entry, c.want)
				}
			})
		}
	}
}

// TestExchangeEndsWithContext: whether ctx is done before, or while it waits.
func TestExchangeEndsWithContext(t *testing.T) {
	asked := make(chan struct{}, 100)
	entry := dialtest.ServeDatagrams(t, "127.0.0.1", func([]byte) [][]byte { asked <- struct{}{}; return nil })
	conn := open(t, newDialer(t, "", ""), entry, new(monitors.Timings))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- conn.Exchange(ctx, nil, time.Hour, is("x")) }()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("while it waits: got %v", err)
	}
	if err := conn.Exchange(ctx, nil, time.Hour, is("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("before: got %v", err)
	}
}

// TestStranger: an answer from another port is none.
func TestStranger(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	host, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, from, err := host.ReadFrom(make([]byte, 10))
		if err != nil {
			return
		}
		_, _ = other.WriteTo([]byte("forged"), from) // The next one is the proof.
		_, _ = host.WriteTo([]byte("genuine"), from)
	}()
	var got []string
	err = open(t, newDialer(t, "", ""), host.LocalAddr().String(), new(monitors.Timings)).Exchange(t.Context(), []byte("x"), time.Hour, func(answer []byte) bool {
		got = append(got, string(answer))
		return string(answer) == "genuine"
	})
	<-done
	if err != nil || len(got) != 1 {
		t.Errorf("got %q, %v, want the genuine answer only", got, err)
	}
}

func TestDatagramsFromSource(t *testing.T) {
	if conn, err := newDialer(t, "192.0.2.1", "").Datagrams(netip.MustParseAddrPort("127.0.0.1:9"), new(monitors.Timings)); err == nil {
		conn.Close()
		t.Error("sending from an address that is not ours: got no error")
	} else if !errors.Is(err, monitors.ErrUntested) || !strings.Contains(err.Error(), "source address 192.0.2.1") {
		t.Errorf("sending from an address that is not ours: got %v", err)
	}
}

// TestEach: every address is tried until one is good, and one verdict is enough.
func TestEach(t *testing.T) {
	refused := dial.Verdict(syscall.ECONNREFUSED)
	local := monitors.Untested(syscall.ENETUNREACH)
	for _, c := range []struct {
		name     string
		answers  []error
		untested bool
		err      error
	}{
		{"first", []error{nil}, false, nil},
		{"second", []error{refused, nil}, false, nil},
		{"all refuse", []error{refused, refused}, false, syscall.ECONNREFUSED},
		{"one untested", []error{refused, local}, false, syscall.ECONNREFUSED},
		{"all untested", []error{local, local}, true, syscall.ENETUNREACH},
	} {
		d := newDialer(t, "", "4")
		d.NameServer = dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1", "127.0.0.2")
		var took monitors.Timings
		tried := 0
		err := d.Each(t.Context(), target(t, "web.example.:53"), &took, func(to netip.AddrPort, left int) error {
			if tried++; left != 3-tried || to.Port() != 53 {
				t.Errorf("%s: try %d of %s has %d left", c.name, tried, to, left)
			}
			return c.answers[tried-1]
		})
		if !errors.Is(err, c.err) || errors.Is(err, monitors.ErrUntested) != c.untested || tried != len(c.answers) {
			t.Errorf("%s: got %v after %d tries", c.name, err, tried)
		}
		if took.Resolve <= 0 {
			t.Errorf("%s: the lookup took %s", c.name, took.Resolve)
		}
	}
	d := newDialer(t, "", "")
	d.NameServer = dialtest.NameServer(t, dialtest.NoSuchName)
	err := d.Each(t.Context(), target(t, "web.example.:53"), new(monitors.Timings), func(netip.AddrPort, int) error { return nil })
	if !errors.Is(err, monitors.ErrUntested) {
		t.Errorf("no such name: got %v", err)
	}
}
