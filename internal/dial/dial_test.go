package dial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		entry string
		port  int
		want  string // Target.String, or a part of the error
		host  string // Target.Host; empty for an error
	}{
		{"web1", 80, "web1:80", "web1"},
		{"web1:8080", 80, "web1:8080", "web1"},
		{"web1:8080", 0, "web1:8080", "web1"},
		{"web1.example.org.", 80, "web1.example.org.:80", "web1.example.org."},
		{"web_1-a", 80, "web_1-a:80", "web_1-a"},
		{"10.0.0.1", 80, "10.0.0.1:80", "10.0.0.1"},
		{"10.0.0.1:81", 80, "10.0.0.1:81", "10.0.0.1"},
		{"::1", 80, "[::1]:80", "::1"},
		{"[::1]", 80, "[::1]:80", "::1"},
		{"[::1]:81", 80, "[::1]:81", "::1"},
		{"::1:81", 80, "[::1:81]:80", "::1:81"},
		{"fe80::1%eth0", 80, "[fe80::1%eth0]:80", "fe80::1"},
		{"[fe80::1%eth0]:81", 80, "[fe80::1%eth0]:81", "fe80::1"},
		{"::ffff:10.0.0.1", 80, "[::ffff:10.0.0.1]:80", "10.0.0.1"},
		{"web1", 0, "has no port: set port = ..., or write web1:PORT", ""},
		{"::1", 0, "or write [::1]:PORT", ""},
		{"web1", 65536, "has no port", ""},
		{"web1:", 80, "ends in a colon", ""},
		{"web1:http", 80, `port "http" is not a number`, ""},
		{"web1:0", 80, `port "0" is not a number`, ""},
		{"web1:65536", 80, "is not a number from 1 to 65535", ""},
		{"web1:-1", 80, "is not a number", ""},
		{":80", 80, "has no name", ""},
		{"", 80, "has no name", ""},
		{"web1:80:81", 80, "neither name:port nor an IPv6 address", ""},
		{"http://web1", 80, "neither name:port nor an IPv6 address", ""},
		{"10.0.0.256", 80, "is not a valid IPv4 address", ""},
		{"10.0.0", 80, "is not a valid IPv4 address", ""},
		{"[10.0.0.1]:80", 80, "brackets hold an IPv6 address", ""},
		{"[web1]:80", 80, "brackets hold an IPv6 address", ""},
		{"[::1", 80, "brackets hold an IPv6 address", ""},
		{"[::1]80", 80, "after the bracket comes a port", ""},
		{"[::1]:", 80, "after the bracket comes a port", ""},
		{"web 1", 80, `has " " in its name`, ""},
		{"web1/x", 80, `has "/" in its name`, ""},
		{"user@web1", 80, `has "@" in its name`, ""},
		{"web1\n", 80, "in its name", ""},
		{strings.Repeat("a", 255), 80, "too long", ""},
	} {
		t.Run(c.entry+" "+strconv.Itoa(c.port), func(t *testing.T) {
			got, err := dial.ParseTarget(c.entry, c.port)
			if c.host == "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, %v, want an error with %q", got, err, c.want)
				}
				return
			}
			if err != nil || got.String() != c.want || got.Host() != c.host {
				t.Fatalf("got %s (host %s), %v, want %s (host %s)", got, got.Host(), err, c.want, c.host)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct{ source, ip, key, text string }{
		{"", "5", "ip", `write "any", "4" or "6"`},
		{"", "ipv4", "ip", "no address family"},
		{"eth0", "", "source", "no address of this machine"},
		{"10.0.0.1:80", "", "source", "no address of this machine"},
		{"0.0.0.0", "", "source", "no address of this machine"},
		{"224.0.0.1", "", "source", "no address of this machine"},
		{"10.0.0.1", "6", "ip", "does not go with the source address 10.0.0.1"},
		{"::1", "4", "ip", `write "6"`},
	} {
		_, err := dial.New(c.source, c.ip)
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("New(%q, %q): got %v, want key %s and %q", c.source, c.ip, err, c.key, c.text)
		}
	}
}

func newDialer(t *testing.T, source, ip string) *dial.Dialer {
	t.Helper()
	d, err := dial.New(source, ip)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func target(t *testing.T, entry string) dial.Target {
	t.Helper()
	to, err := dial.ParseTarget(entry, 0)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestDial(t *testing.T) {
	for _, address := range dialtest.Loopbacks() {
		for _, source := range []string{"", address} {
			t.Run(address+" from "+source, func(t *testing.T) {
				from := make(chan string, 1)
				entry := dialtest.Serve(t, address, func(c net.Conn) {
					host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
					from <- host
				})
				conn, err := newDialer(t, source, "any").Dial(t.Context(), target(t, entry), new(monitors.Timings))
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("second close: got %v, want %v", err, net.ErrClosed)
				}
				if got := <-from; got != address {
					t.Errorf("connected from %s, want %s", got, address)
				}
			})
		}
	}
}

// TestSourceIsUsed takes a second address of loopback, to see that the source is
// not the one that the kernel would have chosen anyway.
func TestSourceIsUsed(t *testing.T) {
	from := make(chan string, 1)
	entry := dialtest.Serve(t, "127.0.0.1", func(c net.Conn) {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		from <- host
	})
	conn, err := newDialer(t, "127.0.0.2", "").Dial(t.Context(), target(t, entry), new(monitors.Timings))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-from; got != "127.0.0.2" {
		t.Errorf("connected from %s, want 127.0.0.2", got)
	}
}

func TestDialFails(t *testing.T) {
	port := func(entry string) string { return entry[strings.LastIndex(entry, ":"):] }
	refused4, refused6 := dialtest.Refused(t, "127.0.0.1"), dialtest.Refused(t, "::1")
	for _, c := range []struct {
		name, source, ip, entry string
		server                  string
		untested                bool
		text                    string
	}{
		{name: "refused", entry: refused4, text: refused4 + ": connection refused"},
		{name: "refused, IPv6", entry: refused6, text: refused6 + ": connection refused"},
		{
			name: "refused by both addresses", entry: "web.example.:9", text: "127.0.0.1:9: connection refused; 127.0.0.2:9: connection refused",
			server: dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1", "127.0.0.2"),
		},
		{name: "source is not ours", source: "192.0.2.1", entry: refused4, untested: true, text: "source address 192.0.2.1: cannot assign requested address"},
		{name: "source is not ours, IPv6", source: "2001:db8::1", entry: refused6, untested: true, text: "source address 2001:db8::1: cannot assign requested address"},
		{name: "wrong family", ip: "6", entry: refused4, untested: true, text: "127.0.0.1 is not an IPv6 address"},
		{name: "wrong family for the source", source: "::1", entry: refused4, untested: true, text: "127.0.0.1 is not an IPv6 address"},
		{
			name: "no address of the family", ip: "6", entry: "web.example.:80", untested: true,
			server: dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1"), text: "IPv6",
		},
		{
			name: "no such name", entry: "web.example.:80", untested: true,
			server: dialtest.NameServer(t, dialtest.NoSuchName), text: "lookup web.example.",
		},
		{
			name: "name server fails", entry: "web.example.:80", untested: true,
			server: dialtest.NameServer(t, dialtest.ServerFailure), text: "server misbehaving",
		},
		{
			name: "name server is mute", entry: "web.example.:80", untested: true,
			server: dialtest.NameServer(t, dialtest.Mute), text: "lookup web.example.",
		},
		{
			name: "one address cannot be tried, the other refuses", entry: "web.example." + port(refused4),
			server: dialtest.NameServer(t, dialtest.Addresses, "255.255.255.255", "127.0.0.1"), text: refused4 + ": connection refused",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDialer(t, c.source, c.ip)
			d.NameServer = c.server
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			conn, err := d.Dial(ctx, target(t, c.entry), new(monitors.Timings))
			if err == nil {
				conn.Close()
				t.Fatal("connected, want an error")
			}
			if errors.Is(err, monitors.ErrUntested) != c.untested || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q (untested: %t), want untested %t and %q", err, errors.Is(err, monitors.ErrUntested), c.untested, c.text)
			}
			if ctx.Err() != nil {
				t.Error("the whole time was used: a mute name server may have half of it")
			}
		})
	}
}

// TestSilentHost: a host that drops all is down, by the context's deadline.
func TestSilentHost(t *testing.T) {
	for _, address := range dialtest.Loopbacks() {
		t.Run(address, func(t *testing.T) {
			entry := dialtest.Dropped(t, address)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			conn, err := newDialer(t, "", "").Dial(ctx, target(t, entry), new(monitors.Timings))
			if err == nil {
				conn.Close()
				t.Fatal("connected, want a timeout")
			}
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, monitors.ErrUntested) {
				t.Errorf("got %v, want the deadline, and not untested", err)
			}
			if ctx.Err() == nil {
				t.Error("the dial ended before its context did")
			}
		})
	}
}

// TestNextAddress: the first of two addresses is silent, for its share of the time.
func TestNextAddress(t *testing.T) {
	_, port, _ := net.SplitHostPort(dialtest.Dropped(t, "127.0.0.1"))
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	d := newDialer(t, "", "4")
	d.NameServer = dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1", "127.0.0.2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := d.Dial(ctx, target(t, "web.example.:"+port), new(monitors.Timings))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, want := conn.RemoteAddr().String(), listener.Addr().String(); got != want {
		t.Errorf("connected to %s, want %s", got, want)
	}
}

// TestConnectionEndsWithContext: a read that waits ends when the context does.
func TestConnectionEndsWithContext(t *testing.T) {
	entry := dialtest.Serve(t, "127.0.0.1", dialtest.Hang)
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := newDialer(t, "", "").Dial(ctx, target(t, entry), new(monitors.Timings))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestVerdict(t *testing.T) {
	wrap := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, c := range []struct {
		err      error
		untested bool
	}{
		{wrap(syscall.ECONNREFUSED), false},
		{wrap(syscall.ECONNRESET), false},
		{wrap(syscall.EPIPE), false},
		{wrap(syscall.EHOSTUNREACH), false},
		{wrap(syscall.EHOSTDOWN), false},
		{wrap(syscall.ETIMEDOUT), false},
		{context.DeadlineExceeded, false},
		{os.ErrDeadlineExceeded, false},
		{io.EOF, false},
		{errors.New("tls: handshake failure"), false},
		{wrap(syscall.ENETUNREACH), true},
		{wrap(syscall.ENETDOWN), true},
		{wrap(syscall.EADDRNOTAVAIL), true},
		{wrap(syscall.EADDRINUSE), true},
		{wrap(syscall.EACCES), true},
		{wrap(syscall.EPERM), true},
		{wrap(syscall.EMFILE), true},
		{wrap(syscall.ENFILE), true},
		{wrap(syscall.ENOBUFS), true},
		{wrap(syscall.EINVAL), true},
		{wrap(syscall.EAFNOSUPPORT), true},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, true},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, true},
		{fmt.Errorf("wrapped: %w", monitors.Untested(io.EOF)), true},
	} {
		got := dial.Verdict(c.err)
		if errors.Is(got, monitors.ErrUntested) != c.untested {
			t.Errorf("%v became %v, want untested %t", c.err, got, c.untested)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v is not in the chain of %v", c.err, got)
		}
	}
	if dial.Verdict(nil) != nil {
		t.Error("no error became one")
	}
}
