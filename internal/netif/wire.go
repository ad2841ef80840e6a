package netif

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Question is what [Wire.Ask] asks on a wire.
type Question struct {
	ID uint64
	// Addresses are those that nobody else should have.
	Addresses []netip.Addr
	// Gateways are asked for after them, so that an answer proves that the question
	// was not asked in vain. They may be none.
	Gateways []netip.Addr
}

// A Sighting is what was heard on a wire about an address that was asked for or is
// guarded. The own machine's frames are none.
type Sighting struct {
	Kind    SightingKind
	ID      uint64 // of the question; 0 for a Claim
	Address netip.Addr
	MAC     net.HardwareAddr
	At      time.Duration // when it was read, by Boottime
	// Alone: it was said to this machine alone, as an answer is, not to all.
	Alone bool
}

// SightingKind is what sort of sighting it is.
type SightingKind int

// The kinds.
const (
	// Answered: somebody has the address of a question of the last second. ID is
	// that of the last question about it that was asked before this came.
	Answered SightingKind = iota
	// Works: a gateway answered to this machine alone within a second. Frames do not say
	// to which question they are the answer: it is taken for the last one. A gateway
	// that is slower than the pace of the questions so proves one too many.
	Works
	// Claimed: somebody said that a guarded address is his.
	Claimed
	// Sought: somebody asked, as before taking it, whether a guarded address is free.
	// IPv4 only: the question for an IPv6 address is that of everybody who sends to it.
	Sought
)

func (k SightingKind) String() string {
	switch k {
	case Answered:
		return "answered"
	case Works:
		return "works"
	case Claimed:
		return "claimed"
	case Sought:
		return "sought"
	}
	return fmt.Sprintf("sighting %d", int(k))
}
