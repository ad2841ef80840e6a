package dial_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/monitord/monitord/internal/dial"
)

func TestAwait(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		from  io.Reader
		limit int
		text  string
		err   error
	}{
		{"at once", strings.NewReader("220 ready"), 100, "220 ready", nil},
		{"in pieces", iotest.OneByteReader(strings.NewReader("220 ready\r\n")), 100, "220 ready", nil},
		{"with its end", iotest.DataErrReader(strings.NewReader("220 ready")), 100, "220 ready", nil},
		{"closed", strings.NewReader("220 re"), 100, "220 re", io.EOF},
		{"closed at once", strings.NewReader(""), 100, "", io.EOF},
		{"broken", io.MultiReader(strings.NewReader("220"), iotest.ErrReader(broken)), 100, "220", broken},
		{"match at the limit", strings.NewReader("220 ready and more"), 9, "220 ready", nil},
		{"beyond the limit", strings.NewReader("220 ready"), 8, "220 read", dial.ErrTooLong},
		{"large", strings.NewReader(strings.Repeat("x", 1<<20)), 10000, strings.Repeat("x", 10000), dial.ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := dial.Await(c.from, c.limit, func(b []byte) bool { return bytes.Contains(b, []byte("ready")) })
			if string(text) != c.text || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("got %.50q, %v, want %.50q, %v", text, err, c.text, c.err)
			}
		})
	}
}

func TestExcerptAndClean(t *testing.T) {
	if got, want := dial.Excerpt([]byte("a\x1b[31m\n"), 20), `"a\x1b[31m\n"`; got != want {
		t.Errorf("Excerpt: got %s, want %s", got, want)
	}
	if got, want := dial.Excerpt([]byte("0123456äbc"), 3), `..."bc"`; got != want {
		t.Errorf("Excerpt of a split rune: got %s, want %s", got, want)
	}
	if got, want := dial.Clean("a\x1b[31m\r\nb\tc", 20), "a [31m  b c"; got != want {
		t.Errorf("Clean: got %q, want %q", got, want)
	}
	if got, want := dial.Clean("0123ä", 5), "0123..."; got != want {
		t.Errorf("Clean of a split rune: got %q, want %q", got, want)
	}
	if got := dial.Clean(strings.Repeat("ä\xff", 1000), 100); len(got) > 160 || !utf8.ValidString(got) {
		t.Errorf("Clean of a long text: got %d bytes", len(got))
	}
}
