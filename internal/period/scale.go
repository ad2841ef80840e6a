package period

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A scale is a hand of the clock or a leaf of the calendar.
type scale int

const (
	year scale = iota
	month
	week
	yday
	mday
	wday
	hour
	minute
	second
	numScales
)

// A scaleRule says what may be written for a scale.
type scaleRule struct {
	long, code  string
	first, last int
	names       []string // of the values from first on, cut to the letters that count
	accepts     string   // for the error message
	step        time.Duration
}

const day = 24 * time.Hour

var scales = [numScales]scaleRule{
	year:   {"year", "yr", 0, math.MaxInt, nil, "0-99 or a year from 1970", day},
	month:  {"month", "mo", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}, "1-12 or jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov, dec", day},
	week:   {"week", "wk", 1, 6, nil, "1-6", day},
	yday:   {"yday", "yd", 1, 366, nil, "1-366", day},
	mday:   {"mday", "md", 1, 31, nil, "1-31", day},
	wday:   {"wday", "wd", 1, 7, []string{"su", "mo", "tu", "we", "th", "fr", "sa"}, "1-7 (1 is Sunday) or su, mo, tu, we, th, fr, sa", day},
	hour:   {"hour", "hr", 0, 23, nil, "0-23 or 12am, 1am-11am, 12noon, 12pm, 1pm-11pm", time.Hour},
	minute: {"minute", "min", 0, 59, nil, "0-59", time.Minute},
	second: {"second", "sec", 0, 59, nil, "0-59", time.Second},
}

// scaleNamed finds a scale by its name or code, in lower case.
func scaleNamed(word string) (scale, bool) {
	for s, rule := range scales {
		if word == rule.long || word == rule.code {
			return scale(s), true
		}
	}
	return 0, false
}

// value reads one value of a scale, in lower case.
func (s scale) value(word string) (int, bool) {
	rule := scales[s]
	if rule.names != nil && strings.ContainsAny(word, "abcdefghijklmnopqrstuvwxyz") {
		letters := len(rule.names[0])
		i := slices.Index(rule.names, word[:min(letters, len(word))])
		return rule.first + i, i >= 0
	}
	v, ok := number(word)
	if s == hour {
		v, ok = hourValue(word)
	}
	if s == year && v > 99 && v < 1970 {
		return 0, false
	}
	return v, ok && rule.first <= v && v <= rule.last
}

// hourValue reads 0-23 and the forms with am, pm and noon. As in Time::Period
// 0am is 0, 13am is 13, and 0pm is 12.
func hourValue(word string) (int, bool) {
	digits := strings.TrimRight(word, "amnop")
	v, ok := number(digits)
	switch word[len(digits):] {
	case "":
		return v, ok
	case "am":
		if v == 12 {
			v = 0
		}
		return v, ok
	case "pm":
		if v < 12 {
			v += 12
		} else if v > 12 {
			ok = false
		}
		return v, ok
	case "noon":
		return v, ok && v == 12
	}
	return 0, false
}

// number reads decimal digits. One too long for an int is the largest int: out
// of every range but that of the years.
func number(word string) (int, bool) {
	if word == "" || strings.Trim(word, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.Atoi(word)
	if err != nil {
		v = math.MaxInt
	}
	return v, true
}

// A reading is a time in the numbers that ranges are compared with.
type reading [numScales]int

func readingOf(t time.Time) reading {
	// The first of the month is on this weekday, 0 for Sunday; the rest of its
	// row in the calendar belongs to the month before.
	ofFirst := (int(t.Weekday()) - (t.Day() - 1) + 35) % 7
	var r reading
	r[year] = t.Year()
	r[month] = int(t.Month())
	r[week] = (t.Day()-1+ofFirst)/7 + 1
	r[yday] = t.YearDay()
	r[mday] = t.Day()
	r[wday] = int(t.Weekday()) + 1
	r[hour] = t.Hour()
	r[minute] = t.Minute()
	r[second] = t.Second()
	return r
}
