package monprog

import (
	"strings"
	"unicode"
)

// Line makes a printable line, of at most limit characters, of what a program
// printed: runs of white space become a blank, bytes that are not UTF-8 and
// control characters a question mark.
func Line(text string, limit int) string {
	var line strings.Builder
	length, blank := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) {
			blank = length > 0
			continue
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		if blank {
			line.WriteByte(' ')
			length++
		}
		if length >= limit-1 {
			return strings.TrimRight(line.String(), " ") + "…"
		}
		line.WriteRune(r)
		length, blank = length+1, false
	}
	return line.String()
}
