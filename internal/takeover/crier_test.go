package takeover

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A loudWire counts what is announced, by millisecond.
type loudWire struct {
	fakeWire
	began time.Time
	at    map[time.Duration]int
	of    map[netip.Addr]int
}

func (w *loudWire) Announce(a netip.Addr) error {
	w.at[time.Since(w.began).Truncate(time.Millisecond)]++
	w.of[a]++
	return nil
}

// Hundreds of addresses are announced at a pace, each once, and nothing of a group that
// is let go.
func TestAnnouncementsHaveAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &loudWire{began: time.Now(), at: map[time.Duration]int{}, of: map[netip.Addr]int{}}
		c := newCrier(func() time.Duration { return time.Hour + time.Since(w.began) })
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			c.run(ctx)
		}()
		group := func(third byte, count int) (all []cry) {
			for i := range count {
				all = append(all, cry{w, netip.AddrFrom4([4]byte{10, 0, third, byte(i)})})
			}
			return all
		}
		c.announce(0, group(0, 200))
		if len(w.of) != criesAtOnce {
			t.Errorf("%d were announced at once, want %d", len(w.of), criesAtOnce)
		}
		c.announce(0, group(0, 200)) // too soon: the first is not over
		c.announce(1, group(1, 100))
		c.announce(2, group(2, 200))
		time.Sleep(4 * time.Millisecond)
		synctest.Wait()
		c.hush(2)
		before := len(w.of)
		time.Sleep(time.Second)
		if len(w.of) != before {
			t.Errorf("%d addresses were announced after they were let go", len(w.of)-before)
		}
		for a, n := range w.of {
			if n != 1 {
				t.Errorf("%s was announced %d times", a, n)
			}
		}
		if before < 300 || before >= 500 {
			t.Errorf("announced: %d of 500, want those of the first two groups and some of the last", before)
		}
		for at, n := range w.at {
			if n > criesAtOnce {
				t.Errorf("%d in the millisecond after %s", n, at)
			}
		}
		c.announce(2, group(2, 3))
		if w.of[netip.AddrFrom4([4]byte{10, 0, 2, 2})] == 0 {
			t.Error("a group that was let go is not announced when it is held again")
		}
		stop()
		<-over
	})
}

// After a pause of the process another director may have what was being announced.
func TestAnnouncementsEndWithAPause(t *testing.T) {
	w := &loudWire{at: map[time.Duration]int{}, of: map[netip.Addr]int{}}
	now := time.Hour
	c := newCrier(func() time.Duration { return now })
	var all []cry
	for i := range 200 {
		all = append(all, cry{w, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	c.announce(0, all)
	now += 10 * time.Second
	if more := c.some(); more || len(w.of) != criesAtOnce {
		t.Errorf("%d addresses were announced, want the %d before the pause; there are more: %t", len(w.of), criesAtOnce, more)
	}
	for range 2 { // the second time nobody has had a look at what is left
		now += 10 * time.Second
		clear(w.of)
		c.announce(0, all)
		for c.some() {
			now += criesPause
		}
		if len(w.of) != 200 {
			t.Errorf("held again, %d addresses were announced, want 200", len(w.of))
		}
		c.announce(0, all)
	}
}
