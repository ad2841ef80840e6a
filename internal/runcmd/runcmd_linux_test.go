package runcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/timeup"
)

func TestMain(m *testing.M) {
	startPoller()
	goleak.VerifyTestMain(m)
}

// startPoller has Go open the two files of its network poller, which stay, before
// the first test counts the open ones: it does so with the first pipe.
func startPoller() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	_, _ = r.Close(), w.Close()
}

// shell is a command that runs a script; a quick limit keeps the tests short. What
// ends by itself may take its time.
func shell(script string) Command {
	return Command{
		Path: "/bin/sh", Args: []string{"sh", "-c", script},
		Env:   []string{"PATH=/usr/bin:/bin"},
		Grace: 100 * time.Millisecond, Linger: time.Minute,
	}
}

func run(ctx context.Context, t *testing.T, c Command) Result {
	t.Helper()
	before := openFiles(t)
	r, err := Run(ctx, c)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("open files: %d before, %d after", before, after)
	}
	return r
}

// A roll is a pipe that the processes of a script hold open from "exec 3>PATH"
// to their end, be they zombies of a lazy init afterwards or not.
type roll struct {
	path string
	file *os.File
}

func newRoll(t *testing.T) roll {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roll")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return roll{path: path, file: file}
}

// allGone fails the test unless nobody holds the pipe any more; SIGKILL takes
// effect a moment after it was sent.
func (r roll) allGone(t *testing.T) {
	t.Helper()
	if err := r.file.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r.file); err != nil {
		t.Errorf("processes of the group are still there: %v (%q)", err, rest)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name, script string
		stdin        []byte
		separate     bool
		want         Result
	}{
		{name: "success", script: "echo ok", want: Result{Output: []byte("ok\n")}},
		{name: "failure", script: "echo h1; exit 3", want: Result{Exit: 3, Output: []byte("h1\n")}},
		{name: "not found within", script: "exit 127", want: Result{Exit: 127}},
		{name: "streams in one", script: "echo a; echo b >&2; echo c", want: Result{Output: []byte("a\nb\nc\n")}},
		{
			name: "streams apart", script: "echo a; echo b >&2; echo c", separate: true,
			want: Result{Output: []byte("a\nc\n"), Stderr: []byte("b\n")},
		},
		{name: "signal", script: "echo x; kill -9 $$", want: Result{Exit: -1, Signal: syscall.SIGKILL, Output: []byte("x\n")}},
		{name: "no stdin", script: "readlink /proc/self/fd/0", want: Result{Output: []byte("/dev/null\n")}},
		{name: "empty stdin", script: "wc -c", stdin: []byte{}, want: Result{Output: []byte("0\n")}},
		{name: "stdin", script: "cat", stdin: []byte("a\x00\xff\n"), want: Result{Output: []byte("a\x00\xff\n")}},
		{name: "stdin unread", script: "exec <&-; echo x", stdin: bytes.Repeat([]byte("y"), 1<<20), want: Result{Output: []byte("x\n")}},
		{name: "stdin beyond the pipe's size", script: "wc -c", stdin: bytes.Repeat([]byte("y"), 1<<20), want: Result{Output: []byte("1048576\n")}},
		{name: "environment", script: "echo $A", want: Result{Output: []byte("b\n")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shell(tt.script)
			c.Stdin, c.SeparateStderr = tt.stdin, tt.separate
			c.Env = append(c.Env, "A=b")
			got := run(t.Context(), t, c)
			if got.Exit != tt.want.Exit || got.Signal != tt.want.Signal || got.TimedOut || got.Leftover || got.Dropped != 0 ||
				!bytes.Equal(got.Output, tt.want.Output) || !bytes.Equal(got.Stderr, tt.want.Stderr) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestNotRun(t *testing.T) {
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		// A fork between open and close would inherit the file (ETXTBSY).
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		c    Command
		want error
		text string
	}{
		{"missing", t.Context(), Command{Path: "/nonexistent/x"}, fs.ErrNotExist, "/nonexistent/x"},
		{"not executable", t.Context(), Command{Path: write("x", "#!/bin/sh\n", 0o644)}, fs.ErrPermission, "permission denied"},
		{"a folder", t.Context(), Command{Path: t.TempDir()}, fs.ErrPermission, "permission denied"},
		{"interpreter missing", t.Context(), Command{Path: write("x", "#!/nonexistent/perl\n", 0o755)}, fs.ErrNotExist, "interpreter"},
		{"no program", t.Context(), Command{Path: write("x", "echo ok\n", 0o755)}, syscall.ENOEXEC, "#! line"},
		{"working folder missing", t.Context(), Command{Path: "/bin/sh", Dir: "/nonexistent"}, fs.ErrNotExist, ""},
		{"argument too long", t.Context(), Command{Path: "/bin/sh", Args: []string{"sh", strings.Repeat("x", 200_000)}}, syscall.E2BIG, ""},
		{"context over", done, shell("echo ok"), context.Canceled, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := openFiles(t)
			_, err := Run(tt.ctx, tt.c)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			if after := openFiles(t); after != before {
				t.Errorf("open files: %d before, %d after", before, after)
			}
		})
	}
}

// hang never ends by itself and holds the pipe.
const hang = "while :; do sleep 300; done"

// The time is up when the script has said that it is ready for that.
func TestTimeout(t *testing.T) {
	const stopped = "until grep -q '^State:[[:space:]]*T' /proc/$$/status; do :; done"
	tests := []struct {
		name, script string
		signal       syscall.Signal
	}{
		{"obeys", "echo >$READY; " + hang, syscall.SIGTERM},
		{"ignores SIGTERM", "trap '' TERM; echo >$READY; " + hang, syscall.SIGKILL},
		{"stopped", "(" + stopped + "; echo >$READY) & kill -STOP $$", syscall.SIGKILL},
		{"child ignores SIGTERM", "(trap '' TERM; echo >$READY; sleep 300) & wait", syscall.SIGTERM},
		{"child without the pipe ignores SIGTERM", "(trap '' TERM; echo >$READY; sleep 300) >/dev/null 2>&1 & wait", syscall.SIGTERM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ready := filepath.Join(t.TempDir(), "ready")
			ctx := timeup.AtWord(t, ready)
			group := newRoll(t)
			c := shell("exec 3>" + group.path + "; " + tt.script)
			c.Env = append(c.Env, "READY="+ready)
			begun := time.Now()
			r := run(ctx, t, c)
			group.allGone(t)
			if !r.TimedOut || r.Signal != tt.signal {
				t.Errorf("got %+v, want a time-out by %v", r, tt.signal)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// shortly is how long those may hold the pipe who would do so for ever.
const shortly = 100 * time.Millisecond

func TestForkedChildHoldsPipe(t *testing.T) {
	for name, script := range map[string]string{
		"obeys":           "sleep 30 & echo done; exit 1",
		"ignores SIGTERM": "(trap '' TERM; sleep 30; sleep 30) & echo done; exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			group := newRoll(t)
			c := shell("exec 3>" + group.path + "; " + script)
			c.Linger = shortly
			r := run(t.Context(), t, c)
			group.allGone(t)
			if r.Exit != 1 || !r.Leftover || r.TimedOut || !bytes.HasSuffix(r.Output, []byte("done\n")) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A child that left the group and holds the pipe cannot be ended, but must not
// hold the caller. It ends by itself, when its standard input does.
func TestEscapedChildHoldsPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Close() }()
	c := shell("setsid cat <" + fifo + " & echo done")
	c.Linger = shortly
	r := run(t.Context(), t, c)
	if !r.Leftover || !bytes.HasSuffix(r.Output, []byte("done\n")) {
		t.Errorf("got %+v", r)
	}
}

// What detaches itself properly lives on.
func TestDaemonIsLeftAlone(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), t, shell("(echo alive >"+fifo+") >/dev/null 2>&1 & echo done"))
	if r.Leftover || string(r.Output) != "done\n" {
		t.Errorf("got %+v", r)
	}
	got, err := os.ReadFile(fifo)
	if err != nil || string(got) != "alive\n" {
		t.Errorf("from the child: %q, %v", got, err)
	}
}

func TestLargeOutput(t *testing.T) {
	const gigabyte = 1 << 30
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := run(t.Context(), t, shell("yes | head -c 1G; echo err >&2"))
	runtime.ReadMemStats(&after)
	if len(r.Output) != DefaultMaxOutput || r.Dropped != gigabyte+4-DefaultMaxOutput {
		t.Errorf("kept %d, dropped %d", len(r.Output), r.Dropped)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("used %d MiB", used>>20)
	}
}

func TestEndlessOutputIsStopped(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	ctx := timeup.AtWord(t, ready)
	// More than what the pipe holds was read by then.
	c := shell("yes | (head -c 100000; echo >" + ready + "; exec cat)")
	c.MaxOutput = 10
	r := run(ctx, t, c)
	if !r.TimedOut || string(r.Output) != "y\ny\ny\ny\ny\n" || r.Dropped == 0 {
		t.Errorf("got %+v", r)
	}
}

// What was killed and is not gone is given up only if it hangs in the kernel: one
// that did not get the processor yet ends by itself.
func TestHangs(t *testing.T) {
	for stat, want := range map[string]bool{
		"12 (sh) D 1 12 12 0":     true,
		"12 (sh) R 1 12 12 0":     false,
		"12 (sh) S 1 12 12 0":     false,
		"12 (sh) Z 1 12 12 0":     false,
		"12 (a) D b) Z 1 12 12 0": false,
		"12 (a) Z b) D 1 12 12 0": true,
		"":                        false,
		"12 (sh)":                 false,
		"12 (sh) ":                false,
	} {
		if got := hangs([]byte(stat)); got != want {
			t.Errorf("%q: %t, want %t", stat, got, want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	before := openFiles(t)
	results := make(chan error)
	const count = 40
	for i := range count {
		go func() {
			r, err := Run(t.Context(), shell(fmt.Sprintf("echo %d; exit %d", i, i)))
			if err == nil && (r.Exit != i || string(r.Output) != fmt.Sprintf("%d\n", i)) {
				err = fmt.Errorf("run %d: %+v", i, r)
			}
			results <- err
		}()
	}
	for range count {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("open files: %d before, %d after", before, after)
	}
	if children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid())); err == nil && len(children) > 0 {
		t.Errorf("children left: %s", children)
	}
}

func TestResultString(t *testing.T) {
	for want, r := range map[string]Result{
		"exit status 2":               {Exit: 2},
		"killed by signal 9 (killed)": {Exit: -1, Signal: syscall.SIGKILL},
		"stopped after 1.5s":          {TimedOut: true, Took: 1500 * time.Millisecond},
	} {
		if got := r.String(); got != want {
			t.Errorf("%+v: got %q, want %q", r, got, want)
		}
	}
}
