//go:build !linux

package kernellab

import (
	"errors"
	"fmt"
)

// Probe returns what is missing: a Linux.
func Probe() error { return fmt.Errorf("ip_vs is a part of Linux: %w", errors.ErrUnsupported) }
