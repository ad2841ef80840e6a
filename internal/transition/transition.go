// Package transition tells people and programs what happened to a group of
// resources on this director: it delivers each transition to the alerts of the
// group.
//
// An alert gets the group's transitions in their order, one at a time, and each alert
// has a line of its own: a mail server that hangs holds up its mails only. What
// cannot be delivered is tried again with a growing pause, until something newer
// waits, or a day has passed. Nobody who reports a transition waits for any of this.
package transition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/director"
)

const (
	// longestLine is how many transitions wait for one alert; of a group that goes
	// to and fro all day the newest count.
	longestLine = 64
	// sendTimeout bounds one attempt; plugins have shorter ones of their own.
	sendTimeout = 2 * time.Minute
	firstPause  = time.Second
	longestWait = 5 * time.Minute
	giveUp      = 24 * time.Hour
)

// An Alert is one destination of a group's transitions. Its name is unique in the
// group, and by it the alert is known again after a reload.
type Alert struct {
	Name  string
	Alert alerts.Alert
}

// A Delivery is what became of one attempt to deliver, for the log.
type Delivery struct {
	Group, Alert string
	Event        Event
	// Err is nil if it was delivered. With alerts.ErrDelivered in its chain it is a
	// complaint about one that was.
	Err error
	// Final: it will not be tried again.
	Final bool
}

// Why an event is given up that nobody tried, or not to the end.
var (
	ErrSuperseded = errors.New("something newer happened to the group meanwhile")
	ErrTooMany    = errors.New("too many transitions wait for this alert")
	ErrClosed     = errors.New("the daemon ended before it was delivered")
	ErrGone       = errors.New("the alert is not in the configuration any more")
)

// A Teller tells of transitions. All methods may be called by any goroutine.
type Teller struct {
	ctx    context.Context // of all attempts
	cancel context.CancelFunc
	report func(Delivery)
	// closing is closed by Close: nothing waits for a better time any more.
	closing chan struct{}
	workers sync.WaitGroup

	mu     sync.Mutex // protects what follows; never held while calling out
	alerts map[string][]Alert
	lines  map[lineKey]*line
	roles  map[string]director.Role
	closed bool
}

type lineKey struct{ group, alert string }

// A line is what waits for one alert. A goroutine works on it while it holds
// anything.
type line struct {
	alert   alerts.Alert
	waiting []waiting
	working bool
	// wake ends the pause before another attempt.
	wake chan struct{}
}

type waiting struct {
	event Event
	since time.Time
}

// New returns a teller for the groups' alerts, by the groups' names. report, which
// may be nil, is told of each attempt, from several goroutines.
func New(groups map[string][]Alert, report func(Delivery)) *Teller {
	if report == nil {
		report = func(Delivery) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Teller{ctx: ctx, cancel: cancel, report: report, closing: make(chan struct{}), lines: map[lineKey]*line{}, roles: map[string]director.Role{}}
	t.Reload(groups)
	return t
}

// Reload takes over the alerts of another configuration. What waits for an alert that
// is still there goes through the new one; what has no alert any more is dropped.
func (t *Teller) Reload(groups map[string][]Alert) {
	var gone []Delivery
	t.mu.Lock()
	t.alerts = groups
	for key, l := range t.lines {
		if a := find(groups[key.group], key.alert); a != nil {
			l.alert = a
			continue
		}
		for _, w := range l.drop() {
			gone = append(gone, Delivery{Group: key.group, Alert: key.alert, Event: w.event, Err: ErrGone, Final: true})
		}
	}
	t.mu.Unlock()
	t.reportAll(gone)
}

func find(list []Alert, name string) alerts.Alert {
	for _, a := range list {
		if a.Name == name {
			return a.Alert
		}
	}
	return nil
}

// drop empties the line and lets go of what it pauses for.
func (l *line) drop() []waiting {
	dropped := l.waiting
	l.waiting = nil
	l.poke()
	return dropped
}

func (l *line) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Tell accepts a transition; it does not wait. Roles on the way to another (acquiring,
// releasing) are not told, nor is the return from there to the role before.
func (t *Teller) Tell(e Event) {
	t.mu.Lock()
	told := t.settle(&e)
	var dropped []Delivery
	if told && !t.closed {
		for _, a := range t.alerts[e.Group] {
			dropped = append(dropped, t.enqueue(a, e)...)
		}
	}
	t.mu.Unlock()
	t.reportAll(dropped)
}

// settle makes From the role that was told last, and is false if that is To.
func (t *Teller) settle(e *Event) bool {
	if e.To == director.Acquiring || e.To == director.Releasing {
		if _, known := t.roles[e.Group]; !known {
			t.roles[e.Group] = e.From
		}
		return false
	}
	last, known := t.roles[e.Group]
	t.roles[e.Group] = e.To
	if known {
		e.From = last
	}
	return e.From != e.To
}

// enqueue puts an event at the end of an alert's line, and returns what had to leave
// it for that.
func (t *Teller) enqueue(a Alert, e Event) []Delivery {
	key := lineKey{e.Group, a.Name}
	l := t.lines[key]
	if l == nil {
		l = &line{wake: make(chan struct{}, 1)}
		t.lines[key] = l
	}
	l.alert = a.Alert
	l.waiting = append(l.waiting, waiting{e, time.Now()})
	var dropped []Delivery
	for len(l.waiting) > longestLine {
		dropped = append(dropped, Delivery{Group: e.Group, Alert: a.Name, Event: l.waiting[0].event, Err: ErrTooMany, Final: true})
		l.waiting = l.waiting[1:]
	}
	l.poke()
	if !l.working {
		l.working = true
		t.workers.Go(func() { t.work(key, l) })
	}
	return dropped
}

func (t *Teller) reportAll(all []Delivery) {
	for _, d := range all {
		t.report(d)
	}
}

// work delivers until the line is empty.
func (t *Teller) work(key lineKey, l *line) {
	for {
		w, alert := t.next(key, l)
		if alert == nil {
			return
		}
		t.deliver(key, l, alert, w)
	}
}

// next takes the oldest event out of the line; no alert means that the line is empty
// and done with.
func (t *Teller) next(key lineKey, l *line) (waiting, alerts.Alert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(l.waiting) == 0 {
		l.working = false
		delete(t.lines, key)
		return waiting{}, nil
	}
	w := l.waiting[0]
	l.waiting = l.waiting[1:]
	select { // what is new is in the line already
	case <-l.wake:
	default:
	}
	return w, l.alert
}

// deliver tries one event until it is done with.
func (t *Teller) deliver(key lineKey, l *line, alert alerts.Alert, w waiting) {
	for pause := firstPause; ; pause = min(2*pause, longestWait) {
		err := t.attempt(alert, w.event)
		d := Delivery{Group: key.group, Alert: key.alert, Event: w.event, Err: err}
		d.Final = err == nil || errors.Is(err, alerts.ErrDelivered) || errors.Is(err, alerts.ErrRefused) || time.Since(w.since) > giveUp
		t.report(d)
		if d.Final {
			return
		}
		t.rest(l, pause, err)
		if alert, err = t.again(key, l); err != nil {
			d.Err, d.Final = fmt.Errorf("%w: %w", err, d.Err), true
			t.report(d)
			return
		}
	}
}

// rest waits before another attempt; something newer, or the end, cuts it short. For as
// long as the receiver asks to be left alone, up to longestWait, only the end does.
func (t *Teller) rest(l *line, pause time.Duration, err error) {
	asked := time.Duration(0)
	if busy, ok := errors.AsType[*alerts.BusyError](err); ok && busy.Wait > 0 {
		asked = min(busy.Wait, longestWait)
		t.wait(asked, nil)
	}
	t.wait(pause-asked, l.wake)
}

func (t *Teller) wait(pause time.Duration, newer <-chan struct{}) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-newer:
	case <-t.closing:
	}
}

// again says why an event that could not be delivered is not tried once more, or
// through what it is.
func (t *Teller) again(key lineKey, l *line) (alerts.Alert, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(l.waiting) > 0:
		return nil, ErrSuperseded
	case t.closed:
		return nil, ErrClosed
	case find(t.alerts[key.group], key.alert) == nil:
		return nil, ErrGone
	}
	return l.alert, nil
}

// attempt calls the plugin; one that panics has failed, and nothing else.
func (t *Teller) attempt(alert alerts.Alert, e Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the alert panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(t.ctx, sendTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return ErrClosed
	}
	return alert.Send(ctx, e.Alert())
}

// Close accepts nothing more, tries once what still waits, and returns when that is
// done, or, with its error, when ctx is: then attempts are broken off and waited for.
func (t *Teller) Close(ctx context.Context) error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.closing)
	}
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		t.workers.Wait()
		close(done)
	}()
	defer t.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		t.cancel()
		<-done
		return fmt.Errorf("transitions may not have been told: %w", ctx.Err())
	}
}
