package watch

import "fmt"

// Kind says what a notice is about.
type Kind int

// The kinds of notice.
const (
	Failure Kind = iota
	Up
	Startup
	Ack
	Disable
	Trap
	TrapTimeout
	Test
	// State is for actions that follow who is up.
	State
)

var kindNames = [...]string{"alert", "upalert", "startupalert", "ackalert", "disablealert", "trapalert", "traptimeoutalert", "testalert", "state"}

// String returns mon's word, as in its history.
func (k Kind) String() string {
	if k >= 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", int(k))
}

func (k Kind) failing() bool { return k == Failure || k == Trap || k == TrapTimeout }

// Status is a service's operational status, by mon's numbers.
type Status int

// mon's numbers. The machine itself sets Failed, OK and Untested only; the rest
// may come from traps of old senders one day.
const (
	Failed Status = iota
	OK
	ColdStart
	WarmStart
	LinkDown
	Unknown
	TimedOut
	Untested
	DependFailed
	Warning
)

var statusNames = [...]string{"failed", "ok", "coldstart", "warmstart", "linkdown", "unknown", "timeout", "untested", "depend", "warn"}

func (s Status) String() string {
	if s >= 0 && int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", int(s))
}

// good reports whether a status counts as success to those who depend on it.
// Untested does (mon: the success class is 1 2 3 5 7).
func (s Status) good() bool {
	switch s {
	case OK, ColdStart, WarmStart, Unknown, Untested:
		return true
	case Failed, LinkDown, TimedOut, DependFailed, Warning:
		return false
	}
	return false
}

// A Verdict is what one run found out about one host.
type Verdict int

// The verdicts; Unseen is the zero value.
const (
	Unseen Verdict = iota
	Good
	Bad
)

func (v Verdict) String() string {
	switch v {
	case Good:
		return "up"
	case Bad:
		return "down"
	case Unseen:
		return "unknown"
	}
	return fmt.Sprintf("verdict %d", int(v))
}
