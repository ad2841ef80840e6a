package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// reborn is live with a history.
func reborn(t *testing.T, store *fakeStore, journal history.Journal, watches ...config.Watch) *life {
	t.Helper()
	return liveAs(t, Memory{Store: store, MaxAge: time.Hour, History: journal}, watches...)
}

// TestWhatWaitsSurvivesKill: in order, and not once it was delivered.
func TestWhatWaitsSurvivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, down1 := outboxtest.MailServer()
		m := &fakeMonitor{check: down("w1")}
		w := mortal(m, mail, newPoolSink())
		w.Scope = watch.ScopeHost
		down1(true)
		l := reborn(t, store, journal, w)
		time.Sleep(5 * time.Second)
		m.set(down("w1", "w2"))
		time.Sleep(5 * time.Second)
		m.set(down("w2"))
		time.Sleep(5 * time.Second)
		l.kill()
		mail.Want(t)

		down1(false)
		l = reborn(t, store, journal, w)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w1 w2", "up w1")
		l.kill()
		l = reborn(t, store, journal, w)
		time.Sleep(5 * time.Second)
		l.end()
		mail.Want(t, "failure w1 w2", "up w1")
	})
}

// TestTheDecisionIsOnTheDiskBeforeTheMail: what somebody was told is known after a
// crash, with the message itself, in one document.
func TestTheDecisionIsOnTheDiskBeforeTheMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		mail := &outboxtest.Recorder{}
		mail.Fail = func(_ int, e alerts.Event) error {
			var saved remembered
			store.mu.Lock()
			defer store.mu.Unlock()
			if err := json.Unmarshal(store.text, &saved); err != nil {
				t.Error(err)
			}
			failing := saved.Watches[0].Status == watch.Failed
			if len(saved.Queue) != 1 || string(saved.Queue[0].Event.Summary) != e.Summary || failing != e.Kind.Failing() {
				t.Errorf("while %s %s is sent, %+v is on the disk, and failing: %t", e.Kind, e.Summary, saved.Queue, failing)
			}
			return nil
		}
		m := &fakeMonitor{check: down("w2")}
		l := live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(3 * time.Second)
		m.set(down())
		time.Sleep(3 * time.Second)
		l.kill()
		mail.Want(t, "failure w2", "up w2")
	})
}

// TestKilledWhileSending: who was killed between deciding and sending, or while it
// was sending, tells it in the next life; and of the end if that came meanwhile.
func TestKilledWhileSending(t *testing.T) {
	for _, recovered := range []bool{false, true} {
		t.Run(fmt.Sprint("recovered ", recovered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, mail := &fakeStore{}, &outboxtest.Recorder{}
				m := &fakeMonitor{check: down("w2")}
				hanging := outboxtest.Blocked{}
				l := live(t, store, time.Hour, mortal(m, hanging, newPoolSink()))
				time.Sleep(3 * time.Second)
				l.kill()
				want := []string{"failure w2"}
				if recovered {
					m.set(down())
					want = append(want, "up w2")
				}
				l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
				time.Sleep(3 * time.Second)
				l.end()
				mail.Want(t, want...)
			})
		})
	}
}

// TestKilledBeforeTheDecisionIsSaved: it is decided again.
func TestKilledBeforeTheDecisionIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := &fakeStore{}, &outboxtest.Recorder{}
		m := &fakeMonitor{check: down()}
		l := live(t, store, time.Hour, mortal(m, outboxtest.Blocked{}, newPoolSink()))
		time.Sleep(3 * time.Second)
		store.fail(errors.New("killed"))
		m.set(down("w2"))
		time.Sleep(3 * time.Second)
		l.kill()
		l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(3 * time.Second)
		l.end()
		mail.Want(t, "failure w2")
	})
}

// A slowStore takes its time from a moment on.
type slowStore struct {
	fakeStore
	takes time.Duration
}

func (s *slowStore) Save(d state.Document, value any) error {
	time.Sleep(s.takes)
	return s.fakeStore.Save(d, value)
}

// TestASlowDiskHoldsUpNobody: decisions and pools do not wait for it, and people for
// a moment only.
func TestASlowDiskHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail, pool := &slowStore{takes: time.Minute}, &outboxtest.Recorder{}, newPoolSink()
		m := &fakeMonitor{check: down()}
		l := liveAs(t, Memory{Store: store, MaxAge: time.Hour}, mortal(m, mail, pool))
		time.Sleep(10*time.Second + time.Millisecond)
		m.set(down("w2"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := pool.String(); got != "map[w1:up w2:down]" {
			t.Errorf("the pool knows %s", got)
		}
		time.Sleep(commitPatience)
		synctest.Wait()
		mail.Want(t, "failure w2")
		l.wantLogged(t, "the disk takes long")
		l.end()
		time.Sleep(5 * time.Minute) // until the disk has taken the last
	})
}

// TestGivingUpCountsFromTheFirstLife: a day is a day, whoever was restarted in it.
func TestGivingUpCountsFromTheFirstLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		w := mortal(m, mail, newPoolSink())
		w.Periods[0].NumAlerts, w.Interval = 1, time.Minute
		start := time.Now()
		for time.Since(start) < outbox.GiveUp-time.Hour {
			l := reborn(t, store, journal, w)
			time.Sleep(50 * time.Minute)
			l.kill()
		}
		l := reborn(t, store, journal, w)
		wantHistory(t, l.Engine, fmt.Sprintf("failure w2: waiting, %d attempts", waitingAttempts(t, l.Engine)))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		l.wantLogged(t, "alert given up")
		all, err := l.History(history.Query{})
		if err != nil || len(all) != 1 || all[0].Fate != history.GivenUp || all[0].Why != "mail server down" {
			t.Errorf("history: %+v, %v", all, err)
		}
		l.end()
		mail.Want(t)
	})
}

func waitingAttempts(t *testing.T, e *Engine) int {
	t.Helper()
	all, err := e.History(history.Query{})
	if err != nil || len(all) != 1 || all[0].Attempts < 100 {
		t.Fatalf("history: %+v, %v", all, err)
	}
	return all[0].Attempts
}

// TestWhatWaitsFollowsTheConfiguration: an alert of the same name is found again;
// what has none any more is dropped, and said. So for a restart and a reload.
func TestWhatWaitsFollowsTheConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(w *config.Watch)
		want   []string
		fate   history.Fate
	}{
		{"unchanged", func(*config.Watch) {}, []string{"failure w2"}, history.Delivered},
		{"the alert has another place", func(w *config.Watch) {
			w.Periods[0].Alerts[0].ID = "web/q/a"
			w.Actions["web/q/a"] = w.Actions["web/a"]
			delete(w.Actions, "web/a")
		}, []string{"failure w2"}, history.Delivered},
		{"the alert is gone", func(w *config.Watch) {
			w.Periods[0].Alerts, w.Periods[0].UpAlerts = nil, nil
			delete(w.Actions, "web/a")
			delete(w.Actions, "web/u")
		}, nil, history.Dropped},
		{"the service was renamed", func(w *config.Watch) {
			w.Key.Service = "t"
			w.Periods[0].Alerts = []watch.Action{{ID: "web2/a", Name: "mail"}}
			w.Actions = map[string]alerts.Alert{"web2/a": w.Actions["web/a"]}
		}, []string{"failure w2"}, history.Dropped}, // it is a new watch, and fails
		{"the service moved to another group", func(w *config.Watch) {
			w.Key.Group = "web2"
			w.Periods[0].Alerts = []watch.Action{{ID: "web2/a", Name: "mail"}}
			w.Actions = map[string]alerts.Alert{"web2/a": w.Actions["web/a"]}
		}, []string{"failure w2"}, history.Dropped},
		{"the service was removed", nil, nil, history.Dropped},
	} {
		for _, reload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reload %t", tt.name, reload), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, journal := &fakeStore{}, &fakeJournal{}
					mail, set := outboxtest.MailServer()
					set(true)
					m := &fakeMonitor{check: down("w2")}
					l := reborn(t, store, journal, mortal(m, mail, newPoolSink()))
					time.Sleep(5 * time.Second)
					var left []config.Watch
					if tt.change != nil {
						changed := mortal(m, mail, newPoolSink())
						tt.change(&changed)
						changed.Fingerprint = "changed"
						left = append(left, changed)
					}
					if reload {
						l.Reload(&config.Site{Watches: left})
						set(false)
					} else {
						l.kill()
						set(false)
						l = reborn(t, store, journal, left...)
					}
					time.Sleep(10 * time.Second)
					synctest.Wait()
					mail.Want(t, tt.want...)
					all, err := l.History(history.Query{Watch: watch.Key{Group: "web", Service: "s"}})
					if err != nil || len(all) != 1 || all[0].Fate != tt.fate {
						t.Errorf("history: %+v, %v", all, err)
					}
					if tt.fate == history.Dropped {
						l.wantLogged(t, "alert dropped")
					}
					l.end()
				})
			})
		}
	}
}

// TestAQueueThatIsTooOld goes the way of the states that it came with.
func TestAQueueThatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, store, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.kill()
		set(false)
		time.Sleep(2 * time.Hour)
		l = reborn(t, store, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w2") // decided anew
		all, err := l.History(history.Query{})
		if err != nil || len(all) != 2 || all[0].Fate != history.Dropped || all[1].Fate != history.Delivered {
			t.Errorf("history: %+v, %v", all, err)
		}
		l.end()
	})
}

// flood is many watches that fail at once, with one destination.
func flood(n int, m monitors.Monitor, mail alerts.Alert) []config.Watch {
	var out []config.Watch
	for i := range n {
		name := fmt.Sprintf("g%d", i)
		w := testWatch(name, m, mail, "w1")
		w.Periods[0].AlertEvery.Interval = 10 * time.Minute
		w.Periods[0].NumAlerts = 4
		w.Interval = 30 * time.Second
		out = append(out, w)
	}
	return out
}

// TestAnHourWithoutAMailServer: of what came up meanwhile people get a outbox.FloodLimit and few
// sums, in which nobody is missing, whoever was restarted.
func TestAnHourWithoutAMailServer(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprint("restarts ", restarts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const watches = 120
				store, journal := &fakeStore{}, &fakeJournal{}
				mail, set := outboxtest.MailServer()
				events := &outboxtest.Events{}
				both := outboxtest.Both{First: mail, Second: events}
				set(true)
				m := &fakeMonitor{check: down("w1")}
				all := flood(watches, m, both)
				l := reborn(t, store, journal, all...)
				for range 6 {
					time.Sleep(10 * time.Minute)
					if n := len(l.outbox.Snapshot().Queue()); n > outbox.FloodLimit+3 {
						t.Errorf("%d messages wait", n)
					}
					if restarts {
						l.kill()
						l = reborn(t, store, journal, all...)
					}
				}
				set(false)
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				if n := len(events.Got); n > 2*outbox.FloodLimit+4 {
					t.Errorf("%d messages came after the hour", n)
				}
				var text strings.Builder
				for _, e := range events.Got {
					fmt.Fprintf(&text, "failure %s:%s: x\n%s", e.Group, e.Service, e.Output)
				}
				for _, w := range all {
					if !strings.Contains(text.String(), "failure "+w.Key.String()+":") {
						t.Errorf("nobody heard of %s", w.Key)
					}
				}
				if n := len(l.outbox.Snapshot().Queue()); n != 0 {
					t.Errorf("%d messages still wait", n)
				}
				l.end()
			})
		})
	}
}

// TestStateWithoutAQueue is that of the version before: nothing waits.
func TestStateWithoutAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := &fakeStore{}, &outboxtest.Recorder{}
		m := &fakeMonitor{check: down("w2")}
		l := live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.kill()
		var document map[string]json.RawMessage
		if err := json.Unmarshal(store.text, &document); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"queue", "confirmed", "confirmed_quorums"} {
			delete(document, key)
		}
		var err error
		if store.text, err = json.Marshal(document); err != nil {
			t.Fatal(err)
		}
		l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.end()
		mail.Want(t, "failure w2")
		l.wantLogged(t, "the saved state is taken up")
	})
}

// TestAMessageOfANewerVersion costs itself, which is said: the states and the other
// messages in the same document count.
func TestAMessageOfANewerVersion(t *testing.T) {
	for _, text := range []string{
		`{"box":"web:s mail","event":{"kind":"rumour","group":"web","service":"s"}}`,
		`{"box":"web:s mail","attempts":"many","event":{"kind":"failure"}}`,
		`"web:s mail"`,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &fakeStore{}
			mail, set := outboxtest.MailServer()
			set(true)
			m := &fakeMonitor{check: down("w2")}
			w := mortal(m, mail, newPoolSink())
			l := live(t, store, time.Hour, w)
			time.Sleep(5 * time.Second)
			l.kill()
			store.text = bytes.Replace(store.text, []byte(`"queue":[`), []byte(`"queue":[`+text+","), 1)
			set(false)
			l = live(t, store, time.Hour, w)
			time.Sleep(5 * time.Second)
			l.end()
			mail.Want(t, "failure w2")
			l.wantLogged(t, "the saved state is taken up", "cannot be read, and is dropped")
		})
	}
}

// TestStateOfEarlierVersions takes up documents that earlier versions wrote, as they
// were on the disk: web:s fails, of which people were told, so they hear of its end
// only; db:s fails as well, of which nobody was told yet in the last of them.
func TestStateOfEarlierVersions(t *testing.T) {
	for name, waits := range map[string]bool{"without-quorums": false, "without-queue": false, "with-queue": true} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "state", name+".state"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "watches.state"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			store, err := state.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = store.Close() }()
			synctest.Test(t, func(t *testing.T) {
				saved, err := state.Peek(dir, watchesDocument, new(remembered))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Until(saved.Add(time.Minute)))
				web, db := &outboxtest.Recorder{}, &outboxtest.Recorder{}
				m, ill := &fakeMonitor{check: down("w2")}, &fakeMonitor{check: down("d1")}
				watches := []config.Watch{mortal(m, web, newPoolSink()), testWatch("db", ill, db, "d1")}
				for i := range watches {
					p := &watches[i].Periods[0]
					p.Name, p.Alerts[0].Name, p.AlertEvery.Interval = "", "exec m.alert", time.Hour
				}
				watches[1].Periods[0].UpAlerts = nil
				l := liveAs(t, Memory{Store: store, MaxAge: time.Hour}, watches...)
				time.Sleep(5 * time.Second)
				m.set(down())
				time.Sleep(5 * time.Second)
				l.end()
				l.wantLogged(t, "the saved state is taken up")
				web.Want(t, "up w2")
				var want []string
				if waits {
					want = append(want, "failure d1")
				}
				db.Want(t, want...)
			})
		})
	}
}

// TestTheEndOnAFullDisk comes as soon as with any other, and says what is lost.
func TestTheEndOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := fmt.Errorf("write: %w", syscall.ENOSPC)
		store, journal := &fakeStore{err: full}, &fakeJournal{err: full}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		l := reborn(t, store, journal, mortal(m, mail, newPoolSink()))
		time.Sleep(10 * time.Minute)
		began := time.Now()
		l.end()
		if took := time.Since(began); took > 0 {
			t.Errorf("the end took %s", took)
		}
		l.wantLogged(t, "the last state was not saved", "alerts were not delivered, and are not saved")
		if l.logged("the next start tries again") {
			t.Error("it promises what the disk cannot hold")
		}
	})
}

// TestTheQueueAcrossDirectors: what the owner could not deliver is told by the next
// owner, and by it alone; if there is none the old one tells it when it owns again.
func TestTheQueueAcrossDirectors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		restart  bool // dr1 is killed and comes back
		takeover bool // dr2 becomes the owner meanwhile
		want     string
	}{
		{"killed, the other takes over", true, true, "dr2"},
		{"killed, nobody takes over", true, false, "dr1"},
		{"moved to the other", false, true, "dr2"},
		{"lost and got back", false, false, "dr1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := directors(t, nil)
				a, set := outboxtest.MailServer()
				p.a.mail.Mu.Lock()
				p.a.mail.Fail = func(int, alerts.Event) error { return outboxtest.ErrDown }
				p.a.mail.Mu.Unlock()
				p.pass(time.Second)
				p.both("w2")
				p.pass(10 * time.Second)
				if tt.restart {
					p.kill(p.a)
					p.a.mail = a
				}
				if tt.takeover {
					p.own("dr2")
				} else if !tt.restart {
					p.own("nobody")
				}
				p.pass(10 * time.Second)
				set(false)
				if tt.restart {
					p.boot(p.a, p.a.store)
				} else {
					p.a.mail.Mu.Lock()
					p.a.mail.Fail = nil
					p.a.mail.Mu.Unlock()
				}
				p.pass(40 * time.Second) // dr1 hears what dr2 said
				p.own("dr1")
				p.pass(10 * time.Second)
				want := map[string][]string{tt.want: {"failure w2"}}
				p.a.mail.Want(t, want["dr1"]...)
				p.b.mail.Want(t, want["dr2"]...)
				p.both()
				p.pass(10 * time.Second)
				p.a.mail.Want(t, append(want["dr1"], "up w2")...)
				p.b.mail.Want(t, want["dr2"]...)
				p.end()
			})
		})
	}
}

// TestARecoveryThatWasNotDelivered: the owner was killed while it could not deliver
// the end of an outage, and comes back as no owner. Who takes over then knows from
// its word that people believe in the failure.
func TestARecoveryThatWasNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.pass(time.Second)
		p.both("w2")
		p.pass(5 * time.Second)
		p.a.mail.Want(t, "failure w2")
		p.a.mail.Mu.Lock()
		p.a.mail.Fail = func(int, alerts.Event) error { return outboxtest.ErrDown }
		p.a.mail.Mu.Unlock()
		p.unwire(true) // dr2 hears nothing of all this
		p.both()
		p.pass(5 * time.Second)
		p.kill(p.a)
		p.a.mail = &outboxtest.Recorder{}
		p.unwire(false)
		p.boot(p.a, p.a.store)
		p.pass(40 * time.Second)
		p.own("dr2")
		p.pass(10 * time.Second)
		p.a.mail.Want(t)
		p.b.mail.Want(t, "up w2")
		p.own("dr1")
		p.pass(40 * time.Second)
		p.own("dr1")
		p.pass(10 * time.Second)
		p.a.mail.Want(t)
		p.end()
	})
}

// TestTheEndKeepsWhatWaits, and says so.
func TestTheEndKeepsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		l := live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.end()
		l.wantLogged(t, "the next start tries again")
		set(false)
		l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(time.Second)
		synctest.Wait()
		mail.Want(t, "failure w2")
		l.wantLogged(t, "wait to be sent")
		l.end()

		set(true) // without a folder it is lost, which is said too
		l = liveAs(t, Memory{}, mortal(m, &outboxtest.Recorder{Fail: func(int, alerts.Event) error { return outboxtest.ErrDown }}, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.end()
		l.wantLogged(t, "alert dropped")
	})
}

// TestAReloadMovesWhatIsBeingSent: a mail server hangs, and the operator names another
// one. What the first had in hand goes to the second, or nowhere if the alert is gone.
func TestAReloadMovesWhatIsBeingSent(t *testing.T) {
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprint("removed ", removed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal := &fakeJournal{}
				hung := &outboxtest.Recorder{}
				m := &fakeMonitor{check: down("w2")}
				l := reborn(t, &fakeStore{}, journal, mortal(m, outboxtest.Both{First: outboxtest.Blocked{}, Second: hung}, newPoolSink()))
				time.Sleep(5 * time.Second) // it is being sent
				working := &outboxtest.Recorder{}
				changed := mortal(m, working, newPoolSink())
				var want []string
				if removed {
					changed.Periods[0].Alerts, changed.Periods[0].UpAlerts = nil, nil
					delete(changed.Actions, "web/a")
					delete(changed.Actions, "web/u")
				} else {
					want = []string{"failure w2"}
				}
				l.Reload(&config.Site{Watches: []config.Watch{changed}})
				time.Sleep(2*outbox.SendTimeout + outbox.LongestPause)
				synctest.Wait()
				working.Want(t, want...)
				if n := len(l.outbox.Snapshot().Queue()); n != 0 {
					t.Errorf("%d messages wait for an alert that is not in the configuration", n)
				}
				all, err := l.History(history.Query{})
				if err != nil || len(all) != 1 || removed != (all[0].Fate == history.Dropped) {
					t.Errorf("history: %+v, %v", all, err)
				}
				l.end()
			})
		})
	}
}

// TestNothingLeavesBeforeTheOwnerIsKnown: what a restart finds waiting for the end of
// a flood's minute does not leave before it is known whose alerts they are.
func TestNothingLeavesBeforeTheOwnerIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal, mail := &fakeStore{}, &fakeJournal{}, &outboxtest.Recorder{}
		m := &fakeMonitor{check: down("w1")}
		all := flood(outbox.FloodLimit+20, m, mail)
		for i := range all {
			all[i].Periods[0].AlertEvery.Interval = time.Hour
		}
		l := reborn(t, store, journal, all...)
		time.Sleep(31 * time.Second)
		l.kill()
		before := len(mail.Seen())
		time.Sleep(2 * outbox.FloodWindow)
		e, err := Resume(&config.Site{Watches: all}, quiet(), Memory{Store: store, MaxAge: time.Hour, History: journal})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(outbox.FloodWindow) // it takes its time to find the other director
		synctest.Wait()
		if got := mail.Seen(); len(got) != before {
			t.Errorf("told before Run: %q", got[before:])
		}
		e.Own(owners("dr1", "dr2"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); e.Run(ctx, time.Second) }()
		time.Sleep(5 * outbox.FloodWindow)
		synctest.Wait()
		if got := mail.Seen(); len(got) != before {
			t.Errorf("told by who does not own the watches: %q", got[before:])
		}
		e.Own(owners("dr1", "dr1"))
		time.Sleep(5 * outbox.FloodWindow)
		synctest.Wait()
		if got := mail.Seen(); len(got) != before+1 || !strings.Contains(got[before], "20 more alerts") {
			t.Errorf("the owner told %q", got[before:])
		}
		stop()
		<-ended
	})
}

// TestAPowerCutDoesNotCountAsTrying: what is older than a day is not given up at the first
// attempt of a new life. The network may come up after the daemon.
func TestAPowerCutDoesNotCountAsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, set := outboxtest.MailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		w := mortal(m, mail, newPoolSink())
		w.Periods[0].NumAlerts = 1
		l := liveAs(t, Memory{Store: store, History: journal}, w)
		time.Sleep(5 * time.Second)
		l.kill()
		time.Sleep(2 * outbox.GiveUp)
		l = liveAs(t, Memory{Store: store, History: journal}, w)
		time.Sleep(30 * time.Second)
		set(false)
		time.Sleep(2 * outbox.LongestPause)
		synctest.Wait()
		mail.Want(t, "failure w2")
		l.end()
	})
}
