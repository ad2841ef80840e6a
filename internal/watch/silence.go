package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Calendar says when a recurring silence begins.
type Calendar interface {
	// Next returns the first beginning after a time, zero if there is none.
	Next(after time.Time) time.Time
}

// A Silence holds back messages about failures of what it covers, for a time, once
// or again and again. It holds back nothing else: everything is tested and counted,
// pools follow, and the recovery of a failure that people were told of is told.
// What is still failing at its end is told then.
type Silence struct {
	// ID is unique in the cluster.
	ID  string    `json:"id"`
	At  time.Time `json:"at"`
	By  string    `json:"by,omitzero"`
	Why string    `json:"why,omitzero"`

	// What it covers; all that is set must fit, and something must be set. Group and
	// Service are names, Match is a pattern of GROUP:SERVICE as in [path.Match], Host
	// is a regular expression of the whole name of a host.
	Group   string `json:"group,omitzero"`
	Service string `json:"service,omitzero"`
	Match   string `json:"match,omitzero"`
	Host    string `json:"host,omitzero"`

	// From and Until bound it; of a recurring one Until may be zero: for ever.
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"`
	// Span is set of a silence "for a time", which no step of the clock makes longer,
	// and is the length of each occurrence of a recurring one.
	Span time.Duration `json:"span,omitzero"`
	// Cron is when a recurring one begins.
	Cron string `json:"cron,omitzero"`
}

// ErrNoSilence is that there is none of that name.
var ErrNoSilence = errors.New("no such silence")

// Covers describes what it covers, for people.
func (s *Silence) Covers() string {
	var parts []string
	for _, p := range []struct{ what, value string }{{"group", s.Group}, {"service", s.Service}, {"match", s.Match}, {"host", s.Host}} {
		if p.value != "" {
			parts = append(parts, p.what+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

func (s *Silence) shift(move func(time.Time) time.Time) *Silence {
	if s == nil {
		return nil
	}
	moved := *s
	moved.At, moved.From, moved.Until = move(s.At), move(s.From), move(s.Until)
	return &moved
}

// A hush is a silence that was understood.
type hush struct {
	Silence
	host     *regexp.Regexp
	calendar Calendar
}

// understand builds a silence.
func (o Options) understand(s Silence) (*hush, error) {
	h := &hush{Silence: s}
	if s.Covers() == "" {
		return nil, errors.New("a silence must cover something: give a group, a service, a pattern or a host")
	}
	if _, err := path.Match(s.Match, ""); err != nil {
		return nil, fmt.Errorf("%q is no pattern: * stands for any characters, ? for one, [a-c] for one of these", s.Match)
	}
	if s.Host != "" {
		var err error
		if h.host, err = regexp.Compile("^(?:" + s.Host + ")$"); err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", s.Host, err)
		}
	}
	switch {
	case s.Cron != "" && o.Calendar == nil:
		return nil, errors.New("there is no calendar for recurring silences")
	case s.Cron != "" && s.Span <= 0:
		return nil, errors.New("a recurring silence must say how long it lasts each time")
	case s.Cron != "":
		var err error
		if h.calendar, err = o.Calendar(s.Cron); err != nil {
			return nil, err
		}
	case !s.Until.After(s.From):
		return nil, errors.New("a silence must end after it begins")
	}
	return h, nil
}

// occurrence returns the beginning and the end of the occurrence that is in force, or
// else of the next one; ok is false if there is none any more.
func (h *hush) occurrence(now time.Time) (from, until time.Time, ok bool) {
	if h.calendar == nil {
		return h.From, h.Until, now.Before(h.Until)
	}
	after := now.Add(-h.Span)
	if after.Before(h.From) {
		after = h.From.Add(-time.Nanosecond)
	}
	from = h.calendar.Next(after)
	if from.IsZero() || !h.Until.IsZero() && (!from.Before(h.Until) || !now.Before(h.Until)) {
		return from, until, false
	}
	until = from.Add(h.Span)
	if next := h.calendar.Next(from); !next.IsZero() && !next.After(now) && next.After(from) { // they overlap: the last that has begun
		until = h.last(next, now).Add(h.Span)
	}
	if !h.Until.IsZero() && h.Until.Before(until) {
		until = h.Until
	}
	return from, until, true
}

// last returns the last beginning that is not after now.
func (h *hush) last(from, now time.Time) time.Time {
	const most = 100000 // a second's calendar over a day
	for range most {
		next := h.calendar.Next(from)
		if next.IsZero() || next.After(now) {
			break
		}
		from = next
	}
	return from
}

// active returns until when it is in force.
func (h *hush) active(now time.Time) (until time.Time, active bool) {
	from, until, ok := h.occurrence(now)
	return until, ok && !now.Before(from)
}

// settle keeps a step of the clock from making a silence longer than it was meant to
// be: none that is "for a time" may lie ahead of when it was said.
func (h *hush) settle(now time.Time) {
	if ahead := h.At.Sub(now); ahead > 0 && h.Span > 0 && h.calendar == nil {
		h.At, h.From, h.Until = h.At.Add(-ahead), h.From.Add(-ahead), h.Until.Add(-ahead)
	}
}

// concerns reports whether it may cover anything of a watch.
func (h *hush) concerns(key Key) bool {
	if h.Match != "" {
		if fits, err := path.Match(h.Match, key.String()); err != nil || !fits {
			return false
		}
	}
	return (h.Group == "" || h.Group == key.Group) && (h.Service == "" || h.Service == key.Service)
}

// covers reports whether it covers one subject of a watch that it concerns: of a group
// that is silenced by hosts, all that fail must be.
func (h *hush) covers(sv *service, sub *subject) bool {
	switch {
	case h.host == nil:
		return true
	case sub.host != "":
		return h.host.MatchString(sub.host)
	}
	hosts := slices.Collect(maps.Keys(sub.blamed))
	if len(hosts) == 0 {
		hosts = sv.Hosts
	}
	return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool { return !h.host.MatchString(host) })
}

// describe is the reason that decisions give.
func (h *hush) describe(now, until time.Time) string {
	m := Mark{At: now, By: h.By, Why: h.Why, Until: until}
	return "silence " + h.ID + m.describe()
}

// hushes are the silences in force that concern a watch, in the order of their names.
func (s *Set) hushes(now time.Time, key Key) []*hush {
	var out []*hush
	for _, h := range s.silences {
		if !h.concerns(key) {
			continue
		}
		if _, active := h.active(now); active {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b *hush) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// silencedBy is why a subject's failure is not told; empty if it is.
func (r *round) silencedBy(sub *subject) string {
	if len(r.set.silences) == 0 {
		return ""
	}
	if r.hushes == nil {
		r.hushes = append([]*hush{}, r.set.hushes(r.now, r.sv.Key)...)
	}
	for _, h := range r.hushes {
		if h.covers(r.sv, sub) {
			until, _ := h.active(r.now)
			return h.describe(r.now, until)
		}
	}
	return ""
}

// holdsBack reports whether a silence holds back such a message at all. What answers
// an alert that people got is told, as after an ack.
func (r *round) holdsBack(state *periodState) bool {
	switch r.kind {
	case Failure, Trap, TrapTimeout, Startup:
		return true
	case Up:
		return state.sent == 0
	case Ack, Disable, Test, State:
	}
	return false
}

// hushed notes what a silence holds back, to be told at its end.
func (r *round) hushed(i int, sub *subject, why string) {
	r.note(i, sub, Silenced, why)
	if !r.sv.digested.IsZero() {
		sub.toll.Held++
		sub.toll.At = r.now
	}
	if !r.kind.failing() {
		return
	}
	if r.holding == nil {
		r.holding = &held{kind: r.kind, exit: r.exit, summary: r.summary, output: r.output}
	}
	sub.hushed = r.holding
}

// AddSilence adds a silence. What it covers need not be there, or not yet.
func (s *Set) AddSilence(now time.Time, silence Silence) error {
	h, err := s.options.understand(silence)
	if err != nil {
		return err
	}
	if _, _, ok := h.occurrence(now); !ok {
		return errors.New("the silence is over before it begins")
	}
	s.silences[silence.ID] = h
	s.said(now, aboutSilence(silence.ID))
	return nil
}

// RemoveSilence ends a silence. What it held back and is still failing returns.
func (s *Set) RemoveSilence(now time.Time, id string) ([]Notice, error) {
	if s.silences[id] == nil {
		return nil, fmt.Errorf("silence %s: %w", id, ErrNoSilence)
	}
	delete(s.silences, id)
	s.said(now, aboutSilence(id))
	return s.speak(now), nil
}

// A SilenceView is a silence as it is now.
type SilenceView struct {
	Silence
	// Active is true while it is in force; Begins and Ends are of the occurrence that
	// is, or of the next.
	Active bool      `json:"active"`
	Begins time.Time `json:"begins"`
	Ends   time.Time `json:"ends"`
	// Watches are those that it concerns now, in the order of the configuration.
	Watches []Key `json:"watches"`
}

// String is the reason that decisions give.
func (v SilenceView) String() string {
	m := Mark{At: v.At, By: v.By, Why: v.Why, Until: v.Ends}
	return "silence " + v.ID + m.describe()
}

// Silences returns those that are in force or will be, in the order of their names.
func (s *Set) Silences(now time.Time) []SilenceView {
	out := []SilenceView{}
	for _, h := range s.silences {
		v := SilenceView{Silence: h.Silence, Watches: s.concerned(h)}
		var ok bool
		if v.Begins, v.Ends, ok = h.occurrence(now); !ok {
			continue
		}
		v.Active = !now.Before(v.Begins)
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b SilenceView) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Concerned are the watches that a silence would concern, or why it is none.
func (s *Set) Concerned(silence Silence) ([]Key, error) {
	h, err := s.options.understand(silence)
	if err != nil {
		return nil, err
	}
	return s.concerned(h), nil
}

func (s *Set) concerned(h *hush) []Key {
	keys := []Key{}
	for _, key := range s.order {
		if h.concerns(key) && s.services[key].hasHost(h) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (sv *service) hasHost(h *hush) bool {
	return h.host == nil || slices.ContainsFunc(sv.Hosts, h.host.MatchString)
}

// rememberRemoved is for how long a director that was away hears that a silence was
// taken away.
const rememberRemoved = 30 * 24 * time.Hour

// endSilences forgets silences that are over, and lets time pass for the others.
func (s *Set) endSilences(now time.Time) []Notice {
	for id, h := range s.silences {
		h.settle(now)
		if _, _, ok := h.occurrence(now); !ok {
			delete(s.silences, id)
			delete(s.words, aboutSilence(id)) // the others see the end themselves
		}
	}
	for about, at := range s.words {
		id, is := strings.CutPrefix(about, "silence ")
		if is && s.silences[id] == nil && now.Sub(at) > rememberRemoved {
			delete(s.words, about)
		}
	}
	return s.speak(now)
}

// speak tells of what fails and is not silenced any more.
func (s *Set) speak(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		var due []*subject
		for _, sub := range sv.subjects {
			if sub.hushed == nil || s.silenced(now, sv, sub) {
				continue
			}
			switch {
			case sub.status != Failed:
			case sv.mute != "":
				sub.held = sub.hushed
			default:
				sub.held = sub.hushed
				due = append(due, sub)
			}
			sub.hushed = nil
		}
		out = append(out, s.tellHeld(now, sv, slices.Clone(due))...)
		for _, sub := range due {
			sub.held = nil
		}
	}
	return out
}

func (s *Set) silenced(now time.Time, sv *service, sub *subject) bool {
	return slices.ContainsFunc(s.hushes(now, sv.Key), func(h *hush) bool { return h.covers(sv, sub) })
}

// nextEnd returns when the first silence ends after a time.
func (s *Set) nextEnd(after time.Time) (at time.Time, ok bool) {
	for _, h := range s.silences {
		_, until, more := h.occurrence(latest(after, h.At))
		if !more {
			until = after // it is to be forgotten
		}
		if !ok || until.Before(at) {
			at, ok = until, true
		}
	}
	return at, ok
}

// SavedSilences are the silences, for [Set.RestoreSilences].
func (s *Set) SavedSilences() []Silence {
	out := make([]Silence, 0, len(s.silences))
	for _, id := range slices.Sorted(maps.Keys(s.silences)) {
		out = append(out, s.silences[id].Silence)
	}
	return out
}

// RestoreSilences puts silences back, and returns those that are not understood any
// more: they are left out.
func (s *Set) RestoreSilences(now time.Time, saved []Silence) []error {
	var errs []error
	for _, one := range saved {
		h, err := s.options.understand(one)
		if err != nil {
			errs = append(errs, fmt.Errorf("silence %s: %w", one.ID, err))
			continue
		}
		h.settle(now)
		if _, _, ok := h.occurrence(now); ok {
			s.silences[one.ID] = h
		}
	}
	return errs
}
