// Package history keeps which alerts there were and what became of them, in a [Book].
package history

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/scribe"
	"github.com/monitord/monitord/internal/watch"
)

// A Fate is what became of an alert in the end.
type Fate string

// The fates.
const (
	Delivered  Fate = "delivered"
	Complained Fate = "delivered with a complaint"
	GivenUp    Fate = "given up"
	Superseded Fate = "superseded"
	SummedUp   Fate = "summed up"
	Dropped    Fate = "dropped"
	Waiting    Fate = "waiting" // no end yet
)

// A Journal keeps records; *state.Journal is one.
type Journal interface {
	Append(records ...any) error
	Read(f func(json.RawMessage) bool) (damaged int, err error)
}

const (
	// Age is how long the history goes back.
	Age = 90 * 24 * time.Hour
	// Text and Hosts are how much of an alert is kept: bytes of each of its texts, and
	// names.
	Text  = 1 << 10
	Hosts = 50
)

// An Entry is an alert and what became of it.
type Entry struct {
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
	// Fate is empty if it is not known, as of what mon wrote. Why says more.
	Fate     Fate       `json:"fate,omitzero"`
	Why      watch.Text `json:"why,omitzero"`
	Attempts int        `json:"attempts,omitzero"`
	// Merged is how many older ones it stands for, that could not be delivered before
	// it came.
	Merged int `json:"merged,omitzero"`
}

// Watch is the watch that the alert is about.
func (h *Entry) Watch() watch.Key { return watch.Key{Group: h.Group, Service: h.Service} }

// A Query is what somebody wants to know.
type Query struct {
	Since time.Time // zero: as far as it goes back
	Watch watch.Key // zero: of all
	Last  int       // how many at most, the newest; 0: all
}

// A Book is the history of alerts: what stands in a journal, and what is on its way
// there. Its methods may be called from any goroutine.
type Book struct {
	journal Journal
	scribe  *scribe.Scribe[Entry]
	earlier []Entry
}

// New returns a book that is kept in a journal; nil: it stays empty. earlier are entries
// of another history, oldest first, as far as they are older than the journal's. report
// is told of failures of the journal's disk, as by [scribe.New].
func New(journal Journal, earlier []Entry, report func(lost int, err error)) *Book {
	b := &Book{journal: journal, earlier: earlier}
	b.scribe = scribe.New(b.write, report)
	return b
}

// Run writes what Put is given until stop is closed, and then what is left, once. Call
// it once.
func (b *Book) Run(stop <-chan struct{}) { b.scribe.Run(stop) }

// Put notes the end of an alert. It does not wait.
func (b *Book) Put(e Entry) {
	if b.journal != nil {
		b.scribe.Put(e)
	}
}

// Find returns the alerts of the past, oldest first, and those that wait, which it asks
// waiting for. An error is the disk's; what is returned then is what could be read, and
// what the disk does not have yet.
func (b *Book) Find(asked time.Time, q Query, waiting func() []Entry) ([]Entry, error) {
	q.Since = latestOf(q.Since, asked.Add(-Age))
	// In the order in which an alert moves on: one may be seen twice, but none is missed.
	waits := waiting()
	unwritten := b.scribe.Unwritten()
	known, moved := map[mark]bool{}, map[mark]bool{}
	var oldest time.Time // of the own ones
	note := func(h *Entry) {
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
	var out []Entry
	err := b.read(func(h Entry) {
		if note(&h); !known[h.mark(h.Ended)] {
			out = q.add(out, h)
		}
	})
	for i := range waits {
		note(&waits[i])
	}
	waits = slices.DeleteFunc(waits, func(h Entry) bool { return moved[h.mark(time.Time{})] })
	return q.newest(slices.Concat(q.filter(b.before(oldest)), out, q.filter(unwritten), q.filter(waits))), err
}

// read calls f with what the journal has, in the order in which it ended.
func (b *Book) read(f func(Entry)) error {
	if b.journal == nil {
		return nil
	}
	_, err := b.journal.Read(func(raw json.RawMessage) bool {
		var h Entry
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

func (h *Entry) mark(ended time.Time) mark {
	return mark{h.At.UnixNano(), ended.UnixNano(), h.Group, h.Service, h.Kind, h.Alert, h.Period}
}

// before is what stands in the other history from before the own one; all if there is
// none.
func (b *Book) before(oldest time.Time) []Entry {
	at := slices.IndexFunc(b.earlier, func(h Entry) bool { return !h.At.Before(oldest.Truncate(time.Second)) })
	if at < 0 || oldest.IsZero() {
		at = len(b.earlier)
	}
	return slices.Clone(b.earlier[:at])
}

func (q *Query) wants(h *Entry) bool {
	if q.Watch != (watch.Key{}) && q.Watch != h.Watch() {
		return false
	}
	return h.Fate == Waiting || !h.At.Before(q.Since) || !h.Ended.Before(q.Since)
}

func (q *Query) filter(all []Entry) []Entry {
	return slices.DeleteFunc(all, func(h Entry) bool { return !q.wants(&h) })
}

// add keeps about as many as are asked for, of the newest. They come as they ended: what
// was given up after a day comes behind what was decided since.
func (q *Query) add(out []Entry, h Entry) []Entry {
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
func (q *Query) newest(all []Entry) []Entry {
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
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

// LastWords returns the newest entries that may not be in the journal yet, for
// [Book.Recall] in the next life.
func (b *Book) LastWords() []Entry {
	ended := b.scribe.Unwritten()
	return ended[max(len(ended)-scribe.Batch, 0):]
}

// Recall writes the LastWords of the book before, as far as that could not any more. An
// error says that the journal cannot be read; then some may be written twice.
func (b *Book) Recall(old []Entry) error {
	if len(old) == 0 || b.journal == nil {
		return nil
	}
	written := map[mark]bool{}
	err := b.read(func(h Entry) { written[h.mark(h.Ended)] = true })
	b.scribe.Put(slices.DeleteFunc(old, func(h Entry) bool { return written[h.mark(h.Ended)] })...)
	return err
}

// write appends to the journal.
func (b *Book) write(entries []Entry) error {
	records := make([]any, len(entries))
	for i := range entries {
		records[i] = &entries[i]
	}
	return b.journal.Append(records...)
}
