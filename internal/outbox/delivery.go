package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
)

// An Attempt is what became of one attempt to deliver a message.
type Attempt struct {
	Message // as it was then
	Err     error
	// Final is true if the message will not be tried again.
	Final bool
	Took  time.Duration
}

type delivery struct {
	message *message
	Attempt
}

// work delivers a line's messages until none is left that may leave.
func (o *Outbox) work(line string, wake <-chan struct{}) {
	pause := firstPause
	for {
		m, sent, fresh := o.first(line, wake)
		if m == nil {
			return
		}
		if fresh { // else a crash after it was sent would forget that it was due
			o.hooks.Commit(o.ctx)
		}
		d := o.attempt(m, sent)
		o.hooks.Attempted(d.Attempt)
		o.settle(line, d)
		if d.Final {
			pause = firstPause
			continue
		}
		asked := asksToWait(d.Err)
		if asked > 0 {
			o.rest(asked, nil) // what is newer would be refused as well
		}
		if o.rest(pause-asked, wake) {
			pause = firstPause
		} else {
			pause = min(2*pause, LongestPause)
		}
	}
}

// rest waits before another attempt, and reports whether something newer cut that short.
// The outbox's end does too.
func (o *Outbox) rest(pause time.Duration, newer <-chan struct{}) bool {
	select {
	case <-time.After(pause):
	case <-newer:
		return true
	case <-o.closing:
	case <-o.ctx.Done():
	}
	return false
}

// asksToWait is the pause that a receiver asks for, 0 for none.
func asksToWait(err error) time.Duration {
	if busy, ok := errors.AsType[*alerts.BusyError](err); ok {
		return max(min(busy.Wait, LongestPause), 0)
	}
	return 0
}

// first returns the message to deliver next, as it is now, and whether it has to be on
// the disk before; nil if the work on the line is done, for now at least.
func (o *Outbox) first(line string, wake <-chan struct{}) (m *message, now message, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, now, fresh = o.lines.first(line, o.ctx.Err() != nil)
	if m == nil {
		delete(o.wakes, line)
	}
	select { // what is new is in the line already
	case <-wake:
	default:
	}
	o.rouse()
	return m, now, fresh
}

// settle notes what came of an attempt.
func (o *Outbox) settle(line string, d delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waited := o.lines.settle(line, d)
	o.rouse()
	if waited {
		o.hooks.Settled(d.Final)
	}
}

// overtaken returns why a message is not tried again, by what happened while it was
// sent; empty if it is.
func (m *message) overtaken() (f history.Fate, why string) {
	if m.outdated {
		return history.Superseded, newerCame
	}
	return history.Dropped, m.dropped
}

// newerCame is why a message is superseded.
const newerCame = "a newer message came before it could be delivered"

func (a Attempt) fate() history.Fate {
	switch {
	case a.Err == nil:
		return history.Delivered
	case errors.Is(a.Err, alerts.ErrDelivered):
		return history.Complained
	}
	return history.GivenUp
}

func (o *Outbox) attempt(m *message, now message) delivery {
	ctx, cancel := context.WithTimeout(o.ctx, SendTimeout)
	defer cancel()
	start := time.Now()
	a := Attempt{Message: now.Message, Err: Send(ctx, now.Alert, now.Event)}
	a.Took, a.Final = time.Since(start), now.isFinal(a.Err, time.Since(now.since))
	return delivery{m, a}
}

// isFinal reports whether a message is not tried again after an attempt, tried being for
// how long it was.
func (m *message) isFinal(err error, tried time.Duration) bool {
	return err == nil || errors.Is(err, alerts.ErrDelivered) || errors.Is(err, alerts.ErrRefused) || m.Event.Kind == alerts.Test || tried > GiveUp
}

// Send calls an alert; one that panics has failed, and nothing else.
func Send(ctx context.Context, alert alerts.Alert, e alerts.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the alert panicked: %v", p)
		}
	}()
	return alert.Send(ctx, e)
}
