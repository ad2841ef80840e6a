package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// alertFailure runs a failure through the order of tests.
func (s *Set) alertFailure(now time.Time, sv *service, kind Kind, summary string, r Result, subjects []*subject) []Notice {
	round := newRound(s, sv, now, kind)
	round.summary, round.output = summary, r.Output
	for _, sub := range subjects {
		round.judge(sub)
	}
	return round.notices()
}

// alertRecovery tells of a success. Without a recovery only those are told who
// are told everything (redistribute).
func (s *Set) alertRecovery(now time.Time, sv *service, recovered bool, subjects []*subject) []Notice {
	if sv.Redistribute == nil && (!recovered || !sv.hasUpAlerts()) {
		return nil
	}
	round := newRound(s, sv, now, Up)
	zero := 0
	round.exit = &zero
	round.summary, round.output = sv.summary, sv.output
	if sv.Scope == ScopeHost {
		round.summary = names(subjects)
	}
	for _, sub := range subjects {
		round.judge(sub)
	}
	return round.notices()
}

func (sv *service) hasUpAlerts() bool {
	return slices.ContainsFunc(sv.Periods, func(p Period) bool { return len(p.UpAlerts) > 0 })
}

// A round is the decisions about one event, for all subjects concerned.
type round struct {
	set  *Set
	sv   *service
	now  time.Time
	kind Kind

	exit    *int
	summary string
	output  string

	// blocked is why nothing of this round goes out, whatever the periods say.
	blocked   *Decision
	decisions []*Decision
	due       []*due
	concerned map[*subject]bool
}

// due is one action that goes out for some subjects.
type due struct {
	period   int
	action   Action
	subjects []*subject
	reason   string
}

func newRound(s *Set, sv *service, now time.Time, kind Kind) *round {
	r := &round{set: s, sv: sv, now: now, kind: kind, exit: sv.exit, concerned: map[*subject]bool{}}
	if kind == Startup {
		zero := 0
		r.exit = &zero
	}
	if kind == Ack || kind == Disable {
		r.exit = nil
	}
	switch {
	case s.stopped:
		r.block(Stopped, "the scheduler is stopped")
		return r
	case sv.Redistribute != nil && kind != Ack && kind != Disable:
		r.due = append(r.due, &due{period: -1, action: *sv.Redistribute, reason: "every result is redistributed"})
	}
	if mark, what := s.disabledBy(sv); mark != nil && (kind != Disable || sv.Compat) {
		r.block(DisabledByOperator, what+" is disabled"+mark.describe())
	} else if kind != Startup && kind != Up && !sv.dependencyGood() {
		r.block(DependencyFailing, "a dependency is not good: "+sv.alertDependency().String())
	}
	return r
}

func (r *round) block(code Code, reason string) {
	r.blocked = &Decision{At: r.now, Kind: r.kind, Code: code, Reason: reason}
}

// dependencyGood tells whether alerts may go out as far as dependencies are
// concerned. One that was never decided holds them back (mon).
func (sv *service) dependencyGood() bool {
	guarded := !sv.Depend.On.Empty() && sv.Depend.Behavior == SuppressAlerts || !sv.Depend.Alert.Empty()
	return !guarded || sv.depend != nil && *sv.depend
}

func (sv *service) alertDependency() Expr {
	if !sv.Depend.On.Empty() && sv.Depend.Behavior == SuppressAlerts {
		return sv.Depend.On
	}
	return sv.Depend.Alert
}

// judge decides about one subject.
func (r *round) judge(sub *subject) {
	if r.blocked != nil {
		r.note(-1, sub, r.blocked.Code, r.blocked.Reason)
		return
	}
	if r.kind.failing() {
		r.unack(sub)
		if sub.ack != nil {
			r.note(-1, sub, Acknowledged, "acknowledged"+sub.ack.describe())
			return
		}
	}
	for i := range r.sv.Periods {
		code, reason := r.decide(sub, i)
		if code != Sent {
			r.note(i, sub, code, reason)
			continue
		}
		r.send(sub, i, reason)
	}
}

// unack ends an ack when unack_summary is set and the summary, white space
// apart, is not the one of the failure before.
func (r *round) unack(sub *subject) {
	if sub.ack == nil || !r.sv.UnackSummary || r.sv.Scope == ScopeHost {
		return
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if squeeze(orNoSummary(firstLine(r.output))) == squeeze(orNoSummary(firstLine(sub.failureOutput))) {
		return
	}
	sub.ack = nil
	sub.consecutive = 1
	for i := range sub.periods {
		p := &sub.periods[i]
		p.lastAlert, p.windowStart, p.count = time.Time{}, time.Time{}, 0
	}
}

func orNoSummary(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(NO SUMMARY)"
	}
	return s
}

// decide is the tests of one period, in mon's order.
func (r *round) decide(sub *subject, i int) (Code, string) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	if !p.When.Contains(r.now) && (r.kind != Up || r.sv.Compat) {
		return OutsidePeriod, "outside the period " + p.When.String()
	}
	switch r.kind {
	case Up, Ack:
		return r.decidePaired(sub, p, state)
	case Startup, Disable:
		return Sent, r.kind.String()
	case Failure, Trap, TrapTimeout, Test, State, Redistribute:
	}
	if p.ExitRange != nil && !p.ExitRange.Contains(*r.exit) {
		return OutsideExitRange, fmt.Sprintf("exit status %d is outside alertexitrange %s", *r.exit, p.ExitRange)
	}
	if p.NumAlerts > 0 && state.sent >= p.NumAlerts {
		return EnoughAlerts, fmt.Sprintf("%d alerts were sent, numalerts is %d", state.sent, p.NumAlerts)
	}
	if why := r.tooSoon(sub, p, state); why != "" {
		return TooSoon, why
	}
	if why := r.tooFew(sub, p, state); why != "" {
		return TooFew, why
	}
	return Sent, fmt.Sprintf("failure %d in a row", sub.consecutive)
}

// decidePaired is the tests of what answers an alert: an upalert, an ackalert.
func (r *round) decidePaired(sub *subject, p *Period, state *periodState) (Code, string) {
	switch {
	case !p.NoCompAlerts && state.sent == 0:
		return NothingToAnswer, "no alert was sent before in this period"
	case r.kind == Up && p.NoCompAlerts && state.compUpSent:
		return NothingToAnswer, "an upalert was sent already, and no alert since (no_comp_alerts)"
	case r.kind == Up && p.UpAlertAfter > 0 && !sub.firstFailure.IsZero() && !elapsed(r.now, sub.firstFailure, p.UpAlertAfter):
		return TooShort, fmt.Sprintf("down for %s only, upalertafter is %s", r.now.Sub(sub.firstFailure), p.UpAlertAfter)
	case r.kind == Up && !sub.firstFailure.IsZero():
		return Sent, fmt.Sprintf("up again after %s", r.now.Sub(sub.firstFailure).Round(time.Millisecond))
	}
	return Sent, r.kind.String()
}

// tooSoon is alertevery.
func (r *round) tooSoon(sub *subject, p *Period, state *periodState) string {
	every := p.AlertEvery
	if every.Interval == 0 || elapsed(r.now, state.lastAlert, every.Interval) {
		return ""
	}
	switch every.Compare {
	case CompareSummary:
		if !r.sameSummary(sub) {
			return ""
		}
	case CompareDetail:
		if r.detail(sub) != sub.failureOutput {
			return ""
		}
	case CompareNothing, Strict:
	}
	return fmt.Sprintf("the last alert was %s ago, alertevery is %s (%s)", r.now.Sub(state.lastAlert).Round(time.Second), every.Interval, every.Compare)
}

func (r *round) detail(sub *subject) string {
	if r.sv.Scope == ScopeHost {
		return sub.host + "\n" + sub.reason
	}
	return r.output
}

// sameSummary compares this failure with the one before: the exact line with
// mon's compat, else the set of words, which by convention are the failed hosts.
func (r *round) sameSummary(sub *subject) bool {
	this, before := orNoSummary(firstLine(r.detail(sub))), orNoSummary(firstLine(sub.failureOutput))
	if r.sv.Compat {
		return this == before
	}
	set := func(s string) []string { return slices.Compact(slices.Sorted(slices.Values(strings.Fields(s)))) }
	return slices.Equal(set(this), set(before))
}

// tooFew is alertafter. Of several lines in one period the number of
// consecutive failures is tested first, then the window, else the time.
func (r *round) tooFew(sub *subject, p *Period, state *periodState) string {
	after := p.AlertAfter
	if sub.consecutive < after.Consecutive {
		return fmt.Sprintf("failure %d of alertafter %d", sub.consecutive, after.Consecutive)
	}
	switch {
	case after.Count > 0 && r.sv.Compat:
		return r.tumbling(after, state)
	case after.Count > 0:
		if n := sub.within(r.now, after); n < after.Count {
			return fmt.Sprintf("failure %d of alertafter %d within %s", n, after.Count, after.Within)
		}
	case after.Within > 0:
		if state.windowStart.IsZero() {
			state.windowStart = r.now
		}
		if !longer(r.now, state.windowStart, after.Within) {
			return fmt.Sprintf("failing for %s, alertafter is %s", r.now.Sub(state.windowStart), after.Within)
		}
	}
	return ""
}

// tumbling is mon's window: the count starts over when it has passed.
func (r *round) tumbling(after AlertAfter, state *periodState) string {
	few := func() string {
		return fmt.Sprintf("failure %d of alertafter %d within %s", state.count, after.Count, after.Within)
	}
	state.count++
	over := state.windowStart.IsZero() || longer(r.now, state.windowStart, after.Within)
	if !over && state.count < after.Count {
		return few()
	}
	if over {
		state.count = 1
	}
	if state.count == 1 {
		state.windowStart = r.now
	}
	if state.count < after.Count {
		return few()
	}
	return ""
}

// within counts the failures inside the sliding window that ends now. Successes
// between them do not matter: a service that flaps is what it is for.
func (sub *subject) within(now time.Time, after AlertAfter) int {
	n := 0
	for _, t := range sub.recent {
		if !longer(now, t, after.Within) {
			n++
		}
	}
	return n
}

// send puts the period's actions on the way and counts the round.
func (r *round) send(sub *subject, i int, reason string) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	var called []string
	for _, a := range p.actions(r.kind) {
		switch {
		case a.Follows:
		case a.Exit != nil && !a.Exit.Contains(exitOf(r.exit)):
			r.note(i, sub, OutsideExitRange, fmt.Sprintf("%s is for exit status %s only", a.Name, a.Exit))
		case a.Missing:
			r.note(i, sub, MissingProgram, a.Name+": no such program")
		default:
			called = append(called, a.Name)
			r.add(sub, i, a, reason)
		}
	}
	if len(called) == 0 {
		return
	}
	r.noteSent(i, sub, reason, called)
	sub.alertsSent++
	r.concerned[sub] = true
	if r.kind == Up {
		state.sent, state.lastAlert = 0, time.Time{}
		state.compUpSent = state.compUpSent || p.NoCompAlerts
		return
	}
	state.sent++
	state.lastAlert = r.now
	state.compUpSent = false
}

// exitOf is the status that exit= compares with: mon's undefined is 0.
func exitOf(exit *int) int {
	if exit == nil {
		return 0
	}
	return *exit
}

func (r *round) add(sub *subject, period int, a Action, reason string) {
	for _, d := range r.due {
		if d.period == period && d.action.ID == a.ID {
			d.subjects = append(d.subjects, sub)
			return
		}
	}
	r.due = append(r.due, &due{period: period, action: a, subjects: []*subject{sub}, reason: reason})
}

// note remembers a decision; the same about several hosts is one.
func (r *round) note(period int, sub *subject, code Code, reason string) {
	name := ""
	if period >= 0 {
		name = r.sv.Periods[period].Name
	}
	r.merge(sub, Decision{At: r.now, Kind: r.kind, Period: name, Code: code, Reason: reason})
}

func (r *round) noteSent(period int, sub *subject, reason string, called []string) {
	r.merge(sub, Decision{At: r.now, Kind: r.kind, Period: r.sv.Periods[period].Name, Code: Sent, Reason: reason, Actions: called})
}

func (r *round) merge(sub *subject, d Decision) {
	for _, have := range r.decisions {
		if have.Period == d.Period && have.Code == d.Code && have.Reason == d.Reason {
			have.Hosts = append(have.Hosts, sub.host)
			return
		}
	}
	if sub.host != "" {
		d.Hosts = []string{sub.host}
	}
	r.decisions = append(r.decisions, &d)
}

// notices closes the round.
func (r *round) notices() []Notice {
	for _, d := range r.decisions {
		r.sv.remember(r.set.options.Keep, *d)
	}
	var out []Notice
	for _, d := range r.due {
		if d.action.Missing {
			r.sv.remember(r.set.options.Keep, Decision{At: r.now, Kind: r.kind, Code: MissingProgram, Reason: d.action.Name + ": no such program"})
			continue
		}
		out = append(out, r.notice(d))
	}
	return out
}

func (r *round) notice(d *due) Notice {
	concerned := map[string]bool{}
	for _, sub := range d.subjects {
		concerned[sub.host] = true
	}
	if len(d.subjects) == 0 || r.sv.Scope == ScopeGroup {
		concerned = r.sv.blamed()
	}
	n := r.sv.notice(r.set, r.now, r.kind, d.action, concerned)
	n.Reason = d.reason
	n.Exit, n.Output = r.exit, r.output
	if r.kind.failing() || r.kind == Up {
		n.Summary = r.summary
	}
	if d.period >= 0 {
		n.Period = r.sv.Periods[d.period].Name
	}
	n.subjects(d.subjects)
	return n
}

// blamed are the hosts that the group's failure names.
func (sv *service) blamed() map[string]bool {
	out := map[string]bool{}
	for _, sub := range sv.subjects {
		if sub.host != "" && sub.status == Failed {
			out[sub.host] = true
		}
		for host := range maps.Keys(sub.bad) {
			out[host] = true
		}
	}
	return out
}

func (m *Mark) describe() string {
	text := ""
	if m.By != "" {
		text = " by " + m.By
	}
	if m.Why != "" {
		text += ": " + m.Why
	}
	return text
}
