//go:build !linux

package dial

import (
	"net"
	"net/netip"
)

// reportErrors has nothing to do: a refused port is reported anyway.
func reportErrors(*net.UDPConn, netip.Addr) error { return nil }
