package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(change func(*Config)) (alerts.Alert, error) {
	return alerts.Build("syslog", alerts.Site{Hostname: "dr1.example.org"}, func(into any) error {
		change(into.(*Config))
		return nil
	})
}

func newAlert(t testing.TB, change func(*Config)) alerts.Alert {
	t.Helper()
	a, err := configured(change)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// socketFolder has a path that is short enough for a socket's.
func socketFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "syslog") //nolint:usetesting // t.TempDir is too long for a socket, unix(7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// datagrams receives datagrams, of this machine or by UDP, into a channel.
func datagrams(t testing.TB, network, address string) (at string, got chan string) {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	got, done := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 65536)
		for {
			n, _, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			got <- string(packet[:n])
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().String(), got
}

// counted reads messages with octet counting into a channel.
func counted(got chan string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			length, err := in.ReadString(' ')
			if err != nil {
				return
			}
			n, err := strconv.Atoi(strings.TrimSpace(length))
			if err != nil || n > 1<<20 {
				got <- "bad frame " + length
				return
			}
			message := make([]byte, n)
			if _, err := io.ReadFull(in, message); err != nil {
				got <- "short frame"
				return
			}
			got <- string(message)
		}
	}
}

// A way is one of the ways to a syslog: a receiver, and the configuration that leads
// there.
type way struct {
	name   string
	open   func(t testing.TB) (func(*Config), chan string)
	broken func(t testing.TB) func(*Config)
	mute   func(t testing.TB) func(*Config)
}

func ways() []way {
	return []way{
		{
			"local datagrams",
			func(t testing.TB) (func(*Config), chan string) {
				at, got := datagrams(t, "unixgram", filepath.Join(socketFolder(t), "log"))
				return func(c *Config) { c.Socket = at }, got
			},
			func(t testing.TB) func(*Config) {
				return func(c *Config) { c.Socket = filepath.Join(socketFolder(t), "nothing") }
			},
			fullSocket,
		},
		{"local stream", localStream, abandoned, nil},
		{"udp", udp("127.0.0.1:0"), nil, nil},
		{"udp IPv6", udp("[::1]:0"), nil, nil},
		{
			"tcp",
			func(t testing.TB) (func(*Config), chan string) {
				got := make(chan string, 1000)
				at := dialtest.Serve(t, "127.0.0.1", counted(got))
				return func(c *Config) { c.Server, c.Transport = at, "tcp" }, got
			},
			func(t testing.TB) func(*Config) {
				return func(c *Config) { c.Server, c.Transport = dialtest.Refused(t, "127.0.0.1"), "tcp" }
			},
			func(t testing.TB) func(*Config) {
				return func(c *Config) { c.Server, c.Transport = dialtest.Dropped(t, "127.0.0.1"), "tcp" }
			},
		},
		{"tls", overTLS, notTLS, func(t testing.TB) func(*Config) {
			at := dialtest.Serve(t, "::1", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
			return func(c *Config) { c.Server, c.Transport, c.Timeout = at, "tls", alerts.Duration(time.Minute) }
		}},
	}
}

func udp(address string) func(t testing.TB) (func(*Config), chan string) {
	return func(t testing.TB) (func(*Config), chan string) {
		at, got := datagrams(t, "udp", address)
		return func(c *Config) { c.Server = at }, got
	}
}

func localStream(t testing.TB) (func(*Config), chan string) {
	path := filepath.Join(socketFolder(t), "log")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got, done := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			for lines := bufio.NewScanner(c); lines.Scan(); {
				got <- lines.Text()
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return func(c *Config) { c.Socket = path }, got
}

// fullSocket is a local socket that nobody reads, filled up.
func fullSocket(t testing.TB) func(*Config) {
	path := filepath.Join(socketFolder(t), "log")
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	// One client may be at the end of its own buffer first (the kernel's max_dgram_qlen is 10,
	// systemd makes it 512): it is full when a new one cannot write at all.
	for written := 1; written > 0; {
		written = fill(t, path)
	}
	return func(c *Config) { c.Socket, c.Timeout = path, alerts.Duration(time.Minute) }
}

// fill has a new client write to a socket until it has to wait, and tells how often it did.
func fill(t testing.TB, path string) (written int) {
	client, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := client.Write([]byte("x")); err != nil {
			return written
		}
		written++
	}
}

// abandoned is the socket of a server that listened for a stream and was killed.
func abandoned(t testing.TB) func(*Config) {
	path := filepath.Join(socketFolder(t), "log")
	server, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server.SetUnlinkOnClose(false)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Socket = path }
}

func overTLS(t testing.TB) (func(*Config), chan string) {
	ca := dialtest.NewAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, time.Hour, "127.0.0.1", "logs.example.org")}}
	got := make(chan string, 1000)
	at := dialtest.Serve(t, "127.0.0.1", dialtest.Secure(config, counted(got)))
	return func(c *Config) { c.Server, c.Transport, c.CAFile = at, "tls", ca.File }, got
}

func notTLS(t testing.TB) func(*Config) {
	at := dialtest.Serve(t, "127.0.0.1", func(c net.Conn) { _, _ = io.WriteString(c, "220 ready\r\n") })
	return func(c *Config) { c.Server, c.Transport = at, "tls" }
}

func TestConformance(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			with := func(change func(t testing.TB) func(*Config)) func(t testing.TB) alerts.Alert {
				if change == nil {
					return nil
				}
				return func(t testing.TB) alerts.Alert {
					change := change(t)
					return newAlert(t, func(c *Config) {
						c.Timeout = alerts.Duration(time.Minute)
						change(c)
					})
				}
			}
			alerttest.Run(t, alerttest.Subject{
				New: with(func(t testing.TB) func(*Config) {
					change, got := w.open(t)
					go drain(t.Context(), got)
					return change
				}),
				Broken: with(w.broken), Blocked: with(w.mute),
				NeverFails: "a datagram is gone, whether somebody takes it or not",
				NeverWaits: "the kernel takes a message of this size at once, whether somebody reads it or not",
			})
		})
	}
}

// drain takes messages that nobody looks at.
func drain(ctx context.Context, got chan string) {
	for {
		select {
		case <-got:
		case <-ctx.Done():
			return
		}
	}
}

func failure() alerts.Event {
	at := time.Date(2024, 2, 29, 12, 1, 0, 0, time.UTC)
	return alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Time: at, Summary: "web2", Reason: "failure 3 of alertafter 3", FirstFailure: at,
		Hosts: []alerts.Host{
			{Name: "web1", State: alerts.HostUp},
			{Name: "web2", State: alerts.HostDown, Since: at.Add(-time.Minute), Reason: "connection\nrefused", Concerned: true},
		},
	}
}

const text = "DOWN web:http: web2 (1 of 2); web2 down since 12:00:00 (1m): connection refused; why: failure 3 of alertafter 3"

func TestEachWay(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			change, got := w.open(t)
			if err := newAlert(t, change).Send(t.Context(), failure()); err != nil {
				t.Fatal(err)
			}
			line := <-got
			want := fmt.Sprintf("<26>1 2024-02-29T12:01:00.000000Z dr1.example.org monitord %d failure - %s", os.Getpid(), text)
			if strings.HasPrefix(w.name, "local") {
				want = fmt.Sprintf("<26>%s monitord[%d]: %s", failure().Time.Local().Format(time.Stamp), os.Getpid(), text)
			}
			if line != want {
				t.Errorf("got  %s\nwant %s", line, want)
			}
		})
	}
}

func TestSeverities(t *testing.T) {
	at, got := datagrams(t, "udp", "127.0.0.1:0")
	for kind, want := range map[alerts.Kind]uint8{
		alerts.Failure: 2, alerts.Trap: 2, alerts.TrapTimeout: 2, alerts.Up: 5, alerts.Startup: 5, alerts.Ack: 5, alerts.Disable: 5, alerts.Test: 6,
	} {
		e := failure()
		e.Kind = kind
		a := newAlert(t, func(c *Config) { c.Server, c.Facility, c.Tag = at, "local3", "mon" })
		if err := a.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		parsed, err := rfc5424.NewParser().Parse([]byte(<-got))
		if err != nil {
			t.Fatal(err)
		}
		m := parsed.(*rfc5424.SyslogMessage)
		if *m.Severity != want || *m.Facility != 19 || *m.MsgID != kind.String() || *m.Appname != "mon" {
			t.Errorf("%s: severity %d, facility %d, %s of %s", kind, *m.Severity, *m.Facility, *m.MsgID, *m.Appname)
		}
	}
	if err := newAlert(t, func(c *Config) { c.Server, c.Severity, c.Format = at, "alert", "rfc3164" }).Send(t.Context(), failure()); err != nil {
		t.Fatal(err)
	}
	if line := <-got; !strings.HasPrefix(line, "<25>Feb 29 ") || !strings.Contains(line, " dr1 monitord[") {
		t.Errorf("rfc3164: %s", line)
	}
}

// A line about a thousand hosts with an endless output still fits a datagram.
func TestLongLinesAreCut(t *testing.T) {
	at, got := datagrams(t, "udp", "127.0.0.1:0")
	e := failure()
	for i := range 1000 {
		e.Hosts = append(e.Hosts, alerts.Host{Name: fmt.Sprintf("wéb%d", i), State: alerts.HostDown, Reason: strings.Repeat("é", 1000), Concerned: true})
	}
	for format, limit := range map[string]int{"rfc5424": 2048, "rfc3164": 1024} {
		if err := newAlert(t, func(c *Config) { c.Server, c.Format = at, format }).Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if line := <-got; len(line) > limit || len(line) < limit-4 || strings.ToValidUTF8(line, "") != line {
			t.Errorf("%s: %d bytes", format, len(line))
		}
	}
}

// A server that resets the connection, or refuses our certificate after the handshake
// of TLS 1.3, has not got the line.
func TestServerThatDoesNotTakeIt(t *testing.T) {
	ca := dialtest.NewAuthority(t)
	strict := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, time.Hour, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert}
	reset := dialtest.Serve(t, "127.0.0.1", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1)) // the reset is what counts
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"reset", func(c *Config) { c.Server, c.Transport = reset, "tcp" }, "reset"},
		{"no certificate of ours", func(c *Config) {
			c.Server, c.Transport, c.CAFile = dialtest.Serve(t, "127.0.0.1", dialtest.Secure(strict, counted(make(chan string, 9)))), "tls", ca.File
		}, "certificate required"},
		{"unknown issuer", func(c *Config) {
			c.Server, c.Transport = dialtest.Serve(t, "127.0.0.1", dialtest.Secure(strict, counted(make(chan string, 9)))), "tls"
		}, "unknown authority"},
		{"another name", func(c *Config) {
			c.Server, c.Transport, c.CAFile, c.ServerName = dialtest.Serve(t, "127.0.0.1", dialtest.Secure(strict, counted(make(chan string, 9)))), "tls", ca.File, "elsewhere"
		}, "elsewhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newAlert(t, c.change).Send(t.Context(), failure())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "syslog 127.0.0.1:") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key, text string
		change    func(*Config)
	}{
		{"facility", `write "daemon"`, func(c *Config) { c.Facility = "demon" }},
		{"severity", `"crit"`, func(c *Config) { c.Severity = "critical" }},
		{"timeout", "no time", func(c *Config) { c.Timeout = 0 }},
		{"tag", "no name of a program", func(c *Config) { c.Tag = "a b" }},
		{"tag", "no name of a program", func(c *Config) { c.Tag = "" }},
		{"server", "is not a number", func(c *Config) { c.Server = "host:syslog" }},
		{"transport", `write "udp", "tcp" or "tls"`, func(c *Config) { c.Server, c.Transport = "host", "http" }},
		{"transport", "no use without a server", func(c *Config) { c.Transport = "tcp" }},
		{"format", `write "rfc5424" or "rfc3164"`, func(c *Config) { c.Server, c.Format = "host", "gelf" }},
		{"format", "no use without a server", func(c *Config) { c.Format = "rfc3164" }},
		{"ca_file", "no use without a server", func(c *Config) { c.CAFile = "/ca.pem" }},
		{"ca_file", "no use without TLS", func(c *Config) { c.Server, c.CAFile = "host", "/ca.pem" }},
		{"ca_file", "/nowhere/ca.pem", func(c *Config) { c.Server, c.Transport, c.CAFile = "host", "tls", "/nowhere/ca.pem" }},
		{"socket", "no path of a socket", func(c *Config) { c.Socket = "log" }},
		{"socket", "no path of a socket", func(c *Config) { c.Socket = "/" + strings.Repeat("x", 108) }},
	} {
		_, err := configured(c.change)
		var blamed *plugin.KeyError
		if !errors.As(err, &blamed) || blamed.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %q, %q", err, c.key, c.text)
		}
	}
	for server, want := range map[string]string{"logs": "logs:514", "::1": "[::1]:514", "logs:99": "logs:99"} {
		if got := newAlert(t, func(c *Config) { c.Server = server }).(*sender).address; got != want {
			t.Errorf("%s: sends to %s, want %s", server, got, want)
		}
	}
	if got := newAlert(t, func(c *Config) { c.Server, c.Transport = "logs", "tls" }).(*sender).address; got != "logs:6514" {
		t.Errorf("tls: sends to %s", got)
	}
}

// Each event is wanted, also in a flood.
var _ alerts.Recorder = (*sender)(nil)
