package director

import "strings"

// A Reason says why, in a form that can be compared.
type Reason struct {
	Code Code
	// Node is whom it is about, if anybody.
	Node string
	// Detail is text from outside: an error of a resource, a hardware address.
	Detail string
}

// A Code is one reason of the machine.
type Code int

// The reasons. Their texts stand below, in the same order; NODE is Reason.Node.
const (
	None Code = iota

	// Why a node became something.
	ReasonAdopted
	ReasonClean
	ReasonOwnerDead
	ReasonNoOwner
	ReasonReleased
	ReasonFenced
	ReasonStarted
	ReasonLeaseSet
	ReasonStopped
	ReasonPauseOver
	ReasonMaintenanceOn
	ReasonMaintenanceOff

	// Why a group is let go.
	ReasonCutOff
	ReasonMajorityLost
	ReasonGatewayLost
	ReasonAllLost
	ReasonLeaseLost
	ReasonTooLate
	ReasonUnproved
	ReasonClaimLost
	ReasonYield
	ReasonStartFailed
	ReasonStopFailed
	ReasonTakeFailed
	ReasonSwitchover
	ReasonFailback
	ReasonTogether
	ReasonMaintenance
	ReasonShutdown
	ReasonRequire

	// Why a group is not taken.
	ReasonNotHolder
	ReasonStarting
	ReasonReleasing
	ReasonPause
	ReasonNotProved
	ReasonNoGateway
	ReasonNoMajority
	ReasonOwnerAlive
	ReasonPeerStarting
	ReasonPeerAcquiring
	ReasonPeerReleasing
	ReasonPeerStopFailed
	ReasonPeerSuspect
	ReasonInitDead
	ReasonHold
	ReasonStrict
	ReasonStonithNeeded
	ReasonLeaderElsewhere
	ReasonLeaderNowhere
	ReasonReleasedFor
	ReasonBetter
	ReasonAnswered
	ReasonForeign
	ReasonProbing
	ReasonLeaveMissing
	ReasonYielding

	// Why a group is not moved.
	ReasonFailbackOff
	ReasonFailbackWaits
	ReasonDigest
	ReasonPinned
	ReasonNobodyElse
	ReasonHeldAllLost
	ReasonTargetUnknown
	ReasonTargetUnable
	ReasonTargetHolds
	ReasonNoOwnerKnown
	ReasonRequestTimeout
	ReasonStillHeard

	// Remarks.
	ReasonPeerHeard
	ReasonPeerDead
	ReasonPeerLeft
	ReasonPeerRestarted
	ReasonLate
	ReasonDiffers
	ReasonGap
	ReasonGatewayDown
	ReasonGatewayUp
	ReasonCarrierDown
	ReasonCarrierUp
	ReasonDisk
	ReasonDiskSlow
	ReasonRepaired
	ReasonRenewFailed
	ReasonDropFailed
	ReasonForeignClaim
	ReasonDouble
	ReasonDoubtOver
	ReasonStonithAsked
	ReasonStonithOK
	ReasonStonithFailed
	ReasonEscalated
	ReasonConfirmed
	ReasonAccepted
	ReasonCleared
)

var texts = [...]string{
	"",

	"its address was found here, inside its lease",
	"nothing of it runs here",
	"NODE is dead",
	"nobody holds it",
	"NODE released it",
	"NODE was fenced",
	"what comes before the address runs",
	"the kernel holds the address",
	"everything is stopped",
	"the pause after a failed start is over",
	"an operator ordered maintenance",
	"maintenance is over",

	"NODE does not hear this node, and the gateway does not answer",
	"a majority of the voters does not hear this node",
	"the gateway does not answer this node, but NODE",
	"the gateway answers nobody",
	"the lease was not renewed in time",
	"the address could not be configured in time",
	"nobody answered after a pause of this daemon",
	"NODE has the higher claim",
	"NODE does not hear this node, and is about to take it",
	"it does not start",
	"it does not stop",
	"the address cannot be configured",
	"an operator wants it on NODE",
	"NODE is the better candidate",
	"NODE holds the group it belongs to",
	"maintenance: NODE takes it",
	"this daemon ends",
	"a requirement is not met",

	"this node is not in its order",
	"what an earlier process left is being looked at",
	"it is being released here, and not all of it is stopped",
	"a start failed, and the pause after it is not over",
	"nothing answered this node since its start or pause",
	"the gateway does not answer",
	"no majority of the voters is heard",
	"NODE holds it",
	"NODE is starting",
	"NODE is acquiring it",
	"NODE is releasing it",
	"it does not stop on NODE",
	"NODE is silent, but not for long enough",
	"NODE was never heard, and the time to wait for it is not over",
	`NODE is silent, and on_peer_silent is "hold"`,
	"NODE may have renewed its lease until now",
	"NODE is silent, and stonith did not succeed yet",
	"NODE holds the group it belongs to",
	"nobody holds the group it belongs to",
	"it was released for NODE",
	"NODE is the better candidate",
	"NODE's kernel answers for the address",
	"a machine that is no director answers for the address",
	"the wire is being asked",
	"NODE has not given leave",
	"the wire is silent, and NODE may be letting go",

	"NODE is the better candidate, but failback is off",
	"NODE is the better candidate, but not for long enough",
	"NODE is the better candidate, but has another configuration",
	"NODE is the better candidate, but an operator put it here",
	"no other node can take it",
	`the gateway answers nobody, and all_lost is "hold"`,
	"NODE is not one of its holders",
	"NODE cannot take it",
	"NODE holds it already",
	"nobody is known to hold it",
	"NODE did not get it in time",
	"NODE is still heard",

	"NODE is heard",
	"NODE is dead: not heard for the dead time",
	"NODE said farewell",
	"NODE was restarted",
	"a heartbeat of NODE was late",
	"NODE has another configuration",
	"this daemon stood still",
	"the gateway does not answer",
	"the gateway answers again",
	"the service interface lost its carrier",
	"the service interface has a carrier",
	"the epoch cannot be saved: going on without",
	"saving the epoch takes too long: going on without",
	"somebody removed the address: put back",
	"the lease was not renewed",
	"the address was not removed",
	"somebody else announced the address",
	"NODE holds it as well, with the lower claim",
	"the doubt about who holds it is over",
	"stonith was asked to power off NODE",
	"NODE was powered off",
	"NODE was not powered off",
	"it does not stop: somebody has to help",
	"an operator confirms that NODE holds nothing",
	"an operator's command is taken up",
	"earlier failures are forgotten",
}

func (r Reason) String() string {
	text := strings.ReplaceAll(texts[r.Code], "NODE", r.Node)
	if r.Detail != "" {
		text += " (" + r.Detail + ")"
	}
	return text
}

func because(c Code) Reason                 { return Reason{Code: c} }
func about(c Code, node string) Reason      { return Reason{Code: c, Node: node} }
func detailed(c Code, detail string) Reason { return Reason{Code: c, Detail: detail} }
