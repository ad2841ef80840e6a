//go:build !linux

package fencing

import (
	"errors"
	"fmt"
)

// OpenWatchdog is for Linux only.
func OpenWatchdog(s WatchdogSettings) (*Watchdog, error) {
	return nil, fmt.Errorf("watchdog %s: %w", s.Device, errors.ErrUnsupported)
}
