package schedule

import (
	"fmt"
	"time"
)

// A Hold tells why a due job has not been started.
type Hold int

// The holds.
const (
	Free     Hold = iota // nothing holds it
	Excluded             // by the job's or the plan's ExcludePeriod
	NotReady             // by Ready
)

func (h Hold) String() string {
	switch h {
	case Free:
		return "free"
	case Excluded:
		return "excluded"
	case NotReady:
		return "not ready"
	}
	return fmt.Sprintf("hold %d", int(h))
}

// A Status is what is known about one job.
type Status struct {
	// Interval is the one in force; 0 for a job that goes by the calendar.
	Interval time.Duration
	// Next is when the job is due next: in the past for one that is held, zero
	// for never.
	Next time.Time
	// LastStart is zero before the first run.
	LastStart time.Time
	Running   bool
	Waiting   bool // due, but MaxProcs or MaxChecks is reached
	Hold      Hold
}

// Bounded counts one of the two sorts of runs.
type Bounded struct {
	Limit   int `json:"limit"` // 0: none
	Running int `json:"running"`
	Waiting int `json:"waiting"`
}

// Stats count since New.
type Stats struct {
	Jobs    int     `json:"jobs"`
	Procs   Bounded `json:"procs"`
	Checks  Bounded `json:"checks"`
	Held    int     `json:"held"`    // jobs that are due but held back now
	Started uint64  `json:"started"` // runs
	Skipped uint64  `json:"skipped"` // times dropped: the job was running, waiting, or the daemon late
	Panics  uint64  `json:"panics"`
	// LateMax and LateSum are the largest and total delay from a run's due
	// time (or the end of what held it) to its start; LateSum/Started is the
	// mean.
	LateMax time.Duration `json:"late_max_ns"`
	LateSum time.Duration `json:"late_sum_ns"`
}

type counters struct {
	held                     int
	started, skipped, panics uint64
	lateMax, lateSum         time.Duration
}

// Stats returns the counters.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counters
	return Stats{
		Jobs:    len(s.entries),
		Procs:   s.procs.bounded(),
		Checks:  s.checks.bounded(),
		Held:    c.held,
		Started: c.started,
		Skipped: c.skipped,
		Panics:  c.panics,
		LateMax: c.lateMax,
		LateSum: c.lateSum,
	}
}

// Status tells about one job; false if there is no such job.
func (s *Scheduler) Status(key string) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return Status{}, false
	}
	st := Status{
		Interval: e.pace,
		Running:  e.state == running,
		Waiting:  e.state == waiting,
		Hold:     e.hold,
	}
	now, wall := s.mono(), s.config.Wall()
	if e.slot != never {
		st.Next = wall.Add(e.slot - now)
	}
	if e.started >= 0 {
		st.LastStart = wall.Add(e.started - now)
	}
	return st, true
}
