//go:build !linux

package nft

import (
	"context"
	"errors"
)

// Set is for Linux only.
func Set(context.Context, []Rule) error { return errors.ErrUnsupported }

// Clear is for Linux only.
func Clear(context.Context) error { return errors.ErrUnsupported }

// Rules is for Linux only.
func Rules(context.Context) ([]Rule, error) { return nil, errors.ErrUnsupported }
