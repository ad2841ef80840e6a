package config

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
)

// period parses a text of mon's period language; a mistake is placed at the very
// character where that is possible.
func (b *builder) period(n *node, key, text string) period.Period {
	p, err := period.Parse(text)
	var syntax *period.SyntaxError
	switch v := n.get(key); {
	case err == nil:
	case errors.As(err, &syntax) && v != nil && v.plain:
		at := v.value
		at.column += 1 + utf8.RuneCountInString(text[:min(syntax.Offset, len(text))])
		b.problem(at, "%s: %s", key, syntax.Msg)
	case errors.As(err, &syntax):
		b.blame(n, key, "%s: %s", key, syntax.Msg)
	default:
		b.blame(n, key, "%s: %v", key, err)
	}
	return p
}

func (b *builder) periods(n *node, t *watchTable, w *Watch) {
	places := map[string]place{}
	for _, pn := range b.elements(t.Period.node, "period") {
		p := b.onePeriod(pn, w)
		if other, twice := places[p.Name]; twice {
			which := fmt.Sprintf("%q", p.Name)
			if p.Name == "" {
				which = "without name and when"
			}
			b.problem(pn.at("name"), "there is another period %s in this watch, in line %d: give each a name of its own", which, other.line)
		}
		places[p.Name] = pn.value
		b.sensible(pn, &p, w)
		w.Periods = append(w.Periods, p)
	}
	if len(w.Periods) == 0 && w.Redistribute == nil && t.Period.node == nil {
		b.quiet(n)
	}
}

// quiet notes a watch without alerts; unless another depends on it, it is
// hardly meant.
func (b *builder) quiet(n *node) { b.silent = append(b.silent, silence{len(b.site.Watches), n.value}) }

// A silence is a watch, by its index, that tells nobody.
type silence struct {
	index int
	place place
}

func (b *builder) onePeriod(n *node, w *Watch) watch.Period {
	var t periodTable
	_ = b.table(n, &t, periodSection) // the problems are in the report
	p := watch.Period{
		Name: t.Name, When: b.period(n, "when", t.When),
		AlertAfter: watch.AlertAfter(t.AlertAfter), AlertEvery: watch.AlertEvery(t.AlertEvery),
		NumAlerts: b.atLeast(n, "numalerts", t.NumAlerts, 0), UpAlertAfter: t.UpAlertAfter.Std(),
		NoCompAlerts: t.NoCompAlerts, AlertsDontCount: t.AlertsDontCount, ExitRange: t.AlertExitRange.ExitRange,
	}
	if p.Name == "" {
		p.Name = t.When
	}
	lists := []struct {
		key  string
		node *node
		into *[]watch.Action
	}{
		{"alert", t.Alert.node, &p.Alerts},
		{"upalert", t.UpAlert.node, &p.UpAlerts},
		{"startupalert", t.StartupAlert.node, &p.StartupAlerts},
		{"ackalert", t.AckAlert.node, &p.AckAlerts},
		{"disablealert", t.DisableAlert.node, &p.DisableAlerts},
	}
	told, refused := false, false
	for _, l := range lists {
		told = told || l.node != nil
		for _, an := range b.elements(l.node, l.key) {
			list := fmt.Sprintf("%s/%s/%s", w.Key, p.Name, l.key)
			if a, ok := b.action(an, list, w, l.key != "alert"); ok {
				*l.into = append(*l.into, a)
			} else {
				refused = true
			}
		}
	}
	b.escalate(&t, &p, w)
	if len(p.Escalate) > 0 && !refused && !tells(&p) {
		b.problem(n.at("escalate"), "escalate: nobody is told first, so that nobody could acknowledge anything: write alert, with a message in it, beside it")
	}
	if !told {
		b.warning(n.value, "the period has no alert: nobody is told")
	}
	b.loud(n, &p, w)
	return p
}

// escalate builds who else is told. The times count from the first alert.
func (b *builder) escalate(t *periodTable, p *watch.Period, w *Watch) {
	var before time.Duration
	for i, en := range b.elements(t.Escalate.node, "escalate") {
		var stage escalateTable
		_ = b.table(en, &stage, escalateSection) // the problems are in the report
		after := stage.After.Std()
		switch {
		case en.get("after") == nil:
			b.problem(en.value, "escalate does not say when: write after = \"30m\"")
		case after <= before && i > 0:
			b.blame(en, "after", "after: %s is not later than the %s of the one before: write them in the order of time", after, before)
		case after <= 0:
			b.blame(en, "after", "after: %s is no time to wait for an acknowledgement: put these into alert", after)
		}
		before = after
		if stage.Alert.node == nil {
			b.problem(en.value, "escalate has no alert: nobody is told")
		}
		e := watch.Escalation{After: after}
		list := fmt.Sprintf("%s/%s/escalate %s", w.Key, p.Name, after)
		for _, an := range b.elements(stage.Alert.node, "alert") {
			if a, ok := b.action(an, list, w, true); ok {
				e.Actions = append(e.Actions, a)
			}
		}
		p.Escalate = append(p.Escalate, e)
	}
}

// tells reports whether a failure is told to people: a pool that follows is none.
func tells(p *watch.Period) bool {
	return slices.ContainsFunc(p.Alerts, func(a watch.Action) bool { return !a.Follows })
}

// loud notes a period that would send a message every few seconds for as long as
// a failure lasts: mon's rule, and the first thing that people new to it meet.
func (b *builder) loud(n *node, p *watch.Period, w *Watch) {
	const often = time.Minute
	if w.Compat || p.AlertEvery.Interval > 0 || p.NumAlerts > 0 || w.Interval == 0 || w.Interval >= often {
		return
	}
	if tells(p) {
		b.warning(n.at("alert"), "alert: every failing run is alerted, each %s: set alertevery or numalerts", w.Interval)
	}
}

// redistribute builds the alert that is told everything.
func (b *builder) redistribute(t *watchTable, w *Watch) *watch.Action {
	if t.Redistribute.node == nil {
		return nil
	}
	a, ok := b.action(t.Redistribute.node, w.Key.String()+"/redistribute", w, true)
	if !ok {
		return nil
	}
	return &a
}

// sensible refuses a number of failures that never fit into their time. So does
// mon, though it looks at each line of alertafter by itself: of several, whose
// shortest time may be too short, it takes what never alerts.
func (b *builder) sensible(n *node, p *watch.Period, w *Watch) {
	a := p.AlertAfter
	pace := w.Interval
	if w.FailureInterval > 0 {
		pace = min(pace, w.FailureInterval)
	}
	if a.Count < 2 || a.Within == 0 || pace == 0 {
		return
	}
	needed := float64(a.Count-1) * float64(pace)
	if needed < float64(a.Within) {
		return
	}
	never := fmt.Sprintf("alertafter: %d failures never come within %s, as the watch runs every %s: the first and the last are %s apart",
		a.Count, a.Within, pace, time.Duration(min(needed, 1<<62)))
	if b.site.Compat {
		b.warning(n.at("alertafter"), "%s, so that nobody is ever alerted, in mon either", never)
		return
	}
	b.blame(n, "alertafter", "%s", never)
}
