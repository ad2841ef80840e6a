package watch

import (
	"maps"
	"slices"
	"time"
)

// Reconfigure replaces the watches. One whose key stays keeps its state: status,
// counters, acks, disables; hosts that stay keep theirs, periods go by name.
// What operators disabled stays disabled.
func (s *Set) Reconfigure(now time.Time, configs []Config, options Options) {
	old := s.services
	if options.RecursionLimit != 0 {
		s.options.RecursionLimit = options.RecursionLimit
	}
	if options.Keep != 0 {
		s.options.Keep = options.Keep
	}
	s.install(configs, old)
	for _, sv := range s.services {
		if sv.Scope == ScopeHost {
			sv.status = s.worst(sv)
		}
	}
	s.armTraps(now)
}

// Reset forgets the state of all watches, as mon's reset does: failures in
// progress start from nothing, and acks and disabled services are gone;
// disabled watches and hosts stay.
func (s *Set) Reset(now time.Time, configs []Config) {
	ownerships := map[Key]ownership{}
	for key, sv := range s.services {
		ownerships[key] = sv.ownership
	}
	s.install(configs, nil)
	for key, sv := range s.services {
		sv.ownership = ownerships[key]
	}
	s.armTraps(now)
}

func (sv *service) inherit(before *service) {
	sv.ownership = before.ownership
	if sv.Scope != before.Scope {
		sv.disabled = before.disabled
		return
	}
	sv.disabled, sv.depend = before.disabled, before.depend
	sv.status, sv.previousStatus = before.status, before.previousStatus
	sv.events, sv.exit, sv.summary, sv.output = before.events, before.exit, before.summary, before.output
	sv.lastFailed, sv.unknownSince, sv.unknownReason = before.lastFailed, before.unknownSince, before.unknownReason
	sv.lastTrap, sv.trapExpires = before.lastTrap, before.trapExpires
	if sv.TrapTimeout == before.TrapTimeout {
		sv.trapTimer = before.trapTimer
	}
	sv.decisions = before.decisions
	for i, sub := range sv.subjects {
		if was := before.subject(sub.host); was != nil {
			periods := inheritPeriods(sv, before, was)
			sv.subjects[i] = was
			was.periods = periods
		}
	}
	sv.index()
	for i := range sv.followers {
		sv.followers[i].inherit(sv, before)
	}
}

func inheritPeriods(sv, before *service, sub *subject) []periodState {
	out := make([]periodState, len(sv.Periods))
	for i := range sv.Periods {
		at := slices.IndexFunc(before.Periods, func(p Period) bool { return p.Name == sv.Periods[i].Name })
		if at >= 0 {
			out[i] = sub.periods[at]
		}
	}
	return out
}

func (f *follower) inherit(sv, before *service) {
	for _, was := range before.followers {
		if before.Periods[was.period].Name == sv.Periods[f.period].Name && was.action.ID == f.action.ID {
			f.down, f.told, f.word = was.down, was.told, was.word
		}
	}
}

// A Saved is what outlives a restart of the daemon, for one watch. It may be kept
// as JSON: the numbers of statuses, verdicts and the like in it stay what they are.
type Saved struct {
	Key
	Status        Status          `json:"status"`
	Previous      Status          `json:"previous"`
	Events        int             `json:"events,omitzero"`
	Exit          *int            `json:"exit,omitzero"`
	Summary       Text            `json:"summary,omitzero"`
	Output        Text            `json:"output,omitzero"`
	Depend        *bool           `json:"depend,omitzero"`
	UnknownSince  time.Time       `json:"unknown_since,omitzero"`
	UnknownReason Text            `json:"unknown_reason,omitzero"`
	LastTrap      time.Time       `json:"last_trap,omitzero"`
	LastFailed    time.Time       `json:"last_failed,omitzero"` // when it last ceased to fail
	TrapTimer     time.Time       `json:"trap_timer,omitzero"`
	TrapExpires   time.Time       `json:"trap_expires,omitzero"`
	Disabled      *Mark           `json:"disabled,omitzero"`
	Subjects      []SavedSubject  `json:"subjects,omitzero"`
	Followers     []SavedFollower `json:"followers,omitzero"`
	Mute          string          `json:"mute,omitzero"` // see [Set.Mute]
	Basis         time.Time       `json:"basis,omitzero"`
	By            string          `json:"by,omitzero"`
	Stamp         int64           `json:"stamp,omitzero"`
	Digested      time.Time       `json:"digested,omitzero"` // see [Set.Digest]
}

// SavedSubject is the part of [Saved] that each host, or the group, has.
type SavedSubject struct {
	Host          string                  `json:"host,omitzero"`
	Status        Status                  `json:"status"`
	Verdict       Verdict                 `json:"verdict,omitzero"`
	Since         time.Time               `json:"since,omitzero"`
	Consecutive   int                     `json:"consecutive,omitzero"`
	Rising        int                     `json:"rising,omitzero"`
	Failures      int                     `json:"failures,omitzero"`
	Alerts        int                     `json:"alerts,omitzero"`
	FirstFailure  time.Time               `json:"first_failure,omitzero"`
	LastFailure   time.Time               `json:"last_failure,omitzero"`
	LastSuccess   time.Time               `json:"last_success,omitzero"`
	FailureOutput Text                    `json:"failure_output,omitzero"`
	Reason        Text                    `json:"reason,omitzero"`
	Ack           *Mark                   `json:"ack,omitzero"`
	Recent        []time.Time             `json:"recent,omitzero"`
	Known         map[string]SavedVerdict `json:"known,omitzero"`
	Blamed        map[string]bool         `json:"blamed,omitzero"`
	Trapped       int                     `json:"trapped,omitzero"`
	Periods       map[string]SavedPeriod  `json:"periods,omitzero"`
	Named         time.Time               `json:"named,omitzero"` // FirstFailure, see [Outage.Named]
	Told          *Outage                 `json:"told,omitzero"`
	ToldAck       *Mark                   `json:"told_ack,omitzero"`
	Unacked       time.Time               `json:"unacked,omitzero"`
	Toll          Toll                    `json:"toll,omitzero"`
	Hushed        *SavedHeld              `json:"hushed,omitzero"`
}

// A SavedHeld is what a silence holds back.
type SavedHeld struct {
	Kind    Kind `json:"kind"`
	Exit    *int `json:"exit,omitzero"`
	Summary Text `json:"summary,omitzero"`
	Output  Text `json:"output,omitzero"`
}

func (h *held) save() *SavedHeld {
	if h == nil {
		return nil
	}
	return &SavedHeld{Kind: h.kind, Exit: h.exit, Summary: Text(h.summary), Output: Text(h.output)}
}

func (h *SavedHeld) restore() *held {
	if h == nil {
		return nil
	}
	return &held{kind: h.Kind, exit: h.Exit, summary: string(h.Summary), output: string(h.Output)}
}

// SavedVerdict is what was last found out about one host, in [ScopeGroup].
type SavedVerdict struct {
	Verdict Verdict `json:"verdict"`
	Reason  Text    `json:"reason,omitzero"`
}

// SavedPeriod is the part of [SavedSubject] that each period has.
type SavedPeriod struct {
	Sent        int       `json:"sent,omitzero"`
	Count       int       `json:"count,omitzero"`
	LastAlert   time.Time `json:"last_alert,omitzero"`
	WindowStart time.Time `json:"window_start,omitzero"`
	CompUpSent  bool      `json:"comp_up_sent,omitzero"`
	FirstAlert  time.Time `json:"first_alert,omitzero"`
	Stage       int       `json:"stage,omitzero"`
	Remind      bool      `json:"remind,omitzero"`
}

func (p periodState) save() SavedPeriod {
	return SavedPeriod{
		Sent: p.sent, Count: p.count, LastAlert: p.lastAlert, WindowStart: p.windowStart, CompUpSent: p.compUpSent,
		FirstAlert: p.firstAlert, Stage: p.stage, Remind: p.remind,
	}
}

func (p SavedPeriod) restore() periodState {
	return periodState{
		sent: p.Sent, count: p.Count, lastAlert: p.LastAlert, windowStart: p.WindowStart, compUpSent: p.CompUpSent,
		firstAlert: p.FirstAlert, stage: p.Stage, remind: p.Remind,
	}
}

// SavedFollower is what an action that is state was told. Without it a restart
// could put a failed server back: a threshold once passed stays passed.
type SavedFollower struct {
	Period string             `json:"period"`
	Action string             `json:"action"`
	Down   map[string]bool    `json:"down,omitzero"`
	Told   map[string]Verdict `json:"told,omitzero"`
	Word   map[string]Verdict `json:"word,omitzero"`
}

// Disabled is what operators silenced: groups and hosts.
func (s *Set) Disabled() (watches, hosts map[string]Mark) {
	return maps.Clone(s.disabledWatches), maps.Clone(s.disabledHosts)
}

// Save returns the state of all watches.
func (s *Set) Save() []Saved {
	out := make([]Saved, 0, len(s.order))
	for _, key := range s.order {
		out = append(out, s.services[key].save())
	}
	return out
}

func (sv *service) save() Saved {
	saved := Saved{
		Key: sv.Key, Status: sv.status, Previous: sv.previousStatus, Events: sv.events, Exit: sv.exit,
		Summary: Text(sv.summary), Output: Text(sv.output), Depend: sv.depend, UnknownSince: sv.unknownSince, UnknownReason: Text(sv.unknownReason),
		LastTrap: sv.lastTrap, LastFailed: sv.lastFailed, TrapTimer: sv.trapTimer, TrapExpires: sv.trapExpires, Disabled: sv.disabled, Digested: sv.digested,
	}
	if sv.mute != "" {
		saved.Mute, saved.Basis, saved.By, saved.Stamp = sv.mute, sv.basis, sv.by, sv.stamp
	}
	for _, f := range sv.followers {
		saved.Followers = append(saved.Followers, SavedFollower{
			Period: sv.Periods[f.period].Name, Action: f.action.ID, Down: maps.Clone(f.down), Told: maps.Clone(f.told), Word: maps.Clone(f.word),
		})
	}
	for _, sub := range sv.subjects {
		ss := SavedSubject{
			Host: sub.host, Status: sub.status, Verdict: sub.verdict, Since: sub.since, Consecutive: sub.consecutive, Rising: sub.rising,
			Failures: sub.failures, Alerts: sub.alertsSent, FirstFailure: sub.firstFailure, LastFailure: sub.lastFailure,
			LastSuccess: sub.lastSuccess, FailureOutput: Text(sub.failureOutput), Reason: Text(sub.reason), Ack: sub.ack,
			Recent: slices.Clone(sub.recent), Known: savedVerdicts(sub.known), Blamed: maps.Clone(sub.blamed), Trapped: int(sub.trapped),
			Named: sub.named, Told: sub.told, ToldAck: sub.toldAck, Unacked: sub.unacked, Toll: sub.toll, Hushed: sub.hushed.save(),
		}
		for i, p := range sub.periods {
			if p == (periodState{}) { // nearly always
				continue
			}
			if ss.Periods == nil {
				ss.Periods = map[string]SavedPeriod{}
			}
			ss.Periods[sv.Periods[i].Name] = p.save()
		}
		saved.Subjects = append(saved.Subjects, ss)
	}
	return saved
}

func savedVerdicts(known map[string]HostVerdict) map[string]SavedVerdict {
	if len(known) == 0 {
		return nil
	}
	out := make(map[string]SavedVerdict, len(known))
	for host, v := range known {
		out[host] = SavedVerdict{v.Verdict, Text(v.Reason)}
	}
	return out
}

// Restore puts saved states back. Watches, hosts and periods that are no longer
// configured are left out; of a watch that has another scope now only its disable
// is kept, as in [Set.Reconfigure]. With compat the last output and the decided
// dependency are not restored: mon does not save them, so that the first recovery
// after a restart tells nothing. What operators disabled is to be restored first.
func (s *Set) Restore(saved []Saved) {
	for _, from := range saved {
		if sv, ok := s.services[from.Key]; ok {
			s.restore(sv, from)
		}
	}
}

func (s *Set) restore(sv *service, from Saved) {
	sv.disabled = from.Disabled
	sv.mute, sv.basis, sv.by, sv.stamp, sv.digested = from.Mute, from.Basis, from.By, from.Stamp, from.Digested
	if len(from.Subjects) > 0 && (from.Subjects[0].Host == "") != (sv.Scope == ScopeGroup) {
		return
	}
	sv.status, sv.previousStatus, sv.exit = from.Status, from.Previous, from.Exit
	sv.summary, sv.lastTrap = string(from.Summary), from.LastTrap
	sv.lastFailed, sv.trapExpires = from.LastFailed, from.TrapExpires
	sv.unknownSince, sv.unknownReason = from.UnknownSince, string(from.UnknownReason)
	if sv.TrapTimeout > 0 && sv.trapTimer.IsZero() {
		sv.trapTimer = from.TrapTimer
	}
	if !sv.Compat {
		sv.events, sv.output, sv.depend = from.Events, string(from.Output), from.Depend
	}
	for _, ss := range from.Subjects {
		if sub := sv.subject(ss.Host); sub != nil {
			sub.restore(sv, ss)
		}
	}
	if sv.Scope == ScopeHost && sv.status == Failed { // perhaps who failed is gone
		sv.status = s.worst(sv)
	}
	for i := range sv.followers {
		sv.followers[i].restore(sv, from.Followers)
	}
}

// restore does not touch a follower that was told something meanwhile.
func (f *follower) restore(sv *service, saved []SavedFollower) {
	for _, from := range saved {
		if f.told == nil && from.Period == sv.Periods[f.period].Name && from.Action == f.action.ID {
			f.told, f.word = maps.Clone(from.Told), maps.Clone(from.Word)
			if from.Down != nil {
				f.down = maps.Clone(from.Down)
			}
		}
	}
}

func (sub *subject) restore(sv *service, ss SavedSubject) {
	sub.status, sub.since, sub.consecutive, sub.rising = ss.Status, ss.Since, ss.Consecutive, ss.Rising
	sub.failures, sub.alertsSent = ss.Failures, ss.Alerts
	sub.firstFailure, sub.lastFailure, sub.lastSuccess = ss.FirstFailure, ss.LastFailure, ss.LastSuccess
	sub.verdict, sub.failureOutput, sub.reason, sub.ack = ss.Verdict, string(ss.FailureOutput), string(ss.Reason), ss.Ack
	sub.recent, sub.blamed, sub.trapped = slices.Clone(ss.Recent), maps.Clone(ss.Blamed), trapped(ss.Trapped)
	sub.named, sub.told, sub.toldAck = ss.Named, ss.Told, ss.ToldAck
	sub.unacked, sub.hushed, sub.toll = ss.Unacked, ss.Hushed.restore(), ss.Toll
	sub.known = make(map[string]HostVerdict, len(ss.Known))
	for host, v := range ss.Known {
		sub.known[host] = HostVerdict{Host: host, Verdict: v.Verdict, Reason: string(v.Reason)}
	}
	for i := range sub.periods {
		sub.periods[i] = ss.Periods[sv.Periods[i].Name].restore()
	}
}

// RestoreDisabled puts back what operators silenced.
func (s *Set) RestoreDisabled(watches, hosts map[string]Mark) {
	maps.Copy(s.disabledWatches, watches)
	maps.Copy(s.disabledHosts, hosts)
}

// A View is the state of one watch for people and programs.
type View struct {
	Key
	Status, Previous Status
	Exit             *int
	Events           int
	Summary, Output  string
	// UnknownSince is set while runs tell nothing; UnknownReason is why.
	UnknownSince  time.Time
	UnknownReason string
	Disabled      *Mark
	Depend        *bool
	LastTrap      time.Time
	FirstFailure  time.Time
	LastFailure   time.Time
	LastSuccess   time.Time
	Ack           *Mark
	Consecutive   int
	AlertsSent    int // since the last success, all periods that count
	Hosts         []Host
	Decisions     []Decision
	// Mute is why this director tells nobody; empty if it does.
	Mute string
}

// View returns the state of one watch; ok is false if there is none.
func (s *Set) View(key Key) (v View, ok bool) {
	sv, ok := s.services[key]
	if !ok {
		return View{}, false
	}
	v = View{
		Key: key, Status: sv.status, Previous: sv.previousStatus, Exit: sv.exit, Events: sv.events,
		Summary: sv.summary, Output: sv.output, UnknownSince: sv.unknownSince, UnknownReason: sv.unknownReason,
		Depend: sv.depend, LastTrap: sv.lastTrap, Hosts: sv.hostStates(s), Decisions: slices.Clone(sv.decisions), Mute: sv.mute,
	}
	v.Disabled, _ = s.disabledBy(sv)
	n := Notice{}
	n.subjects(sv.subjects)
	v.FirstFailure, v.LastFailure, v.LastSuccess = n.FirstFailure, n.LastFailure, n.LastSuccess
	for i, sub := range sv.subjects {
		v.Consecutive = max(v.Consecutive, sub.consecutive)
		if sub.ack != nil {
			v.Ack = sub.ack
		}
		for j := range sub.periods {
			if !sv.Periods[j].AlertsDontCount {
				v.AlertsSent += sub.periods[j].sent
			}
		}
		if sv.Scope == ScopeHost && sub.verdict == Unseen && sub.status != Untested {
			v.Hosts[i].Reason = sub.reason
		}
	}
	return v, true
}
