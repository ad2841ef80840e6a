package watch

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of what operators ask for.
var (
	ErrNoWatch    = errors.New("no such watch")
	ErrNoHost     = errors.New("no such host")
	ErrNoPeriod   = errors.New("no such period")
	ErrNotFailing = errors.New("the watch is not failing")
)

// disabledBy returns the mark that silences a watch, and what it stands on.
func (s *Set) disabledBy(sv *service) (*Mark, string) {
	if m, ok := s.disabledWatches[sv.Group]; ok {
		return &m, "group " + sv.Group
	}
	if sv.disabled != nil {
		return sv.disabled, "the watch"
	}
	return nil, ""
}

// Ack acknowledges the present failure: no more alerts about it until it is
// over. In ScopeHost it covers the hosts that are failing now, no others.
func (s *Set) Ack(now time.Time, key Key, by, comment string) ([]Notice, error) {
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("ack %s: %w", key, ErrNoWatch)
	}
	var acked []*subject
	for _, sub := range sv.subjects {
		if sub.status != OK && sub.status != Untested {
			acked = append(acked, sub)
			sub.ack = &Mark{At: now, By: by, Why: comment}
			s.version++
		}
	}
	if len(acked) == 0 {
		return nil, fmt.Errorf("ack %s: %w", key, ErrNotFailing)
	}
	r := newRound(s, sv, now, Ack)
	r.output = by + ": " + comment
	for _, sub := range acked {
		r.judge(sub)
	}
	return r.notices(), nil
}

// DisableWatch silences all watches of a group; they go on being tested.
func (s *Set) DisableWatch(now time.Time, group string, m Mark) ([]Notice, error) {
	if !s.watchesGroup(group) {
		return nil, fmt.Errorf("disable watch %s: %w", group, ErrNoWatch)
	}
	s.disabledWatches[group] = m
	s.said(now, aboutGroup(group))
	return s.followChanged(now), nil
}

// EnableWatch undoes DisableWatch. Counters went on counting.
func (s *Set) EnableWatch(now time.Time, group string) ([]Notice, error) {
	if !s.watchesGroup(group) {
		return nil, fmt.Errorf("enable watch %s: %w", group, ErrNoWatch)
	}
	delete(s.disabledWatches, group)
	s.said(now, aboutGroup(group))
	return s.followChanged(now), nil
}

// DisableService silences one watch; it goes on being tested.
func (s *Set) DisableService(now time.Time, key Key, m Mark) ([]Notice, error) {
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("disable service %s: %w", key, ErrNoWatch)
	}
	r := newRound(s, sv, now, Disable)
	r.output = m.By
	sv.disabled = &m
	s.said(now, aboutWatch(key))
	if sv.Compat {
		r.block(DisabledByOperator, "the watch is disabled"+m.describe())
	}
	for _, sub := range sv.subjects {
		r.judge(sub)
	}
	return append(r.notices(), s.followChanged(now)...), nil
}

// EnableService undoes DisableService. Counters went on counting.
func (s *Set) EnableService(now time.Time, key Key) ([]Notice, error) {
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("enable service %s: %w", key, ErrNoWatch)
	}
	sv.disabled = nil
	s.said(now, aboutWatch(key))
	return s.followChanged(now), nil
}

// DisableHosts takes hosts out of every group's tests. A watch of which such a
// host is the only member is silenced as well, as in mon.
func (s *Set) DisableHosts(now time.Time, m Mark, hosts ...string) ([]Notice, error) {
	for _, h := range hosts {
		if !s.knowsHost(h) {
			return nil, fmt.Errorf("disable host %s: %w", h, ErrNoHost)
		}
	}
	for _, h := range hosts {
		s.disabledHosts[h] = m
		s.said(now, aboutHost(h))
		for _, group := range s.onlyMember(h) {
			s.disabledWatches[group] = m
			s.said(now, aboutGroup(group))
		}
	}
	return s.followChanged(now), nil
}

// EnableHosts undoes DisableHosts.
func (s *Set) EnableHosts(now time.Time, hosts ...string) ([]Notice, error) {
	for _, h := range hosts {
		if !s.knowsHost(h) {
			return nil, fmt.Errorf("enable host %s: %w", h, ErrNoHost)
		}
	}
	for _, h := range hosts {
		delete(s.disabledHosts, h)
		s.said(now, aboutHost(h))
		for _, group := range s.onlyMember(h) {
			delete(s.disabledWatches, group)
			s.said(now, aboutGroup(group))
		}
	}
	return s.followChanged(now), nil
}

func (s *Set) knowsHost(host string) bool {
	for _, sv := range s.services {
		if slices.Contains(sv.Hosts, host) {
			return true
		}
	}
	return false
}

func (s *Set) onlyMember(host string) []string {
	var groups []string
	for _, sv := range s.services {
		if len(sv.Hosts) == 1 && sv.Hosts[0] == host {
			groups = append(groups, sv.Group)
		}
	}
	return groups
}

func (s *Set) followChanged(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		if sv := s.services[key]; sv.Scope == ScopeHost && sv.events > 0 {
			sv.setStatus(s.worst(sv), now)
		}
		out = append(out, s.services[key].followAll(s, now)...)
	}
	return out
}

// Stop drops all alerts and lets nothing new be tested; Resume ends that.
func (s *Set) Stop() { s.stopped = true }

// Resume ends Stop.
func (s *Set) Resume() { s.stopped = false }

// Stopped reports whether the site was stopped.
func (s *Set) Stopped() bool { return s.stopped }

// ClearTimers starts the counting of a watch over: mon's "clear timers".
func (s *Set) ClearTimers(now time.Time, key Key) error {
	sv, ok := s.services[key]
	if !ok {
		return fmt.Errorf("clear timers %s: %w", key, ErrNoWatch)
	}
	if sv.TrapTimeout > 0 {
		sv.trapTimer = now.Add(sv.TrapTimeout)
	}
	if sv.TrapDuration > 0 {
		sv.trapExpires = now.Add(sv.TrapDuration)
	}
	for _, sub := range sv.subjects {
		sub.consecutive, sub.recent = 0, nil
		for i := range sub.periods {
			if sv.Periods[i].AlertEvery.Interval > 0 {
				sub.periods[i].lastAlert = time.Time{}
			}
			if sv.Periods[i].AlertAfter.Within > 0 {
				sub.periods[i].windowStart = time.Time{}
			}
		}
	}
	return nil
}

// TestAlert returns a notice for each action of one list of a period: no test is
// made and nothing is counted. Actions with exit= cannot be tested (mon).
func (s *Set) TestAlert(now time.Time, key Key, list Kind, exit int, periodName string) ([]Notice, error) {
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("test %s of %s: %w", list, key, ErrNoWatch)
	}
	for i := range sv.Periods {
		p := &sv.Periods[i]
		if p.Name != periodName {
			continue
		}
		var out []Notice
		for _, a := range p.actions(list) {
			if a.Missing || a.Exit != nil {
				continue
			}
			n := sv.notice(s, now, Test, a, sv.blamed())
			n.Testing, n.Exit, n.Period, n.Output = list, &exit, p.Name, "test\ntest detail\n"
			n.Reason = "a test"
			out = append(out, n)
		}
		return out, nil
	}
	return nil, fmt.Errorf("test %s of %s in period %q: %w", list, key, periodName, ErrNoPeriod)
}
