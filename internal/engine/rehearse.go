package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/schedule"
	"github.com/monitord/monitord/internal/watch"
)

// A Rehearsal is an engine on a clock that its caller moves. It is the same code
// that a daemon runs, from the schedule to the alerts, with two differences: checks
// take no time, and nothing is sent; what would be is in the play. It has no
// goroutines and is for one caller at a time.
type Rehearsal struct {
	engine *Engine
	start  time.Time
	now    time.Time
	jobs   time.Time // when the scheduler has something to do; zero: never
	traps  time.Time // when the trap clock has
	digest time.Time // when the next digest is due; zero: never
	play   []Scene
}

// A Scene is one thing that happened in a rehearsal: a decision, or an alert.
type Scene struct {
	At  time.Time
	Key watch.Key
	// Decision is set if this is one.
	Decision *watch.Decision
	// Alert is set if this is an alert that would be sent.
	Alert *Cue
}

// A Cue is an alert that would be sent.
type Cue struct {
	Name string // for people: "mail ops@example.org"
	// List is mon's word for the kind: "alert", "upalert".
	List  string
	Event alerts.Event
	// Virtual is the virtual service that follows, of an alert that is its state.
	Virtual string
	// Limited is what the limit of floods counts by, see package outbox; empty: it has
	// none. A rehearsal sends as many as there are.
	Limited string
}

// rehearsalKeep is how many decisions one moment may bring a watch.
const rehearsalKeep = 10_000

// Rehearse returns the site's engine before its start at a moment, whose location
// is the time zone. Monitors are called, alerts are not. random is as in
// [schedule.Config].
func Rehearse(site *config.Site, start time.Time, random func(n int64) int64) (*Rehearsal, error) {
	r := &Rehearsal{start: start.Round(0), now: start.Round(0)}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	silent.SetLevel(logrus.PanicLevel)
	kept := *site
	kept.HistLength = rehearsalKeep
	kept.DTLogFile, kept.HistoricFile = "", ""
	e, err := build(&kept, silent, Memory{}, schedule.Config{
		Wall: r.Now, Mono: func() time.Duration { return r.now.Sub(r.start) }, Random: random,
	})
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	r.engine, e.post, e.told = e, r.cue, r.decided
	return r, nil
}

// Now is the time of the rehearsal.
func (r *Rehearsal) Now() time.Time { return r.now }

// Begin starts the daemon.
func (r *Rehearsal) Begin(ctx context.Context) {
	r.engine.begin(r.now)
	r.collect()
	r.engine.scheduler.Begin(ctx)
	r.Work()
}

// Next is when the clock has to be moved to at the latest; ok is false if nothing
// is due ever.
func (r *Rehearsal) Next() (at time.Time, ok bool) {
	for _, due := range []time.Time{r.jobs, r.traps, r.digest} {
		if at.IsZero() || !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	return at, !at.IsZero()
}

// Move sets the clock, and does nothing else: what is due is done by Work.
func (r *Rehearsal) Move(to time.Time) { r.now = to.In(r.start.Location()).Round(0) }

// Work does what is due now.
func (r *Rehearsal) Work() {
	if !r.traps.IsZero() && !r.traps.After(r.now) {
		r.engine.tickTraps()
		r.collect()
		r.traps = time.Time{}
	}
	if !r.digest.IsZero() && !r.digest.After(r.now) {
		r.engine.tickDigest()
		r.digest = time.Time{}
	}
	r.jobs = time.Time{}
	if idle, ok := r.engine.scheduler.Step(); ok {
		r.jobs = r.now.Add(idle)
	}
	r.armClocks()
}

// armClocks does as the clocks of traps and digests, which sleep until the moment that
// they have seen.
func (r *Rehearsal) armClocks() {
	if wait, ok := r.engine.trapsDue(); ok && r.traps.IsZero() {
		r.traps = r.now.Add(wait)
	}
	if r.digest.IsZero() {
		if wait, ok := r.engine.digestDue(); ok {
			r.digest = r.now.Add(wait)
		}
	}
}

// Operate lets an operator say something.
func (r *Rehearsal) Operate(say func(e *Engine) error) error {
	err := say(r.engine)
	r.acted()
	return err
}

// Trap lets somebody send a trap.
func (r *Rehearsal) Trap(t watch.TrapMessage) error {
	e := r.engine
	e.mu.Lock()
	notices, err := e.set.Trap(r.now, t)
	e.dispatch(notices)
	e.mu.Unlock()
	r.acted()
	return err
}

// acted is to follow what others did.
func (r *Rehearsal) acted() {
	r.collect()
	r.traps, r.digest = time.Time{}, time.Time{} // something may be due earlier now
	r.armClocks()
}

// Quorum is [Engine.Quorum].
func (r *Rehearsal) Quorum(c lvs.QuorumChange) { r.engine.Quorum(c) }

// Play returns what happened since the last call, in order.
func (r *Rehearsal) Play() []Scene {
	play := r.play
	r.play = nil
	return play
}

// cue takes what would go into the outbox; it is called with the engine's lock held.
func (r *Rehearsal) cue(m outbox.Message) {
	c := &Cue{Name: m.Name, List: listOf(m.Event.Kind), Event: m.Event, Limited: m.Destination()}
	if v, ok := m.Alert.(interface{ Virtual() string }); ok && m.Follows() {
		c.Virtual = v.Virtual()
	}
	r.play = append(r.play, Scene{At: r.now, Key: m.Watch(), Alert: c})
}

func (r *Rehearsal) decided(key watch.Key, _ []watch.Change, decisions []watch.Decision) {
	for i := range decisions {
		r.play = append(r.play, Scene{At: decisions[i].At, Key: key, Decision: &decisions[i]})
	}
}

// collect takes the decisions that no result brought.
func (r *Rehearsal) collect() {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	for _, key := range r.engine.set.Keys() {
		changes, decisions := r.engine.set.News(key)
		r.decided(key, changes, decisions)
	}
}

// listOf is mon's word for a kind of event, as decisions have it.
func listOf(k alerts.Kind) string {
	for w := watch.Failure; w <= watch.State; w++ {
		if kind(w) == k {
			return w.String()
		}
	}
	return k.String()
}
