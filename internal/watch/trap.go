package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A TrapMessage is what a trap says (mon's section on traps in mon(8)).
type TrapMessage struct {
	Group, Service string
	// Status is the exit status; anything but "0" and "" is a failure.
	Status          string
	Summary, Detail string
}

// Trap takes a trap. One for an unknown group goes to the group "default", if
// that is watched, and to its service "default" if it has none of that name.
func (s *Set) Trap(now time.Time, t TrapMessage) ([]Notice, error) {
	key, intended := Key{t.Group, t.Service}, ""
	if !s.watchesGroup(t.Group) && s.watchesGroup("default") {
		intended, key.Group = key.String(), "default"
	}
	if _, ok := s.services[key]; !ok && key.Group == "default" {
		key.Service = "default"
	}
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("trap for %s: no such watch, and no watch default:default", Key{t.Group, t.Service})
	}
	sv.lastTrap = now
	if sv.TrapTimeout > 0 {
		sv.trapTimer = now.Add(sv.TrapTimeout)
	}
	if sv.TrapDuration > 0 {
		sv.trapExpires = now.Add(sv.TrapDuration)
	}
	r := Result{Output: strings.TrimSuffix(t.Summary, "\n") + "\n\n" + t.Detail}
	if t.Status != "" && t.Status != "0" {
		r.Exit = exitStatus(t.Status)
	}
	if sv.Scope == ScopeHost {
		r.Hosts = s.trapVerdicts(sv, r)
	}
	sv.intended = intended
	out := s.event(now, sv, Trap, r)
	sv.intended = ""
	return out, nil
}

// trapVerdicts are what a trap says about the hosts of a watch in ScopeHost. A
// failing one means the hosts that its first line names, or else all, of which no
// pool hears. A good one takes back what traps said, and nothing that a monitor
// found.
func (s *Set) trapVerdicts(sv *service, r Result) []HostVerdict {
	out := []HostVerdict{}
	words := strings.Fields(firstLine(r.Output))
	tested := s.testable(sv)
	named := slices.ContainsFunc(tested, func(h string) bool { return slices.Contains(words, h) })
	for _, host := range tested {
		sub := sv.subject(host)
		switch {
		case r.Exit == 0 && (sub.trapped != notTrapped || sub.status == Untested):
			if sub.status == Untested {
				sub.trapped = meantByTrap
			}
			out = append(out, HostVerdict{Host: host, Verdict: Good})
		case r.Exit == 0:
		case named && slices.Contains(words, host):
			sub.trapped = namedByTrap
			out = append(out, HostVerdict{Host: host, Verdict: Bad, Reason: firstLine(r.Output)})
		case !named:
			sub.trapped = meantByTrap
			out = append(out, HostVerdict{Host: host, Verdict: Bad, Reason: firstLine(r.Output)})
		}
	}
	return out
}

// exitStatus is the number that a failing status starts with, at least 1.
func exitStatus(text string) int {
	n := 0
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil || n == 0 {
		return 1
	}
	return n
}

func (s *Set) watchesGroup(group string) bool {
	for key := range s.services {
		if key.Group == group {
			return true
		}
	}
	return false
}

// armTraps starts the clocks that do not run yet. None may run longer than it
// would if it were started now: it may come from another configuration.
func (s *Set) armTraps(now time.Time) {
	for _, sv := range s.services {
		latest := now.Add(sv.TrapTimeout)
		if sv.TrapTimeout > 0 && (sv.trapTimer.IsZero() || sv.trapTimer.After(latest)) {
			sv.trapTimer = latest
		}
	}
}

// Tick lets time pass: for what operators said for a time, for traps whose failures
// are forgotten, for senders that have been silent for too long. Call it at
// [Set.NextTick] or later.
func (s *Set) Tick(now time.Time) []Notice {
	s.ticked = now
	out := append(s.expire(now), s.endSilences(now)...)
	if s.stopped != nil {
		return out
	}
	out = append(out, s.ForgetTraps(now)...)
	for _, key := range s.order {
		sv := s.services[key]
		if sv.TrapTimeout > 0 && !sv.trapTimer.IsZero() && !now.Before(sv.trapTimer) && now.Sub(sv.lastTrap) > sv.TrapTimeout {
			out = append(out, s.SilentTrap(now, key)...)
		}
	}
	return append(out, s.escalateDue(now)...)
}

// ForgetTraps puts watches whose trap has lasted for trapduration back to ok:
// quietly, without an upalert, and with the counters as they are (mon).
func (s *Set) ForgetTraps(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		if sv.trapExpires.IsZero() || now.Before(sv.trapExpires) {
			continue
		}
		sv.trapExpires = time.Time{}
		for _, sub := range sv.subjects {
			if sv.Scope == ScopeGroup || sub.trapped != notTrapped {
				sv.turn(sub, OK, now)
				sub.verdict = Unseen
			}
		}
		if sv.Scope == ScopeHost {
			sv.setStatus(s.worst(sv), now)
		} else {
			sv.setStatus(OK, now)
		}
		out = append(out, sv.followAll(s, now)...)
	}
	return out
}

// SilentTrap is the failure of a watch whose traps have stopped coming.
func (s *Set) SilentTrap(now time.Time, key Key) []Notice {
	sv, ok := s.services[key]
	if !ok {
		return nil
	}
	sv.trapTimer = now.Add(sv.TrapTimeout)
	r := Result{
		Exit:   1,
		Output: fmt.Sprintf("trap timeout\ntrap timeout after %ds at %s\n", int(sv.TrapTimeout.Seconds()), now.Format(time.ANSIC)),
	}
	if sv.Scope == ScopeHost {
		r.Hosts = s.trapVerdicts(sv, r)
	}
	return s.event(now, sv, TrapTimeout, r)
}

// NextTick returns when Tick has something to do next; ok is false if never.
func (s *Set) NextTick() (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	sooner(s.nextExpiry())
	if t, some := s.nextEnd(s.ticked); some {
		sooner(t)
	}
	if s.stopped != nil {
		return at, ok
	}
	if t, some := s.nextEscalation(); some {
		sooner(t)
	}
	for _, sv := range s.services {
		sooner(sv.trapTimer)
		sooner(sv.trapExpires)
	}
	return at, ok
}
