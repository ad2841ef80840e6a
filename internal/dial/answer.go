package dial

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Excerpt quotes the end of what a host said, at most limit bytes of it, for a
// reason that people read.
func Excerpt(text []byte, limit int) string {
	if len(text) <= limit {
		return strconv.Quote(string(text))
	}
	end := text[len(text)-limit:]
	for len(end) > 0 && !utf8.RuneStart(end[0]) {
		end = end[1:]
	}
	return "..." + strconv.Quote(string(end))
}

// Clean makes a host's own words fit for a line of a mail or a terminal: no
// control characters, at most limit bytes.
func Clean(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
