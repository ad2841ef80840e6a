package dialogue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/monitors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(change func(*dialogue.Settings)) dialogue.Settings {
	s := dialogue.Settings{
		Timeout: monitors.Duration(10 * time.Second), Limit: 1, IP: "any", MaxBytes: 100,
		Certificate: dial.TLSKeys{Verify: true},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// talk has one talk with a server.
func talk(t *testing.T, handle func(net.Conn), change func(*dialogue.Settings), talk dialogue.Talk) monitors.HostResult {
	t.Helper()
	caller, err := dialogue.New(settings(change))
	if err != nil {
		t.Fatal(err)
	}
	r, err := caller.Monitor(talk).Check(t.Context(), monitors.Request{Hosts: []string{dialtest.Serve(t, "127.0.0.1", handle)}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

// drip says a text byte by byte, and hangs.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := range len(text) {
			_, _ = io.WriteString(conn, text[i:i+1])
		}
		dialtest.Hang(conn)
	}
}

func TestReading(t *testing.T) {
	soon := func(s *dialogue.Settings) { s.Timeout = monitors.Duration(200 * time.Millisecond) }
	three := func(ctx context.Context, c *dialogue.Call) error {
		var lines []string
		for range 3 {
			line, err := c.Line(ctx, "line")
			if err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return fmt.Errorf("lines %q", lines)
	}
	reply := func(ctx context.Context, c *dialogue.Call) error {
		r, err := c.Reply(ctx, "answer")
		if err != nil {
			return err
		}
		return fmt.Errorf("reply %d %q", r.Code, r.Lines)
	}
	mixed := func(ctx context.Context, c *dialogue.Call) error {
		b, err := c.Bytes(ctx, "header", 2)
		if err != nil {
			return err
		}
		if err := c.Await(ctx, "end", func(text []byte) bool { return strings.HasSuffix(string(text), ".") }); err != nil {
			return err
		}
		return fmt.Errorf("bytes %q, then %s", b, c.Said())
	}
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		change func(*dialogue.Settings)
		talk   dialogue.Talk
		want   string
	}{
		{"lines", dialtest.Say("a\r\nb\n\r\n"), nil, three, `lines ["a" "b" ""]`},
		{"lines by bytes", drip("a\r\nb\r\nc\r\n"), nil, three, `lines ["a" "b" "c"]`},
		{"a line without its end", dialtest.Say("a\r\nb"), nil, three, `connected, but no line: the connection was closed; received "a\r\nb"`},
		{"too few lines", dialtest.SayAndHang("a\r\nb\r\n"), soon, three, `connected, but no line within 200ms; received "a\r\nb\r\n"`},
		{"a long line", dialtest.Flood, nil, three, `connected, but no line in the first 100 bytes; received "xxx`},
		{"reply", dialtest.Say("220 ready\r\n"), nil, reply, `reply 220 ["220 ready"]`},
		{"bare reply", dialtest.Say("220\n"), nil, reply, `reply 220 ["220"]`},
		{"reply of several lines", drip("250-a\r\n250-b\r\n250 c\r\n"), nil, reply, `reply 250 ["250-a" "250-b" "250 c"]`},
		{"reply with anything inside", dialtest.Say("211-a\r\n 211 b\r\n210 c\r\n211\r\n"), nil, reply, `reply 211 ["211-a" " 211 b" "210 c" "211"]`},
		{"no code", dialtest.Say("22 ready\r\n"), nil, reply, `connected, but the answer is "22 ready", wanted a code of three digits`},
		{"more digits", dialtest.Say("2200 ready\r\n"), nil, reply, `wanted a code of three digits`},
		{"zero", dialtest.Say("000 ready\r\n"), nil, reply, `wanted a code of three digits`},
		{"empty line", dialtest.Say("\r\n"), nil, reply, `connected, but the answer is "", wanted a code of three digits`},
		{"no end", dialtest.Say("250-a\r\n"), nil, reply, `connected, but no end of the answer: the connection was closed`},
		{"bytes and the rest", drip("ab and so on."), nil, mixed, `bytes "ab", then received "ab and so on."`},
		{"reset", dialtest.Reset, nil, mixed, "connection reset by peer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := talk(t, c.handle, c.change, c.talk); got.Verdict != monitors.Down || !strings.Contains(got.Reason, c.want) {
				t.Errorf("got %s, %q, want %q", got.Verdict, got.Reason, c.want)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	ready := func(text []byte) bool { return strings.Contains(string(text), "ready") }
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		limit  int
		reason string // empty for a match
	}{
		{"at once", dialtest.SayAndHang("220 ready"), 100, ""},
		{"in pieces", drip("220 ready\r\n"), 100, ""},
		{"with its end", dialtest.Say("220 ready"), 100, ""},
		{"closed", dialtest.Say("220 re"), 100, `connected, but no word: the connection was closed; received "220 re"`},
		{"closed at once", dialtest.Say(""), 100, "connected, but no word: the connection was closed; nothing was received"},
		{"match at the limit", dialtest.SayAndHang("220 ready and more"), 9, ""},
		{"beyond the limit", dialtest.SayAndHang("220 ready"), 8, `connected, but no word in the first 8 bytes; received "220 read"`},
		{"large", dialtest.Flood, 10000, "connected, but no word in the first 10000 bytes; received ..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := talk(t, c.handle, func(s *dialogue.Settings) { s.MaxBytes = c.limit }, func(ctx context.Context, call *dialogue.Call) error {
				return call.Await(ctx, "word", ready)
			})
			if up := got.Verdict == monitors.Up; up != (c.reason == "") || !strings.HasPrefix(got.Reason, c.reason) {
				t.Errorf("got %s, %q, want %q", got.Verdict, got.Reason, c.reason)
			}
		})
	}
}

// TestFilterOfEverything: what is no text counts against the limit all the same.
func TestFilterOfEverything(t *testing.T) {
	got := talk(t, dialtest.Flood, nil, func(ctx context.Context, c *dialogue.Call) error {
		c.Filter = func([]byte) (text, reply []byte) { return nil, nil }
		return c.Await(ctx, "word", func([]byte) bool { return true })
	})
	if want := "connected, but no word in the first 100 bytes; nothing was received"; got.Reason != want {
		t.Errorf("got %q, want %q", got.Reason, want)
	}
}

// TestDeaf: what nobody reads ends with the time.
func TestDeaf(t *testing.T) {
	gone := make(chan struct{})
	got := talk(t, func(net.Conn) { <-gone }, func(s *dialogue.Settings) { s.Timeout = monitors.Duration(300 * time.Millisecond) },
		func(ctx context.Context, c *dialogue.Call) error {
			defer close(gone)
			return c.Send(ctx, "text", strings.Repeat("x", 32<<20))
		})
	if want := "connected, but the text could not be sent within 300ms"; got.Reason != want {
		t.Errorf("got %q, want %q", got.Reason, want)
	}
}

// TestFilter: what it replies is sent, and only its text counts.
func TestFilter(t *testing.T) {
	replied := make(chan string, 1)
	got := talk(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "?hello")
		answer := make([]byte, 1)
		_, _ = io.ReadFull(conn, answer)
		replied <- string(answer)
		_, _ = io.WriteString(conn, " s3cret\n")
	}, nil, func(ctx context.Context, c *dialogue.Call) error {
		c.Hide = []string{"s3cret"}
		c.Filter = func(raw []byte) (text, reply []byte) {
			if raw[0] == '?' {
				return raw[1:], []byte("!")
			}
			return raw, nil
		}
		if err := c.Await(ctx, "end", func(text []byte) bool { return strings.HasSuffix(string(text), "\n") }); err != nil {
			return err
		}
		return errors.New(c.Said())
	})
	if want := `received "hello (secret)\n"`; got.Reason != want {
		t.Errorf("got %q, want %q", got.Reason, want)
	}
	if got := <-replied; got != "!" {
		t.Errorf("the server got %q, want \"!\"", got)
	}
}

func TestTimings(t *testing.T) {
	got := talk(t, dialtest.Say("220 x\r\n"), nil, func(ctx context.Context, c *dialogue.Call) error {
		_, err := c.Expect(ctx, "greeting", 220)
		return err
	})
	if got.Verdict != monitors.Up || got.Timings.Connect <= 0 || got.Timings.FirstByte <= 0 || got.Timings.Resolve != 0 || got.Timings.TLS != 0 {
		t.Errorf("got %+v, want up with connect and first byte", got)
	}
}

func TestParted(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct{ err, want error }{
		{nil, nil},
		{fmt.Errorf("no answer: %w", io.EOF), nil},
		{io.ErrUnexpectedEOF, nil},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, nil},
		{syscall.EPIPE, nil},
		{other, other},
	} {
		if got := dialogue.Parted(c.err); got != c.want { //nolint:errorlint // It is passed on as it is.
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
	}
}

// TestPorts: the entry's, then the key's, then the protocol's own.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		entry  string
		change func(*dialogue.Settings)
		want   string // how the reason begins
	}{
		{"127.0.0.1:9", nil, "127.0.0.1:9: "},
		{"127.0.0.1:9", func(s *dialogue.Settings) { s.Port = 7 }, "127.0.0.1:9: "},
		{"127.0.0.1", func(s *dialogue.Settings) { s.Port, s.DefaultPort = 7, 5 }, "127.0.0.1:7: "},
		{"127.0.0.1", func(s *dialogue.Settings) { s.DefaultPort, s.TLSPort = 5, 6 }, "127.0.0.1:5: "},
		{"127.0.0.1", func(s *dialogue.Settings) { s.StartTLS, s.DefaultPort, s.TLSPort = true, 5, 6 }, "127.0.0.1:5: "},
		{"127.0.0.1", func(s *dialogue.Settings) { s.TLS, s.DefaultPort, s.TLSPort = true, 5, 6 }, "127.0.0.1:6: "},
		{"127.0.0.1", func(s *dialogue.Settings) { s.TLS, s.DefaultPort = true, 5 }, "127.0.0.1:5: "},
		{"127.0.0.1", nil, `could not test: host "127.0.0.1" has no port`},
	} {
		caller, err := dialogue.New(settings(c.change))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err = caller.Probe(func(context.Context, *dialogue.Call) error { return nil })(ctx, c.entry, new(monitors.Timings))
		cancel()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.entry, err, c.want)
		}
	}
}

func TestBadSettings(t *testing.T) {
	dialoguetest.BadKeys(t, func(k dialoguetest.Keys) error {
		_, err := dialogue.New(settings(func(s *dialogue.Settings) {
			s.Port, s.Timeout, s.Limit, s.Source, s.IP = k.Port, k.Timeout, k.Limit, k.Source, k.IP
			s.TLS, s.StartTLS, s.Certificate.CAFile, s.Certificate.Verify = k.TLS, k.StartTLS, k.CAFile, !k.Unverified
		}))
		return err
	})
	for _, n := range []int{0, 2 << 20} {
		_, err := dialogue.New(settings(func(s *dialogue.Settings) { s.MaxBytes = n }))
		dialoguetest.WantKey(t, err, "max_bytes", "1 to 1048576")
	}
}
