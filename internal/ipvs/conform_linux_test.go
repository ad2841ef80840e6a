package ipvs_test

import (
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/ipvs/ipvstest"
	"github.com/monitord/monitord/internal/kernellab"
)

// TestKernelConforms runs the suite of the fake against Linux.
func TestKernelConforms(t *testing.T) {
	kernellab.Require(t)
	ipvstest.Conform(t, func(t *testing.T) ipvs.Access {
		runtime.LockOSThread() // not unlocked: the thread ends with the test
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := ipvs.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	})
}
