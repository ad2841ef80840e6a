package fencing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OpenWatchdog opens a watchdog, which arms it.
func OpenWatchdog(s WatchdogSettings) (*Watchdog, error) {
	// Not by package os: its poller is not for devices that nobody reads.
	fd, err := unix.Open(s.Device, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("watchdog %s: another process has it (systemd's RuntimeWatchdogSec=?): %w", s.Device, err)
	}
	if err != nil {
		return nil, fmt.Errorf("watchdog %s: %w", s.Device, err)
	}
	return watch(kernelDevice{fd, s.Device}, s)
}

// A kernelDevice is an open watchdog.
type kernelDevice struct {
	fd   int
	path string
}

func (d kernelDevice) Write(b []byte) (int, error) { return unix.Write(d.fd, b) }
func (d kernelDevice) Close() error                { return unix.Close(d.fd) }

func (d kernelDevice) SetTimeout(want time.Duration) (time.Duration, error) {
	set := unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETTIMEOUT, int(want/time.Second))
	// A device whose timeout is fixed says so by an error; the one it has may do.
	seconds, err := unix.IoctlGetUint32(d.fd, unix.WDIOC_GETTIMEOUT)
	has := time.Duration(seconds) * time.Second
	switch {
	case err != nil:
		return 0, errors.Join(set, err)
	case has < time.Second || set != nil && has > want:
		return 0, fmt.Errorf("it has %s: %w", has, errors.Join(set, errors.ErrUnsupported))
	}
	return has, nil
}

// NoWayOut reads it from sysfs, where the kernel has that (CONFIG_WATCHDOG_SYSFS);
// "/dev/watchdog" is the first one under an older number.
func (d kernelDevice) NoWayOut() bool {
	name := filepath.Base(d.path)
	if name == "watchdog" {
		name = "watchdog0"
	}
	text, err := os.ReadFile(filepath.Join("/sys/class/watchdog", name, "nowayout"))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}
