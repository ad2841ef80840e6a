package takeover

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/netif"
)

// kernelPatience bounds one call to the kernel about an address. It answers within a
// millisecond, unless somebody holds its lock for network configuration.
const kernelPatience = 2 * time.Second

// A lane does what concerns a group's addresses, one thing after the other, so that
// the loop never waits for the kernel. A Drop overtakes what waits.
type lane struct {
	group     string
	addresses []Address
	clock     func() time.Duration
	say       func(director.What)
	wake      chan struct{}

	mu      sync.Mutex // protects what follows
	waiting []laneJob
	ending  bool
}

type laneJob struct {
	kind     laneKind
	notAfter time.Duration
}

type laneKind int

const (
	take laneKind = iota
	renew
	drop
	look // whether an address is still there
)

func newLane(g Group, clock func() time.Duration, say func(director.What)) *lane {
	return &lane{group: g.Name, addresses: g.Addresses, clock: clock, say: say, wake: make(chan struct{}, 1)}
}

func (l *lane) take(notAfter director.Instant)  { l.put(laneJob{take, time.Duration(notAfter)}) }
func (l *lane) renew(notAfter director.Instant) { l.put(laneJob{renew, time.Duration(notAfter)}) }

// look has somebody find out whether the addresses went without a Drop; once for all that
// go before somebody looks.
func (l *lane) look() {
	l.mu.Lock()
	waits := slices.ContainsFunc(l.waiting, func(j laneJob) bool { return j.kind == look })
	l.mu.Unlock()
	if !waits {
		l.put(laneJob{kind: look})
	}
}

// drop answers what waits, which is not done any more, before itself.
func (l *lane) drop() {
	l.mu.Lock()
	for _, j := range l.waiting { // under the lock: run must not be done before they are answered
		switch j.kind {
		case take, renew:
			l.say(director.LeaseSet{Group: l.group, Began: director.Instant(l.clock()), Detail: "dropped before"})
		case drop:
			l.say(director.Dropped{Group: l.group, Detail: "dropped again"})
		case look:
		}
	}
	l.waiting = append(l.waiting[:0], laneJob{kind: drop})
	l.mu.Unlock()
	l.poke()
}

func (l *lane) put(j laneJob) {
	l.mu.Lock()
	l.waiting = append(l.waiting, j)
	l.mu.Unlock()
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end lets run return when nothing waits any more.
func (l *lane) end() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.poke()
}

// run works until end.
func (l *lane) run(ctx context.Context) {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			ending := l.ending
			l.mu.Unlock()
			if ending {
				return
			}
			<-l.wake
			continue
		}
		j := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		l.do(ctx, j)
	}
}

func (l *lane) do(ctx context.Context, j laneJob) {
	ctx, cancel := context.WithTimeout(ctx, kernelPatience)
	defer cancel()
	switch j.kind {
	case take:
		l.say(l.set(ctx, j.notAfter, true))
	case renew:
		l.say(l.set(ctx, j.notAfter, false))
	case drop:
		err := removeAll(ctx, l.addresses)
		l.say(director.Dropped{Group: l.group, OK: err == nil, Detail: text(err)})
	case look:
		if gone, left := l.gone(ctx); gone {
			l.say(director.LeaseGone{Group: l.group, Left: left})
		}
	}
}

// set takes or renews every address. Taking is all or nothing; of a renewal that
// fails for one the others keep what they got.
func (l *lane) set(ctx context.Context, notAfter time.Duration, first bool) director.LeaseSet {
	result := director.LeaseSet{Group: l.group, Began: director.Instant(l.clock()), OK: true}
	err := l.hold(ctx, notAfter)
	if err == nil {
		return result
	}
	if first || errors.Is(err, netif.ErrLate) {
		err = errors.Join(err, l.takeBack(ctx))
	}
	result.OK, result.Detail = false, text(err)
	return result
}

// takeBack removes every address, also when the time for taking them is over.
func (l *lane) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), kernelPatience)
	defer cancel()
	return removeAll(ctx, l.addresses)
}

// gone tells whether an address is certainly not there, and whether another one is.
func (l *lane) gone(ctx context.Context) (gone, left bool) {
	all, err := find(ctx, l.addresses)
	if err != nil {
		return false, true
	}
	for _, f := range all {
		gone, left = gone || !f.Held, left || f.Held
	}
	return gone, left
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
