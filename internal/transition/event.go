package transition

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/director"
)

// An Event is one transition of a group on one node.
type Event struct {
	Group, Node string
	// From and To are the roles; To is Init when the daemon ends.
	From, To director.Role
	Epoch    uint64
	Priority int
	// Reason is one line for people: why.
	Reason string
	// Without is how long the group had no owner, as measured by a node that takes
	// it; 0 if that is not known.
	Without time.Duration
	At      time.Time
}

// State is keepalived's word for the role that the node has now: MASTER, BACKUP,
// FAULT or STOP. A node in maintenance is one that holds nothing: BACKUP.
func (e Event) State() string {
	switch e.To {
	case director.Active, director.Releasing:
		return "MASTER"
	case director.Fault:
		return "FAULT"
	case director.Init:
		return "STOP"
	case director.Standby, director.Acquiring, director.Maintenance:
	}
	return "BACKUP"
}

// Alert is the event as alerts get it. The service is "director", its state that of
// this node's part in the group: well while it is active or standing by. The
// environment of programs has
//
//	MONITORD_GROUP, MONITORD_NODE      whose transition it is, and where
//	MONITORD_FROM, MONITORD_TO         the roles: init, standby, active, fault, maintenance
//	MONITORD_STATE, MONITORD_PRIORITY  as keepalived's notify scripts have them
//	MONITORD_EPOCH                     counts the ownerships of the group
//	MONITORD_REASON                    one line: why
//	MONITORD_WITHOUT_MS                milliseconds without an owner, if they are known
//
// besides mon's own variables.
func (e Event) Alert() alerts.Event {
	a := alerts.Event{
		Kind: e.kind(), Group: e.Group, Service: "director", Description: "who holds the group " + e.Group,
		Time: e.At, Summary: e.summary(), Output: []byte(e.text()), Reason: oneLine(e.Reason), Status: 1, Env: e.env(),
		// All that is about one ownership belongs together, on whichever node.
		Outage: fmt.Sprintf("%s:director@%d", e.Group, e.Epoch),
	}
	if a.Kind == alerts.Failure {
		a.Status, a.LastFailure = 0, e.At
	} else {
		a.LastSuccess = e.At
	}
	return a
}

func (e Event) kind() alerts.Kind {
	switch {
	case e.To == director.Fault:
		return alerts.Failure
	case e.To == director.Maintenance || e.To == director.Init:
		return alerts.Disable
	case e.From == director.Init:
		return alerts.Startup
	}
	return alerts.Up
}

// word is a role in a sentence.
func word(r director.Role) string {
	if r == director.Init {
		return "stopped"
	}
	return r.String()
}

// summary is short: it stands in the subject of a mail.
func (e Event) summary() string {
	return fmt.Sprintf("%s is %s, was %s", e.Node, word(e.To), word(e.From))
}

func (e Event) text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", e.summary())
	if reason := oneLine(e.Reason); reason != "" {
		fmt.Fprintf(&text, "why: %s\n", reason)
	}
	if e.Without > 0 {
		fmt.Fprintf(&text, "time without owner: %s\n", e.Without.Round(time.Millisecond))
	}
	fmt.Fprintf(&text, "epoch: %d\npriority: %d\n", e.Epoch, e.Priority)
	return text.String()
}

func (e Event) env() []string {
	env := []string{
		"MONITORD_GROUP=" + e.Group, "MONITORD_NODE=" + e.Node,
		"MONITORD_FROM=" + e.From.String(), "MONITORD_TO=" + e.To.String(),
		"MONITORD_STATE=" + e.State(), "MONITORD_PRIORITY=" + strconv.Itoa(e.Priority),
		"MONITORD_EPOCH=" + strconv.FormatUint(e.Epoch, 10), "MONITORD_REASON=" + oneLine(e.Reason),
	}
	if e.Without > 0 {
		env = append(env, "MONITORD_WITHOUT_MS="+strconv.FormatInt(e.Without.Milliseconds(), 10))
	}
	return env
}

// oneLine keeps texts from outside, such as a resource's error, in their line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
