// Package mon turns a mon.cf into the configuration of monitord: TOML text with
// compat = "mon", the comments beside what they explained, and an account of every
// line of the source. It is the only way in which a mon.cf is run: [Load] imports it
// in memory and loads that text, so that importing a file and running it directly
// are the same thing.
//
// What mon 1.3.6 reads is read as mon reads it (see package moncf), and what old mon
// accepted is taken with a warning. Programs are called as before, by alerts and
// monitors of kind exec; two things alone become something else:
//
//   - lines of lvs.alert become the alert ipvs on virtual services, whose real
//     servers are made of these lines;
//   - heartbeat.alert on the watch of a gateway becomes the gateway of [fence].
package mon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/moncf"
)

// An Imported is a mon.cf as TOML.
type Imported struct {
	// Name is the source's, for messages.
	Name string
	// TOML is the configuration, in UTF-8.
	TOML []byte
	// Lines account for each line of the source that is not blank, in their order.
	Lines []Line
	// Warnings are about what mon accepts, or accepted once, and a person would want to
	// know; by line.
	Warnings []Warning

	// origin is by each line of TOML, from 1, the line of the source; 0 is none.
	origin []int
	source []string
	// idle is the line to blame if nothing is watched, 0 if something is.
	idle int
}

// A Warning is about some lines of the source.
type Warning struct {
	Line     int    `json:"line"`
	LastLine int    `json:"last_line"`
	Text     string `json:"text"`
}

func (w Warning) String() string {
	return moncf.Warning{Line: w.Line, LastLine: w.LastLine, Text: w.Text}.String()
}

// Import turns the text of a mon.cf into TOML. A text for m4 is expanded first, if
// m4 is on the PATH; name is for messages, and its folder is where m4 finds what is
// included. The error is [config.Problems].
func Import(ctx context.Context, name string, text []byte) (*Imported, error) {
	src, err := newSource(ctx, name, text)
	if err != nil {
		return nil, err
	}
	file, err := moncf.ParseTolerant(name, bytes.NewReader(src.text))
	if err != nil {
		return nil, src.refused(err)
	}
	im := newImporter(file, src)
	im.all()
	return im.finish(), nil
}

// A source is a text that moncf can read, and what its lines were before.
type source struct {
	name string
	// written are the lines of the file as people know them, in UTF-8.
	written []string
	text    []byte
	// lines are by each line of text, from 0, its number in written; nil if they are
	// the same.
	lines []int
	// converted are the lines that were no UTF-8.
	converted map[int]bool
	// blanks counts, by each line of text, the blank ones up to it.
	blanks []int
}

func newSource(ctx context.Context, name string, text []byte) (*source, error) {
	s := &source{name: name, converted: map[int]bool{}}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, s.problem(1, "the file is written in UTF-16: save it as UTF-8")
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, s.problem(1+bytes.Count(text[:i], []byte("\n")), "there is a NUL byte: this is no text file")
	}
	var whole strings.Builder
	for line := range bytes.Lines(text) {
		plain, changed := utf8Line(line)
		if changed {
			s.converted[len(s.written)+1] = true
		}
		s.written = append(s.written, strings.TrimRight(plain, "\r\n"))
		whole.WriteString(plain)
	}
	s.text = []byte(whole.String())
	if !Recognise(name, s.text) {
		if line := slices.IndexFunc(s.written, func(l string) bool { return tableLine.MatchString(strings.TrimSpace(l)) }); line >= 0 {
			return nil, s.problem(line+1, "this is no mon.cf: it looks like TOML, which needs no import")
		}
	}
	if at := macros(name, s.written); at > 0 {
		return s, s.expand(ctx, at)
	}
	return s, nil
}

// utf8Line takes a line that is no UTF-8 for ISO 8859-1, which is what people wrote
// when mon was young.
func utf8Line(line []byte) (text string, changed bool) {
	if utf8.Valid(line) {
		return string(line), false
	}
	var b strings.Builder
	for _, c := range line {
		b.WriteRune(rune(c))
	}
	return b.String(), true
}

// apart reports whether there is a blank line between two lines of the text.
func (s *source) apart(a, b int) bool {
	if s.blanks == nil {
		s.blanks = []int{0}
		for line := range bytes.Lines(s.text) {
			n := s.blanks[len(s.blanks)-1]
			if len(bytes.TrimFunc(line, isBlank)) == 0 {
				n++
			}
			s.blanks = append(s.blanks, n)
		}
	}
	return a < b && b < len(s.blanks) && s.blanks[b] > s.blanks[a]
}

// line is the line of the file as people know it.
func (s *source) line(n int) int {
	if s.lines == nil {
		return n
	}
	if n < 1 || n > len(s.lines) {
		return max(len(s.written), 1)
	}
	return s.lines[n-1]
}

func (s *source) problem(line int, format string, args ...any) config.Problems {
	return config.Problems{{File: s.name, Line: line, Column: s.column(line), Message: fmt.Sprintf(format, args...)}}
}

// column is where the text of a line begins.
func (s *source) column(line int) int {
	if line < 1 || line > len(s.written) {
		return 1
	}
	text := s.written[line-1]
	trimmed := strings.TrimLeft(text, " \t")
	if trimmed == "" {
		return 1
	}
	return len(text) - len(trimmed) + 1
}

// noService is what mon says of a line below a watch and above its first service.
const noService = "need to specify service in watch record"

// refused turns mon's error into one with a suggestion.
func (s *source) refused(err error) error {
	bad, ok := errors.AsType[*moncf.Error](err)
	if !ok {
		return s.problem(1, "%v", err)
	}
	message := strings.TrimSpace(bad.Text)
	if bad.Err != nil {
		message += ": " + bad.Err.Error()
	}
	line := s.line(bad.Line)
	return s.problem(line, "mon refuses this: %s%s", oneLine(message), s.advice(bad, line))
}

// advice says what would be right where mon only says what is wrong.
func (s *source) advice(bad *moncf.Error, line int) string {
	if bad.Text == noService && line <= len(s.written) {
		word, _, _ := strings.Cut(strings.Join(strings.Fields(s.written[line-1]), " "), " ")
		return config.DidYouMean(word, []string{"service"}, "below a watch stands first a")
	}
	unknown := func(prefix, suffix string) (string, bool) {
		text, found := strings.CutPrefix(bad.Text, prefix)
		return strings.TrimSuffix(text, suffix), found
	}
	if text, ok := unknown("unknown syntax [", "]"); ok {
		word := text
		if i := strings.IndexAny(text, " \t"); i > 0 {
			word = text[:i]
		}
		switch {
		case isTemplate(text):
			return ": this is a template: have it filled in first, and import the result"
		case slices.Contains(moncf.PeriodKeywords(), word):
			return fmt.Sprintf(": %s belongs below a \"period\"", word)
		case slices.Contains(moncf.ServiceKeywords(), word):
			return fmt.Sprintf(": %s belongs before the first \"period\" of the service", word)
		}
		return config.DidYouMean(word, slices.Concat(moncf.ServiceKeywords(), moncf.PeriodKeywords()), "the keywords are")
	}
	if word, ok := unknown("unknown variable '", "'"); ok {
		return config.DidYouMean(word, moncf.Globals(), "they are")
	}
	return ""
}

// oneLine keeps a message in its line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
