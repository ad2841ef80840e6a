package moncf

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/watch"
)

// A record is what the present line belongs to.
type record int

const (
	noRecord record = iota
	hostgroupRecord
	aliasRecord
	viewRecord
	watchRecord
)

func (r record) String() string {
	switch r {
	case noRecord:
		return "no record"
	case hostgroupRecord:
		return "hostgroup"
	case aliasRecord:
		return "alias"
	case viewRecord:
		return "view"
	case watchRecord:
		return "watch"
	}
	return fmt.Sprintf("record %d", int(r))
}

type parser struct {
	file *File
	// tolerant takes what old mon took; see ParseTolerant.
	tolerant bool
	// record is open until a blank line or the start of the next.
	record record
	// closed says which record a blank line closed last, for the warning about
	// the text after it.
	closed string
	// serviceOpen and periodOpen say what the lines of a watch belong to.
	serviceOpen, periodOpen bool

	groups   map[string]int // index into file.Hostgroups
	watches  map[string]int // index of the last watch of a group
	defaults serviceDefaults
}

// serviceDefaults are the globals that hold for the services after them.
type serviceDefaults struct {
	depBehavior  watch.Behavior
	depMemory    time.Duration
	unackSummary bool
}

func newParser(name string) *parser {
	return &parser{file: &File{Name: name}, groups: map[string]int{}, watches: map[string]int{}}
}

func (p *parser) errorf(l Source, format string, args ...any) *Error {
	return &Error{File: p.file.Name, Line: l.LastLine, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) warn(l Source, format string, args ...any) {
	p.file.Warnings = append(p.file.Warnings, Warning{Line: l.Line, LastLine: l.LastLine, Text: fmt.Sprintf(format, args...)})
}

// A recordStart is a line that starts a record.
type recordStart struct {
	kind    record
	pattern *regexp.Regexp // its groups are handed to begin
	begin   func(p *parser, l Source, match []string) error
	// swallowedBy are the records that in mon do not end here.
	swallowedBy []record
}

const nameChars = `[a-zA-Z0-9_.-]+`

// recordStarts are tried in mon's order.
var recordStarts = []recordStart{
	{hostgroupRecord, perl(`^hostgroup\s+(` + nameChars + `)\s*(.*)`), (*parser).beginHostgroup, nil},
	{aliasRecord, perl(`^alias\s+(` + nameChars + `)\s*$`), (*parser).beginAlias, []record{hostgroupRecord}},
	{viewRecord, perl(`^view\s+(` + nameChars + `)\s+(.*)$`), (*parser).beginView, []record{hostgroupRecord, aliasRecord}},
	{watchRecord, perl(`^watch\s+(` + nameChars + `)\s*(.*)`), (*parser).beginWatch, []record{hostgroupRecord, aliasRecord, viewRecord}},
}

// line takes the next logical line.
func (p *parser) line(l Source) error {
	if l.Raw == "" {
		p.blank(l)
		return nil
	}
	if p.record != watchRecord {
		if m := globalLine.FindStringSubmatch(l.Raw); m != nil {
			return p.global(Setting{l, m[1], m[2]})
		}
	}
	for _, start := range recordStarts {
		if m := start.pattern.FindStringSubmatch(l.Raw); m != nil && p.starts(l, start) {
			p.record, p.serviceOpen, p.periodOpen = start.kind, false, false
			return start.begin(p, l, m)
		}
	}
	return p.inRecord(l)
}

// starts decides about a line that looks like the start of a record. Where mon
// has not ended the record before, that record's list of names is hardly meant
// to go on with "watch NAME"; the free text of an alias may be.
func (p *parser) starts(l Source, start recordStart) bool {
	if !slices.Contains(start.swallowedBy, p.record) {
		return true
	}
	if p.record == aliasRecord {
		p.warn(l, "this is a line of the alias above: a blank line before it would make it a %s", start.kind)
		return false
	}
	text := fmt.Sprintf("mon takes this line and those after it for names in the %s above, because there is no blank line before it; here it starts a %s", p.record, start.kind)
	if p.tolerant {
		p.file.Notes = append(p.file.Notes, Warning{Line: l.Line, LastLine: l.LastLine, Text: text})
		return true
	}
	p.warn(l, "%s", text)
	return true
}

// inRecord takes a line that starts nothing.
func (p *parser) inRecord(l Source) error {
	switch p.record {
	case noRecord:
		p.ignore(l)
	case hostgroupRecord:
		p.continueHostgroup(l)
	case aliasRecord:
		alias := &p.file.Aliases[len(p.file.Aliases)-1]
		alias.Text = append(alias.Text, l)
	case viewRecord:
		view := &p.file.Views[len(p.file.Views)-1]
		view.Members = append(view.Members, splitWords(l.Raw)...)
		view.More = append(view.More, l)
	case watchRecord:
		return p.watchLine(l)
	}
	return nil
}

// blank ends the record.
func (p *parser) blank(l Source) {
	if p.record != noRecord {
		p.closed = fmt.Sprintf("the blank line %d ended the %s", l.LastLine, p.record)
		if p.record == watchRecord {
			p.closed += fmt.Sprintf(" %q", p.file.Watches[len(p.file.Watches)-1].Group)
		}
	}
	p.record, p.serviceOpen, p.periodOpen = noRecord, false, false
}

// ignore drops a line outside of every record, with one warning for all lines up
// to the next record.
func (p *parser) ignore(l Source) {
	why := p.closed
	if why == "" {
		why = "no hostgroup, watch, alias or view has begun"
	}
	text := "ignored, as mon does: " + why
	p.file.Ignored = append(p.file.Ignored, l)
	if n := len(p.file.Warnings); n > 0 && p.file.Warnings[n-1].Text == text {
		p.file.Warnings[n-1].LastLine = l.LastLine
		return
	}
	p.warn(l, "%s", text)
}

// end finishes the file: what needs all of it.
func (p *parser) end(lines *lineReader) {
	p.file.Trailing = lines.comments
	if lines.unfinished > 0 {
		l := Source{Line: lines.unfinished, LastLine: lines.line, Raw: `\`}
		p.file.Ignored = append(p.file.Ignored, l)
		p.warn(l, "ignored, as mon does: it ends in a backslash and the file ends there")
	}
	p.warnUnwatched()
	p.markNeverFound()
	slices.SortStableFunc(p.file.Warnings, func(a, b Warning) int { return a.Line - b.Line })
}
