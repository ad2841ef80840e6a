package engine

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/watch"
)

// bindings are the alerts for what waits.
func (e *Engine) bindings() *outbox.Bindings {
	b := outbox.NewBindings(e.actions)
	for key, w := range e.watches {
		for i := range w.Periods {
			p := &w.Periods[i]
			b.Add(key, p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts)
			for _, stage := range p.Escalate {
				b.Add(key, stage.Actions)
			}
		}
	}
	for _, q := range e.quorums {
		b.Add(q.Key, q.Lost, q.Had)
	}
	if d := e.site.Digest; d != nil {
		b.Add(d.Key, d.Send)
	}
	return b
}

// recallQueue takes up what the engine before could not deliver until saved; forgotten
// is why not, empty if it does.
func (e *Engine) recallQueue(old outbox.Queue, forgotten string, saved, now time.Time) {
	kept, restart := 0, outbox.Restart{Now: now, Away: max(now.Sub(saved), 0), Alerts: e.bindings(), Describe: e.describe, Forgotten: forgotten}
	for i := range old {
		if err := old[i].Unread(); err != nil {
			e.log.WithError(err).WithField("alert", old[i].Box).Error("an alert that was not delivered cannot be read, and is dropped")
			continue
		}
		if e.outbox.Restore(&old[i], restart) {
			kept++
		}
	}
	if kept > 0 {
		e.log.WithFields(logrus.Fields{"alerts": kept}).Info("alerts that were not delivered before wait to be sent")
	}
}

// describe is what the configuration says of a name.
func (e *Engine) describe(key watch.Key) (description string, env []string) {
	if w := e.described(key); w != nil {
		return w.Description, w.Env
	}
	return "", nil
}

// described is the watch, the quorum or the digest of a name; nil if there is none.
func (e *Engine) described(key watch.Key) *config.Watch {
	if w := e.watches[key]; w != nil {
		return w
	}
	for _, q := range e.quorums {
		if q.Key == key {
			return &q.Watch
		}
	}
	if d := e.site.Digest; d != nil && d.Key == key {
		return &d.Watch
	}
	return nil
}

// sayUndelivered says at the end what people were not told yet; err is why that is not
// on the disk.
func (e *Engine) sayUndelivered(err error) {
	waits := e.outbox.Snapshot().Len()
	log := e.log.WithFields(logrus.Fields{"alerts": waits})
	switch {
	case waits == 0:
	case err != nil:
		log.Error("alerts were not delivered, and are not saved: nobody will hear of those that came up since the disk failed")
	default:
		log.Warn("alerts were not delivered: the next start tries again")
	}
}

// errSlow is a disk that takes longer than a message waits.
var errSlow = errors.New("the disk takes too long")
