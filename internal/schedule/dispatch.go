package schedule

import (
	"context"
	"runtime/debug"
	"time"
)

// clockWatch is how often the wall clock is compared with the monotonic one
// while there are calendar jobs.
const clockWatch = time.Second

// dispatch starts what comes due until ctx is done.
func (s *Scheduler) dispatch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		if ctx.Err() != nil {
			return
		}
		timer.Reset(s.pass())
	}
}

// pass starts what is due, and returns how long there is nothing to do.
func (s *Scheduler) pass() time.Duration {
	now, wall := s.mono(), s.config.Wall()
	s.mu.Lock()
	s.followClock(now, wall)
	s.collect(now, wall)
	sleep := s.idleFor()
	exclude := s.exclude
	s.mu.Unlock()
	if len(s.asked) == 0 {
		return sleep
	}
	return s.ask(exclude, now, wall)
}

// idleFor is the time until something is to be done.
func (s *Scheduler) idleFor() time.Duration {
	sleep := never
	if e := s.queue.first(); e != nil && e.due != never {
		sleep = max(e.due-s.mono(), 0)
	}
	if s.calendars > 0 && !s.stepped { // who steps moves both clocks
		sleep = min(sleep, clockWatch)
	}
	return sleep
}

func offset(now time.Duration, wall time.Time) time.Duration {
	return time.Duration(wall.UnixNano()) - now
}

// followClock makes the calendar slots anew when the wall clock has been
// stepped, was suspended, or has drifted.
func (s *Scheduler) followClock(now time.Duration, wall time.Time) {
	if s.calendars == 0 {
		return
	}
	moved := offset(now, wall) - s.offset
	if moved.Abs() < clockSlack {
		return
	}
	s.offset += moved
	for i := range s.queue.nodes {
		e := s.queue.nodes[i].entry
		if e.pace != 0 || e.hold != Free {
			continue
		}
		if moved < 0 && wall.Before(e.calendar.next) { // what was far ahead may be near: every minute goes on every minute
			e.calendar.aim(now, wall)
		}
		e.slot = e.calendarSlot(now, wall)
		e.settle(now)
	}
	s.queue.init()
}

// collect starts the due jobs that nobody must be asked about, and puts the
// others into s.asked.
func (s *Scheduler) collect(now time.Duration, wall time.Time) {
	s.asked = s.asked[:0]
	for e := s.queue.first(); e != nil && e.due <= now; e = s.queue.first() {
		switch {
		case e.state != idle:
			s.counters.skipped++
			s.advance(e, now, now, wall)
			e.due = e.slot
		case e.tooEarly(wall):
			e.slot = e.calendarSlot(now, wall)
			e.due = e.slot
		case e.stalled(now):
			e.moved = true
			e.due = s.soon(e, now)
		case s.exclude != nil || e.job.ExcludePeriod != nil || e.job.Ready != nil:
			s.asked = append(s.asked, question{entry: e, key: e.job.Key, excluded: e.job.ExcludePeriod, ready: e.job.Ready})
			e.poked = false
			e.due = e.retryAt(now)
		default:
			s.launch(e, now, wall)
		}
		s.queue.fix(e)
	}
}

// tooEarly tells that the monotonic clock was faster than a slewed wall clock.
func (e *entry) tooEarly(wall time.Time) bool {
	return e.pace == 0 && !e.now && e.hold == Free && e.calendar.next.Sub(wall.Round(0)) > time.Millisecond
}

// stalled tells that the whole process has slept for more than an interval: a
// stopped process, a paused virtual machine. Thousands of overdue jobs are then
// spread like first runs. Never true twice in a row, so that an overloaded
// machine still runs the job.
func (e *entry) stalled(now time.Duration) bool {
	return e.pace > 0 && !e.moved && !e.now && e.hold == Free && now-e.slot >= e.pace
}

// A question is a due entry with the functions to be asked about it: a copy, since
// they are called without s.mu while Replace may change the job.
type question struct {
	entry    *entry
	key      string
	excluded func(now time.Time) bool
	ready    func(now time.Time) bool
	hold     Hold // the answer
}

// ask starts those of s.asked that nothing holds back, and returns the time until
// there is something to do.
func (s *Scheduler) ask(exclude func(time.Time) bool, now time.Duration, wall time.Time) time.Duration {
	everyone := exclude != nil && s.answer("", exclude, wall, false)
	for i := range s.asked {
		q := &s.asked[i]
		switch {
		case everyone, q.excluded != nil && s.answer(q.key, q.excluded, wall, false):
			q.hold = Excluded
		case q.ready != nil && !s.answer(q.key, q.ready, wall, true):
			q.hold = NotReady
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.asked {
		s.decide(s.asked[i].entry, s.asked[i].hold, now, wall)
	}
	clear(s.asked) // keeps no removed job alive
	return s.idleFor()
}

// decide holds an entry that was asked, or starts it.
func (s *Scheduler) decide(e *entry, hold Hold, now time.Duration, wall time.Time) {
	switch {
	case e.removed:
		return
	case hold == Free:
		s.launch(e, now, wall)
	default:
		if e.hold == Free {
			s.counters.held++
		}
		e.hold = hold
		if e.poked {
			e.due = now
		}
	}
	s.queue.fix(e)
}

// answer is what f says, or otherwise if it panics.
func (s *Scheduler) answer(key string, f func(time.Time) bool, wall time.Time, otherwise bool) (yes bool) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(key, p)
			yes = otherwise
		}
	}()
	return f(wall)
}

// launch starts a due entry, or puts it in line, and moves it to its next slot.
func (s *Scheduler) launch(e *entry, now time.Duration, wall time.Time) {
	e.want, e.last = e.slot, e.slot
	after := now
	if e.hold != Free || e.now {
		e.want, e.last = now, now
	}
	if e.hold != Free && e.pace > 0 {
		after += e.pace / 2 // not twice in quick succession
	}
	e.ran, e.moved, e.now = true, false, false
	if e.slot <= now {
		s.advance(e, after, now, wall)
	}
	s.free(e)
	e.due = e.slot
	e.lane = s.laneOf(e)
	if !e.lane.free() {
		e.state = waiting
		e.lane.line = append(e.lane.line, e)
		return
	}
	s.start(e, now)
}

// free notes that nothing holds an entry any more.
func (s *Scheduler) free(e *entry) {
	if e.hold != Free {
		e.hold = Free
		s.counters.held--
	}
}

func (s *Scheduler) laneOf(e *entry) *lane {
	if e.job.Process {
		return &s.procs
	}
	return &s.checks
}

// start starts the run that launch made.
func (s *Scheduler) start(e *entry, now time.Duration) {
	var ctx context.Context
	var cancel context.CancelFunc
	if e.job.Deadline > 0 {
		ctx, cancel = context.WithTimeout(s.root, e.job.Deadline)
	} else {
		ctx, cancel = context.WithCancel(s.root)
	}
	late := max(now-e.want, 0)
	s.counters.started++
	s.counters.lateSum += late
	s.counters.lateMax = max(s.counters.lateMax, late)
	e.state, e.cancel = running, cancel
	e.started = now
	e.lane.running++
	s.running.Add(1)
	key, run := e.job.Key, e.job.Run
	if s.stepped {
		s.due = append(s.due, func() { s.work(ctx, e, key, run) })
		return
	}
	go s.work(ctx, e, key, run)
}

// work is the goroutine of one run.
func (s *Scheduler) work(ctx context.Context, e *entry, key string, run func(context.Context)) {
	defer s.running.Done()
	defer s.finish(e)
	defer func() {
		if p := recover(); p != nil {
			s.panicked(key, p)
		}
	}()
	run(ctx)
}

func (s *Scheduler) panicked(key string, value any) {
	stack := debug.Stack()
	s.mu.Lock()
	s.counters.panics++
	s.mu.Unlock()
	s.config.Panicked(key, value, stack)
}

// finish ends a run and gives its place to the one who waits longest.
func (s *Scheduler) finish(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.cancel()
	e.cancel = nil
	e.state = idle
	e.lane.running--
	s.admit(e.lane)
	switch {
	case e.removed:
		close(e.gone)
	case e.again:
		e.again = false
		s.dueNow(e)
		s.rouse()
	}
}

// admit starts who waits, as far as there are places.
func (s *Scheduler) admit(l *lane) {
	if s.root == nil || s.root.Err() != nil {
		return
	}
	for e := l.first(); e != nil; e = l.first() {
		s.start(e, s.mono())
	}
}

// dueNow makes an idle entry due outside of its schedule.
func (s *Scheduler) dueNow(e *entry) {
	e.now = true
	e.due = min(e.due, s.mono())
	s.queue.fix(e)
}
