package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Toll is what happened to a host, or to a group as a whole, since the last digest.
type Toll struct {
	// At is when it last changed.
	At time.Time `json:"at,omitzero"`
	// Outages have begun, Ended have ended; Last is when the last one ended.
	Outages int       `json:"outages,omitzero"`
	Ended   int       `json:"ended,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	// Down is for how long those that have ended lasted, also before the last digest.
	Down time.Duration `json:"down,omitzero"`
	// Held are the messages that silences held back.
	Held int `json:"held,omitzero"`
}

// count notes that a subject's status changes.
func (t *Toll) count(from, to Status, since, now time.Time) {
	switch {
	case to == Failed:
		t.Outages++
		t.At = now
	case from == Failed:
		t.Ended++
		t.Last, t.At = now, now
		t.Down += max(now.Sub(since), 0)
	}
}

// A DigestLine is one host, or one group as a whole, in a [Digest].
type DigestLine struct {
	Key
	Host string
	Toll
	// Since is when it began to fail; zero if it does not.
	Since  time.Time
	Reason string
	Ack    *Mark
}

func (l *DigestLine) name() string {
	if l.Host == "" {
		return l.Key.String()
	}
	return l.Key.String() + " " + l.Host
}

// A Digest is what changed since the one before, of the watches that this director
// tells people about.
type Digest struct {
	From, To time.Time
	// Failing are those that fail now, the longest first; Ended failed and are well;
	// Held had messages held back.
	Failing, Ended, Held []DigestLine
	// Words are what operators said.
	Words []string
}

// digestSlack is by how much the clocks of two directors may differ, and the way take:
// one digest in the morning is enough.
const digestSlack = 2 * time.Second

// Digests says whether anybody wants digests. What is counted for them begins now, of
// watches of which it did not yet.
func (s *Set) Digests(now time.Time, wanted bool) {
	for _, sv := range s.services {
		switch {
		case wanted && sv.digested.IsZero():
			sv.digested = now
		case !wanted && !sv.digested.IsZero():
			sv.digested = time.Time{}
			for _, sub := range sv.subjects {
				sub.toll = Toll{}
			}
		}
	}
}

// NextDigest returns when the next digest is due; ok is false if never, and while the
// site is paused. It has passed if this director was not there, or not the owner. next
// is the calendar.
func (s *Set) NextDigest(next func(time.Time) time.Time) (at time.Time, ok bool) {
	if s.stopped != nil {
		return at, false
	}
	known := map[int64]bool{}
	for _, sv := range s.services {
		if sv.mute != "" || sv.digested.IsZero() || known[sv.digested.UnixNano()] {
			continue
		}
		known[sv.digested.UnixNano()] = true
		if due := next(sv.digested); !due.IsZero() && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	return at, !at.IsZero()
}

// Digest returns what changed since the last one, of the watches that this director
// tells people about and of which one is due, and begins anew; ok is false if nothing
// did. What lasts is no change.
func (s *Set) Digest(now time.Time, next func(time.Time) time.Time) (d Digest, ok bool) {
	d.To = now
	due := map[int64]bool{}
	for _, key := range s.order {
		sv := s.services[key]
		if sv.mute != "" || sv.digested.IsZero() {
			continue
		}
		last := sv.digested.UnixNano()
		if _, known := due[last]; !known {
			at := next(sv.digested)
			due[last] = !at.IsZero() && !at.After(now)
		}
		if due[last] {
			ok = d.add(sv) || ok
			sv.digested = now
		}
	}
	if d.From.IsZero() {
		return Digest{}, false
	}
	s.version++
	d.Words = append(s.wordsSince(d.From), d.Words...)
	slices.SortStableFunc(d.Failing, func(a, b DigestLine) int { return a.Since.Compare(b.Since) })
	return d, ok || len(d.Words) > 0
}

// add tells of a watch, and begins anew with it; it reports whether anything changed.
func (d *Digest) add(sv *service) (changed bool) {
	if d.From.IsZero() || sv.digested.Before(d.From) {
		d.From = sv.digested
	}
	for _, sub := range sv.subjects {
		l := DigestLine{Key: sv.Key, Host: sub.host, Toll: sub.toll, Reason: clipped(firstLine(sub.reason)), Ack: sub.ack}
		if sub.ack != nil && sub.ack.At.After(sv.digested) {
			d.Words = append(d.Words, fmt.Sprintf("%s: acknowledged%s", l.name(), sub.ack.describe()))
			changed = true
		}
		changed = changed || sub.toll != (Toll{})
		switch {
		case sub.status == Failed:
			l.Since = sub.firstFailure
			d.Failing = append(d.Failing, l)
		case l.Ended > 0:
			d.Ended = append(d.Ended, l)
		}
		if l.Held > 0 {
			d.Held = append(d.Held, l)
		}
		sub.toll = Toll{}
	}
	return changed
}

// hearDigest is that the owner has told what changed until a time; what changed after
// it is for the next digest. It reports whether that is news.
func (sv *service) hearDigest(until time.Time) bool {
	if sv.mute == "" || sv.digested.IsZero() || !until.After(sv.digested) {
		return false
	}
	for _, sub := range sv.subjects {
		if !sub.toll.At.After(until) {
			sub.toll = Toll{}
		}
	}
	sv.digested = until.Add(digestSlack)
	return true
}

// wordsSince is what operators said after a time, as far as it still holds or was taken
// back.
func (s *Set) wordsSince(from time.Time) []string {
	var out []string
	for _, w := range s.Words() {
		id, silence := strings.CutPrefix(w.About, "silence ")
		switch {
		case !w.At.After(from):
		case w.Silence != nil:
			v := SilenceView{Silence: *w.Silence, Ends: w.Silence.Until}
			out = append(out, v.String()+" ("+v.Covers()+")")
		case silence:
			out = append(out, "silence "+id+" was taken away")
		case w.Mark == nil && w.About == aboutSite:
			out = append(out, "resumed")
		case w.Mark == nil:
			out = append(out, w.About+": enabled")
		case w.About == aboutSite:
			out = append(out, "paused"+w.Mark.describe())
		default:
			out = append(out, w.About+": disabled"+w.Mark.describe())
		}
	}
	return out
}

// Summary is the digest in a line.
func (d *Digest) Summary() string {
	began, ended := 0, 0
	for _, l := range d.Failing {
		began, ended = began+l.Outages, ended+l.Ended
	}
	for _, l := range d.Ended {
		began, ended = began+l.Outages, ended+l.Ended
	}
	return fmt.Sprintf("%d failing; %s began, %d ended", len(d.Failing), several(began, "outage"), ended)
}

// digestLines bounds each list of a digest: of a site that fell whole nobody reads more.
const digestLines = 200

// Text is the digest for people, without its summary.
func (d *Digest) Text() string {
	var out strings.Builder
	const minute = "2006-01-02 15:04"
	fmt.Fprintf(&out, "from %s until %s\n", d.From.In(d.To.Location()).Format(minute), d.To.Format(minute))
	list(&out, "failing, the longest first", d.Failing, func(l DigestLine) string {
		text := fmt.Sprintf("%s for %s", l.name(), span(d.To.Sub(l.Since)))
		if l.Reason != "" {
			text += " (" + l.Reason + ")"
		}
		if l.Ack != nil {
			text += ", acknowledged" + l.Ack.describe()
		}
		if l.Ended > 0 {
			text += fmt.Sprintf("; before that %s, %s in all", several(l.Ended, "outage"), span(l.Down))
		}
		return text
	})
	list(&out, "ended", d.Ended, func(l DigestLine) string {
		return fmt.Sprintf("%s: %s, %s in all, the last until %s", l.name(), several(l.Ended, "outage"), span(l.Down), clock(d.To, l.Last))
	})
	list(&out, "held back by silences", d.Held, func(l DigestLine) string { return fmt.Sprintf("%s: %s", l.name(), several(l.Held, "message")) })
	list(&out, "said by operators", d.Words, func(w string) string { return w })
	return out.String()
}

func list[L any](out *strings.Builder, title string, lines []L, text func(L) string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	for _, l := range lines[:min(len(lines), digestLines)] {
		fmt.Fprintf(out, "  %s\n", text(l))
	}
	if more := len(lines) - digestLines; more > 0 {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
}

// clipped keeps what a monitor said in a line.
func clipped(text string) string {
	const most = 200
	letters := []rune(text)
	if len(letters) <= most {
		return text
	}
	return string(letters[:most]) + "…"
}

func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// span writes a time as people read it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d < time.Hour {
		return d.Round(time.Second).String()
	}
	d = d.Round(time.Minute)
	if d < 2*day {
		return d.String()
	}
	return fmt.Sprintf("%dd%s", d/day, d%day)
}
