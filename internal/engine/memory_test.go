package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"pgregory.net/rapid"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// A fakeStore keeps one document in memory, as JSON, and fails as told.
type fakeStore struct {
	mu    sync.Mutex
	text  []byte
	at    time.Time
	saves int
	err   error
}

func (s *fakeStore) Save(_ state.Document, value any) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.err == nil {
		s.text, s.at = text, time.Now()
		s.saves++
	}
	return err
}

func (s *fakeStore) Load(_ state.Document, into any) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == nil {
		return time.Time{}, state.ErrNone
	}
	return s.at, json.Unmarshal(s.text, into)
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

// A life is one run of a daemon's engine.
type life struct {
	*Engine
	site    *config.Site
	store   *fakeStore
	log     *logtest.Hook
	stop    context.CancelFunc
	running sync.WaitGroup
}

// live starts an engine from what the store holds; nil remembers nothing.
func live(t *testing.T, store *fakeStore, maxAge time.Duration, watches ...config.Watch) *life {
	t.Helper()
	memory := Memory{MaxAge: maxAge}
	if store != nil {
		memory.Store = store
	}
	return liveAs(t, memory, watches...)
}

func liveAs(t *testing.T, memory Memory, watches ...config.Watch) *life {
	t.Helper()
	return liveSite(t, memory, &config.Site{Watches: watches})
}

func liveSite(t *testing.T, memory Memory, site *config.Site) *life {
	t.Helper()
	l := &life{site: site}
	l.store, _ = memory.Store.(*fakeStore)
	log := quiet()
	l.log = logtest.NewLocal(log)
	var err error
	if l.Engine, err = Resume(l.site, log, memory); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(t.Context())
	l.running.Go(func() { l.Run(ctx, time.Second) })
	synctest.Wait()
	return l
}

func (l *life) end() {
	l.stop()
	l.running.Wait()
}

// kill is kill -9: nothing reaches the disk any more.
func (l *life) kill() {
	l.store.fail(errors.New("killed"))
	l.end()
	l.store.fail(nil)
}

// operate does what an operator says, as a command will.
func (l *life) operate(f func(s *watch.Set, now time.Time) ([]watch.Notice, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	notices, err := f(l.set, time.Now())
	l.dispatch(notices)
	return err
}

func (l *life) logged(text string) bool {
	for _, entry := range l.log.AllEntries() {
		if strings.Contains(entry.Message, text) {
			return true
		}
	}
	return false
}

func (l *life) wantLogged(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !l.logged(text) {
			t.Errorf("%q is not in the log", text)
		}
	}
}

// A poolSink goes by the last word on each host, as a pool does.
type poolSink struct {
	mu    sync.Mutex
	words map[string]alerts.HostState
}

func (p *poolSink) Send(_ context.Context, e alerts.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range e.Hosts {
		if h.State != alerts.HostUnknown {
			p.words[h.Name] = h.State
		}
	}
	return nil
}

func (*poolSink) Follower() {}

func (p *poolSink) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.words)
}

func newPoolSink() *poolSink { return &poolSink{words: map[string]alerts.HostState{}} }

// mortal is a watch of two servers with a mail each hour and a pool.
func mortal(m monitors.Monitor, mail, pool alerts.Alert) config.Watch {
	w := testWatch("web", m, mail, "w1", "w2")
	w.Periods[0].AlertEvery.Interval = time.Hour
	w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: "web/f", Name: "ipvs", Follows: true})
	w.Actions["web/f"] = pool
	return w
}

func TestAFailureSurvivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store, pool := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{}, newPoolSink()
		l := live(t, store, time.Hour, mortal(m, mail, pool))
		time.Sleep(5 * time.Second)
		l.kill()
		mail.Want(t, "failure w2")
		before := l.state(t, "web")

		m.set(func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{}, errors.New("no test yet")
		})
		time.Sleep(10 * time.Minute)
		pool = newPoolSink() // a pool that knows nothing
		l = live(t, store, time.Hour, mortal(m, mail, pool))
		if got := pool.String(); got != "map[w1:up w2:down]" {
			t.Errorf("at once after the start the pool was told %s", got)
		}
		now := l.state(t, "web")
		if !now.Since.Equal(*before.Since) || now.Failures < before.Failures-1 || now.Alerts != 1 {
			t.Errorf("before %+v\nafter %+v", before, now)
		}
		m.set(down("w2"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w2") // alertevery goes on
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		mail.Want(t, "failure w2", "failure w2")
		m.set(down())
		time.Sleep(2 * time.Second)
		l.kill()
		mail.Want(t, "failure w2", "failure w2", "up w2")
		l.wantLogged(t, "the saved state is taken up")
	})
}

func TestTheLastStateIsSavedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store := &fakeMonitor{check: down()}, &outboxtest.Recorder{}, &fakeStore{}
		l := live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		time.Sleep(20 * time.Second)
		runs := l.state(t, "web").Runs
		l.end()
		l = live(t, store, time.Hour, mortal(m, mail, newPoolSink()))
		if got := l.state(t, "web").Runs; got < runs {
			t.Errorf("%d results are remembered of %d", got, runs)
		}
		l.kill()
	})
}

// TestQuietWatchesCostNothing: good results are not worth a write each.
func TestQuietWatchesCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, store := &fakeMonitor{check: down()}, &fakeStore{}
		l := live(t, store, time.Hour, mortal(m, &outboxtest.Recorder{}, newPoolSink()))
		time.Sleep(10 * time.Second)
		before := store.count()
		time.Sleep(5 * time.Minute)
		if n := store.count() - before; n < 9 || n > 11 {
			t.Errorf("%d saves in 5m of good results, want one each 30s", n)
		}
		m.set(down("w1"))
		time.Sleep(time.Minute)
		if n := store.count() - before; n < 60 || n > 75 {
			t.Errorf("%d saves more in a minute of failures, want one each second", n)
		}
		l.kill()
	})
}

func TestOldStateIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{}
		w := mortal(m, mail, newPoolSink())
		l := live(t, store, time.Hour, w)
		time.Sleep(3 * time.Second)
		for _, do := range []func(*watch.Set, time.Time) ([]watch.Notice, error){
			func(s *watch.Set, now time.Time) ([]watch.Notice, error) { return s.Ack(now, w.Key, "me", "seen") },
			func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
				return s.DisableService(now, w.Key, watch.Mark{At: now, By: "me", Why: "works"})
			},
			func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
				return s.DisableHosts(now, watch.Mark{At: now, By: "me"}, "w1")
			},
			func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
				return s.DisableWatch(now, "web", watch.Mark{At: now, By: "you"})
			},
			func(s *watch.Set, _ time.Time) ([]watch.Notice, error) { s.Stop(); return nil, nil },
		} {
			if err := l.operate(do); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.kill()
		text, at := store.text, store.at
		for _, tt := range []struct {
			away  time.Duration
			state string
			acked string
			said  string
		}{
			{59 * time.Minute, "failed", "me: seen", "the saved state is taken up"},
			{61 * time.Minute, "untested", "", "the saved state is too old"},
		} {
			store.text, store.at = text, at
			time.Sleep(time.Until(at.Add(tt.away)))
			pool := newPoolSink()
			l = live(t, store, time.Hour, mortal(m, mail, pool))
			s := l.state(t, "web")
			if s.State != tt.state || s.Acked != tt.acked || !s.Disabled || !s.Hosts[0].Disabled || !l.Status().Stopped {
				t.Errorf("after %s: %+v", tt.away, s)
			}
			if groups, hosts := l.set.Disabled(); groups["web"].By != "you" || hosts["w1"].By != "me" {
				t.Errorf("after %s: disabled %v %v", tt.away, groups, hosts)
			}
			if told := pool.String(); (told == "map[]") != (tt.state == "untested") {
				t.Errorf("after %s the pool was told %s", tt.away, told)
			}
			l.wantLogged(t, tt.said, "paused; a restart does not end that")
			l.kill()
		}
	})
}

// TestAClockThatWasPutBack: no pause may wait until the clock has caught up.
func TestAClockThatWasPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store, pool := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{}, newPoolSink()
		l := live(t, store, time.Hour, mortal(m, mail, pool))
		time.Sleep(time.Minute)
		l.kill()
		store.text = shift(t, store.text, 1000*time.Hour)
		store.at = store.at.Add(1000 * time.Hour)
		l = live(t, store, time.Hour, mortal(m, mail, pool))
		if s := l.state(t, "web"); s.State != "failed" || s.Since.After(time.Now()) {
			t.Errorf("status is %+v", s)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		mail.Want(t, "failure w2")
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		mail.Want(t, "failure w2", "failure w2")
		l.wantLogged(t, "from the future")
		l.kill()
	})
}

// shift moves all times in a document.
func shift(t *testing.T, text []byte, by time.Duration) []byte {
	t.Helper()
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case string:
			if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return at.Add(by)
			}
		}
		return v
	}
	out, err := json.Marshal(walk(doc))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASilentTrapSenderAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail, store := &outboxtest.Recorder{}, &fakeStore{}
		w := testWatch("traps", nil, mail, "t1")
		w.Scope, w.Interval, w.TrapTimeout = watch.ScopeGroup, 0, 10*time.Minute
		l := live(t, store, 0, w)
		time.Sleep(6 * time.Minute)
		l.kill()
		time.Sleep(24 * time.Hour) // nobody listened: that is not silence
		l = live(t, store, 0, w)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		mail.Want(t)
		time.Sleep(2 * time.Minute) // 10m of listening, and what the last save was early
		synctest.Wait()
		mail.Want(t, "traptimeout trap timeout")
		l.kill()
	})
}

func TestConfigurationChangedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{}
		gone := testWatch("gone", m, mail, "w2")
		l := live(t, store, 0, mortal(m, mail, newPoolSink()), gone)
		time.Sleep(3 * time.Second)
		if err := l.operate(func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
			_, err := s.DisableWatch(now, "gone", watch.Mark{})
			return nil, errors.Join(err, second(s.DisableHosts(now, watch.Mark{}, "w1")))
		}); err != nil {
			t.Fatal(err)
		}
		_ = l.Flush(t.Context())
		l.kill()

		w := mortal(&fakeMonitor{check: down()}, mail, newPoolSink())
		w.Hosts, w.Interval = []string{"w3", "w4"}, 0 // both servers were replaced
		l = live(t, store, 0, w)
		if s := l.state(t, "web"); s.State != "untested" {
			t.Errorf("the watch is %s though nobody of it was tested", s.State)
		}
		if groups, hosts := l.set.Disabled(); len(groups)+len(hosts) != 0 {
			t.Errorf("still disabled: %v %v", groups, hosts)
		}
		l.kill()
	})
}

func second(_ []watch.Notice, err error) error { return err }

func TestFailureIntervalAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, store := &fakeMonitor{check: down("w1")}, &fakeStore{}
		w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
		w.Interval, w.FailureInterval = time.Hour, time.Second
		l := live(t, store, 0, w)
		time.Sleep(2 * time.Hour)
		l.kill()
		before := m.count()
		l = live(t, store, 0, w)
		time.Sleep(10 * time.Second)
		if n := m.count() - before; n < 8 {
			t.Errorf("%d runs in 10s after the restart, failure_interval is 1s", n)
		}
		l.kill()
	})
}

func TestAFullDiskDoesNotStopTheTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{err: fmt.Errorf("write: %w", syscall.ENOSPC)}
		l := live(t, store, 0, mortal(m, mail, newPoolSink()))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		mail.Want(t, "failure w2")
		if err := l.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("flush: %v", err)
		}
		said := 0
		for _, entry := range l.log.AllEntries() {
			if strings.Contains(entry.Message, "cannot be saved") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("the full disk was said %d times", said)
		}
		store.fail(nil)
		time.Sleep(2 * time.Minute)
		l.wantLogged(t, "saved again")
		l.kill()
	})
}

func TestDamagedStateIsSaid(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "watches.state")
	if err := os.WriteFile(file, []byte("monitord-state name=watches ver"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	log := quiet()
	hook := logtest.NewLocal(log)
	synctest.Test(t, func(t *testing.T) {
		m, mail := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}
		run := func() {
			e, err := Resume(&config.Site{Watches: []config.Watch{mortal(m, mail, newPoolSink())}}, log, Memory{Store: store})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			e.Run(ctx, time.Second)
		}
		run()
		mail.Want(t, "failure w2")
		if first := hook.AllEntries()[0]; first.Level != logrus.ErrorLevel || !strings.Contains(first.Message, "set aside") || !strings.Contains(fmt.Sprint(first.Data["moved"]), "damaged") {
			t.Errorf("said: %v %v", first.Message, first.Data)
		}
		hook.Reset()
		run() // from the real disk
		mail.Want(t, "failure w2")
		if first := hook.AllEntries()[0]; !strings.Contains(first.Message, "taken up") {
			t.Errorf("said: %v", first.Message)
		}
	})
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "monitord-state name=watches version=1 saved=") {
		t.Errorf("the new file is %q, %v", text, err)
	}
}

// TestNothingLeftToTest: a watch whose only host is disabled is not tested, which
// is said once.
func TestNothingLeftToTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMonitor{check: down()}
		l := live(t, &fakeStore{}, 0, testWatch("web", m, &outboxtest.Recorder{}, "w1"))
		if err := l.operate(func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
			return s.DisableHosts(now, watch.Mark{By: "me"}, "w1")
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		said := 0
		for _, entry := range l.log.AllEntries() {
			if entry.Message == "not tested" {
				said++
			}
		}
		if said != 1 || l.logged("panicked") {
			t.Errorf("said %d times; panicked: %t", said, l.logged("panicked"))
		}
		l.kill()
	})
}

// A script is a watch's random life: its configuration, what its tests find, what
// operators do, and when the daemon is killed.
type script struct {
	watch watch.Config
	steps []scriptStep
}

type scriptStep struct {
	pause    time.Duration
	verdicts string // one of .x? for each host; empty if the test itself fails
	operator string
	killed   bool
	away     time.Duration
}

func drawScript(t *rapid.T) script {
	hosts := []string{"h0", "h1", "h2"}[:rapid.IntRange(1, 3).Draw(t, "hosts")]
	seconds := func(most int, name string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Second
	}
	c := watch.Config{
		Key: watch.Key{Group: "g", Service: "s"}, Hosts: hosts, Scope: watch.Scope(rapid.IntRange(0, 1).Draw(t, "scope")),
		Fall: rapid.IntRange(1, 3).Draw(t, "fall"), Rise: rapid.IntRange(1, 3).Draw(t, "rise"),
		UnackSummary: rapid.Bool().Draw(t, "unack"), Compat: rapid.Bool().Draw(t, "compat"),
	}
	p := watch.Period{
		Name: "p", NumAlerts: rapid.IntRange(0, 3).Draw(t, "numalerts"), UpAlertAfter: seconds(60, "upalertafter"),
		NoCompAlerts: rapid.Bool().Draw(t, "nocomp"),
		AlertEvery:   watch.AlertEvery{Interval: seconds(90, "every"), Compare: watch.Compare(rapid.IntRange(0, 3).Draw(t, "compare"))},
		Alerts:       []watch.Action{{ID: "a", Name: "mail"}, {ID: "f", Name: "pool", Follows: true}},
		UpAlerts:     []watch.Action{{ID: "u", Name: "mail"}}, AckAlerts: []watch.Action{{ID: "k", Name: "mail"}},
	}
	p.AlertAfter = rapid.SampledFrom([]watch.AlertAfter{{}, {Consecutive: 2}, {Count: 2, Within: time.Minute}, {Within: 30 * time.Second}}).Draw(t, "after")
	c.Periods = []watch.Period{p}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) scriptStep {
		step := scriptStep{pause: time.Duration(rapid.IntRange(1, 40).Draw(t, "pause")) * time.Second}
		switch rapid.IntRange(0, 11).Draw(t, "what") {
		case 0:
			step.operator = rapid.SampledFrom([]string{"ack", "disable", "enable", "disable host", "enable host", "clear"}).Draw(t, "operator")
		case 1, 2:
			step.killed, step.away = true, time.Duration(rapid.IntRange(0, 100).Draw(t, "away"))*time.Second
		case 3:
		default:
			step.verdicts = rapid.StringMatching(fmt.Sprintf("[.xx?]{%d}", len(hosts))).Draw(t, "verdicts")
		}
		return step
	}), 1, 40).Draw(t, "steps")
	return script{watch: c, steps: steps}
}

// check is what the monitor finds; its output is not UTF-8 and changes sometimes.
func (s scriptStep) check(_ context.Context, r monitors.Request) (monitors.Result, error) {
	if s.verdicts == "" {
		return monitors.Result{}, errors.New("no permission")
	}
	var out []monitors.HostResult
	for _, h := range r.Hosts {
		v := monitors.HostResult{Host: h, Verdict: monitors.Unknown, Reason: "no idea"}
		switch s.verdicts[h[1]-'0'] {
		case 'x':
			v.Verdict, v.Reason = monitors.Down, "refus\xe9"
		case '.':
			v.Verdict, v.Reason = monitors.Up, ""
		}
		out = append(out, v)
	}
	return monitors.Summarise(out), nil
}

// An existence is one of the two daemons that a script is played to: one is
// killed, the other is not.
type existence struct {
	*life
	script  script
	monitor *fakeMonitor
	mail    *outboxtest.Events
	pool    *poolSink
}

func (x *existence) start(t *testing.T, store *fakeStore) {
	t.Helper()
	x.pool = newPoolSink()
	x.life = live(t, store, time.Hour, config.Watch{
		Config: x.script.watch, Monitor: x.monitor, Timeout: time.Second,
		Actions: map[string]alerts.Alert{"a": x.mail, "u": x.mail, "k": x.mail, "f": x.pool},
	})
}

func (x *existence) play(t *testing.T, step scriptStep) {
	t.Helper()
	x.monitor.set(step.check)
	w := &x.site.Watches[0]
	if step.operator == "" {
		x.check(t.Context(), w)
		synctest.Wait()
		return
	}
	_ = x.operate(func(s *watch.Set, now time.Time) ([]watch.Notice, error) { // "not failing" is an answer too
		switch step.operator {
		case "ack":
			return s.Ack(now, w.Key, "me", "x")
		case "disable":
			return s.DisableService(now, w.Key, watch.Mark{At: now, By: "me"})
		case "enable":
			return s.EnableService(now, w.Key)
		case "disable host":
			return s.DisableHosts(now, watch.Mark{At: now, By: "me"}, "h0")
		case "enable host":
			return s.EnableHosts(now, "h0")
		}
		return nil, s.ClearTimers(now, w.Key)
	})
	synctest.Wait()
}

// told is what people were told. With compat the last output and the number of
// results are lost in a restart, as in mon.
func (x *existence) told() []alerts.Event {
	x.mail.Mu.Lock()
	defer x.mail.Mu.Unlock()
	events := slices.Clone(x.mail.Got)
	for i := range events {
		if x.script.watch.Compat {
			events[i].Output, events[i].Previous, events[i].Events = nil, "", 0
		}
	}
	return events
}

// TestKillsChangeNothing plays each script to a daemon that is killed now and then
// and to one that is not: people and pools are told the same.
func TestKillsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScript(rt)
		complaint := ""
		synctest.Test(t, func(t *testing.T) { complaint = playBoth(t, s) })
		if complaint != "" {
			rt.Fatal(complaint)
		}
	})
}

func playBoth(t *testing.T, s script) (complaint string) {
	store := &fakeStore{}
	one := &existence{script: s, monitor: &fakeMonitor{}, mail: &outboxtest.Events{}}
	two := &existence{script: s, monitor: &fakeMonitor{}, mail: &outboxtest.Events{}}
	one.start(t, nil)
	two.start(t, store)
	defer func() { one.end(); two.kill() }()
	for i, step := range s.steps {
		time.Sleep(step.pause)
		if step.killed {
			if err := two.Flush(t.Context()); err != nil {
				return err.Error()
			}
			two.kill()
			time.Sleep(step.away)
			two.start(t, store)
		} else {
			one.play(t, step)
			two.play(t, step)
		}
		if diff := cmp.Diff(one.told(), two.told()); diff != "" {
			return fmt.Sprintf("step %d, %+v: people are told (-without +with kills):\n%s", i, step, diff)
		}
		if a, b := one.pool.String(), two.pool.String(); a != b {
			return fmt.Sprintf("step %d, %+v: the pool goes by %s without kills, by %s with them", i, step, a, b)
		}
	}
	return ""
}

// BenchmarkSaveTenThousandWatches is one save on this disk; the time that the
// watches stand still for it is told apart.
func BenchmarkSaveTenThousandWatches(b *testing.B) {
	store, err := state.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var watches []config.Watch
	for i := range 10_000 {
		watches = append(watches, mortal(&fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, newPoolSink()))
		watches[i].Key = watch.Key{Group: fmt.Sprintf("g%d", i), Service: "s"}
	}
	e, err := Resume(&config.Site{Watches: watches}, quiet(), Memory{Store: store})
	if err != nil {
		b.Fatal(err)
	}
	for i := range watches {
		e.check(b.Context(), &watches[i])
	}
	var held time.Duration
	for b.Loop() {
		began := time.Now()
		e.knowledge()
		held += time.Since(began)
		if err := e.save(); err != nil {
			b.Fatal(err)
		}
	}
	text, err := json.Marshal(e.knowledge())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(text))/1e6, "MB")
	b.ReportMetric(float64(held.Milliseconds())/float64(b.N), "ms-held/op")
}
