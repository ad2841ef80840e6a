package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

// # How much may wait
//
// Of one action of a watch at most one message of each kind waits, and one that is
// being sent: what is newer takes the older's place, with the hosts that it was
// about. A destination gets burst messages a minute, and what is beyond that is one
// sum with a line for each [slot]. So it is the configuration that bounds the number,
// however long nothing can be delivered: its alerts times the kinds. Texts are cut so
// that all of them together are about maxTexts, see [outbox.allowance].

const (
	// sendTimeout bounds one attempt to deliver; plugins have shorter ones of
	// their own.
	sendTimeout = 2 * time.Minute
	firstPause  = time.Second
	longestWait = 5 * time.Minute
	// giveUp is how long a message is tried, by daemons that live: people who were not
	// told for a day find out from the log, or from the next alert.
	giveUp = 24 * time.Hour
)

// An outbox delivers messages: in order within a box, retried with growing
// pauses, the latest state winning, limited per destination. Boxes are
// independent of each other: a mail server that hangs holds up its mails only.
type outbox struct {
	ctx     context.Context
	report  func(delivery)
	closing chan struct{} // closed by close
	hooks   hooks

	mu      sync.Mutex // protects what follows
	boxes   map[string]*box
	limiter *limiter
	// silent are the watches of which another director tells people, or nobody:
	// what waits of them goes on waiting.
	silent map[watch.Key]bool
	// resting is true from restore to own: it is not known yet whose the messages are.
	resting bool
	number  uint64
	closed  bool
	workers sync.WaitGroup
}

// hooks are what an outbox tells the engine. All but commit are called with the
// outbox's lock held, and must not wait.
type hooks struct {
	// keeps is true if what is not delivered in the end will be by the next daemon.
	keeps bool
	// commit returns when all that waits now is on the disk, or the disk takes too
	// long for that.
	commit func(context.Context)
	// settled says that an attempt was made; final: that something left pending.
	settled func(final bool)
	// ended says what became of a message.
	ended func(m *message, f fate, why string)
}

// A box is a line of messages; a goroutine works on it while it holds any that may
// leave.
type box struct {
	waiting []*message
	worked  bool
	// wake interrupts the pause before a retry when something newer came.
	wake chan struct{}
}

// newOutbox returns an outbox that gives up when ctx is done. report is told of
// each attempt, from several goroutines.
func newOutbox(ctx context.Context, report func(delivery), h ...hooks) *outbox {
	o := &outbox{ctx: ctx, report: report, boxes: map[string]*box{}, closing: make(chan struct{})}
	o.hooks = hooks{commit: func(context.Context) {}, settled: func(bool) {}, ended: func(*message, fate, string) {}}
	if len(h) > 0 {
		o.hooks = h[0]
	}
	o.limiter = newLimiter(o.turn)
	return o
}

// put accepts a message; it does not block.
func (o *outbox) put(m *message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.since = time.Now()
	o.number++
	m.number = o.number
	m.cut(o.allowance())
	if m.destination != "" && !m.follows() {
		if older, admitted := o.limiter.admit(m); !admitted {
			o.mergedInto(m, older)
			o.overtakeLine(m)
			return
		}
	}
	o.enqueue(m)
}

// turn is the end of a destination's minute.
func (o *outbox) turn(destination string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release(o.limiter.turn(destination))
}

// release sends what was held back, in one message.
func (o *outbox) release(held []*message) {
	if len(held) == 0 {
		return
	}
	m := sumUp(held)
	o.number++
	m.number = o.number // it comes behind what its line holds by now
	if m.sum != nil {
		for _, one := range held {
			o.hooks.ended(one, summedUp, fmt.Sprintf("a destination gets at most %d messages a minute", burst))
		}
	}
	o.enqueue(m)
}

// enqueue is called with mu held.
func (o *outbox) enqueue(m *message) {
	if o.closed {
		if m.lasts() && o.hooks.keeps { // for the next daemon
			o.box(m.box).waiting = append(o.box(m.box).waiting, m)
		}
		return
	}
	if m.sum == nil && m.destination != "" {
		o.overtakeSum(m)
	}
	b := o.box(m.box)
	o.accept(b, m)
	o.employ(m.box, b)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) box(name string) *box {
	b := o.boxes[name]
	if b == nil {
		b = &box{wake: make(chan struct{}, 1)}
		o.boxes[name] = b
	}
	return b
}

// employ has somebody work on a box, if anything of it may leave.
func (o *outbox) employ(name string, b *box) {
	if b.worked || o.closed || len(b.waiting) == 0 || o.isSilent(b.waiting[0]) {
		return
	}
	b.worked = true
	o.workers.Go(func() { o.work(name, b) })
}

// isSilent reports whether a message has to wait because this director does not tell
// people of any watch that it is about.
func (o *outbox) isSilent(m *message) bool {
	switch {
	case !m.lasts():
		return false
	case o.resting:
		return true
	case len(o.silent) == 0:
		return false
	}
	return !slices.ContainsFunc(m.keys(), func(key watch.Key) bool { return !o.silent[key] })
}

// own says of which watches this director does not tell people from now on. What may
// leave now does.
func (o *outbox) own(silent map[watch.Key]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.silent, o.resting = silent, false
	for name, b := range o.boxes {
		o.employ(name, b)
	}
}

// accept puts a message at the end of the line. What it supersedes leaves.
func (o *outbox) accept(b *box, m *message) {
	b.waiting = slices.DeleteFunc(b.waiting, func(w *message) bool {
		if w.sending || !m.supersedes(w) {
			return false
		}
		o.mergedInto(m, w)
		return true
	})
	b.waiting = append(b.waiting, m)
}

// overtakeLine has what waits in a message's own line not say later what the message,
// which goes into a sum, says now.
func (o *outbox) overtakeLine(m *message) {
	b := o.boxes[m.box]
	if b == nil {
		return
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(w *message) bool { return m.outdate(w) && o.outdated(w) })
}

// overtakeSum has a sum that waits not say later what a message says now.
func (o *outbox) overtakeSum(m *message) {
	b := o.boxes[sumBox(m.destination)]
	if b == nil || !m.states() {
		return
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(w *message) bool {
		if w.sum == nil || !w.sum.outdate(m) {
			return false
		}
		if len(w.sum.Lines) == 0 {
			return o.outdated(w)
		}
		w.render()
		return false
	})
}

// outdated ends a message of which nothing is left to say; it is false if it is just
// being sent.
func (o *outbox) outdated(m *message) bool {
	if m.sending {
		m.outdated = true
		return false
	}
	o.hooks.ended(m, superseded, newerCame)
	return true
}

// mergedInto says what became of an older message, nil if there is none: one of the
// same kind lives on in the newer.
func (o *outbox) mergedInto(m, older *message) {
	switch {
	case older == nil:
	case older.action == m.action && (older.event.Kind == m.event.Kind || m.sum != nil):
		m.merged += older.merged + 1
	default:
		o.hooks.ended(older, superseded, newerCame)
	}
}

// pending are the watches of which a message to people is not delivered yet.
func (o *outbox) pending() map[watch.Key]bool {
	out := map[watch.Key]bool{}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.each(func(m *message) {
		if m.follows() || m.event.Kind == alerts.Test {
			return
		}
		for _, key := range m.keys() {
			out[key] = true
		}
	})
	return out
}

// each calls f with each message, in no order, with mu held.
func (o *outbox) each(f func(*message)) {
	o.limiter.each(f)
	for _, b := range o.boxes {
		for _, m := range b.waiting {
			f(m)
		}
	}
}

// discard takes out what drop returns a reason for; what is being sent, if that is in
// vain.
func (o *outbox) discard(drop func(*message) (why string)) {
	gone := func(m *message) bool {
		why := drop(m)
		if m.sending {
			m.dropped = cmp.Or(why, m.dropped)
			return false
		}
		if why != "" && m.lasts() {
			o.hooks.ended(m, dropped, why)
		}
		return why != ""
	}
	o.limiter.deleteFunc(gone)
	for name, b := range o.boxes {
		b.waiting = slices.DeleteFunc(b.waiting, gone)
		if len(b.waiting) == 0 && !b.worked {
			delete(o.boxes, name)
		}
	}
}

// forget takes out what waits about watches of which another director has become the
// owner: it tells people what this one could not deliver any more.
func (o *outbox) forget(owners map[watch.Key]string) {
	if len(owners) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.discard(func(m *message) string {
		switch {
		case !m.lasts():
			return ""
		case m.sum == nil:
			if by, ok := owners[m.key()]; ok {
				return by + " tells people of this watch"
			}
			return ""
		case m.sum.forget(owners):
			m.render()
			return ""
		}
		return "other directors tell people of all these watches"
	})
}

// rebind makes what waits go through the alerts of a new configuration; what has
// no alert any more is dropped. bind returns why.
func (o *outbox) rebind(bind func(*message) (why string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.discard(func(m *message) string {
		m.dropped = "" // the configuration before may have had no alert for it
		return bind(m)
	})
}

// close accepts nothing more and waits until all has been tried once, or the
// context given to newOutbox is done. Call it once.
func (o *outbox) close() {
	o.mu.Lock()
	for _, held := range o.limiter.close() {
		o.release(held)
	}
	o.closed = true
	o.mu.Unlock()
	close(o.closing)
	o.workers.Wait()
}
