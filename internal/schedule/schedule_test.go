package schedule

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// A recorder notes when each job's runs started, since its own beginning.
type recorder struct {
	begin time.Time

	mu     sync.Mutex // protects the following
	starts map[string][]time.Duration
	order  []string
	inside map[string]int
	twice  []string // keys of jobs that ran twice at once
}

func newRecorder() *recorder {
	return &recorder{begin: time.Now(), starts: map[string][]time.Duration{}, inside: map[string]int{}}
}

// job is a job whose runs take a time.
func (r *recorder) job(key string, interval, takes time.Duration) Job {
	return Job{Key: key, Interval: interval, Run: r.run(key, takes)}
}

func (r *recorder) run(key string, takes time.Duration) func(context.Context) {
	return func(ctx context.Context) {
		r.enter(key)
		defer r.leave(key)
		if takes > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(takes):
			}
		}
	}
}

func (r *recorder) enter(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starts[key] = append(r.starts[key], time.Since(r.begin))
	r.order = append(r.order, key)
	if r.inside[key]++; r.inside[key] > 1 {
		r.twice = append(r.twice, key)
	}
}

func (r *recorder) leave(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside[key]--
}

// runs returns the keys of all runs so far, in the order in which they started.
func (r *recorder) runs() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// A locked value is written by runs and read by the test.
type locked[T any] struct {
	mu    sync.Mutex // protects value
	value T
}

func (l *locked[T]) with(f func(*T)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.value)
}

func (l *locked[T]) get() T {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

// of returns a job's starts so far, once all that is due has started.
func (r *recorder) of(key string) []time.Duration {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.starts[key])
}

// sinceFirst are the starts of job a counted from its first.
func (r *recorder) sinceFirst() []time.Duration {
	starts := r.of("a")
	for i := len(starts) - 1; i >= 0; i-- {
		starts[i] -= starts[0]
	}
	return starts
}

// drive runs a plan until the end of the test.
func drive(t *testing.T, c Config, p Plan) *Scheduler {
	t.Helper()
	s := New(c)
	if err := s.Replace(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return s
}

// first waits for the first run of job a and returns its time.
func (r *recorder) first(t *testing.T) time.Duration {
	t.Helper()
	for range 11_000 {
		if starts := r.of("a"); len(starts) > 0 {
			return starts[0]
		}
		pass(ms)
	}
	t.Fatal("job a has not run within 11 s")
	return 0
}

// pass lets time pass: the bubble's, which costs none.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func seconds(n ...float64) []time.Duration {
	var ds []time.Duration
	for _, s := range n {
		ds = append(ds, time.Duration(s*float64(time.Second)))
	}
	return ds
}

func TestStartToStart(t *testing.T) {
	for _, c := range []struct {
		name            string
		interval, takes time.Duration
		span            time.Duration
		want            []time.Duration
		skipped         uint64
	}{
		{"instantaneous", time.Second, 0, 3500 * ms, seconds(0, 1, 2, 3), 0},
		{"the run's own time doesn't count", time.Second, 900 * ms, 3500 * ms, seconds(0, 1, 2, 3), 0},
		{"due while running is dropped", time.Second, 2500 * ms, 6500 * ms, seconds(0, 3, 6), 4},
		{"shortest interval", MinInterval, 30 * ms, 450 * ms, seconds(0, .1, .2, .3, .4), 0},
		{"an odd interval doesn't drift", 333 * ms, 50 * ms, time.Second, seconds(0, .333, .666, .999), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				s := drive(t, Config{}, Plan{Jobs: []Job{r.job("a", c.interval, c.takes)}})
				r.first(t)
				pass(c.span)
				if diff := cmp.Diff(c.want, r.sinceFirst()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
				if st := s.Stats(); st.Skipped != c.skipped || st.LateMax != 0 {
					t.Errorf("skipped %d, late %s; want %d, 0s", st.Skipped, st.LateMax, c.skipped)
				}
			})
		})
	}
}

func TestFirstRunsAreSpread(t *testing.T) {
	for _, c := range []struct {
		name                string
		interval, randstart time.Duration
		within              time.Duration
	}{
		{"default", time.Hour, 0, DefaultSpread},
		{"randstart", time.Hour, 2 * time.Second, 2 * time.Second},
		{"never more than the interval", time.Second, time.Minute, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const jobs = 1000
				r := newRecorder()
				p := Plan{RandStart: c.randstart}
				for i := range jobs {
					p.Jobs = append(p.Jobs, r.job(fmt.Sprintf("group%d/ping", i), c.interval, 0))
				}
				drive(t, Config{}, p)
				pass(c.within - grain)
				var tenths [10]int
				for _, j := range p.Jobs {
					starts, key := r.of(j.Key), j.Key
					if len(starts) != 1 || starts[0] >= c.within {
						t.Fatalf("%s started at %v, want once within %s", key, starts, c.within)
					}
					tenths[starts[0]*10/c.within]++
				}
				for _, n := range tenths {
					if n < jobs/10*6/10 || n > jobs/10*14/10 {
						t.Errorf("first runs in each tenth of the time: %v, want about %d", tenths, jobs/10)
						break
					}
				}
			})
		})
	}
}

// The spread starts when Run does, however long the daemon takes to get there.
func TestSpreadStartsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := New(Config{}), Plan{}
		var r *recorder
		for i := range 100 {
			p.Jobs = append(p.Jobs, Job{Key: fmt.Sprint(i), Interval: time.Minute, Run: func(ctx context.Context) { r.run("a", 0)(ctx) }})
		}
		if err := s.Replace(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Minute)
		r = newRecorder()
		ctx, cancel := context.WithTimeout(t.Context(), DefaultSpread)
		defer cancel()
		s.Run(ctx)
		starts := r.of("a")
		if len(starts) != 100 || starts[10] == 0 || starts[90] < 7*time.Second {
			t.Errorf("%d first runs, the 11th at %s, the 91st at %s", len(starts), starts[10], starts[90])
		}
	})
}

func TestDispatchOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		p := Plan{MaxChecks: 1}
		var want []string
		for i := range 20 {
			key := fmt.Sprint(19 - i)
			p.Jobs = append(p.Jobs, r.job(key, MinInterval, 0))
			want = append(want, key)
		}
		p.RandStart = grain // all phases the same
		drive(t, Config{}, p)
		pass(grain)
		if diff := cmp.Diff(want, r.runs()); diff != "" {
			t.Errorf("jobs due at the same time start in the plan's order (-want +got):\n%s", diff)
		}
	})
}

func TestRandSkew(t *testing.T) {
	const skew = 200 * ms
	for _, c := range []struct {
		name     string
		interval time.Duration
		random   int64
		want     time.Duration
	}{
		{"earliest", time.Second, 0, 800 * ms},
		{"just before", time.Second, int64(skew) - 1, time.Second - 1},
		{"never none", time.Second, int64(skew), time.Second + 1},
		{"latest", time.Second, 2*int64(skew) - 1, 1200 * ms},
		{"not below the shortest interval", 250 * ms, 0, MinInterval},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := func(n int64) int64 {
					if n != 2*int64(skew) {
						t.Errorf("random number asked below %d, want %d", n, 2*skew)
					}
					return c.random
				}
				r := newRecorder()
				j := r.job("a", c.interval, 0)
				j.RandSkew = skew
				drive(t, Config{Random: random}, Plan{Jobs: []Job{j}})
				r.first(t)
				pass(3 * time.Second)
				got := r.sinceFirst()
				for i := range got[:2] {
					if gap := got[i+1] - got[i]; gap != c.want {
						t.Errorf("gap %s, want %s", gap, c.want)
					}
				}
			})
		})
	}
}

func TestContextOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, ended := make(chan time.Time, 1), make(chan error, 1)
		s := New(Config{})
		job := Job{Key: "a", Interval: time.Minute, Deadline: 3 * time.Second, Run: func(ctx context.Context) {
			began <- time.Now()
			<-ctx.Done()
			ended <- ctx.Err()
		}}
		if err := s.Replace(t.Context(), Plan{Jobs: []Job{job}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { s.Run(ctx); close(stopped) }()

		start := <-began
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("the run ended with %v after %s; want deadline exceeded after 3s", err, time.Since(start))
		}
		<-began
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("at shutdown the run ended with %v; want canceled", err)
		}
		<-stopped
	})
}

// Run returns only after the last run, and starts nothing that still waits.
func TestShutdownWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		var ends locked[[]time.Duration]
		begin := time.Now()
		p := Plan{MaxChecks: 1, RandStart: grain}
		for i := range 3 {
			p.Jobs = append(p.Jobs, Job{Key: fmt.Sprint(i), Interval: time.Minute, Run: func(ctx context.Context) {
				<-ctx.Done()
				<-time.After(2 * time.Second) // cleaning up
				ends.with(func(e *[]time.Duration) { *e = append(*e, time.Since(begin)) })
			}})
		}
		if err := s.Replace(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Run(ctx)
		if diff := cmp.Diff(seconds(3), ends.get()); diff != "" {
			t.Errorf("ends of runs before Run returned (-want +got):\n%s", diff)
		}
		if st := s.Stats(); st.Checks.Running != 0 || st.Checks.Waiting != 0 {
			t.Errorf("after Run: %+v", st.Checks)
		}
	})
}

// The places that become free at shutdown are given to nobody.
func TestShutdownStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := New(Config{}), newRecorder()
		p := Plan{MaxChecks: 1, RandStart: grain}
		for i := range 100 {
			p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), time.Hour, time.Minute))
		}
		if err := s.Replace(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Run(ctx)
		if n := len(r.runs()); n != 1 {
			t.Errorf("%d runs started, want 1", n)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		p := Plan{MaxProcs: 2, MaxChecks: 1, RandStart: grain}
		for i := range 6 {
			j := r.job(fmt.Sprintf("p%d", i), 10*time.Minute, 10*time.Second)
			j.Process = true
			p.Jobs = append(p.Jobs, j)
		}
		p.Jobs = append(p.Jobs, r.job("c0", 10*time.Minute, 15*time.Second), r.job("c1", 10*time.Minute, 15*time.Second))
		s := drive(t, Config{}, p)
		pass(12 * time.Second)
		st := s.Stats()
		if st.Procs != (Bounded{2, 2, 2}) || st.Checks != (Bounded{1, 1, 1}) {
			t.Errorf("after 12 s: procs %+v, checks %+v; want 2 running 2 waiting, 1 running 1 waiting", st.Procs, st.Checks)
		}
		if w, _ := s.Status("p5"); !w.Waiting || w.Running {
			t.Errorf("p5: %+v, want waiting", w)
		}
		pass(30 * time.Second)
		for key, want := range map[string]float64{"p0": 0, "p1": 0, "p2": 10, "p3": 10, "p4": 20, "p5": 20, "c0": 0, "c1": 15} {
			if got := r.of(key); !slices.Equal(got, seconds(want)) {
				t.Errorf("%s started at %v, want %vs", key, got, want)
			}
		}
		if st := s.Stats(); st.LateMax != 20*time.Second || st.LateSum != 75*time.Second {
			t.Errorf("late max %s, sum %s; want 20s, 75s", st.LateMax, st.LateSum)
		}
	})
}

// A job that waits is in line once, and nobody overtakes it.
func TestWaitingIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		p := Plan{MaxChecks: 1, RandStart: grain}
		for _, key := range []string{"a", "b", "c"} {
			p.Jobs = append(p.Jobs, r.job(key, time.Second, 700*ms))
		}
		drive(t, Config{}, p)
		pass(20 * time.Second)
		runs, since := r.runs(), map[string]int{}
		for i, key := range runs {
			for _, other := range p.Jobs {
				// One run before this job came due, one ahead of it in line.
				if since[other.Key]++; since[other.Key] > 5 {
					t.Fatalf("order %v: %s was overtaken at %d", runs, other.Key, i)
				}
			}
			since[key] = 0
		}
		if len(runs) < 28 {
			t.Errorf("%d runs of 700 ms in 20 s: the place was idle", len(runs))
		}
	})
}

func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported locked[[]string]
		c := Config{Panicked: func(key string, value any, stack []byte) {
			at := "elsewhere"
			if strings.Contains(string(stack), "schedule_test.go") {
				at = "here"
			}
			reported.with(func(r *[]string) { *r = append(*r, fmt.Sprint(key, ": ", value, " ", at)) })
		}}
		r := newRecorder()
		bad := func(string) func(time.Time) bool { return func(time.Time) bool { panic("asked") } }
		exits := Job{Key: "exits", Interval: time.Minute, Run: func(context.Context) { runtime.Goexit() }}
		panics := Job{Key: "panics", Interval: time.Minute, Run: func(context.Context) { panic("ran") }}
		asked := r.job("asked", time.Minute, 0)
		asked.ExcludePeriod, asked.Ready = bad("exclude"), bad("ready")
		s := drive(t, c, Plan{MaxChecks: 1, Jobs: []Job{exits, panics, asked, r.job("good", time.Minute, 0)}})
		pass(10 * time.Second)
		reports := reported.get()
		slices.Sort(reports)
		want := []string{"asked: asked here", "asked: asked here", "panics: ran here"}
		if diff := cmp.Diff(want, reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if len(r.of("asked")) != 1 || len(r.of("good")) != 1 {
			t.Error("the others did not run")
		}
		if st := s.Stats(); st.Panics != 3 || st.Checks.Running != 0 || st.Started != 4 {
			t.Errorf("stats %+v, want 3 panics, 4 started, none running", st)
		}
	})
}

// A process that was stopped finds all jobs overdue: each runs soon, and not all
// at the same time.
func TestNoStormAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jobs, interval = 1000, 10 * time.Second
		r := newRecorder()
		var stop atomic.Bool
		resumed := make(chan time.Duration, 1)
		stopper := r.job("stopper", interval, 0)
		stopper.Ready = func(time.Time) bool { // holds up the dispatcher, as SIGSTOP would
			if stop.CompareAndSwap(true, false) {
				<-time.After(time.Minute)
				resumed <- time.Since(r.begin)
			}
			return true
		}
		p := Plan{Jobs: []Job{stopper}}
		for i := range jobs {
			p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), interval, 0))
		}
		drive(t, Config{}, p)
		pass(15 * time.Second)
		stop.Store(true)
		at := <-resumed
		pass(interval)
		burst := 0
		for i := range jobs {
			after := 0
			for _, start := range r.of(fmt.Sprint(i)) {
				if start >= at {
					after++
				}
				if start >= at && start < at+50*ms {
					burst++
				}
			}
			if after < 1 || after > 2 {
				t.Errorf("job %d started %v: want it once or twice within 10 s after %s", i, r.of(fmt.Sprint(i)), at)
			}
		}
		if burst > jobs/20 {
			t.Errorf("%d of %d overdue jobs started within 50 ms", burst, jobs)
		}
	})
}
