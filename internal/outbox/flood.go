package outbox

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

const (
	// FloodLimit is the number of messages that one destination gets at once, and in
	// each FloodWindow after.
	FloodLimit  = 60
	FloodWindow = time.Minute
	// sumLines is how many lines people get to read of a sum, sumText how much of each
	// alert, in bytes.
	sumLines = 1000
	sumText  = 500
)

// A limiter keeps a flood from people: beyond FloodLimit messages a minute to one
// destination, the rest of the minute is summed up in one message at its end.
type limiter struct {
	counts map[string]*window
	closed bool
}

// A window is a minute of one destination.
type window struct {
	sent int
	// held are kept for the sum: the newest of each slot, in no order.
	held []*message
	at   map[slot]int // of held
	ends time.Time
}

// A slot is what one message of a sum is the last word about: an action. Of a watch that
// counts for each host by itself it is one kind of word, since a trap about one host
// says nothing of the failure of another.
type slot struct {
	action string
	kind   savedKind // 0 of a watch that is one whole
}

func (m *message) slot() slot {
	if m.PerHost {
		return slot{m.Action, savedKind(m.Event.Kind)}
	}
	return slot{action: m.Action}
}

func newLimiter() *limiter { return &limiter{counts: map[string]*window{}} }

// window is the present minute of a destination, or one that ends at a time.
func (l *limiter) window(destination string, ends time.Time) *window {
	w := l.counts[destination]
	if w == nil {
		w = &window{at: map[slot]int{}, ends: ends}
		l.counts[destination] = w
	}
	return w
}

// next is when the next minute ends; zero if there is none.
func (l *limiter) next() (at time.Time) {
	if l.closed {
		return at
	}
	for _, w := range l.counts {
		if at.IsZero() || w.ends.Before(at) {
			at = w.ends
		}
	}
	return at
}

// over are the destinations whose minute has ended.
func (l *limiter) over(now time.Time) []string {
	var out []string
	for destination, w := range l.counts {
		if !w.ends.After(now) {
			out = append(out, destination)
		}
	}
	slices.Sort(out)
	return out
}

// admit reports whether a message may go out now. If not it is kept for the sum, and
// what it replaces there is returned.
func (l *limiter) admit(m *message, now time.Time) (older *message, admitted bool) {
	w := l.window(m.destination, now.Add(FloodWindow))
	if w.sent < FloodLimit {
		w.sent++
		return nil, true
	}
	return w.hold(m), false
}

// restore takes up what a limiter before this one held, for the rest of its minute.
func (l *limiter) restore(m *message, now time.Time) {
	rest := min(max(m.since.Add(FloodWindow).Sub(now), 0), FloodWindow)
	w := l.window(m.destination, now.Add(rest))
	w.sent = FloodLimit
	w.hold(m)
}

func (w *window) hold(m *message) (older *message) {
	at, ok := w.at[m.slot()]
	if !ok {
		w.at[m.slot()] = len(w.held)
		w.held = append(w.held, m)
		return nil
	}
	older = w.held[at]
	if older.Event.Kind == m.Event.Kind {
		m.merge(older)
	}
	w.held[at] = m
	return older
}

// each calls f with each message that is kept.
func (l *limiter) each(f func(*message)) {
	for _, w := range l.counts {
		for _, m := range w.held {
			f(m)
		}
	}
}

func (l *limiter) deleteFunc(gone func(*message) bool) {
	for _, w := range l.counts {
		w.held = slices.DeleteFunc(w.held, gone)
		clear(w.at)
		for i, m := range w.held {
			w.at[m.slot()] = i
		}
	}
}

// turn ends a destination's minute and returns what was kept.
func (l *limiter) turn(destination string, now time.Time) []*message {
	w := l.counts[destination]
	if l.closed || w == nil {
		return nil
	}
	held := inOrder(w.held)
	w.held = nil
	clear(w.at)
	if len(held) == 0 {
		delete(l.counts, destination)
	} else {
		w.sent = 1 // the sum
		w.ends = now.Add(FloodWindow)
	}
	return held
}

// close returns what is still held, by destination; the limiter is of no use after.
func (l *limiter) close() [][]*message {
	l.closed = true
	var out [][]*message
	for _, w := range l.counts {
		if len(w.held) > 0 {
			out = append(out, inOrder(w.held))
		}
		w.held = nil
	}
	return out
}

// inOrder sorts messages by when they came: of two about one thing people believe the
// last.
func inOrder(held []*message) []*message {
	slices.SortFunc(held, func(a, b *message) int { return cmp.Compare(a.number, b.number) })
	return held
}

// A sum is a message about many: the last word of each slot.
type sum struct {
	Lines []sumLine `json:"lines"`
	// Since is when the first of them came up.
	Since time.Time `json:"since"`
	// Late is true if an older sum that could not be delivered is in it.
	Late bool `json:"late,omitzero"`
}

type sumLine struct {
	watch.Key
	Action  string     `json:"action"`
	Kind    savedKind  `json:"kind"`
	Summary watch.Text `json:"summary,omitzero"`
	// Hosts are those concerned, of a watch that counts for each by itself.
	Hosts []string `json:"hosts,omitzero"`
}

func (l *sumLine) slot() slot {
	if len(l.Hosts) > 0 {
		return slot{l.Action, l.Kind}
	}
	return slot{action: l.Action}
}

// line is what a sum says of a message.
func (m *message) line() sumLine {
	l := sumLine{Key: m.Watch(), Action: m.Action, Kind: savedKind(m.Event.Kind), Summary: watch.Text(oneLine(shortened(m.Event.Summary, sumText)))}
	if !m.PerHost {
		return l
	}
	if l.Hosts = m.concerned(); len(l.Hosts) > 0 { // the summary has others that fail as well, which may be over
		l.Summary = watch.Text(shortened(strings.Join(l.Hosts, " "), sumText))
	}
	return l
}

// oneLine keeps a text from making lines of its own.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
}

// without takes hosts out of a line; it reports whether any is left.
func (l *sumLine) without(said map[string]bool) bool {
	left := slices.DeleteFunc(slices.Clone(l.Hosts), func(host string) bool { return said[host] })
	if len(left) < len(l.Hosts) {
		l.Hosts, l.Summary = left, watch.Text(shortened(strings.Join(left, " "), sumText))
	}
	return len(left) > 0
}

// outdate takes out what a newer message says, which people may get before the sum; it
// reports whether there was any of it.
func (s *sum) outdate(m *message) bool {
	said := m.about()
	var left []sumLine // the saver may look at the old ones
	changed := false
	for _, l := range s.Lines {
		kind := alerts.Kind(l.Kind)
		if l.Key == m.Watch() && (kind.Failing() || kind == alerts.Up) {
			changed = true
			if !m.PerHost || !l.without(said) {
				continue
			}
		}
		left = append(left, l)
	}
	if changed {
		s.Lines = left
	}
	return changed
}

// sumUp makes one message of many, which are of different slots and in order.
func sumUp(held []*message, now time.Time) *message {
	if len(held) == 1 {
		return held[0]
	}
	first := held[0]
	s := &sum{Since: first.since}
	for _, m := range held {
		s.Lines = append(s.Lines, m.line())
	}
	exit, name := 1, sumBox(first.destination)
	m := &message{box: name, sum: s, since: now, Message: Message{Name: first.Name, Action: name, Alert: first.Alert, Event: alerts.Event{
		Group: "monitord", Service: "alerts", Time: now, Exit: &exit,
		Reason: fmt.Sprintf("a destination gets at most %d messages a minute, the rest are summed up", FloodLimit),
		Outage: fmt.Sprintf("monitord:alerts@%d", first.since.UnixMilli()),
	}}}
	m.render()
	return m
}

// sumBox is the line of the sums of a destination.
func sumBox(destination string) string { return "sum of " + destination }

// render writes what people read.
func (m *message) render() {
	s := m.sum
	var text strings.Builder
	m.Event.Kind = alerts.Up
	for i, line := range s.Lines {
		if alerts.Kind(line.Kind).Failing() {
			m.Event.Kind = alerts.Failure
		}
		if i < sumLines {
			fmt.Fprintf(&text, "%s %s: %s\n", alerts.Kind(line.Kind), line.Key, line.Summary)
		}
	}
	if more := len(s.Lines) - sumLines; more > 0 {
		fmt.Fprintf(&text, "and %d more: monitord history\n", more)
	}
	m.Event.Summary = fmt.Sprintf("%d more alerts in the last minute", len(s.Lines))
	if s.Late {
		m.Event.Summary = fmt.Sprintf("%d more alerts since %s", len(s.Lines), s.Since.Format(time.DateTime))
	}
	m.Event.Output = []byte(m.Event.Summary + "\n" + text.String())
}

// addSum takes over what an older sum says and this one does not, ahead of what this
// one says.
func (m *message) addSum(older *message) {
	newer := map[slot]map[string]bool{} // the hosts of each
	for i := range m.sum.Lines {
		l := &m.sum.Lines[i]
		if newer[l.slot()] == nil {
			newer[l.slot()] = map[string]bool{}
		}
		for _, host := range l.Hosts {
			newer[l.slot()][host] = true
		}
	}
	var lines []sumLine // the saver may look at the old ones
	for _, l := range older.sum.Lines {
		if said, ok := newer[l.slot()]; ok && !l.without(said) {
			continue
		}
		lines = append(lines, l)
	}
	m.sum.Lines = append(lines, m.sum.Lines...)
	m.sum.Since, m.sum.Late = older.sum.Since, true
	m.render()
}

// keys are the watches that a sum is about.
func (s *sum) keys() []watch.Key {
	out := make([]watch.Key, len(s.Lines))
	for i, line := range s.Lines {
		out[i] = line.Key
	}
	return out
}

// forget takes out what is said about watches; it reports whether anything is left.
func (s *sum) forget(watches map[watch.Key]string) bool {
	lines := slices.DeleteFunc(slices.Clone(s.Lines), func(l sumLine) bool { _, ok := watches[l.Key]; return ok })
	if len(lines) == 0 {
		return false
	}
	s.Lines = lines
	return true
}
