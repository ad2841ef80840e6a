// Package habench has the faults of failing over happen, again and again, to a pair of
// directors in a lab, and measures what a client sees of them: for monitord, and beside
// it for keepalived on the same machines.
//
// The client sends a UDP datagram every 10 ms, which the kernel that has the address
// answers: the address alone is measured, nothing that forwards. That two have it is
// what both kernels say, and the answers to a neighbour's ARP.
package habench

import (
	"time"

	"github.com/monitord/monitord/internal/lab"
)

// A Sample is what one repetition of a fault came to.
type Sample struct {
	// Outage is the longest time without an answer, from the fault until it was undone,
	// or the end; After is that since it was undone.
	Outage, After lab.Outage
	Dual          lab.Dual
	// Owner is who has the address at the end; several are joined by "+".
	Owner string
	// Stalled is how long the machine stood still for everybody within a second of the
	// fault, or of its undoing.
	Stalled time.Duration
	// Stayed tells that the address never was anybody else's than the active director's.
	Stayed bool
}

// dual is how long two had the address, more than nothing if anybody says that they had.
func (s Sample) dual() time.Duration {
	if s.Dual.None() {
		return 0
	}
	return max(s.Dual.Kernels, s.Dual.Sampled, time.Nanosecond)
}
