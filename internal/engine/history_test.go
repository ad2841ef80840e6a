package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// A fakeJournal keeps records in memory, as JSON, and fails as told.
type fakeJournal struct {
	mu   sync.Mutex
	text []json.RawMessage
	err  error
}

func (j *fakeJournal) Append(records ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		j.text = append(j.text, text)
	}
	return nil
}

func (j *fakeJournal) Read(f func(json.RawMessage) bool) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, text := range j.text {
		if !f(text) {
			break
		}
	}
	return 0, nil
}

// wantHistory compares "kind summary: fate", and how often it was tried.
func wantHistory(t *testing.T, e *Engine, want ...string) {
	t.Helper()
	synctest.Wait()
	all, err := e.History(history.Query{})
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, h := range all {
		got = append(got, fmt.Sprintf("%s %s: %s, %d attempts", h.Kind, h.Summary, h.Fate, h.Attempts))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestHistoryOfAnAlert: when, why, and delivered after how many attempts; and the ones
// that never were.
func TestHistoryOfAnAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &fakeJournal{}
		mail := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
			if n < 3 {
				return outboxtest.ErrDown
			}
			return nil
		}}
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, &fakeStore{}, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(500 * time.Millisecond)
		m.set(down("w2"))
		time.Sleep(time.Second)
		wantHistory(t, l.Engine, "failure w2: waiting, 1 attempts")
		time.Sleep(10 * time.Second)
		wantHistory(t, l.Engine, "failure w2: delivered, 3 attempts")
		m.set(down())
		time.Sleep(10 * time.Second)
		wantHistory(t, l.Engine, "failure w2: delivered, 3 attempts", "up w2: delivered, 1 attempts")
		all, err := l.History(history.Query{Last: 1})
		if err != nil || len(all) != 1 || all[0].Kind != "up" || all[0].Alert != "mail" || all[0].Reason == "" || !slices.Equal(all[0].Hosts, []string{"w2"}) {
			t.Errorf("the last: %+v, %v", all, err)
		}
		if all, _ := l.History(history.Query{Watch: watch.Key{Group: "web", Service: "x"}}); len(all) != 0 {
			t.Errorf("of another watch: %+v", all)
		}
		if all, _ := l.History(history.Query{Since: time.Now().Add(-5 * time.Second)}); len(all) != 0 {
			t.Errorf("of the last 5s: %+v", all)
		}
		if all, _ := l.History(history.Query{Since: time.Now().Add(-20 * time.Second)}); len(all) != 2 { // one ended since
			t.Errorf("of the last 20s: %+v", all)
		}
		l.end()
		l = reborn(t, &fakeStore{}, journal, mortal(m, mail, newPoolSink()))
		wantHistory(t, l.Engine, "failure w2: delivered, 3 attempts", "up w2: delivered, 1 attempts")
		l.end()
	})
}

// TestAJournalThatFails is said once, and gets what it missed when it is there again.
func TestAJournalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &fakeJournal{err: errors.New("disk full")}
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, &fakeStore{}, journal, mortal(m, &outboxtest.Recorder{}, newPoolSink()))
		time.Sleep(5 * time.Second)
		m.set(down())
		time.Sleep(time.Minute)
		want := []string{"failure w2: delivered, 1 attempts", "up w2: delivered, 1 attempts"}
		wantHistory(t, l.Engine, want...) // it does not wait for the disk
		if n := len(journal.text); n != 0 {
			t.Errorf("%d lines are on a full disk", n)
		}
		journal.mu.Lock()
		journal.err = nil
		journal.mu.Unlock()
		time.Sleep(2 * time.Minute)
		wantHistory(t, l.Engine, want...)
		if n := len(journal.text); n != len(want) {
			t.Errorf("%d lines are written, want %d", n, len(want))
		}
		l.wantLogged(t, "the history of alerts cannot be written", "the history of alerts is written again")
		l.end()
	})
}

// A movingJournal has the history move on while it is read.
type movingJournal struct {
	fakeJournal
	before func()
}

func (j *movingJournal) Read(f func(json.RawMessage) bool) (int, error) {
	if j.before != nil {
		j.before()
	}
	return j.fakeJournal.Read(f)
}

// TestAnAlertIsInTheHistoryOnce, even if it is delivered while that is read.
func TestAnAlertIsInTheHistoryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &movingJournal{}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, &fakeStore{}, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		journal.before = func() {
			set(false)
			time.Sleep(time.Minute)
		}
		all, err := l.History(history.Query{})
		if err != nil || len(all) != 1 || all[0].Fate != history.Delivered {
			t.Errorf("delivered while it was read: %+v, %v", all, err)
		}
		l.end()
	})
}

// TestTheHistoryOfAKilledDaemon: what was delivered, and is in the journal not yet, is
// there after a crash; and once.
func TestTheHistoryOfAKilledDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal, mail := &fakeStore{}, &fakeJournal{err: outboxtest.ErrDown}, &outboxtest.Recorder{}
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, store, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.kill()
		mail.Want(t, "failure w2")
		journal.err = nil
		for range 3 {
			l = reborn(t, store, journal, mortal(m, mail, newPoolSink()))
			wantHistory(t, l.Engine, "failure w2: delivered, 1 attempts")
			if n := len(journal.text); n != 1 {
				t.Errorf("%d lines are in the journal, want one", n)
			}
			l.kill() // before the document knows that it is written
		}
		mail.Want(t, "failure w2")
	})
}
