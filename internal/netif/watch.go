package netif

import (
	"fmt"
	"net/netip"
	"time"
)

// WatchOptions say what [Watch] watches.
type WatchOptions struct {
	// Device need not be there yet.
	Device string
	// Addresses whose going away is a change.
	Addresses []netip.Addr
	// Poll is how often the device is looked at, besides the kernel's messages: of a
	// carrier that is lost the kernel may tell up to a second late (linkwatch).
	// Default 50ms.
	Poll time.Duration
}

// A Change of what is watched.
type Change struct {
	Kind ChangeKind
	At   time.Duration // when it was noticed, by Boottime
	// Index of the device, 0 while there is none. Another than before is another
	// device of that name, to which a [Wire] has to be opened anew.
	Index   int
	Carrier bool       // of a CarrierChange: the device is up, and its cable is plugged in
	Address netip.Addr // of an AddressGone
}

// ChangeKind is what sort of change it is.
type ChangeKind int

// The kinds.
const (
	// CarrierChange comes once at the start, and whenever the carrier or the device
	// is another.
	CarrierChange ChangeKind = iota
	// AddressGone: an address that was there, at the start or later, is not. Whoever
	// removed it: the kernel at the end of its lifetime, a person, or this process.
	// One that is put back before the kernel is asked has not gone.
	AddressGone
)

func (k ChangeKind) String() string {
	switch k {
	case CarrierChange:
		return "carrier"
	case AddressGone:
		return "address gone"
	}
	return fmt.Sprintf("change %d", int(k))
}
