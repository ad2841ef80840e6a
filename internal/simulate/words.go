package simulate

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A word of a line, with its place: the column counts characters from 1, offset and
// end count bytes from 0.
type word struct {
	text        string
	column      int
	offset, end int
	quoted      bool
}

// split takes a line apart. A word in double quotes may hold blanks, and \n and the
// like as in Go; a word that begins with # starts a comment. The complaint, about
// the last word, is empty if all is well.
func split(line string) (words []word, complaint string) {
	if !utf8.ValidString(line) {
		return []word{{column: 1}}, "the line is not UTF-8"
	}
	rest, offset, column := strings.TrimRight(line, "\r\n"), 0, 1
	skip := func(n int) string {
		taken := rest[:n]
		rest, offset, column = rest[n:], offset+n, column+utf8.RuneCountInString(taken)
		return taken
	}
	for {
		skip(len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace)))
		if rest == "" || rest[0] == '#' {
			return words, ""
		}
		w := word{column: column, offset: offset}
		if rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return append(words, w), "the quote is not closed, or holds an escape that is none: write \\\\ for a backslash"
			}
			w.text, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
			w.quoted = true
			skip(len(quoted))
		} else {
			end := strings.IndexFunc(rest, unicode.IsSpace)
			if end < 0 {
				end = len(rest)
			}
			w.text = skip(end)
		}
		w.end = offset
		words = append(words, w)
	}
}

// Forms of times, as they are written for people.
const (
	clock       = "15:04:05"
	dated       = "Mon 2006-01-02 15:04:05"
	minuteDated = "2006-01-02 15:04"
)

// dayTimes are the forms of a time of the day.
var dayTimes = []string{"15:04", "15:04:05", "15:04:05.999999999"}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// time reads the time at the beginning of a line, and returns the words behind it.
// before is the moment that it comes after.
func (p *parser) time(words []word, before time.Time) (at time.Time, rest []word, ok bool) {
	first := words[0]
	if d, relative, ok := p.after(first); relative {
		return before.Add(d), words[1:], ok
	}
	if at, err := time.Parse(time.RFC3339Nano, first.text); err == nil {
		return at.In(p.zone), words[1:], true
	}
	day, rest, named := before.In(p.zone), words[1:], false
	weekday, isWeekday := weekdayOf(first.text)
	if date, err := time.ParseInLocation(time.DateOnly, first.text, p.zone); err == nil {
		day, named = date, true
	} else if isWeekday {
		day, named = day.AddDate(0, 0, (int(weekday)-int(day.Weekday())+7)%7), true
	}
	clock := first
	if named {
		if len(rest) == 0 {
			p.blame(first, "a time of the day has to follow %q, like \"02:00\"", first.text)
			return at, nil, false
		}
		clock, rest = rest[0], rest[1:]
	}
	of, ok := dayTime(clock.text)
	if !ok {
		p.blame(clock, "%q is no time: write 02:00, 02:00:30, +90s, \"Sun 02:00\" or \"2026-11-22 02:00\"", clock.text)
		return at, nil, false
	}
	at = time.Date(day.Year(), day.Month(), day.Day(), of.Hour(), of.Minute(), of.Second(), of.Nanosecond(), p.zone)
	if isWeekday && at.Before(before) {
		at = at.AddDate(0, 0, 7)
	}
	if at.Hour() != of.Hour() || at.Minute() != of.Minute() {
		p.blame(clock, "there is no %q on %s in %s: the clocks are put forward then", clock.text, at.Format(time.DateOnly), p.zone)
		return at, nil, false
	}
	return at, rest, true
}

// weekdayOf reads the name of a day, or its beginning: "Sun", "sunday".
func weekdayOf(text string) (time.Weekday, bool) {
	text = strings.ToLower(text)
	day, ok := weekdays[text[:min(3, len(text))]]
	return day, ok && strings.HasPrefix(strings.ToLower(day.String()), text)
}

func dayTime(text string) (time.Time, bool) {
	for _, form := range dayTimes {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// after reads +90s.
func (p *parser) after(w word) (d time.Duration, relative, ok bool) {
	text, relative := strings.CutPrefix(w.text, "+")
	if !relative {
		return 0, false, false
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		p.blame(w, "%q is no time after another: write +90s, +5m or +1h30m", w.text)
		return 0, true, false
	}
	return d, true, true
}
