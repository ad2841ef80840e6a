package outbox

import (
	"maps"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

// Bindings are the alerts that a configuration has for what waits.
type Bindings struct {
	actions map[string]alerts.Alert
	// boxes is an action of each watch by "group:service name", and names an alert of
	// each name.
	boxes map[string]string
	names map[string]alerts.Alert
}

// NewBindings returns bindings to the alerts of actions, by their IDs. They are used of
// watches when Add has named these.
func NewBindings(actions map[string]alerts.Alert) *Bindings {
	return &Bindings{actions: maps.Clone(actions), boxes: map[string]string{}, names: map[string]alerts.Alert{}}
}

// Add says what a watch does.
func (b *Bindings) Add(key watch.Key, lists ...[]watch.Action) {
	for _, a := range slices.Concat(lists...) {
		if alert, ok := b.actions[a.ID]; ok {
			b.boxes[boxOf(key, a.Name)], b.names[a.Name] = a.ID, alert
		}
	}
}

// boxOf is the line of a watch's messages to one destination.
func boxOf(key watch.Key, name string) string { return key.String() + " " + name }

// bind gives a message its alert: of the same action, or else of the same name, as
// when the period got another name. It returns why there is none.
func (b *Bindings) bind(m *message) (why string) {
	if m.sum != nil {
		if alert, ok := b.names[m.Name]; ok {
			m.Alert = alert
		}
		if m.Alert == nil {
			return "the configuration has no alert " + m.Name + " any more"
		}
		return ""
	}
	if alert, ok := b.actions[m.Action]; ok {
		m.Alert = alert
		return ""
	}
	if id, ok := b.boxes[m.box]; ok && m.Lasts() {
		m.Action, m.Alert = id, b.actions[id]
		return ""
	}
	return "the configuration has no alert " + m.Name + " for " + m.Watch().String() + " any more"
}
