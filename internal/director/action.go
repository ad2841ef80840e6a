package director

// An Action is something to do. The actions of one step are done in their order;
// those that have a result hand it over as an event, once, whatever happens.
type Action interface{ action() }

type (
	// Send a message over every link: to one node, or to all of them.
	Send struct {
		To      string // empty: everybody
		Message Message
	}

	// Ping a gateway; the answer brings the instant of this sending back.
	Ping struct{ Gateway string }

	// Probe asks the wire for a group's address (ARP probe, neighbour
	// solicitation), and then, by broadcast, for the gateway: see WireAnswered and
	// WireWorks. With more than one of Parts it asks for a part of the addresses: those
	// whose places in the group leave Part as a rest, and the one that was answered for
	// last, wherever that is.
	Probe struct {
		Group       string
		ID          uint64
		Part, Parts int
	}

	// Save an epoch in the state directory, so that it survives a crash: Saved.
	Save struct {
		Group string
		Epoch uint64
	}

	// SaveMaintenance does the same with the operator's word. It has no result.
	SaveMaintenance struct{ On bool }

	// StartPart and StopPart start and stop one part of a group's resources: Started, Stopped. Both are
	// idempotent; a start that fails has unwound itself. A StopPart may come while the
	// start runs: it ends that start (whose Started is still due) and then stops.
	StartPart struct {
		Group string
		Part  Part
	}
	StopPart struct {
		Group string
		Part  Part
	}

	// Take configures the address with the lease; Renew renews it: LeaseSet. They
	// must not begin after NotAfter (LeaseSet with OK false is the answer then);
	// one that returns after NotAfter must remove the address at once, before
	// anything else is done, and say OK false. A Take whose Drop came first is not done.
	Take struct {
		Group    string
		NotAfter Instant
	}
	Renew struct {
		Group    string
		NotAfter Instant
	}

	// Drop removes the address: Dropped. It overtakes everything that waits and
	// never waits for a StartPart or StopPart.
	Drop struct{ Group string }

	// Announce the address once, now.
	Announce struct{ Group string }

	// PowerOff a node: StonithDone.
	PowerOff struct{ Node string }

	// Flush drops what the sockets hold.
	Flush struct{}

	// Exit says that nothing is left to do, the process may end.
	Exit struct{}

	// Tell people.
	Tell struct{ Notice Notice }
)

func (Send) action()            {}
func (Ping) action()            {}
func (Probe) action()           {}
func (Save) action()            {}
func (SaveMaintenance) action() {}
func (StartPart) action()       {}
func (StopPart) action()        {}
func (Take) action()            {}
func (Renew) action()           {}
func (Drop) action()            {}
func (Announce) action()        {}
func (PowerOff) action()        {}
func (Flush) action()           {}
func (Exit) action()            {}
func (Tell) action()            {}

// A Notice is something that people should know.
type Notice struct {
	At    Instant
	Kind  NoticeKind
	Group string
	// From and To are the roles of a transition; equal otherwise.
	From, To Role
	Epoch    uint64
	Reason   Reason
}

// NoticeKind is what sort of news it is.
type NoticeKind int

// The kinds.
const (
	// Transition: a group changed its role here.
	Transition NoticeKind = iota
	// Refusal: a group is not taken, moved or released here; told when the reason changes.
	Refusal
	// Remark: everything else: peers, disk, doubts, commands.
	Remark
)

var noticeNames = []string{"transition", "refusal", "remark"}

func (k NoticeKind) String() string { return noticeNames[k] }
