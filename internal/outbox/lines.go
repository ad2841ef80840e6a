package outbox

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/watch"
)

// lines hold what waits, and decide what leaves, what is summed up, what is dropped, and
// why. They have no clock and do nothing by themselves: the [Outbox] around them does,
// and protects them.
type lines struct {
	// keeps is true if what is not delivered in the end will be by the next daemon.
	keeps bool
	// boxes are lines by their names, each in order.
	boxes   map[string][]*message
	limiter *limiter
	// silent are the watches of which another director tells people, or nobody:
	// what waits of them goes on waiting.
	silent map[watch.Key]bool
	// resting is true from restore to own: it is not known yet whose the messages are.
	resting bool
	number  uint64
	closed  bool
	// ends are what became of messages, until somebody looks.
	ends []ending
}

// An ending is what the history says of a message, and the whole of why.
type ending struct {
	entry history.Entry
	why   string
}

func newLines(keeps bool) *lines {
	return &lines{keeps: keeps, boxes: map[string][]*message{}, limiter: newLimiter()}
}

// put accepts a message, and returns the line that it is in now; empty if it is in none.
func (l *lines) put(m *message, now time.Time) (line string) {
	m.since = now
	l.number++
	m.number = l.number
	m.cut(l.allowance())
	if m.destination != "" && !m.Follows() {
		if older, admitted := l.limiter.admit(m, now); !admitted {
			l.mergedInto(m, older)
			l.overtakeLine(m)
			return ""
		}
	}
	return l.enqueue(m)
}

// turn ends the minutes of destinations that are over, and returns the lines that got
// something by it.
func (l *lines) turn(now time.Time) (roused []string) {
	for _, destination := range l.limiter.over(now) {
		roused = append(roused, l.release(l.limiter.turn(destination, now), now))
	}
	return roused
}

// flush ends all minutes, for ever.
func (l *lines) flush(now time.Time) (roused []string) {
	for _, held := range l.limiter.close() {
		roused = append(roused, l.release(held, now))
	}
	return roused
}

// release sends what was held back, in one message.
func (l *lines) release(held []*message, now time.Time) (line string) {
	if len(held) == 0 {
		return ""
	}
	m := sumUp(held, now)
	l.number++
	m.number = l.number // it comes behind what its line holds by now
	if m.sum != nil {
		for _, one := range held {
			l.end(one, history.SummedUp, fmt.Sprintf("a destination gets at most %d messages a minute", FloodLimit))
		}
	}
	return l.enqueue(m)
}

func (l *lines) enqueue(m *message) (line string) {
	if l.closed {
		if m.Lasts() && l.keeps { // for the next daemon
			l.boxes[m.box] = append(l.boxes[m.box], m)
		}
		return ""
	}
	if m.sum == nil && m.destination != "" {
		l.overtakeSum(m)
	}
	l.accept(m)
	return m.box
}

// accept puts a message at the end of its line. What it supersedes leaves.
func (l *lines) accept(m *message) {
	left := slices.DeleteFunc(l.boxes[m.box], func(w *message) bool {
		if w.sending || !m.supersedes(w) {
			return false
		}
		l.mergedInto(m, w)
		return true
	})
	l.boxes[m.box] = append(left, m)
}

// overtakeLine has what waits in a message's own line not say later what the message,
// which goes into a sum, says now.
func (l *lines) overtakeLine(m *message) {
	l.weed(m.box, func(w *message) bool { return m.outdate(w) && l.outdated(w) })
}

// overtakeSum has a sum that waits not say later what a message says now.
func (l *lines) overtakeSum(m *message) {
	if !m.states() {
		return
	}
	l.weed(sumBox(m.destination), func(w *message) bool {
		if w.sum == nil || !w.sum.outdate(m) {
			return false
		}
		if len(w.sum.Lines) == 0 {
			return l.outdated(w)
		}
		w.render()
		return false
	})
}

// weed takes messages out of a line.
func (l *lines) weed(line string, gone func(*message) bool) {
	left := slices.DeleteFunc(l.boxes[line], gone)
	if len(left) == 0 {
		delete(l.boxes, line)
		return
	}
	l.boxes[line] = left
}

// outdated ends a message of which nothing is left to say; it is false if it is just
// being sent.
func (l *lines) outdated(m *message) bool {
	if m.sending {
		m.outdated = true
		return false
	}
	l.end(m, history.Superseded, newerCame)
	return true
}

// mergedInto says what became of an older message, nil if there is none: one of the
// same kind lives on in the newer.
func (l *lines) mergedInto(m, older *message) {
	switch {
	case older == nil:
	case older.Action == m.Action && (older.Event.Kind == m.Event.Kind || m.sum != nil):
		m.merged += older.merged + 1
	default:
		l.end(older, history.Superseded, newerCame)
	}
}

// end notes what became of a message.
func (l *lines) end(m *message, f history.Fate, why string) {
	if m.Lasts() {
		l.ends = append(l.ends, ending{m.entry(f, why), why})
	}
}

// mayLeave reports whether anything of a line may.
func (l *lines) mayLeave(line string) bool {
	return !l.closed && len(l.boxes[line]) > 0 && !l.isSilent(l.boxes[line][0])
}

// isSilent reports whether a message has to wait because this director does not tell
// people of any watch that it is about.
func (l *lines) isSilent(m *message) bool {
	switch {
	case !m.Lasts():
		return false
	case l.resting:
		return true
	case len(l.silent) == 0:
		return false
	}
	return !slices.ContainsFunc(m.keys(), func(key watch.Key) bool { return !l.silent[key] })
}

// own says of which watches this director does not tell people from now on.
func (l *lines) own(silent map[watch.Key]bool) { l.silent, l.resting = silent, false }

// first returns the message of a line to deliver next, as it is now, and whether it has
// to be on the disk before; nil if the line is done with, for now at least. gaveUp is
// true if nothing is sent any more.
func (l *lines) first(line string, gaveUp bool) (m *message, now message, fresh bool) {
	if l.closed { // each message gets its one attempt, but no second
		l.weed(line, l.isLost)
	}
	waiting := l.boxes[line]
	// What was tried and stays is not overtaken.
	if len(waiting) == 0 || gaveUp || l.closed && waiting[0].tried() || l.isSilent(waiting[0]) {
		return nil, now, false
	}
	m = waiting[0]
	fresh = m.Lasts() && !m.durable
	m.sending, m.durable = true, true
	return m, *m, fresh
}

// isLost reports whether a message of an outbox that closes was tried, and nobody
// will try it again.
func (l *lines) isLost(m *message) bool {
	if !m.tried() || l.keeps && m.Lasts() {
		return false
	}
	l.end(m, history.Dropped, "the daemon ends, and has no folder for the state")
	return true
}

// settle takes a message that is done with out of its line, wherever it is now, and one
// that failed too if something newer supersedes it. It reports whether it was there.
func (l *lines) settle(line string, d delivery) bool {
	m := d.message
	m.attempts, m.sending, m.problem = m.attempts+1, false, ""
	if d.Err != nil {
		m.problem = d.Err.Error()
	}
	waiting := l.boxes[line]
	at := slices.Index(waiting, m)
	if at < 0 {
		return false
	}
	if l.isDone(d, waiting[at+1:]) {
		l.weed(line, func(w *message) bool { return w == m })
	}
	return true
}

// isDone reports whether a message leaves after an attempt; newer is what waits behind
// it.
func (l *lines) isDone(d delivery, newer []*message) bool {
	m := d.message
	if d.Final {
		l.end(m, d.fate(), m.problem)
		return true
	}
	if fate, why := m.overtaken(); why != "" {
		l.end(m, fate, why)
		return true
	}
	for _, n := range newer {
		if n.supersedes(m) {
			l.mergedInto(n, m)
			return true
		}
	}
	return false
}

// restore puts a message back in its place: at the end of its line. It does not leave
// before own.
func (l *lines) restore(m *message, held bool, now time.Time) {
	l.resting = true
	l.number++
	m.number = l.number
	if held {
		l.limiter.restore(m, now)
		return
	}
	l.boxes[m.box] = append(l.boxes[m.box], m)
}

// discard takes out what drop returns a reason for; what is being sent, if that is in
// vain.
func (l *lines) discard(drop func(*message) (why string)) {
	gone := func(m *message) bool {
		why := drop(m)
		if m.sending {
			m.dropped = cmp.Or(why, m.dropped)
			return false
		}
		if why != "" {
			l.end(m, history.Dropped, why)
		}
		return why != ""
	}
	l.limiter.deleteFunc(gone)
	for line := range l.boxes {
		l.weed(line, gone)
	}
}

// forget takes out what waits about watches of which another director has become the
// owner: it tells people what this one could not deliver any more.
func (l *lines) forget(owners map[watch.Key]string) {
	l.discard(func(m *message) string {
		switch {
		case !m.Lasts():
			return ""
		case m.sum == nil:
			if by, ok := owners[m.Watch()]; ok {
				return by + " tells people of this watch"
			}
			return ""
		case m.sum.forget(owners):
			m.render()
			return ""
		}
		return "other directors tell people of all these watches"
	})
}

// rebind makes what waits go through the alerts of a new configuration; what has no
// alert any more is dropped.
func (l *lines) rebind(b *Bindings) {
	l.discard(func(m *message) string {
		m.dropped = "" // the configuration before may have had no alert for it
		return b.bind(m)
	})
}

// pending are the watches of which a message to people is not delivered yet.
func (l *lines) pending() map[watch.Key]bool {
	out := map[watch.Key]bool{}
	l.each(func(m *message) {
		if m.Follows() || m.Event.Kind == alerts.Test {
			return
		}
		for _, key := range m.keys() {
			out[key] = true
		}
	})
	return out
}

// waiting is what the history says of what waits, in order.
func (l *lines) waiting() []history.Entry {
	var all []*message
	l.each(func(m *message) {
		if m.Lasts() {
			all = append(all, m)
		}
	})
	out := make([]history.Entry, len(all))
	for i, m := range inOrder(all) {
		why := m.problem
		switch {
		case why != "" || !l.isSilent(m):
		case l.resting:
			why = "the daemon starts"
		default:
			why = "this director does not own the watch"
		}
		out[i] = m.entry(history.Waiting, why)
	}
	return out
}

// each calls f with each message, in no order.
func (l *lines) each(f func(*message)) {
	l.limiter.each(f)
	for _, waiting := range l.boxes {
		for _, m := range waiting {
			f(m)
		}
	}
}

// allowance is how long the texts of one message more may be, in bytes.
func (l *lines) allowance() int { return max(maxTexts/(l.count()+1), leastText) }

// count is about how many messages there are.
func (l *lines) count() int {
	n := len(l.boxes)
	for _, w := range l.limiter.counts {
		n += len(w.held)
	}
	return n
}
