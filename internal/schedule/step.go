package schedule

import (
	"context"
	"time"
)

// Begin is for a caller who lets the time pass himself, by his own clocks in
// [Config]: call it once instead of [Scheduler.Run], and then Step at each moment
// that Step names. Everything is due when Run would have it due; but runs take no
// time, and follow one another in the caller's goroutine.
func (s *Scheduler) Begin(ctx context.Context) {
	s.mu.Lock()
	s.stepped = true
	s.mu.Unlock()
	s.place(ctx)
}

// Step makes the runs that are due at this moment, and returns how long there is
// nothing to do; ok is false if that is for ever.
func (s *Scheduler) Step() (idle time.Duration, ok bool) {
	for {
		select {
		case <-s.wake:
		default:
		}
		idle = s.pass()
		s.mu.Lock()
		due := s.due
		s.due = nil
		s.mu.Unlock()
		for _, run := range due {
			run()
		}
		if len(due) == 0 && len(s.wake) == 0 {
			return idle, idle != never
		}
	}
}
