package schedule

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everySort is a plan with a job of every sort; each run is noted.
func everySort(t *testing.T, wall func() time.Time, s func() *Scheduler, note func(text string)) Plan {
	t.Helper()
	start := wall()
	run := func(key string) func(context.Context) {
		return func(context.Context) { note(fmt.Sprintf("%s at %s", key, wall().Sub(start))) }
	}
	fast := run("paced")
	runs := 0
	return Plan{
		MaxProcs: 1, RandStart: 3 * time.Second,
		ExcludePeriod: func(now time.Time) bool { return now.Sub(start) > time.Minute && now.Sub(start) < 65*time.Second },
		Jobs: []Job{
			{Key: "plain", Interval: 7 * time.Second, Run: run("plain")},
			{Key: "odd", Interval: 1300 * time.Millisecond, Process: true, Run: run("odd")},
			{Key: "cron", Cron: parse(t, "*/1 * * * *"), Process: true, Run: run("cron")},
			{Key: "skewed", Interval: 10 * time.Second, RandSkew: 2 * time.Second, Run: run("skewed")},
			{Key: "held", Interval: 5 * time.Second, Run: run("held"), Ready: func(now time.Time) bool { return now.Sub(start)/(20*time.Second)%2 == 0 }},
			{Key: "excluded", Interval: 5 * time.Second, Run: run("excluded"), ExcludePeriod: func(now time.Time) bool { return now.Second() < 20 }},
			{Key: "paced", Interval: 30 * time.Second, Run: func(ctx context.Context) {
				fast(ctx)
				runs++
				_ = s().SetInterval("paced", time.Duration(runs%5)*2*time.Second)
			}},
		},
	}
}

// turns is a random that is the same each time.
func turns() func(int64) int64 {
	n := int64(0)
	return func(below int64) int64 { n += 1_234_567_891; return n % below }
}

func TestSteppedRunsAreThoseOfTheClock(t *testing.T) {
	const long = 10*time.Minute - time.Millisecond // nothing is due at the end
	var mu sync.Mutex                              // protects byClock
	var byClock []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		byClock = append(byClock, text)
	}
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Random: turns()})
		if err := s.Replace(t.Context(), everySort(t, time.Now, func() *Scheduler { return s }, note)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		s.Run(ctx)
	})
	var stepped []string
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest starts
	start := now
	wall := func() time.Time { return now }
	s := New(Config{Random: turns(), Wall: wall, Mono: func() time.Duration { return now.Sub(start) }})
	if err := s.Replace(t.Context(), everySort(t, wall, func() *Scheduler { return s }, func(text string) { stepped = append(stepped, text) })); err != nil {
		t.Fatal(err)
	}
	s.Begin(t.Context())
	for {
		idle, ok := s.Step()
		if now = now.Add(idle); !ok || now.Sub(start) >= long {
			break
		}
	}
	slices.Sort(byClock) // what is due at once has no order
	slices.Sort(stepped)
	if len(stepped) < 700 {
		t.Errorf("%d runs only", len(stepped))
	}
	if diff := cmp.Diff(byClock, stepped); diff != "" {
		t.Errorf("runs differ (-clock +stepped):\n%s", diff)
	}
}

func TestNothingIsDueForEver(t *testing.T) {
	s := New(Config{})
	if err := s.Replace(t.Context(), Plan{}); err != nil {
		t.Fatal(err)
	}
	s.Begin(t.Context())
	if idle, ok := s.Step(); ok {
		t.Errorf("an empty plan has something to do in %s", idle)
	}
}
