package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// ErrLate says that a call on a lease came, or came to its end, after its time.
var ErrLate = errors.New("too late for the lease")

// A Lease is an address that a device is to have for a while.
type Lease struct {
	Device string
	Prefix netip.Prefix
	Label  string // IPv4 only; must begin with the device's name; default that name
	// Lifetime is after how long the kernel removes the address if it is not held
	// again: whole seconds, see [HoldOptions].
	Lifetime time.Duration
}

func (l Lease) check() error {
	switch {
	case !l.Prefix.IsValid():
		return fmt.Errorf("hold %s on %s: not an address", l.Prefix, l.Device)
	case l.Lifetime < time.Second || l.Lifetime%time.Second != 0:
		return fmt.Errorf("hold %s on %s: a lease of %s, want whole seconds", l.Prefix, l.Device, l.Lifetime)
	case l.Label != "" && l.Label != l.Device && !strings.HasPrefix(l.Label, l.Device+":"):
		return fmt.Errorf("hold %s on %s: the label %q does not begin with %q", l.Prefix, l.Device, l.Label, l.Device+":")
	}
	return nil
}

// listed names addresses for people: one, or the first of many.
func listed(all []Lease) string {
	switch len(all) {
	case 0:
		return "no address"
	case 1:
		return fmt.Sprintf("%s on %s", all[0].Prefix, all[0].Device)
	}
	return fmt.Sprintf("%s on %s and %d more", all[0].Prefix, all[0].Device, len(all)-1)
}

// few are the first of many errors: what is wrong with one address is wrong with most.
func few(all []error) error {
	const shown = 3
	if more := len(all) - shown; more > 1 {
		all = append(all[:shown:shown], fmt.Errorf("and %d more", more))
	}
	return errors.Join(all...)
}

// devicesOf are the devices of leases.
func devicesOf(all []Lease) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, l := range all {
			if !yield(l.Device) {
				return
			}
		}
	}
}

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
	// machine had it when it was added, or that is not known yet. Or one that is not on
	// this device, but on a lease on another: this one had been that one before it was
	// renamed.
	Unusable bool
}
