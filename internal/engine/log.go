package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

func (e *Engine) logNews(key watch.Key, changes []watch.Change, decisions []watch.Decision) {
	e.logChanges(key, changes)
	for _, d := range decisions {
		e.log.WithFields(logrus.Fields{"watch": key.String(), "decision": d.String()}).Debug("decided")
	}
}

// logChanges logs what people look for later: one line for all hosts of a round.
func (e *Engine) logChanges(key watch.Key, changes []watch.Change) {
	if len(changes) == 0 {
		return
	}
	log := e.log.WithField("watch", key.String())
	var down, up []string
	for _, c := range changes {
		switch {
		case c.To == watch.Unknown:
			log.WithField("reason", c.Reason).Warn("could not test")
		case c.From == watch.Unknown:
			log.Info("can be tested again")
		case c.To == watch.Failed:
			down = append(down, about(c))
		case c.To == watch.OK && c.From == watch.Failed:
			up = append(up, about(c))
		}
	}
	if len(down) > 0 {
		log.WithField("hosts", shorten(down)).Warn("down")
	}
	if len(up) > 0 {
		log.WithField("hosts", shorten(up)).Info("up")
	}
}

func about(c watch.Change) string {
	name := c.Host
	if name == "" {
		name = c.Group
	}
	if c.To != watch.Failed || c.Reason == "" {
		return name
	}
	return name + " (" + c.Reason + ")"
}

// shorten keeps a thousand names out of one line of the log.
func shorten(names []string) []string {
	const most = 20
	if len(names) <= most {
		return names
	}
	return append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
}

// states is who is up, down and unknown, for the log.
func states(hosts []alerts.Host) string {
	count := map[alerts.HostState]int{}
	for _, h := range hosts {
		count[h.State]++
	}
	return fmt.Sprintf("%d up, %d down, %d unknown", count[alerts.HostUp], count[alerts.HostDown], count[alerts.HostUnknown])
}

func (e *Engine) panicked(key string, value any, stack []byte) {
	e.log.WithFields(logrus.Fields{"watch": key, "panic": value, "stack": string(stack)}).Error("a check panicked")
}

// delivered is told of each attempt to send an alert.
func (e *Engine) delivered(d delivery) {
	m := &d.sent
	key := watch.Key{Group: m.event.Group, Service: m.event.Service}
	log := e.log.WithFields(logrus.Fields{"watch": key.String(), "alert": m.name, "kind": m.event.Kind.String(), "took": d.took.Round(time.Millisecond).String()})
	entry := Delivery{Alert: m.name, List: m.event.Kind.String(), At: time.Now(), Took: d.took.Seconds()}
	switch {
	case d.err == nil && m.follows():
		log.WithField("hosts", states(m.event.Hosts)).Info("pool told")
	case d.err == nil:
		log.WithField("reason", m.event.Reason).Info("alert sent")
	case errors.Is(d.err, alerts.ErrDelivered):
		entry.Error = d.err.Error()
		log.WithError(d.err).Warn("alert sent, with a complaint")
	case d.final:
		entry.Error = d.err.Error()
		log.WithError(d.err).Error("alert given up")
	default:
		entry.Error = d.err.Error()
		log.WithError(d.err).Warn("alert not sent, will try again")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deliveries[key] == nil {
		e.deliveries[key] = map[string]Delivery{}
	}
	e.deliveries[key][m.action] = entry
}
