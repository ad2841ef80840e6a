// Package dialoguetest has servers for tests of monitors that talk: scripted ones,
// and hostile ones that every such monitor has to end with a verdict.
package dialoguetest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

// TLS in a script is a handshake, as the server.
const TLS = "TLS"

// Script returns a handler that plays a server. Each step is one of
//
//	"S: text"      says a line
//	"C: pattern"   takes a line, which the regular expression must match whole
//	TLS            changes to TLS
//	"HANG"         says nothing more
//
// After the last step it closes. config is for TLS.
func Script(t testing.TB, config *tls.Config, steps ...string) func(net.Conn) {
	return func(conn net.Conn) {
		lines := bufio.NewReader(conn)
		for _, step := range steps {
			text := strings.TrimPrefix(strings.TrimPrefix(step, "S: "), "C: ")
			switch {
			case step == TLS:
				secure := tls.Server(conn, config)
				if err := secure.Handshake(); err != nil {
					return // the client's side says why
				}
				conn, lines = secure, bufio.NewReader(secure)
			case step == "HANG":
				dialtest.Hang(conn)
			case strings.HasPrefix(step, "S: "):
				if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
					return
				}
			default:
				line, err := lines.ReadString('\n')
				if got := strings.TrimSuffix(line, "\r\n"); err != nil || !regexp.MustCompile("^(?:"+text+")$").MatchString(got) {
					t.Errorf("the server got %q, %v, want %q", line, err, text)
					return
				}
			}
		}
	}
}

// Hostile has a monitor test hosts that mean no good; it must find each one down,
// and say why in one line that is fit to print. build makes the monitor with a
// timeout.
func Hostile(t *testing.T, build func(timeout time.Duration) monitors.Monitor) {
	t.Helper()
	short, long := 500*time.Millisecond, 30*time.Second
	for _, c := range []struct {
		name    string
		handle  func(net.Conn)
		timeout time.Duration
	}{
		{"endless without a line end", dialtest.Flood, long},
		{"endless short lines", repeat("\r\n"), long},
		{"endless lines of one reply", repeat("220-still greeting\r\n"), long},
		{"endless untagged lines", repeat("* OK still here\r\n"), long},
		{"NULs", repeat(strings.Repeat("\x00", 4096)), long},
		{"noise", repeat("\xff\xfe\x00\x1b[2J\r\xc3(\n"), long},
		{"a line and then NULs", dialtest.Say("220 \x00\x00\x00"), long},
		{"TLS instead", dialtest.Say("\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + strings.Repeat("\x8f", 120)), long},
		{"a TLS alert", dialtest.Say("\x15\x03\x01\x00\x02\x02\x16"), long},
		{"HTTP", dialtest.Say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), long},
		{"closed after accepting", dialtest.Say(""), long},
		{"reset after accepting", dialtest.Reset, long},
		{"half a line, closed", dialtest.Say("2"), long},
		{"silent", dialtest.Hang, short},
		{"half a line, silent", dialtest.SayAndHang("22"), short},
		{"a byte now and then", trickle, short},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := build(c.timeout).Check(t.Context(), monitors.Request{Hosts: []string{dialtest.Serve(t, "127.0.0.1", c.handle)}})
			if err != nil {
				t.Fatal(err)
			}
			h := r.Hosts[0]
			if h.Verdict != monitors.Down || h.Reason == "" {
				t.Errorf("got %s, %q, want down with a reason", h.Verdict, h.Reason)
			}
			if len(h.Reason) > 1000 || strings.ContainsFunc(h.Reason, func(r rune) bool { return r < ' ' || r == '\x7f' }) {
				t.Errorf("the reason is not fit to print: %.1200q", h.Reason)
			}
		})
	}
}

func repeat(text string) func(net.Conn) {
	piece := []byte(strings.Repeat(text, 1+4096/len(text)))
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	}
}

// Ahead has a monitor test a host that has answered for ever before it was asked:
// whatever the verdict, there must be one.
func Ahead(t *testing.T, m monitors.Monitor, answer string) {
	t.Helper()
	r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{dialtest.Serve(t, "127.0.0.1", repeat(answer))}})
	if err != nil || r.Hosts[0].Verdict == monitors.Unknown {
		t.Errorf("got %+v, %v, want a verdict", r.Hosts, err)
	}
}

// trickle says a digit now and then, so that each read is successful.
func trickle(conn net.Conn) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(conn, "2"); err != nil {
			return
		}
	}
}

// Verify has a monitor test one host, and compares the verdict with up, or down
// for a reason of which this is a part.
func Verify(t *testing.T, m monitors.Monitor, host, reason string) {
	t.Helper()
	want := monitors.Down
	if reason == "" {
		want = monitors.Up
	}
	VerifyAs(t, m, host, want, reason)
}

// Soon is the timeout for a host that falls silent in its script.
const Soon = monitors.Duration(300 * time.Millisecond)

// Play has a monitor test a host that plays a script, and verifies the verdict as
// [Verify] does. build makes it with a timeout so many times as long as usual: a busy
// machine may not get to the silence within [Soon], and has more time then. The reason
// names Soon where it names the timeout.
func Play(t *testing.T, address string, steps []string, build func(stretch monitors.Duration) monitors.Monitor, reason string) {
	t.Helper()
	for _, stretch := range []monitors.Duration{1, 10, 100} {
		n := &notes{TB: t}
		t.Cleanup(n.report) // After the server has come to its end.
		r, err := build(stretch).Check(t.Context(), monitors.Request{Hosts: []string{dialtest.Serve(t, address, Script(n, nil, steps...))}})
		if err != nil {
			t.Fatal(err)
		}
		got, want := r.Hosts[0], monitors.Down
		if reason == "" {
			want = monitors.Up
		}
		text := strings.ReplaceAll(reason, Soon.String(), (Soon * stretch).String())
		if got.Verdict == want && strings.Contains(got.Reason, text) {
			return
		}
		inTime := !strings.Contains(got.Reason, "within "+(Soon*stretch).String()) && !strings.Contains(got.Reason, context.DeadlineExceeded.Error())
		if stretch == 100 || inTime {
			t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, text)
			return
		}
		n.forget()
	}
}

// notes are what a script has to say against the client, unless that had no time.
type notes struct {
	testing.TB

	mu sync.Mutex // protects the rest
	// texts are forgotten for a client that had no time.
	texts     []string
	forgotten bool
}

// Errorf implements [testing.TB].
func (n *notes) Errorf(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = append(n.texts, fmt.Sprintf(format, args...))
}

func (n *notes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgotten = true
}

func (n *notes) report() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range n.texts {
		if !n.forgotten {
			n.TB.Error(text)
		}
	}
}

// VerifyAs is [Verify] for any verdict.
func VerifyAs(t *testing.T, m monitors.Monitor, host string, want monitors.Verdict, reason string) monitors.HostResult {
	t.Helper()
	r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Hosts[0]
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
	return got
}

// Conform runs the conformance suite; up is what a host does that is up.
func Conform(t *testing.T, build func(t testing.TB) monitors.Monitor, up func(testing.TB) func(net.Conn)) {
	t.Helper()
	monitortest.Run(t, monitortest.Subject{
		New: build,
		// Some runs are cut short, in the middle of a script.
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", up(tolerant{t})) },
		Down:   func(t testing.TB) string { return dialtest.Refused(t, "127.0.0.1") },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

// tolerant does not mind clients that are gone.
type tolerant struct{ testing.TB }

func (tolerant) Errorf(string, ...any) {}
