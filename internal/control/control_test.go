package control

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server until the returned function is called.
func serve(t *testing.T, path string, h Handlers) (stop func()) {
	t.Helper()
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	}
}

func TestCalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "m.sock")
	bad := errors.New("conf.toml:3:1: unknown key \"x\"")
	stop := serve(t, path, Handlers{
		Status: func() any { return map[string]int{"watches": 3} },
		Reload: func(context.Context) error { return bad },
	})
	c := NewClient(path)
	var got map[string]int
	if err := c.Status(t.Context(), &got); err != nil || got["watches"] != 3 {
		t.Errorf("status %v, error %v", got, err)
	}
	if err := c.Reload(t.Context()); err == nil || err.Error() != bad.Error() {
		t.Errorf("reload gave %v, want %v", err, bad)
	}
	bad = nil
	if err := c.Reload(t.Context()); err != nil {
		t.Errorf("reload gave %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket's mode is %v (%v), want 600", info.Mode(), err)
	}
	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second daemon got %v, want ErrInUse", err)
	}
	stop()
	if err := c.Status(t.Context(), &got); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon status gives %v, want ErrNotRunning", err)
	}
}

func TestSocketOfADeadDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, path, Handlers{Status: func() any { return nil }})()
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("listening on a plain file gave %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
}

// TestWhoMayNot: root may do everything, so that these errors are made by hand.
func TestWhoMayNot(t *testing.T) {
	denied := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	for _, tt := range []struct{ got, want string }{
		{unanswered("/run/m.sock", denied).Error(), "/run/m.sock: permission denied: root and the user that runs the daemon may ask it"},
		{unanswered("/run/m.sock", io.ErrUnexpectedEOF).Error(), "ask the daemon on /run/m.sock: unexpected EOF"},
		{unopened("/run/m.sock", denied).Error(), "control socket /run/m.sock: permission denied: run monitord as root, or set socket and statedir to where this user may write"},
		{unopened("/run/m.sock", syscall.ENOTDIR).Error(), "control socket /run/m.sock: not a directory"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
