package udp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("udp").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustProbe(t testing.TB, change func(*config)) *probe {
	t.Helper()
	p, err := newProbe(configured(t, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func check(t *testing.T, p *probe, host string) monitors.HostResult {
	t.Helper()
	r, err := monitors.EachHost(p.Limit, p.Timeout.Std(), p.test).Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

func verify(t *testing.T, got monitors.HostResult, want monitors.Verdict, reason string) {
	t.Helper()
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
}

// echo answers with "got " and the packet.
func echo(packet []byte) [][]byte { return [][]byte{append([]byte("got "), packet...)} }

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			m, err := build(configured(t, func(c *config) {
				c.Send, c.Expect, c.Timeout = "ping", "got ping", monitors.Duration(time.Minute)
			}), monitors.Site{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Up:     func(t testing.TB) string { return dialtest.ServeDatagrams(t, "127.0.0.1", echo) },
		Down:   func(t testing.TB) string { return dialtest.RefusedDatagrams(t, "127.0.0.1") },
		Silent: func(t testing.TB) string { return dialtest.ServeDatagrams(t, "127.0.0.1", dialtest.Ignore) },
	})
}

// TestConformanceKnock: with nothing to expect.
func TestConformanceKnock(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			m, err := build(configured(t, nil), monitors.Site{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Up:     func(t testing.TB) string { return dialtest.ServeDatagrams(t, "::1", echo) },
		Down:   func(t testing.TB) string { return dialtest.RefusedDatagrams(t, "::1") },
		Silent: func(t testing.TB) string { return dialtest.ServeDatagrams(t, "::1", dialtest.Ignore) },
	})
}

func TestHosts(t *testing.T) {
	soon := monitors.Duration(400 * time.Millisecond)
	const up, down = monitors.Up, monitors.Down
	for _, c := range []struct {
		name   string
		handle func([]byte) [][]byte // nil: the port is unreachable
		change func(*config)
		want   monitors.Verdict
		reason string
	}{
		{"text", echo, func(c *config) { c.Send, c.Expect = "hello", "got hello" }, up, ""},
		{"empty datagram", echo, func(c *config) { c.ExpectRegexp = "^got $" }, up, ""},
		{"bytes", echo, func(c *config) { c.SendHex, c.Send, c.ExpectHex = "00 FF\n0a", "x", "2000ff 0a78" }, up, ""},
		{"any answer", func([]byte) [][]byte { return [][]byte{{}} }, func(c *config) { c.ExpectRegexp = ".*" }, up, ""},
		{"after others", func([]byte) [][]byte { return [][]byte{[]byte("late"), []byte("right")} }, func(c *config) { c.Expect = "right" }, up, ""},
		{"nothing expected, answered", echo, nil, up, ""},
		{"nothing expected, silent", dialtest.Ignore, func(c *config) { c.Timeout = soon }, up, ""},
		{"nothing expected, refused", nil, nil, down, "connection refused"},
		{"refused", nil, func(c *config) { c.Expect = "x" }, down, "connection refused; nothing was received"},
		{"silent", dialtest.Ignore, func(c *config) { c.Expect, c.Timeout = "x", soon }, down, `no "x" within the timeout; nothing was received`},
		{"silent, bytes", dialtest.Ignore, func(c *config) { c.ExpectHex, c.Timeout = "0 a", soon }, down, `no bytes 0a within the timeout`},
		{
			"another answer", echo, func(c *config) { c.Send, c.ExpectRegexp, c.Timeout = "hello", "^pong", soon }, down,
			`no match of "^pong" within the timeout; received "got hello"`,
		},
		{
			"large", func([]byte) [][]byte { return [][]byte{bytes.Repeat([]byte("x"), 60000)} },
			func(c *config) { c.Expect, c.Timeout = "y", soon }, down, `received ..."xxx`,
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				host := dialtest.RefusedDatagrams(t, address)
				if c.handle != nil {
					host = dialtest.ServeDatagrams(t, address, c.handle)
				}
				verify(t, check(t, mustProbe(t, c.change), host), c.want, c.reason)
			})
		}
	}
}

// TestSecondAddress: one address of a name that is up is enough, also if the first
// is silent for its share of the time.
func TestSecondAddress(t *testing.T) {
	entry := dialtest.ServeDatagrams(t, "127.0.0.2", echo)
	_, port, _ := net.SplitHostPort(entry)
	silent, err := net.ListenPacket("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	p := mustProbe(t, func(c *config) { c.Expect, c.Timeout = "got", monitors.Duration(time.Second) })
	p.dialer.NameServer = dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1", "127.0.0.2")
	got := check(t, p, "game.example.:"+port)
	verify(t, got, monitors.Up, "")
	if got.Timings.Resolve <= 0 || got.Timings.FirstByte <= 0 || got.Timings.Connect != 0 {
		t.Errorf("timings %+v, want a lookup and a first byte", got.Timings)
	}
}

// TestListenedTooShort: silence says nothing if nobody listened long enough.
func TestListenedTooShort(t *testing.T) {
	entry := dialtest.ServeDatagrams(t, "127.0.0.1", dialtest.Ignore)
	p := mustProbe(t, func(c *config) { c.Timeout = monitors.Duration(time.Hour) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.test(ctx, entry, new(monitors.Timings)); !errors.Is(err, monitors.ErrUntested) {
		t.Errorf("got %v, want untested", err)
	}
}

func TestUntested(t *testing.T) {
	p := mustProbe(t, func(c *config) { c.Timeout = monitors.Duration(time.Second) })
	p.dialer.NameServer = dialtest.NameServer(t, dialtest.ServerFailure)
	verify(t, check(t, p, "game.example.:1"), monitors.Unknown, "lookup game.example.")
	verify(t, check(t, p, "127.0.0.1"), monitors.Unknown, "has no port")
	verify(t, check(t, mustProbe(t, func(c *config) { c.Source = "192.0.2.1" }), "127.0.0.1:9"), monitors.Unknown, "source address")
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"port", func(c *config) { c.Port = 65536 }, "1 to 65535"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"send", func(c *config) { c.Send = strings.Repeat("x", 65508) }, "room for 65507"},
		{"send_hex", func(c *config) { c.SendHex = strings.Repeat("00", 65508) }, "room for 65507"},
		{"send_hex", func(c *config) { c.SendHex = "0x0a" }, "two digits for each byte"},
		{"expect_hex", func(c *config) { c.ExpectHex = "0" }, "two digits for each byte"},
		{"expect_hex", func(c *config) { c.Expect, c.ExpectHex = "a", "0a" }, "alternative to expect"},
		{"expect_regexp", func(c *config) { c.ExpectHex, c.ExpectRegexp = "0a", "a" }, "alternative to expect_hex"},
		{"expect_regexp", func(c *config) { c.ExpectRegexp = "(" }, "RE2"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
}
