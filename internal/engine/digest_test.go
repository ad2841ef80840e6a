package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// letters keeps the events themselves.
type letters struct {
	mu      sync.Mutex
	got     []alerts.Event
	refuses bool
}

func (l *letters) refuse(refuses bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = refuses
}

func (l *letters) Send(_ context.Context, e alerts.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses {
		return errors.New("the mail server is down")
	}
	l.got = append(l.got, e)
	return nil
}

func (l *letters) seen() []alerts.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// site is a site that tells what changed every morning at eight.
func (l *letters) site(t *testing.T, watches ...config.Watch) *config.Site {
	t.Helper()
	return l.siteAt(t, "0 8 * * *", watches...)
}

// siteAt is a site that tells what changed when a calendar says.
func (l *letters) siteAt(t *testing.T, text string, watches ...config.Watch) *config.Site {
	t.Helper()
	cron, err := config.ParseCron(text)
	must(t, err)
	d := &config.Digest{Cron: cron, Calendar: text, Send: []watch.Action{{ID: "digest", Name: "mail ops"}}}
	d.Key, d.Actions = watch.Key{Group: "monitord", Service: "digest"}, map[string]alerts.Alert{"digest": l}
	return &config.Site{Watches: watches, Digest: d}
}

// want asserts the digests so far: when they came, and what ended.
func (l *letters) want(t *testing.T, want ...string) {
	t.Helper()
	got := []string{}
	for _, e := range l.seen() {
		_, ended, _ := strings.Cut(string(e.Output), "ended:\n  ")
		ended, _, _ = strings.Cut(ended, "\n")
		got = append(got, e.Time.UTC().Format("02 15:04 ")+e.Summary+": "+ended)
		if e.Kind != alerts.Digest {
			t.Errorf("a digest is %+v", e)
		}
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("digests (-want +got)\n%s", diff)
	}
}

// minutely is a watch that is tested every minute, and its monitor.
func minutely() (config.Watch, *fakeMonitor) {
	m := &fakeMonitor{check: down()}
	w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
	w.Interval = time.Minute
	return w, m
}

// TestTheDigestComesInTheMorning: once a day, with what changed, and not otherwise.
// The bubble's clock begins on the first of January 2000.
func TestTheDigestComesInTheMorning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := minutely()
		post := &letters{}
		e, err := Resume(post.site(t, w), quiet(), Memory{})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx, time.Second) })
		time.Sleep(72 * time.Hour)
		post.want(t)
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		post.want(t, "04 08:00 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 01:00")
		cancel()
		running.Wait()
	})
}

// TestTheDigestOfADaemonThatWasNotThere: what was counted before a kill is told, as
// soon as the daemon is back if the time has passed.
func TestTheDigestOfADaemonThatWasNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := minutely()
		post, store := &letters{}, &fakeStore{}
		start := func() *life { return liveSite(t, Memory{Store: store, MaxAge: 24 * time.Hour}, post.site(t, w)) }
		l := start()
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(6 * time.Hour) // seven
		l.kill()
		time.Sleep(30 * time.Minute)
		l = start()
		time.Sleep(15 * time.Minute)
		l.kill()
		post.want(t)
		time.Sleep(time.Hour)
		l = start()
		time.Sleep(time.Minute)
		what := "01 08:45 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 01:00"
		post.want(t, what)
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(time.Hour)
		l.kill()
		time.Sleep(72 * time.Hour) // the state is too old
		l = start()
		time.Sleep(time.Hour)
		again := "04 10:46 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 2000-01-01 09:46"
		post.want(t, what, again)
		l.kill()
		l = start()
		time.Sleep(48 * time.Hour)
		post.want(t, what, again)
		l.end()
	})
}

// TestTheDigestThatIsNotDelivered outlives the daemon.
func TestTheDigestThatIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := minutely()
		post, store := &letters{}, &fakeStore{}
		post.refuse(true)
		l := liveSite(t, Memory{Store: store, MaxAge: 24 * time.Hour}, post.site(t, w))
		time.Sleep(time.Minute)
		m.set(down("w1"))
		time.Sleep(9 * time.Hour)
		m.set(down())
		time.Sleep(24 * time.Hour)
		post.want(t)
		if n := len(l.outbox.Snapshot().Queue()); n != 1 {
			t.Errorf("%d digests wait", n)
		}
		l.kill()
		time.Sleep(time.Hour)
		post.refuse(false)
		l = liveSite(t, Memory{Store: store, MaxAge: 24 * time.Hour}, post.site(t, w))
		time.Sleep(time.Minute)
		post.want(t, "02 08:00 0 failing; 0 outages began, 1 ended: web:s w1: 1 outage, 9h0m0s in all, the last until 2000-01-01 09:01")
		if text := string(post.seen()[0].Output); !strings.Contains(text, "\n1 failing; 1 outage began, 0 ended\n") {
			t.Errorf("the digest of the day before is not in it:\n%s", text)
		}
		l.end()
	})
}

// TestAReloadBringsTheDigest: what changed from then on.
func TestAReloadBringsTheDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := minutely()
		post := &letters{}
		bare := &config.Site{Watches: []config.Watch{w}}
		l := liveSite(t, Memory{}, bare)
		flap := func() {
			m.set(down("w1"))
			time.Sleep(time.Hour)
			m.set(down())
			time.Sleep(time.Hour)
		}
		flap()
		l.Reload(post.site(t, w))
		time.Sleep(24 * time.Hour)
		post.want(t)
		flap()
		time.Sleep(24 * time.Hour)
		what := "02 08:00 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 03:00"
		post.want(t, what)
		flap()
		l.Reload(bare)
		time.Sleep(48 * time.Hour)
		post.want(t, what)
		l.end()
	})
}

// TestAnotherCalendarOfTheDigest: its times before the reload, or the restart, that brought
// it were nobody's. The next digest comes at its next time, and tells all since the last.
func TestAnotherCalendarOfTheDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := minutely()
		post, store := &letters{}, &fakeStore{}
		start := func(calendar string) *life {
			return liveSite(t, Memory{Store: store, MaxAge: 24 * time.Hour}, post.siteAt(t, calendar, w))
		}
		l := start("0 8 * * *")
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(14 * time.Hour) // 15:00
		morning := "01 08:00 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 01:00"
		post.want(t, morning)
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(time.Hour) // 17:00
		l.Reload(post.siteAt(t, "0 12 * * *", w))
		time.Sleep(time.Hour)
		post.want(t, morning) // not at once, for this noon
		l.kill()
		l = start("0 12 * * *")
		time.Sleep(time.Hour)
		post.want(t, morning)     // nor because of a restart
		l.Reload(post.site(t, w)) // and back at 19:00
		l.Reload(post.siteAt(t, "0 12 * * *", w))
		time.Sleep(17*time.Hour + time.Minute) // 12:01
		noon := "02 12:00 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 2000-01-01 16:00"
		post.want(t, morning, noon)
		m.set(down("w1"))
		time.Sleep(time.Hour)
		m.set(down())
		time.Sleep(6 * time.Hour) // 19:01
		l.kill()
		time.Sleep(time.Hour)
		l = start("0 18 * * *") // it has passed at 20:01
		time.Sleep(21 * time.Hour)
		post.want(t, morning, noon)
		time.Sleep(time.Hour)
		evening := "03 18:00 0 failing; 1 outage began, 1 ended: web:s w1: 1 outage, 1h0m0s in all, the last until 2000-01-02 13:01"
		post.want(t, morning, noon, evening)
		l.end()
	})
}

// TestARehearsalHasTheDigest at its time, with what changed.
func TestARehearsalHasTheDigest(t *testing.T) {
	w, m := minutely()
	m.set(down("w1"))
	start := time.Date(2026, 11, 22, 7, 30, 0, 0, time.FixedZone("west", -5*3600))
	w.Periods[0].NumAlerts = 1
	told, _ := rehearse(t, (&letters{}).site(t, w), start, 48*time.Hour)
	if diff := cmp.Diff([]string{"digest 1 failing; 1 outage began, 0 ended at 30m0.01s"}, told[min(1, len(told)):]); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
}

// TestTheDigestOfTwoDirectors: the owner sends it, once; of what it did not live to
// send the next owner tells.
func TestTheDigestOfTwoDirectors(t *testing.T) {
	ended := func(day, until string) string {
		return day + " 08:00 0 failing; 1 outage began, 1 ended: web:s w2: 1 outage, 1h0m0s in all, the last until " + until
	}
	for _, delivered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := &pair{t: t, a: newDirector("dr1"), b: newDirector("dr2"), change: func(w *config.Watch) { w.Interval = time.Minute }}
			p.a.digests, p.b.digests = &letters{}, &letters{}
			p.a.digests.refuse(!delivered)
			p.start()
			outage := func() {
				p.both("w2")
				p.pass(time.Hour)
				p.both()
				p.pass(7 * time.Hour) // nine
			}
			outage()
			p.b.digests.want(t)
			if delivered {
				p.a.digests.want(t, ended("01", "01:00"))
			}
			p.kill(p.a)
			p.own("dr2")
			p.pass(2 * time.Minute)
			want := []string{}
			if !delivered {
				want = append(want, strings.Replace(ended("01", "01:00"), "08:00", "08:01", 1))
			}
			p.b.digests.want(t, want...)
			p.pass(16 * time.Hour)
			p.a.monitor.set(down())
			outage()
			p.b.digests.want(t, append(want, ended("02", "01:02"))...)
			p.end()
		})
	}
}
