package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes the program x.alert in a folder of its own.
func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// configured builds through the registry, as the daemon does.
func configured(folder string, change func(*Config)) (alerts.Alert, error) {
	return alerts.Build("exec", alerts.Site{Path: []string{folder}, StateDir: "/state"}, func(into any) error {
		c := into.(*Config)
		c.Program = "x.alert"
		if change != nil {
			change(c)
		}
		return nil
	})
}

// shell is an alert whose program is a script; it knows its folder as $0's.
func shell(t testing.TB, text string, change func(*Config)) (a alerts.Alert, folder string) {
	t.Helper()
	folder = t.TempDir()
	write(t, filepath.Join(folder, "x.alert"), "#!/bin/sh\ncd \"${0%/*}\"\n"+text+"\n", 0o755)
	a, err := configured(folder, change)
	if err != nil {
		t.Fatal(err)
	}
	return a, folder
}

func TestConformance(t *testing.T) {
	script := func(text string) func(testing.TB) alerts.Alert {
		return func(t testing.TB) alerts.Alert {
			a, _ := shell(t, text, nil)
			return a
		}
	}
	alerttest.Run(t, alerttest.Subject{
		New:     script("cat >/dev/null"),
		Broken:  script("kill -9 $$"),
		Blocked: script("sleep 60 & wait"),
	})
}

func failure() alerts.Event {
	return alerts.Event{
		Kind: alerts.Failure, Group: "g", Service: "s", Time: time.Unix(1000, 0), Hosts: []alerts.Host{{Name: "h1"}, {Name: "h2"}},
		Summary: "h1", Output: []byte("h1\ndetail \x00\xff\n"), Exit: new(2), Events: 1, Env: []string{"MINE=a b"},
	}
}

func TestSend(t *testing.T) {
	a, folder := shell(t, `printf '<%s>' "$@" >got; echo " $MON_ALERTTYPE $MON_RETVAL $MON_STATEDIR $MINE" >>got; cat >>got`,
		func(c *Config) { c.Args = []string{"to whom"} })
	e := failure()
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want := "<-s><s><-g><g><-h><h1 h2><-t><1000><to whom> failure 2 /state a b\nh1\ndetail \x00\xff\n"
	if got, err := os.ReadFile(filepath.Join(folder, "got")); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	call := a.(*Alert).Invocation(e)
	args := []string{filepath.Join(folder, "x.alert"), "-s", "s", "-g", "g", "-h", "h1 h2", "-t", "1000", "to whom"}
	if diff := cmp.Diff(args, call.Args); diff != "" {
		t.Errorf("Invocation (-want +got):\n%s", diff)
	}
}

func TestNotDelivered(t *testing.T) {
	tests := []struct {
		name, script string
		change       func(*Config)
		is           error
		text         string
	}{
		{"killed by a signal", "echo dying; kill -SEGV $$", nil, nil, "killed by signal 11 (segmentation fault): dying"},
		{"gone", "rm x.alert", nil, fs.ErrNotExist, "x.alert"},
		{"not executable any more", "chmod -x x.alert", nil, fs.ErrPermission, "x.alert"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := shell(t, tt.script, tt.change)
			err := a.Send(t.Context(), failure())
			if errors.Is(tt.is, fs.ErrNotExist) || errors.Is(tt.is, fs.ErrPermission) { // The first one did it.
				err = a.Send(t.Context(), failure())
			}
			if err == nil || errors.Is(err, alerts.ErrDelivered) || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want an error with %q", err, tt.text)
			}
		})
	}
}

// A program that hangs has a fifth of a second, to be begun in as well. On a busy
// machine that may be too little, and the time is over before: then it has more.
func TestNotDeliveredInTime(t *testing.T) {
	var err error
	for _, timeout := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 20 * time.Second} {
		a, _ := shell(t, "trap '' TERM; while :; do sleep 60; done", func(c *Config) { c.Timeout = alerts.Duration(timeout) })
		err = a.Send(t.Context(), failure())
		switch {
		case !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, alerts.ErrDelivered):
			t.Fatalf("got %v, want %v, and no delivery", err, context.DeadlineExceeded)
		case strings.Contains(err.Error(), "did not end within "+timeout.String()):
			return
		}
	}
	t.Errorf("got %v, want to hear that it did not end in its time", err)
}

// A program that ran is not run again, whatever it says at the end: the message
// would go out twice.
func TestDeliveredWithComplaint(t *testing.T) {
	tests := []struct{ name, script, text string }{
		{"exit status", "exit 3", "x.alert: exit status 3"},
		{"with words", "echo one; echo ' two' >&2; exit 1", "exit status 1: one two"},
		{"no valid text", `printf 'a\000\377\033[2J'; exit 1`, "exit status 1: a???[2J"},
		{"a gigabyte of words", "yes | head -c 1G; exit 1", "exit status 1: y y y"},
		{"command not found", "/nonexistent/mail", "exit status 127: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := shell(t, tt.script, nil)
			err := a.Send(t.Context(), failure())
			if !errors.Is(err, alerts.ErrDelivered) || !strings.Contains(fmt.Sprint(err), tt.text) || len(err.Error()) > 1000 {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// What an alert leaves in the background may finish its work.
func TestBackground(t *testing.T) {
	a, folder := shell(t, "(read x <go; echo sent >got) & exit 0", nil)
	goOn := filepath.Join(folder, "go")
	if err := syscall.Mkfifo(goOn, 0o600); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- a.Send(t.Context(), failure()) }()
	if err := os.WriteFile(goOn, []byte("now\n"), 0); err != nil { // Waits for the reader.
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(folder, "got")); err != nil || string(got) != "sent\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// It has the whole timeout for that; then it is ended, and delivered it is.
func TestEndlessBackground(t *testing.T) {
	send := func(timeout time.Duration) error {
		a, _ := shell(t, "sleep 300 & exit 0", func(c *Config) { c.Timeout = alerts.Duration(timeout) })
		begun := time.Now()
		err := a.Send(t.Context(), failure())
		if took := time.Since(begun); took < timeout || took > timeout+18700*time.Millisecond {
			t.Errorf("took %v, want the timeout of %v", took, timeout)
		}
		return err
	}
	err := send(1300 * time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) { // The machine is busy: the shell itself did not get to its end.
		err = send(20 * time.Second)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestStandardInputUnread(t *testing.T) {
	a, _ := shell(t, "exit 0", nil)
	e := failure()
	e.Output = []byte(strings.Repeat("x", 8<<20))
	if err := a.Send(t.Context(), e); err != nil {
		t.Error(err)
	}
}

func TestBadConfig(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "x.alert"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(folder, "text"), "", 0o644)
	tests := []struct {
		name, key string
		change    func(*Config)
		is        error
		text      string
	}{
		{"no program", "program", func(c *Config) { c.Program = "" }, fs.ErrNotExist, "no program is named"},
		{"missing", "program", func(c *Config) { c.Program = "y.alert" }, fs.ErrNotExist, `no program "y.alert" in ` + folder},
		{"not executable", "program", func(c *Config) { c.Program = "text" }, fs.ErrPermission, "not executable"},
		{"NUL", "args", func(c *Config) { c.Args = []string{"a\x00"} }, nil, "NUL"},
		{"no time", "timeout", func(c *Config) { c.Timeout = -1 }, nil, "above zero"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configured(folder, tt.change)
			var blamed *plugin.KeyError
			if !errors.As(err, &blamed) || blamed.Key != tt.key || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want key %q, %q", err, tt.key, tt.text)
			}
		})
	}
}

// file.alert of Debian's package mon, as it is packaged, appends a record.
func TestDebianFileAlert(t *testing.T) {
	root := debian.Tree(t, "mon")
	debian.Setenv(t, root)
	folder := t.TempDir()
	a, err := configured(filepath.Join(root, "usr/lib/mon/alert.d"), func(c *Config) {
		c.Program, c.Args = "file.alert", []string{"-d", folder, "log"}
	})
	if err != nil {
		t.Fatal(err)
	}
	e := failure()
	e.Description = "Web servers"
	up := e
	up.Kind, up.Status, up.Exit, up.Time = alerts.Up, 1, new(0), time.Unix(1060, 0)
	for _, event := range []alerts.Event{e, up} {
		if err := a.Send(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	date := func(at time.Time) string { return at.Local().Format("Mon Jan 2 15:04:05") }
	want := fmt.Sprintf("failure g s 1000 (%s) h1\nDESCR=Web servers\nOPSTATUS=0\ndetail \x00\xff\n.\n", date(e.Time)) +
		fmt.Sprintf("up g s 1060 (%s) h1\nDESCR=Web servers\nOPSTATUS=1\ndetail \x00\xff\n.\n", date(up.Time))
	if got, err := os.ReadFile(filepath.Join(folder, "log")); err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}
