//go:build !linux

package soak

import (
	"context"
	"errors"
)

// Run is for Linux only.
func Run(context.Context, Options) (*Summary, error) { return nil, errors.ErrUnsupported }
