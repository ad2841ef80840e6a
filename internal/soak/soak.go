// Package soak has random faults happen to a pair of directors in a lab, for as long as
// is wanted, and checks all the time what failover.md promises:
//
//   - After a single fault no instant has two owners. The client misses no more than
//     the machine's own bound for it (director.Bounds) and what a noisy machine adds, and
//     then, and when the fault is over, a director has the address that is entitled to it.
//   - A fault on top of another may have two owners for at most lease + margin.
//   - When all faults are over, exactly one director has the address, the other one
//     stands by, and http is served.
//   - A daemon's goroutines, descriptors and memory don't grow.
//
// The faults follow from a seed and the time; what was done is kept as a script of the
// lab, with the pauses as they were.
package soak

import (
	"io"
	"time"
)

// Options say what is to be done.
type Options struct {
	// Binary is the daemon's file.
	Binary string
	// Seed of the faults.
	Seed uint64
	// Lasts is how long faults begin; what has begun is ended.
	Lasts time.Duration
	// Witness adds a third voter.
	Witness bool
	// Allowance is what a noisy machine may add to an outage, beside the stalls that are
	// measured meanwhile.
	Allowance time.Duration
	// Out gets the faults as they happen; nil: nobody.
	Out io.Writer
	// Folder is where script, timeline and logs are kept; "" is nowhere.
	Folder string
}

// A Summary is what it came to.
type Summary struct {
	Seed   uint64
	Lasted time.Duration
	Rows   []Row
	// Single and Compound are how many faults came alone, and how often several came on
	// top of each other.
	Single, Compound int
	// Dual is for how long two directors had the address, all in all: after single faults,
	// and after those on top of others, of which Longest is the worst.
	Dual, DualCompound, Longest time.Duration
	// Healed are the longest times from the end of all faults until all was as it should
	// be: one owner, the other standing by, each hearing the other, http served.
	Healed, HealedCompound time.Duration
	// Unprovoked is how often the address moved though no fault was there that calls for
	// it: it may only while the machine itself stood still.
	Unprovoked int
	// Stalled is the longest time for which this process itself was not run.
	Stalled time.Duration
	Growth  []Growth
	// Script is what was done, for the lab.
	Script string
}

// A Row is all faults of a kind on the owner, or not.
type Row struct {
	Kind  string
	Owner bool // it was the owner's
	Bound time.Duration
	// Outages are what the client missed of the address, HTTP of http.
	Outages, HTTP []time.Duration
}
