package outbox

import (
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/watch"
)

// A Message is one event for one alert.
type Message struct {
	// Name is the alert for people: "mail ops@example.org". Messages of one watch with
	// one name are delivered in order.
	Name string
	// Action is the use of the alert: a newer message of the same action replaces one
	// that could not be delivered.
	Action string
	Alert  alerts.Alert
	Event  alerts.Event
	// PerHost is true if the watch counts for each host by itself: what is said of one
	// says nothing of another.
	PerHost bool
	// Passing is true for every result that is redistributed: the next one comes
	// soon, and nobody keeps a list of them.
	Passing bool
	// Limited has a message count in the limit of floods, with all others of its name.
	Limited bool
}

// Destination is what the limit of floods counts the message by, over all watches;
// empty for no limit: each is wanted for a record.
func (m *Message) Destination() string {
	if _, record := m.Alert.(alerts.Recorder); record || !m.Limited {
		return ""
	}
	return m.Name
}

// Lasts reports whether a restart may not lose the message: pools are told anew, and
// who tests an alert sees what comes of it.
func (m *Message) Lasts() bool {
	return !m.Follows() && !m.Passing && m.Event.Kind != alerts.Test
}

// Follows reports whether the message is state: only the latest counts.
func (m *Message) Follows() bool { return m.Event.Kind == alerts.State }

// Watch is the watch that the message is about.
func (m *Message) Watch() watch.Key {
	return watch.Key{Group: m.Event.Group, Service: m.Event.Service}
}

// A message is a Message that waits, or a sum of many.
type message struct {
	Message
	// box names the line that it waits in: messages of one watch to one destination
	// are delivered in order.
	box         string
	destination string // see [Message.Destination]
	since       time.Time
	sum         *sum // of a flood; nil for all others
	number      uint64
	// merged counts the older ones of the same kind whose place this one took.
	merged   int
	attempts int
	problem  string // why the last attempt failed
	durable  bool   // it is on the disk, or will be before it leaves
	sending  bool
	// What happens while it is being sent counts if that is in vain: dropped is why it
	// is not tried again; outdated is true if what is newer says all of it.
	dropped  string
	outdated bool
}

func (m *message) tried() bool { return m.attempts > 0 }

// keys are the watches that the message is about.
func (m *message) keys() []watch.Key {
	if m.sum != nil {
		return m.sum.keys()
	}
	return []watch.Key{m.Watch()}
}

// supersedes reports whether an older message need not be sent any more. One of
// the same action and kind is merged into the newer, which carries the whole
// present state; any other that was tried in vain goes if the newer is about all
// of its hosts.
func (m *message) supersedes(older *message) bool {
	switch {
	case older.Event.Kind == alerts.Test:
		return false
	case older.Event.Kind == alerts.Digest || m.Event.Kind == alerts.Digest: // each says something of its own
		return m.Event.Kind == older.Event.Kind && m.Action == older.Action && m.append(older)
	case m.sum != nil && older.sum != nil:
		m.addSum(older)
		return true
	case older.Action == m.Action && older.Event.Kind == m.Event.Kind:
		m.merge(older)
		return true
	case !older.tried() || older.Follows() != m.Follows():
		return false
	case !m.Event.Kind.Failing() && m.Event.Kind != alerts.Up:
		return false
	}
	return !m.PerHost || m.covers(older)
}

// maxDigests is how long the texts of digests that wait may be together, in bytes.
const maxDigests = 64 << 10

// append takes over what an older digest, that could not be delivered, has to tell. It
// is always true.
func (m *message) append(older *message) bool {
	text := slices.Concat(m.Event.Output, []byte("\n"), older.Event.Output)
	m.Event.Output = []byte(shortened(string(text), maxDigests))
	return true
}

// states reports whether a message says that something fails or does not, as others do
// that are about something else.
func (m *message) states() bool { return m.Event.Kind.Failing() || m.Event.Kind == alerts.Up }

// outdate takes out of an older message of the same watch, which may come to people
// after this one, what this one says; it reports whether nothing is left.
func (m *message) outdate(older *message) bool {
	switch {
	case m.Watch() != older.Watch() || !m.states() || !older.states():
		return false
	case !m.PerHost:
		return true
	}
	older.Event.Hosts = slices.Clone(older.Event.Hosts) // the saver, or an alert, may look at the old ones
	said := m.about()
	for i := range older.Event.Hosts {
		if h := &older.Event.Hosts[i]; said[h.Name] {
			h.Concerned = false
		}
	}
	left := older.concerned()
	older.Event.Summary = strings.Join(left, " ")
	return len(left) == 0
}

// covers reports whether a message is about every host of an older one.
func (m *message) covers(older *message) bool {
	about := m.about()
	return !slices.ContainsFunc(older.Event.Hosts, func(h alerts.Host) bool { return h.Concerned && !about[h.Name] })
}

// merge takes over what an older message knows and this one does not: of a state
// the last word on hosts that are unknown now, of anything else the hosts that
// it was about, as far as it is still true of them.
func (m *message) merge(older *message) {
	then := map[string]alerts.Host{}
	for _, h := range older.Event.Hosts {
		then[h.Name] = h
	}
	m.Event.Hosts = slices.Clone(m.Event.Hosts) // the saver may look at the old one
	for i := range m.Event.Hosts {
		h := &m.Event.Hosts[i]
		was := then[h.Name]
		switch {
		case m.Follows() && h.State == alerts.HostUnknown:
			h.State = was.State
		case !m.Follows() && was.Concerned && was.State == h.State:
			h.Concerned = true
		}
	}
	if names := m.concerned(); m.PerHost && !m.Follows() && len(names) > 0 {
		m.Event.Summary = strings.Join(names, " ")
	}
}

// about are the hosts that a message is about.
func (m *message) about() map[string]bool {
	about := map[string]bool{}
	for i := range m.Event.Hosts {
		about[m.Event.Hosts[i].Name] = m.Event.Hosts[i].Concerned
	}
	return about
}

// concerned are the names of the hosts that a message is about.
func (m *message) concerned() []string {
	var names []string
	for i := range m.Event.Hosts {
		if m.Event.Hosts[i].Concerned {
			names = append(names, m.Event.Hosts[i].Name)
		}
	}
	return names
}

// entry is what the history says of a message.
func (m *message) entry(f history.Fate, why string) history.Entry {
	e := &m.Event
	h := history.Entry{
		At: e.Time, Group: e.Group, Service: e.Service, Kind: e.Kind.String(), Alert: m.Name, Period: e.Period,
		Summary: watch.Text(shortened(e.Summary, history.Text)), Reason: watch.Text(shortened(e.Reason, history.Text)),
		Fate: f, Why: watch.Text(shortened(why, history.Text)), Attempts: m.attempts, Merged: m.merged,
	}
	for _, host := range e.Hosts {
		if host.Concerned && len(h.Hosts) < history.Hosts {
			h.Hosts = append(h.Hosts, host.Name)
		}
	}
	return h
}
