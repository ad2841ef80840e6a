//go:build linux

package hosts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/monitord/monitord/internal/kernellab"
)

// A Daemon is a monitord that runs in a host, with a folder of its own for its
// configuration, state and socket. Its log is shown if the test fails.
type Daemon struct {
	host    *Host
	binary  string
	folder  string
	log     logbook
	running *Command
}

// Monitord starts the daemon with this configuration, which has no "statedir"
// and no "socket" of its own, and returns when it answers. It ends with the
// test.
func (h *Host) Monitord(t testing.TB, configuration string) *Daemon {
	t.Helper()
	d := h.PrepareMonitord(t, configuration)
	d.Start(t)
	return d
}

// PrepareMonitord is Monitord without the start.
func (h *Host) PrepareMonitord(t testing.TB, configuration string) *Daemon {
	t.Helper()
	folder, err := os.MkdirTemp("", "monitord-") //nolint:usetesting // the path of a socket has at most 107 bytes, that of a test's folder more
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	d := &Daemon{host: h, binary: Binary(t), folder: folder}
	d.Configure(t, configuration)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("monitord in %s:\n%s", h.Name, d.Log())
		}
	})
	return d
}

// Binary is the daemon that the kernel lab has built, or else one built here.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(kernellab.BinaryVariable); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "monitord")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/monitord/monitord/cmd/monitord")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build monitord: %v\n%s", err, out)
	}
	return path
}

// RunMonitord runs a subcommand that needs no daemon and returns its standard
// output.
func (h *Host) RunMonitord(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return h.Command(t.Context(), Binary(t), args...).Output()
}

// File is the path of a file in the daemon's folder.
func (d *Daemon) File(name string) string { return filepath.Join(d.folder, name) }

// StateDir is the folder in which the daemon keeps its state.
func (d *Daemon) StateDir() string { return d.File("state") }

// Configure writes another configuration; Reload makes the daemon read it.
func (d *Daemon) Configure(t testing.TB, configuration string) {
	t.Helper()
	text := fmt.Sprintf("statedir = %q\nsocket = %q\n%s", d.StateDir(), d.File("socket"), configuration)
	if err := os.MkdirAll(d.StateDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.File("monitord.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon, which must not be running, and returns when it
// answers.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	// Not the test's context: that ends before the clean-up, which ends daemons
	// the proper way.
	cmd := d.host.Command(context.Background(), d.binary, "run", "-c", d.File("monitord.toml"))
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.running = cmd
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which Start's clean-up sees to
	t.Cleanup(func() { _ = d.end(syscall.SIGTERM) })
	Eventually(t, patience, func() error {
		select {
		case err := <-ended:
			t.Fatalf("monitord in %s ended at its start: %v", d.host.Name, err)
		default:
		}
		return d.Status(&json.RawMessage{})
	})
}

// Status decodes what "monitord status --json" says. Its error is that of the
// program: a daemon that does not run does not answer.
func (d *Daemon) Status(into any) error {
	out, err := d.Run("status", "--json")
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

// Run runs a subcommand that asks the daemon, in its host, and returns its
// standard output.
func (d *Daemon) Run(subcommand string, args ...string) (string, error) {
	args = append([]string{subcommand, "--socket", d.File("socket")}, args...)
	return d.host.Command(context.Background(), d.binary, args...).Output()
}

// Reload makes the daemon read its configuration again.
func (d *Daemon) Reload() error {
	_, err := d.Run("reload")
	return err
}

// Stop ends the daemon the proper way (SIGTERM) and waits; an end with an error
// fails the test.
func (d *Daemon) Stop(t testing.TB) {
	t.Helper()
	if err := d.end(syscall.SIGTERM); err != nil {
		t.Fatalf("monitord in %s ended: %v", d.host.Name, err)
	}
}

// Kill ends the daemon as a crash would (SIGKILL) and waits.
func (d *Daemon) Kill() { _ = d.end(syscall.SIGKILL) }

// Leave ends the daemon so that the next process goes on where it was (SIGUSR2), and waits.
func (d *Daemon) Leave(t testing.TB) {
	t.Helper()
	if err := d.end(syscall.SIGUSR2); err != nil {
		t.Fatalf("monitord in %s ended: %v", d.host.Name, err)
	}
}

// Pause stops the daemon where it stands, as a machine that hangs would.
func (d *Daemon) Pause() error { return d.running.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (d *Daemon) Resume() error { return d.running.Signal(syscall.SIGCONT) }

// Restart ends the daemon the proper way and starts it again.
func (d *Daemon) Restart(t testing.TB) {
	t.Helper()
	d.Stop(t)
	d.Start(t)
}

// end signals the daemon alone, and not the programs that it runs: it sees to
// those.
func (d *Daemon) end(s syscall.Signal) error {
	if err := d.running.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return d.running.Wait()
}

// Log is what the daemon has written so far, over all its starts.
func (d *Daemon) Log() string { return d.log.String() }

// A logbook is written by processes while the test reads it.
type logbook struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Clone(l.text.String())
}
