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
	err     error
	// final is true if the message will not be tried again.
	final bool
	took  time.Duration
}

// work delivers a box's messages until none is left that may leave.
func (o *outbox) work(name string, b *box) {
	pause := firstPause
	for {
		m, alert, fresh := o.first(name, b)
		if m == nil {
			return
		}
		if fresh { // else a crash after it was sent would forget that it was due
			o.hooks.commit(o.ctx)
		}
		d := o.attempt(m, alert)
		o.report(d)
		o.settle(b, d)
		if d.final {
			pause = firstPause
			continue
		}
		rest, newer := pause, b.wake
		if asked := asksToWait(d.err); asked > pause {
			rest, newer = asked, nil // what is newer would be refused as well
		}
		select {
		case <-time.After(rest):
			pause = min(2*pause, longestWait)
		case <-newer:
			pause = firstPause
		case <-o.closing:
		case <-o.ctx.Done():
		}
	}
}

// asksToWait is the pause that a receiver asks for, 0 for none.
func asksToWait(err error) time.Duration {
	if busy, ok := errors.AsType[*alerts.BusyError](err); ok {
		return min(busy.Wait, longestWait)
	}
	return 0
}

// first returns the message to deliver next, through what, and whether it has to be on
// the disk before; nil if the box is done with, for now at least.
func (o *outbox) first(name string, b *box) (m *message, through alerts.Alert, fresh bool) {
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
		return nil, nil, false
	}
	select { // what is new is in the line already
	case <-b.wake:
	default:
	}
	m = b.waiting[0]
	fresh = m.lasts() && !m.durable
	m.sending, m.durable = true, true
	return m, m.alert, fresh
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
	if why := o.overtaken(m); why != "" {
		o.hooks.ended(m, dropped, why)
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

// overtaken has what happened while a message was being sent take effect; it returns
// why the message is not tried again.
func (o *outbox) overtaken(m *message) (why string) {
	if m.stale {
		m.stale = false
		why = o.bind(m)
	}
	if m.obsolete != "" {
		return m.obsolete
	}
	return why
}

func (d delivery) fate() fate {
	switch {
	case d.err == nil:
		return delivered
	case errors.Is(d.err, alerts.ErrDelivered):
		return complained
	}
	return givenUp
}

func (o *outbox) attempt(m *message, alert alerts.Alert) delivery {
	ctx, cancel := context.WithTimeout(o.ctx, sendTimeout)
	defer cancel()
	start := time.Now()
	d := delivery{message: m, err: send(ctx, alert, m.event)}
	d.took = time.Since(start)
	d.final = d.err == nil || errors.Is(d.err, alerts.ErrDelivered) || errors.Is(d.err, alerts.ErrRefused) || m.event.Kind == alerts.Test || time.Since(m.since) > giveUp
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
