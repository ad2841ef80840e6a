package simulate

import "time"

// A Report is what a rehearsal showed.
type Report struct {
	Config  string    `json:"config"`
	Results string    `json:"results"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Watches int       `json:"watches"`
	// Checks counts the runs of monitors.
	Checks int `json:"checks"`
	// Events are in the order of time.
	Events []Event `json:"events"`
	// Notes are for who wrote the results.
	Notes  []string `json:"notes,omitempty"`
	Floods []Flood  `json:"floods,omitempty"`
}

// An Event is one of four things: an alert that would be sent (Sent is set), one that
// would not (Code), a change of a pool (Pool), or a line of the results (Line).
type Event struct {
	At    time.Time `json:"at"`
	Watch string    `json:"watch,omitempty"`

	// Kind is mon's word: "alert", "upalert".
	Kind   string   `json:"kind,omitempty"`
	Period string   `json:"period,omitempty"`
	Hosts  []string `json:"hosts,omitempty"`
	// Sent names the alert.
	Sent    string `json:"sent,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Code is the rule that kept an alert back, as in "monitord status".
	Code string `json:"not_sent,omitempty"`
	// Reason is why any of this; of a line it is why it had no effect.
	Reason string `json:"reason,omitempty"`

	// Pool is the name of a virtual service, Change what became of Hosts in it.
	Pool   string `json:"pool,omitempty"`
	Change Change `json:"change,omitempty"`

	Line int    `json:"line,omitempty"`
	Said string `json:"said,omitempty"`
}

// A Change is what became of a real server.
type Change string

// The changes. Kept is a server that is down and stays for min_up; Returns is such a
// one that is up again.
const (
	Joins    Change = "joins"
	Leaves   Change = "leaves"
	Kept     Change = "is down and stays"
	Returns  Change = "is up again"
	Sorry    Change = "serves as the sorry server"
	NotSorry Change = "serves no longer"
)

// A Flood is a destination that would get too many messages.
type Flood struct {
	At time.Time `json:"at"`
	To string    `json:"to"`
}

// Sent counts the alerts that would be sent.
func (r *Report) Sent() int { return r.count(func(e *Event) bool { return e.Sent != "" }) }

// Withheld counts the decisions not to send one.
func (r *Report) Withheld() int { return r.count(func(e *Event) bool { return e.Code != "" }) }

// Moves counts the changes of pools.
func (r *Report) Moves() int { return r.count(func(e *Event) bool { return e.Pool != "" }) }

func (r *Report) count(is func(*Event) bool) int {
	n := 0
	for i := range r.Events {
		if is(&r.Events[i]) {
			n++
		}
	}
	return n
}
