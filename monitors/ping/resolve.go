package ping

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/dial"
)

// maxLookups is how many names are looked up at once.
const maxLookups = 32

// A target is what came of a host's entry: an address, or the reason why there
// is none.
type target struct {
	addr   netip.Addr
	reason string
	took   time.Duration // the lookup; 0 for an address
}

// resolve finds the address of each host. It may use half of the time until ctx
// ends: names that nobody answers for must not keep the others from being pinged.
func (m *monitor) resolve(ctx context.Context, hosts []string) []target {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	targets := make([]target, len(hosts))
	slots := make(chan struct{}, maxLookups)
	var running sync.WaitGroup
	for i, host := range hosts {
		entry, err := dial.ParseTarget(host, anyPort)
		switch {
		case err != nil:
			targets[i].reason = err.Error()
			continue
		case entry.Addr.IsValid():
			targets[i] = m.usable(entry.Addr)
			continue
		}
		slots <- struct{}{} // Lookups end with ctx.
		running.Go(func() {
			defer func() { <-slots }()
			targets[i] = m.find(ctx, entry.Name)
		})
	}
	running.Wait()
	return targets
}

// anyPort stands for the port that an entry need not have.
const anyPort = 1

// usable refuses addresses that no single host has, and those of another family.
func (m *monitor) usable(a netip.Addr) target {
	switch {
	case !m.ofFamily(a):
		return target{reason: fmt.Sprintf("%s is not an IPv%s address", a, m.family)}
	case a.IsUnspecified() || a.IsMulticast():
		return target{reason: fmt.Sprintf("%s is not a host's address", a)}
	}
	return target{addr: a}
}

func (m *monitor) ofFamily(a netip.Addr) bool {
	return m.family == "any" || a.Is4() == (m.family == "4")
}

// find looks a name up.
func (m *monitor) find(ctx context.Context, name string) target {
	start := time.Now()
	found, err := m.lookup(ctx, "ip", name)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return target{reason: "not tested before the run's deadline"}
	case err != nil:
		return target{reason: strings.Join(strings.Fields(err.Error()), " ")}
	}
	t := m.choose(name, found)
	t.took = time.Since(start)
	return t
}

// choose takes the first address of a name that may be pinged.
func (m *monitor) choose(name string, found []netip.Addr) target {
	for _, a := range found {
		if a = a.Unmap(); m.ofFamily(a) {
			return m.usable(a)
		}
	}
	if m.family == "any" {
		return target{reason: name + " has no address"}
	}
	return target{reason: fmt.Sprintf("%s has no IPv%s address", name, m.family)}
}
