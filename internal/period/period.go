// Package period is the language in which mon says when something applies, that
// of Perl's Time::Period 1.25: "wd {Mon-Fri} hr {9am-5pm}, wd {Sat}".
//
// A period is a list of sub-periods separated by commas; it contains a time that
// one of them contains. A sub-period is one or more scales with their ranges in
// braces. Different scales must all contain the time; of the ranges of a scale
// (also when it is written twice) one is enough. White space and case do not
// count. The empty text is every time, "none" is no time.
//
//	year    yr   0-99 (of the present century) or from 1970; does not wrap
//	month   mo   1-12 or jan, feb ... (only the first three letters count)
//	week    wk   1-6, the rows of a calendar whose weeks begin on Sunday
//	yday    yd   1-366
//	mday    md   1-31
//	wday    wd   1-7 from Sunday, or su, mo ... (only the first two letters count)
//	hour    hr   0-23 or 12am, 1am-11am, 12noon, 12pm, 1pm-11pm
//	minute  min  0-59
//	second  sec  0-59
//
// A range is a value or two with a dash between, both included: hr {9am-5pm} ends
// with 17:59:59. If the first is the larger the range wraps: wd {Fri-Mon}.
//
// Time::Period looks at one sub-period after the other and stops at the first
// that contains the time, so that it finds a mistake in a later one only at some
// times. Here every mistake is found by [Parse]. One accident is not kept either:
// that yd {5x} is taken for yd {5}.
package period

import (
	"strings"
	"time"
)

// A Period is a set of times, given by year, month, weekday, hour and so on. The
// zero value contains every time.
type Period struct {
	spec       string
	restricted bool // by subs, of which there are none in "none"
	subs       []subPeriod
}

// A subPeriod has one entry for each scale that it names.
type subPeriod []scaleRanges

type scaleRanges struct {
	scale  scale
	ranges []span
}

// A span is a range of values as written, both ends included.
type span struct{ first, last int }

// String returns the period as it was written, without the blanks around it.
func (p Period) String() string { return p.spec }

// Equal reports whether two periods are written alike, whatever their case.
func (p Period) Equal(q Period) bool { return strings.EqualFold(p.spec, q.spec) }

// Contains reports whether t is in the period. Its hour, weekday and so on are
// those of t's own location.
func (p Period) Contains(t time.Time) bool {
	if !p.restricted {
		return true
	}
	now := readingOf(t)
	for _, sub := range p.subs {
		if sub.contains(now) {
			return true
		}
	}
	return false
}

func (s subPeriod) contains(now reading) bool {
	for _, sr := range s {
		if !sr.contains(now) {
			return false
		}
	}
	return true
}

func (sr scaleRanges) contains(now reading) bool {
	v := now[sr.scale]
	for _, r := range sr.ranges {
		if sr.scale == year {
			r = r.inCentury(v / 100 * 100)
		}
		if r.contains(v) {
			return true
		}
	}
	return false
}

func (r span) contains(v int) bool {
	if r.first > r.last {
		return v >= r.first || v <= r.last
	}
	return r.first <= v && v <= r.last
}

// inCentury resolves years of two digits. Time::Period takes the century from
// the time that it looks at, and turns a reversed range around: 99-72 is 2072 to
// 2099 for a time in this century.
func (r span) inCentury(century int) span {
	if r.first <= 99 {
		r.first += century
	}
	if r.last <= 99 {
		r.last += century
	}
	return span{min(r.first, r.last), max(r.first, r.last)}
}

// Next returns a time after t until which Contains does not change: what it says
// of t it says of every moment before the returned one. That is the next second,
// minute, hour or midnight, whichever is the finest that the period looks at, or
// the next change of the clocks if that is earlier; whether Contains does change
// there is for the caller to ask. ok is false if it never changes.
func (p Period) Next(t time.Time) (next time.Time, ok bool) {
	step := p.step()
	if step == 0 {
		return time.Time{}, false
	}
	// Between two changes of the offset from UTC the clock on the wall runs
	// evenly, and plain arithmetic is exact.
	clock := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
		time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	next = t.Add(step - clock%step)
	if _, change := t.ZoneBounds(); !change.IsZero() && change.Before(next) {
		next = change.In(t.Location())
	}
	return next, true
}

// step is the finest unit that any sub-period looks at; 0 if there is none.
func (p Period) step() time.Duration {
	var finest time.Duration
	for _, sub := range p.subs {
		for _, sr := range sub {
			if s := scales[sr.scale].step; finest == 0 || s < finest {
				finest = s
			}
		}
	}
	return finest
}
