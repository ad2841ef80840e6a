package systemd

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

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/timeup"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine installs testdata's systemctl; each unit is stopped at first.
func machine(t testing.TB, units ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text, err := os.ReadFile("testdata/systemctl")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "systemctl"), string(text), 0o755)
	if err := os.Mkdir(filepath.Join(dir, "units"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		becomes(t, dir, u, "loaded inactive dead success")
	}
	return dir
}

func write(t testing.TB, file, text string, mode fs.FileMode) {
	t.Helper()
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func becomes(t testing.TB, dir, unit, state string) {
	t.Helper()
	write(t, filepath.Join(dir, "units", unit), state+"\n", 0o644)
}

// configured builds through the registry, as the daemon does.
func configured(dir, unit string) (resources.Resource, error) {
	return resources.Build("systemd", resources.Site{}, func(into any) error {
		c := into.(*Config)
		c.Unit, c.Systemctl = unit, filepath.Join(dir, "systemctl")
		return nil
	})
}

func built(t testing.TB, dir, unit string) resources.Resource {
	t.Helper()
	r, err := configured(dir, unit)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	subject := func(unit string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			dir := machine(t, unit)
			return func() resources.Resource { return built(t, dir, unit) }
		}
	}
	resourcetest.Run(t, resourcetest.Subject{
		New: subject("web.service"), Broken: subject("broken.service"), Blocked: subject("blocked.service"),
	})
}

func TestStatus(t *testing.T) {
	tests := []struct {
		state string
		want  resources.Status
	}{
		{"loaded active running success", resources.Running},
		{"loaded active exited success", resources.Running},
		{"loaded reloading reload success", resources.Running},
		{"loaded refreshing refreshing success", resources.Running},
		{"loaded inactive dead success", resources.Stopped},
		{"masked inactive dead success", resources.Stopped},
		{"loaded failed failed exit-code", resources.Failed},
		{"loaded activating start-pre success", resources.Failed},
		{"loaded activating auto-restart exit-code", resources.Failed},
		{"loaded deactivating stop-sigterm success", resources.Failed},
		{"loaded maintenance cleaning success", resources.Failed},
		{"not-found active running success", resources.Running}, // its file was removed
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			dir := machine(t)
			becomes(t, dir, "x.service", tt.state)
			if got, err := built(t, dir, "x").Status(t.Context()); err != nil || got != tt.want {
				t.Errorf("%s, error %v; want %s", got, err, tt.want)
			}
		})
	}
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
}

func TestMissingUnit(t *testing.T) {
	r := built(t, machine(t), "nowhere")
	_, err := r.Status(t.Context())
	wantError(t, err, "nowhere.service: there is no such unit")
	wantError(t, r.Start(t.Context()), "nowhere.service: there is no such unit")
	if err := r.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v; what does not exist does not run", err)
	}
}

func TestFailures(t *testing.T) {
	ctx := t.Context()
	t.Run("start fails", func(t *testing.T) {
		dir := machine(t, "broken.service")
		r := built(t, dir, "broken")
		wantError(t, r.Start(ctx), "start broken.service: systemctl: exit status 1, it is failed, result exit-code", "control process exited")
		if s, err := r.Status(ctx); err != nil || s != resources.Stopped {
			t.Errorf("%s, error %v; the failure should be cleared", s, err)
		}
	})
	t.Run("it crashes at once", func(t *testing.T) {
		dir := machine(t, "crashing.service")
		r := built(t, dir, "crashing")
		wantError(t, r.Start(ctx), "it is activating (auto-restart), result exit-code")
		if s, err := r.Status(ctx); err != nil || s != resources.Stopped {
			t.Errorf("%s, error %v; it should not be restarted any more", s, err)
		}
	})
	t.Run("a oneshot that nothing remains of", func(t *testing.T) {
		wantError(t, built(t, machine(t, "oneshot.service"), "oneshot").Start(ctx), "RemainAfterExit=yes")
	})
	t.Run("stop ends in failure", func(t *testing.T) {
		r := built(t, machine(t, "failing.service"), "failing")
		if err := errors.Join(r.Start(ctx), r.Stop(ctx)); err != nil {
			t.Error(err)
		}
		if s, err := r.Status(ctx); err != nil || s != resources.Stopped {
			t.Errorf("%s, error %v; nothing is left of it", s, err)
		}
	})
	t.Run("stop is refused", func(t *testing.T) {
		r := built(t, machine(t, "refusing.service"), "refusing")
		if err := r.Start(ctx); err != nil {
			t.Fatal(err)
		}
		wantError(t, r.Stop(ctx), "stop refusing.service: systemctl: exit status 4, it is active (running)", "Operation refused")
	})
	t.Run("stop hangs", func(t *testing.T) {
		dir := machine(t, "stubborn.service")
		r := built(t, dir, "stubborn")
		err := r.Stop(timeup.AtWord(t, filepath.Join(dir, "hangs")))
		wantError(t, err, "stop stubborn.service did not end in time")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v is no deadline's", err)
		}
	})
	t.Run("no systemd", func(t *testing.T) {
		dir := machine(t, "web.service")
		write(t, filepath.Join(dir, "offline"), "", 0o644)
		r := built(t, dir, "web")
		_, err := r.Status(ctx)
		wantError(t, err, "status of web.service", "System has not been booted with systemd")
		wantError(t, r.Start(ctx), "System has not been booted with systemd")
		wantError(t, r.Stop(ctx), "System has not been booted with systemd")
	})
	t.Run("no systemctl", func(t *testing.T) {
		_, err := built(t, t.TempDir(), "web").Status(ctx)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want one of a missing file", err)
		}
	})
}

// What is printed is no answer if it has no known state in it.
func TestNotUnderstood(t *testing.T) {
	dir := machine(t)
	becomes(t, dir, "x.service", "loaded levitating high success")
	_, err := built(t, dir, "x").Status(t.Context())
	wantError(t, err, "status of x.service: not understood", "ActiveState=levitating")
}

// A start whose time is up is taken back without waiting for it.
func TestCancelledStartIsTakenBack(t *testing.T) {
	dir := machine(t, "blocked.service")
	r := built(t, dir, "blocked")
	r.(*Unit).lastCall = time.Minute // for a busy machine
	wantError(t, r.Start(timeup.AtWord(t, filepath.Join(dir, "hangs"))), "start blocked.service did not end in time")
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || !strings.Contains(string(calls), "--no-ask-password stop --no-block -- blocked.service\n") {
		t.Errorf("calls, error %v:\n%s", err, calls)
	}
}

func TestUnitNames(t *testing.T) {
	for name, want := range map[string]string{
		"haproxy":              "haproxy.service",
		"haproxy.service":      "haproxy.service",
		"data.mount":           "data.mount",
		"getty@tty1":           "getty@tty1.service",
		"org.example.App":      "org.example.App.service",
		`dev-disk\x2dby.mount`: `dev-disk\x2dby.mount`,
	} {
		r, err := configured("/usr/bin", name)
		if err != nil || r.(*Unit).name != want {
			t.Errorf("%q: %v, error %v; want %s", name, r, err, want)
		}
	}
	for _, name := range []string{"", "-H", "a b", "*", "web*", "/etc/x.service", "a\n", ".", "x@", "x@.service", "ü", strings.Repeat("x", 256)} {
		_, err := configured("/usr/bin", name)
		if blamed, ok := err.(*plugin.KeyError); !ok || blamed.Key != "unit" { //nolint:errorlint // build returns it bare, for the loader.
			t.Errorf("%q: error %v, want one that blames unit", name, err)
		}
	}
	if _, err := configured("bin", "x"); err == nil || !strings.HasPrefix(err.Error(), "systemctl: ") {
		t.Errorf("error %v, want one that blames systemctl", err)
	}
}
