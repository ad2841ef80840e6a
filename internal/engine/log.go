package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox"
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

// attempted is told of each attempt to send an alert.
func (e *Engine) attempted(a outbox.Attempt) {
	key := a.Watch()
	log := e.log.WithFields(logrus.Fields{"watch": key.String(), "alert": a.Name, "kind": a.Event.Kind.String(), "took": a.Took.Round(time.Millisecond).String()})
	entry := Delivery{Alert: a.Name, List: a.Event.Kind.String(), At: time.Now(), Took: a.Took.Seconds()}
	switch {
	case a.Err == nil && a.Follows():
		log.WithField("hosts", states(a.Event.Hosts)).Info("pool told")
	case a.Err == nil:
		log.WithField("reason", a.Event.Reason).Info("alert sent")
	case errors.Is(a.Err, alerts.ErrDelivered):
		entry.Error = a.Err.Error()
		log.WithError(a.Err).Warn("alert sent, with a complaint")
	case a.Final:
		entry.Error = a.Err.Error()
		log.WithError(a.Err).Error("alert given up")
	default:
		entry.Error = a.Err.Error()
		log.WithError(a.Err).Warn("alert not sent, will try again")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deliveries[key] == nil {
		e.deliveries[key] = map[string]Delivery{}
	}
	e.deliveries[key][a.Action] = entry
}
