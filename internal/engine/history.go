package engine

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/watch"
)

// A Journal keeps records; *state.Journal is one.
type Journal interface {
	Append(records ...any) error
	Read(f func(json.RawMessage) bool) (damaged int, err error)
}

const (
	// historyAge is how long the history goes back.
	historyAge = 90 * 24 * time.Hour
	// historyText and historyHosts are how much of an alert is kept.
	historyText  = 1 << 10
	historyHosts = 50
)

// A HistoryEntry is an alert and what became of it.
type HistoryEntry struct {
	// At is when it was decided, Ended when it was delivered or its end was known;
	// zero while it waits.
	At      time.Time `json:"at"`
	Ended   time.Time `json:"ended,omitzero"`
	Group   string    `json:"group"`
	Service string    `json:"service"`
	Kind    string    `json:"kind"`  // mon's word: failure, up, startup, …
	Alert   string    `json:"alert"` // "mail ops@example.org"
	Period  string    `json:"period,omitzero"`
	// Hosts are those concerned, at most 50.
	Hosts   []string   `json:"hosts,omitzero"`
	Summary watch.Text `json:"summary,omitzero"`
	// Reason is why it was sent: "failure 3 of alertafter 3".
	Reason watch.Text `json:"reason,omitzero"`
	// Fate is what became of it: "delivered", "delivered with a complaint", "given
	// up", "superseded", "summed up", "dropped", or "waiting"; empty if that is not
	// known, as of what mon wrote. Why says more.
	Fate     string     `json:"fate,omitzero"`
	Why      watch.Text `json:"why,omitzero"`
	Attempts int        `json:"attempts,omitzero"`
	// Merged is how many older ones it stands for, that could not be delivered before
	// it came.
	Merged int `json:"merged,omitzero"`
}

// Watch is the watch that the alert is about.
func (h *HistoryEntry) Watch() watch.Key { return watch.Key{Group: h.Group, Service: h.Service} }

// A HistoryQuery is what somebody wants to know.
type HistoryQuery struct {
	Since time.Time // zero: as far as it goes back
	Watch watch.Key // zero: of all
	Last  int       // how many at most, the newest; 0: all
}

// History returns the alerts of the past, oldest first, and those that wait. An error
// is the disk's; what is returned then is what could be read, and what the disk does not
// have yet.
func (e *Engine) History(q HistoryQuery) ([]HistoryEntry, error) {
	asked := time.Now()
	q.Since = latestOf(q.Since, asked.Add(-historyAge))
	// In the order in which an alert moves on: one may be seen twice, but none is missed.
	waits := e.outbox.history()
	unwritten := e.chronicle.unwritten()
	known, moved := map[mark]bool{}, map[mark]bool{}
	var oldest time.Time // of the own ones
	note := func(h *HistoryEntry) {
		if oldest.IsZero() || h.At.Before(oldest) {
			oldest = h.At
		}
		if !h.Ended.IsZero() && !h.Ended.Before(asked) {
			moved[h.mark(time.Time{})] = true
		}
	}
	for i := range unwritten {
		note(&unwritten[i])
		known[unwritten[i].mark(unwritten[i].Ended)] = true
	}
	var out []HistoryEntry
	err := e.readHistory(func(h HistoryEntry) {
		if note(&h); !known[h.mark(h.Ended)] {
			out = q.add(out, h)
		}
	})
	for i := range waits {
		note(&waits[i])
	}
	waits = slices.DeleteFunc(waits, func(h HistoryEntry) bool { return moved[h.mark(time.Time{})] })
	return q.newest(slices.Concat(q.filter(e.monHistory(oldest)), out, q.filter(unwritten), q.filter(waits))), err
}

// readHistory calls f with what the journal has, in the order in which it ended.
func (e *Engine) readHistory(f func(HistoryEntry)) error {
	if e.memory.History == nil {
		return nil
	}
	_, err := e.memory.History.Read(func(raw json.RawMessage) bool {
		var h HistoryEntry
		if json.Unmarshal(raw, &h) == nil { // of another version: nothing to show
			f(h)
		}
		return true
	})
	return err
}

// A mark tells alerts of the history apart.
type mark struct {
	at, ended                           int64
	group, service, kind, alert, period string
}

func (h *HistoryEntry) mark(ended time.Time) mark {
	return mark{h.At.UnixNano(), ended.UnixNano(), h.Group, h.Service, h.Kind, h.Alert, h.Period}
}

// monHistory is what stands in mon's history file from before the own history; all if
// there is none.
func (e *Engine) monHistory(before time.Time) []HistoryEntry {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.IndexFunc(e.historic, func(h HistoryEntry) bool { return !h.At.Before(before.Truncate(time.Second)) })
	if at < 0 || before.IsZero() {
		at = len(e.historic)
	}
	return slices.Clone(e.historic[:at])
}

func (q *HistoryQuery) wants(h *HistoryEntry) bool {
	if q.Watch != (watch.Key{}) && q.Watch != h.Watch() {
		return false
	}
	return h.Fate == string(waiting) || !h.At.Before(q.Since) || !h.Ended.Before(q.Since)
}

func (q *HistoryQuery) filter(all []HistoryEntry) []HistoryEntry {
	return slices.DeleteFunc(all, func(h HistoryEntry) bool { return !q.wants(&h) })
}

// add keeps about as many as are asked for, of the newest. They come as they ended: what
// was given up after a day comes behind what was decided since.
func (q *HistoryQuery) add(out []HistoryEntry, h HistoryEntry) []HistoryEntry {
	if !q.wants(&h) {
		return out
	}
	if q.Last > 0 && len(out)/2 >= q.Last {
		out = q.newest(out)
	}
	return append(out, h)
}

// newest sorts entries by when they were decided, and leaves the last that are asked
// for.
func (q *HistoryQuery) newest(all []HistoryEntry) []HistoryEntry {
	slices.SortStableFunc(all, func(a, b HistoryEntry) int { return a.At.Compare(b.At) })
	if q.Last > 0 && len(all) > q.Last {
		all = append(all[:0], all[len(all)-q.Last:]...)
	}
	return all
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// entry is what the history says of a message.
func (m *message) entry(f fate, why string) HistoryEntry {
	e := &m.event
	h := HistoryEntry{
		At: e.Time, Group: e.Group, Service: e.Service, Kind: e.Kind.String(), Alert: m.name, Period: e.Period,
		Summary: watch.Text(shortened(e.Summary, historyText)), Reason: watch.Text(shortened(e.Reason, historyText)),
		Fate: string(f), Why: watch.Text(shortened(why, historyText)), Attempts: m.attempts, Merged: m.merged,
	}
	for _, host := range e.Hosts {
		if host.Concerned && len(h.Hosts) < historyHosts {
			h.Hosts = append(h.Hosts, host.Name)
		}
	}
	return h
}

// history is what waits, in order.
func (o *outbox) history() []HistoryEntry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*message
	o.each(func(m *message) {
		if m.lasts() {
			all = append(all, m)
		}
	})
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(a.number, b.number) })
	out := make([]HistoryEntry, len(all))
	for i, m := range all {
		why := m.problem
		switch {
		case why != "" || !o.isSilent(m):
		case o.resting:
			why = "the daemon starts"
		default:
			why = "this director does not own the watch"
		}
		out[i] = m.entry(waiting, why)
	}
	return out
}

// ended notes what became of a message. It does not wait.
func (e *Engine) ended(m *message, f fate, why string) {
	if !m.lasts() {
		return
	}
	if f == dropped {
		e.log.WithField("watch", m.key().String()).WithField("alert", m.name).WithField("why", why).Warn("alert dropped")
	}
	if e.memory.History == nil {
		return
	}
	h := m.entry(f, why)
	h.Ended = time.Now()
	e.chronicle.put(h)
}

// lastWords are the newest alerts that ended and may not be in the journal yet. They
// leave the queue by the write that saves them, or a crash between the two writes would
// have them nowhere. Ask for it after the queue: that is the way they go.
func (e *Engine) lastWords() []HistoryEntry {
	ended := e.chronicle.unwritten()
	return ended[max(len(ended)-scribeBatch, 0):]
}

// recallEnded writes what the engine before could not write any more.
func (e *Engine) recallEnded(old []HistoryEntry) {
	if len(old) == 0 || e.memory.History == nil {
		return
	}
	written := map[mark]bool{}
	if err := e.readHistory(func(h HistoryEntry) { written[h.mark(h.Ended)] = true }); err != nil {
		e.log.WithError(err).Error("the history of alerts cannot be read")
	}
	e.chronicle.put(slices.DeleteFunc(old, func(h HistoryEntry) bool { return written[h.mark(h.Ended)] })...)
}

// writeHistory appends to the journal.
func (e *Engine) writeHistory(entries []HistoryEntry) error {
	records := make([]any, len(entries))
	for i := range entries {
		records[i] = &entries[i]
	}
	return e.memory.History.Append(records...)
}

// write has the history and mon's logs written until stop is closed; done is closed
// when the last is.
func (e *Engine) write(stop <-chan struct{}) (done <-chan struct{}) {
	ended := make(chan struct{})
	logsEnded := make(chan struct{})
	go func() {
		defer close(logsEnded)
		e.monLogs.run(stop)
	}()
	go func() {
		defer close(ended)
		e.chronicle.run(stop)
		<-logsEnded
	}()
	return ended
}
