package watch

import (
	"fmt"
	"time"

	"github.com/monitord/monitord/internal/period"
)

// A Key names a watch as mon does: a host group and a service of it.
type Key struct {
	Group   string `json:"group"`
	Service string `json:"service"`
}

func (k Key) String() string { return k.Group + ":" + k.Service }

// Scope says what has counters and alerts of its own.
type Scope int

const (
	// ScopeHost gives each host of the group its own state; the decisions of one
	// round about several hosts go out as one notice.
	ScopeHost Scope = iota
	// ScopeGroup is mon's way: the group as a whole fails or is well.
	ScopeGroup
)

func (s Scope) String() string {
	switch s {
	case ScopeHost:
		return "host"
	case ScopeGroup:
		return "group"
	}
	return fmt.Sprintf("scope %d", int(s))
}

// A Config is one watch, as built from the configuration file.
type Config struct {
	Key
	// Hosts are the members of the group in the order of the configuration.
	Hosts []string
	Scope Scope
	// Fall and Rise are the results in a row that take a host down and up again
	// in ScopeHost; 0 means 1. ScopeGroup knows no such thing.
	Fall, Rise int
	// Compat keeps mon's quirks; see the package comment.
	Compat bool

	ExcludeHosts    []string
	AllowEmptyGroup bool
	// NoHosts is true for a monitor that takes no hosts (mon's ";;"): it runs
	// even if the group is empty.
	NoHosts bool

	Depend       Dependency
	UnackSummary bool
	// AckExpires is after what time an ack has been forgotten, and the failure is
	// alerted again; 0 means never.
	AckExpires time.Duration

	// TrapTimeout is the longest silence of a trap sender; 0 means any.
	TrapTimeout time.Duration
	// TrapDuration is how long a trap's failure is believed; 0 means until the
	// next trap.
	TrapDuration time.Duration

	// Redistribute is told every result; nil if nobody wants to know.
	Redistribute *Action
	Periods      []Period
}

// A Dependency holds the watch's expressions about other watches.
type Dependency struct {
	// On is mon's depend, used as Behavior says.
	On       Expr
	Behavior Behavior
	// Alert, Monitor and Host are mon's alertdepend, monitordepend, hostdepend.
	Alert, Monitor, Host Expr
	// Memory is how long a parent that came back still counts as failing.
	Memory time.Duration
}

// Behavior is what a dependency holds back: mon's dep_behavior.
type Behavior int

// The behaviours, mon's a, m and hm.
const (
	SuppressAlerts Behavior = iota
	SuppressMonitor
	SuppressHosts
)

func (b Behavior) String() string {
	switch b {
	case SuppressAlerts:
		return "a"
	case SuppressMonitor:
		return "m"
	case SuppressHosts:
		return "hm"
	}
	return fmt.Sprintf("behavior %d", int(b))
}

// A Period is a time of the week with the alerts that are due in it.
type Period struct {
	// Name is the label, or without one the text of When.
	Name string
	When period.Period

	AlertAfter AlertAfter
	AlertEvery AlertEvery
	// NumAlerts is the most alerts of one outage; 0 means any number.
	NumAlerts int
	// UpAlertAfter is the shortest outage whose end is worth an upalert.
	UpAlertAfter    time.Duration
	NoCompAlerts    bool
	AlertsDontCount bool
	// ExitRange limits the whole period to failures with these exit statuses.
	ExitRange *ExitRange

	Alerts, UpAlerts, StartupAlerts, AckAlerts, DisableAlerts []Action
	// Escalate is who else is told, in the order of the times.
	Escalate []Escalation
}

// AlertAfter holds failures back until there are enough of them. The zero value
// holds back none. mon allows several lines in one period; they combine.
type AlertAfter struct {
	// Consecutive failures of the service, counted also while alerts are held
	// back for other reasons.
	Consecutive int
	// Count failures within Within; or, with Count 0, a failure that has lasted
	// longer than Within.
	Count  int
	Within time.Duration
}

// AlertEvery is the pause between two alerts about the same thing. The zero
// value is no pause.
type AlertEvery struct {
	Interval time.Duration
	Compare  Compare
}

// Compare says what makes a failure a new one to alertevery.
type Compare int

const (
	// CompareSummary is the default: another set of failed hosts (in mon: another
	// first line) is alerted at once.
	CompareSummary Compare = iota
	// CompareDetail alerts at once if anything in the output changed.
	CompareDetail
	// CompareNothing is ignore_summary: nothing is alerted before the time.
	CompareNothing
	// Strict is CompareNothing, and a success does not end the pause.
	Strict
)

func (c Compare) String() string {
	switch c {
	case CompareSummary:
		return "summary"
	case CompareDetail:
		return "observe_detail"
	case CompareNothing:
		return "ignore_summary"
	case Strict:
		return "strict"
	}
	return fmt.Sprintf("compare %d", int(c))
}

// An ExitRange is a range of exit statuses, both ends included.
type ExitRange struct{ From, To int }

// Contains reports whether an exit status is in the range.
func (r ExitRange) Contains(exit int) bool { return r.From <= exit && exit <= r.To }

func (r ExitRange) String() string {
	if r.From == r.To {
		return fmt.Sprint(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// An Action is one use of an alert. The machine only names it.
type Action struct {
	// ID is unique among all actions of the site.
	ID string
	// Name is for people: "mail ops@example.org".
	Name string
	// Exit limits an action to these exit statuses; nil means any.
	Exit *ExitRange
	// Missing marks a program that was not found when the configuration was
	// read: it is logged, not sent, and not counted.
	Missing bool
	// Follows marks an action that is state and not a message: it is told of
	// every change of who is up, by thresholds alone.
	Follows bool
}

// Messages returns the period's list for a kind of notice.
func (p *Period) Messages(k Kind) []Action { return p.actions(k) }

func (p *Period) actions(k Kind) []Action {
	switch k {
	case Up:
		return p.UpAlerts
	case Startup:
		return p.StartupAlerts
	case Ack:
		return p.AckAlerts
	case Disable:
		return p.DisableAlerts
	case Failure, Trap, TrapTimeout, Test, State:
		return p.Alerts
	}
	panic("unknown " + k.String())
}
