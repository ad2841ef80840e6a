//go:build !linux

package nft

import (
	"context"
	"errors"
)

// Silence is for Linux only.
func Silence(context.Context, []PortPair) error { return errors.ErrUnsupported }
