//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/fencing"
	"github.com/monitord/monitord/internal/kernellab"
)

// guarded is a director alone, whose machine has this watchdog. The lease is one that an
// emulated machine renews in time, and over before the watchdog's ten seconds.
const guarded = `
[fence]
watchdog = %q

[[group]]
name     = "web"
resource = [{ type = "vip", address = "10.2.0.100", lease = "5s" }]
`

// The daemon lives with a real watchdog, the kernel's softdog: it is petted while the loop
// goes on, ends its watch with an orderly end and with that alone, and it resets the
// machine of a daemon that is frozen, some time after the kernel has ended the lease.
func TestKernelWatchdog(t *testing.T) {
	dog := loadSoftdog(t)
	n := hosts.New(t)
	dr1 := n.Host("dr1")
	dr1.Join(n.Segment("lan"), "10.2.0.11/24")
	d := dr1.PrepareMonitord(t, fmt.Sprintf(guarded, dog.device))

	d.Start(t)
	dog.is(t, "active")
	dog.has(t, "timeout", "10")
	_, err := fencing.OpenWatchdog(fencing.WatchdogSettings{Device: dog.device, Timeout: time.Second})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("a watchdog that the daemon has: error %v", err)
	}
	d.Stop(t)
	dog.is(t, "inactive")
	d.Start(t)
	d.Leave(t)
	dog.is(t, "inactive")
	d.Start(t)
	dog.is(t, "active")
	if dog.said(t, notStopped) {
		t.Error("the watch was not ended in order")
	}
	d.Kill()
	dog.is(t, "active")
	dog.awaitSaying(t, notStopped)

	dog.neverEnds(t)
	if strings.Contains(d.Log(), "nowayout") {
		t.Errorf("warned of nowayout, which was not set:\n%s", d.Log())
	}
	d.Start(t) // In time: nothing is reset.
	logged(t, d, "level=warning", "it cannot be stopped (nowayout)", "timeout=10s")
	d.Stop(t)
	dog.is(t, "active")
	d.Start(t)
	started := time.Now()
	awaitAddress(t, dr1, true)
	// Only time shows that it is petted.
	hosts.Eventually(t, patience, func() error {
		if time.Since(started) < petted {
			return fmt.Errorf("not waited for %s", petted)
		}
		return nil
	})
	if dog.said(t, triggered) {
		t.Fatal("it would have reset the machine of a daemon that runs")
	}

	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	awaitAddress(t, dr1, false)
	if dog.said(t, triggered) {
		t.Error("the machine is reset before the lease is over")
	}
	dog.awaitSaying(t, triggered)
	d.Kill()
}

// petted is longer than the machine of the daemon lives if nobody pets its watchdog.
const petted = 11 * time.Second

// What the kernel says of a watchdog (drivers/watchdog of Linux): that it was closed
// without the magic character, or is never stopped; and, by softdog with soft_noboot, that
// the machine would have been reset.
const (
	notStopped = ": watchdog did not stop!"
	triggered  = "softdog: Triggered - Reboot ignored"
)

// A softdog is the kernel's watchdog without hardware, which tells when it would reset the
// machine, and does not.
type softdog struct {
	device string // like "/dev/watchdog0"
	sysfs  string // its folder there
	kmsg   int
	lines  []string // of the kernel's log, since it was loaded
}

// loadSoftdog has the watchdog for the time of the test. The machine must not have one of
// the kind already: that one may be meant. In a virtual machine it is an earlier test's,
// which need not wait there for a watch that cannot be ended.
func loadSoftdog(t *testing.T) *softdog {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	virtual := os.Getenv(kernellab.ToolsVariable) == "1"
	if _, err := os.Stat("/sys/module/softdog"); err == nil {
		if !virtual {
			t.Fatal("softdog is loaded already")
		}
		unloadSoftdog(t)
	}
	kmsg, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open /dev/kmsg: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(kmsg) })
	if _, err := unix.Seek(kmsg, 0, unix.SEEK_END); err != nil {
		t.Fatalf("the end of /dev/kmsg: %v", err)
	}
	if out, err := exec.CommandContext(t.Context(), "modprobe", "softdog", "soft_noboot=1").CombinedOutput(); err != nil {
		t.Fatalf("modprobe: %v\n%s", err, out)
	}
	found, _ := filepath.Glob("/sys/class/watchdog/watchdog*") // its only error is a bad pattern
	i := slices.IndexFunc(found, func(folder string) bool {
		text, err := os.ReadFile(filepath.Join(folder, "identity"))
		return err == nil && string(text) == "Software Watchdog\n"
	})
	if i < 0 {
		t.Fatalf("no softdog among %q", found)
	}
	d := &softdog{device: "/dev/" + filepath.Base(found[i]), sysfs: found[i], kmsg: kmsg}
	if d.device == "/dev/watchdog0" {
		d.device = "/dev/watchdog" // as people write it
	}
	if !virtual {
		t.Cleanup(func() { unloadSoftdog(t) })
	}
	return d
}

// unloadSoftdog waits for a watch that cannot be ended, as long as it may last.
func unloadSoftdog(t *testing.T) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		out, err := exec.Command("modprobe", "-r", "softdog").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("modprobe -r softdog: %w\n%s", err, out)
		}
		return err
	})
}

// has compares what the kernel says of the watchdog with what it should.
func (d *softdog) has(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.sysfs, name))
	if got := strings.TrimSpace(string(text)); err != nil || got != want {
		t.Errorf("%s of the watchdog is %q, error %v; want %q", name, got, err, want)
	}
}

// is compares its state, "active" or "inactive".
func (d *softdog) is(t *testing.T, want string) {
	t.Helper()
	d.has(t, "state", want)
}

// neverEnds sets nowayout, as the option of the kernel's modules does.
func (d *softdog) neverEnds(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.sysfs, "nowayout"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.has(t, "nowayout", "1")
}

// said tells whether the kernel has said this since the watchdog was loaded.
func (d *softdog) said(t *testing.T, text string) bool {
	t.Helper()
	record := make([]byte, 8192) // the longest that there is: CONSOLE_EXT_LOG_MAX
	for {
		n, err := unix.Read(d.kmsg, record)
		switch {
		case err == nil:
			d.lines = append(d.lines, string(record[:n]))
		case errors.Is(err, unix.EAGAIN):
			return slices.ContainsFunc(d.lines, func(line string) bool { return strings.Contains(line, text) })
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // EPIPE: some were overwritten
		default:
			t.Fatalf("read /dev/kmsg: %v", err)
		}
	}
}

// awaitSaying waits until the kernel has said this.
func (d *softdog) awaitSaying(t *testing.T, text string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		if !d.said(t, text) {
			return fmt.Errorf("the kernel has not said %q but %q", text, d.lines)
		}
		return nil
	})
}

// awaitAddress waits until the director has the group's address, or has lost it.
func awaitAddress(t *testing.T, h *hosts.Host, there bool) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		now := h.Addresses("eth0")
		if slices.ContainsFunc(now, func(a string) bool { return strings.HasPrefix(a, "10.2.0.100/") }) != there {
			return fmt.Errorf("it has the addresses %q", now)
		}
		return nil
	})
}
