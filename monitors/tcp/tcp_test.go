package tcp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// defaults are those of the registered kind.
func defaults(t testing.TB) config {
	t.Helper()
	c, ok := monitors.Defaults("tcp").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	return *c
}

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c := defaults(t)
	if change != nil {
		change(&c)
	}
	return c
}

// A probe is a configuration, parsed.
type probe struct {
	caller *dialogue.Caller
	talk   dialogue.Talk
}

// check tests one host.
func check(t *testing.T, p *probe, host string) monitors.HostResult {
	t.Helper()
	r, err := p.caller.Monitor(p.talk).Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

func mustProbe(t *testing.T, c config) *probe {
	t.Helper()
	caller, talk, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	return &probe{caller, talk}
}

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			m, err := build(configured(t, func(c *config) { c.Expect, c.Timeout = "220", monitors.Duration(time.Minute) }), monitors.Site{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Say("220 ready\r\n")) },
		Down:   func(t testing.TB) string { return dialtest.Refused(t, "127.0.0.1") },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

// echo answers each line with "got " and the line.
func echo(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		_, _ = io.WriteString(conn, "got "+lines.Text()+"\n")
	}
}

// drip sends text byte by byte, each in a segment of its own, and then hangs.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := range len(text) {
			_, _ = io.WriteString(conn, text[i:i+1])
		}
		dialtest.Hang(conn)
	}
}

// halfClose sends text and its FIN, and goes on reading.
func halfClose(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		if half, ok := conn.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		dialtest.Hang(conn)
	}
}

func TestHosts(t *testing.T) {
	soon := monitors.Duration(300 * time.Millisecond)
	for _, c := range []struct {
		name   string
		handle func(net.Conn) // nil: the port refuses
		change func(*config)
		reason string // part of it; empty for up
	}{
		{name: "connect only", handle: dialtest.Hang},
		{name: "connect only, closed at once", handle: dialtest.Say("")},
		{name: "refused", reason: "connection refused"},
		{name: "text", handle: dialtest.SayAndHang("220 mail ESMTP\r\n"), change: func(c *config) { c.Expect = "220 " }},
		{name: "text and the end", handle: dialtest.Say("220 mail ESMTP\r\n"), change: func(c *config) { c.Expect = "ESMTP" }},
		{name: "regular expression", handle: dialtest.SayAndHang("220 mail ESMTP\r\n"), change: func(c *config) { c.ExpectRegexp = "^220 .*SMTP" }},
		{name: "dripping", handle: drip("220 mail ESMTP\r\n"), change: func(c *config) { c.ExpectRegexp = "^220 .*SMTP" }},
		{name: "half closed", handle: halfClose("220 mail"), change: func(c *config) { c.Expect = "mail" }},
		{name: "answer", handle: echo, change: func(c *config) { c.Send, c.Expect = "PING\r\n", "got PING" }},
		{name: "sent, nothing expected", handle: echo, change: func(c *config) { c.Send = "PING\r\n" }},
		{
			name: "another answer", handle: echo, change: func(c *config) { c.Send, c.Expect, c.Timeout = "PING\n", "+PONG", soon },
			reason: `text sent, but no "+PONG" within 300ms; received "got PING\n"`,
		},
		{
			name: "silent", handle: dialtest.Hang, change: func(c *config) { c.Expect, c.Timeout = "220", soon },
			reason: `connected, but no "220" within 300ms; nothing was received`,
		},
		{
			name: "closed", handle: dialtest.Say(""), change: func(c *config) { c.Expect = "220" },
			reason: `connected, but no "220": the connection was closed; nothing was received`,
		},
		{
			name: "half closed without the text", handle: halfClose("421 busy"), change: func(c *config) { c.ExpectRegexp = "^220" },
			reason: `connected, but no match of "^220": the connection was closed; received "421 busy"`,
		},
		{
			name: "reset", handle: dialtest.Reset, change: func(c *config) { c.Expect = "220" },
			reason: `connection reset by peer`,
		},
		{
			name: "flood", handle: dialtest.Flood, change: func(c *config) { c.Expect, c.MaxBytes = "220", 1000 },
			reason: `connected, but no "220" in the first 1000 bytes; received ..."xxx`,
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				host := dialtest.Refused(t, address)
				if c.handle != nil {
					host = dialtest.Serve(t, address, c.handle)
				}
				verify(t, check(t, mustProbe(t, configured(t, c.change)), host), c.reason)
			})
		}
	}
}

// TestDeaf: a host that accepts and reads nothing.
func TestDeaf(t *testing.T) {
	stop := make(chan struct{})
	host := dialtest.Serve(t, "127.0.0.1", func(net.Conn) { <-stop })
	defer close(stop)
	p := mustProbe(t, configured(t, func(c *config) {
		c.Send, c.Timeout = strings.Repeat("x", 32<<20), monitors.Duration(300*time.Millisecond)
	}))
	verify(t, check(t, p, host), "connected, but the text could not be sent within 300ms")
}

// verify compares a result with up, or down for a reason.
func verify(t *testing.T, got monitors.HostResult, reason string) {
	t.Helper()
	want := monitors.Down
	if reason == "" {
		want = monitors.Up
	}
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
}

// TestPort: the entry's own port comes first, and then the key's.
func TestPort(t *testing.T) {
	entry := dialtest.Serve(t, "127.0.0.1", dialtest.Hang)
	_, port, _ := net.SplitHostPort(entry)
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, check(t, mustProbe(t, configured(t, func(c *config) { c.Port = n })), "127.0.0.1"), "")
	verify(t, check(t, mustProbe(t, configured(t, func(c *config) { c.Port = 1 })), entry), "")
	got := check(t, mustProbe(t, configured(t, nil)), "127.0.0.1")
	if got.Verdict != monitors.Unknown || !strings.Contains(got.Reason, "has no port") {
		t.Errorf("no port at all: got %s, %q, want unknown", got.Verdict, got.Reason)
	}
}

func TestUntested(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		host   string
		dns    dialtest.Answer
		reason string
	}{
		{"name server fails", nil, "web.example.:80", dialtest.ServerFailure, "lookup web.example."},
		{"name server is mute", nil, "web.example.:80", dialtest.Mute, "lookup web.example."},
		{"no such name", nil, "web.example.:80", dialtest.NoSuchName, "lookup web.example."},
		{"source is not ours", func(c *config) { c.Source = "192.0.2.1" }, "127.0.0.1:80", dialtest.Mute, "source address 192.0.2.1"},
		{"malformed host", nil, "http://web/", dialtest.Mute, "neither name:port nor an IPv6 address"},
		{"wrong family", func(c *config) { c.IP = "4" }, "[::1]:80", dialtest.Mute, "::1 is not an IPv4 address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := configured(t, c.change)
			conf.Timeout = monitors.Duration(time.Second)
			p := mustProbe(t, conf)
			p.caller.Resolver(dialtest.NameServer(t, c.dns))
			if got := check(t, p, c.host); got.Verdict != monitors.Unknown || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %s, %q, want unknown, %q", got.Verdict, got.Reason, c.reason)
			}
		})
	}
}

// TestRunEnds: what was not decided by the run's deadline is unknown.
func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	hosts := []string{
		dialtest.Serve(t, "127.0.0.1", dialtest.Hang), dialtest.Dropped(t, "127.0.0.1"),
	}
	m, err := build(configured(t, func(c *config) { c.Expect = "220" }), monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Check(ctx, monitors.Request{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts {
		if h.Verdict != monitors.Unknown {
			t.Errorf("%s is %s (%s), want unknown", h.Host, h.Verdict, h.Reason)
		}
	}
}

func TestTLS(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	day := 24 * time.Hour
	named := authority.Issue(t, 30*day, "www.example.org")
	addressed := authority.Issue(t, 30*day, "127.0.0.1", "::1")
	expired := authority.Issue(t, -day, "127.0.0.1", "::1")
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		handle func(net.Conn) // without TLS, instead of cert
		change func(*config)
		reason string
	}{
		{name: "host's address", cert: addressed},
		{name: "server_name", cert: named, change: func(c *config) { c.ServerName = "www.example.org" }},
		{name: "wrong name", cert: named, reason: "connected, but the TLS handshake failed: tls: failed to verify certificate: x509: "},
		{name: "expired", cert: expired, reason: "certificate has expired"},
		{name: "not verified", cert: expired, change: func(c *config) { c.Verify, c.CAFile = false, "" }},
		{name: "few days left", cert: addressed, change: func(c *config) { c.CertificateDays = 60 }, reason: "connected, but the certificate expires on "},
		{name: "the text inside", cert: addressed, change: func(c *config) { c.Expect = "* OK" }},
		{name: "another text inside", cert: addressed, change: func(c *config) { c.Expect = "220" }, reason: `connected, but no "220": the connection was closed; received "* OK IMAP`},
		{name: "no TLS", handle: dialtest.SayAndHang("220 mail\r\n"), reason: "does not look like a TLS handshake"},
		{
			name: "no handshake", handle: dialtest.Hang, change: func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) },
			reason: "connected, but the TLS handshake was not finished within 300ms",
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				handle := c.handle
				if handle == nil {
					handle = dialtest.Secure(&tls.Config{Certificates: []tls.Certificate{c.cert}}, dialtest.Say("* OK IMAP\r\n"))
				}
				conf := configured(t, func(conf *config) {
					conf.TLS, conf.CAFile = true, authority.File
					if c.change != nil {
						c.change(conf)
					}
				})
				verify(t, check(t, mustProbe(t, conf), dialtest.Serve(t, address, handle)), c.reason)
			})
		}
	}
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		p := mustProbe(t, configured(t, func(c *config) {
			c.Send, c.Expect, c.Timeout = "PING\r\n", "+PONG", monitors.Duration(timeout)
		}))
		return p.caller.Monitor(p.talk)
	})
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"port", func(c *config) { c.Port = 65536 }, "1 to 65535"},
		{"port", func(c *config) { c.Port = -1 }, "1 to 65535"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"max_bytes", func(c *config) { c.MaxBytes = 0 }, "1 to 1048576"},
		{"max_bytes", func(c *config) { c.MaxBytes = 2 << 20 }, "1 to 1048576"},
		{"max_bytes", func(c *config) { c.Expect, c.MaxBytes = "hello", 4 }, "less than the 5 bytes"},
		{"expect_regexp", func(c *config) { c.Expect, c.ExpectRegexp = "a", "a" }, "alternative to expect"},
		{"expect_regexp", func(c *config) { c.ExpectRegexp = "(" }, "RE2"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"source", func(c *config) { c.Source = "eth0" }, "no address of this machine"},
		{"ca_file", func(c *config) { c.CAFile = "/x" }, "add tls = true"},
		{"verify", func(c *config) { c.Verify = false }, "add tls = true"},
		{"ca_file", func(c *config) { c.TLS, c.CAFile = true, "/nonexistent/ca.pem" }, "no such file"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
	if _, err := build(defaults(t), monitors.Site{}); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
