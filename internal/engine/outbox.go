package engine

import (
	"cmp"
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

// # How much may wait
//
// Of one action of a watch at most one message of each kind waits, and one that is
// being sent: what is newer takes the older's place, with the hosts that it was
// about. A destination gets burst messages a minute, and what is beyond that is one
// sum with a line for each action. So it is the configuration that bounds the
// number, however long nothing can be delivered: its alerts times the kinds. Texts
// are cut so that all of them together are about maxTexts, see [allowance].

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
	hosts bool
	// passing is true for every result that is redistributed: the next one comes
	// soon, and nobody keeps a list of them.
	passing bool
	sum     *sum // of a flood; nil for all others
	number  uint64
	// merged counts the older ones of the same kind whose place this one took.
	merged   int
	attempts int
	problem  string // why the last attempt failed
	durable  bool   // it is on the disk, or will be before it leaves
	sending  bool
	// What happened while it was being sent counts if that was in vain: stale is true
	// after a reload, obsolete is why it is not tried again.
	stale    bool
	obsolete string
}

func (m *message) tried() bool { return m.attempts > 0 }

// lasts reports whether a restart may not lose the message: pools are told anew, and
// who tests an alert sees what comes of it.
func (m *message) lasts() bool {
	return !m.follows() && !m.passing && m.event.Kind != alerts.Test
}

// follows reports whether the message is state: only the latest counts.
func (m *message) follows() bool { return m.event.Kind == alerts.State }

// keys are the watches that the message is about.
func (m *message) keys() []watch.Key {
	if m.sum != nil {
		return m.sum.keys()
	}
	return []watch.Key{m.key()}
}

func (m *message) key() watch.Key {
	return watch.Key{Group: m.event.Group, Service: m.event.Service}
}

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
	// bind gives messages the alerts of the configuration; nil before the first reload.
	bind    func(*message) (why string)
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

// mergedInto says what became of an older message, nil if there is none: one of the
// same kind lives on in the newer.
func (o *outbox) mergedInto(m, older *message) {
	switch {
	case older == nil:
	case older.action == m.action && (older.event.Kind == m.event.Kind || m.sum != nil):
		m.merged += older.merged + 1
	default:
		o.hooks.ended(older, superseded, "a newer message came before it could be delivered")
	}
}

// supersedes reports whether an older message need not be sent any more. One of
// the same action and kind is merged into the newer, which carries the whole
// present state; any other that was tried in vain goes if the newer is about all
// of its hosts.
func (m *message) supersedes(older *message) bool {
	switch {
	case older.event.Kind == alerts.Test:
		return false
	case m.sum != nil && older.sum != nil:
		m.addSum(older)
		return true
	case older.action == m.action && older.event.Kind == m.event.Kind:
		m.merge(older)
		return true
	case !older.tried() || older.follows() != m.follows():
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
	m.event.Hosts = slices.Clone(m.event.Hosts) // the saver may look at the old one
	for i := range m.event.Hosts {
		h := &m.event.Hosts[i]
		was := then[h.Name]
		switch {
		case m.follows() && h.State == alerts.HostUnknown:
			h.State = was.State
		case !m.follows() && was.Concerned && was.State == h.State:
			h.Concerned = true
		}
	}
	if names := m.concerned(); m.hosts && !m.follows() && len(names) > 0 {
		m.event.Summary = strings.Join(names, " ")
	}
}

// concerned are the names of the hosts that a message is about.
func (m *message) concerned() []string {
	var names []string
	for i := range m.event.Hosts {
		if m.event.Hosts[i].Concerned {
			names = append(names, m.event.Hosts[i].Name)
		}
	}
	return names
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

// discard takes out what drop returns a reason for. What is being sent stays, and
// later is called for it instead.
func (o *outbox) discard(drop func(*message) (why string), later func(*message)) {
	gone := func(m *message) bool {
		if m.sending {
			later(m)
			return false
		}
		why := drop(m)
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
	told := func(m *message) string {
		if by, ok := owners[m.key()]; ok && m.lasts() {
			return by + " tells people of this watch"
		}
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.discard(func(m *message) string {
		switch {
		case m.sum == nil:
			return told(m)
		case m.sum.forget(owners):
			m.render()
			return ""
		}
		return "other directors tell people of all these watches"
	}, func(m *message) {
		if m.sum == nil { // a sum may tell twice
			m.obsolete = cmp.Or(told(m), m.obsolete)
		}
	})
}

// rebind makes what waits go through the alerts of a new configuration; what has
// no alert any more is dropped. bind returns why.
func (o *outbox) rebind(bind func(*message) (why string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bind = bind
	o.discard(bind, func(m *message) { m.stale = true })
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
