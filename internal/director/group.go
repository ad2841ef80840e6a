package director

import "time"

// A group is what this node is for one of Config.Groups.
type group struct {
	name    string
	index   int   // in Config.Groups
	holders []int // indices of Config.Nodes, best first; never changed
	mine    bool  // this node is one of them

	found   bool // what an earlier process left is known
	role    Role
	phase   Phase
	since   Instant
	why     Reason
	refusal Reason // what was told last

	epoch  uint64 // of the own claim
	seen   uint64 // the highest epoch of anybody's claim
	saved  uint64 // what the disk holds, or has refused
	saving uint64 // what it was asked to hold; 0: nothing
	saveAt Instant
	// adopted: the epoch is that of an earlier process, until the others are heard.
	adopted bool

	meets    bool // the require conditions
	meetsWhy string
	cut      bool // its own interfaces have no carrier
	cutWhy   string
	backAt   Instant // when they had one again, if they ever lost it
	base     int     // the fitness they gave
	failures int     // of starts
	pause    Instant

	before, after running
	// address: it may be in the kernel. renewed is when the last call that
	// succeeded began, tried the last call.
	address, setting, dropping bool
	renewed, tried, dropAt     Instant
	// laid is when a call that may have laid a lease last returned, whatever it said: one
	// that was refused for one address has renewed the others.
	laid Instant
	// unheld: the last call was in time, and the kernel did not do it.
	unheld bool

	// Releasing.
	gentle     bool // what comes after the address is stopped first
	failed     bool // released since it did not start
	released   Reason
	stopFails  int
	stopAt     Instant
	stopFailed bool
	complaint  Reason // what the kernel refused, as it was told

	// The wire.
	probeID  uint64
	probedAt Instant
	probing  bool
	// Probes go slower when nothing has changed for long: pacedAt is when what kept
	// the group from being taken, paced, became that; asked is the part of the
	// addresses that was asked for last.
	pacedAt  Instant
	paced    hindrance
	asked    int
	probes   [8]probe // the newest first
	silent   bool
	answer   Answerer
	answered bool
	answerAt Instant
	// answererAt is when the one of whom people are told answered last.
	answererAt Instant

	// Who is next.
	askedSeq uint64 // the last message before the question for leave
	askedAt  Instant
	handed   bool // its last owner said that it released
	lastHeld int  // who that was; -1: unknown
	to       int  // for whom; -1: nobody
	toAt     Instant
	free     bool
	freeAt   Instant
	better   int // a candidate better than the owner, this node; -1: none
	betterAt Instant

	pinned    bool   // an operator put it here: no failback until he says so
	forced    bool   // it was released by an operator's wish
	request   string // an operator's wish
	requestAt Instant
	requested uint64 // the last message before it
	refused   Reason // the answer to a wish
	denied    Reason // why the last wish here was not followed

	doubt      bool
	untold     bool    // people do not know of the doubt
	foreignAt  Instant // when they were told of a foreign claim
	announceAt Instant // when the burst began
	announced  int     // how many of it were sent
	lastSaid   Instant // when the last was

	leave int    // whose claim nothing is objected to here; -1: nobody's
	able  Reason // None: able to take
	ready bool
	// readyAt is since when.
	readyAt Instant
}

// running says what is known of a part of the resources.
type running int

const (
	stopped running = iota
	starting
	started
	stopping
	mayRun // a stop failed
)

// A probe is one question to the wire.
type probe struct {
	id    uint64
	at    Instant
	works bool
	part  bool // it asks for some of the addresses only, and is no proof of silence
}

// A hindrance is what keeps a group from being taken: while it is the same there is no
// hurry.
type hindrance struct {
	role Role
	code Code
}

func (g *group) shown() uint64 {
	if g.role == Acquiring || g.role == Active || g.role == Releasing {
		return g.epoch
	}
	return g.seen
}

func (g *group) fitness() int { return g.base - g.failures }

func (g *group) runs() bool { return g.before != stopped || g.after != stopped }

// empty tells that nothing of the group is here.
func (g *group) empty() bool { return !g.address && !g.runs() }

// leaseOver tells that the kernel must have removed the address by itself.
func (g *group) leaseOver(t Timings, now Instant) bool {
	return now.Sub(max(g.renewed, g.laid)) > 2*t.Lease
}

func (g *group) forgetProbes() {
	g.probes = [8]probe{}
	g.silent = false
}

// held is how long the group is in its role.
func (g *group) held(now Instant) time.Duration { return now.Sub(g.since) }
