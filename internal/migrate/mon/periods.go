package mon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/watch"
)

// A periodWriter writes one period of a service.
type periodWriter struct {
	*service
	*moncf.Period
	last map[string]int
	// done are the lists of alerts that are written, and whether alertafter is.
	done map[string]bool
}

const inPeriod = "  "

// alertLists are the keywords of alerts.
var alertLists = map[string]func(*moncf.Period) []moncf.AlertLine{
	"alert":        func(p *moncf.Period) []moncf.AlertLine { return p.Alerts },
	"upalert":      func(p *moncf.Period) []moncf.AlertLine { return p.UpAlerts },
	"startupalert": func(p *moncf.Period) []moncf.AlertLine { return p.StartupAlerts },
	"ackalert":     func(p *moncf.Period) []moncf.AlertLine { return p.AckAlerts },
	"disablealert": func(p *moncf.Period) []moncf.AlertLine { return p.DisableAlerts },
}

func (p *periodWriter) write() {
	p.done, p.last = map[string]bool{}, map[string]int{}
	for _, k := range p.Period.Keywords {
		p.last[k.Name] = k.Line
	}
	if gone := p.gone(); gone != "" {
		p.leaveAll(gone)
		return
	}
	p.row(0, "")
	p.put(&p.watches, inPeriod, p.Period.Source, "[[watch.period]]")
	for _, text := range p.names() {
		p.account.carry(p.Period.Source, p.row(p.Period.Line, inPeriod+text))
	}
	for _, k := range p.Period.Keywords {
		p.keyword(k)
	}
}

// names are the period's keys name and when.
func (p *periodWriter) names() []string {
	var keys []string
	_, isText := p.whenText()
	if p.Label != "" || p.Key != "" && !isText && p.alwaysTwice() {
		keys = append(keys, "name = "+quote(p.Key))
	}
	if when, ok := p.whenText(); ok {
		keys = append(keys, "when = "+quote(when))
	}
	return keys
}

// alwaysTwice reports whether the service has another period without a label that
// is always: names tell them apart.
func (p *periodWriter) alwaysTwice() bool {
	return slices.ContainsFunc(p.service.Periods, func(q moncf.Period) bool {
		return q.Line != p.Period.Line && q.Label == "" && q.When.String() == ""
	})
}

// whenText is the period's text; not ok is always, which needs none.
func (p *periodWriter) whenText() (string, bool) {
	if p.When.String() == "" {
		return "", false
	}
	return p.Spec, true
}

// gone says why nothing is left of the period.
func (p *periodWriter) gone() string {
	why := ""
	for _, list := range alertLists {
		for _, line := range list(p.Period) {
			r, replaced := p.replaced[line.Line]
			if !replaced || r.action != "" {
				return ""
			}
			why = r.period
		}
	}
	return why
}

// leaveAll accounts for a period of which nothing is left.
func (p *periodWriter) leaveAll(why string) {
	p.leave(&p.watches, inPeriod, p.Period.Source, "%s", why)
	for _, k := range p.Period.Keywords {
		if r, ok := p.replaced[k.Line]; ok {
			p.replacedLine(k, r)
			continue
		}
		p.leave(&p.watches, inPeriod, k.Source, "%s", why)
	}
}

// replacedLine accounts for an alert that is something else now.
func (p *periodWriter) replacedLine(k moncf.Setting, r replacement) {
	p.account.change(k.Source, "%s", r.why)
	if len(k.Comments) > 0 { // which explain something
		p.comments(&p.watches, inPeriod, k.Source)
		p.watches.add(k.Line, inPeriod+"# replaced: "+comment(k.Raw)).to = k.LastLine
	}
}

var periodWriters = map[string]func(*periodWriter, moncf.Setting){
	"alertevery": (*periodWriter).alertEvery,
	"numalerts":  func(p *periodWriter, k moncf.Setting) { p.set(k, fmt.Sprint(p.NumAlerts)) },
	"upalertafter": func(p *periodWriter, k moncf.Setting) {
		p.set(k, duration(k.Value, p.UpAlertAfter))
		p.account.change(k.Source, ignored)
	},
	"no_comp_alerts":    func(p *periodWriter, k moncf.Setting) { p.set(k, "true") },
	"alerts_dont_count": func(p *periodWriter, k moncf.Setting) { p.set(k, "true") },
	"alertexitrange":    (*periodWriter).alertExitRange,
	"alertafter":        (*periodWriter).alertAfter,
}

func (p *periodWriter) keyword(k moncf.Setting) {
	if list := alertLists[k.Name]; list != nil {
		p.alerts(k.Name, list(p.Period))
		return
	}
	if k.Name != "alertafter" && p.last[k.Name] != k.Line {
		p.leave(&p.watches, inPeriod, k.Source, "the %s in line %d counts, in mon too", k.Name, p.src.line(p.last[k.Name]))
		return
	}
	periodWriters[k.Name](p, k)
}

func (p *periodWriter) set(k moncf.Setting, value string) {
	p.put(&p.watches, inPeriod, k.Source, "%s = %s", k.Name, value)
}

func (p *periodWriter) alertEvery(k moncf.Setting) {
	every := p.AlertEvery
	written, _, _ := strings.Cut(k.Value, " ")
	value := strings.Trim(duration(written, every.Interval), `"`)
	if every.Compare != watch.CompareSummary {
		value += " " + every.Compare.String()
	}
	p.set(k, quote(value))
}

// alertAfter writes all lines of the keyword as one.
func (p *periodWriter) alertAfter(k moncf.Setting) {
	if p.done["alertafter"] {
		p.comments(&p.watches, inPeriod, k.Source)
		p.account.change(k.Source, "it stands with the alertafter before it in one line")
		return
	}
	value := p.thresholds()
	if value == "" {
		p.leave(&p.watches, inPeriod, k.Source, "0 holds nothing back")
		return
	}
	p.done["alertafter"] = true
	p.set(k, value)
}

// thresholds writes what alertafter says.
func (p *periodWriter) thresholds() string {
	a := p.AlertAfter
	switch {
	case a == watch.AlertAfter{}:
		return ""
	case a.Count == 0 && a.Within == 0:
		return fmt.Sprint(a.Consecutive)
	case a.Count == 0 && a.Consecutive == 0:
		return quote(roundDuration(a.Within))
	}
	var parts []string
	for _, part := range []struct {
		key string
		n   int
	}{{"consecutive", a.Consecutive}, {"count", a.Count}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%s = %d", part.key, part.n))
		}
	}
	return "{ " + strings.Join(append(parts, "within = "+quote(roundDuration(a.Within))), ", ") + " }"
}

const largestExit = 255

func (p *periodWriter) alertExitRange(k moncf.Setting) {
	r, never := exitRange(*p.ExitRange)
	if never {
		p.leave(&p.watches, inPeriod, k.Source, "no exit status is in this range: mon sends no alert of this period, and there are none here")
		return
	}
	p.set(k, r)
}

// exitRange writes a range; never is true if no exit status is in it.
func exitRange(r watch.ExitRange) (value string, never bool) {
	if r.From > r.To || r.From > largestExit {
		return "", true
	}
	r.To = min(r.To, largestExit)
	if r.From == r.To {
		return fmt.Sprint(r.From), false
	}
	return quote(r.String()), false
}

// impossible reports whether no failure is in the period's exit range.
func (p *periodWriter) impossible() bool {
	if p.ExitRange == nil {
		return false
	}
	_, never := exitRange(*p.ExitRange)
	return never
}

// alerts writes a whole list where its first line stands.
func (p *periodWriter) alerts(name string, lines []moncf.AlertLine) {
	if p.done[name] {
		return
	}
	p.done[name] = true
	lines = slices.DeleteFunc(slices.Clone(lines), func(a moncf.AlertLine) bool { return p.without(name, a) })
	switch len(lines) {
	case 0:
	case 1:
		p.put(&p.watches, inPeriod, lines[0].Source, "%s = [%s]", name, p.action(lines[0]))
	default:
		p.account.carry(lines[0].Source, p.row(lines[0].Line, inPeriod+name+" = ["))
		for _, a := range lines {
			p.put(&p.watches, inPeriod+inPeriod, a.Source, "%s,", p.action(a))
		}
		p.row(lines[0].Line, inPeriod+"]")
	}
}

// without reports whether nothing is written for a line, and accounts for it.
func (p *periodWriter) without(list string, a moncf.AlertLine) bool {
	k := moncf.Setting{Source: a.Source}
	r, replaced := p.replaced[a.Line]
	switch {
	case replaced && r.action == "":
		p.replacedLine(k, r)
		return true
	case list == "alert" && p.impossible():
		p.leave(&p.watches, inPeriod, a.Source, "no exit status is in the period's alertexitrange: mon never calls it")
		return true
	case a.Exit != nil:
		if _, never := exitRange(*a.Exit); never {
			p.leave(&p.watches, inPeriod, a.Source, "no exit status is in its range: mon never calls it")
			return true
		}
	}
	return false
}

// action writes an alert.
func (p *periodWriter) action(a moncf.AlertLine) string {
	if r, ok := p.replaced[a.Line]; ok {
		p.account.change(a.Source, "%s", r.why)
		return r.action
	}
	p.suggestAlert(a)
	return p.program(a)
}

// program writes an alert that calls the line's program.
func (s *service) program(a moncf.AlertLine) string {
	program, args := a.Program, a.Args
	if a.NeverFound && a.Lookup() != a.Program && strings.ContainsAny(a.Lookup(), " \t") {
		program, args = a.Lookup(), nil
	}
	parts := append([]string{`type = "exec"`, "program = " + quote(program)}, s.arguments(args)...)
	if a.Exit != nil {
		value, _ := exitRange(*a.Exit)
		parts = append(parts, "exit = "+value)
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}
