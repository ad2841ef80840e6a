//go:build !linux

package netif

import (
	"context"
	"errors"
	"net/netip"
)

// A Scout is for Linux only.
type Scout struct{}

// OpenScout is for Linux only.
func OpenScout() (*Scout, error) { return nil, errors.ErrUnsupported }

// Look is for Linux only.
func (*Scout) Look(context.Context, string, netip.Addr) (Way, error) {
	return Way{}, errors.ErrUnsupported
}

// Close is for Linux only.
func (*Scout) Close() {}

// A Hairpin is for Linux only.
type Hairpin struct{}

// OpenHairpin is for Linux only.
func OpenHairpin(context.Context, netip.AddrPort) (*Hairpin, error) {
	return nil, errors.ErrUnsupported
}

// Aim is for Linux only.
func (*Hairpin) Aim(Way) error { return errors.ErrUnsupported }

// Send is for Linux only.
func (*Hairpin) Send(netip.AddrPort, []byte) error { return errors.ErrUnsupported }

// Receive is for Linux only.
func (*Hairpin) Receive([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, errors.ErrUnsupported
}

// Direct is for Linux only.
func (*Hairpin) Direct() uint64 { return 0 }

// Close is for Linux only.
func (*Hairpin) Close() error { return nil }
