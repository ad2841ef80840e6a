//go:build !linux

package netif

import (
	"context"
	"errors"
	"net/netip"
)

// AddSwitch is for Linux only.
func AddSwitch(context.Context, string) error { return errors.ErrUnsupported }

// AddCable is for Linux only.
func AddCable(context.Context, Cable) error { return errors.ErrUnsupported }

// NumberNamespace is for Linux only.
func NumberNamespace(context.Context, int) (int, error) { return 0, errors.ErrUnsupported }

// A Feed is for Linux only.
type Feed struct{}

// OpenFeed is for Linux only.
func OpenFeed() (*Feed, error) { return nil, errors.ErrUnsupported }

// Next is for Linux only.
func (*Feed) Next() ([]AddressEvent, error) { return nil, errors.ErrUnsupported }

// Close is for Linux only.
func (*Feed) Close() error { return nil }

// A Gauge is for Linux only.
type Gauge struct{}

// OpenGauge is for Linux only.
func OpenGauge() (*Gauge, error) { return nil, errors.ErrUnsupported }

// On is for Linux only.
func (*Gauge) On(context.Context, netip.Addr) ([]int, error) { return nil, errors.ErrUnsupported }

// Close is for Linux only.
func (*Gauge) Close() error { return nil }
