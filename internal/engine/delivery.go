package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/monitord/monitord/alerts"
)

// A fate is what became of a message in the end.
type fate string

// The fates.
const (
	delivered  fate = "delivered"
	complained fate = "delivered with a complaint"
	givenUp    fate = "given up"
	superseded fate = "superseded"
	summedUp   fate = "summed up"
	dropped    fate = "dropped"
	waiting    fate = "waiting" // no end yet
)

// A delivery is what became of one attempt.
type delivery struct {
	message *message
	sent    message // as it was then
	err     error
	// final is true if the message will not be tried again.
	final bool
	took  time.Duration
}

// work delivers a box's messages until none is left that may leave.
func (o *outbox) work(name string, b *box) {
	pause := firstPause
	for {
		m, sent, fresh := o.first(name, b)
		if m == nil {
			return
		}
		if fresh { // else a crash after it was sent would forget that it was due
			o.hooks.commit(o.ctx)
		}
		d := o.attempt(m, sent)
		o.report(d)
		o.settle(b, d)
		if d.final {
			pause = firstPause
			continue
		}
		asked := asksToWait(d.err)
		if asked > 0 {
			o.rest(asked, nil) // what is newer would be refused as well
		}
		if o.rest(pause-asked, b.wake) {
			pause = firstPause
		} else {
			pause = min(2*pause, longestWait)
		}
	}
}

// rest waits before another attempt, and reports whether something newer cut that short.
// The outbox's end does too.
func (o *outbox) rest(pause time.Duration, newer <-chan struct{}) bool {
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
		return max(min(busy.Wait, longestWait), 0)
	}
	return 0
}

// first returns the message to deliver next, as it is now, and whether it has to be on
// the disk before; nil if the box is done with, for now at least.
func (o *outbox) first(name string, b *box) (m *message, now message, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed { // each message gets its one attempt, but no second
		b.waiting = slices.DeleteFunc(b.waiting, o.isLost)
	}
	if len(b.waiting) == 0 {
		delete(o.boxes, name)
	}
	// What was tried and stays is not overtaken.
	if len(b.waiting) == 0 || o.ctx.Err() != nil || o.closed && b.waiting[0].tried() || o.isSilent(b.waiting[0]) {
		b.worked = false
		return nil, now, false
	}
	select { // what is new is in the line already
	case <-b.wake:
	default:
	}
	m = b.waiting[0]
	fresh = m.lasts() && !m.durable
	m.sending, m.durable = true, true
	return m, *m, fresh
}

// isLost reports whether a message of an outbox that closes was tried, and nobody
// will try it again.
func (o *outbox) isLost(m *message) bool {
	if !m.tried() || o.hooks.keeps && m.lasts() {
		return false
	}
	if m.lasts() {
		o.hooks.ended(m, dropped, "the daemon ends, and has no folder for the state")
	}
	return true
}

// settle takes a message that is done with out of the line, wherever it is now,
// and one that failed too if something newer supersedes it.
func (o *outbox) settle(b *box, d delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, final := d.message, d.final
	m.attempts, m.sending, m.problem = m.attempts+1, false, ""
	if d.err != nil {
		m.problem = d.err.Error()
	}
	at := slices.Index(b.waiting, m)
	if at < 0 {
		return
	}
	defer o.hooks.settled(final)
	if final {
		o.hooks.ended(m, d.fate(), m.problem)
		b.waiting = slices.Delete(b.waiting, at, at+1)
		return
	}
	if fate, why := m.overtaken(); why != "" {
		o.hooks.ended(m, fate, why)
		b.waiting = slices.Delete(b.waiting, at, at+1)
		return
	}
	for _, newer := range b.waiting[at+1:] {
		if newer.supersedes(m) {
			o.mergedInto(newer, m)
			b.waiting = slices.Delete(b.waiting, at, at+1)
			return
		}
	}
}

// overtaken returns why a message is not tried again, by what happened while it was
// sent; empty if it is.
func (m *message) overtaken() (f fate, why string) {
	if m.outdated {
		return superseded, newerCame
	}
	return dropped, m.dropped
}

// newerCame is why a message is superseded.
const newerCame = "a newer message came before it could be delivered"

func (d delivery) fate() fate {
	switch {
	case d.err == nil:
		return delivered
	case errors.Is(d.err, alerts.ErrDelivered):
		return complained
	}
	return givenUp
}

func (o *outbox) attempt(m *message, now message) delivery {
	ctx, cancel := context.WithTimeout(o.ctx, sendTimeout)
	defer cancel()
	start := time.Now()
	d := delivery{message: m, sent: now, err: send(ctx, now.alert, now.event)}
	d.took = time.Since(start)
	d.final = d.err == nil || errors.Is(d.err, alerts.ErrDelivered) || errors.Is(d.err, alerts.ErrRefused) || now.event.Kind == alerts.Test || time.Since(now.since) > giveUp
	return d
}

// send calls the plugin; one that panics has failed, and nothing else.
func send(ctx context.Context, alert alerts.Alert, e alerts.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the alert panicked: %v", p)
		}
	}()
	return alert.Send(ctx, e)
}
