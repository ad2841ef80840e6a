package wording

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// IsControl reports whether r has no place in a line of text.
func IsControl(r rune) bool {
	// The two separators end a line for some readers.
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// OneLine returns s as valid UTF-8 without control characters, runs of white
// space made one blank.
func OneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Plain returns s as valid UTF-8 with lines ending in "\n" and no control
// character but these and tabs: no escape sequence reaches somebody's terminal,
// and no NUL, which servers refuse, a server.
func Plain(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// Clip shortens s to at most limit characters.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	seen, last := 0, 0 // characters before i; where the character before them ends
	for i := range s {
		if seen == limit {
			return s[:last] + "…"
		}
		last = i
		seen++
	}
	return s
}

// spell writes a duration for people: its two biggest units.
func spell(d time.Duration) string {
	d = d.Round(time.Second)
	if d < 0 {
		return ""
	}
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.size, u.name)
		if i+1 < len(units) {
			if rest := d % u.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf(" %d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}
