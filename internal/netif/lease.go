package netif

import (
	"errors"
	"time"
)

// ErrLate says that a call on a lease came, or came to its end, after its time.
var ErrLate = errors.New("too late for the lease")

// HoldOptions say how [Hold] holds an address.
type HoldOptions struct {
	Label string // IPv4 only; must begin with the device's name; default that name
	// Lifetime is after how long the kernel removes the address if it is not held
	// again: whole seconds, since the kernel counts in these, from 1. It may do so 30 ms
	// earlier (ADDRCONF_TIMER_FUZZ_MINUS), and up to a second later if it is idle.
	Lifetime time.Duration
	// NotAfter is the last instant, by [Boottime], at which the call may begin and
	// end. Default (0): none.
	NotAfter time.Duration
}

// Held is when an address was held: by [Boottime], before the call and after it.
type Held struct{ Began, Ended time.Duration }

// Found is what [Find] found of an address on a device.
type Found struct {
	Held  bool
	Label string // IPv4 only
	Bits  int    // the length of its network
	// Left is for how long the kernel certainly keeps the address if nobody renews
	// it, to 10 ms; 0 once that is over. Permanent addresses have none.
	Left      time.Duration
	Permanent bool
	// Unusable is an IPv6 address that the kernel does not answer for: another
	// machine had it when it was added, or that is not known yet.
	Unusable bool
}
