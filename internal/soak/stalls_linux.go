package soak

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// stalls are the times in which this process was not run: the daemons were not either,
// or may have been not.
type stalls struct {
	mu  sync.Mutex // protects all
	all []stall
}

type stall struct{ from, to time.Duration }

// watch looks on every processor, every 5 ms, what the time is, until it is stopped.
func (s *stalls) watch() (stop func(), err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("processors of this process: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for cpu := range mostProcessors {
		if all.IsSet(cpu) {
			running.Go(func() { s.look(ctx, cpu) })
		}
	}
	return func() { cancel(); running.Wait() }, nil
}

// mostProcessors is what a unix.CPUSet has room for.
const mostProcessors = 1024

// preferred is the nice value of the daemons' threads.
const preferred = -15

// look has a thread stay on one processor: the daemons' loops cannot leave one that
// stands still either, as virtual ones do at times.
func (s *stalls) look(ctx context.Context, cpu int) {
	const pace, worth = 5 * time.Millisecond, 15 * time.Millisecond
	runtime.LockOSThread() // for good: the thread ends with this
	var one unix.CPUSet
	one.Set(cpu)
	_ = unix.SchedSetaffinity(0, &one)                                // it measures less without
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), preferred) // and more without this
	for last := netif.Boottime(); ctx.Err() == nil; {
		time.Sleep(pace)
		now := netif.Boottime()
		if now-last > worth {
			s.mu.Lock()
			s.all = append(s.all, stall{last + pace, now})
			s.mu.Unlock()
		}
		last = now
	}
}

// sum is what all of them in a time come to.
func (s *stalls) sum(from, to time.Duration) (all time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		all += max(0, min(one.to, to)-max(one.from, from))
	}
	return all
}

// longest is the longest one that was in a time.
func (s *stalls) longest(from, to time.Duration) (worst time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.from < to && one.to > from {
			worst = max(worst, one.to-one.from)
		}
	}
	return worst
}
