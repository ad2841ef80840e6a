package watch

import (
	"fmt"
	"slices"
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
	return slices.ContainsFunc(sv.Periods, func(p Period) bool { return len(p.UpAlerts)+len(p.Escalate) > 0 })
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
	judged    []*subject

	// again is true for what another director could not tell any more: it was counted.
	again   bool
	holding *held
	hushes  []*hush // in force, for this watch; nil: not looked up
}

// due is one action that goes out for some subjects.
type due struct {
	period   int
	action   Action
	subjects []*subject
	reason   string
}

func newRound(s *Set, sv *service, now time.Time, kind Kind) *round {
	r := &round{set: s, sv: sv, now: now, kind: kind, exit: sv.exit}
	if kind == Startup {
		zero := 0
		r.exit = &zero
	}
	if kind == Ack || kind == Disable {
		r.exit = nil
	}
	switch {
	case s.stopped != nil:
		r.block(Stopped, s.WhyPaused())
		return r
	case sv.Redistribute != nil:
		r.redistribute()
	}
	if mark, what := s.disabledBy(sv); mark != nil && (kind != Disable || sv.Compat) {
		r.block(DisabledByOperator, what+" is disabled"+mark.describe())
	} else if kind != Startup && kind != Up && !sv.dependencyGood() {
		r.block(DependencyFailing, "a dependency is not good: "+sv.alertDependency().String())
	}
	return r
}

// redistribute tells of every result who wants to know.
func (r *round) redistribute() {
	if r.sv.mute == "" || r.sv.Redistribute.Follows {
		r.due = append(r.due, &due{period: -1, action: *r.sv.Redistribute, reason: "every result is redistributed"})
	}
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
	r.judged = append(r.judged, sub)
	if r.blocked != nil {
		r.note(-1, sub, r.blocked.Code, r.blocked.Reason)
		return
	}
	if r.kind.failing() {
		r.unack(sub)
		if sub.ack != nil && !r.forgotten(sub) {
			r.note(-1, sub, Acknowledged, "acknowledged"+sub.ack.describe())
			return
		}
	}
	for i := range r.sv.Periods {
		r.judgePeriod(sub, i)
		switch {
		case r.kind.failing():
			r.escalate(sub, i)
		case r.kind == Up:
			r.deescalate(sub, i)
		}
	}
}

func (r *round) judgePeriod(sub *subject, i int) {
	if r.again && r.kind.failing() && sub.periods[i].sent > 0 {
		return // it was told: the next result comes to that
	}
	code, reason := r.decide(sub, i)
	if code != Sent {
		r.note(i, sub, code, reason)
		return
	}
	r.send(sub, i, reason)
}

// send puts the period's actions on the way and counts the round.
func (r *round) send(sub *subject, i int, reason string) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	silenced := ""
	if r.holdsBack(state) {
		silenced = r.silencedBy(sub)
	}
	called := r.call(sub, i, p.actions(r.kind), reason, r.sv.mute == "" && silenced == "")
	if len(called) == 0 {
		if r.kind.failing() && r.sv.mute == "" && silenced == "" && slices.ContainsFunc(p.Alerts, func(a Action) bool { return a.Missing }) {
			state.begin(r.now) // who is told next must not wait for a program that is not there
		}
		return
	}
	if r.sv.mute != "" {
		r.note(i, sub, NotOwner, "not told: "+r.sv.mute)
		r.hold(sub)
		return
	}
	if silenced != "" {
		r.hushed(i, sub, silenced)
		return
	}
	r.noteSent(i, sub, reason, called)
	r.set.version++
	sub.spoke = r.now
	sub.alertsSent++
	if r.kind == Up {
		state.sent, state.lastAlert = 0, time.Time{}
		state.compUpSent = state.compUpSent || p.NoCompAlerts
		return
	}
	if !r.counts() {
		return
	}
	state.sent++
	state.lastAlert = r.now
	state.compUpSent = false
	if r.kind.failing() {
		state.remind = false
		state.begin(r.now)
	}
}

// counts reports whether a message is one about the failure, to numalerts, alertevery and
// the upalert: in mon what only says that an operator did something is as well.
func (r *round) counts() bool {
	return r.sv.Compat || r.kind != Ack && r.kind != Disable
}

// begin notes the first alert of an outage.
func (p *periodState) begin(now time.Time) {
	if p.firstAlert.IsZero() {
		p.firstAlert = now
	}
}

// call puts actions on the way, if they are to go, and returns the names of those that
// can.
func (r *round) call(sub *subject, i int, actions []Action, reason string, going bool) (called []string) {
	for _, a := range actions {
		switch {
		case a.Follows:
		case a.Exit != nil && !a.Exit.Contains(exitOf(r.exit)):
			r.note(i, sub, OutsideExitRange, fmt.Sprintf("%s is for exit status %s only", a.Name, a.Exit))
		case a.Missing:
			r.note(i, sub, MissingProgram, a.Name+": no such program")
		default:
			called = append(called, a.Name)
			if going {
				r.add(sub, i, a, reason)
			}
		}
	}
	return called
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
	if !r.matters(period, code) {
		return
	}
	name := ""
	if period >= 0 {
		name = r.sv.Periods[period].Name
	}
	r.merge(sub, Decision{At: r.now, Kind: r.kind, Period: name, Code: code, Reason: reason})
}

// matters reports whether a decision not to send is about anybody: a period that has no
// message of the kind keeps none back. What holds for all periods (-1) of a failure does
// so for pools as well.
func (r *round) matters(period int, code Code) bool {
	switch {
	case code == BelowFall, code == BelowRise, code == NotTested, r.sv.Redistribute != nil, period < 0 && r.kind.failing():
		return true
	case period < 0:
		return slices.ContainsFunc(r.sv.Periods, func(p Period) bool { return p.tells(r.kind) })
	}
	return r.sv.Periods[period].tells(r.kind)
}

// tells reports whether the period has a message of a kind.
func (p *Period) tells(k Kind) bool {
	return slices.ContainsFunc(p.actions(k), func(a Action) bool { return !a.Follows })
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
	subjects := d.subjects
	if len(subjects) == 0 { // who is told everything is told of all
		subjects = r.judged
	}
	concerned := map[string]bool{}
	for _, sub := range subjects {
		concerned[sub.host] = true
	}
	if r.sv.Scope == ScopeGroup {
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
	n.subjects(subjects)
	return n
}

// blamed are the hosts that the present failure is about, or the one that ends.
func (sv *service) blamed() map[string]bool {
	out := map[string]bool{}
	for _, sub := range sv.subjects {
		if sub.host != "" && sub.status == Failed {
			out[sub.host] = true
		}
		for host := range sub.blamed {
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
	if !m.Until.IsZero() {
		text += " until " + clock(m.At, m.Until)
	}
	if m.Why != "" {
		text += ": " + m.Why
	}
	return text
}

// clock writes a time for people who know the day of another.
func clock(known, t time.Time) string {
	t = t.In(known.Location())
	if known.YearDay() == t.YearDay() && known.Year() == t.Year() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}
