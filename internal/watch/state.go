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
	s.install(configs, nil)
	s.armTraps(now)
}

func (sv *service) inherit(before *service) {
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
			f.down, f.told = was.down, was.told
		}
	}
}

// A Saved is what outlives a restart of the daemon, for one watch.
type Saved struct {
	Key
	Status, Previous Status
	Events           int
	Exit             *int
	Summary          string
	Output           string
	LastTrap         time.Time
	LastFailed       time.Time // when it last ceased to fail
	TrapExpires      time.Time
	Disabled         *Mark
	Subjects         []SavedSubject
}

// SavedSubject is the part of [Saved] that each host, or the group, has.
type SavedSubject struct {
	Host                                   string
	Status                                 Status
	Since                                  time.Time
	Consecutive, Rising, Failures, Alerts  int
	FirstFailure, LastFailure, LastSuccess time.Time
	FailureOutput, Reason                  string
	Ack                                    *Mark
	Recent                                 []time.Time
	Known                                  map[string]HostVerdict
	Blamed                                 map[string]bool
	Trapped                                int
	Periods                                map[string]SavedPeriod
}

// SavedPeriod is the part of [SavedSubject] that each period has.
type SavedPeriod struct {
	Sent, Count            int
	LastAlert, WindowStart time.Time
	CompUpSent             bool
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
		Summary: sv.summary, Output: sv.output, LastTrap: sv.lastTrap, LastFailed: sv.lastFailed, TrapExpires: sv.trapExpires, Disabled: sv.disabled,
	}
	for _, sub := range sv.subjects {
		ss := SavedSubject{
			Host: sub.host, Status: sub.status, Since: sub.since, Consecutive: sub.consecutive, Rising: sub.rising,
			Failures: sub.failures, Alerts: sub.alertsSent, FirstFailure: sub.firstFailure, LastFailure: sub.lastFailure,
			LastSuccess: sub.lastSuccess, FailureOutput: sub.failureOutput, Reason: sub.reason, Ack: sub.ack,
			Recent: slices.Clone(sub.recent), Known: maps.Clone(sub.known), Blamed: maps.Clone(sub.blamed), Trapped: int(sub.trapped), Periods: map[string]SavedPeriod{},
		}
		for i, p := range sub.periods {
			ss.Periods[sv.Periods[i].Name] = SavedPeriod{Sent: p.sent, Count: p.count, LastAlert: p.lastAlert, WindowStart: p.windowStart, CompUpSent: p.compUpSent}
		}
		saved.Subjects = append(saved.Subjects, ss)
	}
	return saved
}

// Restore puts saved states back. Watches, hosts and periods that are no longer
// configured are left out. With compat the last output is not restored: mon
// does not save it, so that the first recovery after a restart tells nothing.
func (s *Set) Restore(saved []Saved) {
	for _, from := range saved {
		sv, ok := s.services[from.Key]
		if !ok {
			continue
		}
		sv.status, sv.previousStatus, sv.exit = from.Status, from.Previous, from.Exit
		sv.summary, sv.lastTrap, sv.disabled = from.Summary, from.LastTrap, from.Disabled
		sv.lastFailed, sv.trapExpires = from.LastFailed, from.TrapExpires
		if !sv.Compat {
			sv.events, sv.output = from.Events, from.Output
		}
		for _, ss := range from.Subjects {
			if sub := sv.subject(ss.Host); sub != nil {
				sub.restore(sv, ss)
			}
		}
	}
}

func (sub *subject) restore(sv *service, ss SavedSubject) {
	sub.status, sub.since, sub.consecutive, sub.rising = ss.Status, ss.Since, ss.Consecutive, ss.Rising
	sub.failures, sub.alertsSent = ss.Failures, ss.Alerts
	sub.firstFailure, sub.lastFailure, sub.lastSuccess = ss.FirstFailure, ss.LastFailure, ss.LastSuccess
	sub.failureOutput, sub.reason, sub.ack = ss.FailureOutput, ss.Reason, ss.Ack
	sub.recent, sub.known = slices.Clone(ss.Recent), maps.Clone(ss.Known)
	sub.blamed, sub.trapped = maps.Clone(ss.Blamed), trapped(ss.Trapped)
	for i := range sub.periods {
		if p, ok := ss.Periods[sv.Periods[i].Name]; ok {
			sub.periods[i] = periodState{sent: p.Sent, count: p.Count, lastAlert: p.LastAlert, windowStart: p.WindowStart, compUpSent: p.CompUpSent}
		}
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
		Depend: sv.depend, LastTrap: sv.lastTrap, Hosts: sv.hostStates(s), Decisions: slices.Clone(sv.decisions),
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
