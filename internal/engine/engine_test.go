package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// A fakeMonitor tests by asking a function, and counts.
type fakeMonitor struct {
	mu    sync.Mutex
	check func(ctx context.Context, r monitors.Request) (monitors.Result, error)
	runs  []time.Time
}

func (m *fakeMonitor) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	m.mu.Lock()
	m.runs = append(m.runs, time.Now())
	check := m.check
	m.mu.Unlock()
	return check(ctx, r)
}

func (m *fakeMonitor) set(check func(ctx context.Context, r monitors.Request) (monitors.Result, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check = check
}

func (m *fakeMonitor) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.runs)
}

// down returns a check that finds these hosts down and all others up.
func down(hosts ...string) func(context.Context, monitors.Request) (monitors.Result, error) {
	return func(_ context.Context, r monitors.Request) (monitors.Result, error) {
		var out []monitors.HostResult
		for _, h := range r.Hosts {
			v := monitors.HostResult{Host: h, Verdict: monitors.Up}
			if slices.Contains(hosts, h) {
				v.Verdict, v.Reason = monitors.Down, "refused"
			}
			out = append(out, v)
		}
		return monitors.Summarise(out), nil
	}
}

// follower records the states that a pool would be told.
type follower struct{ outboxtest.Recorder }

func (*follower) Follower() {}

// testWatch is a watch of hosts, tested each second, with one alert and one
// upalert.
func testWatch(name string, m monitors.Monitor, a alerts.Alert, hosts ...string) config.Watch {
	key := watch.Key{Group: name, Service: "s"}
	return config.Watch{
		Config: watch.Config{Key: key, Hosts: hosts, Periods: []watch.Period{{
			Name:     "p",
			Alerts:   []watch.Action{{ID: name + "/a", Name: "mail"}},
			UpAlerts: []watch.Action{{ID: name + "/u", Name: "mail"}},
		}}},
		Interval: time.Second, Timeout: 10 * time.Second, Monitor: m, MonitorKind: "fake",
		Actions: map[string]alerts.Alert{name + "/a": a, name + "/u": a}, Fingerprint: name,
	}
}

func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// engineTest runs an engine on a fake clock for as long as f does.
func engineTest(t *testing.T, watches []config.Watch, f func(t *testing.T, e *Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, err := Resume(&config.Site{Watches: watches}, quiet(), Memory{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx, 5*time.Second) })
		f(t, e)
		cancel()
		running.Wait()
	})
}

func (e *Engine) state(t *testing.T, name string) WatchStatus {
	t.Helper()
	for _, w := range e.Status().Watches {
		if w.Group == name {
			return w
		}
	}
	t.Fatalf("no watch %s in the status", name)
	return WatchStatus{}
}

func TestAServerFailsAndReturns(t *testing.T) {
	m, mail, pool := &fakeMonitor{check: down()}, &outboxtest.Recorder{}, &follower{}
	w := testWatch("web", m, mail, "w1", "w2")
	w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: "web/f", Name: "ipvs", Follows: true})
	w.Actions["web/f"] = pool
	w.Periods[0].AlertEvery.Interval = time.Hour
	engineTest(t, []config.Watch{w}, func(t *testing.T, e *Engine) {
		time.Sleep(3 * time.Second)
		m.set(down("w2"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w2")
		if s := e.state(t, "web"); s.State != "failed" || s.Hosts[1].State != "down" || s.Hosts[0].State != "up" {
			t.Errorf("status is %+v", s)
		}
		m.set(down())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w2", "up w2")
		if got := pool.Seen(); len(got) != 3 {
			t.Errorf("the pool was told %d times, want 3 (all up, w2 down, all up): %q", len(got), got)
		}
	})
}

func TestAThousandHostsAreOneMail(t *testing.T) {
	var hosts []string
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("h%d", i))
	}
	mail := &outboxtest.Recorder{}
	w := testWatch("web", &fakeMonitor{check: down(hosts...)}, mail, hosts...)
	w.Periods[0].NumAlerts = 1
	engineTest(t, []config.Watch{w}, func(t *testing.T, _ *Engine) {
		time.Sleep(30 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure "+strings.Join(hosts, " "))
	})
}

func TestWhatCannotTestIsUnknown(t *testing.T) {
	for name, check := range map[string]func(context.Context, monitors.Request) (monitors.Result, error){
		"an error": func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{}, errors.New("no permission")
		},
		"a panic": func(context.Context, monitors.Request) (monitors.Result, error) { panic("oh") },
		"too few verdicts": func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{Exit: 1, Hosts: []monitors.HostResult{{Host: "w1", Verdict: monitors.Down}}}, nil
		},
		"another host": func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{Exit: 1, Hosts: []monitors.HostResult{{Host: "x", Verdict: monitors.Down}, {Host: "w2"}}}, nil
		},
		"a verdict against its exit status": func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{Hosts: []monitors.HostResult{{Host: "w1", Verdict: monitors.Down}, {Host: "w2", Verdict: monitors.Up}}}, nil
		},
		"a hang": func(ctx context.Context, _ monitors.Request) (monitors.Result, error) {
			<-ctx.Done()
			return monitors.Result{}, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := &fakeMonitor{check: down()}, &fakeMonitor{check: down()}
			mail := &outboxtest.Recorder{}
			engineTest(t, []config.Watch{testWatch("bad", bad, mail, "w1", "w2"), testWatch("good", good, mail, "w1")}, func(t *testing.T, e *Engine) {
				time.Sleep(3 * time.Second)
				bad.set(check)
				before := good.count()
				time.Sleep(25 * time.Second)
				synctest.Wait()
				s := e.state(t, "bad")
				if s.State != "unknown" || s.Unknown == "" || s.Hosts[0].State != "up" {
					t.Errorf("status is %+v, want unknown, with the hosts as they were", s)
				}
				mail.Want(t)
				if e.state(t, "good").State != "ok" || good.count() < before+20 {
					t.Errorf("the other watch suffered: %d runs", good.count()-before)
				}
				bad.set(down())
				time.Sleep(12 * time.Second)
				synctest.Wait()
				if s := e.state(t, "bad"); s.State != "ok" {
					t.Errorf("state is %s after a good run", s.State)
				}
			})
		})
	}
}

func TestFailureInterval(t *testing.T) {
	m := &fakeMonitor{check: down()}
	w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
	w.Interval, w.FailureInterval = 10*time.Second, time.Second
	engineTest(t, []config.Watch{w}, func(t *testing.T, _ *Engine) {
		time.Sleep(40 * time.Second)
		if n := m.count(); n < 3 || n > 5 {
			t.Errorf("%d runs in 40s at 10s", n)
		}
		m.set(down("w1"))
		time.Sleep(12 * time.Second)
		before := m.count()
		time.Sleep(10 * time.Second)
		if n := m.count() - before; n < 9 || n > 11 {
			t.Errorf("%d runs in 10s while failing, failure_interval is 1s", n)
		}
	})
}

func TestReloadKeepsStateAndTimers(t *testing.T) {
	kept, gone, fresh := &fakeMonitor{check: down("w1")}, &fakeMonitor{check: down()}, &fakeMonitor{check: down()}
	mail := &outboxtest.Recorder{}
	once := func(w config.Watch) config.Watch { w.Periods[0].NumAlerts = 1; return w }
	watches := []config.Watch{once(testWatch("kept", kept, mail, "w1")), testWatch("gone", gone, mail, "w1")}
	engineTest(t, watches, func(t *testing.T, e *Engine) {
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w1")
		runs := kept.count()
		site := &config.Site{Watches: []config.Watch{once(testWatch("kept", kept, mail, "w1")), testWatch("fresh", fresh, mail, "w1")}}
		e.Reload(site)
		goneRuns := gone.count()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w1") // no second alert for the same outage
		if n := kept.count() - runs; n != 5 {
			t.Errorf("%d runs in 5s after the reload, want 5: the timers were disturbed", n)
		}
		if gone.count() != goneRuns {
			t.Error("a removed watch is still tested")
		}
		if fresh.count() == 0 {
			t.Error("a new watch is not tested")
		}
		kept.set(down())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w1", "up w1")
	})
}

func TestAReloadEndsTheFastPace(t *testing.T) {
	m := &fakeMonitor{check: down("w1")}
	with := func(failing time.Duration) config.Watch {
		w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
		w.Interval, w.FailureInterval = 10*time.Second, failing
		w.Fingerprint = failing.String()
		return w
	}
	engineTest(t, []config.Watch{with(time.Second)}, func(t *testing.T, e *Engine) {
		time.Sleep(30 * time.Second)
		e.Reload(&config.Site{Watches: []config.Watch{with(0)}})
		before := m.count()
		time.Sleep(100 * time.Second)
		if n := m.count() - before; n < 9 || n > 11 {
			t.Errorf("%d runs in 100s at 10s, after failure_interval was taken away", n)
		}
	})
}

func TestMonitorWaitsForItsDependency(t *testing.T) {
	gateway, server := &fakeMonitor{check: down("gw")}, &fakeMonitor{check: down()}
	w := testWatch("web", server, &outboxtest.Recorder{}, "w1")
	on, err := watch.ParseExpr("gateway:s")
	if err != nil {
		t.Fatal(err)
	}
	w.Depend.Monitor = on
	engineTest(t, []config.Watch{testWatch("gateway", gateway, &outboxtest.Recorder{}, "gw"), w}, func(t *testing.T, _ *Engine) {
		time.Sleep(3 * time.Second)
		before := server.count()
		time.Sleep(20 * time.Second)
		if n := server.count() - before; n != 0 {
			t.Errorf("%d runs while the gateway is down", n)
		}
		gateway.set(down())
		time.Sleep(3 * time.Second)
		if server.count() == before {
			t.Error("not tested again within 3s after the gateway returned")
		}
	})
}

func TestSilentTrapSender(t *testing.T) {
	mail := &outboxtest.Recorder{}
	w := testWatch("traps", nil, mail, "t1")
	w.Scope, w.Interval, w.TrapTimeout = watch.ScopeGroup, 0, 5*time.Second
	engineTest(t, []config.Watch{w}, func(t *testing.T, _ *Engine) {
		time.Sleep(7 * time.Second)
		synctest.Wait()
		mail.Want(t, "traptimeout trap timeout")
	})
}

func TestTheEndWaitsForAlerts(t *testing.T) {
	mail := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { time.Sleep(3 * time.Second); return nil }}
	w := testWatch("web", &fakeMonitor{check: down("w1")}, mail, "w1")
	w.Periods[0].NumAlerts = 1
	engineTest(t, []config.Watch{w}, func(*testing.T, *Engine) { time.Sleep(1100 * time.Millisecond) })
	mail.Want(t, "failure w1")
}
