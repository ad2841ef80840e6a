package schedule

import (
	"context"
	"math"
	"time"
)

const (
	// never is the due time of a job that has no next run.
	never = time.Duration(math.MaxInt64)
	// grain is what first runs are aligned to. Jobs with common intervals then stay
	// aligned for good, and many of them share one wake-up of the dispatcher:
	// waking up costs more than starting a run.
	grain = 10 * time.Millisecond
	// retry is how often a held job is asked again.
	retry = time.Second
)

// A state is where an entry's present run is.
//
//	        launch, lane free
//	idle ───────────────────────▶ running ──┐
//	 │ ▲                           ▲        │ finish
//	 │ └───────────────────────────┼────────┘
//	 │ launch, lane full           │ another run's finish
//	 └─────────▶ waiting ──────────┘
type state int

const (
	idle state = iota
	waiting
	running
)

// An entry is a job and its place in time, as monotonic time since the
// scheduler's epoch.
type entry struct {
	job   Job
	order int // in the plan
	at    int // in the heap

	due      time.Duration // when the dispatcher looks at it
	slot     time.Duration // when its schedule wants the next run
	pace     time.Duration // the interval in force; 0: by the calendar
	calendar calendar      // cron jobs only
	last     time.Duration // when the last run was due
	ran      bool          // last is set

	hold  Hold
	now   bool // due outside of its schedule
	again bool // RunNow during a run
	poked bool // Poke while being asked
	moved bool // put off because the whole process came late

	state   state
	want    time.Duration // when the present run should have started
	started time.Duration // when the last run started; -1: never
	lane    *lane         // of the present run
	removed bool
	cancel  context.CancelFunc
	gone    chan struct{} // closed when the last run of a removed entry has ended
}

// begin places an entry that is new, or whose scheduler starts only now.
func (s *Scheduler) begin(e *entry, now time.Duration, wall time.Time) {
	if e.pace == 0 {
		e.calendar.aim(now, wall)
		e.slot = e.calendarSlot(now, wall)
	} else {
		e.slot = s.soon(e, now)
	}
	e.settle(now)
}

// soon is a time near now, spread by the key.
func (s *Scheduler) soon(e *entry, now time.Duration) time.Duration {
	span := uint64(max(min(e.pace, s.spread)/grain, 1))
	start := (now + grain - 1).Truncate(grain)
	return start + time.Duration(keyHash(e.job.Key)%span)*grain
}

// settle derives due from slot.
func (e *entry) settle(now time.Duration) {
	switch {
	case e.now:
		e.due = min(e.due, now)
	case e.hold == Free:
		e.due = e.slot
	}
}

// calendarSlot is the calendar's next time on the monotonic clock.
func (e *entry) calendarSlot(now time.Duration, wall time.Time) time.Duration {
	next := e.calendar.next
	if next.IsZero() {
		return never
	}
	return now + max(next.Sub(wall.Round(0)), 0)
}

// setPace puts another interval in force, or (0) the calendar.
func (s *Scheduler) setPace(e *entry, d time.Duration, now time.Duration, wall time.Time) {
	e.pace = d
	switch {
	case d == 0:
		e.calendar.aim(now, wall)
		e.slot = e.calendarSlot(now, wall)
	case e.ran && e.last+d > now:
		e.slot = e.last + d
	case e.ran && e.state == running: // overdue: as soon as it has ended
		e.again, e.slot = true, now+d
	case e.ran:
		e.slot = now
	default: // not yet run: the first run stays, unless that is too far off
		e.slot = min(e.slot, now+d)
	}
	e.settle(now)
}

// advance moves slot to the first regular one after a time, and counts the ones
// that it passes over.
func (s *Scheduler) advance(e *entry, after, now time.Duration, wall time.Time) {
	if e.pace == 0 {
		e.calendar.serve(e.slot, wall)
		e.slot = e.calendarSlot(now, wall)
		return
	}
	step := s.step(e)
	next := e.slot + step
	if next <= after {
		behind := after - next
		next += behind.Truncate(e.pace) + e.pace
		if e.hold == Free {
			s.counters.skipped += uint64(behind/e.pace) + 1
		}
	}
	e.slot = next
}

// step is the time to the next slot, with its skew.
func (s *Scheduler) step(e *entry) time.Duration {
	skew := e.job.RandSkew
	if skew <= 0 {
		return e.pace
	}
	// One of the 2 × skew values -skew..-1 and 1..skew, as mon never takes 0.
	r := time.Duration(s.config.Random(2*int64(skew))) - skew
	if r >= 0 {
		r++
	}
	return max(e.pace+r, MinInterval)
}

// retryAt is when a held entry is asked again. It keeps the entry's phase, so
// that the end of an exclude period finds the jobs spread.
func (e *entry) retryAt(now time.Duration) time.Duration {
	pause := retry
	if e.pace > 0 {
		pause = min(retry, e.pace)
	}
	if next := e.due + pause; next > now {
		return next
	}
	return now + pause
}

// keyHash is FNV-1a with a finalizer: keys that differ in their last letter get
// unrelated phases.
func keyHash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}
