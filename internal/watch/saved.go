package watch

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is what a monitor printed. JSON holds UTF-8 only, and monitors print what
// they like: a restart must not take the same output for another one, as
// [CompareDetail] would. What is not UTF-8 is kept in base64, after a mark.
type Text string

const encoded = "base64:"

// MarshalText returns the text if it is UTF-8, else its base64 with a mark.
func (t Text) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(t)) && !strings.HasPrefix(string(t), encoded) {
		return []byte(t), nil
	}
	return base64.StdEncoding.AppendEncode([]byte(encoded), []byte(t)), nil
}

// UnmarshalText undoes MarshalText.
func (t *Text) UnmarshalText(text []byte) error {
	rest, ok := strings.CutPrefix(string(text), encoded)
	if !ok {
		*t = Text(text)
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return fmt.Errorf("output in base64: %w", err)
	}
	*t = Text(raw)
	return nil
}

// Forget is what remains of a state that is too old: nothing is known of the
// watch, and an ack was about a failure that is forgotten with it. What an
// operator disabled does not age, nor what the next digest has to tell.
func (s Saved) Forget() Saved {
	kept := Saved{Key: s.Key, Status: Untested, Previous: Untested, Disabled: s.Disabled, Digested: s.Digested}
	for _, sub := range s.Subjects {
		if sub.Toll != (Toll{}) {
			kept.Subjects = append(kept.Subjects, SavedSubject{Host: sub.Host, Status: Untested, Toll: sub.Toll})
		}
	}
	return kept
}

// Resume is a state that was saved some time ago, as it is to be taken up now: all
// that is past stays where it was on the clock, so that pauses run on as if the
// daemon had been there and not tested; but a trap sender's silence counts only
// while somebody listens. If the clock was put back nothing may lie ahead: a pause
// would last until the clock has caught up.
func (s Saved) Resume(saved, now time.Time) Saved {
	away := now.Sub(saved)
	if !s.TrapTimer.IsZero() {
		s.TrapTimer = s.TrapTimer.Add(away)
	}
	if away >= 0 {
		return s
	}
	if !s.TrapExpires.IsZero() {
		s.TrapExpires = s.TrapExpires.Add(away)
	}
	pull := func(times ...*time.Time) {
		for _, t := range times {
			if t.After(now) {
				*t = now
			}
		}
	}
	pull(&s.UnknownSince, &s.LastTrap, &s.LastFailed, &s.Basis, &s.Digested)
	s.Subjects = slices.Clone(s.Subjects)
	for i := range s.Subjects {
		s.Subjects[i].pull(pull)
	}
	return s
}

func (s *SavedSubject) pull(pull func(...*time.Time)) {
	pull(&s.Since, &s.FirstFailure, &s.LastFailure, &s.LastSuccess, &s.Unacked, &s.Toll.At, &s.Toll.Last)
	s.Recent = slices.Clone(s.Recent)
	for i := range s.Recent {
		pull(&s.Recent[i])
	}
	periods := make(map[string]SavedPeriod, len(s.Periods))
	for name, p := range s.Periods {
		pull(&p.LastAlert, &p.WindowStart, &p.FirstAlert)
		periods[name] = p
	}
	s.Periods = periods
	pulled := func(t time.Time) time.Time { pull(&t); return t }
	s.Told, s.ToldAck = s.Told.shift(pulled), s.ToldAck.shift(pulled)
}

// Calm reports whether a watch has nothing under way: no failure nor the counting
// towards one, no ack, nothing that could not be tested. A good result changes
// nothing in it that a restart would be sorry to lose.
func (s *Set) Calm(key Key) bool {
	sv, ok := s.services[key]
	if !ok || sv.status != OK || !sv.unknownSince.IsZero() {
		return false
	}
	return !slices.ContainsFunc(sv.subjects, func(sub *subject) bool {
		return sub.status == Failed || sub.consecutive > 0 || sub.ack != nil || sub.trapped != notTrapped
	})
}
