package schedule

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A sample is an interval job for the property tests.
type sample struct{ interval, takes time.Duration }

var samples = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sample {
	s := sample{interval: time.Duration(rapid.IntRange(100, 4000).Draw(t, "interval ms")) * ms}
	if rapid.Bool().Draw(t, "slow") {
		// Half a millisecond off, so that no run ends in the instant of a slot.
		s.takes = time.Duration(rapid.IntRange(0, 9000).Draw(t, "takes ms"))*ms + ms/2
	}
	return s
}), 1, 12)

// expected is the dumb oracle: it goes through the slots one by one.
func (s sample) expected(first, end time.Duration) []time.Duration {
	var starts []time.Duration
	var busy time.Duration
	for slot := first; slot <= end; slot += s.interval {
		if slot >= busy {
			starts = append(starts, slot)
			busy = slot + s.takes
		}
	}
	return starts
}

func TestIntervalsAgainstOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jobs := samples.Draw(rt, "jobs")
		span := time.Duration(rapid.IntRange(1, 30_000).Draw(rt, "span ms"))*ms + ms/4
		var complaints []string
		synctest.Test(t, func(t *testing.T) {
			complaints = againstOracle(t, jobs, span)
		})
		for _, c := range complaints {
			rt.Error(c)
		}
	})
}

func againstOracle(t *testing.T, jobs []sample, span time.Duration) (complaints []string) {
	r := newRecorder()
	var p Plan
	for i, j := range jobs {
		p.Jobs = append(p.Jobs, r.job(fmt.Sprint(i), j.interval, j.takes))
	}
	s := New(Config{})
	if err := s.Replace(t.Context(), p); err != nil {
		return []string{err.Error()}
	}
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	s.Run(ctx)
	for i, j := range jobs {
		got := r.of(fmt.Sprint(i))
		first := span + 1
		if len(got) > 0 {
			first = got[0]
		} else if span > min(j.interval, DefaultSpread) {
			complaints = append(complaints, fmt.Sprintf("job %d %+v: no run in %s", i, j, span))
		}
		if first > min(j.interval, DefaultSpread) && len(got) > 0 {
			complaints = append(complaints, fmt.Sprintf("job %d %+v: first run at %s", i, j, first))
		}
		if want := j.expected(first, span); !slices.Equal(got, want) {
			complaints = append(complaints, fmt.Sprintf("job %d %+v started at %v, want %v", i, j, got, want))
		}
		if n, d := len(got), int(span/j.interval); j.takes == 0 && (n < d-1 || n > d+1) {
			complaints = append(complaints, fmt.Sprintf("job %d %+v ran %d times in %s, want %d±1", i, j, n, span, d))
		}
	}
	return append(complaints, r.twice...)
}

// An order is something that the engine may ask for at any time.
type order struct {
	kind, job int
	after     time.Duration
	value     int
}

var orders = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order {
	return order{
		kind:  rapid.IntRange(0, 3).Draw(t, "kind"),
		job:   rapid.IntRange(0, 12).Draw(t, "job"),
		after: time.Duration(rapid.IntRange(0, 1500).Draw(t, "after ms")) * ms,
		value: rapid.IntRange(0, 4000).Draw(t, "value"),
	}
}), 0, 40)

// Whatever is asked for: no job runs twice at once, no bound is exceeded, and
// the counters agree in the end.
func TestOrdersAtRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jobs, todo := samples.Draw(rt, "jobs"), orders.Draw(rt, "orders")
		limit := rapid.IntRange(0, 3).Draw(rt, "limit")
		var complaints []string
		synctest.Test(t, func(t *testing.T) {
			complaints = obey(t, jobs, todo, limit)
		})
		for _, c := range complaints {
			rt.Error(c)
		}
	})
}

func obey(t *testing.T, jobs []sample, todo []order, limit int) (complaints []string) {
	r := newRecorder()
	plan := Plan{MaxChecks: limit}
	for i, j := range jobs {
		job := r.job(fmt.Sprint(i), j.interval, j.takes)
		job.Deadline = 5 * time.Second
		if i%3 == 0 {
			job.Ready = func(now time.Time) bool { return now.Second()%3 != 0 }
		}
		plan.Jobs = append(plan.Jobs, job)
	}
	s := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	if err := s.Replace(ctx, plan); err != nil {
		return []string{err.Error()}
	}
	for _, o := range todo {
		pass(o.after)
		key := fmt.Sprint(o.job)
		switch o.kind {
		case 0:
			_ = s.RunNow(key)
		case 1:
			_ = s.SetInterval(key, time.Duration(o.value)*ms)
		case 2:
			s.Poke(key)
		case 3:
			some := plan
			some.Jobs = slices.Clone(plan.Jobs[:o.value%(len(plan.Jobs)+1)])
			if err := s.Replace(ctx, some); err != nil {
				complaints = append(complaints, err.Error())
			}
		}
		if st := s.Stats(); limit > 0 && st.Checks.Running > limit || st.Held < 0 || st.Held > st.Jobs {
			complaints = append(complaints, fmt.Sprintf("after %+v: %+v", o, st))
		}
	}
	if err := s.Replace(ctx, plan); err != nil {
		complaints = append(complaints, err.Error())
	}
	complaints = append(complaints, r.everyoneRuns(s, plan)...)
	if err := s.Replace(ctx, Plan{}); err != nil {
		complaints = append(complaints, err.Error())
	}
	if st := s.Stats(); st.Checks != (Bounded{}) || st.Held != 0 || st.Jobs != 0 || int(st.Started) != len(r.runs()) {
		complaints = append(complaints, fmt.Sprintf("with an empty plan: %+v, %d runs seen", st, len(r.runs())))
	}
	return append(complaints, r.twice...)
}

// everyoneRuns tells of jobs that have been forgotten: within two minutes each must
// start again.
func (r *recorder) everyoneRuns(s *Scheduler, plan Plan) (complaints []string) {
	before := map[string]int{}
	for _, j := range plan.Jobs {
		before[j.Key] = len(r.of(j.Key))
	}
	pass(2 * time.Minute)
	for _, j := range plan.Jobs {
		if len(r.of(j.Key)) == before[j.Key] {
			st, _ := s.Status(j.Key)
			complaints = append(complaints, fmt.Sprintf("job %s no longer runs: %+v", j.Key, st))
		}
	}
	return complaints
}
