package watch

import (
	"fmt"
	"slices"
	"time"
)

// An Escalation is who else is told of a failure that nobody has acknowledged.
type Escalation struct {
	// After is how long after the first alert of the period that is, or after its ack
	// has ended.
	After   time.Duration
	Actions []Action
}

// # Escalation
//
// Each period counts its own stages, for each outage:
//
//	first alert sent ─▶ stage 0 ─ After of the first ─▶ 1 ─ After of the second ─▶ 2 …
//
// A stage is told once, when nothing else holds a message back: not while the failure
// is acknowledged, nor out of the period, disabled, silenced or behind a dependency;
// then it is told as soon as that ends. The recovery is told to all stages that were
// told of the failure, whatever upalertafter says, and starts over.

// escalates reports whether any period has someone else to tell.
func (sv *service) escalates() bool {
	return slices.ContainsFunc(sv.Periods, func(p Period) bool { return len(p.Escalate) > 0 })
}

// escalation is the next stage of a period, and when it is due; nil if there is none.
func (sv *service) escalation(sub *subject, i int) (stage *Escalation, since time.Time) {
	p, state := &sv.Periods[i], &sub.periods[i]
	if state.firstAlert.IsZero() || state.stage >= len(p.Escalate) {
		return nil, since
	}
	return &p.Escalate[state.stage], latest(state.firstAlert, sub.unacked)
}

// escalate tells the stages of a period that are due.
func (r *round) escalate(sub *subject, i int) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	for {
		stage, since := r.sv.escalation(sub, i)
		switch {
		case stage == nil || r.sv.mute != "" || !elapsed(r.now, since, stage.After):
			return
		case !p.When.Contains(r.now):
			r.note(i, sub, OutsidePeriod, "not escalated: outside the period "+p.When.String())
			return
		}
		if why := r.silencedBy(sub); why != "" {
			r.note(i, sub, Silenced, "not escalated: "+why)
			return
		}
		state.stage++
		reason := fmt.Sprintf("not acknowledged for %s: stage %d of the escalation", stage.After, state.stage)
		if called := r.call(sub, i, stage.Actions, reason, true); len(called) > 0 {
			r.noteSent(i, sub, reason, called)
			sub.alertsSent++
		}
		sub.spoke = r.now
		r.set.version++
	}
}

// deescalate tells of the recovery who was told of the failure.
func (r *round) deescalate(sub *subject, i int) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	if r.sv.mute != "" {
		return
	}
	reason := "up again, which was escalated"
	var called []string
	for _, stage := range p.Escalate[:min(state.stage, len(p.Escalate))] {
		called = append(called, r.call(sub, i, stage.Actions, reason, true)...)
	}
	if len(called) > 0 {
		r.noteSent(i, sub, reason, called)
		sub.spoke = r.now
		r.set.version++
	}
	state.firstAlert, state.stage = time.Time{}, 0
}

// escalateDue tells the stages whose time has come though no result does.
func (s *Set) escalateDue(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		if !sv.escalates() || sv.mute != "" {
			continue
		}
		var due []*subject
		for _, sub := range sv.subjects {
			if at, ok := sv.nextStage(sub); ok && !now.Before(at) {
				due = append(due, sub)
			}
		}
		if len(due) == 0 {
			continue
		}
		r := newRound(s, sv, now, Failure)
		r.due = nil // this is no result
		r.summary, r.output = sv.summary, sv.output
		if sv.Scope == ScopeHost {
			r.summary = names(due)
		}
		for _, sub := range due {
			if r.blocked != nil {
				r.note(-1, sub, r.blocked.Code, "not escalated: "+r.blocked.Reason)
				continue
			}
			for i := range sv.Periods {
				r.escalate(sub, i)
			}
		}
		out = append(out, r.notices()...)
	}
	return out
}

// nextStage is when a subject's next stage of any period is due.
func (sv *service) nextStage(sub *subject) (at time.Time, ok bool) {
	if sub.status != Failed || sub.ack != nil {
		return at, false
	}
	for i := range sv.Periods {
		stage, since := sv.escalation(sub, i)
		if stage == nil {
			continue
		}
		if due := since.Add(stage.After); !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return at, ok
}

// nextEscalation is the first stage that comes due after the last tick: one that was
// held back then is told by the next result.
func (s *Set) nextEscalation() (at time.Time, ok bool) {
	for _, sv := range s.services {
		if !sv.escalates() || sv.mute != "" {
			continue
		}
		for _, sub := range sv.subjects {
			if due, some := sv.nextStage(sub); some && due.After(s.ticked) && (!ok || due.Before(at)) {
				at, ok = due, true
			}
		}
	}
	return at, ok
}

// Escalates reports whether any watch does.
func (s *Set) Escalates() bool {
	for _, sv := range s.services {
		if sv.escalates() {
			return true
		}
	}
	return false
}

// forgotten reports whether an ack has been there for so long that people are to be
// asked again. Only the owner ends it.
func (r *round) forgotten(sub *subject) bool {
	if r.sv.AckExpires == 0 || !elapsed(r.now, sub.ack.At, r.sv.AckExpires) {
		return false
	}
	if r.sv.mute != "" {
		return true
	}
	sub.ack, sub.unacked = nil, r.now
	for i := range sub.periods {
		sub.periods[i].remind = sub.periods[i].sent > 0
	}
	r.set.version++
	return true
}
