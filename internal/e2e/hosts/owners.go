//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// Owners knows at every instant which of some hosts have a virtual address on a
// network: from the kernels' own messages, which come through one socket in the order
// of what happened.
type Owners struct {
	network *Network
	feed    *netif.Feed
	numbers map[int]*Host // by their namespaces' numbers at the switch
	wanted  map[netip.Addr]bool
	running sync.WaitGroup
	close   func()

	mu      sync.Mutex // protects what follows
	has     map[owning]bool
	history []string
	wrong   []error
}

// An owning is an address on a device.
type owning struct {
	host    *Host
	address netip.Addr
	device  int
}

// loopback is the number of lo: an address there is a real server's.
const loopback = 1

// WatchOwners begins to watch addresses that none of the hosts has yet. That several
// of them had one at the same instant fails the test at its end, or earlier; see
// [Owners.End].
func (n *Network) WatchOwners(addresses []string, among ...*Host) *Owners {
	n.t.Helper()
	o := &Owners{network: n, numbers: map[int]*Host{}, wanted: map[netip.Addr]bool{}, has: map[owning]bool{}}
	for _, a := range addresses {
		o.wanted[netip.MustParseAddr(a)] = true
	}
	err := n.cables.do(func() (err error) {
		for _, h := range among {
			number, err := netif.NumberNamespace(context.Background(), int(h.inside.handle))
			if err != nil {
				return err
			}
			o.numbers[number] = h
		}
		o.feed, err = netif.OpenFeed()
		return err
	})
	if err != nil {
		n.t.Fatalf("watch the owners of %v: %v", addresses, err)
	}
	o.close = sync.OnceFunc(func() {
		_ = o.feed.Close()
		o.running.Wait()
	})
	o.running.Go(o.hear)
	n.t.Cleanup(o.End)
	return o
}

// hear takes in the messages until the feed is closed.
func (o *Owners) hear() {
	for {
		events, err := o.feed.Next()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		o.mu.Lock()
		for _, e := range events {
			if e.Lost {
				err = errors.New("messages of the kernels were lost")
			}
			o.take(e)
		}
		if err != nil {
			o.wrong = append(o.wrong, err)
		}
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take is called with mu.
func (o *Owners) take(e netif.AddressEvent) {
	host, known := o.numbers[e.Namespace]
	if !known || !o.wanted[e.Address] || e.Index == loopback {
		return
	}
	this := owning{host, e.Address, e.Index}
	if o.has[this] == !e.Gone {
		return // a lease was renewed
	}
	if e.Gone {
		delete(o.has, this)
	} else {
		o.has[this] = true
	}
	now := o.of(e.Address)
	o.history = append(o.history, fmt.Sprintf("%8.3f s %s: %s", e.At.Seconds(), e.Address, strings.Join(now, " and ")))
	if len(now) > 1 {
		o.wrong = append(o.wrong, fmt.Errorf("%s was had by %s at once", e.Address, strings.Join(now, " and ")))
	}
}

// of is called with mu.
func (o *Owners) of(address netip.Addr) (names []string) {
	for this := range o.has {
		if this.address == address {
			names = append(names, this.host.Name)
		}
	}
	return names
}

// Await waits until this host alone has the address.
func (o *Owners) Await(address string, host *Host, limit time.Duration) {
	o.network.t.Helper()
	Eventually(o.network.t, limit, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if now := o.of(netip.MustParseAddr(address)); len(now) != 1 || now[0] != host.Name {
			return fmt.Errorf("%s is had by %q, want %s", address, now, host.Name)
		}
		return nil
	})
}

// End ends the watching, and fails the test if an address had several owners, or if
// that is not known. It may be called more than once.
func (o *Owners) End() {
	o.network.t.Helper()
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, err := range o.wrong {
		o.network.t.Error(err)
	}
	o.wrong = nil
	if o.network.t.Failed() {
		o.network.t.Logf("owners:\n%s", strings.Join(o.history, "\n"))
	}
}
