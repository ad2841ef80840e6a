package moncf

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestQuoteWordsUndoesQuoting: words quoted in any way that Perl knows come back.
func TestQuoteWordsUndoesQuoting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-c\\"' \t;é]{0,6}`), 1, 5).Draw(t, "words")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, quote(t, w))
		}
		text := strings.Join(quoted, rapid.StringMatching(`[ \t\v]{1,3}`).Draw(t, "blanks"))
		got := QuoteWords(text)
		if !slices.Equal(got.Words, words) || got.Undefined || got.Unbalanced {
			t.Fatalf("QuoteWords(%s): got %q, want %q", text, got.Words, words)
		}
	})
}

func quote(t *rapid.T, word string) string {
	var b strings.Builder
	for _, r := range word {
		switch special := strings.ContainsRune(`\"' `+"\t", r); {
		case special || rapid.Bool().Draw(t, "backslash"):
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	if word == "" || rapid.Bool().Draw(t, "quotes") {
		return `"` + b.String() + `"`
	}
	return b.String()
}

func TestQuoteWordsOfNothing(t *testing.T) {
	if got := QuoteWords(""); got.Words != nil || got.Undefined || got.Unbalanced {
		t.Errorf("got %+v", got)
	}
}

func FuzzQuoteWords(f *testing.F) {
	for _, text := range []string{"", " a b ", `"a b" c`, `it's`, `a\`, `"\n" '\n' \n`, "'\\''"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := QuoteWords(text)
		if got.Unbalanced && got.Words != nil || got.Undefined && got.Words[len(got.Words)-1] != "" {
			t.Fatalf("QuoteWords(%q): got %+v", text, got)
		}
		if strings.ContainsAny(text, `\"'`) || got.Undefined || strings.TrimLeft(text, blanks) != text {
			return
		}
		if plain := splitWords(text); !slices.Equal(plain, got.Words) {
			t.Fatalf("QuoteWords(%q): got %q, want %q", text, got.Words, plain)
		}
	})
}
