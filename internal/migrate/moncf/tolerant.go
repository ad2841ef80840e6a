package moncf

import (
	"fmt"
	"strings"
)

// An unwrapper joins the end of a line of commands that stands in the next line.
type unwrapper struct {
	parser *parser
	lines  *lineReader
	// ahead is the next line, read already, with its error.
	ahead    Source
	aheadErr error
	has      bool
}

// commandLine is a line whose end may be options of a program.
var commandLine = perl(`^(?:alert|upalert|startupalert|ackalert|disablealert|monitor|redistribute)\s`)

func (u *unwrapper) next() (Source, error) {
	l, err := u.take()
	if err != nil || !commandLine.MatchString(l.Raw) {
		return l, err
	}
	for {
		u.ahead, u.aheadErr = u.lines.next()
		u.has = true
		if u.aheadErr != nil || !strings.HasPrefix(u.ahead.Raw, "-") {
			return l, nil //nolint:nilerr // the next call returns it
		}
		more, _ := u.take()
		u.parser.warn(more, "joined to %s: this line is no keyword of mon, and mon 1.3.6 refuses it; it looks like the end of a line that was wrapped without a backslash", lineOf(l))
		l.Raw += " " + more.Raw
		l.LastLine = more.LastLine
		l.Comments = append(l.Comments, more.Comments...)
	}
}

func (u *unwrapper) take() (Source, error) {
	if u.has {
		u.has = false
		return u.ahead, u.aheadErr
	}
	return u.lines.next()
}

func lineOf(l Source) string {
	if l.LastLine > l.Line {
		return fmt.Sprintf("lines %d-%d", l.Line, l.LastLine)
	}
	return fmt.Sprintf("line %d", l.Line)
}
