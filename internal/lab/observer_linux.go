package lab

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// askPace is how often the observer asks who has the address. Every machine hears it.
const askPace = 50 * time.Millisecond

// An observer asks on the common network, as any neighbour could, who has the address,
// and counts the questions that several directors answered.
type observer struct {
	wire    *netif.Wire
	cancel  context.CancelFunc
	running sync.WaitGroup
	names   map[string]string // machines by MAC
	counts  func(name string) bool
	told    func(at time.Duration, who string)

	mu   sync.Mutex // protects what follows
	both []time.Duration
	who  string // answered last
}

// observe begins. told is called when another machine answers than before.
func observe(ctx context.Context, s *space, address netip.Addr, names map[string]string, counts func(name string) bool, told func(time.Duration, string)) (*observer, error) {
	o := &observer{names: names, counts: counts, told: told}
	err := s.do(func() (err error) {
		o.wire, err = netif.OpenWire(ctx, "eth0")
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, o.cancel = context.WithCancel(ctx)
	o.running.Go(func() { o.ask(ctx, address) })
	o.running.Go(o.hear)
	return o, nil
}

func (o *observer) ask(ctx context.Context, address netip.Addr) {
	tick := time.NewTicker(askPace)
	defer tick.Stop()
	for id := uint64(1); ; id++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = o.wire.Ask(netif.Question{ID: id, Addresses: []netip.Addr{address}}) // the observer's own cable stays
	}
}

// hear takes in the answers. A kernel answers at once, so several to one question
// were given at one time.
func (o *observer) hear() {
	var id uint64
	answered := map[string]bool{}
	for s := range o.wire.Heard() {
		if s.Kind != netif.Answered || !s.Alone { // An announcement is no answer.
			continue
		}
		name := o.name(s.MAC)
		if s.ID != id {
			id = s.ID
			clear(answered)
			o.first(s.At, name)
		}
		if was := len(answered); o.counts(name) {
			answered[name] = true
			o.several(s.At, was == 1 && len(answered) == 2)
		}
	}
}

// first takes in who answered a question first, and tells if it is another than before.
func (o *observer) first(at time.Duration, name string) {
	o.mu.Lock()
	another := name != o.who
	o.who = name
	o.mu.Unlock()
	if another {
		o.told(at, name)
	}
}

func (o *observer) several(at time.Duration, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if yes {
		o.both = append(o.both, at)
	}
}

func (o *observer) name(mac net.HardwareAddr) string {
	if name, known := o.names[mac.String()]; known {
		return name
	}
	return mac.String()
}

// bothIn counts the questions of a time that several answered.
func (o *observer) bothIn(from, to time.Duration) (count int, first time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, at := range o.both {
		if at >= from && at < to {
			count++
			if first == 0 {
				first = at
			}
		}
	}
	return count, first
}

func (o *observer) close() error {
	o.cancel()
	err := o.wire.Close()
	o.running.Wait()
	return err
}
