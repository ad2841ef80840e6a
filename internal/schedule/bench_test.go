package schedule

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// BenchmarkDispatch10000 is the cost of one run that does nothing, among 10,000
// jobs, without the waiting: the clock is pushed on by hand from one due time to
// the next.
func BenchmarkDispatch10000(b *testing.B) {
	var ran atomic.Int64
	s := New(Config{})
	if err := s.Replace(b.Context(), planOf(10_000, &ran)); err != nil {
		b.Fatal(err)
	}
	s.root = b.Context()
	wall := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	for ran.Load() < int64(b.N) {
		s.mu.Lock()
		s.collect(s.queue.first().due, wall)
		s.mu.Unlock()
		s.running.Wait()
	}
}

// planOf has jobs that count their runs, one a second.
func planOf(jobs int, ran *atomic.Int64) Plan {
	p := Plan{RandStart: time.Second, MaxChecks: 1000}
	for i := range jobs {
		p.Jobs = append(p.Jobs, Job{
			Key:      fmt.Sprintf("group%d/service", i),
			Interval: time.Second,
			Deadline: 10 * time.Second,
			Run:      func(context.Context) { ran.Add(1) },
		})
	}
	return p
}

// BenchmarkShare10000 prints the share of one core that 10,000 jobs at 1 s take
// for themselves, over real seconds, and what robfig/cron's own loop takes for
// the same entries right afterwards. It asserts nothing.
func BenchmarkShare10000(b *testing.B) {
	const jobs, seconds = 10_000, 4
	for b.Loop() {
		ours, runs := shareOfScheduler(b, jobs, seconds*time.Second)
		b.ReportMetric(ours, "%core")
		b.ReportMetric(float64(runs)/seconds, "runs/s")
		theirs, cronRuns := shareOfCron(jobs, seconds*time.Second)
		b.ReportMetric(theirs, "%core-robfig")
		b.ReportMetric(float64(cronRuns)/seconds, "runs/s-robfig")
		b.ReportMetric(theirs/ours, "ratio")
	}
}

func shareOfScheduler(b *testing.B, jobs int, span time.Duration) (percent float64, runs int64) {
	var ran atomic.Int64
	s := New(Config{})
	if err := s.Replace(b.Context(), planOf(jobs, &ran)); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	percent = cpuShare(span)
	cancel()
	<-ended
	st := s.Stats()
	b.ReportMetric(float64(st.LateMax.Microseconds())/1000, "ms-late-max")
	b.ReportMetric(float64(st.LateSum.Microseconds())/float64(st.Started), "µs-late-mean")
	return percent, ran.Load()
}

// staggered is what a user of robfig/cron would do to spread its entries.
type staggered struct{ phase time.Duration }

func (p staggered) Next(t time.Time) time.Time {
	return t.Add(-p.phase).Truncate(time.Second).Add(time.Second + p.phase)
}

func shareOfCron(jobs int, span time.Duration) (percent float64, runs int64) {
	var ran atomic.Int64
	c := cron.New()
	for i := range jobs {
		phase := time.Duration(i) * time.Second / time.Duration(jobs)
		c.Schedule(staggered{phase}, cron.FuncJob(func() { ran.Add(1) }))
	}
	c.Start()
	percent = cpuShare(span)
	<-c.Stop().Done()
	return percent, ran.Load()
}

// cpuShare measures the process for a while.
func cpuShare(span time.Duration) float64 {
	before, start := cpuTime(), time.Now()
	<-time.After(span)
	return 100 * float64(cpuTime()-before) / float64(time.Since(start))
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
