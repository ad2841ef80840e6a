package moncf

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
)

// blanks are what Perl's \s matches; Go's lacks the vertical tab.
const blanks = " \t\n\v\f\r"

// perl compiles a pattern in which \s and \S, outside of brackets, mean what they
// mean in Perl.
func perl(pattern string) *regexp.Regexp {
	return regexp.MustCompile(strings.NewReplacer(`\s`, `[\s\v]`, `\S`, `[^\s\v]`).Replace(pattern))
}

func isBlank(r rune) bool { return strings.ContainsRune(blanks, r) }

// splitWords is Perl's split(/\s+/) of a text without leading blanks.
func splitWords(text string) []string { return strings.FieldsFunc(text, isBlank) }

// cutWord splits off the first word: Perl's split(/\s+/, text, 2).
func cutWord(text string) (word, rest string) {
	i := strings.IndexFunc(text, isBlank)
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], blanks)
}

// A lineReader joins lines that end in a backslash, and collects comments.
type lineReader struct {
	in       *bufio.Reader
	line     int
	comments []Comment
	// unfinished is the line of a backslash after which the file ends.
	unfinished int
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{in: bufio.NewReader(r)} }

// next returns the next logical line, without comments if it is blank: these are
// for the next item. A comment may stand between joined lines. What is joined to
// nothing, because the file ends, is dropped as mon drops it.
func (r *lineReader) next() (Source, error) {
	var text strings.Builder
	first := 0
	for {
		part, err := r.physical()
		if err != nil {
			if errors.Is(err, io.EOF) && first > 0 {
				r.unfinished = first
			}
			return Source{}, err
		}
		trimmed := strings.Trim(part, blanks)
		if strings.HasPrefix(trimmed, "#") {
			r.comments = append(r.comments, Comment{r.line, trimmed})
			continue
		}
		if first == 0 {
			first = r.line
		} else {
			part = strings.TrimLeft(part, blanks)
		}
		if head, joined := strings.CutSuffix(strings.TrimRight(part, blanks), `\`); joined {
			text.WriteString(head)
			continue
		}
		text.WriteString(part)
		return r.logical(first, strings.Trim(text.String(), blanks)), nil
	}
}

func (r *lineReader) logical(first int, text string) Source {
	l := Source{Line: first, LastLine: r.line, Raw: text}
	if text != "" {
		l.Comments, r.comments = r.comments, nil
	}
	return l
}

// physical returns one line of the file with its end.
func (r *lineReader) physical() (string, error) {
	text, err := r.in.ReadString('\n')
	if text == "" {
		return "", err
	}
	if err != nil && err != io.EOF {
		return "", err
	}
	r.line++
	return text, nil
}
