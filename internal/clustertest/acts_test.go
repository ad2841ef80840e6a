//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// elsewhen has this program run another one on a machine that was started years before
// (time_namespaces(7)): its value is that program.
const elsewhen = "MONITORD_CLUSTERTEST_ELSEWHEN"

func init() {
	if os.Getenv(elsewhen) != "" {
		// /proc/self is the first thread, and an exec takes the calling one's namespaces.
		runtime.LockOSThread()
	}
}

// actAs makes this program another one, if it was started for that.
func actAs() bool {
	file := os.Getenv(elsewhen)
	if file == "" {
		return false
	}
	err := unix.Unshare(unix.CLONE_NEWTIME)
	if err == nil {
		const tenYears = 10 * 365 * 24 * 3600
		err = os.WriteFile("/proc/self/timens_offsets", fmt.Appendf(nil, "monotonic %[1]d 0\nboottime %[1]d 0\n", tenYears), 0)
	}
	if err == nil {
		err = unix.Exec(file, append([]string{file}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return true
}

// TestEndToEndClocksYearsApart: one director's machine was started ten years before
// the other's. (That the clocks on the wall are years apart is tested with the engine
// and the heartbeat: nobody can set them for one machine alone.)
func TestEndToEndClocksYearsApart(t *testing.T) {
	t.Parallel()
	old := func(n lab.Node) []string { return []string{"run", "-c", n.Config(), "--node", n.Name} }
	wrapper := t.TempDir() + "/program"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Only on dr1.
	script := fmt.Sprintf("#!/bin/sh\n[ \"$(uname -n)\" != dr1 ] || exec env %s=%s %s \"$@\"\nexec %s \"$@\"\n", elsewhen, program, self, program)
	if err := writeProgram(wrapper, script); err != nil {
		t.Fatal(err)
	}
	s := open(t, lab.Settings{Binary: wrapper, Args: old})
	s.begins()
	up, err := exec.CommandContext(t.Context(), "nsenter", "--time", "--target", fmt.Sprint(s.pid("dr1")), "cat", "/proc/uptime").Output()
	if err != nil || len(strings.Fields(string(up))) == 0 {
		t.Fatalf("uptime of dr1: %s %v", up, err)
	}
	if seconds, _, _ := strings.Cut(string(up), "."); len(seconds) < 9 {
		t.Fatalf("dr1 was started %s seconds ago, want ten years", seconds)
	}
	began := netif.Boottime()
	pass(time.Second)
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
	planned := netif.Boottime()
	s.switchover("dr2")
	s.owned("dr2")
	s.served("dr2")
	s.switchover("dr1")
	s.owned("dr1")
	s.served("dr1")
	s.outage(lab.Client, planned, s.bound(director.Planned))
	killed := netif.Boottime()
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
	s.outage(lab.Client, killed, s.bound(director.DaemonKilled))
	s.must(s.Start("dr1"))
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })
	s.must(s.Restart(t.Context(), "dr2"))
	s.served("dr2")
}
