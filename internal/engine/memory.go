package engine

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
)

// A Memory is where an engine finds what the one before it knew, and leaves what
// the next one should know. The zero value remembers nothing.
type Memory struct {
	// Store keeps the documents; *state.Store is one. nil remembers nothing.
	Store Store
	// MaxAge is how long the daemon may have been away for its states to count: of
	// older ones only what operators disabled is taken up. 0 is any time.
	MaxAge time.Duration
	// PoolsRemember says that the pools have a memory of their own, which is written
	// before each change and so never older than this one: they hear of the first
	// result, not of what is remembered here.
	PoolsRemember bool
	// History keeps what became of alerts; nil: nobody does.
	History history.Journal
}

// A Store keeps documents. Load returns when the document was saved; its error is
// [state.ErrNone] if there is none and a [*state.Damaged] if it was set aside.
type Store interface {
	Load(d state.Document, into any) (saved time.Time, err error)
	Save(d state.Document, value any) error
}

// watchesDocument is the state of all watches.
var watchesDocument = state.Document{Name: "watches", Version: 1}

type remembered struct {
	Stopped        bool                  `json:"stopped,omitzero"`
	DisabledGroups map[string]watch.Mark `json:"disabled_groups,omitzero"`
	DisabledHosts  map[string]watch.Mark `json:"disabled_hosts,omitzero"`
	Watches        []watch.Saved         `json:"watches"`
	// Words are when operators spoke last, see [watch.Set.Spoken].
	Words   map[string]time.Time  `json:"words,omitzero"`
	Quorums map[string]quorumTold `json:"quorums,omitzero"`
	operatorMemory
	Digest digestCalendar `json:"digest,omitzero"`
	// Queue are the alerts that are not delivered yet, in order.
	Queue outbox.Queue `json:"queue,omitzero"`
	// Ended are the alerts that left Queue and may not be in the history yet.
	Ended []history.Entry `json:"ended,omitzero"`
	// Confirmed are, of watches and quorums with alerts in Queue, what people were
	// told before these.
	Confirmed        []watch.Told          `json:"confirmed,omitzero"`
	ConfirmedQuorums map[string]quorumTold `json:"confirmed_quorums,omitzero"`
}

const (
	// refresh is how often the document is written although nothing changed that a
	// restart would be sorry to lose: times of last successes, and the moment itself.
	refresh = 30 * time.Second
	// commitPatience is how long a message waits for the disk.
	commitPatience = time.Second
	// closePatience bounds the last write.
	closePatience = 10 * time.Second
	// skew is a difference of clocks that is not worth a word.
	skew = 5 * time.Second
)

// recall takes up what the engine before knew. Whatever is wrong with it, the
// watches start: unknown, as without a memory.
func (e *Engine) recall(now time.Time) {
	if e.memory.Store == nil {
		return
	}
	var old remembered
	saved, err := e.memory.Store.Load(watchesDocument, &old)
	damaged, isDamaged := errors.AsType[*state.Damaged](err)
	switch {
	case errors.Is(err, state.ErrNone):
		e.log.Info("no state was saved before: all watches start unknown")
		return
	case isDamaged:
		e.log.WithFields(logrus.Fields{"why": damaged.Why, "moved": damaged.Moved}).Error("the saved state cannot be used and was set aside: all watches start unknown")
		return
	case err != nil:
		e.log.WithError(err).Error("the saved state cannot be read: all watches start unknown")
		return
	}
	log := e.log.WithFields(logrus.Fields{"saved": saved.Format(time.RFC3339), "age": now.Sub(saved).Round(time.Second).String()})
	watches, forgotten := old.Watches, ""
	switch age := now.Sub(saved); {
	case e.memory.MaxAge > 0 && age > e.memory.MaxAge:
		log.WithField("state_age", e.memory.MaxAge.String()).Warn("the saved state is too old: all watches start unknown; what operators disabled stays so")
		watches, forgotten = forget(watches), "the daemon was away for longer than state_age: who still fails is told anew"
	case age < -skew:
		log.Warn("the saved state is from the future, the clock was put back: it is taken for new")
		watches = resume(watches, saved, now)
	default:
		log.WithFields(logrus.Fields{"watches": len(watches), "failing": failing(watches)}).Info("the saved state is taken up")
		watches = resume(watches, saved, now)
	}
	e.set.RestoreDisabled(e.present(old))
	e.set.Restore(watches)
	e.set.RestoreWords(old.Words)
	e.recallQuorums(old.Quorums, saved)
	e.recallQueue(old.Queue, forgotten, saved, now)
	e.recallEnded(old.Ended)
	e.recallConfirmed(old)
	e.recallOperators(now, old, log)
	e.recallCalendar(old.Digest, now)
}

func failing(watches []watch.Saved) int {
	n := 0
	for _, w := range watches {
		if w.Status == watch.Failed {
			n++
		}
	}
	return n
}

func forget(watches []watch.Saved) []watch.Saved {
	out := make([]watch.Saved, len(watches))
	for i, w := range watches {
		out[i] = w.Forget()
	}
	return out
}

func resume(watches []watch.Saved, saved, now time.Time) []watch.Saved {
	out := make([]watch.Saved, len(watches))
	for i, w := range watches {
		out[i] = w.Resume(saved, now)
		if w.Mute == "" { // this director was the owner, until then at least
			out[i].Basis = saved
			if saved.After(now) {
				out[i].Basis = now
			}
		}
	}
	return out
}

// present are the marks on groups and hosts that are still there: nobody could
// take away the mark of another.
func (e *Engine) present(old remembered) (groups, hosts map[string]watch.Mark) {
	groups, hosts = map[string]watch.Mark{}, map[string]watch.Mark{}
	for _, w := range e.watches {
		if m, ok := old.DisabledGroups[w.Group]; ok {
			groups[w.Group] = m
		}
		for _, h := range w.Hosts {
			if m, ok := old.DisabledHosts[h]; ok {
				hosts[h] = m
			}
		}
	}
	return groups, hosts
}

// recallPace has the watches that were failing tested at their failure_interval.
func (e *Engine) recallPace() {
	for key, w := range e.watches {
		v, ok := e.set.View(key)
		if ok && w.FailureInterval > 0 && v.Exit != nil && *v.Exit != 0 {
			_ = e.scheduler.SetInterval(key.String(), w.FailureInterval) // the plan that holds it is in force
		}
	}
}

// remember is the saver that keeps the memory up to date; nil without a memory.
func (e *Engine) remember() *state.Saver {
	if e.memory.Store == nil {
		return nil
	}
	pace := refresh
	if e.memory.MaxAge > 0 {
		pace = min(pace, max(e.memory.MaxAge/4, time.Second))
	}
	return state.NewSaver(state.SaverConfig{Write: e.save, Report: e.saved, Refresh: pace})
}

func (e *Engine) save() error { return e.memory.Store.Save(watchesDocument, e.knowledge()) }

// knowledge is a copy; what it points to is never changed. The queue is that of the
// same moment, and put into its form when nobody waits for that any more.
func (e *Engine) knowledge() remembered {
	k, waiting := e.moment()
	k.Queue = waiting.Queue()
	return k
}

func (e *Engine) moment() (k remembered, waiting outbox.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k = remembered{Stopped: e.set.Stopped(), Watches: e.set.Save()}
	k.DisabledGroups, k.DisabledHosts = e.set.Disabled()
	k.Words, k.Quorums = e.set.Spoken(), e.savedQuorums()
	waiting = e.outbox.Snapshot()
	// They leave the queue by the write that saves them here, or a crash between the two
	// writes would have them nowhere. After the queue: that is the way they go.
	k.Ended = e.book.LastWords()
	e.saveConfirmed(&k)
	k.operatorMemory, k.Digest = e.operatorMemory(), e.calendar
	return k, waiting
}

// saveConfirmed notes what people were told before the alerts that wait: another
// director that becomes the owner goes by that, see [Engine.Handover]. It is called
// with mu held.
func (e *Engine) saveConfirmed(k *remembered) {
	if e.owners.Self == "" {
		return // there is no other
	}
	pending, now := e.outbox.Pending(), e.now()
	for _, key := range e.set.Keys() {
		told, _ := e.set.Told(now, key)
		told = e.confirm(told, pending[key])
		if pending[key] && len(told.Subjects) > 0 {
			k.Confirmed = append(k.Confirmed, watch.Told{Key: key, Subjects: told.Subjects})
		}
	}
	for virtual, q := range e.quorums {
		word := e.quorumWord(now, virtual, pending[q.Key])
		if pending[q.Key] {
			if k.ConfirmedQuorums == nil {
				k.ConfirmedQuorums = map[string]quorumTold{}
			}
			k.ConfirmedQuorums[virtual] = word
		}
	}
}

func (e *Engine) recallConfirmed(old remembered) {
	for _, t := range old.Confirmed {
		e.confirmed[t.Key] = t.Subjects
	}
	for virtual, word := range old.ConfirmedQuorums {
		if e.quorums[virtual] != nil {
			word.Owned = false
			e.quorumOf(virtual).confirmed = word
		}
	}
}

func (e *Engine) saved(err error) {
	if err != nil {
		e.log.WithError(err).Error("the state cannot be saved: a restart now would forget what changed since; it will be tried again")
		return
	}
	e.log.Info("the state is saved again")
}

// changed has the state saved soon. It is called with mu held.
func (e *Engine) changed() {
	if saver := e.saver.Load(); saver != nil {
		saver.Mark()
	}
}

// commit returns when the present state is saved, with all that waits to be sent. A
// disk that is slow or full holds it up for a moment only: that somebody is told
// twice after a crash is better than that nobody is told now.
func (e *Engine) commit(ctx context.Context) {
	saver := e.saver.Load()
	if saver == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	late := errors.Is(saver.Soon(ctx), context.DeadlineExceeded)
	if e.slow.Swap(late) != late && late {
		e.log.Warn("the disk takes long to save the state: alerts are sent before they are noted, and a crash may repeat them")
	}
}

// settled has the queue saved without what was just sent. It does not wait.
func (e *Engine) settled(final bool) {
	saver := e.saver.Load()
	switch {
	case saver == nil:
	case final:
		saver.Hurry()
	default:
		saver.Mark()
	}
	if final {
		e.pokeNews()
	}
}

// Flush waits until the present state is saved: what an operator is told to be
// done must not be undone by a crash. It does nothing before Run and without a
// memory.
func (e *Engine) Flush(ctx context.Context) error {
	saver := e.saver.Load()
	if saver == nil {
		return nil
	}
	return saver.Flush(ctx)
}

// closeMemory saves for the last time.
func (e *Engine) closeMemory() {
	saver := e.saver.Load()
	if saver == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	err := saver.Close(ctx)
	if err != nil {
		e.log.WithError(err).Error("the last state was not saved")
	}
	e.sayUndelivered(err)
}

// awaitHistory waits for the last lines of the history, for a while.
func (e *Engine) awaitHistory(written <-chan struct{}) {
	select {
	case <-written:
	case <-time.After(closePatience):
		e.log.WithError(errSlow).Error("the end of the history is not written")
	}
}
