package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
)

func TestSetInterval(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		steps func(s *Scheduler)
		want  []time.Duration
	}{
		{"shorter: from the last start", 0, func(s *Scheduler) {
			pass(2 * time.Second)
			_ = s.SetInterval("a", 5*time.Second)
			pass(14 * time.Second)
		}, seconds(0, 5, 10, 15)},
		{"overdue: now", 0, func(s *Scheduler) {
			pass(8 * time.Second)
			_ = s.SetInterval("a", 5*time.Second)
			pass(11 * time.Second)
		}, seconds(0, 8, 13, 18)},
		{"longer and back to its own", 0, func(s *Scheduler) {
			_ = s.SetInterval("a", 30*time.Second)
			pass(31 * time.Second)
			_ = s.SetInterval("a", 0)
			pass(15 * time.Second)
		}, seconds(0, 30, 40)},
		{"from a run outside of the schedule, too", 0, func(s *Scheduler) {
			pass(4 * time.Second)
			_ = s.RunNow("a")
			pass(2 * time.Second)
			_ = s.SetInterval("a", 5*time.Second)
			pass(9 * time.Second)
		}, seconds(0, 4, 9, 14)},
		{"the one in force changes nothing", 0, func(s *Scheduler) {
			for range 25 {
				pass(time.Second)
				_ = s.SetInterval("a", 10*time.Second)
			}
		}, seconds(0, 10, 20)},
		{"overdue while running: when it has ended", 7 * time.Second, func(s *Scheduler) {
			pass(6 * time.Second)
			_ = s.SetInterval("a", 5*time.Second)
			pass(2 * time.Second)
		}, seconds(0, 7)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				s := drive(t, Config{}, Plan{Jobs: []Job{r.job("a", 10*time.Second, c.takes)}})
				at := r.first(t)
				pass(at - time.Since(r.begin)) // a waiting loop may be a little late
				c.steps(s)
				if diff := cmp.Diff(c.want, r.sinceFirst()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestSetIntervalErrors(t *testing.T) {
	s := New(Config{})
	if err := s.SetInterval("a", time.Second); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	if err := s.SetInterval("a", 99*ms); err == nil || errors.Is(err, ErrUnknownKey) {
		t.Errorf("too short: %v", err)
	}
	if err := s.RunNow("a"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("RunNow of an unknown key: %v", err)
	}
	s.Poke("a")
	if _, ok := s.Status("a"); ok {
		t.Error("status of an unknown key")
	}
}

func TestRunNow(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		want  []time.Duration
	}{
		{"off schedule, which stays", 0, seconds(0, 3, 10, 20)},
		{"while running: afterwards", 4 * time.Second, seconds(0, 4, 10, 20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				s := drive(t, Config{}, Plan{Jobs: []Job{r.job("a", 10*time.Second, c.takes)}})
				r.first(t)
				pass(3 * time.Second)
				for range 2 { // asked twice is asked once
					if err := s.RunNow("a"); err != nil {
						t.Fatal(err)
					}
				}
				pass(18 * time.Second)
				if diff := cmp.Diff(c.want, r.sinceFirst()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRunNowBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		s := New(Config{})
		if err := s.Replace(t.Context(), Plan{Jobs: []Job{r.job("a", time.Hour, 0)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.RunNow("a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), grain/2)
		defer cancel()
		s.Run(ctx)
		if n := len(r.of("a")); n != 1 {
			t.Errorf("%d runs, want one at once", n)
		}
	})
}

// A job far back in the heap comes to its front.
func TestRunNowAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var p Plan
		for i := range 100 {
			p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), time.Hour, 0))
		}
		s := drive(t, Config{}, p)
		pass(11 * time.Second)
		before := len(r.runs())
		for i := range 100 {
			if err := s.RunNow(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if n := len(r.of(fmt.Sprint(i))); n != 2 {
				t.Errorf("job %d ran %d times, want twice", i, n)
			}
		}
		if n := len(r.runs()); n != before+100 {
			t.Errorf("%d runs, want %d", n, before+100)
		}
	})
}

func TestHeld(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(p *Plan, held func(time.Time) bool)
		hold Hold
	}{
		{"the job's exclude_period", func(p *Plan, held func(time.Time) bool) { p.Jobs[0].ExcludePeriod = held }, Excluded},
		{"the plan's exclude_period", func(p *Plan, held func(time.Time) bool) { p.ExcludePeriod = held }, Excluded},
		{"not ready", func(p *Plan, held func(time.Time) bool) {
			p.Jobs[0].Ready = func(now time.Time) bool { return !held(now) }
		}, NotReady},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testHeld(t, c.set, c.hold) })
		})
	}
}

// testHeld holds a job of one run a minute from 30 s to 95.3 s.
func testHeld(t *testing.T, set func(*Plan, func(time.Time) bool), hold Hold) {
	r := newRecorder()
	held := func(now time.Time) bool {
		at := now.Sub(r.begin)
		return at >= 30*time.Second && at < 95300*ms
	}
	p := Plan{Jobs: []Job{r.job("a", time.Minute, 0)}, RandStart: grain}
	set(&p, held)
	s := drive(t, Config{}, p)
	pass(70 * time.Second)
	if st, _ := s.Status("a"); st.Hold != hold || s.Stats().Held != 1 || !st.Next.Equal(r.begin.Add(time.Minute)) {
		t.Errorf("status %+v, %d held; want %s, due since a minute after the start", st, s.Stats().Held, hold)
	}
	pass(180 * time.Second)
	// Held from 60 s on; asked each second. The next regular time, 120 s, is
	// less than half an interval later and left out.
	if diff := cmp.Diff(seconds(0, 96, 180, 240), r.of("a")); diff != "" {
		t.Errorf("starts (-want +got):\n%s", diff)
	}
	if st := s.Stats(); st.Held != 0 || st.Skipped != 0 || st.LateMax != 0 {
		t.Errorf("stats %+v, want none held, none skipped, none late", st)
	}
}

// The end of an exclude period finds the jobs as spread as they were.
func TestHeldJobsStaySpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		p := Plan{ExcludePeriod: func(now time.Time) bool { return now.Sub(r.begin) < time.Minute }}
		for i := range 1000 {
			p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), time.Second, 0))
		}
		drive(t, Config{}, p)
		pass(60*time.Second + 100*ms)
		if n := len(r.runs()); n < 50 || n > 200 {
			t.Errorf("%d of 1000 jobs started in the first tenth of a second, want about 100", n)
		}
		pass(900 * ms)
		for _, j := range p.Jobs {
			if n := len(r.of(j.Key)); n < 1 || n > 2 {
				t.Errorf("job %s started %d times in the first second", j.Key, n)
			}
		}
	})
}

func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var ready atomic.Bool
		j := r.job("a", time.Minute, 0)
		j.Ready = func(time.Time) bool { return ready.Load() }
		s := drive(t, Config{}, Plan{Jobs: []Job{j}, RandStart: grain})
		pass(5300 * ms)
		s.Poke("a") // still not ready
		pass(100 * ms)
		ready.Store(true)
		s.Poke("a")
		pass(0)
		if diff := cmp.Diff(seconds(5.4), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		s.Poke("a") // nothing holds it
		pass(time.Second)
		if n := len(r.of("a")); n != 1 {
			t.Errorf("%d runs after a poke for nothing", n)
		}
	})
}

// A parent that comes up in the very moment in which Ready says no.
func TestPokeWhileBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		j := r.job("a", time.Minute, 0)
		var s *Scheduler
		asked := 0
		poked := make(chan struct{})
		j.Ready = func(time.Time) bool {
			if asked++; asked == 1 {
				go func() { s.Poke("a"); close(poked) }()
				<-poked
			}
			return asked > 1
		}
		s = New(Config{})
		if err := s.Replace(t.Context(), Plan{Jobs: []Job{j}, RandStart: grain}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		s.Run(ctx)
		if diff := cmp.Diff(seconds(0), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

func TestRunNowIsHeldToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		j := r.job("a", time.Hour, 0)
		j.ExcludePeriod = func(now time.Time) bool { at := now.Sub(r.begin); return at > 5*time.Second && at < 20*time.Second }
		s := drive(t, Config{}, Plan{Jobs: []Job{j}, RandStart: grain})
		pass(10 * time.Second)
		if err := s.RunNow("a"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		if diff := cmp.Diff(seconds(0, 20, 3600, 7200), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

func TestReplaceKeepsTimers(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(s *Scheduler, j *Job)
		want []time.Duration
	}{
		{"unchanged", func(*Scheduler, *Job) {}, seconds(0, 10, 20, 30)},
		{"shorter interval: from the last start", func(_ *Scheduler, j *Job) { j.Interval = 8 * time.Second }, seconds(0, 8, 16, 24, 32)},
		{"much shorter: now", func(_ *Scheduler, j *Job) { j.Interval = 2500 * ms }, seconds(0, 4, 6.5, 9)},
		{"failure_interval stays", func(s *Scheduler, _ *Job) { _ = s.SetInterval("a", 6*time.Second) }, seconds(0, 6, 12, 18)},
		{"failure_interval ends with another interval", func(s *Scheduler, j *Job) {
			_ = s.SetInterval("a", 6*time.Second)
			j.Interval = 9 * time.Second
		}, seconds(0, 9, 18, 27)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				j := r.job("a", 10*time.Second, 0)
				s := drive(t, Config{}, Plan{Jobs: []Job{j}, RandStart: grain})
				pass(4 * time.Second)
				c.set(s, &j)
				if err := s.Replace(t.Context(), Plan{Jobs: []Job{r.job("new", time.Minute, 0), j}}); err != nil {
					t.Fatal(err)
				}
				pass(29 * time.Second)
				got := r.of("a")
				if diff := cmp.Diff(c.want, got[:min(len(got), len(c.want))]); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
				if got := r.of("new"); len(got) != 1 || got[0] < 4*time.Second || got[0] > 14*time.Second {
					t.Errorf("the new job started at %v, want once within 10 s", got)
				}
			})
		})
	}
}

// A run that is under way when its job stays in the plan goes on; one of a job
// that goes is cancelled and waited for; one that waits never starts.
func TestReplaceEndsRemovedRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var ends sync.Map // from key to the context's error at the end of the run
		slow := func(key string) Job {
			return Job{Key: key, Interval: time.Minute, Process: key == "waits", Run: func(ctx context.Context) {
				r.enter(key)
				defer r.leave(key)
				select {
				case <-ctx.Done():
					<-time.After(3 * time.Second) // cleaning up
				case <-time.After(30 * time.Second):
				}
				ends.Store(key, fmt.Sprint(ctx.Err()))
			}}
		}
		blocker := slow("blocker")
		blocker.Process = true
		stays := []Job{slow("stays"), blocker}
		s := drive(t, Config{}, Plan{Jobs: append(stays, slow("goes"), slow("waits")), MaxProcs: 1, RandStart: grain})
		pass(time.Second)
		if st := s.Stats(); st.Checks.Running != 2 || st.Procs.Waiting != 1 {
			t.Fatalf("stats %+v, want 2 checks running, 1 process waiting", st)
		}
		before := time.Now()
		if err := s.Replace(t.Context(), Plan{Jobs: stays, MaxProcs: 1}); err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Load("goes")
		if took := time.Since(before); took != 3*time.Second || end != context.Canceled.Error() {
			t.Errorf("Replace took %s, the removed run ended with %v; want 3s, canceled", took, end)
		}
		pass(40 * time.Second)
		if end, _ := ends.Load("stays"); end != "<nil>" {
			t.Errorf("the unchanged job's run ended with %v, want a living context", end)
		}
		if n := len(r.of("waits")); n != 0 {
			t.Errorf("the removed job that waited has run %d times", n)
		}
	})
}

// A key that comes back while its old run won't end must wait for it.
func TestReplaceDoesNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		stubborn := Job{Key: "a", Interval: time.Second, Run: func(context.Context) {
			r.enter("a")
			defer r.leave("a")
			<-time.After(20 * time.Second)
		}}
		s := drive(t, Config{}, Plan{Jobs: []Job{stubborn}})
		r.first(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Replace(ctx, Plan{})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "job a") {
			t.Errorf("Replace with a run that won't end: %v", err)
		}
		if err := s.Replace(t.Context(), Plan{Jobs: []Job{stubborn}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if n := len(r.of("a")); n != 2 || len(r.twice) > 0 {
			t.Errorf("%d runs, twice at once: %v", n, r.twice)
		}
	})
}

func TestReplaceRaisesLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		p := Plan{MaxChecks: 1, RandStart: grain}
		for i := range 4 {
			p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), time.Minute, 10*time.Second))
		}
		s := drive(t, Config{}, p)
		for _, c := range []struct{ limit, running int }{{1, 1}, {3, 3}, {2, 3}, {0, 4}} {
			p.MaxChecks = c.limit
			if err := s.Replace(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
			if got := s.Stats().Checks; got != (Bounded{c.limit, c.running, 4 - c.running}) {
				t.Errorf("limit %d: %+v, want %d running", c.limit, got, c.running)
			}
		}
	})
}

func TestReplaceRefuses(t *testing.T) {
	run := func(context.Context) {}
	daily, err := cron.ParseStandard("@daily")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		plan Plan
		want string
	}{
		{"twice", Plan{Jobs: []Job{{Key: "a", Interval: time.Second, Run: run}, {Key: "a", Interval: time.Second, Run: run}}}, "job a: the key is used twice"},
		{"nothing to run", Plan{Jobs: []Job{{Key: "a", Interval: time.Second}}}, "job a: nothing to run"},
		{"never", Plan{Jobs: []Job{{Key: "a", Run: run}}}, "job a: an interval or a calendar is needed, and not both"},
		{"both", Plan{Jobs: []Job{{Key: "a", Run: run, Interval: time.Second, Cron: daily}}}, "job a: an interval or a calendar is needed, and not both"},
		{"too short", Plan{Jobs: []Job{{Key: "a", Run: run, Interval: 99 * ms}}}, "job a: interval 99ms is shorter than 100ms"},
		{"negative interval", Plan{Jobs: []Job{{Key: "a", Run: run, Interval: -1}}}, "job a: interval -1ns is shorter than 100ms"},
		{"negative deadline", Plan{Jobs: []Job{{Key: "a", Run: run, Interval: time.Second, Deadline: -1}}}, "job a: randskew and deadline must not be negative"},
		{"negative limit", Plan{MaxProcs: -1}, "maxprocs, maxchecks and randstart must not be negative"},
		{"all at once", Plan{MaxProcs: -1, Jobs: []Job{{Key: "a"}}}, "job a: nothing to run\nmaxprocs, maxchecks and randstart must not be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(Config{})
			if err := s.Replace(t.Context(), Plan{Jobs: []Job{{Key: "old", Interval: time.Second, Run: run}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Replace(t.Context(), c.plan); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if _, ok := s.Status("old"); !ok {
				t.Error("the old plan is gone")
			}
		})
	}
}
