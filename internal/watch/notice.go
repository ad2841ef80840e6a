package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Notice is an alert that is due: one action, what happened, and the whole
// present state of the watch.
type Notice struct {
	Key
	Action Action
	Kind   Kind
	// Testing is the list that is tried out when Kind is Test.
	Testing Kind
	Period  string
	At      time.Time
	Reason  string

	Hosts []Host
	// Summary and Output are what the notice is about; of a recovery, those of
	// the last failure.
	Summary, Output string

	Status       Status
	Exit         *int
	Previous     string // the output of the event before
	Events       int    // completed before this one
	FirstFailure time.Time
	LastFailure  time.Time
	LastSuccess  time.Time
	Ack          string
	TrapIntended string

	// Named is the first failure by the clock of who told of it first; zero: by this one.
	Named time.Time
}

// A Host is what is known about one host of the watch.
type Host struct {
	Name      string
	Verdict   Verdict
	Since     time.Time
	Reason    string
	Concerned bool
	Disabled  bool
}

// Outage names the outage that the notice belongs to.
func (n *Notice) Outage() string {
	if n.FirstFailure.IsZero() {
		return n.Key.String()
	}
	first := n.FirstFailure
	if !n.Named.IsZero() {
		first = n.Named
	}
	return fmt.Sprintf("%s@%d", n.Key, first.UnixMilli())
}

// notice fills in what the state of the watch says. Disabled hosts are left out
// as in mon; for followers they stay.
func (sv *service) notice(s *Set, now time.Time, kind Kind, a Action, concerned map[string]bool) Notice {
	n := Notice{
		Key: sv.Key, Action: a, Kind: kind, At: now,
		Summary: sv.summary, Status: sv.status, Previous: sv.output, Events: sv.events, TrapIntended: sv.intended,
	}
	for _, h := range sv.hostStates(s) {
		if h.Disabled && kind != State {
			continue
		}
		h.Concerned = concerned[h.Name]
		n.Hosts = append(n.Hosts, h)
	}
	n.subjects(sv.subjects)
	return n
}

// subjects sets the times and the ack from the subjects that the notice is
// about: the first failure of all, the last of all.
func (n *Notice) subjects(subjects []*subject) {
	if len(subjects) == 0 {
		return
	}
	n.FirstFailure, n.LastFailure, n.LastSuccess, n.Ack = time.Time{}, time.Time{}, time.Time{}, ""
	for _, sub := range subjects {
		if !sub.firstFailure.IsZero() && (n.FirstFailure.IsZero() || sub.firstFailure.Before(n.FirstFailure)) {
			n.FirstFailure, n.Named = sub.firstFailure, sub.named
		}
		n.LastFailure = latest(n.LastFailure, sub.lastFailure)
		n.LastSuccess = latest(n.LastSuccess, sub.lastSuccess)
		if sub.ack != nil && n.Ack == "" {
			n.Ack = sub.ack.By + ": " + sub.ack.Why
		}
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// hostStates is each host's state as the thresholds have it.
func (sv *service) hostStates(s *Set) []Host {
	out := make([]Host, 0, len(sv.Hosts))
	for i, name := range sv.Hosts {
		h := Host{Name: name}
		_, h.Disabled = s.disabledHosts[name]
		if sv.Scope == ScopeHost {
			sub := sv.subjects[i]
			h.Since, h.Reason = sub.since, sub.reason
			switch sub.status {
			case OK:
				h.Verdict = Good
			case Failed:
				h.Verdict = Bad
			default:
			}
		} else {
			sub := sv.group()
			v := sub.known[name]
			h.Since, h.Verdict, h.Reason = sub.since, v.Verdict, v.Reason
		}
		out = append(out, h)
	}
	return out
}

// Code classifies a decision.
type Code int

// The ways a failure, a recovery or an operator's word can go.
const (
	Sent Code = iota
	Stopped
	DisabledByOperator
	DependencyFailing
	Acknowledged
	OutsidePeriod
	OutsideExitRange
	EnoughAlerts
	TooSoon
	TooFew
	NothingToAnswer
	TooShort
	MissingProgram
	BelowFall
	BelowRise
	NotTested
	NotOwner
	Silenced
)

var codeNames = [...]string{
	"sent", "paused", "disabled", "dependency", "acknowledged", "outside period", "outside exit range", "numalerts",
	"alertevery", "alertafter", "nothing to answer", "upalertafter", "missing program", "fall", "rise", "could not test", "not owner", "silenced",
}

func (c Code) String() string {
	if c >= 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", int(c))
}

// A Decision is what became of an event in one period, and why: silence has its
// reason as well as noise.
type Decision struct {
	At     time.Time
	Kind   Kind
	Period string   // empty if it holds for all periods
	Hosts  []string // empty for the group as a whole
	Code   Code
	Reason string
	// Actions were sent; empty unless Code is Sent.
	Actions []string
}

func (d Decision) String() string {
	text := d.Kind.String() + " "
	if d.Code == Sent {
		text += "sent to " + strings.Join(d.Actions, ", ")
	} else {
		text += "not sent (" + d.Code.String() + ")"
	}
	if d.Period != "" {
		text += " in period " + d.Period
	}
	if len(d.Hosts) > 0 {
		text += " for " + strings.Join(d.Hosts, " ")
	}
	return text + ": " + d.Reason
}

// remember keeps the last decisions. A long outage brings one with every run, that the
// last alert was so and so long ago: of what there is room for, half is for alerts that
// were sent, so that people still find why they were told.
func (sv *service) remember(keep int, d Decision) {
	sv.decisions = append(sv.decisions, d)
	sv.fresh = min(sv.fresh+1, keep)
	for len(sv.decisions) > keep {
		i := oldest(sv.decisions[:len(sv.decisions)-sv.fresh], keep/2)
		sv.decisions = slices.Delete(sv.decisions, i, i+1)
	}
}

// oldest is the decision that is forgotten first: one not to send, unless so many or
// more were to send.
func oldest(decisions []Decision, most int) int {
	first, sent := -1, 0
	for i := range decisions {
		switch {
		case decisions[i].Code == Sent:
			sent++
		case first < 0:
			first = i
		}
	}
	if sent > most {
		return 0
	}
	return max(first, 0)
}

// A Change is a turn that people want to find in the log. Host is empty for the
// watch as a whole; To is Unknown while runs tell nothing, and From when they do
// again.
type Change struct {
	Key
	Host     string
	From, To Status
	Reason   string
}

// News returns what changed in a watch since the last call, and what was decided.
func (s *Set) News(key Key) ([]Change, []Decision) {
	sv, ok := s.services[key]
	if !ok {
		return nil, nil
	}
	changes, decisions := sv.changes, slices.Clone(sv.decisions[len(sv.decisions)-sv.fresh:])
	sv.changes, sv.fresh = nil, 0
	return changes, decisions
}
