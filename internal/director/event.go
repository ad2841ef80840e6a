package director

import "time"

// An Instant is a time on this node's own CLOCK_BOOTTIME. Clocks of two nodes
// have nothing to do with each other: an Instant in a [Message] is only ever
// echoed to the node it came from.
type Instant time.Duration

// Sub is the time from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Add is d after t.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

func (t Instant) String() string { return time.Duration(t).String() }

// An Event is something that happened, and when this node handled it.
type Event struct {
	// At is read from the clock when the event is handed over, and never goes back.
	At   Instant
	What What
}

// What is one of the types below.
type What interface{ what() }

type (
	// Tick says that time passed: at least one every Timings.Tick, and only when
	// no other event is queued.
	Tick struct{}

	// Heard is a message that arrived, authenticated. Duplicates, old ones, and the
	// same one over each link are all handed over.
	Heard struct {
		Link    string
		Message Message
	}

	// PingAnswered says that the gateway answered the Ping that was sent at Sent.
	PingAnswered struct {
		Gateway string
		Sent    Instant
	}

	// Carrier of the service interfaces: handed over at start, at each change, and
	// polled, as drivers may be late. With a Group it is about the interfaces of that
	// group's addresses, of which all have to be up; without, about all interfaces
	// together, of which one has to be. Detail is which one is down, for people.
	Carrier struct {
		Group  string
		Up     bool
		Detail string
	}

	// WireAnswered says that somebody else answered a probe of the group's address.
	// This node's own kernel is never reported.
	WireAnswered struct {
		Group string
		Probe uint64
		By    Answerer
	}

	// WireWorks says that the broadcast request for the gateway that was sent after
	// this probe got its (unicast) answer. With several gateways any answer counts.
	WireWorks struct {
		Group string
		Probe uint64
	}

	// ForeignClaim says that somebody else announced the group's address.
	ForeignClaim struct {
		Group string
		By    Answerer
	}

	// LeaseSet is the result of Take or Renew. Began is the clock before the
	// call; Event.At is read after it returned.
	LeaseSet struct {
		Group  string
		Began  Instant
		OK     bool
		Detail string
	}

	// Dropped is the result of Drop. As long as OK is false the kernel may hold
	// the address, by lease.
	Dropped struct {
		Group  string
		OK     bool
		Detail string
	}

	// LeaseGone is when the kernel says that the address went away, without Drop. Of
	// several addresses one is enough; Left: others are still there.
	LeaseGone struct {
		Group string
		Left  bool
	}

	// Found comes once for each group after [Start], before anything else about it:
	// what an earlier process left. Held: the address is there, and its lease has
	// Left to go (0 or less: it is there for good, and not by us).
	Found struct {
		Group string
		Held  bool
		Left  time.Duration
	}

	// Started and Stopped are the results of StartPart and StopPart.
	Started struct {
		Group  string
		Part   Part
		OK     bool
		Detail string
	}
	Stopped struct {
		Group  string
		Part   Part
		OK     bool
		Detail string
	}

	// StonithDone is the result of a power-off: OK only when it is certain.
	StonithDone struct {
		Node   string
		OK     bool
		Detail string
	}

	// Saved is the result of Save. OK: it survives a crash.
	Saved struct {
		Group  string
		Epoch  uint64
		OK     bool
		Detail string
	}

	// Require is what this node's conditions for holding a group say now. Groups
	// that none was handed over for have OK and fitness 0.
	Require struct {
		Group   string
		OK      bool
		Fitness int
		Detail  string
	}

	// Operator is a command; what becomes of it is told (see [Tell]).
	Operator struct {
		Command Command
		Group   string // Switchover, FailbackNow, ClearFaults
		// Node is for Switchover to whom, empty: the best other; for MaintenanceOn and
		// MaintenanceOff which node's, empty: this one's; for ConfirmFenced who.
		Node string
	}

	// Shutdown (SIGTERM): hand over, say farewell, then Exit is due.
	Shutdown struct{}

	// Quit (SIGUSR2): leave everything in place for the next process; Exit is due.
	Quit struct{}
)

func (Tick) what()         {}
func (Heard) what()        {}
func (PingAnswered) what() {}
func (Carrier) what()      {}
func (WireAnswered) what() {}
func (WireWorks) what()    {}
func (ForeignClaim) what() {}
func (LeaseSet) what()     {}
func (Dropped) what()      {}
func (LeaseGone) what()    {}
func (Found) what()        {}
func (Started) what()      {}
func (Stopped) what()      {}
func (StonithDone) what()  {}
func (Saved) what()        {}
func (Require) what()      {}
func (Operator) what()     {}
func (Shutdown) what()     {}
func (Quit) what()         {}

// An Answerer is who answers for an address.
type Answerer struct {
	// Node is the peer whose hardware address it is, empty if it is nobody's.
	Node string
	// MAC is its hardware address, for people.
	MAC string
}

func (a Answerer) String() string {
	if a.Node != "" {
		return a.Node
	}
	return a.MAC
}

// A Part of a group's resources: those before its address, those after it.
type Part int

// Before is started first and stopped last.
const (
	Before Part = iota
	After
)

func (p Part) String() string {
	if p == Before {
		return "before the address"
	}
	return "after the address"
}

// A Command is what an operator can say.
type Command int

// The commands.
const (
	// Switchover moves a group, once, whatever failback says.
	Switchover Command = iota
	// MaintenanceOn hands over everything and takes nothing.
	MaintenanceOn
	// MaintenanceOff ends it.
	MaintenanceOff
	// FailbackNow moves a group to its best candidate.
	FailbackNow
	// ClearFaults forgives failed starts.
	ClearFaults
	// ConfirmFenced: the operator swears that the node holds nothing.
	ConfirmFenced
)

var commandNames = []string{"switchover", "maintenance on", "maintenance off", "failback now", "clear faults", "confirm fenced"}

func (c Command) String() string { return commandNames[c] }
