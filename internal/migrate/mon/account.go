package mon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/moncf"
)

// A Fate is what became of a line.
type Fate string

// The fates. A comment that was kept is carried.
const (
	Carried    Fate = "carried"
	Changed    Fate = "changed"
	NotCarried Fate = "not carried"
)

// A Line accounts for a line of the source.
type Line struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	Fate Fate   `json:"fate"`
	// Why says how it changed, or why it is not carried and what there is instead.
	Why string `json:"why,omitempty"`
	// Suggestion is what a person may want to do with it.
	Suggestion string `json:"suggestion,omitempty"`
	// TOML are the lines that it became, from 1.
	TOML []int `json:"toml,omitempty"`
}

// A row is a line of the TOML.
type row struct {
	text string
	// from and to are the lines of moncf's text, 0 for none.
	from, to int
	// number is set when all rows are known.
	number int
}

func (r *row) isComment() bool { return strings.HasPrefix(strings.TrimLeft(r.text, " "), "#") }

// A section is a part of the TOML.
type section struct{ rows []*row }

func (s *section) add(from int, text string) *row {
	r := &row{text: text, from: from, to: from}
	s.rows = append(s.rows, r)
	return r
}

// A note is the account of a line, while it is made.
type note struct {
	fate       Fate
	why        []string
	suggestion string
	rows       []*row
	comment    bool
}

// An account has a note for each line of moncf's text.
type account map[int]*note

func (a account) note(line int) *note {
	if a[line] == nil {
		a[line] = &note{fate: Carried}
	}
	return a[line]
}

// carry notes that the lines of an item became rows.
func (a account) carry(src moncf.Source, rows ...*row) {
	for line := src.Line; line <= src.LastLine; line++ {
		n := a.note(line)
		n.rows = append(n.rows, rows...)
	}
}

// change notes that an item became something else than it was; the rows come by
// carry.
func (a account) change(src moncf.Source, format string, args ...any) {
	a.say(src, Changed, fmt.Sprintf(format, args...))
}

// drop notes that nothing became of an item.
func (a account) drop(src moncf.Source, format string, args ...any) {
	a.say(src, NotCarried, fmt.Sprintf(format, args...))
}

// remark adds to what is said of an item, whatever became of it.
func (a account) remark(src moncf.Source, format string, args ...any) {
	a.say(src, "", fmt.Sprintf(format, args...))
}

func (a account) say(src moncf.Source, fate Fate, why string) {
	for line := src.Line; line <= src.LastLine; line++ {
		n := a.note(line)
		// A line of which anything is carried is not lost.
		if fate == Changed || fate == NotCarried && len(n.rows) == 0 {
			n.fate = fate
		} else if fate == NotCarried {
			n.fate = Changed
		}
		if !slices.Contains(n.why, why) {
			n.why = append(n.why, why)
		}
	}
}

func (a account) suggest(src moncf.Source, text string) { a.note(src.Line).suggestion = text }

// finish numbers the rows and closes the account.
func (im *importer) finish() *Imported {
	out := &Imported{Name: im.src.name, origin: []int{0}, source: im.src.written}
	var text strings.Builder
	for _, s := range im.sections() {
		if len(s.rows) == 0 {
			continue
		}
		if len(out.origin) > 1 {
			out.origin = append(out.origin, 0)
			text.WriteByte('\n')
		}
		for _, r := range im.spaced(s) {
			text.WriteString(r.text)
			text.WriteByte('\n')
			r.number = len(out.origin)
			from := 0
			if r.from > 0 {
				from = im.src.line(r.from)
			}
			out.origin = append(out.origin, from)
		}
	}
	out.TOML = []byte(text.String())
	out.idle = im.idle()
	im.warnings(out)
	im.account.lines(out, im.src)
	return out
}

// spaced returns the rows with a blank line before and after comments where the
// source has blank lines, and in settings wherever it has some.
func (im *importer) spaced(s *section) []*row {
	settings := s == &im.global || s == &im.rest
	var rows []*row
	for i, r := range s.rows {
		if i > 0 {
			before := s.rows[i-1]
			about := settings || before.isComment() || s == &im.groups && r.isComment()
			if about && before.from > 0 && im.src.apart(before.to, r.from) {
				rows = append(rows, &row{})
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// idle is the first line that is no part of a watch, if there is no service at all.
func (im *importer) idle() int {
	for _, w := range im.file.Watches {
		if len(w.Services) > 0 {
			return 0
		}
	}
	if len(im.file.Ignored) > 0 {
		return im.src.line(im.file.Ignored[0].Line)
	}
	return 1
}

func (im *importer) warnings(out *Imported) {
	if line := slices.IndexFunc(im.src.written, isTemplate); line >= 0 {
		out.Warnings = append(out.Warnings, Warning{Line: line + 1, LastLine: line + 1, Text: "this looks like a template: have it filled in first, and import the result"})
	}
	for _, w := range im.file.Warnings {
		out.Warnings = append(out.Warnings, Warning{Line: im.src.line(w.Line), LastLine: max(im.src.line(w.LastLine), im.src.line(w.Line)), Text: strings.TrimPrefix(w.Text, "Warning: ")})
	}
	slices.SortStableFunc(out.Warnings, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
}

// lines makes one account of each line of the source that is not blank.
func (a account) lines(out *Imported, src *source) {
	of := map[int][]*note{}
	for line, n := range a {
		at := src.line(line)
		of[at] = append(of[at], n)
	}
	for i, text := range src.written {
		text = strings.TrimFunc(text, isBlank)
		if text == "" {
			continue
		}
		l := Line{Line: i + 1, Text: text, Fate: Carried}
		notes := of[i+1]
		if len(notes) == 0 {
			l.Fate, l.Why = unexpanded(text)
		}
		l.add(notes)
		if src.converted[i+1] {
			l.Fate = cmp.Or(fateAbove(l.Fate), Changed)
			l.Why = joined(l.Why, "it was no UTF-8 and was taken for ISO 8859-1; TOML is UTF-8")
		}
		out.Lines = append(out.Lines, l)
	}
}

// fateAbove keeps what is more than a change.
func fateAbove(f Fate) Fate {
	if f == NotCarried {
		return f
	}
	return ""
}

// add sums up the notes on one line of the source, of which there are several where
// m4 made several lines of it.
func (l *Line) add(notes []*note) {
	slices.SortStableFunc(notes, func(a, b *note) int { return cmp.Compare(first(a.rows), first(b.rows)) })
	dropped := 0
	for _, n := range notes {
		for _, r := range n.rows {
			l.TOML = append(l.TOML, r.number)
		}
		for _, why := range n.why {
			if !strings.Contains(l.Why, why) {
				l.Why = joined(l.Why, why)
			}
		}
		l.Suggestion = cmp.Or(l.Suggestion, n.suggestion)
		switch n.fate {
		case NotCarried:
			dropped++
		case Changed:
			l.Fate = Changed
		case Carried:
		}
	}
	switch {
	case dropped > 0 && dropped == len(notes):
		l.Fate = NotCarried
	case dropped > 0:
		l.Fate = Changed
	}
	slices.Sort(l.TOML)
	l.TOML = slices.Compact(l.TOML)
}

func first(rows []*row) int {
	if len(rows) == 0 {
		return 0
	}
	return rows[0].number
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// Problems maps what the loader says about the TOML back to the source: a line of the
// TOML that none of the source became is its first line.
func (i *Imported) Problems(found config.Problems) config.Problems {
	src := source{written: i.source}
	out := make(config.Problems, len(found))
	for at, p := range found {
		p.File = i.Name
		line := 1
		if p.Line < len(i.origin) && i.origin[p.Line] > 0 {
			line = i.origin[p.Line]
		}
		p.Line, p.Column = line, src.column(line)
		out[at] = p
	}
	return out
}
