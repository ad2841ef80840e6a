package habench

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// A Metronome measures how long the machine stands still for everybody: a virtual one
// whose host has other things to do, a kernel that is busy with itself. It does nothing
// but sleep for a moment, with the priority of the daemons' own loops, and notes when it
// was woken late. No daemon could have done better meanwhile.
type Metronome struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex // protects stalls
	stalls []stall
}

type stall struct{ from, to time.Duration }

const (
	beat = 2 * time.Millisecond
	// stalled is from when on it counts.
	stalled = 10 * time.Millisecond
)

// Watch starts one. Without the privilege for a real-time priority it also counts what
// others' work delays.
func Watch(ctx context.Context) *Metronome {
	m := &Metronome{}
	ctx, m.cancel = context.WithCancel(ctx)
	m.running.Go(func() { m.beat(ctx) })
	return m
}

// Close ends it.
func (m *Metronome) Close() {
	m.cancel()
	m.running.Wait()
}

func (m *Metronome) beat(ctx context.Context) {
	runtime.LockOSThread() // And never unlocked: the thread ends, and its priority with it.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
	pause := unix.NsecToTimespec(int64(beat))
	for before := netif.Boottime(); ctx.Err() == nil; {
		_ = unix.Nanosleep(&pause, nil) // one that is interrupted is shorter
		now := netif.Boottime()
		if now-before >= stalled {
			m.mu.Lock()
			m.stalls = append(m.stalls, stall{before, now})
			m.mu.Unlock()
		}
		before = now
	}
}

// Stalled is how long the machine stood still from one time to another, in all.
func (m *Metronome) Stalled(from, to time.Duration) (total time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.stalls {
		total += max(0, min(s.to, to)-max(s.from, from))
	}
	return total
}
