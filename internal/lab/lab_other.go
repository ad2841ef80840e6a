//go:build !linux

package lab

import (
	"context"
	"errors"
	"io"
)

// A Lab is for Linux only.
type Lab struct{}

// Open is for Linux only.
func Open(context.Context, Settings) (*Lab, error) { return nil, errors.ErrUnsupported }

// StartAll is for Linux only.
func (*Lab) StartAll() error { return errors.ErrUnsupported }

// Do is for Linux only.
func (*Lab) Do(context.Context, string) error { return errors.ErrUnsupported }

// Play is for Linux only.
func (*Lab) Play(context.Context, io.Reader) error { return errors.ErrUnsupported }

// Rows is for Linux only.
func (*Lab) Rows() []Row { return nil }

// Close is for Linux only.
func (*Lab) Close() error { return nil }

// Commands is for Linux only.
func Commands() string { return "" }

// Inside is for Linux only.
func Inside() bool { return false }

// Reexec is for Linux only.
func Reexec(context.Context, io.Reader, io.Writer, io.Writer) (int, error) {
	return 0, errors.ErrUnsupported
}
