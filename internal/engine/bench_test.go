package engine

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
)

// BenchmarkTenThousandWatches runs 10,000 watches of one host at one second, for
// the length of the benchmark's iterations in seconds, and reports the share of
// one core that the engine, the scheduler and the machine take together. The
// monitors cost nothing.
func BenchmarkTenThousandWatches(b *testing.B) {
	var watches []config.Watch
	for i := range 10_000 {
		m := &fakeMonitor{check: down()}
		m.runs = make([]time.Time, 0, 64)
		watches = append(watches, testWatch(fmt.Sprintf("g%d", i), m, &outboxtest.Recorder{}, "h"))
	}
	e, err := Resume(&config.Site{Watches: watches, Global: config.Global{RandStart: time.Second}}, quiet(), Memory{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx, time.Second) })
	time.Sleep(2 * time.Second) // the first runs are spread over a second
	before, began := cpu(b), time.Now()
	started := e.scheduler.Stats().Started
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * time.Second)
	b.StopTimer()
	wall := time.Since(began)
	b.ReportMetric(100*float64(cpu(b)-before)/float64(wall), "%core")
	b.ReportMetric(float64(e.scheduler.Stats().Started-started)/wall.Seconds(), "runs/s")
	cancel()
	running.Wait()
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
