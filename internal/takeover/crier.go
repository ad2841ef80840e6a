package takeover

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// criesAtOnce is how many addresses are announced at once, and then in each
	// criesPause: some two frames each. Switches and neighbours have room for a few
	// hundred frames (a kernel's own backlog has for a thousand), and who announces
	// hundreds of addresses in one go has the last of them dropped.
	criesAtOnce = 64
	criesPause  = time.Millisecond
	// criesLast is for how long announcements may wait for their turn, which comes within
	// a few milliseconds. After a pause of this process another director may have the
	// addresses: it is shorter than any lease.
	criesLast = 500 * time.Millisecond
)

// A crier announces addresses. The first go out at once, from the loop's own thread,
// which is preferred to the rest of the machine; the others follow at a pace.
type crier struct {
	clock func() time.Duration
	wake  chan struct{} // holds one token while something waits

	mu     sync.Mutex // protects what follows, and that nothing is announced after hush
	groups []int      // those with something to be announced, in turn
	due    map[int][]cry
	since  map[int]time.Duration // when they became due
	began  time.Duration         // of the pause that runs
	cried  int                   // in it
}

// A cry is an address to be announced.
type cry struct {
	wire    Wire
	address netip.Addr
}

func newCrier(clock func() time.Duration) *crier {
	return &crier{clock: clock, wake: make(chan struct{}, 1), due: map[int][]cry{}, since: map[int]time.Duration{}}
}

// announce announces all of a group's addresses. What is not over yet of the last time
// goes on in place of that.
func (c *crier) announce(group int, all []cry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if len(c.due[group]) > 0 && now-c.since[group] <= criesLast || len(all) == 0 {
		return
	}
	c.groups, c.due[group], c.since[group] = append(c.groups, group), all, now
	if !c.some() {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hush forgets what is due of a group: nothing of it is announced after that.
func (c *crier) hush(group int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.due, group)
}

// run announces what is left, until ctx ends.
func (c *crier) run(ctx context.Context) {
	pause := time.NewTimer(criesPause)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for more := true; more; {
			pause.Reset(criesPause)
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
			c.mu.Lock()
			more = c.some()
			c.mu.Unlock()
		}
	}
}

// some announces as many as may be now, and tells whether some are left. With mu held.
func (c *crier) some() bool {
	now := c.clock()
	if now-c.began >= criesPause {
		c.began, c.cried = now, 0
	}
	for len(c.groups) > 0 {
		group := c.groups[0]
		for len(c.due[group]) > 0 && now-c.since[group] <= criesLast {
			if c.cried == criesAtOnce {
				return true
			}
			c.cried++
			next := c.due[group][0]
			c.due[group] = c.due[group][1:]
			_ = next.wire.Announce(next.address) // it is repeated, and what counts is who is asked
		}
		delete(c.due, group)
		c.groups = c.groups[1:]
	}
	return false
}
