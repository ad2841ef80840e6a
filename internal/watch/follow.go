package watch

import (
	"maps"
	"time"
)

// A follower is an action that is told who is up, by the thresholds of its
// period alone. In ScopeGroup the threshold is the group's: once the group has
// failed for long enough, a host that joins the failure is down at once.
type follower struct {
	period int
	action Action
	// down are the hosts (or "" for the group) whose failure has passed the
	// threshold; it stays so until the success.
	down map[string]bool
	// told is what was last sent; nil before the first.
	told map[string]Verdict
	// word is the last word on each host, up or down: what a pool goes by while
	// the host is unknown.
	word map[string]Verdict
}

func findFollowers(c Config) []follower {
	var out []follower
	for i, p := range c.Periods {
		for _, a := range p.Alerts {
			if a.Follows {
				out = append(out, follower{period: i, action: a, down: map[string]bool{}})
			}
		}
	}
	return out
}

// followAll tells the followers what changed since they were told last.
func (sv *service) followAll(s *Set, now time.Time) []Notice {
	var out []Notice
	for i := range sv.followers {
		if n, changed := sv.follow(s, now, &sv.followers[i]); changed {
			out = append(out, n)
		}
	}
	return out
}

// follow is what a follower is to be told now, if anything changed.
func (sv *service) follow(s *Set, now time.Time, f *follower) (Notice, bool) {
	sv.updateThreshold(f, now)
	hosts := sv.followed(s, f)
	states := make(map[string]Verdict, len(hosts))
	known := false
	for _, h := range hosts {
		states[h.Name] = h.Verdict
		known = known || h.Verdict != Unseen
	}
	if maps.Equal(states, f.told) || f.told == nil && !known {
		return Notice{}, false
	}
	f.told = states
	f.remember(states)
	return sv.stateNotice(s, now, f, hosts), true
}

// Retell has every follower told by the next result, whatever it was told before, and
// nothing of what no result has said since: the pools know at least as much as this
// set, which may be older. A crash may come between what a pool remembers and what is
// remembered here.
func (s *Set) Retell() {
	for _, sv := range s.services {
		for i := range sv.followers {
			sv.followers[i].told, sv.followers[i].word = nil, nil
		}
		for _, sub := range sv.subjects {
			sub.hearsay = true
		}
	}
}

func (f *follower) remember(states map[string]Verdict) {
	word := make(map[string]Verdict, len(states))
	for host, v := range states {
		if v == Unseen {
			v = f.word[host]
		}
		if v != Unseen {
			word[host] = v
		}
	}
	f.word = word
}

// Follow returns the present state for every follower, changed or not: what a
// new pool needs to hear. Of a host that is unknown it is the last word, by which
// an older pool goes as well; a host that never was up or down stays unknown.
func (s *Set) Follow(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		for i := range sv.followers {
			f := &sv.followers[i]
			if f.told == nil {
				continue
			}
			hosts := sv.followed(s, f)
			for i := range hosts {
				if hosts[i].Verdict == Unseen {
					hosts[i].Verdict = f.word[hosts[i].Name]
				}
			}
			out = append(out, sv.stateNotice(s, now, f, hosts))
		}
	}
	return out
}

// FollowNew returns the present state for followers that were told nothing yet, as
// far as it is known: what a follower that a reload added to a watch has to hear.
func (s *Set) FollowNew(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		for i := range sv.followers {
			if f := &sv.followers[i]; f.told == nil {
				if n, known := sv.follow(s, now, f); known {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

func (sv *service) stateNotice(s *Set, now time.Time, f *follower, hosts []Host) Notice {
	n := sv.notice(s, now, State, f.action, nil)
	n.Hosts, n.Period, n.Reason = hosts, sv.Periods[f.period].Name, "the state of the hosts changed"
	n.Output = sv.output
	return n
}

// updateThreshold decides which failing subjects have passed alertafter.
func (sv *service) updateThreshold(f *follower, now time.Time) {
	after := sv.Periods[f.period].AlertAfter
	for _, sub := range sv.subjects {
		switch {
		case sub.status != Failed:
			delete(f.down, sub.host)
		case sub.passed(now, after):
			f.down[sub.host] = true
		}
	}
}

// passed is alertafter without the pauses that alertevery makes in mon's
// counting: a pool must not wait for a mail's pause.
func (sub *subject) passed(now time.Time, after AlertAfter) bool {
	if sub.consecutive < after.Consecutive {
		return false
	}
	switch {
	case after.Count > 0:
		return sub.within(now, after) >= after.Count
	case after.Within > 0:
		return longer(now, sub.firstFailure, after.Within)
	}
	return true
}

// followed is the state that a follower should act on. Whatever freezes the pool
// - a disable, a dependency that is not good, a result that told nothing - makes
// the host unknown; of a failure below the threshold it has not heard yet.
func (sv *service) followed(s *Set, f *follower) []Host {
	hosts := sv.hostStates(s)
	mark, _ := s.disabledBy(sv)
	frozen := mark != nil || !sv.dependencyGood() && sv.events > 0
	for i := range hosts {
		h := &hosts[i]
		sub := sv.subjects[0]
		if sv.Scope == ScopeHost {
			sub = sv.subjects[i]
		}
		unseen := sub.hearsay || sv.Scope == ScopeHost && (sub.verdict == Unseen || sub.trapped == meantByTrap)
		switch {
		case frozen || h.Disabled || unseen || !sv.unknownSince.IsZero():
			h.Verdict = Unseen
		case sub.status == Failed && !f.down[sub.host]:
			h.Verdict = f.told[h.Name]
		}
	}
	return hosts
}
