package exec

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/internal/timeup"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write writes a program or another file.
func write(t testing.TB, file, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// install copies a program of testdata: the repository's files may belong to
// anybody, and are then not run by root.
func install(t testing.TB, name, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(folder, name), string(text), 0o755)
}

func siteIn(dir string) resources.Site {
	return resources.Site{StateDir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "log"), Hostname: "dr1"}
}

// configured builds through the registry, as the daemon does.
func configured(dir string, change func(*Config)) (resources.Resource, error) {
	return resources.Build("exec", siteIn(dir), func(into any) error {
		change(into.(*Config))
		return nil
	})
}

func built(t testing.TB, dir string, change func(*Config)) resources.Resource {
	t.Helper()
	r, err := configured(dir, change)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// initScript is a subject's place with the init script in it, and a file that makes
// it misbehave.
func initScript(fault string) func(testing.TB) func() resources.Resource {
	return func(t testing.TB) func() resources.Resource {
		dir := t.TempDir()
		path := install(t, "shopd", filepath.Join(dir, "init.d"))
		if fault != "" {
			write(t, filepath.Join(dir, "init.d", fault), "", 0o644)
		}
		return func() resources.Resource {
			return built(t, dir, func(c *Config) { c.Program = path })
		}
	}
}

func TestConformanceLSB(t *testing.T) {
	resourcetest.Run(t, resourcetest.Subject{New: initScript(""), Broken: initScript("broken"), Blocked: initScript("blocked")})
}

func TestConformanceHeartbeat(t *testing.T) {
	with := func(fault string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			dir := t.TempDir()
			folder := filepath.Join(dir, "resource.d")
			install(t, "Widget", folder)
			write(t, filepath.Join(folder, fault), "", 0o644)
			return func() resources.Resource {
				return built(t, dir, func(c *Config) { c.Program, c.Path, c.Args = "Widget", []string{folder}, []string{"front", "7"} })
			}
		}
	}
	resourcetest.Run(t, resourcetest.Subject{New: with("well"), Broken: with("broken"), Blocked: with("blocked")})
}

// ocfIn builds the agent of testdata, with its file in dir.
func ocfIn(t testing.TB, dir, file string) func() resources.Resource {
	t.Helper()
	install(t, "Flag", filepath.Join(dir, "ocf/resource.d/acme"))
	return func() resources.Resource {
		return built(t, dir, func(c *Config) {
			c.Program, c.OCFRoot = "ocf:acme:Flag", filepath.Join(dir, "ocf")
			c.Params = map[string]string{"file": filepath.Join(dir, file), "text": "it's $HOME"}
		})
	}
}

func TestConformanceOCF(t *testing.T) {
	resourcetest.Run(t, resourcetest.Subject{
		New:    func(t testing.TB) func() resources.Resource { return ocfIn(t, t.TempDir(), "flag") },
		Broken: func(t testing.TB) func() resources.Resource { return ocfIn(t, t.TempDir(), "missing/flag") },
		Blocked: func(t testing.TB) func() resources.Resource {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "blocked"), "", 0o644)
			return ocfIn(t, dir, "flag")
		},
	})
}

func TestConformanceWithoutStatus(t *testing.T) {
	with := func(fault string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "resource.d", fault), "", 0o644)
			return telegram(t, dir)
		}
	}
	resourcetest.Run(t, resourcetest.Subject{New: with("well"), Broken: with("broken"), Blocked: with("blocked")})
}

func telegram(t testing.TB, dir string) func() resources.Resource {
	t.Helper()
	path := install(t, "Telegram", filepath.Join(dir, "resource.d"))
	return func() resources.Resource {
		return built(t, dir, func(c *Config) { c.Program, c.Args, c.Status = path, []string{"ops"}, false })
	}
}

// One takeover is one telegram, whoever asks how often and across restarts.
func TestWithoutStatusIsCalledOnce(t *testing.T) {
	dir := t.TempDir()
	build := telegram(t, dir)
	ctx := t.Context()
	for i, do := range []func(context.Context) error{
		build().Stop, build().Start, build().Start, build().Stop, build().Stop, build().Start,
	} {
		if err := do(ctx); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "resource.d/told"))
	if want := "start ops\nstop ops\nstart ops\n"; err != nil || string(got) != want {
		t.Errorf("told %q, error %v; want %q", got, err, want)
	}
}

func TestJudge(t *testing.T) {
	const none = resources.Status(-1)
	tests := []struct {
		name           string
		class          class
		exit           int
		output, stderr string
		want           resources.Status
		why            string
	}{
		{name: "running", class: lsb, want: resources.Running},
		{name: "dead with a pid file", class: lsb, exit: 1, want: resources.Stopped},
		{name: "dead with a lock", class: lsb, exit: 2, want: resources.Stopped},
		{name: "stopped, whatever it prints", class: lsb, exit: 3, output: "running", want: resources.Stopped},
		{name: "unknown", class: lsb, exit: 4, want: none, why: "does not know whether"},
		{name: "reserved", class: lsb, exit: 150, want: none, why: "no status"},
		{name: "no such command", class: lsb, exit: 127, want: none, why: "could not be run"},
		{name: "usage", class: lsb, exit: 3, stderr: "Usage: /etc/init.d/x {start|stop}\n", want: none, why: "status = false"},
		{name: "usage with a star", class: lsb, exit: 1, output: " * Usage: x {start|stop}", want: none, why: "status = false"},
		{name: "the word usage", class: lsb, exit: 3, output: "memory usage: none", want: resources.Stopped},

		{name: "words, not the exit status", class: heartbeat, exit: 3, output: "running", want: resources.Running},
		{name: "OK", class: heartbeat, output: "eth0:0 OK\n", want: resources.Running},
		{name: "ok is not OK", class: heartbeat, output: "ok", want: none, why: "neither"},
		{name: "capital", class: heartbeat, output: "Running", want: resources.Running},
		{name: "not running", class: heartbeat, output: "x is not running", want: resources.Stopped},
		{name: "NOT Running", class: heartbeat, output: "x is NOT Running", want: resources.Stopped},
		{name: "not, some lines on, running", class: heartbeat, output: "x is not there,\nso nothing is running OK", want: resources.Stopped},
		{name: "not running and OK", class: heartbeat, output: "OK: not running", want: resources.Stopped},
		{name: "running, not blocked", class: heartbeat, output: "running, not blocked", want: resources.Running},
		{name: "stopped", class: heartbeat, output: "stopped", want: resources.Stopped},
		{name: "down", class: heartbeat, exit: 9, output: "DOWN\n", want: resources.Stopped},
		{name: "downstream is not down", class: heartbeat, output: "downstream", want: none, why: "neither"},
		{name: "silent", class: heartbeat, want: none, why: "neither"},
		{name: "silent, LSB's stopped", class: heartbeat, exit: 3, want: resources.Stopped},
		{name: "silent, no permission", class: heartbeat, exit: 4, output: "could not find out", want: none, why: "neither"},
		{name: "standard error is no answer", class: heartbeat, output: "stopped", stderr: "running OK", want: resources.Stopped},
		{name: "usage, by text", class: heartbeat, exit: 1, output: "usage: x {start|stop}", want: none, why: "status = false"},

		{name: "success", class: ocf, want: resources.Running},
		{name: "generic error", class: ocf, exit: 1, want: resources.Failed},
		{name: "not configured", class: ocf, exit: 6, want: none, why: "OCF_ERR_CONFIGURED"},
		{name: "not installed", class: ocf, exit: 5, want: none, why: "OCF_ERR_INSTALLED"},
		{name: "not running, by number", class: ocf, exit: 7, output: "running", want: resources.Stopped},
		{name: "promoted", class: ocf, exit: 8, want: resources.Running},
		{name: "promoted and failed", class: ocf, exit: 9, want: resources.Failed},
		{name: "degraded", class: ocf, exit: 190, want: resources.Running},
		{name: "no number of OCF's", class: ocf, exit: 42, want: none, why: "no status"},
	}
	for _, tt := range tests {
		t.Run(tt.class.String()+"/"+tt.name, func(t *testing.T) {
			got, why := tt.class.judge(runcmd.Result{Exit: tt.exit, Output: []byte(tt.output), Stderr: []byte(tt.stderr)})
			if tt.want == none {
				if why == "" || !strings.Contains(why, tt.why) {
					t.Errorf("%s, because %q; want no status, because %q", got, why, tt.why)
				}
				return
			}
			if got != tt.want || why != "" {
				t.Errorf("%s, because %q; want %s", got, why, tt.want)
			}
		})
	}
}

// script builds a program of class lsb, or of another.
func script(t testing.TB, text, class string) (r resources.Resource, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := write(t, filepath.Join(dir, "x"), "#!/bin/sh\ncd "+dir+"\n"+text+"\n", 0o755)
	return built(t, dir, func(c *Config) { c.Program, c.Class = path, class }), dir
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n\n") || len(err.Error()) > 2000 {
		t.Errorf("error of %d bytes: %.200q", len(err.Error()), err)
	}
}

func TestErrors(t *testing.T) {
	t.Run("the output's last lines", func(t *testing.T) {
		r, _ := script(t, `case $1 in start) seq 100000; echo "address in use" >&2; exit 7;; status) exit 3;; esac`, "lsb")
		wantError(t, r.Start(t.Context()), "x start: exit status 7", "99999 100000 address in use")
	})
	t.Run("the start and the stop after it", func(t *testing.T) {
		r, _ := script(t, `case $1 in start) exit 1;; stop) echo "will not"; exit 5;; status) exit 4;; esac`, "lsb")
		wantError(t, r.Start(t.Context()), "x start: exit status 1", "x stop: exit status 5: will not", "status is not known")
	})
	t.Run("stop fails and it runs", func(t *testing.T) {
		r, _ := script(t, `case $1 in stop) exit 1;; status) exit 0;; esac`, "lsb")
		wantError(t, r.Stop(t.Context()), "x stop: exit status 1; it is running")
	})
	t.Run("stop fails on what is stopped", func(t *testing.T) {
		r, _ := script(t, `case $1 in stop) exit 1;; status) exit 3;; esac`, "lsb")
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("stop hangs", func(t *testing.T) {
		r, dir := script(t, `case $1 in stop) echo waiting for requests; echo >said; sleep 1000;; status) exit 3;; esac`, "lsb")
		wantError(t, r.Stop(timeup.AtWord(t, filepath.Join(dir, "said"))), "x stop did not end in time", "waiting for requests")
	})
	t.Run("status is killed", func(t *testing.T) {
		r, _ := script(t, `kill -9 $$`, "lsb")
		_, err := r.Status(t.Context())
		wantError(t, err, "x status: killed by signal 9")
	})
	t.Run("status without an answer", func(t *testing.T) {
		r, _ := script(t, `echo perhaps`, "heartbeat")
		_, err := r.Status(t.Context())
		wantError(t, err, "x status: it says neither", ": perhaps")
	})
	t.Run("the program is gone", func(t *testing.T) {
		r, dir := script(t, ``, "lsb")
		if err := os.Remove(filepath.Join(dir, "x")); err != nil {
			t.Fatal(err)
		}
		_, err := r.Status(t.Context())
		wantError(t, err, "no such file")
		wantError(t, r.Start(t.Context()), "no such file")
		wantError(t, r.Stop(t.Context()), "no such file")
	})
}

// ending is a context whose deadline comes and goes: it is over only at the end of
// the test.
type ending struct {
	context.Context //nolint:containedctx // It is one.

	at time.Time
}

func (e ending) Deadline() (time.Time, bool) { return e.at, true }

// A start whose time is up gets stopped in what is left of it, however long the
// machine takes for that.
func TestStartLeavesTimeToStop(t *testing.T) {
	r, dir := script(t, `case $1 in start) touch half; sleep 1000;; stop) rm half && echo >stopped;; status) exit 3;; esac`, "lsb")
	for last := 400 * time.Millisecond; ; last *= 4 {
		ctx := ending{t.Context(), time.Now().Add(last)}
		wantError(t, r.Start(ctx), "x start did not end in time")
		if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
			t.Fatal("what the start did is still there")
		}
		if _, err := os.Stat(filepath.Join(dir, "stopped")); err == nil {
			return
		}
		if last > time.Minute {
			t.Fatal("nothing was started, or nothing stopped")
		}
	}
}

func TestLeavingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		early, end := leavingTime(ctx)
		defer end()
		<-early.Done()
		if took := time.Since(began); took != 3*time.Second || ctx.Err() != nil {
			t.Errorf("it has %s of 4s, want 3s; %v", took, ctx.Err())
		}
	})
}

// A service whose script does not close its output must neither be ended with the
// script nor hold it up: it has no pipe of ours, whose end would be waited for.
func TestServiceKeepsItsOutput(t *testing.T) {
	r, dir := script(t, `case $1 in
start) (readlink /proc/self/fd/1 /proc/self/fd/2 >fds; echo begun; read line <fifo; echo still here; echo >done) & echo $! >pid;;
status) exit 3;; esac`, "lsb")
	in, out := fifo(t, filepath.Join(dir, "fifo")), fifo(t, filepath.Join(dir, "done"))
	began := time.Now()
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > runcmd.DefaultLinger {
		t.Errorf("start took %s: it waited for the service", took)
	}
	t.Cleanup(func() { end(t, filepath.Join(dir, "pid")) })
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the service did not live on: %v", err)
	}
	if fds, err := os.ReadFile(filepath.Join(dir, "fds")); err != nil || strings.Contains(string(fds), "pipe:") || strings.Count(string(fds), "\n") != 2 {
		t.Errorf("its output goes to %q, %v; want no pipe", fds, err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log", "exec-x-*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %q, error %v", logs, err)
	}
	if text := tail(logs[0]); string(text) != "begun\nstill here\n" {
		t.Errorf("the log says %q", text)
	}
}

// fifo makes a named pipe whose opening never waits for another.
func fifo(t testing.TB, file string) *os.File {
	t.Helper()
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return f
}

// end ends the process of a pid file, if it is still there.
func end(t testing.TB, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// A log that cannot be written, as on a full disk, hinders no start.
func TestStartWithoutLog(t *testing.T) {
	r, dir := script(t, `case $1 in start) echo hello && touch on;; status) [ -e on ] || exit 3;; esac`, "lsb")
	write(t, filepath.Join(dir, "log"), "in the way of the folder", 0o600)
	if err := r.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEnvironment(t *testing.T) {
	const dump = `env >env.$1; case $1 in start|stop) exit 0;; esac; echo stopped; exit 7`
	t.Setenv("OCF_RESKEY_left", "over")
	t.Setenv("LC_ALL", "fr_FR.UTF-8")
	tests := []struct {
		class, action string
		want, not     []string
	}{
		{"lsb", "status", []string{"LC_ALL=C"}, []string{"OCF_", "HA_"}},
		{"lsb", "start", []string{"LC_ALL=fr_FR.UTF-8"}, []string{"OCF_", "HA_"}},
		{"heartbeat", "start", []string{"HA_CURHOST=dr1", "HA_DIR=/etc/ha.d", "HA_RESOURCEDIR=/etc/ha.d/resource.d", "LC_ALL=fr_FR.UTF-8"}, []string{"OCF_"}},
		{"ocf", "monitor", []string{
			"OCF_ROOT=/usr/lib/ocf", "OCF_RA_VERSION_MAJOR=1", "OCF_RESOURCE_TYPE=x", "OCF_RESOURCE_INSTANCE=x-", "OCF_CHECK_LEVEL=0",
			"OCF_RESKEY_CRM_meta_timeout=", "LC_ALL=C",
		}, []string{"OCF_RESKEY_left", "HA_"}},
	}
	for _, tt := range tests {
		t.Run(tt.class+" "+tt.action, func(t *testing.T) {
			r, dir := script(t, dump, tt.class)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := r.Status(ctx); err != nil && tt.class != "lsb" { // 7 is none of LSB's
				t.Fatal(err)
			}
			if err := r.Start(ctx); err != nil {
				t.Fatal(err)
			}
			env, err := os.ReadFile(filepath.Join(dir, "env."+tt.action))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range tt.want {
				if !strings.Contains("\n"+string(env), "\n"+v) {
					t.Errorf("no %s in:\n%s", v, env)
				}
			}
			for _, v := range tt.not {
				if strings.Contains("\n"+string(env), "\n"+v) {
					t.Errorf("%s in:\n%s", v, env)
				}
			}
		})
	}
}

// Who may write a program that root runs is root.
func TestTrusted(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("only root is kept from running others' programs")
	}
	tests := []struct {
		name   string
		change func(dir, path string) error
		want   string
	}{
		{"everybody's", func(_, path string) error { return os.Chmod(path, 0o757) }, "everybody may write it"},
		{"a group's", func(_, path string) error {
			return firstError(os.Chown(path, 0, 4), os.Chmod(path, 0o775))
		}, "group 4 may write it"},
		{"somebody's", func(_, path string) error { return os.Chown(path, 1, 0) }, "belongs to user 1"},
		{"in everybody's folder", func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "everybody may write it"},
		{"in a sticky folder", func(dir, _ string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) }, ""},
		{"root's group", func(_, path string) error { return os.Chmod(path, 0o775) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, dir := script(t, `exit 3`, "lsb")
			if err := tt.change(dir, filepath.Join(dir, "x")); err != nil {
				t.Fatal(err)
			}
			_, err := r.Status(t.Context())
			_, again := configured(dir, func(c *Config) { c.Program = filepath.Join(dir, "x") })
			if tt.want == "" {
				if err != nil || again != nil {
					t.Error(err, again)
				}
				return
			}
			wantError(t, err, tt.want, "not run by root", "chmod go-w")
			wantError(t, again, "program: ", tt.want)
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	resourceD, initD, root := filepath.Join(dir, "ha.d/resource.d"), filepath.Join(dir, "init.d"), filepath.Join(dir, "ocf")
	for _, file := range []string{"ha.d/resource.d/both", "init.d/both", "init.d/web", "ocf/resource.d/heartbeat/A", "ocf/resource.d/acme/A"} {
		write(t, filepath.Join(dir, file), "#!/bin/sh\n", 0o755)
	}
	tests := []struct {
		program, class, path string
		want                 class
	}{
		{"both", "", "ha.d/resource.d/both", heartbeat},
		{"both", "heartbeat", "ha.d/resource.d/both", heartbeat},
		{"both", "lsb", "init.d/both", lsb},
		{"web", "", "init.d/web", lsb},
		{"web", "heartbeat", "init.d/web", heartbeat},
		{initD + "/web", "", "init.d/web", lsb},
		{resourceD + "/both", "", "ha.d/resource.d/both", heartbeat},
		{resourceD + "/both", "lsb", "ha.d/resource.d/both", lsb},
		{"ocf:heartbeat:A", "", "ocf/resource.d/heartbeat/A", ocf},
		{"ocf:acme:A", "ocf", "ocf/resource.d/acme/A", ocf},
		{"acme:A", "ocf", "ocf/resource.d/acme/A", ocf},
		{"A", "ocf", "ocf/resource.d/heartbeat/A", ocf},
		{root + "/resource.d/acme/A", "", "ocf/resource.d/acme/A", ocf},
		{initD + "/web", "ocf", "init.d/web", ocf},
	}
	for _, tt := range tests {
		t.Run(tt.program+" "+tt.class, func(t *testing.T) {
			path, class, err := Config{Program: tt.program, Class: tt.class, Path: []string{resourceD, initD}, OCFRoot: root}.locate()
			if err != nil || path != filepath.Join(dir, tt.path) || class != tt.want {
				t.Errorf("%s of class %s, error %v; want %s of class %s", path, class, err, tt.path, tt.want)
			}
		})
	}
}

func TestDefaultFolders(t *testing.T) {
	_, err := configured(t.TempDir(), func(c *Config) { c.Program = "no-such-program" })
	wantError(t, err, "program: ", "/etc/ha.d/resource.d, /etc/init.d")
	_, err = configured(t.TempDir(), func(c *Config) { c.Program = "ocf:acme:NoSuchAgent" })
	wantError(t, err, "program: ", "/usr/lib/ocf/resource.d/acme")
}

func TestBadKeys(t *testing.T) {
	dir := t.TempDir()
	init := write(t, filepath.Join(dir, "init.d/x"), "#!/bin/sh\n", 0o755)
	plain := write(t, filepath.Join(dir, "init.d/plain"), "#!/bin/sh\n", 0o644)
	tests := []struct {
		name, key string
		config    Config
	}{
		{"no program", "program", Config{Status: true}},
		{"no such program", "program", Config{Program: dir + "/y", Status: true}},
		{"not executable", "program", Config{Program: plain, Status: true}},
		{"a strange class", "class", Config{Program: init, Class: "systemd", Status: true}},
		{"two classes", "class", Config{Program: "ocf:a:B", Class: "lsb", Status: true}},
		{"no agent's name", "program", Config{Program: "ocf:../x:B", Status: true}},
		{"an agent with arguments", "args", Config{Program: init, Class: "ocf", Args: []string{"x"}, Status: true}},
		{"an agent without status", "status", Config{Program: init, Class: "ocf"}},
		{"parameters for a script", "params", Config{Program: init, Params: map[string]string{"x": "y"}, Status: true}},
		{"an instance of a script", "instance", Config{Program: init, Instance: "x", Status: true}},
		{"a parameter's name", "params", Config{Program: init, Class: "ocf", Params: map[string]string{"x=y": "z"}, Status: true}},
		{"a parameter with a NUL", "params", Config{Program: init, Class: "ocf", Params: map[string]string{"x": "\x00"}, Status: true}},
		{"an argument with a NUL", "args", Config{Program: init, Args: []string{"a\x00"}, Status: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configured(dir, func(c *Config) { *c = tt.config })
			blamed, ok := err.(*plugin.KeyError) //nolint:errorlint // build returns it bare, for the loader.
			if !ok || blamed.Key != tt.key {
				t.Errorf("error %v, want one that blames %s", err, tt.key)
			}
		})
	}
}
