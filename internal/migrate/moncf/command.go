package moncf

import (
	"math"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/watch"
)

// monitor takes "monitor PROGRAM args ... [;;]".
func (p *parser) monitor(s *Service, set Setting) *Error {
	c := &Command{Source: set.Source}
	var args string
	c.Program, args = cutWord(set.Value)
	if head, ok := strings.CutSuffix(args, ";;"); ok {
		args, c.NoHosts = strings.TrimRight(head, blanks), true
	} else if strings.HasSuffix(c.Program, ";;") {
		p.warn(set.Source, `mon finds no monitor named %q: write a blank before ";;"`, c.Program)
	}
	split := QuoteWords(args)
	c.Args, c.Unbalanced = split.Words, split.Unbalanced
	if c.Unbalanced {
		p.warn(set.Source, "a quote or backslash without its fellow: mon cannot start this monitor")
	}
	s.Monitor = c
	return nil
}

// redistribute takes "redistribute PROGRAM args ...". mon looks for a program of
// that whole text.
func (p *parser) redistribute(s *Service, set Setting) *Error {
	s.Redistribute = nil
	if set.Value == "" {
		return nil
	}
	line := AlertLine{Source: set.Source, lookup: set.Value}
	var args string
	line.Program, args = cutWord(set.Value)
	p.alertArgs(&line, args)
	s.Redistribute = &line
	return nil
}

var (
	// exitPrefix is how mon recognises an exit range when it calls an alert...
	exitPrefix = perl(`^[eE][xX][iI][tT]\s*=\s*([0-9]+(?:-[0-9]+)?)\s`)
	// ... and assignments how it skips one when it looks programs up.
	assignments = perl(`^(?:\S+=\S+ )*(\S+)`)
)

// alertLine reads "[exit=N[-M]] PROGRAM args ...". A range that mon recognises is
// its first word: with a blank beside the "=" the number, or the "=", is what mon
// takes for the program.
func (p *parser) alertLine(set Setting) AlertLine {
	line := AlertLine{Source: set.Source}
	text := set.Value
	if m := exitPrefix.FindStringSubmatch(text); m != nil {
		line.Exit = exitRange(m[1])
		_, text = cutWord(text)
	}
	var args string
	line.Program, args = cutWord(text)
	if m := assignments.FindStringSubmatch(set.Value); m != nil {
		line.lookup = m[1]
	}
	p.alertArgs(&line, args)
	return line
}

// Lookup is the name of the program that mon looks for when it reads the line; see
// NeverFound.
func (a AlertLine) Lookup() string { return a.lookup }

func (p *parser) alertArgs(line *AlertLine, args string) {
	split := QuoteWords(args)
	line.Args, line.Unbalanced = split.Words, split.Unbalanced
	if split.Unbalanced {
		p.warn(line.Source, "a quote or backslash without its fellow: mon calls %q without any arguments of its own", line.Program)
	}
}

// exitRange reads "N" or "N-M".
func exitRange(text string) *watch.ExitRange {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	return &watch.ExitRange{From: count(from), To: count(to)}
}

// count reads digits; what is too long for an int32 is the largest one.
func count(digits string) int {
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return math.MaxInt32
	}
	return int(n)
}

// markNeverFound marks the alert lines whose program mon does not look up.
func (p *parser) markNeverFound() {
	lookedUp := map[string]bool{}
	p.eachAlertLine(func(a *AlertLine) { lookedUp[a.lookup] = true })
	p.eachAlertLine(func(a *AlertLine) {
		if a.NeverFound = !lookedUp[a.Program]; a.NeverFound {
			p.warn(a.Source, "mon never finds the program %q of this line: it looks for %q", a.Program, a.lookup)
		}
	})
}

func (p *parser) eachAlertLine(do func(*AlertLine)) {
	for i := range p.file.Watches {
		for j := range p.file.Watches[i].Services {
			s := &p.file.Watches[i].Services[j]
			if s.Redistribute != nil {
				do(s.Redistribute)
			}
			for k := range s.Periods {
				for _, list := range s.Periods[k].lists() {
					for l := range *list {
						do(&(*list)[l])
					}
				}
			}
		}
	}
}

func (q *Period) lists() []*[]AlertLine {
	return []*[]AlertLine{&q.Alerts, &q.UpAlerts, &q.StartupAlerts, &q.AckAlerts, &q.DisableAlerts}
}
