package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// escalating adds somebody who is told after half an hour.
func escalating(boss *outboxtest.Recorder) func(*config.Watch) {
	return func(w *config.Watch) {
		w.Periods[0].AlertEvery.Interval = 24 * time.Hour
		w.Periods[0].Escalate = []watch.Escalation{{After: 30 * time.Minute, Actions: []watch.Action{{ID: "web/boss", Name: "mail boss"}}}}
		w.Actions["web/boss"] = boss
	}
}

// TestEscalationNeedsNoResult: a watch that runs once a day is escalated in time.
func TestEscalationNeedsNoResult(t *testing.T) {
	mail, boss := &outboxtest.Recorder{}, &outboxtest.Recorder{}
	w := testWatch("web", &fakeMonitor{check: down("w2")}, mail, "w1", "w2")
	w.Interval = 24 * time.Hour
	escalating(boss)(&w)
	engineTest(t, []config.Watch{w}, func(t *testing.T, _ *Engine) {
		for len(mail.Seen()) == 0 {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		time.Sleep(28 * time.Minute)
		synctest.Wait()
		boss.Want(t)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		boss.Want(t, "failure w2")
	})
}

// TestEscalationOnACluster: the next owner knows since when, and how far.
func TestEscalationOnACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boss := &outboxtest.Recorder{} // of both
		p := directors(t, escalating(boss))
		p.both("w2")
		p.pass(20 * time.Minute)
		p.a.mail.Want(t, "failure w2")
		p.kill(p.a)
		p.own("dr2")
		p.pass(9 * time.Minute)
		boss.Want(t)
		p.pass(2 * time.Minute)
		boss.Want(t, "failure w2")
		p.a.mail = &outboxtest.Recorder{}
		p.boot(p.a, p.a.store)
		p.pass(time.Minute)
		p.own("dr1")
		p.pass(time.Hour)
		boss.Want(t, "failure w2")
		p.both()
		p.pass(2 * time.Second)
		boss.Want(t, "failure w2", "up w2")
		p.a.mail.Want(t, "up w2")
		p.b.mail.Want(t)
		p.end()
	})
}

// TestARunFromBeforeTheParentCameBack: a run that began while the parent failed tells nothing of the
// child, even if it ends when the parent is back; the next one does.
func TestARunFromBeforeTheParentCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router, web, mail := &fakeMonitor{check: down("r1")}, &fakeMonitor{}, &outboxtest.Recorder{}
		web.set(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			time.Sleep(8 * time.Second) // as long as it takes to find out that nobody answers
			return down("w1")(ctx, r)
		})
		parent := testWatch("router", router, &outboxtest.Recorder{}, "r1")
		child := testWatch("web", web, mail, "w1")
		child.Interval = 20 * time.Second
		var err error
		child.Depend.On, err = watch.ParseExpr("router:s")
		must(t, err)
		l := live(t, nil, 0, parent, child)
		for web.count() < 3 {
			time.Sleep(time.Second)
		}
		router.set(down())
		time.Sleep(10 * time.Second) // the run ends
		synctest.Wait()
		mail.Want(t)
		if d := l.state(t, "web").Decisions; d[len(d)-1].Code != "dependency" {
			t.Errorf("the last decision is %+v", d[len(d)-1])
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mail.Want(t, "failure w1")
		l.end()
	})
}

// TestAChildWhileItsParentComesBack: what needs its time after the parent is back has
// it by dep_memory.
func TestAChildWhileItsParentComesBack(t *testing.T) {
	for _, memory := range []time.Duration{0, 90 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			router, web, mail := &fakeMonitor{check: down()}, &fakeMonitor{check: down()}, &outboxtest.Recorder{}
			parent := testWatch("router", router, &outboxtest.Recorder{}, "r1")
			child := testWatch("web", web, mail, "w1")
			child.Interval = 20 * time.Second
			var err error
			child.Depend.On, err = watch.ParseExpr("router:s")
			must(t, err)
			child.Depend.Memory = memory
			child.Periods[0].AlertEvery.Interval = time.Hour
			l := live(t, nil, 0, parent, child)
			time.Sleep(time.Minute)
			router.set(down("r1"))
			time.Sleep(2 * time.Second)
			web.set(down("w1"))
			time.Sleep(time.Minute)
			synctest.Wait()
			mail.Want(t)
			router.set(down()) // the way is there again; the server needs a minute to be found
			time.Sleep(60 * time.Second)
			web.set(down())
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if memory > 0 {
				mail.Want(t)
			} else {
				mail.Want(t, "failure w1", "up w1") // what dep_memory is for
			}
			web.set(down("w1")) // a failure of its own is told
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := mail.Seen(); len(got) == 0 || got[len(got)-1] != "failure w1" {
				t.Errorf("of its own failure was told: %q", got)
			}
			l.end()
		})
	}
}
