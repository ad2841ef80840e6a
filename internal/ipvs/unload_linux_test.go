package ipvs

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/kernellab"
)

// libraryLost is set when the module was unloaded: moby/ipvs has asked for the
// number of the family for the last time.
var libraryLost bool

// TestKernelUnload takes the module away from under a client, and brings it back.
func TestKernelUnload(t *testing.T) {
	c := kernelClient(t, true)
	if os.Getenv(kernellab.ToolsVariable) != "1" {
		t.Skip("unloading ip_vs is for the lab's own machine only: make e2e")
	}
	ctx := t.Context()
	service := Service{Key: web4, Scheduler: "rr"}
	must(t, c.AddService(ctx, service))
	must(t, c.RemoveService(ctx, web4)) // the module is in use while there is a service
	libraryLost = true
	unload(t)
	// Asking for the family loads the module: nothing is to be noticed.
	must(t, c.AddService(ctx, service))
	must(t, c.RemoveService(ctx, web4))

	unload(t)
	restore := forbidLoading(t)
	for range 2 {
		if err := c.AddService(ctx, service); !errors.Is(err, ErrNoKernel) {
			t.Errorf("adding a service without ip_vs: %v", err)
		}
		if _, err := c.Services(ctx); !errors.Is(err, ErrNoKernel) {
			t.Errorf("listing the services without ip_vs: %v", err)
		}
		for _, err := range c.Connections(ctx) {
			if !errors.Is(err, ErrNoKernel) {
				t.Errorf("listing the connections without ip_vs: %v", err)
			}
		}
	}
	if _, err := Open(ctx); !errors.Is(err, ErrNoKernel) {
		t.Errorf("opening without ip_vs: %v", err)
	}

	restore()
	must(t, c.AddService(ctx, service))
	wantService(t, c, service)
	other, err := Open(ctx)
	must(t, err)
	defer func() { must(t, other.Close()) }()
	if c.usesLibrary(t) || other.usesLibrary(t) {
		t.Error("the library is used with the number of a family that is gone")
	}
	must(t, other.AddDestination(ctx, web4, Destination{Address: ap("10.99.1.1:80"), Forward: Route, Weight: 1}))
	must(t, other.RemoveService(ctx, web4))
}

// TestKernelNoPermission is run a second time by itself, as nobody.
func TestKernelNoPermission(t *testing.T) {
	const child = "MONITORD_TEST_AS_NOBODY"
	if os.Getenv(child) == "" {
		kernellab.Require(t)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKernelNoPermission$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestKernelNoPermission") {
			t.Errorf("as nobody: %v\n%s", err, out)
		}
		return
	}
	c, err := Open(t.Context())
	if c != nil || !errors.Is(err, ErrNoPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("opened: %v, want ErrNoPermission", err)
	}
}

// unload waits for the namespaces of earlier tests, whose end the kernel defers.
func unload(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for {
		holders, err := os.ReadDir("/sys/module/ip_vs/holders")
		must(t, err)
		args := []string{"-r"}
		for _, h := range holders {
			args = append(args, h.Name())
		}
		out, err := exec.CommandContext(t.Context(), "modprobe", append(args, "ip_vs")...).CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("modprobe %v: %v\n%s", args, err, out)
		}
	}
}

// forbidLoading keeps the kernel from loading modules by itself.
func forbidLoading(t *testing.T) (restore func()) {
	t.Helper()
	const helper = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(helper)
	must(t, err)
	must(t, os.WriteFile(helper, []byte("/bin/false"), 0o644))
	restore = func() { must(t, os.WriteFile(helper, before, 0o644)) }
	t.Cleanup(restore)
	return restore
}
