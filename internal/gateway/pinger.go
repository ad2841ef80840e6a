package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/icmp"
	"github.com/monitord/monitord/internal/netif"
)

// Settings say which gateways to ping.
type Settings struct {
	Gateways []netip.Addr
	// Device is the one that pings go through, whatever the routes say; empty: for
	// each gateway the one whose network it is on. A ping never goes elsewhere: with a
	// second network it could be answered although the first one is cut.
	Device string
	// Source is the address to ping from, for gateways of its kind. It may be
	// configured later. The zero Addr: the system chooses among the device's.
	Source netip.Addr
}

// An Answer says that a gateway answered.
type Answer struct {
	Gateway netip.Addr    // as it stands in the settings
	Sent    time.Duration // as it was given to Ping
	At      time.Duration // when it was read, by [netif.Boottime]
}

const (
	// answers is how many wait for a reader; the oldest go first.
	answers = 256
	// outstanding is how many pings of a gateway may still be answered: some seconds
	// of fast ones.
	outstanding = 256
)

// A Pinger pings gateways. Its methods may be called by any goroutine and wait for
// nobody, but for Close.
type Pinger struct {
	targets map[netip.Addr]*target
	out     chan Answer
	readers sync.WaitGroup

	mu     sync.Mutex // protects the targets' pings, and the order of out
	closed bool
}

// A target is one gateway.
type target struct {
	gateway netip.Addr
	pinger  *icmp.Pinger
	lookout *lookout

	next int
	// sent are the last pings, at their numbers' places, until they are answered.
	sent [outstanding]struct {
		number int
		waits  bool
		at     time.Duration
	}
}

// Open opens a socket for each gateway. The devices and gateways may appear later.
// The error is [icmp.ErrPermission] or what contradicts itself in the settings.
func Open(s Settings) (*Pinger, error) {
	p := &Pinger{targets: map[netip.Addr]*target{}, out: make(chan Answer, answers)}
	for _, gateway := range s.Gateways {
		if p.targets[gateway] != nil {
			continue
		}
		t, err := s.open(gateway)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gateway %s: %w", gateway, err), p.Close())
		}
		p.targets[gateway] = t
		p.readers.Go(func() { p.read(t) })
	}
	return p, nil
}

func (s Settings) open(gateway netip.Addr) (*target, error) {
	if !gateway.IsValid() || gateway.IsUnspecified() || gateway.IsMulticast() {
		return nil, errors.New("not an address of a machine")
	}
	source := s.Source
	if source.Unmap().Is4() != gateway.Unmap().Is4() {
		source = netip.Addr{}
	}
	pinger, err := icmp.OpenPinger(gateway, source)
	if err != nil {
		return nil, err
	}
	l, err := openLookout(s.Device, gateway, func(netif.Way) error { return nil })
	if err != nil {
		return nil, errors.Join(err, pinger.Close())
	}
	return &target{gateway: gateway, pinger: pinger, lookout: l}, nil
}

// Ping sends one echo request; its answer brings sent back. It does not wait. An
// error says that it was not sent, and there is nothing to wait for: the next Ping
// tries again, whatever was wrong.
func (p *Pinger) Ping(gateway netip.Addr, sent time.Duration) error {
	t := p.targets[gateway]
	if t == nil {
		return fmt.Errorf("ping %s: not a gateway", gateway)
	}
	device, err := t.lookout.through()
	if err != nil {
		return fmt.Errorf("ping %s: %w", gateway, err)
	}
	p.mu.Lock()
	number := t.next
	t.next++
	ping := &t.sent[number%outstanding]
	ping.number, ping.waits, ping.at = number, true, sent // before it can be answered
	p.mu.Unlock()
	return t.pinger.Ping(device, number)
}

// Answers brings what was answered: each ping once. Of more than 256 that nobody takes
// the oldest are dropped. It is closed by Close.
func (p *Pinger) Answers() <-chan Answer { return p.out }

// Problems are, by gateway, why it cannot be pinged now; for people.
func (p *Pinger) Problems() map[netip.Addr]error {
	found := map[netip.Addr]error{}
	for gateway, t := range p.targets {
		if err := t.lookout.problem(); err != nil {
			found[gateway] = err
		}
	}
	return found
}

// Flush forgets all pings that were sent so far: answers to them, also those that wait
// in the sockets, are not heard any more.
func (p *Pinger) Flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.targets {
		for i := range t.sent {
			t.sent[i].waits = false
		}
	}
	for {
		select {
		case _, open := <-p.out:
			if !open {
				return
			}
		default:
			return
		}
	}
}

// read hears one gateway until its socket is closed.
func (p *Pinger) read(t *target) {
	for {
		number, err := t.pinger.Answered()
		switch {
		case err == nil:
			p.answered(t, number)
		case errors.Is(err, os.ErrClosed):
			return
		default: // The device went away, or the kernel is out of memory.
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (p *Pinger) answered(t *target, number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ping := &t.sent[number%outstanding]
	if !ping.waits || ping.number != number {
		return // answered already, flushed, too old, or never sent
	}
	ping.waits = false
	a := Answer{t.gateway, ping.at, netif.Boottime()}
	select {
	case p.out <- a:
		return
	default:
	}
	select {
	case <-p.out: // the oldest
	default:
	}
	p.out <- a // Only this method sends, one at a time: there is room.
}

// Close ends everything, waits for it, and closes Answers. It may be called again.
func (p *Pinger) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	var err error
	for _, t := range p.targets {
		t.lookout.close()
		err = errors.Join(err, t.pinger.Close())
	}
	p.readers.Wait()
	close(p.out)
	return err
}
