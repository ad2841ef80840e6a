package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

const (
	// sendTimeout bounds one attempt to deliver; plugins have shorter ones of
	// their own.
	sendTimeout = 2 * time.Minute
	firstPause  = time.Second
	longestWait = 5 * time.Minute
	// giveUp is how long a message is tried; people who were not told for a day
	// find out from the log, or from the next alert.
	giveUp = 24 * time.Hour
)

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
	// hosts is true if the watch counts for each host by itself: its summary is
	// then the names of the hosts concerned.
	hosts   bool
	sum     bool        // of a flood
	about   []watch.Key // what a sum is about; else it is the event's
	tried   bool
	sending bool
}

// follows reports whether the message is state: only the latest counts.
func (m *message) follows() bool { return m.event.Kind == alerts.State }

// keys are the watches that the message is about.
func (m *message) keys() []watch.Key {
	if m.sum {
		return m.about
	}
	return []watch.Key{{Group: m.event.Group, Service: m.event.Service}}
}

// A delivery is what became of one attempt.
type delivery struct {
	message *message
	err     error
	// final is true if the message will not be tried again.
	final bool
	took  time.Duration
}

// An outbox delivers messages: in order within a box, retried with growing
// pauses, the latest state winning, limited per destination. Boxes are
// independent of each other: a mail server that hangs holds up its mails only.
type outbox struct {
	ctx     context.Context
	report  func(delivery)
	limiter *limiter
	closing chan struct{} // closed by close
	// settled is called when something may have left pending; nil: nobody cares.
	settled func()

	mu      sync.Mutex // protects what follows
	boxes   map[string]*box
	closed  bool
	workers sync.WaitGroup
}

// A box is a line of messages; a goroutine works on it while it holds any.
type box struct {
	waiting []*message
	// wake interrupts the pause before a retry when something newer came.
	wake chan struct{}
}

// newOutbox returns an outbox that gives up when ctx is done. report is told of
// each attempt, from several goroutines.
func newOutbox(ctx context.Context, report func(delivery)) *outbox {
	o := &outbox{ctx: ctx, report: report, boxes: map[string]*box{}, closing: make(chan struct{})}
	o.limiter = newLimiter(func(m *message) { o.enqueue(m) })
	return o
}

// put accepts a message; it does not block.
func (o *outbox) put(m *message) {
	m.since = time.Now()
	if m.destination != "" && !m.follows() && !o.limiter.admit(m) {
		return
	}
	o.enqueue(m)
}

func (o *outbox) enqueue(m *message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	b := o.boxes[m.box]
	if b == nil {
		b = &box{wake: make(chan struct{}, 1)}
		o.boxes[m.box] = b
		o.workers.Go(func() { o.work(m.box, b) })
	}
	b.accept(m)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// accept puts a message at the end of the line. What it supersedes leaves.
func (b *box) accept(m *message) {
	b.waiting = slices.DeleteFunc(b.waiting, func(w *message) bool { return !w.sending && m.supersedes(w) })
	b.waiting = append(b.waiting, m)
}

// supersedes reports whether an older message need not be sent any more. One of
// the same action and kind is merged into the newer, which carries the whole
// present state; any other that was tried in vain goes if the newer is about all
// of its hosts.
func (m *message) supersedes(older *message) bool {
	switch {
	case older.event.Kind == alerts.Test:
		return false
	case older.action == m.action && older.event.Kind == m.event.Kind:
		m.merge(older)
		return true
	case !older.tried || older.follows() != m.follows():
		return false
	case !m.event.Kind.Failing() && m.event.Kind != alerts.Up:
		return false
	}
	return !m.hosts || m.covers(older)
}

// covers reports whether a message is about every host of an older one.
func (m *message) covers(older *message) bool {
	about := map[string]bool{}
	for _, h := range m.event.Hosts {
		about[h.Name] = h.Concerned
	}
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
	var names []string
	for i := range m.event.Hosts {
		h := &m.event.Hosts[i]
		was := then[h.Name]
		switch {
		case m.follows() && h.State == alerts.HostUnknown:
			h.State = was.State
		case !m.follows() && was.Concerned && was.State == h.State:
			h.Concerned = true
		}
		if h.Concerned {
			names = append(names, h.Name)
		}
	}
	if m.hosts && !m.follows() && len(names) > 0 {
		m.event.Summary = strings.Join(names, " ")
	}
}

// work delivers a box's messages until none is left.
func (o *outbox) work(name string, b *box) {
	pause := firstPause
	for {
		m, alert := o.first(name, b)
		if m == nil {
			return
		}
		final := o.attempt(m, alert)
		o.settle(b, m, final)
		if final {
			pause = firstPause
			continue
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, longestWait)
		case <-b.wake:
			pause = firstPause
		case <-o.closing:
		case <-o.ctx.Done():
		}
	}
}

// first returns the message to deliver next, and through what; nil if the box is
// done with.
func (o *outbox) first(name string, b *box) (*message, alerts.Alert) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed { // each message gets its one attempt, but no second
		b.waiting = slices.DeleteFunc(b.waiting, func(m *message) bool { return m.tried })
	}
	if len(b.waiting) == 0 || o.ctx.Err() != nil {
		delete(o.boxes, name)
		return nil, nil
	}
	select { // what is new is in the line already
	case <-b.wake:
	default:
	}
	b.waiting[0].sending = true
	return b.waiting[0], b.waiting[0].alert
}

// settle takes a message that is done with out of the line, wherever it is now,
// and one that failed too if something newer supersedes it.
func (o *outbox) settle(b *box, m *message, final bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.tried, m.sending = true, false
	if final && o.settled != nil {
		defer o.settled()
	}
	at := slices.Index(b.waiting, m)
	if at < 0 {
		return
	}
	for _, newer := range b.waiting[at+1:] {
		if final {
			break
		}
		final = newer.supersedes(m)
	}
	if final {
		b.waiting = slices.Delete(b.waiting, at, at+1)
	}
}

func (o *outbox) attempt(m *message, alert alerts.Alert) (final bool) {
	ctx, cancel := context.WithTimeout(o.ctx, sendTimeout)
	defer cancel()
	start := time.Now()
	err := send(ctx, alert, m.event)
	final = err == nil || errors.Is(err, alerts.ErrDelivered) || errors.Is(err, alerts.ErrRefused) || m.event.Kind == alerts.Test || time.Since(m.since) > giveUp
	o.report(delivery{message: m, err: err, final: final, took: time.Since(start)})
	return final
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

// pending are the watches of which a message to people is not delivered yet.
func (o *outbox) pending() map[watch.Key]bool {
	out := map[watch.Key]bool{}
	note := func(m *message) {
		if m.follows() || m.event.Kind == alerts.Test {
			return
		}
		for _, key := range m.keys() {
			out[key] = true
		}
	}
	o.limiter.each(note)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.boxes {
		for _, m := range b.waiting {
			note(m)
		}
	}
	return out
}

// rebind makes what waits go through the alerts of a new configuration; what has
// no alert any more is dropped.
func (o *outbox) rebind(actions map[string]alerts.Alert) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.boxes {
		b.waiting = slices.DeleteFunc(b.waiting, func(m *message) bool {
			alert, ok := actions[m.action]
			if ok {
				m.alert = alert
			}
			return !ok && !m.sum && !m.sending
		})
	}
}

// close accepts nothing more and waits until all has been tried once, or the
// context given to newOutbox is done. Call it once.
func (o *outbox) close() {
	for _, m := range o.limiter.close() {
		o.enqueue(m)
	}
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	close(o.closing)
	o.workers.Wait()
}

const (
	// burst is the number of messages that one destination gets at once, and in
	// each window after.
	burst       = 60
	limitWindow = time.Minute
)

// A limiter keeps a flood from people: beyond burst messages a minute to one
// destination, the rest of the minute is summed up in one message at its end.
type limiter struct {
	release func(*message)

	mu     sync.Mutex // protects what follows
	counts map[string]*window
	closed bool
}

type window struct {
	sent  int
	held  []*message
	timer *time.Timer
}

func newLimiter(release func(*message)) *limiter {
	return &limiter{release: release, counts: map[string]*window{}}
}

// admit reports whether a message may go out now; if not it is kept for the sum.
func (l *limiter) admit(m *message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.counts[m.destination]
	if w == nil {
		w = &window{}
		w.timer = time.AfterFunc(limitWindow, func() { l.turn(m.destination) })
		l.counts[m.destination] = w
	}
	if w.sent < burst {
		w.sent++
		return true
	}
	w.held = append(w.held, m)
	return false
}

// each calls f with each message that is kept.
func (l *limiter) each(f func(*message)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.counts {
		for _, m := range w.held {
			f(m)
		}
	}
}

// turn ends a destination's minute.
func (l *limiter) turn(destination string) {
	l.mu.Lock()
	w := l.counts[destination]
	if l.closed || w == nil {
		l.mu.Unlock()
		return
	}
	held := w.held
	w.held = nil
	if len(held) == 0 {
		delete(l.counts, destination)
	} else {
		w.sent = 1 // the sum
		w.timer.Reset(limitWindow)
	}
	l.mu.Unlock()
	if len(held) > 0 {
		l.release(sum(held))
	}
}

// close returns what is still held, summed up; the limiter is of no use after.
func (l *limiter) close() []*message {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var out []*message
	for _, w := range l.counts {
		w.timer.Stop()
		if len(w.held) > 0 {
			out = append(out, sum(w.held))
		}
	}
	return out
}

// sum makes one message of many: a line for each, the newest of a watch's only.
func sum(held []*message) *message {
	latest := map[string]*message{}
	var order []string
	for _, m := range held {
		switch before := latest[m.action]; {
		case before == nil:
			order = append(order, m.action)
		case before.event.Kind == m.event.Kind:
			m.merge(before)
		}
		latest[m.action] = m
	}
	first := held[0]
	var about []watch.Key
	for _, m := range latest {
		about = append(about, m.keys()...)
	}
	if len(order) == 1 {
		return latest[order[0]]
	}
	var text strings.Builder
	kind := alerts.Up
	for _, action := range order {
		e := latest[action].event
		if e.Kind.Failing() {
			kind = alerts.Failure
		}
		fmt.Fprintf(&text, "%s %s:%s: %s\n", e.Kind, e.Group, e.Service, e.Summary)
	}
	summary := fmt.Sprintf("%d more alerts in the last minute", len(order))
	exit := 1
	return &message{
		box: "sum of " + first.destination, name: first.name, action: "sum of " + first.destination, sum: true, about: about, alert: first.alert, since: time.Now(),
		event: alerts.Event{
			Kind: kind, Group: "monitord", Service: "alerts", Time: time.Now(), Exit: &exit,
			Summary: summary, Output: []byte(summary + "\n" + text.String()),
			Reason: fmt.Sprintf("a destination gets at most %d messages a minute, the rest are summed up", burst),
			Outage: fmt.Sprintf("monitord:alerts@%d", first.since.UnixMilli()),
		},
	}
}
