package exec

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script writes a program; the folder is its monitors' Site.Path.
func script(t testing.TB, name, text string, mode fs.FileMode) (folder string) {
	t.Helper()
	folder = t.TempDir()
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return folder
}

// configured builds through the registry, as the daemon does.
func configured(folder string, change func(*Config)) (monitors.Monitor, error) {
	return monitors.Build("exec", monitors.Site{Path: []string{folder}, StateDir: "/state"}, func(into any) error {
		c := into.(*Config)
		c.Program = "x.monitor"
		if change != nil {
			change(c)
		}
		return nil
	})
}

func shell(t testing.TB, text string, change func(*Config)) monitors.Monitor {
	t.Helper()
	m, err := configured(script(t, "x.monitor", "#!/bin/sh\n"+text+"\n", 0o755), change)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compatible gives a monitor mon's quirks, as compat = "mon" does.
func compatible(m monitors.Monitor) monitors.Monitor {
	m.(*Monitor).site.Compat = true
	return m
}

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			return shell(t, `for h; do
				case $h in down*) bad="$bad $h"; detail="$detail
$h: refused";; silent*) sleep 60 & wait;; esac
			done
			echo $bad; echo "$detail"; test -z "$bad"`, nil)
		},
		Up:     func(testing.TB) string { return "up1:80" },
		Down:   func(testing.TB) string { return "down1" },
		Silent: func(testing.TB) string { return "silent1" },
	})
}

func up(hosts ...string) (r []monitors.HostResult) {
	for _, h := range hosts {
		r = append(r, monitors.HostResult{Host: h, Verdict: monitors.Up})
	}
	return r
}

func down(host, reason string) monitors.HostResult {
	return monitors.HostResult{Host: host, Verdict: monitors.Down, Reason: reason}
}

func TestVerdicts(t *testing.T) {
	one, two := []string{"h1"}, []string{"h1", "h2:80"}
	tests := []struct {
		name   string
		script string
		hosts  []string
		want   monitors.Result
	}{
		{"all well", "echo fine; exit 0", two, monitors.Result{Output: []byte("fine\n"), Hosts: up(two...)}},
		{"well in spite of a name", "echo h1", two, monitors.Result{Output: []byte("h1\n"), Hosts: up(two...)}},
		{"no output", "exit 0", two, monitors.Result{Hosts: up(two...)}},
		{
			"one named", "echo h2:80; echo; echo h1 fine; echo 'h2:80: connection  refused'; exit 3", two,
			monitors.Result{
				Exit: 3, Output: []byte("h2:80\n\nh1 fine\nh2:80: connection  refused\n"),
				Hosts: []monitors.HostResult{up("h1")[0], down("h2:80", "connection refused")},
			},
		},
		{
			"both named, with commas, and a word before the detail", "echo 'failed: h1, h2:80'; echo 'HOST h1: no route'; exit 1", two,
			monitors.Result{
				Exit: 1, Output: []byte("failed: h1, h2:80\nHOST h1: no route\n"),
				Hosts: []monitors.HostResult{down("h1", "no route"), down("h2:80", "named by the monitor, exit status 1")},
			},
		},
		{
			"whole words count", "echo h2 h10 xh1 h1.example h2:8080; exit 1", two,
			monitors.Result{Exit: 1, Output: []byte("h2 h10 xh1 h1.example h2:8080\n")},
		},
		{
			"a name in the detail is none in the summary", "echo; echo h1; exit 1", two,
			monitors.Result{Exit: 1, Output: []byte("\nh1\n")},
		},
		{
			"the only host, not named", "echo no route to host; exit 1", one,
			monitors.Result{Exit: 1, Output: []byte("no route to host\n"), Hosts: []monitors.HostResult{down("h1", "no route to host")}},
		},
		{
			"the only host, no output", "exit 9", one,
			monitors.Result{Exit: 9, Hosts: []monitors.HostResult{down("h1", "exit status 9 without a summary")}},
		},
		{"a group that allows to be empty", "echo broken; exit 1", nil, monitors.Result{Exit: 1, Output: []byte("broken\n")}},
		{
			"named, exit status 127", "echo h1; exit 127", one,
			monitors.Result{Exit: 127, Output: []byte("h1\n"), Hosts: []monitors.HostResult{down("h1", "named by the monitor, exit status 127")}},
		},
		{
			"standard error comes along", "echo h1 >&2; echo detail; exit 1", one,
			monitors.Result{Exit: 1, Output: []byte("h1\ndetail\n"), Hosts: []monitors.HostResult{down("h1", "named by the monitor, exit status 1")}},
		},
		{
			"NUL and invalid UTF-8", `printf 'h1 \000\377\n\033[2Jh1: a\000\377b\n'; exit 1`, two,
			monitors.Result{
				Exit: 1, Output: []byte("h1 \x00\xff\n\x1b[2Jh1: a\x00\xffb\n"),
				Hosts: []monitors.HostResult{down("h1", "named by the monitor, exit status 1"), up("h2:80")[0]},
			},
		},
		{
			"NUL and invalid UTF-8 as the reason", `printf 'a\000\377b\n'; exit 1`, one,
			monitors.Result{Exit: 1, Output: []byte("a\x00\xffb\n"), Hosts: []monitors.HostResult{down("h1", "a??b")}},
		},
		{
			"a child keeps the pipe", "sleep 60 & echo h1; exit 1", one,
			monitors.Result{Exit: 1, Output: []byte("h1\n"), Hosts: []monitors.HostResult{down("h1", "named by the monitor, exit status 1")}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := shell(t, tt.script, nil).Check(t.Context(), monitors.Request{Group: "g", Service: "s", Hosts: tt.hosts})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCall(t *testing.T) {
	const text = `read line && echo read "$line"; printf '<%s>' "$@"; echo; echo $MON_GROUP $MON_STATEDIR $MINE "$MON_LAST_OUTPUT"`
	r := monitors.Request{
		Group: "g", Service: "s", Hosts: []string{"h1", "h 2"}, Env: []string{"MINE=a b"}, Runs: 1,
		LastOutput: strings.Repeat("x", 10) + "\x00" + strings.Repeat("y", 1<<20),
	}
	for _, tt := range []struct {
		hosts bool
		want  string
	}{
		{true, "<-p><a $b ;><h1><h 2>\n"},
		{false, "<-p><a $b ;>\n"},
	} {
		m := shell(t, text, func(c *Config) { c.Args, c.Hosts = []string{"-p", "a $b ;"}, tt.hosts })
		got, err := m.Check(t.Context(), r)
		if want := tt.want + "g /state a b xxxxxxxxxx\n"; err != nil || string(got.Output) != want {
			t.Errorf("hosts = %v: got %q, %v; want %q", tt.hosts, got.Output, err, want)
		}
	}
}

// What could not be tested is not down.
func TestCouldNotTest(t *testing.T) {
	quick := func(c *Config) { c.Timeout = monitors.Duration(200 * time.Millisecond) }
	tests := []struct {
		name   string
		script string
		change func(*Config)
		is     error
		text   string
	}{
		{"hangs and ignores SIGTERM", "trap '' TERM; echo h1; while :; do sleep 60; done", quick, context.DeadlineExceeded, "did not end within 200ms"},
		{"killed by a signal", "echo h1; kill -SEGV $$", nil, nil, "killed by signal 11"},
		{"command not found", "/nonexistent/ping -c 1", nil, nil, "exit status 127, which says that a command could not be run: "},
		{"command not executable", "/etc/passwd", nil, nil, "exit status 126, which"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := shell(t, tt.script, tt.change).Check(t.Context(), monitors.Request{Hosts: []string{"h1"}})
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %+v, %v; want an error with %q", got, err, tt.text)
			}
		})
	}
}

// A program that is fine at start may be gone, or broken, later.
func TestCannotBeStarted(t *testing.T) {
	tests := []struct {
		name   string
		damage func(path string) error
		want   error
	}{
		{"removed", os.Remove, fs.ErrNotExist},
		{"not executable", func(path string) error { return os.Chmod(path, 0o644) }, fs.ErrPermission},
		{"no #! line", func(path string) error { return rewrite(path, "echo h1\n") }, syscall.ENOEXEC},
		{"no such interpreter", func(path string) error { return rewrite(path, "#!/nonexistent/perl\n") }, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := script(t, "x.monitor", "#!/bin/sh\n", 0o755)
			plain, err1 := configured(folder, nil)
			quirks, err2 := configured(folder, nil)
			if err := errors.Join(err1, err2, tt.damage(filepath.Join(folder, "x.monitor"))); err != nil {
				t.Fatal(err)
			}
			quirks = compatible(quirks)
			request := monitors.Request{Hosts: []string{"h1", "h2"}}
			if got, err := plain.Check(t.Context(), request); !errors.Is(err, tt.want) {
				t.Errorf("got %+v, %v; want %v", got, err, tt.want)
			}
			got, err := quirks.Check(t.Context(), request)
			if diff := cmp.Diff(monitors.Result{Exit: 1}, got); diff != "" || err != nil {
				t.Errorf("with mon's quirks (-want +got): %v\n%s", err, diff)
			}
		})
	}
}

func rewrite(path, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), 0o755)
}

func TestMonsQuirks(t *testing.T) {
	tests := []struct {
		name, script string
		want         monitors.Result
	}{
		{"killed by a signal", "echo h1; kill -KILL $$", monitors.Result{Output: []byte("h1\n"), Hosts: up("h1", "h2")}},
		{"exit status 127", "exit 127", monitors.Result{Exit: 127}},
		{"failure", "echo h1; exit 1", monitors.Result{
			Exit: 1, Output: []byte("h1\n"), Hosts: []monitors.HostResult{down("h1", "named by the monitor, exit status 1"), up("h2")[0]},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := compatible(shell(t, tt.script, nil)).Check(t.Context(), monitors.Request{Hosts: []string{"h1", "h2"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A time limit is no quirk of mon's: it had none.
func TestMonsQuirksEndInTimeToo(t *testing.T) {
	m := compatible(shell(t, "sleep 60", func(c *Config) { c.Timeout = monitors.Duration(100 * time.Millisecond) }))
	if got, err := m.Check(t.Context(), monitors.Request{Hosts: []string{"h1"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestGigabyte(t *testing.T) {
	got, err := shell(t, "echo h1; yes | head -c 1G; exit 1", nil).Check(t.Context(), monitors.Request{Hosts: []string{"h1", "h2"}})
	if err != nil {
		t.Fatal(err)
	}
	const notice = "\n[output cut: 1072693251 bytes more were dropped]\n" // 1 GiB + 3 - 1 MiB
	if len(got.Output) > 1<<20+100 || !strings.HasSuffix(string(got.Output), notice) {
		t.Errorf("%d bytes of output, the end is %q", len(got.Output), got.Output[len(got.Output)-60:])
	}
	if got.Hosts[0].Verdict != monitors.Down || got.Hosts[1].Verdict != monitors.Up {
		t.Errorf("got %+v", got.Hosts)
	}
}

func TestLongFirstLine(t *testing.T) {
	got, err := shell(t, "yes ä | tr '\\n' ' ' | head -c 2M; exit 1", nil).Check(t.Context(), monitors.Request{Hosts: []string{"h1"}})
	if err != nil {
		t.Fatal(err)
	}
	if reason := got.Hosts[0].Reason; len([]rune(reason)) > reasonLength || !strings.HasSuffix(reason, "…") {
		t.Errorf("the reason is %q", reason)
	}
}

func TestBadConfig(t *testing.T) {
	folder := script(t, "x.monitor", "#!/bin/sh\n", 0o755)
	if err := os.WriteFile(filepath.Join(folder, "text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, key string
		change    func(*Config)
		is        error
		text      string
	}{
		{"no program", "program", func(c *Config) { c.Program = "" }, fs.ErrNotExist, "no program is named"},
		{"missing", "program", func(c *Config) { c.Program = "y.monitor" }, fs.ErrNotExist, `no program "y.monitor" in ` + folder},
		{"not executable", "program", func(c *Config) { c.Program = "text" }, fs.ErrPermission, "not executable"},
		{"NUL", "args", func(c *Config) { c.Args = []string{"a\x00"} }, nil, "NUL"},
		{"no time", "timeout", func(c *Config) { c.Timeout = 0 }, nil, "above zero"},
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

// What a program prints is anything; the verdicts are sound in any case.
func FuzzVerdicts(f *testing.F) {
	f.Add("h1 h2\nh1: x\n", 1)
	f.Add("\x00\xff,\n", 255)
	f.Fuzz(func(t *testing.T, output string, exit int) {
		hosts := []string{"h1", "h2", "[::1]:80"}
		r := verdicts(hosts, exit, []byte(output))
		if len(r.Hosts) != 0 && len(r.Hosts) != len(hosts) || exit == 0 && len(r.Hosts) == 0 {
			t.Fatalf("results for %d hosts", len(r.Hosts))
		}
		var failed int
		for i, h := range r.Hosts {
			if h.Verdict == monitors.Down {
				failed++
			}
			if h.Host != hosts[i] || (h.Verdict == monitors.Up) != (h.Reason == "") || strings.ContainsAny(h.Reason, "\r\n\x00") || h.Reason != strings.TrimSpace(h.Reason) {
				t.Errorf("%+v", h)
			}
		}
		if len(r.Hosts) > 0 && (exit == 0) != (failed == 0) {
			t.Errorf("exit status %d, %d hosts down", exit, failed)
		}
	})
}
