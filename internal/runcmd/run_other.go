//go:build !linux

package runcmd

import (
	"context"
	"errors"
	"fmt"
)

// Run is made for Linux; elsewhere it returns errors.ErrUnsupported.
func Run(_ context.Context, c Command) (Result, error) {
	return Result{}, fmt.Errorf("run %s: %w", c.Path, errors.ErrUnsupported)
}
