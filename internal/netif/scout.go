package netif

import (
	"errors"
	"net"
	"net/netip"
)

// ErrOwn is the kind of error of a neighbour that is no other machine.
var ErrOwn = errors.New("an address of this machine")

// A Way is how a machine on a link is reached.
type Way struct {
	Device string
	Index  int
	MTU    int // bytes
	// To is the machine. MAC is its address on the link as the kernel knows it, nil
	// while it does not.
	To  netip.Addr
	MAC net.HardwareAddr
}
