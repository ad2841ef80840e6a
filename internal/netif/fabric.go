package netif

import (
	"net/netip"
	"time"
)

// A Cable describes the pair of veth devices that [AddCable] is to make: one end in
// the calling thread's namespace, a port of a switch if there is one, and the other
// in another namespace.
type Cable struct {
	Port   string // the end here
	Switch string // the bridge that it is a port of; empty: of none
	Device string // the other end
	Inside int    // descriptor of the other end's network namespace
}

// An AddressEvent is one message of a [Feed]: an address came, or was renewed, or went.
type AddressEvent struct {
	Namespace int           // as [NumberNamespace] says; -1 is the feed's own
	At        time.Duration // when it was read, by Boottime
	Index     int           // of the device
	Address   netip.Addr
	Gone      bool
	// Lost says that messages before this one were lost, and nothing else.
	Lost bool
}
