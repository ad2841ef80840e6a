package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/watch"
)

// # What waits outlives the daemon
//
// The queue is saved in the document that holds what the watches counted, by the same
// write: a decision is on the disk together with the message that it made, or neither
// is, and then the next daemon decides it again. A message leaves only after that
// write, unless the disk takes longer than commitPatience or is full: so a crash
// never forgets a recovery of which the failure was told. What was delivered is gone
// from the queue by the next write; a crash in between has it told twice.

const (
	// maxTexts is about what the texts of all that waits may take, in bytes.
	maxTexts = 32 << 20
	// leastText is what each message may keep however many there are.
	leastText = 2 << 10
	// commitPatience is how long a message waits for the disk.
	commitPatience = time.Second
)

// allowance is how long the texts of one message more may be, in bytes. It is called
// with mu held.
func (o *outbox) allowance() int { return max(maxTexts/(o.count()+1), leastText) }

// count is about how many messages there are, with mu held.
func (o *outbox) count() int {
	n := len(o.boxes)
	for _, w := range o.limiter.counts {
		n += len(w.held)
	}
	return n
}

// cut shortens the texts of a message.
func (m *message) cut(most int) {
	if m.sum != nil {
		return // it is as long as it has lines
	}
	m.event.Output = []byte(shortened(string(m.event.Output), most))
	m.event.Previous = shortened(m.event.Previous, most)
	m.event.Summary = shortened(m.event.Summary, most)
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

// A savedMessage is a message on the disk. It has no alert: that is the
// configuration's.
type savedMessage struct {
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

// A savedQueue is what waits, on the disk. A message that cannot be read, as one of a kind
// that a newer version knows, costs itself: the states in the same document count.
type savedQueue []savedMessage

// UnmarshalJSON reads each message by itself.
func (q *savedQueue) UnmarshalJSON(text []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*q = make(savedQueue, len(all))
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

// A waiter is a message that waits, as it was at one moment: what its event points to
// is never changed.
type waiter struct {
	message
	held bool
}

// waiters are what waits, in no order. What is being sent is among them. It is quick,
// since the engine stands still for it.
func (o *outbox) waiters() (all []waiter, allowance int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all = make([]waiter, 0, o.count())
	note := func(m *message, held bool) {
		if !m.lasts() || m.outdated {
			return
		}
		w := waiter{*m, held}
		if m.sum != nil {
			lines := *m.sum
			w.sum = &lines
		}
		all = append(all, w)
	}
	o.limiter.each(func(m *message) { note(m, true) })
	for _, b := range o.boxes {
		for _, m := range b.waiting {
			note(m, false)
		}
	}
	return all, o.allowance()
}

// saveQueue is what waits, in order.
func saveQueue(all []waiter, allowance int) []savedMessage {
	slices.SortFunc(all, func(a, b waiter) int { return cmp.Compare(a.number, b.number) })
	out := make([]savedMessage, len(all))
	for i := range all {
		m := &all[i]
		out[i] = savedMessage{
			Box: m.box, Name: m.name, Destination: m.destination, Action: m.action, Since: m.since, Hosts: m.hosts, Sum: m.sum,
			Merged: m.merged, Attempts: m.attempts, Problem: watch.Text(m.problem), Held: m.held, Event: saveEvent(&m.event, allowance),
		}
		if m.sum != nil {
			out[i].Event.Output = "" // it is rendered again
		}
	}
	return out
}

// message undoes saved, but for the alert. Nothing may lie ahead of now, or it would
// be tried for longer than giveUp; and while nobody lived, for away, nobody tried.
func (s *savedMessage) message(now time.Time, away time.Duration) *message {
	m := &message{
		box: s.Box, name: s.Name, destination: s.Destination, action: s.Action, since: s.Since, hosts: s.Hosts, sum: s.Sum,
		merged: s.Merged, attempts: s.Attempts, problem: string(s.Problem), durable: true, event: s.Event.event(),
	}
	if m.since = m.since.Add(away); m.since.After(now) {
		m.since = now
	}
	if m.sum != nil {
		m.render()
	}
	return m
}

// restore puts a message back in its place: at the end of its line. It does not leave
// before own.
func (o *outbox) restore(m *message, held bool, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resting = true
	o.number++
	m.number = o.number
	if held {
		o.limiter.restore(m, now)
		return
	}
	b := o.box(m.box)
	b.waiting = append(b.waiting, m)
}

// bindings are the alerts that a configuration has for what waits.
type bindings struct {
	actions map[string]alerts.Alert
	// boxes is an action of each watch by "group:service name", and names an alert of
	// each name.
	boxes map[string]string
	names map[string]alerts.Alert
}

func (e *Engine) bindings() bindings {
	b := bindings{actions: maps.Clone(e.actions), boxes: map[string]string{}, names: map[string]alerts.Alert{}}
	for key, w := range e.watches {
		for i := range w.Periods {
			p := &w.Periods[i]
			b.add(key, p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts)
			for _, stage := range p.Escalate {
				b.add(key, stage.Actions)
			}
		}
	}
	for _, q := range e.quorums {
		b.add(q.Key, q.Lost, q.Had)
	}
	if d := e.site.Digest; d != nil {
		b.add(d.Key, d.Send)
	}
	return b
}

func (b *bindings) add(key watch.Key, lists ...[]watch.Action) {
	for _, a := range slices.Concat(lists...) {
		if alert, ok := b.actions[a.ID]; ok {
			b.boxes[boxOf(key, a.Name)], b.names[a.Name] = a.ID, alert
		}
	}
}

// boxOf is the line of a watch's messages to one destination.
func boxOf(key watch.Key, name string) string { return key.String() + " " + name }

// bind gives a message its alert: of the same action, or else of the same name, as
// when the period got another name. It returns why there is none.
func (b bindings) bind(m *message) (why string) {
	if m.sum != nil {
		if alert, ok := b.names[m.name]; ok {
			m.alert = alert
		}
		if m.alert == nil {
			return "the configuration has no alert " + m.name + " any more"
		}
		return ""
	}
	if alert, ok := b.actions[m.action]; ok {
		m.alert = alert
		return ""
	}
	if id, ok := b.boxes[m.box]; ok && m.lasts() {
		m.action, m.alert = id, b.actions[id]
		return ""
	}
	return "the configuration has no alert " + m.name + " for " + m.key().String() + " any more"
}

// recallQueue takes up what the engine before could not deliver until saved; forgotten
// is why not, empty if it does.
func (e *Engine) recallQueue(old []savedMessage, forgotten string, saved, now time.Time) {
	bound, kept, away := e.bindings(), 0, max(now.Sub(saved), 0)
	for i := range old {
		if err := old[i].unread; err != nil {
			e.log.WithError(err).WithField("alert", old[i].Box).Error("an alert that was not delivered cannot be read, and is dropped")
			continue
		}
		m := old[i].message(now, away)
		why := forgotten
		if why == "" {
			why = bound.bind(m)
		}
		if why != "" {
			e.ended(m, dropped, why)
			continue
		}
		if w := e.described(m.key()); w != nil {
			m.event.Description, m.event.Env = w.Description, w.Env
		}
		e.outbox.restore(m, old[i].Held, now)
		kept++
	}
	if kept > 0 {
		e.log.WithFields(logrus.Fields{"alerts": kept}).Info("alerts that were not delivered before wait to be sent")
	}
}

// described is the watch, the quorum or the digest of a name; nil if there is none.
func (e *Engine) described(key watch.Key) *config.Watch {
	if w := e.watches[key]; w != nil {
		return w
	}
	for _, q := range e.quorums {
		if q.Key == key {
			return &q.Watch
		}
	}
	if d := e.site.Digest; d != nil && d.Key == key {
		return &d.Watch
	}
	return nil
}

// sayUndelivered says at the end what people were not told yet; err is why that is not
// on the disk.
func (e *Engine) sayUndelivered(err error) {
	waits, _ := e.outbox.waiters()
	log := e.log.WithFields(logrus.Fields{"alerts": len(waits)})
	switch {
	case len(waits) == 0:
	case err != nil:
		log.Error("alerts were not delivered, and are not saved: nobody will hear of those that came up since the disk failed")
	default:
		log.Warn("alerts were not delivered: the next start tries again")
	}
}

// errSlow is a disk that takes longer than a message waits.
var errSlow = errors.New("the disk takes too long")
