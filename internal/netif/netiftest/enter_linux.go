package netiftest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// Enter puts the test's goroutine into a network namespace of its own, in which the
// loopback interface is up, until the test ends. Other goroutines stay outside.
func Enter(t testing.TB) {
	t.Helper()
	leave, err := unshare()
	if err != nil {
		missing(t, "no network namespace to test in: %v", err)
	}
	t.Cleanup(leave)
	if err := netif.SetUp(context.WithoutCancel(t.Context()), "lo", true); err != nil {
		t.Fatal(err)
	}
}

// unshare moves the goroutine, and the thread that it is locked to, into a new
// namespace. leave moves it back: a thread usually ends with its goroutine, and the
// namespace with it, but the process's first one lives on (runtime.LockOSThread) and
// would keep the namespace, with the modules that are in use there.
func unshare() (leave func(), err error) {
	runtime.LockOSThread()
	before, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = errors.Join(err, unix.Close(before))
		}
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		back := unix.Setns(before, unix.CLONE_NEWNET)
		_ = unix.Close(before)
		if back != nil {
			panic(fmt.Sprintf("back into the network namespace: %v", back)) // everything after would be elsewhere
		}
		runtime.UnlockOSThread()
	}, nil
}
