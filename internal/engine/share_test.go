package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

var webKey = watch.Key{Group: "web", Service: "s"}

// A director is one of two that test the same.
type director struct {
	*life
	name    string
	monitor *fakeMonitor
	mail    *outboxtest.Recorder
	pool    *poolSink
	digests *letters // nil: nobody wants to know
	wires   sync.WaitGroup
	unplug  context.CancelFunc
}

// A pair is two directors, each with its own view of the servers and its own mail, and
// a wire between them that does as the daemon does.
type pair struct {
	t      *testing.T
	a, b   *director
	change func(*config.Watch)
	mu     sync.Mutex // protects cut, and the life of a director
	cut    bool
}

const debounce = 100 * time.Millisecond

// directors starts both; dr1 is the owner.
func directors(t *testing.T, change func(*config.Watch)) *pair {
	return (&pair{t: t, change: change, a: newDirector("dr1"), b: newDirector("dr2")}).start()
}

func (p *pair) start() *pair {
	p.boot(p.a, &fakeStore{})
	p.boot(p.b, &fakeStore{})
	p.own("dr1")
	time.Sleep(1500 * time.Millisecond)
	return p
}

func newDirector(name string) *director {
	return &director{name: name, monitor: &fakeMonitor{check: down()}, mail: &outboxtest.Recorder{}, pool: newPoolSink()}
}

// boot starts the engine of a director: nobody owns anything yet.
func (p *pair) boot(d *director, store *fakeStore) {
	w := mortal(d.monitor, d.mail, d.pool)
	w.Periods[0].AckAlerts = []watch.Action{{ID: "web/k", Name: "mail"}}
	w.Actions["web/k"] = d.mail
	if p.change != nil {
		p.change(&w)
	}
	site := &config.Site{Watches: []config.Watch{w}}
	if d.digests != nil {
		site = d.digests.site(p.t, w)
	}
	e, err := Resume(site, quiet(), Memory{Store: store, MaxAge: time.Hour})
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	d.life = &life{Engine: e, site: site, store: store}
	p.mu.Unlock()
	d.Own(owners(d.name, "nobody"))
	var ctx context.Context
	ctx, d.stop = context.WithCancel(p.t.Context())
	d.running.Go(func() { d.Run(ctx, time.Second) })
	plugged, unplug := context.WithCancel(p.t.Context())
	d.unplug = unplug
	d.wires.Go(func() { p.wire(plugged, d) })
	synctest.Wait()
}

func owners(self, owner string) Owners {
	return Owners{Self: self, Watch: func(*config.Watch) string {
		if self == owner {
			return ""
		}
		return owner + " owns the group web"
	}, Virtual: func(string) string {
		if self == owner {
			return ""
		}
		return owner + " owns the group web"
	}}
}

// own moves the group as the cluster does: whoever had it first gives it up.
func (p *pair) own(owner string) {
	for _, d := range []*director{p.a, p.b} {
		if d.name != owner {
			d.Own(owners(d.name, owner))
		}
	}
	for _, d := range []*director{p.a, p.b} {
		if d.name == owner {
			d.Own(owners(d.name, owner))
		}
	}
	synctest.Wait()
}

// wire carries what a director shares, on change and every 30 s.
func (p *pair) wire(ctx context.Context, d *director) {
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Changed():
		case <-ticker.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(debounce):
		}
		p.share(d)
	}
}

func (p *pair) share(d *director) {
	document, err := d.Handover()
	if err != nil {
		p.t.Error(err)
	}
	to := p.b
	if d.name == "dr2" {
		to = p.a
	}
	p.mu.Lock()
	cut, live := p.cut, to.life
	p.mu.Unlock()
	if live == nil || cut {
		return
	}
	if err := live.Absorb(d.name, time.Now(), document); err != nil {
		p.t.Error(err)
	}
}

func (p *pair) unwire(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// kill is kill -9: what was not delivered never is, nothing is shared or saved any more.
func (p *pair) kill(d *director) {
	d.mail.Mu.Lock()
	d.mail.Fail = func(int, alerts.Event) error { return errors.New("killed") }
	d.mail.Mu.Unlock()
	d.unplug()
	d.wires.Wait()
	d.kill()
}

func (p *pair) end() {
	for _, d := range []*director{p.a, p.b} {
		d.unplug()
		d.wires.Wait()
		d.end()
	}
}

// both have the same view.
func (p *pair) both(hosts ...string) {
	p.a.monitor.set(down(hosts...))
	p.b.monitor.set(down(hosts...))
}

func (p *pair) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestFailover kills the owner, or moves the group, at each moment of an outage.
func TestFailover(t *testing.T) {
	mailHangs := func(p *pair) {
		p.a.mail.Fail = func(int, alerts.Event) error { return outboxtest.ErrDown }
	}
	tests := []struct {
		name   string
		change func(*config.Watch)
		// happens ends with the group at dr2.
		happens func(p *pair)
		a, b    []string
	}{
		{
			name:    "nothing fails",
			happens: func(p *pair) { p.kill(p.a); p.own("dr2"); p.pass(time.Minute) },
		},
		{
			name: "killed before the alert is decided",
			change: func(w *config.Watch) {
				w.Periods[0].AlertAfter.Consecutive = 5
			},
			happens: func(p *pair) {
				p.both("w2")
				p.pass(3 * time.Second)
				p.kill(p.a)
				p.pass(time.Second)
				p.own("dr2")
				p.pass(10 * time.Second)
			},
			b: []string{"failure w2"},
		},
		{
			name: "killed after it is decided, before it is sent: dr2 sends it",
			happens: func(p *pair) {
				mailHangs(p)
				p.both("w2")
				p.pass(3 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(10 * time.Second)
			},
			b: []string{"failure w2"},
		},
		{
			name: "killed after it is sent, before that is shared: at least once is better than never",
			happens: func(p *pair) {
				p.unwire(true)
				p.both("w2")
				p.pass(2 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(10 * time.Second)
			},
			a: []string{"failure w2"}, b: []string{"failure w2"},
		},
		{
			name: "killed after it is shared: alertevery goes on",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(10 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(58 * time.Minute)
			},
			a: []string{"failure w2"},
		},
		{
			name: "alertevery ends on the other director",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(10 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(61 * time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"failure w2"},
		},
		{
			name: "numalerts counts what the other sent",
			change: func(w *config.Watch) {
				w.Periods[0].AlertEvery, w.Periods[0].NumAlerts = watch.AlertEvery{}, 2
			},
			happens: func(p *pair) {
				p.both("w2")
				p.pass(20 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"failure w2", "failure w2"},
		},
		{
			name: "the recovery is dr2's",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(5 * time.Second)
				p.both()
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "it recovers while nobody is the owner",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.both()
				p.pass(5 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "it fails while nobody is the owner",
			happens: func(p *pair) {
				p.kill(p.a)
				p.both("w2")
				p.pass(5 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
			b: []string{"failure w2"},
		},
		{
			name: "it fails and recovers while nobody is the owner",
			happens: func(p *pair) {
				p.kill(p.a)
				p.both("w2")
				p.pass(5 * time.Second)
				p.both()
				p.pass(5 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
		},
		{
			name: "it recovers and fails again while nobody is the owner: one outage for people",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.both()
				p.pass(3 * time.Second)
				p.both("w2")
				p.pass(3 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
				p.both()
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "another server fails while nobody is the owner",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.both("w1", "w2")
				p.pass(3 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"failure w1 w2"}, // the summary names all that fail
		},
		{
			name: "the recovery was told before the failover",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				p.both()
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"failure w2", "up w2"},
		},
		{
			name: "dr2 tests nothing for a while: it takes the word of dr1",
			happens: func(p *pair) {
				p.both("w2")
				p.b.monitor.set(func(context.Context, monitors.Request) (monitors.Result, error) {
					return monitors.Result{}, errors.New("no test yet")
				})
				p.pass(5 * time.Second)
				p.kill(p.a)
				p.own("dr2")
				p.pass(time.Minute)
				p.both()
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "moved and moved back",
			happens: func(p *pair) {
				p.both("w2")
				p.pass(5 * time.Second)
				for range 5 {
					p.own("dr2")
					p.pass(5 * time.Second)
					p.own("dr1")
					p.pass(5 * time.Second)
				}
				p.own("dr2")
				p.pass(5 * time.Second)
				p.both()
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "moved just after the alert: the last word comes late",
			happens: func(p *pair) {
				p.b.monitor.set(down()) // sees it later
				p.a.monitor.set(down("w2"))
				for len(p.a.mail.Seen()) == 0 {
					p.pass(10 * time.Millisecond)
				}
				p.own("dr2")
				p.b.monitor.set(down("w2"))
				p.pass(time.Minute)
				p.both()
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "the outage is dr2's from the start, and ends at dr1",
			happens: func(p *pair) {
				p.own("dr2")
				p.both("w2")
				p.pass(5 * time.Second)
				p.own("dr1")
				p.pass(5 * time.Second)
				p.both()
				p.pass(5 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"up w2"}, b: []string{"failure w2"},
		},
		{
			name: "only dr1 fails to reach the server",
			happens: func(p *pair) {
				p.a.monitor.set(down("w2"))
				p.pass(5 * time.Second)
				p.own("dr2")
				p.pass(time.Minute)
			},
			a: []string{"failure w2"}, b: []string{"up w2"},
		},
		{
			name: "without pause each failure is told, by one of them",
			change: func(w *config.Watch) {
				w.Periods[0].AlertEvery = watch.AlertEvery{Interval: 10 * time.Second, Compare: watch.Strict}
			},
			happens: func(p *pair) {
				p.both("w2")
				p.pass(13 * time.Second)
				p.own("dr2")
				p.pass(10 * time.Second)
			},
			a: []string{"failure w2", "failure w2"}, b: []string{"failure w2"},
		},
	}
	for _, test := range tests {
		for _, scope := range []watch.Scope{watch.ScopeHost, watch.ScopeGroup} {
			t.Run(test.name+"/"+scope.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := directors(t, func(w *config.Watch) {
						w.Scope = scope
						if test.change != nil {
							test.change(w)
						}
					})
					test.happens(p)
					p.a.mail.Want(t, test.a...)
					p.b.mail.Want(t, test.b...)
					p.end()
				})
			})
		}
	}
}

// TestOnlyTheOwnerTells: the other counts, keeps its pool, and says why it is silent.
func TestOnlyTheOwnerTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.b.monitor.set(down("w2"))
		p.pass(5 * time.Second)
		s := p.b.state(t, "web")
		if s.State != "failed" || s.Failures < 4 || s.Alerts != 0 || s.Untold != "dr1 owns the group web" {
			t.Errorf("status of dr2: %+v", s)
		}
		last := s.Decisions[len(s.Decisions)-1]
		if last.Code != "not owner" || last.Reason != "not told: dr1 owns the group web" || len(last.Sent) != 0 {
			t.Errorf("last decision of dr2: %+v", last)
		}
		if got := p.b.pool.String(); got != "map[w1:up w2:down]" {
			t.Errorf("the pool of dr2 is %s", got)
		}
		if got := p.a.state(t, "web"); got.State != "ok" || got.Untold != "" {
			t.Errorf("status of dr1: %+v", got)
		}
		p.b.mail.Want(t)
		p.end()
	})
}

// TestAcksAreHandedOver: an acked failure stays acked, whoever was told of the ack.
func TestAcksAreHandedOver(t *testing.T) {
	ack := func(t *testing.T, d *director) {
		t.Helper()
		err := d.operate(func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
			return s.Ack(now, webKey, "ann", "disk ordered")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	every := func(w *config.Watch) { w.Periods[0].AlertEvery = watch.AlertEvery{} }
	for _, at := range []string{"dr1", "dr2"} {
		t.Run("said to "+at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := directors(t, every)
				p.both("w2")
				p.pass(700 * time.Millisecond)
				said := map[string]*director{"dr1": p.a, "dr2": p.b}[at]
				for said.state(t, "web").State != "failed" {
					p.pass(50 * time.Millisecond)
				}
				p.pass(200 * time.Millisecond)
				ack(t, said)
				p.pass(5 * time.Second)
				before := p.a.mail.Seen()
				if n := len(before); n < 2 || n > 3 || before[n-1][:3] != "ack" {
					t.Errorf("dr1 sent %q, want a failure and an ack", before)
				}
				if got := p.b.state(t, "web").Acked; got != "ann: disk ordered" {
					t.Errorf("dr2 shows the ack %q", got)
				}
				p.kill(p.a)
				p.own("dr2")
				p.pass(time.Minute)
				p.b.mail.Want(t)
				p.both()
				p.pass(2 * time.Second)
				p.b.mail.Want(t, "up w2")
				p.both("w2") // another outage: the ack is gone
				p.pass(1200 * time.Millisecond)
				if got := p.b.mail.Seen(); len(got) < 2 || got[1] != "failure w2" {
					t.Errorf("of the next outage dr2 sent %q", got)
				}
				p.end()
			})
		})
	}
}

// TestOperatorsWordsReachBoth: what is disabled on one director is so on both, and
// the newer word counts, also against a memory.
func TestOperatorsWordsReachBoth(t *testing.T) {
	say := func(t *testing.T, d *director, f func(s *watch.Set, now time.Time) ([]watch.Notice, error)) {
		t.Helper()
		if err := d.operate(f); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	by := func(now time.Time) watch.Mark { return watch.Mark{At: now, By: "ann"} }
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		marks := func(d *director) string {
			d.mu.Lock()
			defer d.mu.Unlock()
			var out []string
			for _, w := range d.set.Words() {
				if w.Mark != nil {
					out = append(out, w.About)
				}
			}
			return strings.Join(out, ", ")
		}
		want := func(what string) {
			t.Helper()
			for _, d := range []*director{p.a, p.b} {
				if got := marks(d); got != what {
					t.Errorf("%s has disabled %q, want %q", d.name, got, what)
				}
			}
		}
		say(t, p.a, func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
			return s.DisableService(now, webKey, by(now))
		})
		want("watch web:s")
		say(t, p.b, func(s *watch.Set, now time.Time) ([]watch.Notice, error) { return s.DisableHosts(now, by(now), "w1") })
		want("host w1, watch web:s")
		say(t, p.b, func(s *watch.Set, now time.Time) ([]watch.Notice, error) { return s.EnableService(now, webKey) })
		want("host w1")
		say(t, p.a, func(s *watch.Set, now time.Time) ([]watch.Notice, error) { return s.DisableWatch(now, "web", by(now)) })
		want("group web, host w1")
		p.kill(p.a)
		say(t, p.b, func(s *watch.Set, now time.Time) ([]watch.Notice, error) { return s.EnableHosts(now, "w1") })
		p.boot(p.a, p.a.store) // it remembers w1 as disabled
		p.pass(time.Minute)
		want("group web")
		p.end()
	})
}

// TestRestart: of the own memory and what the peer shares the newer counts.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.both("w2")
		p.pass(5 * time.Second)
		p.kill(p.a) // its memory: alerted once, failing
		p.own("dr2")
		p.both()
		p.pass(2 * time.Second) // dr2 tells of the recovery
		p.a.mail = &outboxtest.Recorder{}
		p.a.monitor.set(down())
		p.boot(p.a, p.a.store)
		p.pass(40 * time.Second)
		p.own("dr1")
		p.pass(time.Minute)
		p.a.mail.Want(t) // not once more
		p.b.mail.Want(t, "up w2")
		p.end()
	})
}

// TestRestartOfTheOwner inside its lease: its memory is the newest there is.
func TestRestartOfTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.both("w2")
		p.pass(5 * time.Second)
		p.kill(p.a)
		p.a.mail = &outboxtest.Recorder{}
		p.boot(p.a, p.a.store)
		p.own("dr1")
		p.pass(10 * time.Second)
		p.a.mail.Want(t)
		p.both()
		p.pass(5 * time.Second)
		p.a.mail.Want(t, "up w2")
		p.b.mail.Want(t)
		p.end()
	})
}

// TestBothRestart: who was not the owner remembers what the owner told.
func TestBothRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.both("w2")
		p.pass(5 * time.Second)
		p.kill(p.a)
		p.pass(31 * time.Second)
		p.kill(p.b)
		p.b.mail = &outboxtest.Recorder{}
		p.boot(p.b, p.b.store)
		p.own("dr2")
		p.pass(10 * time.Second)
		p.b.mail.Want(t)
		p.both()
		p.pass(5 * time.Second)
		p.b.mail.Want(t, "up w2")
		p.end()
	})
}

// TestClocksYearsApart: the clocks of the directors are years apart.
func TestClocksYearsApart(t *testing.T) {
	for _, ahead := range []time.Duration{0, 5 * 365 * 24 * time.Hour} {
		var document []byte
		var outage string
		synctest.Test(t, func(t *testing.T) {
			if ahead == 0 {
				time.Sleep(5 * 365 * 24 * time.Hour) // the first director is ahead, then the second
			}
			p := directors(t, nil)
			p.both("w2")
			p.pass(5 * time.Second)
			var err error
			if document, err = p.a.Handover(); err != nil {
				t.Fatal(err)
			}
			s, err := unpack(document)
			if err != nil {
				t.Fatal(err)
			}
			o := s.Watches[0].Subjects[0].Outage
			outage = o.Named.UTC().String()
			if age := origin.Sub(o.FirstFailure); age < 3*time.Second || age > 6*time.Second {
				t.Errorf("the first failure is shared as %v ago", age)
			}
			p.end()
		})
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(ahead)
			p := directors(t, nil)
			p.kill(p.a)
			p.b.monitor.set(down("w2"))
			start := time.Now()
			if err := p.b.Absorb("dr1", start, document); err != nil {
				t.Fatal(err)
			}
			p.own("dr2")
			p.pass(30 * time.Minute)
			p.b.mail.Want(t)
			if since := p.b.state(t, "web").Since; since == nil || start.Sub(*since) < 3*time.Second || start.Sub(*since) > 6*time.Second {
				t.Errorf("failing since %v, shared at %v", since, start)
			}
			p.pass(31 * time.Minute)
			p.b.mail.Want(t, "failure w2")
			told, _ := p.b.set.Told(time.Now(), webKey)
			if got := told.Subjects[0].Outage.Named.UTC().String(); got != outage {
				t.Errorf("the outage is named %s, dr1 named it %s", got, outage)
			}
			p.end()
		})
	}
}

func TestAbsorbRefuses(t *testing.T) {
	e, err := Resume(&config.Site{}, quiet(), Memory{})
	if err != nil {
		t.Fatal(err)
	}
	good, err := e.Handover()
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string][]byte{"nothing": nil, "noise": []byte("noise"), "half": good[:len(good)/2]} {
		if err := e.Absorb("dr2", time.Now(), document); err == nil || !strings.Contains(err.Error(), "what dr2 shares") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Absorb("dr2", time.Now(), good); err != nil {
		t.Error(err)
	}
}

// TestTenThousandWatches: what is shared stays small, and is quickly made.
func TestTenThousandWatches(t *testing.T) {
	var watches []config.Watch
	for i := range 10000 {
		watches = append(watches, testWatch("group"+strings.Repeat("x", i%7)+time.Duration(i).String(), &fakeMonitor{check: down()}, &outboxtest.Recorder{}, "w1", "w2"))
	}
	e, err := Resume(&config.Site{Watches: watches}, quiet(), Memory{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range watches {
		if i%10 == 0 {
			e.set.Result(now, watches[i].Key, watch.Result{Exit: 1, Hosts: []watch.HostVerdict{{Host: "w1", Verdict: watch.Bad, Reason: "refused"}}})
		}
	}
	start := time.Now()
	document, err := e.Handover()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in %v", len(document), time.Since(start))
	if len(document) > 2<<20 {
		t.Errorf("%d bytes", len(document))
	}
	other, err := Resume(&config.Site{Watches: watches}, quiet(), Memory{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Absorb("dr1", time.Now(), document); err != nil {
		t.Fatal(err)
	}
}

// TestSharingComesToRest: two directors do not answer each other for ever.
func TestSharingComesToRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.both("w2")
		p.pass(5 * time.Second)
		p.unwire(true)
		for _, d := range []*director{p.a, p.b} {
			d.unplug()
			d.wires.Wait()
			select {
			case <-d.Changed():
			default:
			}
		}
		p.unwire(false)
		for range 3 {
			p.share(p.a)
			p.share(p.b)
			for _, d := range []*director{p.a, p.b} {
				select {
				case <-d.Changed():
					t.Errorf("%s has something new to say", d.name)
				default:
				}
			}
		}
		p.end()
	})
}

// TestStartupAlertsOfTwo: the start of the cluster is told once.
func TestStartupAlertsOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, func(w *config.Watch) {
			w.Periods[0].StartupAlerts = []watch.Action{{ID: "web/s", Name: "mail"}}
			w.Actions["web/s"] = w.Actions["web/a"]
		})
		p.pass(40 * time.Second)
		p.own("dr2")
		p.pass(time.Minute)
		p.a.mail.Want(t, "startup ")
		p.b.mail.Want(t)
		p.end()
	})
}

// TestTrapsOfTwo: a trap that only came once is told, though no result follows.
func TestTrapsOfTwo(t *testing.T) {
	trap := func(t *testing.T, d *director) {
		t.Helper()
		err := d.operate(func(s *watch.Set, now time.Time) ([]watch.Notice, error) {
			return s.Trap(now, watch.TrapMessage{Group: "web", Service: "s", Status: "1", Summary: "fire"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, func(w *config.Watch) { w.Scope, w.Interval = watch.ScopeGroup, 0 })
		p.kill(p.a)
		trap(t, p.b)
		p.pass(time.Minute)
		p.b.mail.Want(t)
		p.own("dr2")
		p.pass(time.Minute)
		p.b.mail.Want(t, "trap fire")
		p.end()
	})
}

// TestReloadKeepsTheDuty: a watch that a reload adds is asked for, others stay.
func TestReloadKeepsTheDuty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.both("w2")
		p.pass(5 * time.Second)
		added := testWatch("new", p.b.monitor, p.b.mail, "w1", "w2")
		added.Periods[0].AlertEvery.Interval = time.Hour
		site := &config.Site{Watches: append([]config.Watch{added}, p.b.site.Watches...)}
		p.b.Reload(site)
		p.pass(10 * time.Second)
		p.b.mail.Want(t)
		p.own("dr2")
		p.pass(10 * time.Second)
		p.b.mail.Want(t, "failure w2") // of the new watch; dr1 does not have it
		p.end()
	})
}

// TestOneOutageOneMail: whatever moves when, people hear of each change once, as soon
// as somebody owns the group. Directors that see the same and are not killed in between.
func TestOneOutageOneMail(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 5))
				p := directors(t, func(w *config.Watch) { w.Scope = watch.Scope(seed % 2) })
				all := p.a.mail
				for _, d := range []*director{p.a, p.b} { // one mailbox for both, after a restart
					p.restart(d, all)
				}
				p.own("dr1")
				var want []string
				var steps []string
				owner, fails, told := "dr1", false, false
				for range 30 {
					switch random.IntN(6) {
					case 0, 1:
						fails = !fails
						p.both(map[bool][]string{true: {"w2"}}[fails]...)
						steps = append(steps, fmt.Sprint("fails ", fails))
					case 2, 3:
						owner = []string{"dr1", "dr2", "nobody"}[random.IntN(3)]
						p.own(owner)
						steps = append(steps, "owner "+owner)
					case 4:
						d := []*director{p.a, p.b}[random.IntN(2)]
						p.restart(d, all)
						if d.name == owner {
							owner = "nobody"
						}
						steps = append(steps, "restart "+d.name)
						p.own(owner)
					case 5:
						p.pass(time.Duration(random.IntN(50)) * time.Second)
					}
					p.pass(1200*time.Millisecond + time.Duration(random.IntN(2000))*time.Millisecond)
					if owner != "nobody" && fails != told {
						told = fails
						want = append(want, map[bool]string{true: "failure w2", false: "up w2"}[told])
					}
				}
				all.Want(t, want...)
				if t.Failed() {
					t.Logf("steps: %q", steps)
				}
				p.end()
			})
		})
	}
}

// restart ends a director in peace, and starts it again with what it sent before.
func (p *pair) restart(d *director, mail *outboxtest.Recorder) {
	d.unplug()
	d.wires.Wait()
	d.end()
	d.mail = mail
	p.boot(d, d.store)
}

// TestRestartWithStalePeer: what the peer was told before the link was cut is older
// than the own memory, and does not count.
func TestRestartWithStalePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, nil)
		p.pass(time.Second)
		p.unwire(true)
		p.both("w2")
		p.pass(5 * time.Second)
		p.a.mail.Want(t, "failure w2")
		p.restart(p.a, &outboxtest.Recorder{})
		p.unwire(false)
		p.pass(40 * time.Second) // dr2 shares what it knows: no failure was told
		p.own("dr1")
		p.pass(10 * time.Second)
		p.a.mail.Want(t)
		p.end()
	})
}

// TestWhatIsHandedOverAtTheBegin: a director that starts takes the owner's word as soon
// as it has begun, and says nothing before: it would be that it owns what it knows
// nothing about.
func TestWhatIsHandedOverAtTheBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMonitor{check: down("w1")}
		w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
		owner := liveAs(t, Memory{}, w)
		defer owner.end()
		time.Sleep(5 * time.Second)
		if err := owner.Ack(t.Context(), w.Key, Word{By: "ann", Why: "disk ordered"}); err != nil {
			t.Fatal(err)
		}
		document, err := owner.Handover()
		if err != nil {
			t.Fatal(err)
		}
		mail := &outboxtest.Recorder{}
		w = testWatch("web", m, mail, "w1")
		e, err := Resume(&config.Site{Watches: []config.Watch{w}}, quiet(), Memory{})
		if err != nil {
			t.Fatal(err)
		}
		e.Own(owners("dr2", "dr1"))
		select {
		case <-e.Began():
			t.Error("it has begun before Run")
		default:
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx, time.Second) })
		<-e.Began()
		if err := e.Absorb("dr1", time.Now(), document); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		e.Own(owners("dr2", "dr2"))
		time.Sleep(5 * time.Second)
		mail.Want(t)
		stop()
		running.Wait()
		if told, _ := e.set.Told(time.Now(), w.Key); len(told.Subjects) != 1 || told.Subjects[0].Ack == nil {
			t.Errorf("the ack is gone: %+v", told.Subjects)
		}
	})
}
