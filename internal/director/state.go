package director

import "time"

// Role is what a node is for a group.
type Role int

// The roles; the diagram of director.go shows the ways between them.
const (
	Init Role = iota
	Standby
	Acquiring
	Active
	Releasing
	Fault
	Maintenance
)

var roleNames = []string{"init", "standby", "acquiring", "active", "releasing", "fault", "maintenance"}

func (r Role) String() string { return roleNames[r] }

// Holds tells whether a node in this role may have started something of the
// group, so that nobody else may.
func (r Role) Holds() bool { return r == Init || r == Acquiring || r == Active || r == Releasing }

// Phase is where an acquiring group has got to.
type Phase int

// The phases, in order.
const (
	// Asking the wire whether the address is answered, and the living for leave.
	Asking Phase = iota
	// Saving the epoch, where it is not on disk yet.
	Saving
	// Starting what comes before the address.
	Starting
	// Taking the address.
	Taking
)

var phaseNames = []string{"asking", "saving", "starting", "taking"}

func (p Phase) String() string { return phaseNames[p] }

// Restored is what survived the last process.
type Restored struct {
	// Incarnation must differ from those of earlier starts, and should be higher
	// (wall clock will do): a lower one is believed by the peers only after an
	// exchange, one heartbeat later.
	Incarnation uint64
	// Epochs are the highest saved ones.
	Epochs      map[string]uint64
	Maintenance bool
}

// PeerState is what a peer is to this node.
type PeerState int

// The states. Left said farewell; Fenced was powered off.
const (
	Unheard PeerState = iota
	Alive
	Suspect
	Dead
	Left
	Fenced
)

var peerStateNames = []string{"unheard", "alive", "suspect", "dead", "left", "fenced"}

func (p PeerState) String() string { return peerStateNames[p] }

// A State is all that the machine knows. It is a value: Step makes a new one and
// leaves the old one as it was. Only Start makes the first.
type State struct {
	now, started Instant
	incarnation  uint64
	seq          uint64

	carrier     bool
	maintenance bool
	order       Order   // an operator's, about another node; it stands until that has it
	orderAt     Instant // since when
	leaving     bool    // Shutdown came: everything is handed over, nothing taken
	farewell    bool    // nothing is held: the farewell is being said
	farewellAt  Instant // since when
	farewellSeq uint64  // the last message before it
	gone        bool    // Exit is due: nothing is done any more

	// proving: after the start, or a gap, nothing that was sent since (proveSince,
	// after message proveSeq) was answered yet.
	proving    bool
	proveSince Instant
	proveSeq   uint64

	beaten   Instant // when the last message to everybody was sent
	speak    bool    // something changed that the others should know at once
	gateways []gateway
	fast     bool    // the pace of pings
	fastAt   Instant // since when
	reached  bool    // the gateway answered since the start
	lost     bool    // it does not
	lostAt   Instant
	alone    bool    // others reach the gateway, this node does not
	aloneAt  Instant // since when

	peers  []peer  // as Config.Nodes; the own one is not used
	groups []group // as Config.Groups
}

// A gateway is what pings say about it.
type gateway struct {
	pinged     bool
	pingedAt   Instant // the last one sent
	answered   bool
	answeredAt Instant // when the newest answered one was sent
}

// A peer is what is known about another node.
type peer struct {
	state       PeerState
	incarnation uint64
	seq         uint64
	sent        Instant // of its newest message, its own clock: the echo

	// wentBack: its present incarnation is lower than an earlier one.
	wentBack bool

	heard   bool    // directly, in its present incarnation
	heardAt Instant // when
	// clock is from when its silence counts: heard directly, a restart of the
	// clocks, or the start. relayed is the same with what others hear.
	clock, relayed Instant

	// ackedSeq is our newest message that it heard, sent at ackedAt.
	acked    bool
	ackedSeq uint64
	ackedAt  Instant

	word   Word
	wordAt Instant // when it said so, on our clock
	wordOf uint64  // the Seq of the message
	known  bool    // there was a word of this incarnation
	hears  []Hear  // whom it hears
	obeyed uint64  // the Seq of its last order that was carried out here

	links [4]link

	lateAt     Instant // when people were told of a late heartbeat
	late       bool
	differs    bool // its configuration is another one, and people know
	voted      bool // its silence has passed the dead time here
	fencedAt   Instant
	stonithing bool
	stonithAt  Instant
	stonithed  bool
}

// A link is when a peer was last heard over one of them; there is room for the
// first few.
type link struct {
	name string
	at   Instant
}

// claim is what the peer says about a group; a word about nothing is the zero Claim.
func (p *peer) claim(g *group) Claim {
	if g.index < len(p.word.Groups) && p.word.Groups[g.index].Group == g.name {
		return p.word.Groups[g.index]
	}
	for _, c := range p.word.Groups {
		if c.Group == g.name {
			return c
		}
	}
	return Claim{Group: g.name, Role: Standby, Renewed: -1}
}

// A Standing is what a node is for one group, for status and tests.
type Standing struct {
	Group string
	Role  Role
	Phase Phase
	// Epoch is that of this node's claim, or the highest seen.
	Epoch uint64
	Since Instant
	// Why is the reason for the role, Refusal why it is not another one.
	Why, Refusal Reason
	// Holding: the address is, or may be, in this node's kernel.
	Holding bool
	// Renewed is when the last renewal began, if Holding.
	Renewed Instant
	Fitness int
	// Running: parts of the group that were started and not stopped.
	Running bool
	// Denied is why the last switchover or failback that an operator ordered here was not
	// carried out; it says nothing while the owner was not asked yet, or moves the group.
	Denied Reason
}

// Groups are the standings, in the order of the configuration.
func (s State) Groups() []Standing {
	list := make([]Standing, len(s.groups))
	for i, g := range s.groups {
		list[i] = Standing{
			Group: g.name, Role: g.role, Phase: g.phase, Epoch: g.shown(), Since: g.since, Why: g.why, Refusal: g.refusal,
			Holding: g.address, Renewed: g.renewed, Fitness: g.fitness(), Running: g.runs(),
			Denied: g.denied,
		}
	}
	return list
}

// Peer tells what a node is to this one, and for how long it is silent.
func (s State) Peer(c Config, name string) (PeerState, time.Duration) {
	i := c.node(name)
	if i < 0 || name == c.Self {
		return Alive, 0
	}
	return s.peers[i].state, s.now.Sub(s.peers[i].relayed)
}

// Connected tells whether the gateway answers, as far as this node knows.
func (s State) Connected() bool { return s.carrier && !s.lost }

// Gone tells that Exit was due.
func (s State) Gone() bool { return s.gone }
