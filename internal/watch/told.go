package watch

import (
	"cmp"
	"slices"
	"time"
)

// # Several directors
//
// Every director tests; one of them, the owner of a watch, tells people. On the
// others the watch is mute: it counts, its followers hear everything, but what
// would be sent is noted as [NotOwner] and not counted. What was told travels from
// the owner as a [Told]; a mute watch believes the newest, and lets nothing that it
// sees itself change it. Who becomes the owner compares it with what it saw:
//
//	told         seen here                    on becoming the owner
//	failing      failing                      goes on: its counters, its ack, its first failure
//	failing      success after that failure   one upalert
//	failing      nothing since                is taken for failing; the next result tells
//	no failure   a failure due to be told     is told at once
//	no failure   else                         nothing

// A Told is what people were told of one watch.
type Told struct {
	Key
	// Owned is true if it is the owner's own word: then Basis is the present.
	Owned bool `json:"owned,omitzero"`
	// Basis is until when this is known; zero: nothing is known.
	Basis time.Time `json:"basis,omitzero"`
	// By and Stamp name the word, whoever passes it on: the owner that said it, empty
	// for the director that asks, and that one's count.
	By    string `json:"by,omitzero"`
	Stamp int64  `json:"stamp,omitzero"`
	// Heard is the stamp of the last word of an owner before that the owner has heard.
	Heard int64 `json:"heard,omitzero"`
	// Digested is until when people were told what changed; zero: that is not to be said.
	Digested time.Time `json:"digested,omitzero"`
	// Subjects are those of which anything is to be said.
	Subjects []ToldSubject `json:"subjects,omitzero"`
}

// ToldSubject is the part of [Told] that each host, or the group, has.
type ToldSubject struct {
	Host    string                `json:"host,omitzero"`
	Outage  *Outage               `json:"outage,omitzero"` // nil if it was not failing
	Ack     *Mark                 `json:"ack,omitzero"`
	Unacked time.Time             `json:"unacked,omitzero"` // when an ack was taken back, the last time
	Periods map[string]ToldPeriod `json:"periods,omitzero"`
}

// ToldPeriod is what was sent in one period.
type ToldPeriod struct {
	Sent       int       `json:"sent,omitzero"`
	LastAlert  time.Time `json:"last_alert,omitzero"`
	CompUpSent bool      `json:"comp_up_sent,omitzero"`
	FirstAlert time.Time `json:"first_alert,omitzero"`
	Stage      int       `json:"stage,omitzero"`
	Remind     bool      `json:"remind,omitzero"`
}

// An Outage is a failure as the owner saw it.
type Outage struct {
	FirstFailure time.Time `json:"first_failure"`
	// Named is FirstFailure by the clock of the director that told of it first: it is
	// the name of the outage, and not moved to another clock.
	Named       time.Time       `json:"named"`
	LastFailure time.Time       `json:"last_failure"`
	Consecutive int             `json:"consecutive"`
	Output      Text            `json:"output,omitzero"`
	Reason      Text            `json:"reason,omitzero"`
	Blamed      map[string]bool `json:"blamed,omitzero"`
}

// An ownership is who tells people of a watch, and what is known of that.
type ownership struct {
	// mute is why nobody is told by this director; empty if it is the owner.
	mute string
	// since is when it became the owner; zero: it is none, or a restart may have
	// come between.
	since time.Time
	basis time.Time
	by    string
	stamp int64
	heard int64
	// startup is true if the alerts of a start were not sent.
	startup bool
	// digested is until when people were told what changed, see [Set.Digest]; zero:
	// nobody wants to know.
	digested time.Time
}

// held is a failure that would have been told, had this director been the owner.
type held struct {
	kind            Kind
	exit            *int
	summary, output string
}

// Version changes with what [Set.Told] and [Set.Words] say.
func (s *Set) Version() uint64 { return s.version }

// Told is what people were told of a watch; ok is false if there is none.
func (s *Set) Told(now time.Time, key Key) (t Told, ok bool) {
	sv, ok := s.services[key]
	if !ok {
		return Told{}, false
	}
	t = Told{Key: key, Owned: true, Basis: now, Stamp: now.UnixNano(), Heard: sv.heard, Digested: sv.digested}
	if sv.mute != "" {
		t.Owned, t.Basis, t.By, t.Stamp, t.Heard = false, sv.basis, sv.by, sv.stamp, 0
		t.Digested = time.Time{} // the owner's own word
	}
	for _, sub := range sv.subjects {
		if told := sv.told(sub); told.Outage != nil || told.Ack != nil || !told.Unacked.IsZero() || told.Periods != nil {
			t.Subjects = append(t.Subjects, told)
		}
	}
	return t, true
}

func (sv *service) told(sub *subject) ToldSubject {
	t := ToldSubject{Host: sub.host, Outage: sub.told, Ack: sub.ack, Unacked: sub.unacked}
	if sv.mute == "" {
		t.Outage = sub.outage()
	}
	if t.Ack == nil && t.Outage != nil && sv.mute != "" {
		t.Ack = sub.toldAck
	}
	for i, p := range sub.periods {
		told := ToldPeriod{Sent: p.sent, LastAlert: p.lastAlert, CompUpSent: p.compUpSent, FirstAlert: p.firstAlert, Stage: p.stage, Remind: p.remind}
		if told == (ToldPeriod{}) {
			continue
		}
		if t.Periods == nil {
			t.Periods = map[string]ToldPeriod{}
		}
		t.Periods[sv.Periods[i].Name] = told
	}
	return t
}

// outage is the present failure; nil if there is none.
func (sub *subject) outage() *Outage {
	if sub.status != Failed {
		return nil
	}
	named := sub.named
	if named.IsZero() {
		named = sub.firstFailure
	}
	return &Outage{
		FirstFailure: sub.firstFailure, Named: named, LastFailure: sub.lastFailure, Consecutive: sub.consecutive,
		Output: Text(sub.failureOutput), Reason: Text(sub.reason), Blamed: sub.blamed,
	}
}

// Mute says that another director is the owner of a watch, or nobody: why is the
// reason that decisions give.
func (s *Set) Mute(now time.Time, key Key, why string) {
	sv, ok := s.services[key]
	if !ok || sv.mute == why {
		return
	}
	was := sv.mute
	sv.mute = why
	s.version++
	if was != "" {
		return
	}
	for _, sub := range sv.subjects {
		sub.told, sub.toldAck, sub.held = sub.outage(), sub.ack, nil
	}
	if !sv.since.IsZero() {
		sv.basis, sv.by, sv.stamp, sv.since = now, "", now.UnixNano(), time.Time{}
	}
}

// Own makes this director the owner of a watch, as each one is without others. What
// is due to be told returns; after the table above, once.
func (s *Set) Own(now time.Time, key Key) []Notice {
	sv, ok := s.services[key]
	if !ok {
		return nil
	}
	if sv.since.IsZero() {
		sv.since = now
	}
	if sv.mute == "" {
		return nil
	}
	sv.mute, sv.heard = "", sv.stamp
	s.version++
	var out []Notice
	if sv.startup {
		sv.startup = false
		r := newRound(s, sv, now, Startup)
		for _, sub := range sv.subjects {
			r.judge(sub)
		}
		out = r.notices()
	}
	return append(out, s.takeUp(now, sv, sv.subjects)...)
}

// Absorb takes up what another director knows of a watch. self is the name of this
// one: its own word comes back to it, which is news only after a restart.
func (s *Set) Absorb(now time.Time, self string, t Told) []Notice {
	sv, ok := s.services[t.Key]
	if !ok {
		return nil
	}
	known := map[string]ToldSubject{}
	for _, sub := range t.Subjects {
		known[sub.Host] = sub
	}
	if t.Owned && sv.hearDigest(t.Digested) {
		s.version++
	}
	var out []Notice
	if sv.mute == "" && !t.Owned && t.By != self {
		sv.heard = t.Stamp
	}
	switch {
	case t.Basis.IsZero() || !t.Basis.After(sv.basis) || sv.stamp == t.Stamp && (sv.by == t.By || sv.by == "" && t.By == self):
	case sv.unheard(t):
	case sv.mute != "":
		sv.basis, sv.by, sv.stamp, sv.startup = t.Basis, t.By, t.Stamp, false
		for _, sub := range sv.subjects {
			sub.believe(sv, known[sub.host])
		}
		s.version++
	case !t.Owned && t.By != self && !sv.since.IsZero() && t.Basis.Before(sv.since.Add(lateWord)):
		out = s.late(now, sv, t, known)
	}
	return append(out, s.absorbAcks(now, sv, known)...)
}

// lateWord is by how much the last word of the owner before may seem to be newer than
// the takeover: the way takes time.
const lateWord = time.Second

// patience is how long a director that was the owner keeps to its last word, while the
// owner after it has not heard that.
const patience = 10 * time.Second

// unheard reports whether the new owner speaks without knowing the last word of this
// director. The two cross on their way.
func (sv *service) unheard(t Told) bool {
	return sv.mute != "" && sv.by == "" && sv.stamp != 0 && t.Owned && t.Heard != sv.stamp && t.Basis.Before(sv.basis.Add(patience))
}

// late is the last word of the owner before, that came after the takeover. It counts
// for whatever this director did not speak of itself.
func (s *Set) late(now time.Time, sv *service, t Told, known map[string]ToldSubject) []Notice {
	sv.basis, sv.by, sv.stamp = t.Basis, t.By, t.Stamp
	var subjects []*subject
	for _, sub := range sv.subjects {
		if sub.spoke.IsZero() || sub.spoke.Before(sv.since) {
			sub.believe(sv, known[sub.host])
			subjects = append(subjects, sub)
		}
	}
	s.version++
	return s.takeUp(now, sv, subjects)
}

// believe takes over what was told, and nothing of what is seen.
func (sub *subject) believe(sv *service, t ToldSubject) {
	if t.Ack != nil && !t.Ack.At.After(sub.unacked) {
		t.Ack = nil // it was taken back here, which the owner has not heard
	}
	if said := cmp.Or(sub.ack, sub.toldAck); said.renews(t.Ack) && t.Outage != nil && said.At.After(t.Unacked) && !said.At.Before(t.Outage.FirstFailure) {
		t.Ack = said // it was said here, which the owner has not heard
	}
	sub.told, sub.toldAck = t.Outage, t.Ack
	if t.Outage == nil {
		sub.held = nil // who owns it has just seen it good; if it is not, the next result says so
	}
	for i := range sub.periods {
		p, from := &sub.periods[i], t.Periods[sv.Periods[i].Name]
		p.sent, p.lastAlert, p.compUpSent = from.Sent, from.LastAlert, from.CompUpSent
		p.firstAlert, p.stage, p.remind = from.FirstAlert, from.Stage, from.Remind
	}
	switch {
	case t.Outage == nil || sub.status != Failed:
	case t.Ack != nil:
		sub.ack = t.Ack
	case sub.ack != nil && (sub.ack.At.Before(t.Unacked) || sub.ack.At.Before(t.Outage.FirstFailure)):
		sub.ack = nil // it was taken back, or is about another outage
	}
}

// absorbAcks takes what operators said to another director about the present failure.
func (s *Set) absorbAcks(now time.Time, sv *service, known map[string]ToldSubject) []Notice {
	r := newRound(s, sv, now, Ack)
	for _, sub := range sv.subjects {
		sub.absorbUnack(known[sub.host].Unacked)
		ack := known[sub.host].Ack
		if ack == nil || !sub.concerns(ack) {
			continue
		}
		same := !sv.Compat && sub.ack.says(ack) // who was told of it is not told again
		sub.ack = ack
		s.version++
		if same {
			continue
		}
		r.output = ack.By + ": " + ack.Why
		r.judge(sub)
	}
	return r.notices()
}

// absorbUnack takes back an ack, as an operator did on another director.
func (sub *subject) absorbUnack(at time.Time) {
	if at.IsZero() || !at.After(sub.unacked) || sub.ack == nil || !sub.ack.At.Before(at) {
		return
	}
	sub.ack, sub.toldAck, sub.unacked = nil, nil, at
}

// concerns reports whether an ack is news, and about the present failure.
func (sub *subject) concerns(ack *Mark) bool {
	if sub.status != Failed || ack.At.Before(sub.firstFailure) || !ack.At.After(sub.unacked) {
		return false
	}
	return ack.renews(sub.ack)
}

// renews reports whether a mark is a later word than another, which may be none: not the
// same one by another clock, but also the same words once more.
func (m *Mark) renews(have *Mark) bool {
	switch {
	case m == nil || have == nil:
		return m != nil
	case m.By != have.By || m.Why != have.Why:
		return m.At.After(have.At)
	}
	return m.At.Sub(have.At) >= near
}

// takeUp compares what was told with what was seen.
func (s *Set) takeUp(now time.Time, sv *service, subjects []*subject) []Notice {
	var recovered, due []*subject
	for _, sub := range subjects {
		told := sub.told
		switch {
		case told == nil:
		case sub.status == Failed:
			sub.goOn(told)
		case sub.status == OK && sub.lastSuccess.After(told.LastFailure):
			recovered = append(recovered, sub)
		default:
			sv.assume(sub)
		}
		if sub.status == Failed && sub.held != nil {
			due = append(due, sub)
		}
	}
	if sv.Scope == ScopeHost {
		if status := s.worst(sv); status != sv.status {
			sv.setStatus(status, now)
		}
	}
	out := append(s.tellRecovery(now, sv, recovered), s.tellHeld(now, sv, due)...)
	for _, sub := range subjects {
		sub.told, sub.toldAck, sub.held = nil, nil, nil
	}
	return out
}

// goOn joins the failure seen here and the one that was told.
func (sub *subject) goOn(told *Outage) {
	sub.firstFailure, sub.named = told.FirstFailure, told.Named
	sub.lastFailure = latest(sub.lastFailure, told.LastFailure)
	sub.consecutive = max(sub.consecutive, told.Consecutive)
	sub.failureOutput = string(told.Output)
	sub.knownAck()
}

// knownAck takes over the ack of the failure that was told, which is seen here too.
func (sub *subject) knownAck() {
	if sub.ack == nil && sub.toldAck != nil && sub.toldAck.At.After(sub.unacked) {
		sub.ack = sub.toldAck
	}
}

// assume takes a subject for failing, because the owner before said so, and nothing
// newer was seen here. For pools that is no verdict.
func (sv *service) assume(sub *subject) {
	sub.verdict, sub.reason, sub.blamed = Unseen, string(sub.told.Reason), sub.told.Blamed
	sv.turn(sub, Failed, sub.told.FirstFailure)
	sub.rising = 0
	sub.goOn(sub.told)
	if sub.host == "" {
		sv.summary = firstLine(sub.failureOutput)
		sv.setStatus(Failed, sub.told.FirstFailure)
	}
}

// tellRecovery is the upalert that nobody could send.
func (s *Set) tellRecovery(now time.Time, sv *service, subjects []*subject) []Notice {
	if len(subjects) == 0 {
		return nil
	}
	r := newRound(s, sv, now, Up)
	r.again = true
	zero := 0
	r.exit = &zero
	r.output = string(subjects[0].told.Output)
	r.summary = firstLine(r.output)
	if sv.Scope == ScopeHost {
		r.summary = names(subjects)
	}
	if r.blocked == nil && !sv.hasUpAlerts() {
		r.block(NothingToAnswer, "the watch has no upalerts")
	}
	for _, sub := range subjects {
		sub.firstFailure, sub.lastFailure, sub.named = sub.told.FirstFailure, sub.told.LastFailure, sub.told.Named
		sub.blamed = sub.told.Blamed
		r.judge(sub)
	}
	out := r.notices()
	for _, sub := range subjects {
		sub.clear(sv, sub.lastSuccess)
	}
	return out
}

// tellHeld is the failures that nobody could tell.
func (s *Set) tellHeld(now time.Time, sv *service, subjects []*subject) []Notice {
	var out []Notice
	for len(subjects) > 0 {
		h := subjects[0].held
		same := func(sub *subject) bool { return sub.held == h }
		r := newRound(s, sv, now, h.kind)
		r.again, r.exit, r.summary, r.output = true, h.exit, h.summary, h.output
		for _, sub := range subjects {
			if same(sub) {
				r.judge(sub)
			}
		}
		out = append(out, r.notices()...)
		subjects = slices.DeleteFunc(subjects, same)
	}
	return out
}

// hold notes what is not told, for who becomes the owner.
func (r *round) hold(sub *subject) {
	if !r.kind.failing() {
		return
	}
	if r.holding == nil {
		r.holding = &held{kind: r.kind, exit: r.exit, summary: r.summary, output: r.output}
	}
	sub.held = r.holding
}

// Shift moves all times, as between two clocks; it changes a copy.
func (t Told) Shift(move func(time.Time) time.Time) Told {
	t.Basis, t.Digested = move(t.Basis), move(t.Digested)
	t.Subjects = slices.Clone(t.Subjects)
	for i := range t.Subjects {
		sub := &t.Subjects[i]
		sub.Outage, sub.Ack, sub.Unacked = sub.Outage.shift(move), sub.Ack.shift(move), move(sub.Unacked)
		periods := make(map[string]ToldPeriod, len(sub.Periods))
		for name, p := range sub.Periods {
			p.LastAlert, p.FirstAlert = move(p.LastAlert), move(p.FirstAlert)
			periods[name] = p
		}
		sub.Periods = periods
	}
	return t
}

func (o *Outage) shift(move func(time.Time) time.Time) *Outage {
	if o == nil {
		return nil
	}
	moved := *o
	moved.FirstFailure, moved.LastFailure = move(o.FirstFailure), move(o.LastFailure)
	return &moved
}

func (m *Mark) shift(move func(time.Time) time.Time) *Mark {
	if m == nil {
		return nil
	}
	return &Mark{At: move(m.At), By: m.By, Why: m.Why, Until: move(m.Until), Hosts: m.Hosts}
}

// WithAcks is what was told of a watch some time ago, with the acks of now.
func WithAcks(then, now []ToldSubject) []ToldSubject {
	out := slices.Clone(then)
	for i := range out {
		out[i].Ack, out[i].Unacked = nil, time.Time{}
	}
	for _, sub := range now {
		if sub.Ack == nil && sub.Unacked.IsZero() {
			continue
		}
		at := slices.IndexFunc(out, func(o ToldSubject) bool { return o.Host == sub.Host })
		if at < 0 {
			out, at = append(out, ToldSubject{Host: sub.Host}), len(out)
		}
		out[at].Ack, out[at].Unacked = sub.Ack, sub.Unacked
	}
	return out
}
