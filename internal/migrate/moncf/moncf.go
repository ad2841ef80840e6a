// Package moncf reads mon.cf, the configuration of mon 1.3.6, as mon itself reads
// it: the same grammar, quirks, and texts of errors. What mon does silently and
// a person would want to know (text after a blank line is ignored, the second of
// two depend lines wins) becomes a [Warning].
//
// The result keeps, with line numbers, every line and every comment, so that an
// importer can account for each. Nothing is looked up: whether a program, an
// authfile or a userfile exists is not asked, and a file for m4 has to be
// expanded before.
//
// The file is a list of records: hostgroup, watch, alias and view. A record ends
// at the first blank line, or where the next one starts; lines "name = value"
// outside of a watch are global settings. mon forgets to end a hostgroup and a
// view at a "watch" that has no blank line before it, and takes that line and
// the whole watch for names of hosts; here it starts the watch, with a warning.
package moncf

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
)

// A File is a mon.cf. All its slices are in the order of the file.
type File struct {
	Name       string
	Globals    []Setting
	Hostgroups []Hostgroup
	Watches    []Watch
	Aliases    []Alias
	Views      []View
	// Ignored are the lines outside of every record, which mon drops in silence.
	Ignored []Source
	// Replaced are the lines of hostgroups and views that a later one of the same
	// name replaces.
	Replaced []Replaced
	// Trailing are the comments after the last item.
	Trailing []Comment
	Warnings []Warning
	// Notes are, of a file read by [ParseTolerant], lines that are read otherwise
	// than mon 1.3.6 reads them, although nobody has to look after them.
	Notes []Warning
}

// A Replaced is a line that has no effect because of the record in line By.
type Replaced struct {
	Source
	By int
}

// A Comment is a line that begins with "#", which Text includes.
type Comment struct {
	Line int
	Text string
}

// A Source is where an item stands in the file.
type Source struct {
	// Line and LastLine are counted from 1; they differ if lines are joined by
	// backslashes. mon's errors name the last.
	Line, LastLine int
	// Raw is the joined line without the blanks around it.
	Raw string
	// Comments stand before the item or inside of its joined lines.
	Comments []Comment
}

// A Setting is a global "name = value" or a "keyword value" of a service or
// period, as written.
type Setting struct {
	Source
	Name, Value string
}

// A Hostgroup is a named list of hosts.
type Hostgroup struct {
	Source // of the line that starts it
	Name   string
	// Hosts are names as written. One that begins with "*" is disabled: mon
	// marks them so in memory, and takes the mark from the file as well.
	Hosts []string
	// More are the lines that continue the list.
	More []Source
	// Implicit marks the group that mon makes of a watch without one: its only
	// host has the group's name. It has the watch's Line.
	Implicit bool
}

// An Alias is free text under a name; mon only lists it to clients.
type Alias struct {
	Source
	Name string
	Text []Source
}

// A View is a client's filter: groups and "group:service".
type View struct {
	Source
	Name    string
	Members []string
	More    []Source
}

// A Watch is the services of a host group.
type Watch struct {
	Source
	Group    string
	Services []Service
}

// A Service is something that is tested on the hosts of the group. Of a keyword
// that stands there twice the last counts.
type Service struct {
	Source
	Name string
	// Keywords are all lines of the service up to its first period, and the
	// variables wherever they stand.
	Keywords []Setting
	// Vars are the service's environment, "NAME=value", the value literally.
	Vars []string

	// Interval is 0 if the service is never polled, and waits for traps only.
	Interval time.Duration
	// FailureInterval is 0 if there is none.
	FailureInterval time.Duration
	// RandSkew, TrapTimeout, TrapDuration and DepMemory are 0 if not in use.
	RandSkew, TrapTimeout, TrapDuration, DepMemory time.Duration

	// Monitor is nil if no monitor is named.
	Monitor         *Command
	Description     string
	AllowEmptyGroup bool
	UnackSummary    bool
	ExcludeHosts    []string
	// ExcludePeriod is nil if there is none.
	ExcludePeriod *period.Period

	// The dependencies are texts, with "SELF:" already replaced by the group.
	Depend, AlertDepend, MonitorDepend, HostDepend string
	DepBehavior                                    watch.Behavior

	// Redistribute is nil if there is none.
	Redistribute *AlertLine
	Periods      []Period
}

// A Period is a time with the alerts that are due in it.
type Period struct {
	Source
	// Key is the label, or without one the period's text; no two periods of a
	// service have the same.
	Key, Label, Spec string
	When             period.Period
	Keywords         []Setting

	// AlertAfter combines all alertafter lines of the period. mon's "alertafter
	// 0 T" lets everything pass; it has Count 1, which does the same.
	AlertAfter      watch.AlertAfter
	AlertEvery      watch.AlertEvery
	NumAlerts       int // 0 is no limit
	UpAlertAfter    time.Duration
	NoCompAlerts    bool
	AlertsDontCount bool
	ExitRange       *watch.ExitRange

	Alerts, UpAlerts, StartupAlerts, AckAlerts, DisableAlerts []AlertLine
}

// A Command is a monitor line.
type Command struct {
	Source
	// Program is the first word as written; mon looks it up before any quotes
	// are removed.
	Program string
	// Args are the arguments up to the hosts, with quotes and backslashes removed.
	Args []string
	// NoHosts is true if the line ends in ";;": no hosts are added.
	NoHosts bool
	// Unbalanced marks a quote without its fellow. mon's command is then empty,
	// the program included.
	Unbalanced bool
}

// An AlertLine is a program to call.
type AlertLine struct {
	Source
	// Program is what mon takes for the program when it calls it.
	Program string
	// Args are its arguments; of an unbalanced quote, which Unbalanced tells, none.
	Args       []string
	Unbalanced bool
	// Exit is the range of "exit=N-M" in front of the program, nil if there is
	// none.
	Exit *watch.ExitRange
	// NeverFound marks a program that mon does not look up and so never finds,
	// even if it is there: at start mon takes another word of the line for the
	// program ("exit = 1 a.alert", a redistribute with arguments), and no other
	// line names it.
	NeverFound bool

	// lookup is what mon takes for the program when it looks the programs up.
	lookup string
}

// A Warning is about something that mon accepts.
type Warning struct {
	Line, LastLine int
	Text           string
	// FromMon marks mon's own two warnings, whose Text is what mon prints.
	FromMon bool
}

func (w Warning) String() string {
	if w.LastLine > w.Line {
		return fmt.Sprintf("lines %d-%d: %s", w.Line, w.LastLine, w.Text)
	}
	return fmt.Sprintf("line %d: %s", w.Line, w.Text)
}

// An Error is a mistake for which mon refuses the file. mon stops at the first.
type Error struct {
	File string
	Line int
	Text string // mon's own
	// Err says more than mon, if it is not nil.
	Err error

	lineless bool // mon prints no line number
}

// Error returns what mon prints.
func (e *Error) Error() string {
	if e.lineless {
		return "cf error: " + e.Text
	}
	return fmt.Sprintf("cf error: %s, line %d", e.Text, e.Line)
}

func (e *Error) Unwrap() error { return e.Err }

// Parse reads a mon.cf as mon 1.3.6 does; name is for messages only. The error is
// an [*Error], or the reader's.
func Parse(name string, r io.Reader) (*File, error) {
	p := newParser(name)
	return p.parse(newLineReader(r))
}

// ParseTolerant reads a mon.cf like [Parse], and what old mon accepted and 1.3.6
// refuses:
//
//   - a period of scales without braces, "period wd" or "period wd hr", is always;
//   - the end of an alert or monitor line that stands in the next line without a
//     backslash, as when a mail program wrapped it, is joined: it begins with "-".
//
// Both are warnings. That a "watch" without a blank line before it ends a hostgroup
// is one of the Notes here.
func ParseTolerant(name string, r io.Reader) (*File, error) {
	p := newParser(name)
	p.tolerant = true
	return p.parse(newLineReader(r))
}

func (p *parser) parse(lines *lineReader) (*File, error) {
	next := lines.next
	if p.tolerant {
		next = (&unwrapper{parser: p, lines: lines}).next
	}
	for {
		l, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.file.Name, err)
		}
		if err := p.line(l); err != nil {
			return nil, err
		}
	}
	p.end(lines)
	return p.file, nil
}

// Global returns a global setting; the last of its name counts, except for
// dep_behavior, dep_memory and unack_summary, which are defaults for the services
// after them and are found in these.
func (f *File) Global(name string) (value string, ok bool) {
	for _, v := range slices.Backward(f.Globals) {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

// Hosts returns the hosts of a group as written.
func (f *File) Hosts(group string) (hosts []string, ok bool) {
	for _, g := range f.Hostgroups {
		if g.Name == group {
			return g.Hosts, true
		}
	}
	return nil, false
}
