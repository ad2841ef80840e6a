//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marked is a variable by which all processes of a lab can be found, and those that are.
type marked string

func mark() marked {
	return marked(fmt.Sprintf("MONITORD_TEST_MARK=%d.%d", os.Getpid(), time.Now().UnixNano()))
}

// processes are those that have the mark, whose parents may be gone.
func (m marked) processes() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(environ), "\x00"), string(m)) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// surroundings are what a lab could leave on the machine, beside processes.
func surroundings(t *testing.T, folder string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		all["mount "+strings.Fields(line)[4]] = true
	}
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		all["device "+d.Name] = true
	}
	for _, pattern := range []string{folder + "/*", "/run/netns/*", "/var/run/monitord*"} {
		files, _ := filepath.Glob(pattern) // the pattern is right
		for _, file := range files {
			all["file "+file] = true
		}
	}
	return all
}

// TestEndToEndDemoInterrupted: Ctrl-C, which reaches all processes of the terminal, ends
// the demo at whatever point, not well, and leaves nothing.
func TestEndToEndDemoInterrupted(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	for _, at := range []string{"directors forward by", "address: dr1", "dr2 freeze"} {
		t.Run(at, func(t *testing.T) {
			m, folder := mark(), t.TempDir()
			before := surroundings(t, folder)
			d := launch(t, func(p *process) {
				p.cmd.Stdout, p.cmd.Stderr = p, p
				p.cmd.Env = append(p.cmd.Env, string(m), "TMPDIR="+folder)
				p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			}, "lab", "-c", "../../etc/demo.toml", "--script", "../../etc/demo.faults")
			d.waitFor(at)
			if n := len(m.processes()); n < 3 {
				t.Errorf("%d processes can be found while it runs, want three or more", n)
			}
			if err := syscall.Kill(-d.cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.end: // also of whoever could write to its output
			case <-time.After(patience):
				t.Fatalf("it does not end:\n%s", d.text())
			}
			if code := d.cmd.ProcessState.ExitCode(); code <= 0 {
				t.Errorf("exit status %d, want that of something that was not finished", code)
			}
			if left := m.processes(); len(left) > 0 {
				t.Errorf("processes %v are left:\n%s", left, d.text())
			}
			if after := surroundings(t, folder); !maps.Equal(after, before) {
				t.Errorf("before there was %v, now there is %v", before, after)
			}
		})
	}
}

// userStory is played by an ordinary user: what the demo does, without its bounds in
// milliseconds, since a user's daemons have no priority on a machine that is busy.
const userStory = `
expect owner dr1 20s
wait 1s
kill9 dr1
expect owner dr2 5s
wait 2s
expect http 4s
pull dr2
expect owner none
plug dr2
expect owner dr2 5s
`

// TestEndToEndDemoOfAUser: a user who may have a user namespace plays the demo's site, with
// the relay: the kernel gives no IPVS to such a namespace.
func TestEndToEndDemoOfAUser(t *testing.T) {
	folder, err := os.MkdirTemp("", "user") //nolint:usetesting // another user has to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // as said
		t.Fatal(err)
	}
	program := filepath.Join(folder, "monitord")
	copied(t, "/proc/self/exe", program, 0o755)
	copied(t, "../../etc/demo.toml", filepath.Join(folder, "demo.toml"), 0o644)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	as := func(name string, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, name, args...)
		c.Dir = folder
		if os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		return c
	}
	// Whether that is so is asked of somebody else than the program.
	out, err := as("unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--fork", "--mount-proc", "true").CombinedOutput()
	if err != nil {
		t.Skipf("users cannot have a user namespace here: %v: %s", err, bytes.TrimSpace(out))
	}
	m := mark()
	c := as(program, "lab", "-c", "demo.toml")
	c.Stdin = strings.NewReader(userStory)
	c.Env = append(os.Environ(), asProgram+"=1", string(m), "TMPDIR="+folder)
	out, err = c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"directors forward by the relay, which dies with the daemon", "two owners ms", "dr1 kill9", "dr2 pull"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in what it says", want)
		}
	}
	if left := m.processes(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func copied(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	// A fork between open and close would inherit the file, and its start fail (ETXTBSY).
	syscall.ForkLock.RLock()
	err = os.WriteFile(to, text, mode)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, os.Chmod(to, mode)); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}
