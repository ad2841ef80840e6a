// Package schedule decides when jobs run, and runs them with bounds.
//
// Interval jobs live on the monotonic clock: a step of the wall clock or a
// suspended machine moves none of them. Each has a phase of its own, made from
// its key, so that thousands of services don't start in the same instant, and
// keeps it: runs are due at phase + k × interval whatever the runs take. A job
// never runs twice at once. What comes due during its own run, or while it still
// waits for a free place, is dropped and counted as skipped; nothing is ever
// caught up.
//
// Calendar jobs (cron expressions) live on the wall clock, in its location:
//   - after a step forward, or a resume, a job that missed times runs once;
//   - after a step back of less than a day, a time that has been served already
//     counts again only when the schedule's own spacing has gone by since the
//     last run: a daily job is not repeated, a job for every minute goes on
//     every minute. A larger step is a correction of a wrong clock; the new time
//     is taken as it is (cron(8) does so from three hours);
//   - a time in the hour that summer time leaves out is served as if the clock
//     had not been changed, one in the hour that comes twice is served once,
//     unless the job runs in every hour anyway (cron(8) again).
//
// One goroutine dispatches; runs have goroutines of their own. Functions of a
// job are never called with a lock held.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// MinInterval is the shortest interval.
const MinInterval = 100 * time.Millisecond

// DefaultSpread is the time over which first runs are spread when a plan has no
// RandStart.
const DefaultSpread = 10 * time.Second

// ErrUnknownKey is returned for a key that the plan in force doesn't have.
var ErrUnknownKey = errors.New("no such job")

// A Job is something to run again and again. The zero value of all but Key, Run
// and one of Interval and Cron is usable.
type Job struct {
	// Key names the job, unique within a plan. The phase is made from it, so a
	// job keeps its phase from one start of the daemon to the next.
	Key string
	// Interval is the time from start to start, at least MinInterval.
	Interval time.Duration
	// Cron runs the job by the calendar instead. Next must be quick and pure.
	// "@every" (cron.ConstantDelaySchedule) is taken for an Interval.
	Cron cron.Schedule
	// RandSkew makes each next run come a random time in (0, RandSkew] before or
	// after the interval; such a job has no fixed phase. It is never made to come
	// earlier than MinInterval after the last. No effect on Cron.
	RandSkew time.Duration
	// Process tells that a run starts processes: it counts against
	// Plan.MaxProcs, others against Plan.MaxChecks.
	Process bool
	// Deadline ends the run's context after that time; 0 is never.
	Deadline time.Duration
	// ExcludePeriod tells whether no run may start at that (wall-clock) time. A job that
	// comes due in such a time stays due, and starts within a second after its
	// end (mon's exclude_period). Nil is never.
	ExcludePeriod func(now time.Time) bool
	// Ready tells whether the job may start, as far as other jobs are concerned
	// (mon's dep_behavior = m). While it says no, the job stays due; it is asked
	// again each second and at Poke. Called by the dispatcher: it must be quick.
	// Nil is always.
	Ready func(now time.Time) bool
	// Run does the work, in a goroutine of its own. The context ends at the Deadline
	// (context.DeadlineExceeded), and when the job is removed or the scheduler
	// stops (context.Canceled: nobody waits for the result). Run must return soon
	// after that.
	Run func(ctx context.Context)
}

// A Plan is all that is to run, and the bounds.
type Plan struct {
	Jobs []Job
	// MaxProcs and MaxChecks bound the runs at one time of jobs with and without
	// Process; 0 is no bound. Due jobs wait in the order in which they came due.
	MaxProcs, MaxChecks int
	// RandStart is the time over which the first runs are spread (at most the
	// job's interval); 0 is DefaultSpread.
	RandStart time.Duration
	// ExcludePeriod holds back all jobs, like the one of a Job.
	ExcludePeriod func(now time.Time) bool
}

// Config holds what a scheduler needs from outside; all of it has a default.
type Config struct {
	// Wall is the clock, and by its location the time zone, for Cron,
	// ExcludePeriod and Ready. Default: time.Now.
	Wall func() time.Time
	// Mono is the monotonic clock, as time since some moment; one that does not run
	// by itself is for [Scheduler.Step]. Default: time since New.
	Mono func() time.Duration
	// Random returns a number in [0, n) for RandSkew; called by one goroutine at
	// a time. Default: math/rand/v2.Int64N.
	Random func(n int64) int64
	// Panicked is told of a job whose Run, ExcludePeriod or Ready panicked (a
	// panicking ExcludePeriod or Ready holds nothing back). Default: nothing; it
	// is counted anyway.
	Panicked func(key string, value any, stack []byte)
}

// A Scheduler runs the jobs of a plan. All methods may be called from any
// goroutine, before, during and after Run; nothing starts except during Run.
type Scheduler struct {
	config Config
	wake   chan struct{} // holds one token: the dispatcher should look again
	turn   chan struct{} // holds one token: one Replace at a time
	asked  []question    // the dispatcher's alone: about whom it asks in this pass

	mu        sync.Mutex // protects all below, and all entries
	root      context.Context
	running   sync.WaitGroup // Add only under mu and while root is alive
	entries   map[string]*entry
	queue     dueHeap
	procs     lane
	checks    lane
	spread    time.Duration
	exclude   func(now time.Time) bool
	leaving   []*entry      // removed, but still running
	calendars int           // jobs with Cron
	offset    time.Duration // wall clock minus monotonic clock that calendar slots were made with
	counters  counters
	stepped   bool     // see Begin
	due       []func() // with stepped: runs that Step has to make
}

// New returns a scheduler with an empty plan.
func New(c Config) *Scheduler {
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Mono == nil {
		epoch := time.Now()
		c.Mono = func() time.Duration { return time.Since(epoch) }
	}
	if c.Random == nil {
		c.Random = rand.Int64N
	}
	if c.Panicked == nil {
		c.Panicked = func(string, any, []byte) {}
	}
	return &Scheduler{
		config:  c,
		wake:    make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		entries: map[string]*entry{},
		spread:  DefaultSpread,
	}
}

func (s *Scheduler) mono() time.Duration { return s.config.Mono() }

// Run runs the plan's jobs until ctx is done, and returns when the last run has
// ended. Call it once. First runs are spread from now on, not from Replace.
func (s *Scheduler) Run(ctx context.Context) {
	s.place(ctx)
	s.dispatch(ctx)

	s.mu.Lock()
	s.procs.forget()
	s.checks.forget()
	s.mu.Unlock()
	s.running.Wait()
}

// place gives the plan's jobs their first times.
func (s *Scheduler) place(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root = ctx
	now, wall := s.mono(), s.config.Wall()
	s.offset = offset(now, wall)
	for _, e := range s.entries {
		s.begin(e, now, wall)
	}
	s.queue.init()
}

// RunNow makes the job due at once, outside of its schedule, which goes on
// unchanged (mon's "test monitor"). A job that is running runs once more
// afterwards. ExcludePeriod and Ready hold it back all the same.
func (s *Scheduler) RunNow(key string) error {
	return s.change(key, func(e *entry) error {
		switch e.state {
		case idle:
			s.dueNow(e)
		case waiting: // its run is still to come
		case running:
			e.again = true
		}
		return nil
	})
}

// Poke makes the dispatcher ask a held job's ExcludePeriod and Ready again now.
// Unknown keys and jobs that nothing holds are ignored.
func (s *Scheduler) Poke(key string) {
	_ = s.change(key, func(e *entry) error { // the only error is ErrUnknownKey
		e.poked = true
		if e.hold != Free {
			e.due = s.mono()
			s.queue.fix(e)
		}
		return nil
	})
}

// SetInterval changes a job's pace from now on (mon's failure_interval): the
// next run is due d after the last one came due, but not before now. 0 goes
// back to the job's own Interval or Cron. Setting what is in force changes
// nothing.
func (s *Scheduler) SetInterval(key string, d time.Duration) error {
	if d != 0 && d < MinInterval {
		return fmt.Errorf("job %s: interval %s is shorter than %s", key, d, MinInterval)
	}
	return s.change(key, func(e *entry) error {
		if d == 0 {
			d = e.job.Interval
		}
		if d != e.pace {
			s.setPace(e, d, s.mono(), s.config.Wall())
			s.queue.fix(e)
		}
		return nil
	})
}

// change applies f to a job's entry and lets the dispatcher look at it.
func (s *Scheduler) change(key string, f func(*entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return fmt.Errorf("job %s: %w", key, ErrUnknownKey)
	}
	err := f(e)
	s.rouse()
	return err
}

// rouse makes the dispatcher look again.
func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}
