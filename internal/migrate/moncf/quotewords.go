package moncf

import "strings"

// A Split is the result of [QuoteWords].
type Split struct {
	Words []string
	// Undefined marks the last word as undefined in Perl, which comes of blanks at
	// the end of the text. As an argument of a program it is empty.
	Undefined bool
	// Unbalanced marks a quote or a backslash without its fellow; there are then
	// no words at all.
	Unbalanced bool
}

// QuoteWords splits a text into words as Perl's quotewords('\s+', 0, text) does:
// at blanks outside of quotes, without quotes and backslashes. Inside single
// quotes a backslash stays; "\" before a blank or a quote takes away its meaning.
// Blanks at the start give an empty first word.
func QuoteWords(text string) Split {
	var s Split
	var word strings.Builder
	for rest := text; rest != ""; {
		piece, after, ok := nextPiece(rest)
		if !ok {
			return Split{Unbalanced: true}
		}
		word.WriteString(piece)
		rest = strings.TrimLeft(after, blanks)
		// A quoted piece never ends a word by itself: blanks after it are found
		// as an empty piece before them.
		if rest != after || rest == "" {
			s.Words = append(s.Words, word.String())
			word.Reset()
			if rest == "" && rest != after {
				s.Words, s.Undefined = append(s.Words, ""), true
			}
		}
	}
	return s
}

// nextPiece reads a quoted string, or what is before the next blank or quote.
func nextPiece(text string) (piece, after string, ok bool) {
	if quote := text[0]; quote == '"' || quote == '\'' {
		end := endOf(text[1:], string(quote))
		if end < 0 || end == len(text)-1 {
			return "", "", false
		}
		piece, after = text[1:1+end], text[2+end:]
		if quote == '"' {
			piece = unescape(piece)
		}
		return piece, after, true
	}
	end := endOf(text, blanks+`"'`)
	if end < 0 {
		return "", "", false
	}
	return unescape(text[:end]), text[end:], true
}

// endOf returns the place of the first of the bytes stop that has no backslash
// before it, len(text) if there is none, and -1 if text ends in a backslash of
// its own.
func endOf(text, stop string) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 == len(text):
			return -1
		case text[i] == '\\':
			i++
		case strings.IndexByte(stop, text[i]) >= 0:
			return i
		}
	}
	return len(text)
}

// unescape removes backslashes, but for those that follow one.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
