package moncf

import (
	"math"
	"strconv"
	"strings"
	"time"
)

var timeval = perl(`^\s*([0-9]+(?:\.[0-9]+)?)([dhms])\s*$`)

var timevalUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// Timeval reads mon's time intervals: a number, also with a fraction, and one of
// s, m, h, d in either case. What is longer than the longest Duration (292 years)
// is that.
func Timeval(text string) (d time.Duration, ok bool) {
	m := timeval.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	length := n * float64(timevalUnits[m[2]])
	if err != nil || length >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(length), true
}

// positive reads an interval that must not be zero. If it cannot, shown is what
// mon's message quotes: not the text, which mon has overwritten by then, but
// nothing, or "0" for a zero. (mon fails to notice the zero of "00s" and "0.0s",
// which are refused here.)
func positive(text string) (d time.Duration, shown string, ok bool) {
	d, ok = Timeval(text)
	if !ok {
		return 0, "", false
	}
	if d == 0 {
		return 0, "0", false
	}
	return d, "", true
}
