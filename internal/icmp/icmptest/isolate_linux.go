// Package icmptest gives tests a network of their own: a namespace without any
// way out of the machine, and in it hosts that answer pings as told.
package icmptest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated marks the process that runs inside the namespace.
const isolated = "MONITORD_TEST_ISOLATED"

// Isolated runs the calling top-level test once more, in a process with a
// network namespace of its own, in which only the loopback interface is up. It
// returns true there, and false in the test that it was called from, which then
// has nothing left to do but return. Without root it needs user namespaces.
func Isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolated) == t.Name() {
		if err := linkUp("lo"); err != nil {
			t.Fatalf("loopback interface: %v", err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), isolated+"="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		becomeRoot(child.SysProcAttr)
	}
	out, err := child.CombinedOutput()
	switch exit := new(exec.ExitError); {
	case err != nil && !errors.As(err, &exit):
		missing(t, "no network namespace to test in: %v", err)
	case err != nil:
		t.Errorf("in a network namespace: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()+" "):
		missing(t, "in a network namespace:\n%s", out)
	default:
		t.Logf("in a network namespace:\n%s", out)
	}
	return false
}

func becomeRoot(attr *syscall.SysProcAttr) {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
}

// PermitDatagrams sets the sysctl net.ipv4.ping_group_range of the namespace, so
// that pings need no privilege there.
func PermitDatagrams(t testing.TB) {
	t.Helper()
	if os.Getenv(isolated) == "" {
		t.Fatal("PermitDatagrams outside of a namespace of the test's own")
	}
	written := make(chan error)
	go func() { // The caller's thread may have dropped the privilege for this.
		written <- os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0o644)
	}()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// DropPrivileges takes CAP_NET_RAW and CAP_NET_ADMIN from the calling thread,
// which the goroutine has to be locked to.
func DropPrivileges(t testing.TB) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	caps[0].Effective &^= 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
}

func linkUp(name string) error {
	return onInterface(name, func(fd int, r *unix.Ifreq) error {
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
			return err
		}
		r.SetUint16(r.Uint16() | unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	})
}

// onInterface calls do with an interface request and a socket to ask it on.
func onInterface(name string, do func(fd int, r *unix.Ifreq) error) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	return errors.Join(do(fd, r), unix.Close(fd))
}

// missing skips a test for want of something that the machine does not have. Where
// every layer is promised, as in CI, that is a failure.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("MONITORD_REQUIRE_ALL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
