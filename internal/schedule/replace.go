package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// Replace puts a plan in force. Jobs with a known key keep their phase, timers
// and present run; when Interval has changed, the next run is due that long
// after the last; an interval from SetInterval stays in force unless Interval or
// Cron has changed. New jobs start within RandStart. Jobs that are no longer
// there are cancelled, and Replace returns when their runs have ended, or with
// ctx's error if that comes first (the plan is in force all the same). A plan
// with errors changes nothing.
//
// Don't call it from a job's functions, nor from a goroutine that a removed
// job's Run waits for without heeding its context.
func (s *Scheduler) Replace(ctx context.Context, p Plan) error {
	if err := check(p); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// A key that comes back must not meet its own last run.
	if err := s.awaitLeaving(ctx); err != nil {
		return err
	}
	s.apply(p)
	return s.awaitLeaving(ctx)
}

func check(p Plan) error {
	var errs []error
	seen := make(map[string]bool, len(p.Jobs))
	for i := range p.Jobs {
		j := &p.Jobs[i]
		if seen[j.Key] {
			errs = append(errs, fmt.Errorf("job %s: the key is used twice", j.Key))
		}
		seen[j.Key] = true
		if err := checkJob(j); err != nil {
			errs = append(errs, fmt.Errorf("job %s: %w", j.Key, err))
		}
	}
	if p.MaxProcs < 0 || p.MaxChecks < 0 || p.RandStart < 0 {
		errs = append(errs, errors.New("maxprocs, maxchecks and randstart must not be negative"))
	}
	return errors.Join(errs...)
}

func checkJob(j *Job) error {
	switch {
	case j.Run == nil:
		return errors.New("nothing to run")
	case (j.Interval != 0) == (j.Cron != nil):
		return errors.New("an interval or a calendar is needed, and not both")
	case j.Cron == nil && j.Interval < MinInterval:
		return fmt.Errorf("interval %s is shorter than %s", j.Interval, MinInterval)
	case j.RandSkew < 0 || j.Deadline < 0:
		return errors.New("randskew and deadline must not be negative")
	}
	return nil
}

// apply makes the entries those of p.
func (s *Scheduler) apply(p Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, wall := s.mono(), s.config.Wall()
	if s.calendars == 0 { // nobody has followed the clock
		s.offset = offset(now, wall)
	}
	s.procs.limit, s.checks.limit = p.MaxProcs, p.MaxChecks
	s.exclude = p.ExcludePeriod
	s.spread, s.calendars = DefaultSpread, 0
	if p.RandStart > 0 {
		s.spread = p.RandStart
	}
	before := s.entries
	s.entries = make(map[string]*entry, len(p.Jobs))
	for i, j := range p.Jobs {
		if every, ok := j.Cron.(cron.ConstantDelaySchedule); ok {
			j.Interval, j.Cron = every.Delay, nil
		}
		if j.Cron != nil {
			s.calendars++
		}
		s.entries[j.Key] = s.adopt(before[j.Key], j, i, now, wall)
		delete(before, j.Key)
	}
	for _, e := range before {
		s.remove(e)
	}
	s.queue.init()
	s.admit(&s.procs)
	s.admit(&s.checks)
	s.rouse()
}

// adopt gives a job its entry: the one it had (nil: none), or a new one. The
// heap's order is left to the caller.
func (s *Scheduler) adopt(e *entry, j Job, order int, now time.Duration, wall time.Time) *entry {
	if e == nil {
		e = &entry{job: j, order: order, pace: j.Interval, started: -1, calendar: calendar{schedule: j.Cron}}
		s.begin(e, now, wall)
		s.queue.push(e)
		return e
	}
	same := e.job.Interval == j.Interval && (e.job.Cron == nil) == (j.Cron == nil)
	e.job, e.order = j, order
	e.calendar.schedule = j.Cron
	switch {
	case !same:
		s.setPace(e, j.Interval, now, wall)
	case e.pace == 0 && e.hold == Free && e.slot > now:
		// The expression may be another: it is parsed anew at each reload.
		s.setPace(e, 0, now, wall)
	}
	return e
}

// remove takes an entry out of everything and cancels its run.
func (s *Scheduler) remove(e *entry) {
	e.removed, e.again = true, false
	s.queue.remove(e)
	s.free(e)
	switch e.state {
	case idle:
	case waiting:
		e.lane.leave(e)
	case running:
		e.gone = make(chan struct{})
		e.cancel()
		s.leaving = append(s.leaving, e)
	}
}

// awaitLeaving waits for the runs of removed entries. The caller has the turn.
func (s *Scheduler) awaitLeaving(ctx context.Context) error {
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	for _, e := range leaving {
		select {
		case <-e.gone:
		case <-ctx.Done():
			return fmt.Errorf("job %s is still running: %w", e.job.Key, ctx.Err())
		}
	}
	s.mu.Lock()
	s.leaving = nil
	s.mu.Unlock()
	return nil
}
