// Package outbox holds what people and pools are still to be told, and delivers it.
//
//	Put ─▶ limit of floods ─▶ a line for each watch and destination ─▶ alert (plugin)
//	              └─▶ held, and summed up when the minute ends ─┘
//
// A message that waits is in one of the lines, which decide everything: they are a value
// without a clock. The [Outbox] around them has one goroutine for each line that has
// something to send, and tries again until it is delivered, superseded, or a day old.
// What is held for the sum of a flood waits beside the lines; what waits when the
// daemon ends is [Outbox.Snapshot], and [Outbox.Restore] in the next one.
//
// # How much may wait
//
// Of one action of a watch at most one message of each kind waits, and one that is
// being sent: what is newer takes the older's place, with the hosts that it was
// about. A destination gets [FloodLimit] messages a minute, and what is beyond that is
// one sum with a line for each action. So it is the configuration that bounds the
// number, however long nothing can be delivered: its alerts times the kinds. Texts are
// cut so that all of them together are about 32 MiB.
package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/watch"
)

const (
	// SendTimeout bounds one attempt to deliver; plugins have shorter ones of
	// their own.
	SendTimeout = 2 * time.Minute
	// LongestPause is how long it is at most until the next attempt. The first pause is
	// a second, and each is twice the one before.
	LongestPause = 5 * time.Minute
	// GiveUp is how long a message is tried, by daemons that live: people who were not
	// told for a day find out from the log, or from the next alert.
	GiveUp = 24 * time.Hour

	firstPause = time.Second
)

// An Outbox delivers messages: in order within a line, retried with growing
// pauses, the latest state winning, limited per destination. Lines are
// independent of each other: a mail server that hangs holds up its mails only.
// Its methods may be called from any goroutine, and all but Close do not wait.
type Outbox struct {
	ctx     context.Context
	hooks   Hooks
	closing chan struct{} // closed by Close

	mu    sync.Mutex // protects what follows
	lines *lines
	// wakes has the lines that somebody works on; what it holds interrupts the pause
	// before a retry when something newer came.
	wakes   map[string]chan struct{}
	minutes *time.Timer // the end of the next minute of a destination
	armed   time.Time   // when that is
	workers sync.WaitGroup
}

// Hooks are what an outbox tells its owner. Settled and Ended are called with its
// lock held: they must not wait, nor call it.
type Hooks struct {
	// Keeps is true if what is not delivered in the end will be by the next daemon.
	Keeps bool
	// Attempted is told of each attempt, from several goroutines.
	Attempted func(Attempt)
	// Commit returns when all that waits now is on the disk, or the disk takes too
	// long for that. It is called before each message that a restart may not lose.
	Commit func(context.Context)
	// Settled says that an attempt was made; final: that something left Pending.
	Settled func(final bool)
	// Ended says what became of a message; why is the whole of e.Why.
	Ended func(e history.Entry, why string)
}

// New returns an outbox that gives up when ctx is done. All hooks are needed.
func New(ctx context.Context, h Hooks) *Outbox {
	return &Outbox{ctx: ctx, hooks: h, closing: make(chan struct{}), lines: newLines(h.Keeps), wakes: map[string]chan struct{}{}}
}

// Put accepts a message. It leaves by and by, unless something newer takes its place.
func (o *Outbox) Put(m Message) {
	o.put(&message{Message: m, box: boxOf(m.Watch(), m.Name), destination: m.Destination()})
}

func (o *Outbox) put(m *message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rouse(o.lines.put(m, time.Now()))
}

// Own says of which watches this director does not tell people from now on: what waits
// of them goes on waiting. What may leave now does.
func (o *Outbox) Own(silent map[watch.Key]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.own(silent)
	for line := range o.lines.boxes {
		o.employ(line)
	}
}

// Forget takes out what waits about watches of which another director, whose name is
// given, has become the owner: it tells people what this one could not deliver.
func (o *Outbox) Forget(owners map[watch.Key]string) {
	if len(owners) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.forget(owners)
	o.rouse()
}

// Rebind makes what waits go through the alerts of a new configuration; what has
// no alert any more is dropped.
func (o *Outbox) Rebind(b *Bindings) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.rebind(b)
	o.rouse()
}

// Pending returns the watches of which a message to people is not delivered yet.
func (o *Outbox) Pending() map[watch.Key]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines.pending()
}

// Waiting returns what the history says of what waits, in order.
func (o *Outbox) Waiting() []history.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines.waiting()
}

// Close accepts nothing more and waits until all has been tried once, or the
// context given to New is done. Call it once.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.rouse(o.lines.flush(time.Now())...)
	o.lines.closed = true
	o.mu.Unlock()
	close(o.closing)
	o.workers.Wait()
}

// rouse does what a change of the lines asks for: it says what became of messages, has
// somebody work on lines that got something, "" being none, and sets the clock of the
// limit. It is called with mu held.
func (o *Outbox) rouse(changed ...string) {
	ends := o.lines.ends
	o.lines.ends = nil
	for _, e := range ends {
		o.hooks.Ended(e.entry, e.why)
	}
	for _, line := range changed {
		if line == "" {
			continue
		}
		o.employ(line)
		select {
		case o.wakes[line] <- struct{}{}:
		default:
		}
	}
	o.arm()
}

// employ has somebody work on a line, if anything of it may leave.
func (o *Outbox) employ(line string) {
	if o.wakes[line] != nil || !o.lines.mayLeave(line) {
		return
	}
	wake := make(chan struct{}, 1)
	o.wakes[line] = wake
	o.workers.Go(func() { o.work(line, wake) })
}

// arm sets the clock to the end of the next minute of a destination.
func (o *Outbox) arm() {
	switch at := o.lines.limiter.next(); {
	case at.Equal(o.armed):
		return
	case at.IsZero():
		o.minutes.Stop()
		o.armed = at
	case o.minutes == nil:
		o.minutes, o.armed = time.AfterFunc(time.Until(at), o.turn), at
	default:
		o.minutes.Reset(time.Until(at))
		o.armed = at
	}
}

// turn is the end of a destination's minute.
func (o *Outbox) turn() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = time.Time{} // it is not any more
	o.rouse(o.lines.turn(time.Now())...)
}
