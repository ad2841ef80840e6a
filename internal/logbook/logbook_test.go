package logbook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/syslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A page is a target that keeps lines; gate stops it while it is not nil and open.
type page struct {
	mu     sync.Mutex
	lines  []string
	err    error
	gate   chan struct{}
	closed bool
}

func (p *page) Write(line []byte) (int, error) {
	if p.gate != nil {
		<-p.gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	p.lines = append(p.lines, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

func (p *page) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func (p *page) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *page) want(t *testing.T, lines ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.lines, lines) {
		last := func(all []string) []string { return all[max(0, len(all)-5):] }
		t.Errorf("got %d, the last %.99q, want %d, the last %.99q", len(p.lines), last(p.lines), len(lines), last(lines))
	}
}

// telling returns a book that writes into itself what happens to it.
func telling(spare *page) *Book {
	var b *Book
	b = New(spare, Events{
		Lost:    func(n int) { fmt.Fprintf(b, "%d lost\n", n) },
		Refused: func(err error) { fmt.Fprintf(b, "refused: %v\n", err) },
		Taken:   func() { fmt.Fprintln(b, "taken") },
	})
	return b
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestLinesInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		spare := &page{}
		b := telling(spare)
		var want []string
		for i := range 1000 {
			want = append(want, fmt.Sprint("line ", i))
			fmt.Fprintf(b, "line %d\n", i)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		spare.want(t, want...)
	})
}

// While nobody reads, nobody waits; afterwards the log says what is missing.
func TestNobodyReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		spare := &page{gate: make(chan struct{})}
		b := telling(spare)
		fmt.Fprintln(b, "in the hand of the writer")
		synctest.Wait()
		line := strings.Repeat("x", 1<<10-1)
		for range 3000 {
			fmt.Fprintln(b, line)
		}
		fmt.Fprint(b, "!\n") // which has no room either
		close(spare.gate)
		synctest.Wait()
		fmt.Fprintln(b, "later")
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{"in the hand of the writer"}
		for range 1024 {
			want = append(want, line)
		}
		spare.want(t, append(want, "1977 lost", "later")...)
	})
}

// The end of the daemon does not wait for who does not read, longer than it wants to.
func TestEndWhileNobodyReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		spare := &page{gate: make(chan struct{})}
		b := telling(spare)
		fmt.Fprintln(b, "one")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(spare.gate)
	})
}

// A new target takes over at once, even from one that is stuck.
func TestAnotherTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stuck, next := &page{gate: make(chan struct{})}, &page{}
		b := telling(stuck)
		fmt.Fprintln(b, "one")
		synctest.Wait()
		fmt.Fprintln(b, "two")
		b.Use(next)
		synctest.Wait()
		fmt.Fprintln(b, "three")
		synctest.Wait()
		next.want(t, "two", "three")
		close(stuck.gate)
		synctest.Wait()
		stuck.want(t, "one")
		last := &page{}
		b.Use(last)
		synctest.Wait()
		if !next.closed {
			t.Error("the target before is not closed")
		}
		if err := b.Close(t.Context()); err != nil || !last.closed {
			t.Errorf("%v, closed %t", err, last.closed)
		}
	})
}

// What a target refuses stands on standard error, and why.
func TestRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		spare, target := &page{}, &page{}
		b := telling(spare)
		b.Use(target)
		fmt.Fprintln(b, "one")
		synctest.Wait()
		target.refuse(syscall.ENOSPC)
		fmt.Fprintln(b, "two")
		synctest.Wait()
		fmt.Fprintln(b, "three")
		synctest.Wait()
		target.refuse(nil)
		fmt.Fprintln(b, "four")
		if synctest.Wait(); b.Close(t.Context()) != nil {
			t.Error("not closed")
		}
		target.want(t, "one", "four", "taken")
		spare.want(t, "two", "refused: no space left on device", "three")
	})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		t.Helper()
		if _, err := f.Write([]byte(text + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	wantFile := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	say("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	say("two")
	wantFile(path+".1", "one\n")
	wantFile(path, "two\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	say("three")
	wantFile(path, "three\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A link in the way is refused, and the log goes on when it is gone.
	if err := errors.Join(os.Remove(path), os.Symlink("elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("four\n")); err == nil {
		t.Error("a link is followed")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	say("five")
	wantFile(path, "five\n")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := File(filepath.Join(path, "x")); err == nil {
		t.Error("a file below a file")
	}
}

// syslogd listens at a path for as long as the function that it returns is not called.
func syslogd(t *testing.T, path string) (got func() string, end func()) {
	t.Helper()
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
			packet := make([]byte, 65536)
			n, _, err := conn.ReadFrom(packet)
			if err != nil {
				t.Fatal(err)
			}
			return string(packet[:n])
		}, func() {
			_ = conn.Close() // twice at the end
			_ = os.Remove(path)
		}
}

func TestSyslog(t *testing.T) {
	folder, err := os.MkdirTemp("", "log") //nolint:usetesting // t.TempDir is too long for a socket, unix(7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "log")
	now := time.Date(2024, 2, 9, 12, 0, 0, 0, time.Local)
	target := Syslog(path, 3, "monitord").(*local)
	target.now = func() time.Time { return now }
	defer func() { _ = target.Close() }()
	if _, err := target.Write([]byte("one\n")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("without syslog: %v", err)
	}
	got, end := syslogd(t, path)
	if _, err := target.Write([]byte("two\n")); err == nil {
		t.Error("tried again at once")
	}
	now = now.Add(time.Second)
	for line, want := range map[string]string{
		"<3>bad\n": "<27>Feb  9 12:00:01 monitord[%d]: bad", "plain\n": "<30>Feb  9 12:00:01 monitord[%d]: plain",
		"<9>odd\n": "<30>Feb  9 12:00:01 monitord[%d]: <9>odd",
	} {
		if _, err := target.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if have := got(); have != fmt.Sprintf(want, os.Getpid()) {
			t.Errorf("got %q", have)
		}
	}
	end()
	got, end = syslogd(t, path) // syslog was restarted: no line is lost
	defer end()
	if _, err := target.Write([]byte("three\n")); err != nil {
		t.Fatal(err)
	}
	if have := got(); !strings.HasSuffix(have, ": three") {
		t.Errorf("got %q", have)
	}
}

func TestSeverity(t *testing.T) {
	for line, want := range map[string]syslog.Severity{"<0>x": 0, "<7>x": 7, "<8>x": 6, "<": 6, "": 6, "x": 6} {
		if got, text := Severity([]byte(line + "\n")); got != want || bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("%q: %v, %q", line, got, text)
		}
	}
}
