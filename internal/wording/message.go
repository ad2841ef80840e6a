// Package wording puts events in words, for alerts that write to people and to
// programs: who is concerned, how the group is, how long it lasted. What comes
// from monitors and their hosts is bounded and free of control characters.
package wording

import (
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
)

// Bounds on what comes from monitors.
const (
	OutputLimit  = 64 << 10 // bytes of a monitor's output
	ReasonLimit  = 300      // characters of a host's reason
	SummaryLimit = 300      // characters of a summary, description or the like
	nameLimit    = 64       // characters of a host's name in Who
	namesLimit   = 3        // hosts named in Who; of more, all but two are counted
)

// A Message is what templates see: the event, put in words. Its fields and methods
// are documented for users in the package comment of alerts/mail.
type Message struct {
	alerts.Event
	// Hosts shadows the event's: without the disabled, texts made one line.
	Hosts []alerts.Host
	// Output shadows the event's, which a template would print as numbers.
	Output   string
	Director string
}

// New puts an event in words; director is the name of this machine. It copies what
// it changes: the event belongs to the engine.
func New(e alerts.Event, director string) Message {
	m := Message{Event: e, Director: director, Output: capped(e.Output)}
	m.Group, m.Service, m.Period = OneLine(e.Group), OneLine(e.Service), OneLine(e.Period)
	for _, text := range []*string{&m.Description, &m.Summary, &m.Reason, &m.Ack, &m.TrapIntended} {
		*text = Clip(OneLine(*text), SummaryLimit)
	}
	for _, h := range e.Hosts {
		if h.Disabled {
			continue
		}
		h.Name, h.Reason = OneLine(h.Name), Clip(OneLine(h.Reason), ReasonLimit)
		m.Hosts = append(m.Hosts, h)
	}
	return m
}

func capped(output []byte) string {
	left := len(output) - OutputLimit
	if left <= 0 {
		return strings.TrimRight(Plain(string(output)), "\n")
	}
	return fmt.Sprintf("%s\n… %d more bytes left out", Plain(string(output[:OutputLimit])), left)
}

// State returns the event in a word or two.
func (m Message) State() string {
	if m.Kind == alerts.Test {
		if m.Testing == alerts.Test {
			return "TEST"
		}
		return "TEST " + stateOf(m.Testing)
	}
	return stateOf(m.Kind)
}

func stateOf(k alerts.Kind) string {
	switch k {
	case alerts.Failure:
		return "DOWN"
	case alerts.Up:
		return "UP"
	case alerts.Startup:
		return "STARTED"
	case alerts.Ack:
		return "ACK"
	case alerts.Disable:
		return "DISABLED"
	case alerts.Trap:
		return "TRAP"
	case alerts.TrapTimeout:
		return "NO TRAP"
	case alerts.Test:
		return "TEST"
	case alerts.State:
		return "STATE"
	case alerts.Digest:
		return "DIGEST"
	}
	return strings.ToUpper(k.String())
}

// recovering reports whether the event says that hosts are up.
func (m Message) recovering() bool {
	kind := m.Kind
	if kind == alerts.Test {
		kind = m.Testing
	}
	return kind == alerts.Up || kind == alerts.Startup
}

// Who names the hosts that the event is about, so that it fits a subject, and
// puts them in proportion to the group. Where no host is named it is the summary.
func (m Message) Who() string {
	concerned := m.Concerned()
	if len(concerned) == 0 {
		return Clip(m.Summary, nameLimit)
	}
	if len(concerned) <= namesLimit {
		text := shortNames(concerned)
		if tally := m.tally(); tally != "" {
			text += " (" + tally + ")"
		}
		return text
	}
	state, n := "down", len(m.in(alerts.HostDown))
	if m.recovering() {
		state, n = "up", len(m.in(alerts.HostUp))
	}
	return fmt.Sprintf("%d of %d %s: %s, … and %d more",
		n, len(m.Hosts), state, shortNames(concerned[:namesLimit-1]), len(concerned)-namesLimit+1)
}

// tally says how the group is, next to the names of the hosts concerned; "" if
// that would add nothing.
func (m Message) tally() string {
	all, up, down := len(m.Hosts), len(m.in(alerts.HostUp)), len(m.in(alerts.HostDown))
	switch {
	case all == 1:
		return ""
	case m.recovering() && up == all:
		return fmt.Sprintf("all %d up", all)
	case m.recovering() && down > 0:
		return fmt.Sprintf("%d of %d still down", down, all)
	case m.recovering():
		return fmt.Sprintf("%d of %d up", up, all)
	case down == 0:
		return ""
	case down == len(m.Concerned()):
		return fmt.Sprintf("%d of %d", down, all)
	}
	return fmt.Sprintf("%d of %d down", down, all)
}

func shortNames(hosts []alerts.Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = Clip(h.Name, nameLimit)
	}
	return strings.Join(names, ", ")
}

// Concerned lists the hosts that the event is about.
func (m Message) Concerned() []alerts.Host {
	return m.filter(func(h alerts.Host) bool { return h.Concerned })
}

func (m Message) in(state alerts.HostState) []alerts.Host {
	return m.filter(func(h alerts.Host) bool { return h.State == state })
}

// OthersDown lists the hosts that are down and that the event is not about.
func (m Message) OthersDown() []alerts.Host { return m.others(alerts.HostDown) }

// OthersUnknown is OthersDown for those of which nothing is known.
func (m Message) OthersUnknown() []alerts.Host { return m.others(alerts.HostUnknown) }

// OthersUp is OthersDown for those that are up.
func (m Message) OthersUp() []alerts.Host { return m.others(alerts.HostUp) }

func (m Message) others(state alerts.HostState) []alerts.Host {
	return m.filter(func(h alerts.Host) bool { return h.State == state && !h.Concerned })
}

func (m Message) filter(keep func(alerts.Host) bool) []alerts.Host {
	var kept []alerts.Host
	for _, h := range m.Hosts {
		if keep(h) {
			kept = append(kept, h)
		}
	}
	return kept
}

// Names joins the names of hosts.
func (m Message) Names(hosts []alerts.Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return strings.Join(names, ", ")
}

// Line describes a host: "web1 down since 03:12:04 (5m): no answer".
func (m Message) Line(h alerts.Host) string {
	text := h.Name + " " + h.State.String()
	if !h.Since.IsZero() {
		text += " since " + m.Clock(h.Since)
		if lasted := m.Time.Sub(h.Since); lasted > 0 && !m.Time.IsZero() {
			text += " (" + spell(lasted) + ")"
		}
	}
	if h.Reason != "" && h.State != alerts.HostUp {
		text += ": " + h.Reason
	}
	return text
}

// Clock returns a time in the event's zone, without the date on the event's day.
func (m Message) Clock(t time.Time) string {
	t = t.In(m.Time.Location())
	if t.Format(time.DateOnly) == m.Time.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("Mon 2 Jan 2006 15:04:05")
}

// When returns the event's own time in full, "" if it has none.
func (m Message) When() string {
	if m.Time.IsZero() {
		return ""
	}
	return m.Time.Format("Mon 2 Jan 2006 15:04:05 MST")
}

// Lasted returns how long the outage has lasted, "" without one.
func (m Message) Lasted() string {
	if m.FirstFailure.IsZero() || m.Time.Before(m.FirstFailure) {
		return ""
	}
	return spell(m.Time.Sub(m.FirstFailure))
}

// Recovering reports whether the event says that hosts came up.
func (m Message) Recovering() bool { return m.recovering() }

// Headline is the event in a line: "DOWN web:http: web2 (1 of 3)".
func (m Message) Headline() string {
	line := m.State() + " " + m.Group + ":" + m.Service
	if who := m.Who(); who != "" {
		line += ": " + who
	}
	return line
}

// detailLimit is how many hosts Details has a line for.
const detailLimit = 20

// Details are the lines below the headline: each host that the event is about, up to
// 20, or where it is about none what the monitor printed after its first line; who else
// is down, who acknowledged it, and why the event is told.
func (m Message) Details() string {
	var lines []string
	concerned := m.Concerned()
	for _, h := range concerned[:min(len(concerned), detailLimit)] {
		lines = append(lines, m.Line(h))
	}
	if more := len(concerned) - detailLimit; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	if _, rest, found := strings.Cut(m.Output, "\n"); found && len(concerned) == 0 {
		said := strings.Split(rest, "\n")
		lines = append(lines, said[:min(len(said), detailLimit)]...)
	}
	if down := m.OthersDown(); len(down) > 0 {
		names, more := down[:min(len(down), detailLimit)], ""
		if len(down) > detailLimit {
			more = fmt.Sprintf(", … and %d more", len(down)-detailLimit)
		}
		lines = append(lines, fmt.Sprintf("also down (%d): %s%s", len(down), m.Names(names), more))
	}
	for _, l := range []struct{ label, text string }{{"acknowledged by ", m.Ack}, {"", m.Description}, {"why: ", m.Reason}} {
		if l.text != "" {
			lines = append(lines, l.label+l.text)
		}
	}
	return strings.Join(lines, "\n")
}
