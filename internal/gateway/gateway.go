// Package gateway asks the gateways of a director whether they are there, and sends
// its heartbeats by way of them.
//
// Whoever opens something here gives it the network namespace of the calling thread.
// Gateways and their devices may be missing for as long as they like: they are looked
// for twice a second, and what cannot be sent meanwhile is said to be lost.
package gateway

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// lookEvery is the pace at which the ways to gateways are looked for.
const lookEvery = 500 * time.Millisecond

// A lookout follows the way to one gateway.
type lookout struct {
	scout   *netif.Scout
	device  string // empty: the one that covers the gateway
	gateway netip.Addr
	found   func(netif.Way) error

	stop  context.CancelFunc
	ended chan struct{}

	mu  sync.Mutex // protects what follows
	way netif.Way  // the last that was found
	err error      // why the last look found none
}

// openLookout looks once, then calls found with each way it finds.
func openLookout(device string, gateway netip.Addr, found func(netif.Way) error) (*lookout, error) {
	scout, err := netif.OpenScout()
	if err != nil {
		return nil, err
	}
	if device == "" {
		device = gateway.Zone()
	}
	l := &lookout{scout: scout, device: device, gateway: gateway, found: found, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.look(ctx)
	go l.run(ctx)
	return l, nil
}

func (l *lookout) run(ctx context.Context) {
	defer close(l.ended)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look looks once. A MAC that was known is kept while the kernel knows none: the
// gateway that does not answer may still forward.
func (l *lookout) look(ctx context.Context) {
	way, err := l.scout.Look(ctx, l.device, l.gateway)
	if err == nil && way.MAC == nil {
		way.MAC = l.last().MAC
	}
	if err == nil {
		err = l.found(way)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err == nil {
		l.way = way
	}
}

func (l *lookout) last() netif.Way {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.way
}

// through is the device to send through now: as long as nothing better is known the
// last one, since what went wrong with a look need not be the device.
func (l *lookout) through() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(l.err, netif.ErrOwn): // It would always answer.
		return "", l.err
	case l.device != "":
		return l.device, nil
	case l.way.Device == "":
		return "", l.err
	}
	return l.way.Device, nil
}

func (l *lookout) problem() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *lookout) close() {
	l.stop()
	<-l.ended
	l.scout.Close()
}
