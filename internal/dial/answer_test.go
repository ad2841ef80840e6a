package dial_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/monitord/monitord/internal/dial"
)

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
