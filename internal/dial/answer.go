package dial

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrTooLong is what [Await] returns when the limit is reached without a match.
var ErrTooLong = errors.New("too long")

// Await reads until match accepts all that was read so far, and returns that. It
// looks at the text after each read, so an answer may come in any pieces. The
// error is [ErrTooLong] after limit bytes, io.EOF when the other side closed
// first, or the reader's own; the text read until then is returned with it.
func Await(r io.Reader, limit int, match func(text []byte) bool) ([]byte, error) {
	text := make([]byte, 0, min(limit, 4096))
	piece := make([]byte, min(limit, 4096))
	for len(text) < limit {
		n, err := r.Read(piece[:min(len(piece), limit-len(text))])
		text = append(text, piece[:n]...)
		if n > 0 && match(text) {
			return text, nil
		}
		if err != nil {
			return text, err
		}
	}
	return text, ErrTooLong
}

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
