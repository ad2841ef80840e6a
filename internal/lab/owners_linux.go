package lab

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// samplePace is how often the kernels are asked.
const samplePace = 5 * time.Millisecond

// loopback is the number of lo in every namespace. An address there is a real
// server's, who must not answer for it.
const loopback = 1

// A set of directors: one bit each, in their order.
type set uint32

func (s set) has(director int) bool { return s&(1<<director) != 0 }
func (s set) several() bool         { return bits.OnesCount32(uint32(s)) > 1 }

// owners knows which directors' kernels have the address. It has two sources: the
// kernels' messages, which come through one socket in the order of what happened; and
// the kernels themselves, who are asked every few milliseconds.
type owners struct {
	address netip.Addr
	numbers map[int]int // directors by their namespaces' numbers at the switch
	feed    *netif.Feed
	gauges  []*netif.Gauge
	changed func(at time.Duration, now set) // called after a change, outside of mu
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex     // protects what follows
	devices []map[int]bool // of each director: those with the address
	history []holding
	dual    []span // as sampled
	err     error  // why it does not watch any more
	news    chan struct{}
}

// A holding is who has the address from a moment on.
type holding struct {
	at  time.Duration
	who set
}

// A span is a part of time.
type span struct{ from, to time.Duration }

// within is how long a span was in a time.
func (s span) within(from, to time.Duration) time.Duration {
	return max(0, min(s.to, to)-max(s.from, from))
}

// watchOwners begins to watch, from the switch, where the directors'
// namespaces have numbers.
func watchOwners(ctx context.Context, f *fabric, directors []*space, address netip.Addr, changed func(time.Duration, set)) (*owners, error) {
	o := &owners{address: address, numbers: map[int]int{}, changed: changed, news: make(chan struct{})}
	err := f.space.do(func() (err error) {
		for i, d := range directors {
			number, err := netif.NumberNamespace(ctx, int(d.net.Fd()))
			if err != nil {
				return err
			}
			o.numbers[number] = i
		}
		o.feed, err = netif.OpenFeed()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, d := range directors {
		err = errors.Join(err, d.do(func() error {
			g, err := netif.OpenGauge()
			if err == nil {
				o.gauges = append(o.gauges, g)
			}
			return err
		}))
		o.devices = append(o.devices, map[int]bool{})
	}
	if err != nil {
		return nil, errors.Join(err, o.closeSockets())
	}
	ctx, o.cancel = context.WithCancel(ctx)
	o.running.Go(func() { o.fail(o.hear()) })
	o.running.Go(func() { o.fail(o.sample(ctx)) })
	return o, nil
}

func (o *owners) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = errors.Join(o.err, err)
}

// hear takes in the kernels' messages until the feed is closed.
func (o *owners) hear() error {
	for {
		events, err := o.feed.Next()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Lost {
				return errors.New("messages of the directors' kernels were lost")
			}
			o.take(e)
		}
	}
}

func (o *owners) take(e netif.AddressEvent) {
	director, known := o.numbers[e.Namespace]
	if !known || e.Address != o.address || e.Index == loopback {
		return
	}
	o.mu.Lock()
	if e.Gone {
		delete(o.devices[director], e.Index)
	} else {
		o.devices[director][e.Index] = true
	}
	var now set
	for i, d := range o.devices {
		if len(d) > 0 {
			now |= 1 << i
		}
	}
	changed := now != o.last()
	if changed {
		o.history = append(o.history, holding{e.At, now})
		close(o.news)
		o.news = make(chan struct{})
	}
	o.mu.Unlock()
	if changed {
		o.changed(e.At, now)
	}
}

// last is called with mu.
func (o *owners) last() set {
	if len(o.history) == 0 {
		return 0
	}
	return o.history[len(o.history)-1].who
}

// sample asks the kernels until the end of ctx.
func (o *owners) sample(ctx context.Context) error {
	tick := time.NewTicker(samplePace)
	defer tick.Stop()
	before := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, several, err := o.several(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if several {
			if before {
				now.from = o.dual[len(o.dual)-1].to // and since the last time
			}
			o.mu.Lock()
			o.dual = append(o.dual, now)
			o.mu.Unlock()
		}
		before = several
	}
}

// several reports when several kernels certainly had the address at one instant: one
// after another is asked, and those who have it once more. Who has it both times had
// it in between.
func (o *owners) several(ctx context.Context) (when span, yes bool, err error) {
	first, err := o.ask(ctx, ^set(0))
	if err != nil || !first.several() {
		return span{}, false, err
	}
	when.from = netif.Boottime()
	when.to = when.from + 1
	again, err := o.ask(ctx, first)
	return when, (first & again).several(), err
}

func (o *owners) ask(ctx context.Context, whom set) (set, error) {
	var have set
	for i, g := range o.gauges {
		if !whom.has(i) {
			continue
		}
		devices, err := g.On(ctx, o.address)
		if err != nil {
			return 0, err
		}
		for _, d := range devices {
			if d != loopback {
				have |= 1 << i
			}
		}
	}
	return have, nil
}

// now returns who has the address, and a channel that is closed when that changes.
func (o *owners) now() (who set, news <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last(), o.news, o.err
}

// at is who had the address at a time.
func (o *owners) at(when time.Duration) (who set) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.history {
		if h.at <= when {
			who = h.who
		}
	}
	return who
}

// dualIn sums the time in which several had it.
func (o *owners) dualIn(from, to time.Duration) (d Dual) {
	o.mu.Lock()
	defer o.mu.Unlock()
	add := func(s span, sum *time.Duration) {
		if s.within(from, to) == 0 {
			return
		}
		*sum += s.within(from, to)
		if d.At == 0 || s.from < d.At {
			d.At = max(s.from, from)
		}
	}
	for i, h := range o.history {
		end := to
		if i+1 < len(o.history) {
			end = o.history[i+1].at
		}
		if h.who.several() {
			// Even if it was for less than the clock shows.
			add(span{h.at, max(end, h.at+1)}, &d.Kernels)
		}
	}
	for _, s := range o.dual {
		add(s, &d.Sampled)
	}
	return d
}

func (o *owners) closeSockets() error {
	err := o.feed.Close()
	for _, g := range o.gauges {
		err = errors.Join(err, g.Close())
	}
	return err
}

// close returns what went wrong with the watching: then its figures are worth nothing.
func (o *owners) close() error {
	o.cancel()
	err := o.feed.Close()
	o.running.Wait()
	for _, g := range o.gauges {
		err = errors.Join(err, g.Close())
	}
	if o.err != nil {
		err = errors.Join(err, fmt.Errorf("watching the owners of %s: %w", o.address, o.err))
	}
	return err
}
