package moncf

import (
	"regexp"
	"slices"

	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
)

// bareScales are scales of a period without their braces.
var bareScales = perl(`(?i)^\s*(?:(?:yr|year|mo|month|wk|week|yd|yday|md|mday|wd|wday|hr|hour|min|minute|sec|second)\s*)+$`)

var labelled = perl(`^([A-Za-z_]\w*)\s*:\s*(.*)$`)

// beginPeriod takes "period [LABEL:] SPEC".
func (p *parser) beginPeriod(set Setting) error {
	s := p.service()
	q := Period{Source: set.Source, Key: set.Value, Spec: set.Value}
	if m := labelled.FindStringSubmatch(set.Value); m != nil {
		q.Key, q.Label, q.Spec = m[1], m[1], m[2]
	}
	if slices.ContainsFunc(s.Periods, func(other Period) bool { return other.Key == q.Key }) {
		return p.errorf(set.Source, "period '%s' already defined for watch group %s service %s", q.Key, p.watch().Group, s.Name)
	}
	var err error
	q.When, err = period.Parse(q.Spec)
	if err != nil && p.tolerant && bareScales.MatchString(q.Spec) {
		p.warn(set.Source, "period %q has no braces and mon 1.3.6 refuses it: taken for always, as old mon did; write \"period\" alone", q.Spec)
		q.When, err = period.Period{}, nil
	}
	if err != nil {
		bad := p.errorf(set.Source, "malformed period '%s' (the specified time period is not valid as per Time::Period::inPeriod)", q.Spec)
		bad.Err = err
		return bad
	}
	s.Periods = append(s.Periods, q)
	p.periodOpen = true
	return nil
}

// periodKeywords are what may stand in a period.
var periodKeywords = map[string]func(*parser, *Period, Setting) *Error{
	"alert":        alertKeyword(func(q *Period) *[]AlertLine { return &q.Alerts }),
	"upalert":      alertKeyword(func(q *Period) *[]AlertLine { return &q.UpAlerts }),
	"startupalert": alertKeyword(func(q *Period) *[]AlertLine { return &q.StartupAlerts }),
	"ackalert":     alertKeyword(func(q *Period) *[]AlertLine { return &q.AckAlerts }),
	"disablealert": alertKeyword(func(q *Period) *[]AlertLine { return &q.DisableAlerts }),

	"alertafter":        (*parser).alertAfter,
	"alertevery":        (*parser).alertEvery,
	"numalerts":         (*parser).numAlerts,
	"upalertafter":      (*parser).upAlertAfter,
	"no_comp_alerts":    flagKeyword(func(q *Period) *bool { return &q.NoCompAlerts }),
	"alerts_dont_count": flagKeyword(func(q *Period) *bool { return &q.AlertsDontCount }),
	"alertexitrange":    (*parser).alertExitRange,
}

// severalTimes are the keywords of which a period may have several lines.
var severalTimes = []string{"alert", "upalert", "startupalert", "ackalert", "disablealert", "alertafter"}

// periodLine takes a keyword of a period.
func (p *parser) periodLine(set Setting) error {
	take, known := periodKeywords[set.Name]
	if !known {
		return p.errorf(set.Source, "unknown syntax [%s]", set.Raw)
	}
	s := p.service()
	q := &s.Periods[len(s.Periods)-1]
	if err := take(p, q, set); err != nil {
		return err
	}
	if !slices.Contains(severalTimes, set.Name) {
		p.warnTwice(q.Keywords, set)
	}
	q.Keywords = append(q.Keywords, set)
	return nil
}

func alertKeyword(list func(*Period) *[]AlertLine) func(*parser, *Period, Setting) *Error {
	return func(p *parser, q *Period, set Setting) *Error {
		l := list(q)
		*l = append(*l, p.alertLine(set))
		return nil
	}
}

func flagKeyword(field func(*Period) *bool) func(*parser, *Period, Setting) *Error {
	return func(_ *parser, q *Period, _ Setting) *Error {
		*field(q) = true
		return nil
	}
}

var (
	afterCount = perl(`^[0-9]+$`)
	afterTime  = perl(`^[0-9]+[hms]$`)
	// afterBoth has no anchor in front, in mon as here.
	afterBoth = perl(`([0-9]+)\s+([0-9]+[hms])$`)
)

// alertAfter takes the three forms of alertafter: N, T and N T. Several lines
// combine; of N T and T the last time counts.
func (p *parser) alertAfter(q *Period, set Setting) *Error {
	both := afterBoth.FindStringSubmatch(set.Value)
	switch {
	case afterCount.MatchString(set.Value):
		q.AlertAfter.Consecutive = count(set.Value)
	case afterTime.MatchString(set.Value):
		within, _, ok := positive(set.Value)
		if !ok {
			return p.errorf(set.Source, "invalid time interval '%s' (syntax: alertafter = [{positive integer}] [{positive number}{smhd}])", set.Value)
		}
		q.AlertAfter.Within = within
	case both != nil:
		return p.alertAfterBoth(q, set, count(both[1]), both[2])
	default:
		return p.errorf(set.Source, "invalid interval specification '%s'", set.Value)
	}
	return nil
}

// alertAfterBoth refuses what can never be met with the interval known so far.
func (p *parser) alertAfterBoth(q *Period, set Setting, n int, text string) *Error {
	within, _ := Timeval(text)
	// In floating point, as in mon: the product may be longer than a Duration.
	if float64(n-1)*float64(p.service().Interval) >= float64(within) {
		return p.errorf(set.Source, " interval & alertafter not sensible. No alerts can be generated with those parameters")
	}
	q.AlertAfter = watch.AlertAfter{Consecutive: q.AlertAfter.Consecutive, Count: max(n, 1), Within: within}
	return nil
}

// everyFlavours are tried in mon's order. Only the word before them is the time.
var everyFlavours = []struct {
	pattern *regexp.Regexp
	compare watch.Compare
}{
	{perl(`(?i)(\S+)\s+observe_detail$`), watch.CompareDetail},
	{perl(`(?i)(\S+)\s+ignore_summary$`), watch.CompareNothing},
	{perl(`(?i)(\S+)\s+summary`), watch.CompareSummary},
	{perl(`(?i)(\S+)\s+strict$`), watch.Strict},
}

// alertEvery takes "alertevery T [flavour]".
func (p *parser) alertEvery(q *Period, set Setting) *Error {
	text, compare := set.Value, watch.CompareSummary
	for _, f := range everyFlavours {
		if m := f.pattern.FindStringSubmatch(set.Value); m != nil {
			text, compare = m[1], f.compare
			break
		}
	}
	every, shown, ok := positive(text)
	if !ok {
		return p.errorf(set.Source, "invalid time interval '%s' (syntax: alertevery {positive number}{smhd} [ strict | observe_detail | ignore_summary ])", shown)
	}
	q.AlertEvery = watch.AlertEvery{Interval: every, Compare: compare}
	return nil
}

func (p *parser) numAlerts(q *Period, set Setting) *Error {
	if !afterCount.MatchString(set.Value) {
		return p.errorf(set.Source, "-numeric arg '%s' (syntax: numalerts = {positive integer}", set.Value)
	}
	q.NumAlerts = count(set.Value)
	return nil
}

func (p *parser) upAlertAfter(q *Period, set Setting) *Error {
	d, shown, ok := positive(set.Value)
	if !ok {
		return p.errorf(set.Source, "invalid upalertafter specification '%s' (syntax: upalertafter = {positive number}{smhd})", shown)
	}
	q.UpAlertAfter = d
	return nil
}

var exitRangeLine = perl(`^([0-9]+|[0-9]+-[0-9]+)$`)

func (p *parser) alertExitRange(q *Period, set Setting) *Error {
	if !exitRangeLine.MatchString(set.Value) {
		return p.errorf(set.Source, "invalid exit code range '%s'", set.Value)
	}
	q.ExitRange = exitRange(set.Value)
	return nil
}
