//go:build !linux

package doctor

import (
	"context"
	"errors"
)

// Gather is for Linux only.
func Gather(context.Context, Wanted) (Facts, error) { return Facts{}, errors.ErrUnsupported }
