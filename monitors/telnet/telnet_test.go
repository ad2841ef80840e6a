package telnet

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("telnet").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustProbe(t *testing.T, c config) *probe {
	t.Helper()
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
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

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			m, err := build(configured(t, func(c *config) { c.Timeout = monitors.Duration(time.Minute) }), monitors.Site{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", telnetd) },
		Down:   func(t testing.TB) string { return dialtest.Refused(t, "127.0.0.1") },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

// telnetd behaves like Debian's: it does not say a word before its negotiation is
// answered. It knows the user "probe" with the password "hunter2", and "open"
// without one.
func telnetd(conn net.Conn) {
	in := bufio.NewReader(conn)
	say(conn, "\xff\xfd\x18\xff\xfd\x20\xff\xfb\x03")
	if answer := next(in, 9); answer != "\xff\xfc\x18\xff\xfc\x20\xff\xfe\x03" {
		say(conn, "\r\nnegotiation was not refused\r\n")
		return
	}
	say(conn, "\xff\xfa\x18\x01\xff\xf0\x1b[1mDebian GNU/Linux 12\r\r\n\xff\xf9host login:\x1b[0m ")
	user := next(in, -1)
	say(conn, user)
	if user == "open\r\n" {
		say(conn, "Last login: yesterday\r\n$ ")
		dialtest.Hang(conn)
		return
	}
	say(conn, "\xff\xfb\x01Password: ")
	if next(in, 3) != "\xff\xfe\x01" {
		return
	}
	if password := next(in, -1); user != "probe\r\n" || password != "hunter2\r\n" {
		say(conn, "\r\nLogin incorrect\r\nhost login: ")
	} else {
		say(conn, "\r\nLast login: yesterday\r\n2 failed logins since\r\nprobe@host:~$ ")
	}
	dialtest.Hang(conn)
}

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// next reads n bytes, or a line if n is negative.
func next(in *bufio.Reader, n int) string {
	if n < 0 {
		text, _ := in.ReadString('\n')
		return text
	}
	text := make([]byte, n)
	_, _ = io.ReadFull(in, text)
	return string(text)
}

// parrot shows a login prompt, and then echoes all it gets.
func parrot(conn net.Conn) {
	say(conn, "login: ")
	in := bufio.NewReader(conn)
	for prompt := "Password: "; ; prompt = "?" {
		text := next(in, -1)
		if text == "" {
			return
		}
		say(conn, text+prompt)
	}
}

// drip sends text byte by byte and then hangs.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := range len(text) {
			say(conn, text[i:i+1])
		}
		dialtest.Hang(conn)
	}
}

func login(user, password string) func(*config) {
	return func(c *config) { c.User, c.Password = user, monitors.Secret(password) }
}

func TestHosts(t *testing.T) {
	soon := func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) }
	for _, c := range []struct {
		name   string
		handle func(net.Conn) // nil: the port refuses
		change func(*config)
		reason string // part of it; empty for up
	}{
		{name: "prompt", handle: telnetd},
		{name: "plain prompt", handle: dialtest.SayAndHang("login: ")},
		{name: "Cisco's prompt", handle: dialtest.SayAndHang("\r\nUser Access Verification\r\n\r\nUsername: ")},
		{name: "ProCurve's prompt", handle: dialtest.SayAndHang("\x1b[24;1HUsername: \x1b[?25h\x1b[24;1H")},
		{name: "prompt and the end", handle: dialtest.Say("login:")},
		{name: "dripping prompt", handle: drip("\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0Welcome\r\nlogin: ")},
		{name: "own prompt", handle: dialtest.SayAndHang("Password: "), change: func(c *config) { c.Prompt = "(?i)password: ?$" }},
		{name: "refused", reason: "connection refused"},
		{name: "silent", handle: dialtest.Hang, change: soon, reason: "connected, but no login prompt within 300ms; nothing was received"},
		{
			name: "no prompt", handle: dialtest.SayAndHang("\xff\xfd\x18No more ptys\x1b[0m\r\n"), change: soon,
			reason: `connected, but no login prompt within 300ms; received "No more ptys\r\n"`,
		},
		{name: "a banner about logins", handle: dialtest.SayAndHang("login: forbidden for strangers\r\n"), change: soon, reason: "no login prompt within"},
		{
			name: "closed", handle: dialtest.Say("Too many users\r\n"),
			reason: `connected, but no login prompt: the connection was closed; received "Too many users\r\n"`,
		},
		{name: "reset", handle: dialtest.Reset, reason: "connection reset by peer"},
		{name: "flood", handle: dialtest.Flood, reason: "connected, but no login prompt in the first 16384 bytes; received ...\"xxx"},
		{name: "endless negotiation", handle: negotiate, reason: "connected, but no login prompt in the first 16384 bytes; nothing was received"},

		{name: "login", handle: telnetd, change: login("probe", "hunter2")},
		{name: "login without a password", handle: telnetd, change: login("open", "")},
		{name: "wrong password", handle: telnetd, change: login("probe", "secret99"), reason: "login refused; received "},
		{
			name: "password not asked for", handle: dialtest.SayAndHang("login: "), change: func(c *config) { soon(c); login("probe", "hunter2")(c) },
			reason: "user sent, but no password prompt within 300ms; nothing was received",
		},
		{
			name: "no shell", handle: parrot, change: func(c *config) { soon(c); login("probe", "hunter2")(c) },
			reason: "password sent, but no shell prompt within 300ms; received \"(secret)",
		},
		{
			name: "own shell prompt", handle: parrot, change: func(c *config) {
				login("probe", "hunter2")(c)
				c.ShellPrompt = `\?$`
			},
		},
		{
			name: "user refused", handle: func(c net.Conn) {
				say(c, "login: ")
				next(bufio.NewReader(c), -1)
				say(c, "Access denied\r\n")
				dialtest.Hang(c)
			}, change: login("probe", "hunter2"), reason: `login refused; received "Access denied\r\n"`,
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				host := dialtest.Refused(t, address)
				if c.handle != nil {
					host = dialtest.Serve(t, address, c.handle)
				}
				p := mustProbe(t, configured(t, c.change))
				got := check(t, p, host)
				verify(t, got, c.reason)
				if secret := p.Password.Reveal(); secret != "" && strings.Contains(got.Reason, secret) {
					t.Errorf("the password is in the reason %q", got.Reason)
				}
			})
		}
	}
}

// negotiate asks for the terminal's type for ever, and reads the refusals.
func negotiate(conn net.Conn) {
	refusals := make(chan struct{})
	go func() {
		defer close(refusals)
		dialtest.Hang(conn)
	}()
	for {
		if _, err := io.WriteString(conn, strings.Repeat("\xff\xfd\x18", 100)); err != nil {
			<-refusals
			return
		}
	}
}

func TestUntested(t *testing.T) {
	for _, c := range []struct {
		name, host string
		dns        dialtest.Answer
		change     func(*config)
		reason     string
	}{
		{"name server fails", "sw.example.", dialtest.ServerFailure, nil, "lookup sw.example."},
		{"name server is mute", "sw.example.", dialtest.Mute, nil, "lookup sw.example."},
		{"no such name", "sw.example.", dialtest.NoSuchName, nil, "lookup sw.example."},
		{"source is not ours", "127.0.0.1", dialtest.Mute, func(c *config) { c.Source = "192.0.2.1" }, "source address 192.0.2.1"},
		{"malformed host", "127.0.0.1:telnet", dialtest.Mute, nil, `port "telnet" is not a number`},
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

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		p := mustProbe(t, configured(t, func(c *config) { c.Timeout = monitors.Duration(timeout) }))
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
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"max_bytes", func(c *config) { c.MaxBytes = 0 }, "1 to 1048576"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"source", func(c *config) { c.Source = "eth0" }, "no address of this machine"},
		{"prompt", func(c *config) { c.Prompt = "(" }, "RE2"},
		{"prompt", func(c *config) { c.Prompt = "" }, "would match anything"},
		{"password_prompt", func(c *config) { c.PasswordPrompt = "(" }, "RE2"},
		{"shell_prompt", func(c *config) { c.ShellPrompt = "(" }, "RE2"},
		{"failure", func(c *config) { c.Failure = "(" }, "RE2"},
		{"password", login("", "hunter2"), "no use without user"},
		{"password", login("probe", "hunter2\nreboot"), "line end"},
		{"user", login("probe\r\nreboot", ""), "line end"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error %q", err)
		}
	}
	if _, err := build(configured(t, nil), monitors.Site{}); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
