package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// clockSlack is how far wall and monotonic clock may drift apart before
	// calendar slots are made anew: a slewing NTP daemon reaches it in 100 s.
	clockSlack = 50 * time.Millisecond
	// correction is the step back from which on the clock was plainly wrong
	// before.
	correction = 24 * time.Hour
)

// A Calendar is a cron schedule with cron(8)'s care for summer time.
type Calendar struct{ Schedule cron.Schedule }

// Next returns the first time after another, in its location; zero if there is none.
func (c Calendar) Next(after time.Time) time.Time { return nextTime(c.Schedule, after) }

// A calendar is a cron job's place on the wall clock.
type calendar struct {
	schedule cron.Schedule
	next     time.Time     // zero: never
	last     time.Time     // the time that the last run was for; zero: none yet
	lastMono time.Duration // when that run was due
}

// aim sets next to the first time after wall that is to be served.
func (c *calendar) aim(now time.Duration, wall time.Time) {
	after := wall
	if !c.last.IsZero() && wall.Before(c.last) {
		after = c.repeatable(now, wall)
	}
	c.next = nextTime(c.schedule, after)
}

// repeatable returns the time after which slots count again, for a wall clock
// that has been set back behind the last run.
func (c *calendar) repeatable(now time.Duration, wall time.Time) time.Time {
	if c.last.Sub(wall) > correction {
		c.last = time.Time{}
		return wall
	}
	following := nextTime(c.schedule, c.last)
	if following.IsZero() {
		return c.last
	}
	spacing := following.Sub(c.last)
	rested := wall.Add(spacing - (now - c.lastMono) - 2*clockSlack)
	switch {
	case rested.Before(wall):
		return wall
	case rested.Before(c.last):
		return rested
	default:
		return c.last
	}
}

// serve notes that a run is made for next, and aims at the one after it.
func (c *calendar) serve(now time.Duration, wall time.Time) {
	c.last, c.lastMono = c.next, now
	if wall.Before(c.next) { // a hair too early: not twice for one time
		wall = c.next
	}
	c.next = nextTime(c.schedule, wall)
}

// nextTime is schedule.Next with cron(8)'s care for summer time, in the location
// of after. A schedule with a time zone of its own (CRON_TZ=) is not affected.
func nextTime(schedule cron.Schedule, after time.Time) time.Time {
	after = after.Round(0) // wall time only
	next := schedule.Next(after)
	for again := true; again && !next.IsZero(); {
		next, again = unrepeated(schedule, next)
	}
	// The transitions between after and next may have left times out.
	for t := after; ; {
		_, change := t.ZoneBounds()
		if change.IsZero() || (!next.IsZero() && next.Before(change)) || change.Year() > after.Year()+5 {
			return next
		}
		if lost := leftOut(schedule, change); !lost.IsZero() && (next.IsZero() || lost.Before(next)) {
			return lost.In(after.Location())
		}
		t = change
	}
}

// unrepeated passes over a time in the second round of a repeated hour, unless
// it is there by the clock that was not set back, too. It may be called again
// with what it found.
func unrepeated(schedule cron.Schedule, next time.Time) (time.Time, bool) {
	change, _ := next.ZoneBounds()
	if change.IsZero() {
		return next, false
	}
	back := shift(change)
	if back >= 0 || next.Sub(change) >= -back {
		return next, false
	}
	if byOldClock(schedule, change, next.Add(-1)).Equal(next) {
		return next, false
	}
	return schedule.Next(next), true
}

// leftOut returns the first time that schedule has in the hour that change
// leaves out, on the clock that was not set forward; zero if there is none.
func leftOut(schedule cron.Schedule, change time.Time) time.Time {
	forward := shift(change)
	if forward <= 0 {
		return time.Time{}
	}
	lost := byOldClock(schedule, change, change.Add(-1))
	if lost.IsZero() || lost.Sub(change) >= forward {
		return time.Time{}
	}
	return lost
}

// shift is how much the clock is set forward at change.
func shift(change time.Time) time.Duration {
	_, before := change.Add(-1).Zone()
	_, after := change.Zone()
	return time.Duration(after-before) * time.Second
}

// byOldClock is schedule.Next as if the clock had not been changed.
func byOldClock(schedule cron.Schedule, change, after time.Time) time.Time {
	name, seconds := change.Add(-1).Zone()
	return schedule.Next(after.In(time.FixedZone(name, seconds)))
}
