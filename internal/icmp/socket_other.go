//go:build !linux

package icmp

import (
	"errors"
	"fmt"
	"net/netip"
)

// open is for Linux only: so are the socket filter and the error queue.
func open(Config, session, []netip.Addr) (wire, error) {
	return nil, fmt.Errorf("pinging a group: %w", errors.ErrUnsupported)
}

// privileged reports whether only a raw socket can be had. Elsewhere than on
// Linux the datagram kind is the usual one.
func privileged(family, netip.Addr) (bool, error) { return false, nil }
