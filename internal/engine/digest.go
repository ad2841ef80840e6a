package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/schedule"
	"github.com/monitord/monitord/internal/watch"
)

// digestLook is the longest pause of the digest's clock: the wall clock may be set, and
// a reload or another director's end may make one due.
const digestLook = time.Minute

// runDigestClock sends digests when they are due. One that was due while the daemon
// was not there, or another director was to send it and did not, is due at once.
func (e *Engine) runDigestClock(ctx context.Context) {
	for {
		pause := digestLook
		if wait, ok := e.digestDue(); ok {
			pause = min(pause, wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		e.tickDigest()
	}
}

// digestDue is how long it is until the next digest; ok is false if there is none.
func (e *Engine) digestDue() (wait time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site.Digest == nil {
		return 0, false
	}
	at, ok := e.set.NextDigest(e.nextDigest)
	return max(at.Sub(e.now()), 0) + 10*time.Millisecond, ok
}

// A digestCalendar is the calendar of digests that was in force, and since when if it
// took the place of another; its times before that were nobody's.
type digestCalendar struct {
	Cron  string    `json:"cron,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

// wantDigests takes over what the site says about digests; it is called with mu held.
func (e *Engine) wantDigests(now time.Time) {
	d := e.site.Digest
	e.set.Digests(now, d != nil)
	switch {
	case d == nil:
		e.calendar = digestCalendar{}
	case e.calendar.Cron == "": // what is counted begins now, or with an older program
		e.calendar.Cron = d.Calendar
	case e.calendar.Cron != d.Calendar:
		e.calendar = digestCalendar{Cron: d.Calendar, Since: now}
	}
}

// recallCalendar takes up the calendar that was in force. A clock that was put back
// does not put off the digest.
func (e *Engine) recallCalendar(old digestCalendar, now time.Time) {
	if old.Since.After(now) {
		old.Since = now
	}
	e.calendar = old
}

// nextDigest is the first time after another that the calendar in force has, in the
// time zone of the daemon; it is called with mu held.
func (e *Engine) nextDigest(after time.Time) time.Time {
	if after.Before(e.calendar.Since) {
		after = e.calendar.Since
	}
	return schedule.Calendar{Schedule: e.site.Digest.Cron}.Next(after.In(e.now().Location()).Round(0))
}

// tickDigest tells what changed, if it is time.
func (e *Engine) tickDigest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if e.site.Digest == nil {
		return
	}
	if at, ok := e.set.NextDigest(e.nextDigest); !ok || at.After(now) {
		return
	}
	digest, changed := e.set.Digest(now, e.nextDigest)
	if changed {
		e.postDigest(digest)
	}
	e.changed()
	e.announce()
}

func (e *Engine) postDigest(d watch.Digest) {
	site := e.site.Digest
	for _, a := range site.Send {
		if alert, built := e.actions[a.ID]; built { // else its program is missing, which has been said
			e.post(outbox.Message{Name: a.Name, Action: a.ID, Alert: alert, Event: digestEvent(site.Key, site.Description, d)})
		}
	}
}

func digestEvent(key watch.Key, description string, d watch.Digest) alerts.Event {
	exit := 0
	summary := d.Summary()
	return alerts.Event{
		Kind: alerts.Digest, Group: key.Group, Service: key.Service, Description: description, Time: d.To,
		Summary: summary, Output: []byte(summary + "\n" + d.Text()), Reason: "it is time for the digest",
		Status: int(watch.OK), Exit: &exit, Outage: fmt.Sprintf("%s@%d", key, d.To.UnixMilli()),
	}
}
