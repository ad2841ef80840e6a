//go:build !linux

package icmp

import (
	"errors"
	"net/netip"
)

// A Pinger is for Linux only.
type Pinger struct{}

// OpenPinger is for Linux only.
func OpenPinger(netip.Addr, netip.Addr) (*Pinger, error) { return nil, errors.ErrUnsupported }

// Ping is for Linux only.
func (*Pinger) Ping(string, int) error { return errors.ErrUnsupported }

// Answered is for Linux only.
func (*Pinger) Answered() (int, error) { return 0, errors.ErrUnsupported }

// Close is for Linux only.
func (*Pinger) Close() error { return nil }
