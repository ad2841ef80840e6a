package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

// limit has a message count in the limit of floods, unless each is wanted: as in mon,
// or for a record.
func (m *message) limit(compat bool) {
	if _, record := m.alert.(alerts.Recorder); !record && !compat {
		m.destination = m.name
	}
}

// A message is one event on its way to one alert.
type message struct {
	// box names the line that the message waits in: messages of one watch to one
	// destination are delivered in order.
	box string
	// name is the alert for people: "mail ops@example.org".
	name string
	// destination is what the rate limit counts, over all watches; empty for no
	// limit.
	destination string
	// action is the use of the alert: a newer message of the same action
	// replaces one that could not be delivered.
	action string
	alert  alerts.Alert
	event  alerts.Event
	since  time.Time
	// hosts is true if the watch counts for each host by itself: what is said of one
	// says nothing of another.
	hosts bool
	// passing is true for every result that is redistributed: the next one comes
	// soon, and nobody keeps a list of them.
	passing bool
	sum     *sum // of a flood; nil for all others
	number  uint64
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

// lasts reports whether a restart may not lose the message: pools are told anew, and
// who tests an alert sees what comes of it.
func (m *message) lasts() bool {
	return !m.follows() && !m.passing && m.event.Kind != alerts.Test
}

// follows reports whether the message is state: only the latest counts.
func (m *message) follows() bool { return m.event.Kind == alerts.State }

// keys are the watches that the message is about.
func (m *message) keys() []watch.Key {
	if m.sum != nil {
		return m.sum.keys()
	}
	return []watch.Key{m.key()}
}

func (m *message) key() watch.Key {
	return watch.Key{Group: m.event.Group, Service: m.event.Service}
}

// supersedes reports whether an older message need not be sent any more. One of
// the same action and kind is merged into the newer, which carries the whole
// present state; any other that was tried in vain goes if the newer is about all
// of its hosts.
func (m *message) supersedes(older *message) bool {
	switch {
	case older.event.Kind == alerts.Test:
		return false
	case older.event.Kind == alerts.Digest || m.event.Kind == alerts.Digest: // each says something of its own
		return m.event.Kind == older.event.Kind && m.action == older.action && m.append(older)
	case m.sum != nil && older.sum != nil:
		m.addSum(older)
		return true
	case older.action == m.action && older.event.Kind == m.event.Kind:
		m.merge(older)
		return true
	case !older.tried() || older.follows() != m.follows():
		return false
	case !m.event.Kind.Failing() && m.event.Kind != alerts.Up:
		return false
	}
	return !m.hosts || m.covers(older)
}

// states reports whether a message says that something fails or does not, as others do
// that are about something else.
func (m *message) states() bool { return m.event.Kind.Failing() || m.event.Kind == alerts.Up }

// outdate takes out of an older message of the same watch, which may come to people
// after this one, what this one says; it reports whether nothing is left.
func (m *message) outdate(older *message) bool {
	switch {
	case m.key() != older.key() || !m.states() || !older.states():
		return false
	case !m.hosts:
		return true
	}
	older.event.Hosts = slices.Clone(older.event.Hosts) // the saver, or an alert, may look at the old ones
	said := m.about()
	for i := range older.event.Hosts {
		if h := &older.event.Hosts[i]; said[h.Name] {
			h.Concerned = false
		}
	}
	left := older.concerned()
	older.event.Summary = strings.Join(left, " ")
	return len(left) == 0
}

// covers reports whether a message is about every host of an older one.
func (m *message) covers(older *message) bool {
	about := m.about()
	return !slices.ContainsFunc(older.event.Hosts, func(h alerts.Host) bool { return h.Concerned && !about[h.Name] })
}

// merge takes over what an older message knows and this one does not: of a state
// the last word on hosts that are unknown now, of anything else the hosts that
// it was about, as far as it is still true of them.
func (m *message) merge(older *message) {
	then := map[string]alerts.Host{}
	for _, h := range older.event.Hosts {
		then[h.Name] = h
	}
	m.event.Hosts = slices.Clone(m.event.Hosts) // the saver may look at the old one
	for i := range m.event.Hosts {
		h := &m.event.Hosts[i]
		was := then[h.Name]
		switch {
		case m.follows() && h.State == alerts.HostUnknown:
			h.State = was.State
		case !m.follows() && was.Concerned && was.State == h.State:
			h.Concerned = true
		}
	}
	if names := m.concerned(); m.hosts && !m.follows() && len(names) > 0 {
		m.event.Summary = strings.Join(names, " ")
	}
}

// about are the hosts that a message is about.
func (m *message) about() map[string]bool {
	about := map[string]bool{}
	for i := range m.event.Hosts {
		about[m.event.Hosts[i].Name] = m.event.Hosts[i].Concerned
	}
	return about
}

// concerned are the names of the hosts that a message is about.
func (m *message) concerned() []string {
	var names []string
	for i := range m.event.Hosts {
		if m.event.Hosts[i].Concerned {
			names = append(names, m.event.Hosts[i].Name)
		}
	}
	return names
}
