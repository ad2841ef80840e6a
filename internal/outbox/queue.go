package outbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/watch"
)

// # What waits outlives the daemon
//
// The queue is saved in the document that holds what the watches counted, by the same
// write: a decision is on the disk together with the message that it made, or neither
// is, and then the next daemon decides it again. A message leaves only after that
// write, see [Hooks], unless the disk takes too long or is full: so a crash
// never forgets a recovery of which the failure was told. What was delivered is gone
// from the queue by the next write; a crash in between has it told twice.

const (
	// maxTexts is about what the texts of all that waits may take, in bytes.
	maxTexts = 32 << 20
	// leastText is what each message may keep however many there are.
	leastText = 2 << 10
)

// cut shortens the texts of a message.
func (m *message) cut(most int) {
	if m.sum != nil {
		return // it is as long as it has lines
	}
	m.Event.Output = []byte(shortened(string(m.Event.Output), most))
	m.Event.Previous = shortened(m.Event.Previous, most)
	m.Event.Summary = shortened(m.Event.Summary, most)
}

func shortened[T ~string](text T, most int) T {
	if len(text) <= most {
		return text
	}
	for range utf8.UTFMax - 1 { // no half letters
		if most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
	}
	return text[:most] + T(fmt.Sprintf("\n[%d bytes more]", len(text)-most))
}

// A Saved is a message on the disk. It has no alert: that is the
// configuration's.
type Saved struct {
	Box         string     `json:"box"`
	Name        string     `json:"name"`
	Destination string     `json:"destination,omitzero"`
	Action      string     `json:"action"`
	Since       time.Time  `json:"since"`
	Hosts       bool       `json:"hosts,omitzero"`
	Sum         *sum       `json:"sum,omitzero"`
	Merged      int        `json:"merged,omitzero"`
	Attempts    int        `json:"attempts,omitzero"`
	Problem     watch.Text `json:"problem,omitzero"`
	Held        bool       `json:"held,omitzero"` // by the limiter
	Event       savedEvent `json:"event"`

	unread error // why the rest may be missing
}

// Unread is why the message cannot be read, and so cannot be restored; nil if it can.
func (s *Saved) Unread() error { return s.unread }

// A Queue is what waits, on the disk. A message that cannot be read, as one of a kind
// that a newer version knows, costs itself: the states in the same document count.
type Queue []Saved

// UnmarshalJSON reads each message by itself.
func (q *Queue) UnmarshalJSON(text []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*q = make(Queue, len(all))
	for i, one := range all {
		if err := json.Unmarshal(one, &(*q)[i]); err != nil {
			(*q)[i].unread = err
		}
	}
	return nil
}

// A savedEvent is an event on the disk, without what the configuration says of the
// watch. What is not UTF-8 survives.
type savedEvent struct {
	Kind         savedKind   `json:"kind"`
	Group        string      `json:"group"`
	Service      string      `json:"service"`
	Period       string      `json:"period,omitzero"`
	Time         time.Time   `json:"time"`
	Hosts        []savedHost `json:"hosts,omitzero"`
	Summary      watch.Text  `json:"summary,omitzero"`
	Output       watch.Text  `json:"output,omitzero"`
	Reason       watch.Text  `json:"reason,omitzero"`
	Status       int         `json:"status,omitzero"`
	Exit         *int        `json:"exit,omitzero"`
	Previous     watch.Text  `json:"previous,omitzero"`
	Events       int         `json:"events,omitzero"`
	FirstFailure time.Time   `json:"first_failure,omitzero"`
	LastFailure  time.Time   `json:"last_failure,omitzero"`
	LastSuccess  time.Time   `json:"last_success,omitzero"`
	Ack          watch.Text  `json:"ack,omitzero"`
	TrapIntended string      `json:"trap_intended,omitzero"`
	Outage       string      `json:"outage,omitzero"`
}

type savedHost struct {
	Name      string           `json:"name"`
	State     alerts.HostState `json:"state,omitzero"`
	Since     time.Time        `json:"since,omitzero"`
	Reason    watch.Text       `json:"reason,omitzero"`
	Concerned bool             `json:"concerned,omitzero"`
	Disabled  bool             `json:"disabled,omitzero"`
}

// A savedKind is a kind by its name: the numbers may change with the program.
type savedKind alerts.Kind

// MarshalText returns the kind's name.
func (k savedKind) MarshalText() ([]byte, error) { return []byte(alerts.Kind(k).String()), nil }

// UnmarshalText undoes MarshalText.
func (k *savedKind) UnmarshalText(text []byte) error {
	const most = 100 // kinds that may come yet
	for known := range alerts.Kind(most) {
		if known.String() == string(text) {
			*k = savedKind(known)
			return nil
		}
	}
	return fmt.Errorf("there is no kind of alert %q", text)
}

func saveEvent(e *alerts.Event, most int) savedEvent {
	s := savedEvent{
		Kind: savedKind(e.Kind), Group: e.Group, Service: e.Service, Period: e.Period, Time: e.Time,
		Summary: watch.Text(shortened(e.Summary, most)), Output: watch.Text(shortened(string(e.Output), most)),
		Reason: watch.Text(e.Reason), Status: e.Status, Exit: e.Exit, Previous: watch.Text(shortened(e.Previous, most)),
		Events: e.Events, FirstFailure: e.FirstFailure, LastFailure: e.LastFailure, LastSuccess: e.LastSuccess,
		Ack: watch.Text(e.Ack), TrapIntended: e.TrapIntended, Outage: e.Outage,
	}
	s.Hosts = slices.Grow(s.Hosts, len(e.Hosts))
	for _, h := range e.Hosts {
		s.Hosts = append(s.Hosts, savedHost{h.Name, h.State, h.Since, watch.Text(h.Reason), h.Concerned, h.Disabled})
	}
	return s
}

func (s *savedEvent) event() alerts.Event {
	e := alerts.Event{
		Kind: alerts.Kind(s.Kind), Group: s.Group, Service: s.Service, Period: s.Period, Time: s.Time,
		Summary: string(s.Summary), Output: []byte(s.Output), Reason: string(s.Reason), Status: s.Status, Exit: s.Exit,
		Previous: string(s.Previous), Events: s.Events, FirstFailure: s.FirstFailure, LastFailure: s.LastFailure,
		LastSuccess: s.LastSuccess, Ack: string(s.Ack), TrapIntended: s.TrapIntended, Outage: s.Outage,
	}
	for _, h := range s.Hosts {
		e.Hosts = append(e.Hosts, alerts.Host{Name: h.Name, State: h.State, Since: h.Since, Reason: string(h.Reason), Concerned: h.Concerned, Disabled: h.Disabled})
	}
	return e
}

// A Snapshot is what waits, as it was at one moment.
type Snapshot struct {
	waiters   []waiter
	allowance int
}

// A waiter is a message that waits, as it was at one moment: what its event points to
// is never changed.
type waiter struct {
	message
	held bool
}

// Snapshot returns what waits, and what is being sent. It is quick: [Snapshot.Queue]
// takes the time that it needs.
func (o *Outbox) Snapshot() Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines.snapshot()
}

func (l *lines) snapshot() Snapshot {
	s := Snapshot{make([]waiter, 0, l.count()), l.allowance()}
	note := func(m *message, held bool) {
		if !m.Lasts() || m.outdated {
			return
		}
		w := waiter{*m, held}
		if m.sum != nil {
			copied := *m.sum
			w.sum = &copied
		}
		s.waiters = append(s.waiters, w)
	}
	l.limiter.each(func(m *message) { note(m, true) })
	for _, waiting := range l.boxes {
		for _, m := range waiting {
			note(m, false)
		}
	}
	return s
}

// Len is how many messages waited.
func (s Snapshot) Len() int { return len(s.waiters) }

// Queue returns what waited, in order.
func (s Snapshot) Queue() Queue {
	all := s.waiters
	slices.SortFunc(all, func(a, b waiter) int { return cmp.Compare(a.number, b.number) })
	out := make(Queue, len(all))
	for i := range all {
		m := &all[i]
		out[i] = Saved{
			Box: m.box, Name: m.Name, Destination: m.destination, Action: m.Action, Since: m.since, Hosts: m.PerHost, Sum: m.sum,
			Merged: m.merged, Attempts: m.attempts, Problem: watch.Text(m.problem), Held: m.held, Event: saveEvent(&m.Event, s.allowance),
		}
		if m.sum != nil {
			out[i].Event.Output = "" // it is rendered again
		}
	}
	return out
}

// message undoes Queue, but for the alert. Nothing may lie ahead of now, or it would
// be tried for longer than GiveUp; and while nobody lived, for away, nobody tried.
func (s *Saved) message(now time.Time, away time.Duration) *message {
	m := &message{
		box: s.Box, destination: s.Destination, since: s.Since, sum: s.Sum, merged: s.Merged, attempts: s.Attempts, problem: string(s.Problem), durable: true,
		Message: Message{Name: s.Name, Action: s.Action, PerHost: s.Hosts, Event: s.Event.event()},
	}
	if m.since = m.since.Add(away); m.since.After(now) {
		m.since = now
	}
	if m.sum != nil {
		m.render()
	}
	return m
}

// A Restart is what a daemon has to know that takes up what the one before it could not
// deliver.
type Restart struct {
	Now time.Time
	// Away is how long nobody lived, and so nobody tried.
	Away   time.Duration
	Alerts *Bindings
	// Describe returns what the configuration says of a watch.
	Describe func(watch.Key) (description string, env []string)
	// Forgotten is why nothing is taken up; empty if it is.
	Forgotten string
}

// Restore puts a message that can be read at the end of its line, or reports that it was
// dropped, as when the configuration has no alert for it. Nothing leaves before Own.
func (o *Outbox) Restore(s *Saved, r Restart) (kept bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, why := s.message(r.Now, r.Away), r.Forgotten
	if why == "" {
		why = r.Alerts.bind(m)
	}
	if why == "" {
		m.Event.Description, m.Event.Env = r.Describe(m.Watch())
		o.lines.restore(m, s.Held, r.Now)
	} else {
		o.lines.end(m, history.Dropped, why)
	}
	o.rouse()
	return why == ""
}
