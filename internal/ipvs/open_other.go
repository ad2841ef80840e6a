//go:build !linux

package ipvs

import (
	"context"
	"errors"
)

// Open returns [errors.ErrUnsupported]: IPVS is Linux's.
func Open(context.Context) (*Client, error) {
	return nil, Explain(Subject{Op: OpOpen}, errors.ErrUnsupported)
}
