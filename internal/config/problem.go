package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake in a file.
type Problem struct {
	File string
	// Line and Column start at 1; the column counts characters.
	Line, Column int
	Message      string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all mistakes of a configuration, by file, line and column.
type Problems []Problem

// Error returns one line for each problem, "FILE:LINE:COLUMN: message".
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns the problems in order, each once.
func (p Problems) sorted() Problems {
	out := slices.Clone(p)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(out)
}

// A report collects what is found while a configuration is read.
type report struct {
	problems, warnings Problems
	// once are the messages of which the first is enough.
	once map[string]bool
}

// problem notes a mistake. Messages are one line each.
func (r *report) problem(at place, format string, args ...any) {
	r.problems = append(r.problems, at.problem(fmt.Sprintf(format, args...)))
}

func (r *report) warning(at place, format string, args ...any) {
	r.warnings = append(r.warnings, at.problem(fmt.Sprintf(format, args...)))
}

// warnOnce notes what is the same wherever it is met, as that a program is not there: it
// is said of the first place, with the number of the others.
func (r *report) warnOnce(at place, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if r.once == nil {
		r.once = map[string]bool{}
	}
	r.once[message] = true
	r.warning(at, "%s", message)
}

// warned returns the warnings in order.
func (r *report) warned() Problems {
	all := r.warnings.sorted()
	places := map[string]int{}
	for _, p := range all {
		places[p.Message]++
	}
	said := map[string]bool{}
	var out Problems
	for _, p := range all {
		message := p.Message
		if r.once[message] && said[message] {
			continue
		}
		said[message] = true
		switch others := places[message] - 1; {
		case !r.once[message] || others == 0:
		case others == 1:
			p.Message += " (and in 1 other place)"
		default:
			p.Message += fmt.Sprintf(" (and in %d other places)", others)
		}
		out = append(out, p)
	}
	return out
}

// oneLine keeps an error of somebody else's from breaking the list.
func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ") }
