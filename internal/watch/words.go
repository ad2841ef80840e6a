package watch

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Word is the last that operators said about a group, a watch or a host: that it
// is disabled, or no longer; or about the site, that it is stopped; or a silence.
type Word struct {
	// About is "group NAME", "watch GROUP:SERVICE", "host NAME", "site" or "silence ID".
	About string    `json:"about"`
	At    time.Time `json:"at"`
	// Mark is nil if it is enabled, and Silence if that was taken away.
	Mark    *Mark    `json:"mark,omitzero"`
	Silence *Silence `json:"silence,omitzero"`
}

// Shift moves its times, as between two clocks.
func (w Word) Shift(move func(time.Time) time.Time) Word {
	return Word{About: w.About, At: move(w.At), Mark: w.Mark.shift(move), Silence: w.Silence.shift(move)}
}

const aboutSite = "site"

func aboutGroup(name string) string { return "group " + name }
func aboutHost(name string) string  { return "host " + name }
func aboutWatch(key Key) string     { return "watch " + key.String() }
func aboutSilence(id string) string { return "silence " + id }

// said notes when operators spoke last: of two directors the newer word counts.
func (s *Set) said(now time.Time, about string) {
	s.words[about] = now
	s.version++
}

// Words is what operators said, in the order of what it is about.
func (s *Set) Words() []Word {
	about := map[string]bool{}
	for a := range s.words {
		about[a] = true
	}
	for name := range s.disabledWatches {
		about[aboutGroup(name)] = true
	}
	for name := range s.disabledHosts {
		about[aboutHost(name)] = true
	}
	for key, sv := range s.services {
		if sv.disabled != nil {
			about[aboutWatch(key)] = true
		}
	}
	for id := range s.silences {
		about[aboutSilence(id)] = true
	}
	out := make([]Word, 0, len(about))
	for a := range about {
		out = append(out, s.word(a))
	}
	slices.SortFunc(out, func(a, b Word) int { return cmp.Compare(a.About, b.About) })
	return out
}

func (s *Set) word(about string) Word {
	w := Word{About: about, At: s.words[about], Mark: s.mark(about)}
	if id, is := strings.CutPrefix(about, "silence "); is && s.silences[id] != nil {
		silence := s.silences[id].Silence
		w.Silence = &silence
		w.At = latest(w.At, silence.At)
	}
	if w.Mark != nil && w.At.IsZero() {
		w.At = w.Mark.At
	}
	return w
}

func (s *Set) mark(about string) *Mark {
	kind, name, _ := strings.Cut(about, " ")
	var m Mark
	var ok bool
	switch kind {
	case aboutSite:
		return s.stopped
	case "group":
		m, ok = s.disabledWatches[name]
	case "host":
		m, ok = s.disabledHosts[name]
	case "watch":
		if sv := s.named(name); sv != nil {
			return sv.disabled
		}
	}
	if !ok {
		return nil
	}
	return &m
}

func (s *Set) named(name string) *service {
	group, service, _ := strings.Cut(name, ":")
	return s.services[Key{group, service}]
}

// Hear takes up what operators said to another director, as far as it is newer. What
// the watches and pools are to be told of it returns.
func (s *Set) Hear(now time.Time, words []Word) []Notice {
	changed := false
	var out []Notice
	for _, w := range words {
		have := s.word(w.About)
		if !w.At.After(have.At) || sameMark(w.Mark, have.Mark) && (w.Silence == nil) == (have.Silence == nil) {
			continue
		}
		r := s.disabling(now, w)
		if s.setSilence(now, w) || s.setMark(w) {
			s.words[w.About] = w.At
			s.version++
			changed = true
			if r != nil {
				out = append(out, r.tellDisabled(have.Mark)...)
			}
		}
	}
	if !changed {
		return nil
	}
	return slices.Concat(out, s.followChanged(now), s.speak(now))
}

// disabling is the round of a watch that is being disabled, if its owner is to tell
// people of it: of what was said just now to a director that tells nobody.
func (s *Set) disabling(now time.Time, w Word) *round {
	name, is := strings.CutPrefix(w.About, "watch ")
	if !is || w.Mark == nil || now.Sub(w.At) > patience {
		return nil
	}
	sv := s.named(name)
	if sv == nil || sv.mute != "" {
		return nil
	}
	return newRound(s, sv, now, Disable)
}

// setSilence is false for words about something else, and for a silence that is over
// or not understood: an older monitord may not know all that a newer one says.
func (s *Set) setSilence(now time.Time, w Word) bool {
	id, is := strings.CutPrefix(w.About, "silence ")
	if !is {
		return false
	}
	if w.Silence == nil {
		delete(s.silences, id)
		return true
	}
	h, err := s.options.understand(*w.Silence)
	if err != nil {
		return false
	}
	if _, _, ok := h.occurrence(now); !ok {
		return false
	}
	s.silences[id] = h
	return true
}

func sameMark(a, b *Mark) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.By == b.By && a.Why == b.Why && sameTime(a.Until, b.Until)
}

// near is by how much two clocks and the way may tell one moment differently.
const near = 5 * time.Second

// sameTime reports whether two times are the same, as far as two clocks can tell.
func sameTime(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < near
}

// setMark is false for what is not there.
func (s *Set) setMark(w Word) bool {
	kind, name, _ := strings.Cut(w.About, " ")
	put := func(marks map[string]Mark) {
		if w.Mark == nil {
			delete(marks, name)
			return
		}
		marks[name] = *w.Mark
	}
	switch {
	case kind == aboutSite:
		s.stopped = w.Mark
	case kind == "group" && s.watchesGroup(name):
		put(s.disabledWatches)
	case kind == "host" && s.knowsHost(name):
		put(s.disabledHosts)
	case kind == "watch" && s.named(name) != nil:
		s.named(name).disabled = w.Mark
	default:
		return false
	}
	return true
}

// RestoreWords puts back when operators spoke last. What they said is to be restored
// by [Set.RestoreDisabled] and [Set.Restore].
func (s *Set) RestoreWords(words map[string]time.Time) {
	for about, at := range words {
		kind, name, _ := strings.Cut(about, " ")
		if kind == aboutSite || kind == "silence" || kind == "group" && s.watchesGroup(name) || kind == "host" && s.knowsHost(name) || kind == "watch" && s.named(name) != nil {
			s.words[about] = at
		}
	}
}

// Spoken is when operators spoke last of groups, watches and hosts.
func (s *Set) Spoken() map[string]time.Time {
	return maps.Clone(s.words)
}
