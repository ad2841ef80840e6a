package file

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/monitors"
)

// TestForbidden: what this process may not look at is not down. Root may look at
// all, so the thread of this test gives that up (setfsuid(2)).
func TestForbidden(t *testing.T) {
	text := write(t, "text", "x")
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{text: 0, dir: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	locked := dir + "/locked"
	if err := os.Mkdir(locked, 0); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getuid() == 0 {
		before, err := unix.SetfsuidRetUid(65534)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := unix.SetfsuidRetUid(before); err != nil {
				panic(err) // The thread would go on as nobody.
			}
		}()
	}
	for _, c := range []struct {
		path   string
		change func(*config)
	}{
		{text, func(c *config) { c.Content = "x" }},
		{locked + "/inside", nil},
		{locked + "/inside", func(c *config) { c.Absent = true }},
	} {
		w, err := newWish(configured(t, c.change, c.path))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.examine(t.Context(), c.path); !errors.Is(err, monitors.ErrUntested) || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: got %v, want untested: permission denied", c.path, err)
		}
	}
}

func TestMountTable(t *testing.T) {
	table := "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 22 0:20 / /mnt/my\\040disk\\134x rw - nfs a:/ rw\nbroken\n5 6 7 8 /mnt/\\9zz\\04 x\n"
	for path, want := range map[string]bool{"/": true, `/mnt/my disk\x`: true, "/mnt": false, "": false, `/mnt/\9zz\04`: true} {
		if got := listed(table, path); got != want {
			t.Errorf("%q: got %t, want %t", path, got, want)
		}
	}
}
