package monprog

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		" \n\t":                          "",
		"  a\tb \r\n c ":                 "a b c",
		"nul\x00 esc\x1b[2J \xff\xfe":    "nul? esc?[2J ??",
		"größe — 日本":                     "größe — 日本",
		strings.Repeat("x", 19):          strings.Repeat("x", 19),
		strings.Repeat("ä", 30):          strings.Repeat("ä", 19) + "…",
		strings.Repeat("x", 18) + " yyy": strings.Repeat("x", 18) + "…",
	} {
		if got := Line(text, 20); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x00b\xff c\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := Line(text, 20)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 20 || strings.ContainsAny(got, "\r\n\x00") || got != strings.TrimSpace(got) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
