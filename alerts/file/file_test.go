package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(folder, file string) (alerts.Alert, error) {
	return alerts.Build("file", alerts.Site{LogDir: folder, StateDir: "/state"}, func(into any) error {
		into.(*Config).File = file
		return nil
	})
}

func newAlert(t testing.TB, folder, file string) alerts.Alert {
	t.Helper()
	a, err := configured(folder, file)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConformance(t *testing.T) {
	alerttest.Run(t, alerttest.Subject{
		New: func(t testing.TB) alerts.Alert { return newAlert(t, t.TempDir(), "log") },
		Broken: func(t testing.TB) alerts.Alert {
			folder := t.TempDir()
			if err := os.Mkdir(filepath.Join(folder, "log"), 0o700); err != nil {
				t.Fatal(err)
			}
			return newAlert(t, folder, "log")
		},
		NeverWaits: "a file on a disk keeps nobody waiting, and one of another kind is refused",
	})
}

func failure() alerts.Event {
	return alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Description: "the shop", Time: time.Unix(1709208060, 0),
		Summary: "web2", Output: []byte("web2\nweb2: connection refused\n"), Exit: new(1), Events: 3,
		Hosts: []alerts.Host{{Name: "web2", State: alerts.HostDown, Concerned: true}},
	}
}

// TestAsFileAlert runs file.alert of Debian's mon beside ours: the files are the same.
func TestAsFileAlert(t *testing.T) {
	root := debian.Tree(t, "mon")
	debian.Setenv(t, root)
	for name, change := range map[string]func(*alerts.Event){
		"failure":         func(*alerts.Event) {},
		"up":              func(e *alerts.Event) { e.Kind, e.Status, e.Exit = alerts.Up, 1, new(0) },
		"startup":         func(e *alerts.Event) { e.Kind, e.Status = alerts.Startup, 7 },
		"ack":             func(e *alerts.Event) { e.Kind, e.Ack = alerts.Ack, "me: on it" },
		"disable":         func(e *alerts.Event) { e.Kind = alerts.Disable },
		"trap":            func(e *alerts.Event) { e.Kind = alerts.Trap },
		"trap timeout":    func(e *alerts.Event) { e.Kind = alerts.TrapTimeout },
		"test":            func(e *alerts.Event) { e.Kind = alerts.Test },
		"test of up":      func(e *alerts.Event) { e.Kind, e.Testing = alerts.Test, alerts.Up },
		"day of two":      func(e *alerts.Event) { e.Time = time.Unix(1700000000, 0) },
		"no description":  func(e *alerts.Event) { e.Description = "" },
		"no output":       func(e *alerts.Event) { e.Output = nil },
		"only a summary":  func(e *alerts.Event) { e.Output = []byte("web2") },
		"no last end":     func(e *alerts.Event) { e.Output = []byte("web2\nweb2: refused") },
		"blank lines":     func(e *alerts.Event) { e.Output = []byte("\n\nx\n\n") },
		"carriage return": func(e *alerts.Event) { e.Output = []byte("web2\r\nx\r\n") },
		"bytes":           func(e *alerts.Event) { e.Output = []byte("\x00\xff ü\n\x1b[2J\x00\n.\n") },
		"large":           func(e *alerts.Event) { e.Output = []byte("web2\n" + strings.Repeat("line\n", 1<<17)) },
		"odd names":       func(e *alerts.Event) { e.Group, e.Service, e.Description = "-u", "a b", "x\ny\x00z" },
	} {
		t.Run(name, func(t *testing.T) {
			e := failure()
			change(&e)
			folder := t.TempDir()
			original(t, root, folder, e)
			if err := newAlert(t, folder, "ours").Send(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, folder, "ours"), read(t, folder, "original"); got != want {
				t.Errorf("got  %.500q\nwant %.500q", got, want)
			}
		})
	}
}

func original(t *testing.T, root, folder string, e alerts.Event) {
	t.Helper()
	p := monprog.Program{Path: filepath.Join(root, "usr/lib/mon/alert.d/file.alert"), Args: []string{"-d", folder, "original"}}
	call := p.Alert(e, alerts.Site{LogDir: folder, StateDir: "/state"})
	c := exec.CommandContext(t.Context(), "perl", call.Args...)
	c.Env, c.Stdin = call.Environ(os.Environ()), strings.NewReader(string(call.Stdin))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("file.alert: %v: %s", err, out)
	}
}

func read(t *testing.T, folder, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRotatedFileIsFollowedByANewOne(t *testing.T) {
	folder := t.TempDir()
	a := newAlert(t, folder, "log")
	send := func() {
		t.Helper()
		if err := a.Send(t.Context(), failure()); err != nil {
			t.Fatal(err)
		}
	}
	send()
	send()
	if err := os.Rename(filepath.Join(folder, "log"), filepath.Join(folder, "log.1")); err != nil {
		t.Fatal(err)
	}
	send()
	if got := strings.Count(read(t, folder, "log.1"), "failure web http"); got != 2 {
		t.Errorf("%d records in the old file", got)
	}
	if got := strings.Count(read(t, folder, "log"), "failure web http"); got != 1 {
		t.Errorf("%d records in the new file", got)
	}
	info, err := os.Stat(filepath.Join(folder, "log"))
	if err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Records of many watches at once do not mix.
func TestSeveralWriters(t *testing.T) {
	folder := t.TempDir()
	e := failure()
	e.Output = []byte("web2\n" + strings.Repeat("x", 20000) + "\n")
	var all sync.WaitGroup
	for range 8 {
		a := newAlert(t, folder, "log")
		all.Go(func() {
			for range 10 {
				if err := a.Send(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	want := strings.Repeat(string(record(e, alerts.Site{})), 80)
	if read(t, folder, "log") != want {
		t.Error("the file is not 80 whole records")
	}
}

func TestWhatIsNoPlainFileIsRefused(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	if err := os.WriteFile(at("victim"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("victim", at("link")), os.Symlink("nowhere", at("dangling")), syscall.Mkfifo(at("pipe"), 0o600), syscall.Mkfifo(at("deaf"), 0o600), os.Mkdir(at("folder"), 0o700)); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(at("pipe"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	for file, want := range map[string]string{
		"link": "is a symbolic link", "dangling": "is a symbolic link", "pipe": "is no plain file", "deaf": "is no plain file", "folder": "is no plain file", "/dev/full": "is no plain file",
	} {
		err := newAlert(t, folder, file).Send(t.Context(), failure())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
	}
	if read(t, folder, "victim") != "" {
		t.Error("the link was followed")
	}
	if _, err := os.Lstat(at("nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was made through a link")
	}
}

// TestLostServer: a file system that does not answer costs an alert its time and no more;
// what comes behind it waits its turn, and nothing is written twice at once.
func TestLostServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, written := make(chan error), []string{}
		a := &appender{path: "/net/log", write: func(_ string, record []byte) error {
			first, _, _ := strings.Cut(string(record), " ")
			written = append(written, first)
			return <-answers
		}}
		send := func(kind alerts.Kind) error {
			e := failure()
			e.Kind = kind
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			return a.Send(ctx, e)
		}
		for _, kind := range []alerts.Kind{alerts.Failure, alerts.Failure, alerts.Up} {
			if err := send(kind); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "file /net/log: the file system gives no answer") {
				t.Errorf("%s: got %v", kind, err)
			}
		}
		full := errors.New("full")
		for _, want := range []error{full, nil} { // the record that hangs gets its own end
			go func() { answers <- want }()
			if err := send(alerts.Failure); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		if got := strings.Join(written, " "); got != "failure failure" {
			t.Errorf("written: %s", got)
		}
		go func() { answers <- nil; answers <- nil }()
		_ = a.join([]byte("old record"))
		if err := send(alerts.Up); err != nil || strings.Join(written[2:], " ") != "old up" {
			t.Errorf("behind an old record: %v, written %s", err, written[2:])
		}
		a.write = func(string, []byte) error { panic("oh") }
		if err := send(alerts.Up); err == nil || !strings.Contains(err.Error(), "panicked: oh") {
			t.Errorf("a panic gives %v", err)
		}
	})
}

// A folder that goes away is an error, and nothing is made in its place.
func TestFolderGone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	a := newAlert(t, folder, "log")
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(t.Context(), failure()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), folder) {
		t.Errorf("got %v", err)
	}
}

func TestBadConfiguration(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"": "names no file", "logs/": "names no file", "a\x00b": "names no file",
		"nowhere/log": "there is no folder " + folder + "/nowhere: make it", "plain/log": "is no folder",
	} {
		_, err := configured(folder, file)
		var blamed *plugin.KeyError
		if !errors.As(err, &blamed) || blamed.Key != "file" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", file, err, want)
		}
	}
}

// Each event is wanted, also in a flood.
var _ alerts.Recorder = (*appender)(nil)
