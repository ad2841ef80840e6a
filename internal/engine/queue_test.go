package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// saved is what waits, in order.
func (o *outbox) saved() []savedMessage { return saveQueue(o.waiters()) }

// A mailServer is a recorder that is down or not.
func mailServer() (r *recorder, set func(down bool)) {
	r = &recorder{}
	set = func(down bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fail = func(int, alerts.Event) error {
			if down {
				return errDown
			}
			return nil
		}
	}
	return r, set
}

// reborn is live with a history.
func reborn(t *testing.T, store *fakeStore, journal Journal, watches ...config.Watch) *life {
	t.Helper()
	return liveAs(t, Memory{Store: store, MaxAge: time.Hour, History: journal}, watches...)
}

// TestWhatWaitsSurvivesKill: in order, and not once it was delivered.
func TestWhatWaitsSurvivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, down1 := mailServer()
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
		mail.want(t)

		down1(false)
		l = reborn(t, store, journal, w)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.want(t, "failure w1 w2", "up w1")
		l.kill()
		l = reborn(t, store, journal, w)
		time.Sleep(5 * time.Second)
		l.end()
		mail.want(t, "failure w1 w2", "up w1")
	})
}

// TestTheDecisionIsOnTheDiskBeforeTheMail: what somebody was told is known after a
// crash, with the message itself, in one document.
func TestTheDecisionIsOnTheDiskBeforeTheMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		mail := &recorder{}
		mail.fail = func(_ int, e alerts.Event) error {
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
		mail.want(t, "failure w2", "up w2")
	})
}

// TestKilledWhileSending: who was killed between deciding and sending, or while it
// was sending, tells it in the next life; and of the end if that came meanwhile.
func TestKilledWhileSending(t *testing.T) {
	for _, recovered := range []bool{false, true} {
		t.Run(fmt.Sprint("recovered ", recovered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, mail := &fakeStore{}, &recorder{}
				m := &fakeMonitor{check: down("w2")}
				hanging := blockedAlert{}
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
				mail.want(t, want...)
			})
		})
	}
}

// A blockedAlert never comes to an end.
type blockedAlert struct{}

func (blockedAlert) Send(ctx context.Context, _ alerts.Event) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestKilledBeforeTheDecisionIsSaved: it is decided again.
func TestKilledBeforeTheDecisionIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := &fakeStore{}, &recorder{}
		m := &fakeMonitor{check: down()}
		l := live(t, store, time.Hour, mortal(m, blockedAlert{}, newPoolSink()))
		time.Sleep(3 * time.Second)
		store.fail(errors.New("killed"))
		m.set(down("w2"))
		time.Sleep(3 * time.Second)
		l.kill()
		l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(3 * time.Second)
		l.end()
		mail.want(t, "failure w2")
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
		store, mail, pool := &slowStore{takes: time.Minute}, &recorder{}, newPoolSink()
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
		mail.want(t, "failure w2")
		l.wantLogged(t, "the disk takes long")
		l.end()
		time.Sleep(5 * time.Minute) // until the disk has taken the last
	})
}

// TestGivingUpCountsFromTheFirstLife: a day is a day, whoever was restarted in it.
func TestGivingUpCountsFromTheFirstLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, journal := &fakeStore{}, &fakeJournal{}
		mail, set := mailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		w := mortal(m, mail, newPoolSink())
		w.Periods[0].NumAlerts, w.Interval = 1, time.Minute
		start := time.Now()
		for time.Since(start) < giveUp-time.Hour {
			l := reborn(t, store, journal, w)
			time.Sleep(50 * time.Minute)
			l.kill()
		}
		l := reborn(t, store, journal, w)
		wantHistory(t, l.Engine, fmt.Sprintf("failure w2: waiting, %d attempts", waitingAttempts(t, l.Engine)))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		l.wantLogged(t, "alert given up")
		all, err := l.History(HistoryQuery{})
		if err != nil || len(all) != 1 || all[0].Fate != string(givenUp) || all[0].Why != "mail server down" {
			t.Errorf("history: %+v, %v", all, err)
		}
		l.end()
		mail.want(t)
	})
}

func waitingAttempts(t *testing.T, e *Engine) int {
	t.Helper()
	all, err := e.History(HistoryQuery{})
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
		fate   fate
	}{
		{"unchanged", func(*config.Watch) {}, []string{"failure w2"}, delivered},
		{"the alert has another place", func(w *config.Watch) {
			w.Periods[0].Alerts[0].ID = "web/q/a"
			w.Actions["web/q/a"] = w.Actions["web/a"]
			delete(w.Actions, "web/a")
		}, []string{"failure w2"}, delivered},
		{"the alert is gone", func(w *config.Watch) {
			w.Periods[0].Alerts, w.Periods[0].UpAlerts = nil, nil
			delete(w.Actions, "web/a")
			delete(w.Actions, "web/u")
		}, nil, dropped},
		{"the service was renamed", func(w *config.Watch) {
			w.Key.Service = "t"
			w.Periods[0].Alerts = []watch.Action{{ID: "web2/a", Name: "mail"}}
			w.Actions = map[string]alerts.Alert{"web2/a": w.Actions["web/a"]}
		}, []string{"failure w2"}, dropped}, // it is a new watch, and fails
		{"the service moved to another group", func(w *config.Watch) {
			w.Key.Group = "web2"
			w.Periods[0].Alerts = []watch.Action{{ID: "web2/a", Name: "mail"}}
			w.Actions = map[string]alerts.Alert{"web2/a": w.Actions["web/a"]}
		}, []string{"failure w2"}, dropped},
		{"the service was removed", nil, nil, dropped},
	} {
		for _, reload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reload %t", tt.name, reload), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, journal := &fakeStore{}, &fakeJournal{}
					mail, set := mailServer()
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
					mail.want(t, tt.want...)
					all, err := l.History(HistoryQuery{Watch: watch.Key{Group: "web", Service: "s"}})
					if err != nil || len(all) != 1 || all[0].Fate != string(tt.fate) {
						t.Errorf("history: %+v, %v", all, err)
					}
					if tt.fate == dropped {
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
		mail, set := mailServer()
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
		mail.want(t, "failure w2") // decided anew
		all, err := l.History(HistoryQuery{})
		if err != nil || len(all) != 2 || all[0].Fate != string(dropped) || all[1].Fate != string(delivered) {
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

// TestAnHourWithoutAMailServer: of what came up meanwhile people get a burst and few
// sums, in which nobody is missing, whoever was restarted.
func TestAnHourWithoutAMailServer(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprint("restarts ", restarts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const watches = 120
				store, journal := &fakeStore{}, &fakeJournal{}
				mail, set := mailServer()
				events := &eventRecorder{}
				both := bothAlerts{mail, events}
				set(true)
				m := &fakeMonitor{check: down("w1")}
				all := flood(watches, m, both)
				l := reborn(t, store, journal, all...)
				for range 6 {
					time.Sleep(10 * time.Minute)
					if n := len(l.outbox.saved()); n > burst+3 {
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
				if n := len(events.got); n > 2*burst+4 {
					t.Errorf("%d messages came after the hour", n)
				}
				var text strings.Builder
				for _, e := range events.got {
					fmt.Fprintf(&text, "failure %s:%s: x\n%s", e.Group, e.Service, e.Output)
				}
				for _, w := range all {
					if !strings.Contains(text.String(), "failure "+w.Key.String()+":") {
						t.Errorf("nobody heard of %s", w.Key)
					}
				}
				if n := len(l.outbox.saved()); n != 0 {
					t.Errorf("%d messages still wait", n)
				}
				l.end()
			})
		})
	}
}

// bothAlerts is the first one's answer, and what it took also for the second.
type bothAlerts struct{ first, second alerts.Alert }

func (b bothAlerts) Send(ctx context.Context, e alerts.Event) error {
	if err := b.first.Send(ctx, e); err != nil {
		return err
	}
	return b.second.Send(ctx, e)
}

// TestTheQueueIsBounded: by what the configuration has, however long and however much
// comes up while nothing can be delivered.
func TestTheQueueIsBounded(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		r, set := mailServer()
		set(true)
		const rounds, watches = 1000, 100
		for n := range rounds * watches {
			kind, state := alerts.Failure, alerts.HostDown
			if n/watches%2 == 1 {
				kind, state = alerts.Up, alerts.HostUp
			}
			m := hostMessage(r, kind, state, fmt.Sprintf("h%d", 1+n%3))
			m.event.Service = fmt.Sprint(n % watches)
			m.box, m.action = boxOf(m.key(), "mail"), m.event.Service+kind.String()
			o.put(m)
			if n%10_000 == 0 {
				time.Sleep(10 * time.Second)
			}
		}
		if n := len(o.saved()); n > 3*watches {
			t.Errorf("%d messages wait of %d watches", n, watches)
		}
		long := bytes.Repeat([]byte("x"), 1<<20)
		for n := range 2000 { // each of another watch, with a long text, to one destination
			m := testMessage(r, alerts.Failure, "down")
			m.event.Service, m.destination = fmt.Sprint("x", n), "mail"
			m.box, m.action = boxOf(m.key(), "mail"), m.event.Service
			m.event.Output = long
			o.put(m)
		}
		texts := func() (size float64) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.each(func(m *message) { size += float64(len(m.event.Output)) })
			return size
		}
		if got, most := texts(), maxTexts*(1+math.Log(2100))+2100*leastText; got > most {
			t.Errorf("the texts take %.0f bytes, want at most %.0f", got, most)
		}
		time.Sleep(5 * limitWindow)
		if n := len(o.saved()); n > 3*watches+burst+1 {
			t.Errorf("%d messages wait after the flood", n)
		}
		text, err := json.Marshal(o.saved())
		if err != nil || len(text) > 2*maxTexts {
			t.Errorf("%d bytes go to the disk, %v", len(text), err)
		}
		set(false)
		time.Sleep(10 * time.Minute)
	})
}

// TestASavedEventIsWhole fills every field of an event: none may be forgotten when
// one is added. What the configuration says is not saved.
func TestASavedEventIsWhole(t *testing.T) {
	var e alerts.Event
	fillIn(t, reflect.ValueOf(&e).Elem(), 1)
	e.Kind = alerts.Trap
	want := e
	want.Testing, want.Description, want.Env = 0, "", nil
	text, err := json.Marshal(saveEvent(&e, 1000))
	if err != nil {
		t.Fatal(err)
	}
	var saved savedEvent
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, saved.event()); diff != "" {
		t.Errorf("-event +saved:\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"kind":"rumour"}`), &saved); err == nil || !strings.Contains(err.Error(), `no kind of alert "rumour"`) {
		t.Errorf("a kind that is not there: %v", err)
	}
}

func fillIn(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(n), 5).UTC()))
		return
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte("b\xff"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(t, v.Field(i), n+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillIn(t, v.Index(i), n+i)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(t, v.Elem(), n)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", n))
	case reflect.Int:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("what is a %s?", v.Type())
	}
}

// TestStateWithoutAQueue is that of the version before: nothing waits.
func TestStateWithoutAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := &fakeStore{}, &recorder{}
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
		mail.want(t, "failure w2")
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
			mail, set := mailServer()
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
			mail.want(t, "failure w2")
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
				web, db := &recorder{}, &recorder{}
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
				web.want(t, "up w2")
				var want []string
				if waits {
					want = append(want, "failure d1")
				}
				db.want(t, want...)
			})
		})
	}
}

// TestTheEndOnAFullDisk comes as soon as with any other, and says what is lost.
func TestTheEndOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := fmt.Errorf("write: %w", syscall.ENOSPC)
		store, journal := &fakeStore{err: full}, &fakeJournal{err: full}
		mail, set := mailServer()
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
				a, set := mailServer()
				p.a.mail.mu.Lock()
				p.a.mail.fail = func(int, alerts.Event) error { return errDown }
				p.a.mail.mu.Unlock()
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
					p.a.mail.mu.Lock()
					p.a.mail.fail = nil
					p.a.mail.mu.Unlock()
				}
				p.pass(40 * time.Second) // dr1 hears what dr2 said
				p.own("dr1")
				p.pass(10 * time.Second)
				want := map[string][]string{tt.want: {"failure w2"}}
				p.a.mail.want(t, want["dr1"]...)
				p.b.mail.want(t, want["dr2"]...)
				p.both()
				p.pass(10 * time.Second)
				p.a.mail.want(t, append(want["dr1"], "up w2")...)
				p.b.mail.want(t, want["dr2"]...)
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
		p.a.mail.want(t, "failure w2")
		p.a.mail.mu.Lock()
		p.a.mail.fail = func(int, alerts.Event) error { return errDown }
		p.a.mail.mu.Unlock()
		p.unwire(true) // dr2 hears nothing of all this
		p.both()
		p.pass(5 * time.Second)
		p.kill(p.a)
		p.a.mail = &recorder{}
		p.unwire(false)
		p.boot(p.a, p.a.store)
		p.pass(40 * time.Second)
		p.own("dr2")
		p.pass(10 * time.Second)
		p.a.mail.want(t)
		p.b.mail.want(t, "up w2")
		p.own("dr1")
		p.pass(40 * time.Second)
		p.own("dr1")
		p.pass(10 * time.Second)
		p.a.mail.want(t)
		p.end()
	})
}

// TestTheEndKeepsWhatWaits, and says so.
func TestTheEndKeepsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		mail, set := mailServer()
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
		mail.want(t, "failure w2")
		l.wantLogged(t, "wait to be sent")
		l.end()

		set(true) // without a folder it is lost, which is said too
		l = liveAs(t, Memory{}, mortal(m, &recorder{fail: func(int, alerts.Event) error { return errDown }}, newPoolSink()))
		time.Sleep(5 * time.Second)
		l.end()
		l.wantLogged(t, "alert dropped")
	})
}

// BenchmarkSaveAHundredThousandMessages is what a queue costs that no flood limit
// bounds, as with compat = "mon": one message of each of 100,000 watches.
func BenchmarkSaveAHundredThousandMessages(b *testing.B) {
	o := newOutbox(b.Context(), func(delivery) {})
	o.silent = map[watch.Key]bool{}
	for n := range 100_000 {
		m := hostMessage(nil, alerts.Failure, alerts.HostDown, "h1")
		m.event.Service, m.since = fmt.Sprint(n), time.Now()
		m.box, m.action = boxOf(m.key(), "mail"), fmt.Sprint(n)
		o.silent[m.key()] = true
		o.put(m)
	}
	size, held := 0, time.Duration(0)
	for b.Loop() {
		began := time.Now()
		queue, allowance := o.waiters()
		held += time.Since(began)
		text, err := json.Marshal(saveQueue(queue, allowance))
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(held.Milliseconds())/float64(b.N), "ms-held/op")
}

// TestAReloadMovesWhatIsBeingSent: a mail server hangs, and the operator names another
// one. What the first had in hand goes to the second, or nowhere if the alert is gone.
func TestAReloadMovesWhatIsBeingSent(t *testing.T) {
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprint("removed ", removed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal := &fakeJournal{}
				hung := &recorder{}
				m := &fakeMonitor{check: down("w2")}
				l := reborn(t, &fakeStore{}, journal, mortal(m, bothAlerts{blockedAlert{}, hung}, newPoolSink()))
				time.Sleep(5 * time.Second) // it is being sent
				working := &recorder{}
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
				time.Sleep(2*sendTimeout + longestWait)
				synctest.Wait()
				working.want(t, want...)
				if n := len(l.outbox.saved()); n != 0 {
					t.Errorf("%d messages wait for an alert that is not in the configuration", n)
				}
				all, err := l.History(HistoryQuery{})
				if err != nil || len(all) != 1 || removed != (all[0].Fate == string(dropped)) {
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
		store, journal, mail := &fakeStore{}, &fakeJournal{}, &recorder{}
		m := &fakeMonitor{check: down("w1")}
		all := flood(burst+20, m, mail)
		for i := range all {
			all[i].Periods[0].AlertEvery.Interval = time.Hour
		}
		l := reborn(t, store, journal, all...)
		time.Sleep(31 * time.Second)
		l.kill()
		before := len(mail.seen())
		time.Sleep(2 * limitWindow)
		e, err := Resume(&config.Site{Watches: all}, quiet(), Memory{Store: store, MaxAge: time.Hour, History: journal})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(limitWindow) // it takes its time to find the other director
		synctest.Wait()
		if got := mail.seen(); len(got) != before {
			t.Errorf("told before Run: %q", got[before:])
		}
		e.Own(owners("dr1", "dr2"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); e.Run(ctx, time.Second) }()
		time.Sleep(5 * limitWindow)
		synctest.Wait()
		if got := mail.seen(); len(got) != before {
			t.Errorf("told by who does not own the watches: %q", got[before:])
		}
		e.Own(owners("dr1", "dr1"))
		time.Sleep(5 * limitWindow)
		synctest.Wait()
		if got := mail.seen(); len(got) != before+1 || !strings.Contains(got[before], "20 more alerts") {
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
		mail, set := mailServer()
		set(true)
		m := &fakeMonitor{check: down("w2")}
		w := mortal(m, mail, newPoolSink())
		w.Periods[0].NumAlerts = 1
		l := liveAs(t, Memory{Store: store, History: journal}, w)
		time.Sleep(5 * time.Second)
		l.kill()
		time.Sleep(2 * giveUp)
		l = liveAs(t, Memory{Store: store, History: journal}, w)
		time.Sleep(30 * time.Second)
		set(false)
		time.Sleep(2 * longestWait)
		synctest.Wait()
		mail.want(t, "failure w2")
		l.end()
	})
}

// TestWhatAnotherToldWhileThisOneSent is not tried again.
func TestWhatAnotherToldWhileThisOneSent(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		mail := &recorder{}
		o.put(testMessage(bothAlerts{blockedAlert{}, mail}, alerts.Failure, "h1"))
		time.Sleep(time.Second)
		o.forget(map[watch.Key]string{{Group: "g", Service: "s"}: "dr2"})
		o.forget(map[watch.Key]string{{Group: "g", Service: "other"}: "dr2"})
		if n := len(o.saved()); n != 1 {
			t.Errorf("%d wait while one is sent", n)
		}
		time.Sleep(2 * sendTimeout)
		synctest.Wait()
		if n := len(o.saved()); n != 0 {
			t.Errorf("%d wait of what dr2 told", n)
		}
		mail.want(t)
	})
}

// FuzzSavedQueue: whatever stands in the queue's document, what can be read waits, and
// is saved again as it is.
func FuzzSavedQueue(f *testing.F) {
	f.Add([]byte(`[{"box":"web:s mail","since":"2026-07-01T12:00:00Z","event":{"kind":"failure","group":"web","service":"s","hosts":[{"name":"w1","concerned":true}]}}]`))
	f.Add([]byte(`[{"held":true,"sum":{"lines":[{"Group":"g","Service":"s","action":"a","kind":"up","hosts":["h1"]}]},"event":{"kind":"failure"}}]`))
	f.Add([]byte(`[7,{"event":{"kind":"rumour"}},{"sum":{},"event":{"kind":"up","time":"0001-01-01T00:00:00Z"}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second savedQueue
		if json.Unmarshal(text, &first) != nil {
			return
		}
		now := time.Unix(1e9, 0)
		load := func(q savedQueue) (out []savedMessage) {
			o := newOutbox(t.Context(), func(delivery) {})
			o.limiter.closed = true // no minute ends meanwhile
			for i := range q {
				if q[i].unread == nil {
					o.restore(q[i].message(now, 0), q[i].Held, now)
				}
			}
			return o.saved()
		}
		once := load(first)
		again, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(load(second))
		if err != nil || len(once) == 0 && len(second) > 0 {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(again), string(twice)); diff != "" {
			t.Errorf("saved again it is another queue:\n%s", diff)
		}
	})
}
