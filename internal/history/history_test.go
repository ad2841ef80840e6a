package history

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/state"
)

func openJournal(t *testing.T) *state.Journal {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	journal, err := store.Journal("history", state.JournalLimits{Records: 1000, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = journal.Close(), store.Close() })
	return journal
}

// TestTheLastOfTheHistory are the last that were decided, whenever they ended.
func TestTheLastOfTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := openJournal(t)
		b := New(journal, nil, func(int, error) {})
		add := func(service string, decided, ended time.Time) {
			if err := journal.Append(Entry{At: decided, Ended: ended, Service: service}); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		for n := range 3 {
			add("today", now.Add(time.Duration(n)*time.Second), now.Add(time.Duration(n)*time.Second))
		}
		for n := range 50 {
			add("given up", now.Add(-24*time.Hour+time.Duration(n)*time.Second), now.Add(time.Hour))
		}
		all, err := b.Find(now, Query{Last: 3}, func() []Entry { return nil })
		if err != nil || len(all) != 3 || all[0].Service != "today" {
			t.Errorf("the last three: %+v, %v", all, err)
		}
	})
}

// A movingJournal has the history move on while it is read.
type movingJournal struct {
	*state.Journal
	before func()
}

func (j *movingJournal) Read(f func(json.RawMessage) bool) (int, error) {
	j.before()
	return j.Journal.Read(f)
}

// TestAnEntryIsFoundOnce, even if it is written while that is read.
func TestAnEntryIsFoundOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, stop := &movingJournal{Journal: openJournal(t)}, make(chan struct{})
		b := New(journal, nil, func(int, error) {})
		unwritten := Entry{At: time.Now(), Ended: time.Now(), Group: "g", Service: "unwritten"}
		b.Put(unwritten)
		journal.before = func() {
			go b.Run(stop) // it gets written
			time.Sleep(time.Second)
		}
		all, err := b.Find(time.Now(), Query{Watch: unwritten.Watch()}, func() []Entry { return nil })
		if err != nil || len(all) != 1 || len(b.LastWords()) != 0 {
			t.Errorf("written while it was read: %+v, %v", all, err)
		}
		close(stop)
		synctest.Wait()
	})
}
