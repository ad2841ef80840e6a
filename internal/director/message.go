package director

import "time"

// A Message is a heartbeat: what a node says, whom it hears, and, as an echo, the
// send instants of those. It is a value that nobody changes once it is sent.
type Message struct {
	From string
	// Incarnation grows with each start of the daemon on a node.
	Incarnation uint64
	// Seq grows with each message of an incarnation.
	Seq uint64
	// Sent is the sender's clock, for the receiver to echo.
	Sent Instant
	// Answer marks what was sent in answer to a heartbeat, and gets no answer.
	Answer bool
	Word   Word
	Hears  []Hear
}

// A Word is what a node says about itself; others pass it on.
type Word struct {
	// Leaving is the farewell: nothing is held here, nothing will be taken.
	Leaving     bool
	Maintenance bool
	// Gateway tells whether the gateways answer, GatewayAge how long ago the
	// newest answered ping was sent (negative: never).
	Gateway    bool
	GatewayAge time.Duration
	Digest     string
	Order      Order
	Groups     []Claim
}

// An Order is what an operator said on one node about the maintenance of another, which
// carries it out once. The zero Order is none.
type Order struct {
	Node string
	On   bool
	// Seq orders those of one incarnation: each is higher than the one before.
	Seq uint64
}

func (o Order) command() Command {
	if o.On {
		return MaintenanceOn
	}
	return MaintenanceOff
}

// A Claim is what a node says about one group.
type Claim struct {
	Group string
	Role  Role
	// Epoch is that of the ownership claimed (acquiring, active, releasing), else
	// the highest one seen.
	Epoch uint64
	// Priority orders claims of one epoch; more wins.
	Priority int
	Fitness  int
	// Renewed is the age of the last renewal that may have taken place
	// (active, releasing; negative: none).
	Renewed time.Duration
	// Able tells whether the node could take the group now.
	Able bool
	// Blocked: the node would have to wait for another than the group's owner, whose
	// silence is too short for it, or who is not known to be off. It may have heard less
	// than others did: it stood still, or was started, after that one fell silent.
	Blocked bool
	// Ready: the wire is silent, and only the owner's heartbeats, or too short a
	// silence, keep the node from taking.
	Ready bool
	// Leave names a node whose claim, with LeaveEpoch, this node has seen and does not
	// object to. It is for those whom acknowledgements reach through others only.
	Leave      string
	LeaveEpoch uint64
	// StopFailed: something of the group may still run, for good.
	StopFailed bool
	// To is for whom the group was released; Forced: by an operator's wish, so that
	// it stays there, whatever failback says.
	To     string
	Forced bool
	// Request is to whom this node wishes the group to be moved; Refused is the
	// owner's answer to such a wish.
	Request string
	Refused Reason
	// Why is the reason for the role, or for not being able.
	Why Reason
}

// takes tells whether a node acquires a group, and has begun to configure its address.
func (c Claim) takes() bool { return c.Role == Acquiring && c.Renewed >= 0 }

// A Hear is what a node knows about another at first hand.
type Hear struct {
	Node string
	// Incarnation, Seq and Sent are those of the newest message: Sent is its echo.
	Incarnation uint64
	Seq         uint64
	Sent        Instant
	// Silent is how long the node was not heard here, by a loop without gaps.
	Silent time.Duration
	// Heard is false if there was no message since the start; Word is empty then.
	Heard bool
	// Thin: it is heard, and fell silent on one of its links lately.
	Thin bool
	Word Word
}
