package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Errors of what operators ask for.
var (
	ErrNoWatch    = errors.New("no such watch")
	ErrNoHost     = errors.New("no such host")
	ErrNoPeriod   = errors.New("no such period")
	ErrNotFailing = errors.New("the watch is not failing")
	ErrNotAcked   = errors.New("no failure of the watch is acknowledged")
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
// over. In ScopeHost it covers the hosts that are failing now, no others. The same words
// of the same person again only renew it: who was told of them is not told again.
func (s *Set) Ack(now time.Time, key Key, by, comment string) ([]Notice, error) {
	sv, ok := s.services[key]
	if !ok {
		return nil, fmt.Errorf("ack %s: %w", key, ErrNoWatch)
	}
	var news []*subject
	found := false
	for _, sub := range sv.subjects {
		m := &Mark{At: now, By: by, Why: comment, Hosts: sv.ackable(sub)}
		same := !sv.Compat && cmp.Or(sub.ack, sub.toldAck).says(m)
		switch {
		case sub.status != OK && sub.status != Untested:
			sub.ack = m
		case sv.mute != "" && sub.told != nil: // the owner has seen it, and is to hear of the ack
			sub.toldAck = m
		default:
			continue
		}
		found = true
		s.version++
		if !same {
			news = append(news, sub)
		}
	}
	if !found {
		return nil, fmt.Errorf("ack %s: %w", key, ErrNotFailing)
	}
	r := newRound(s, sv, now, Ack)
	r.output = by + ": " + comment
	for _, sub := range news {
		r.judge(sub)
	}
	return r.notices(), nil
}

// says reports whether another mark would tell people the same.
func (m *Mark) says(o *Mark) bool {
	return m != nil && m.By == o.By && m.Why == o.Why && slices.Equal(m.Hosts, o.Hosts)
}

// ackable are the hosts that an ack of a group covers: those that fail now. It is nil
// where an ack covers whatever fails: with compat, and where no host is known to.
func (sv *service) ackable(sub *subject) []string {
	if sv.Scope == ScopeHost || sv.Compat || len(sub.blamed) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(sub.blamed))
}

// Unack takes back the acks of a watch: its failures are alerted again, by the usual
// rules.
func (s *Set) Unack(now time.Time, key Key) error {
	sv, ok := s.services[key]
	if !ok {
		return fmt.Errorf("unack %s: %w", key, ErrNoWatch)
	}
	found := false
	for _, sub := range sv.subjects {
		if sub.ack != nil || sub.toldAck != nil {
			sub.ack, sub.toldAck, sub.unacked = nil, nil, now
			found = true
		}
	}
	if !found {
		return fmt.Errorf("unack %s: %w", key, ErrNotAcked)
	}
	s.version++
	return nil
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
	before := sv.disabled
	sv.disabled = &m
	s.said(now, aboutWatch(key))
	return append(r.tellDisabled(before), s.followChanged(now)...), nil
}

// tellDisabled tells that the watch was disabled. Who was told so in the same words is
// not told again.
func (r *round) tellDisabled(before *Mark) []Notice {
	m := r.sv.disabled
	if r.output = m.By; r.sv.Compat {
		r.block(DisabledByOperator, "the watch is disabled"+m.describe())
	} else if before.says(m) {
		return nil
	}
	for _, sub := range r.sv.subjects {
		r.judge(sub)
	}
	return r.notices()
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

// DisabledAlone reports whether a watch is disabled itself, whatever its group is.
func (s *Set) DisabledAlone(key Key) bool {
	sv, ok := s.services[key]
	return ok && sv.disabled != nil
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
func (s *Set) Stop() { s.stopped = &Mark{} }

// Resume ends Stop.
func (s *Set) Resume() { s.stopped = nil }

// Stopped reports whether the site was stopped.
func (s *Set) Stopped() bool { return s.stopped != nil }

// Pause is [Set.Stop] by somebody, on all directors.
func (s *Set) Pause(now time.Time, m Mark) {
	s.stopped = &m
	s.said(now, aboutSite)
}

// Unpause undoes Pause, on all directors.
func (s *Set) Unpause(now time.Time) {
	s.stopped = nil
	s.said(now, aboutSite)
}

// Paused is who stopped the site; nil if nobody did.
func (s *Set) Paused() *Mark { return s.stopped }

// WhyPaused is the reason that decisions give: "paused by ann until 14:00: new switch".
// It is empty if nobody stopped the site.
func (s *Set) WhyPaused() string {
	if s.stopped == nil {
		return ""
	}
	return "paused" + s.stopped.describe()
}

// RestorePaused puts that back.
func (s *Set) RestorePaused(m *Mark) { s.stopped = m }

// expire ends what was disabled for a time. No step of the clock makes that longer
// than it was meant to be.
func (s *Set) expire(now time.Time) []Notice {
	ended := false
	for _, about := range s.bounded() {
		m := s.mark(about)
		if ahead := m.At.Sub(now); ahead > 0 {
			s.setMark(Word{About: about, Mark: &Mark{At: now, By: m.By, Why: m.Why, Until: m.Until.Add(-ahead)}})
			continue
		}
		if now.Before(m.Until) {
			continue
		}
		s.setMark(Word{About: about})
		s.said(m.Until, about) // the same on all directors, and older than what was said since
		ended = true
	}
	if !ended {
		return nil
	}
	return s.followChanged(now)
}

// bounded is all that was disabled for a time.
func (s *Set) bounded() []string {
	var out []string
	for name, m := range s.disabledWatches {
		if !m.Until.IsZero() {
			out = append(out, aboutGroup(name))
		}
	}
	for name, m := range s.disabledHosts {
		if !m.Until.IsZero() {
			out = append(out, aboutHost(name))
		}
	}
	for _, key := range s.order {
		if m := s.services[key].disabled; m != nil && !m.Until.IsZero() {
			out = append(out, aboutWatch(key))
		}
	}
	if s.stopped != nil && !s.stopped.Until.IsZero() {
		out = append(out, aboutSite)
	}
	slices.Sort(out)
	return out
}

func (s *Set) nextExpiry() time.Time {
	var at time.Time
	for _, about := range s.bounded() {
		if until := s.mark(about).Until; at.IsZero() || until.Before(at) {
			at = until
		}
	}
	return at
}

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
