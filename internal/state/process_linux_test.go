package state

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// childVariable tells this test binary that it is another process of a test, and
// which folder to use.
const childVariable = "MONITORD_STATE_CHILD"

// child starts the same test in another process.
func child(ctx context.Context, t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, self, "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), childVariable+"="+dir)
	return c
}

// awaitLines reads until a line came n times.
func awaitLines(r io.Reader, line string, n int) {
	for lines := bufio.NewScanner(r); n > 0 && lines.Scan(); {
		if lines.Text() == line {
			n--
		}
	}
}

// TestTwoDaemons: the second one is told who was first, until that one is killed.
func TestTwoDaemons(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		open(t, dir)
		fmt.Println("open")
		_, _ = io.Copy(io.Discard, os.Stdin) // until killed
		return
	}
	dir := t.TempDir()
	first := child(t.Context(), t, dir)
	stdin, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	awaitLines(out, "open", 1)
	_, err = Open(dir)
	inUse, ok := errors.AsType[*InUse](err)
	want := fmt.Sprintf("the folder %s is in use by another monitord, process %d: end that one, or give each its own \"statedir\"", dir, first.Process.Pid)
	if !ok || inUse.PID != first.Process.Pid || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	open(t, dir)
	if _, err := Open(dir); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("in one process: %v", err)
	}
}

// TestKilledWhileSaving kills a process that saves without a pause, many times:
// what is there afterwards is always a whole document, and never an older one.
func TestKilledWhileSaving(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		s := open(t, dir)
		var c content
		if _, err := s.Load(pool, &c); err != nil && !errors.Is(err, ErrNone) {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 50_000)
		for n := len(c.Names); ; n++ {
			c.Names = append(c.Names, big[:1+n*7919%len(big)])
			c.Names = c.Names[max(len(c.Names)-20, 0):]
			save(t, s, pool, c)
			fmt.Println("saved")
		}
	}
	dir := t.TempDir()
	for round := range 12 {
		c := child(t.Context(), t, dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		awaitLines(out, "saved", round+1)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got content
		if _, err := s.Load(pool, &got); err != nil || len(got.Names) == 0 {
			t.Fatalf("round %d: %d names, %v", round, len(got.Names), err)
		}
		_ = s.Close()
		if diff := cmp.Diff([]string{"pool.state"}, folder(t, dir)); diff != "" {
			t.Fatalf("in the folder:\n%s", diff)
		}
	}
}

// TestDiskFull and TestReadOnlyDisk run in another process that has mounts of
// its own.
func TestDiskFull(t *testing.T) {
	dir := ownDisk(t, "size=64k")
	if dir == "" {
		return
	}
	s := open(t, dir)
	save(t, s, pool, content{[]string{"old"}})
	huge := content{[]string{strings.Repeat("x", 100_000)}}
	for range 3 {
		if err := s.Save(pool, huge); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "save pool: ") {
			t.Fatalf("save on a full disk: %v, want ENOSPC", err)
		}
	}
	wantOld(t, s, dir)
	save(t, s, pool, content{[]string{"new"}}) // what fits is saved again

	// Not a byte is left: it can still be opened, and the other's number is right
	// or missing.
	_ = s.Close()
	fill(t, filepath.Join(dir, "filler"))
	s = open(t, dir)
	if _, err := Open(dir); !strings.Contains(fmt.Sprint(err), "in use by another monitord") {
		t.Errorf("second open on a full disk: %v", err)
	}
	if err := s.Save(pool, content{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("save without a byte left: %v", err)
	}
	var got content
	if _, err := s.Load(pool, &got); err != nil || !slices.Equal(got.Names, []string{"new"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"filler", "pool.state"}, folder(t, dir)); diff != "" {
		t.Errorf("in the folder:\n%s", diff)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := ownDisk(t, "size=64k")
	if dir == "" {
		return
	}
	s := open(t, dir)
	save(t, s, pool, content{[]string{"old"}})
	_ = s.Close()
	damaged := Document{Name: "damaged", Version: 1}
	if err := os.WriteFile(filepath.Join(dir, "damaged.state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	// The lock file is open for writing: only a superblock's own change helps.
	_ = s.Close()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s.closed = false // the folder became read-only while it was open
	if err := s.Save(pool, content{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("save: %v, want EROFS", err)
	}
	_, err := s.Load(damaged, new(int))
	if d, ok := errors.AsType[*Damaged](err); !ok || d.Moved != "" || !strings.Contains(err.Error(), "could not be set aside") {
		t.Errorf("load of a damaged file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "damaged.state")); err == nil {
		t.Error("the disk is not read-only: the test tests nothing")
	}
	if _, err := Open(dir); !errors.Is(err, syscall.EROFS) {
		t.Errorf("open: %v, want EROFS", err)
	}
	var got content
	if _, err := s.Load(pool, &got); err != nil || !slices.Equal(got.Names, []string{"old"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func wantOld(t *testing.T, s *Store, dir string) {
	t.Helper()
	var got content
	if _, err := s.Load(pool, &got); err != nil || !slices.Equal(got.Names, []string{"old"}) {
		t.Errorf("the old document is %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"pool.state"}, folder(t, dir)); diff != "" {
		t.Errorf("in the folder:\n%s", diff)
	}
}

// fill takes what is left of a disk.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// ownDisk returns a folder on a small tmpfs, in the process that the test runs in
// again, in a mount namespace of its own; there, and only there, dir is not empty.
func ownDisk(t *testing.T, options string) (dir string) {
	t.Helper()
	if dir := os.Getenv(childVariable); dir != "" {
		if err := errors.Join(
			syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
			syscall.Mount("tmpfs", dir, "tmpfs", 0, options),
		); err != nil {
			t.Fatal(err)
		}
		fmt.Println("mounted")
		return dir
	}
	c := child(t.Context(), t, t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) && os.Getenv("MONITORD_REQUIRE_ALL") != "1":
		t.Skipf("no mount namespace for a small disk: %v", err)
	case err != nil:
		t.Errorf("in its own mount namespace: %v\n%s", err, out)
	case !bytes.Contains(out, []byte("mounted")):
		t.Errorf("nothing was mounted:\n%s", out)
	}
	return ""
}

// TestAwait: who waits has the folder when it is free, or is told who has it.
func TestAwait(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	short, cancel := context.WithTimeout(t.Context(), 2*again)
	defer cancel()
	if _, err := Await(short, dir); !errors.As(err, new(*InUse)) {
		t.Errorf("while it is held: %v", err)
	}
	time.AfterFunc(2*again, func() { _ = first.Close() })
	second, err := Await(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
