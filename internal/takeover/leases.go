package takeover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/netif"
)

// hold has the kernel hold all addresses of a lane for one lease.
func (l *lane) hold(ctx context.Context, notAfter time.Duration) error {
	flock, alone := divide(l.addresses)
	failed := []error{holdFlock(ctx, flock, notAfter)}
	for _, a := range alone {
		if l.clock() > notAfter {
			failed = append(failed, netif.ErrLate)
			break
		}
		if _, err := a.Take(ctx, notAfter); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// divide tells addresses that are held together from those that are held each by itself.
func divide(all []Address) (flock []Leased, alone []Address) {
	for _, a := range all {
		if p, ok := a.(Leased); ok {
			flock = append(flock, p)
		} else {
			alone = append(alone, a)
		}
	}
	return flock, alone
}

func holdFlock(ctx context.Context, flock []Leased, notAfter time.Duration) error {
	if len(flock) == 0 {
		return nil
	}
	leases, err := wants(ctx, flock)
	if err != nil {
		return err
	}
	h, err := netif.HoldAll(ctx, leases, notAfter)
	for i, a := range flock {
		if err != nil {
			a.Laid(h.Began, "") // It may be the device that is gone.
		} else {
			a.Laid(h.Began, leases[i].Device)
		}
	}
	return err
}

// wants are the leases of addresses. Those that have no device now have an error: one
// of them stands for all.
func wants(ctx context.Context, flock []Leased) ([]netif.Lease, error) {
	leases := make([]netif.Lease, len(flock))
	var failed error
	look := census(ctx)
	for i, a := range flock {
		var err error
		leases[i], err = a.Want(ctx, look)
		if failed == nil || errors.Is(failed, netif.ErrMissing) && err != nil {
			failed = err // that there is none is the least of it
		}
	}
	return leases, failed
}

// census asks the kernel once, if at all.
func census(ctx context.Context) func() (*netif.Census, error) {
	var c *netif.Census
	return func() (_ *netif.Census, err error) {
		if c == nil {
			c, err = netif.TakeCensus(ctx)
		}
		return c, err
	}
}

// removeAll removes addresses from the kernel; without an error it has none of them.
func removeAll(ctx context.Context, all []Address) error {
	flock, alone := divide(all)
	var failed []error
	if len(flock) > 0 {
		failed = append(failed, removeFlock(ctx, flock))
	}
	for _, a := range alone {
		if err := a.Stop(ctx); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", a.Prefix().Addr(), err))
		}
	}
	return errors.Join(failed...)
}

func removeFlock(ctx context.Context, flock []Leased) error {
	leases, unknown := wants(ctx, flock)
	if errors.Is(unknown, netif.ErrMissing) {
		unknown = nil // No device has it, and none would get it.
	}
	// Also those are removed from where they are on a lease of which nobody knows where
	// they belong; and these keep no other from being removed.
	if err := errors.Join(unknown, netif.ReleaseAll(ctx, leases)); err != nil {
		return err
	}
	for _, a := range flock {
		a.Laid(0, "")
	}
	return nil
}

// find is what the kernel has of addresses, in their order.
func find(ctx context.Context, all []Address) ([]netif.Found, error) {
	found := make([]netif.Found, len(all))
	var flock []Leased
	var at []int
	for i, a := range all {
		if p, ok := a.(Leased); ok {
			flock, at = append(flock, p), append(at, i)
			continue
		}
		f, err := a.Found(ctx)
		if err != nil {
			return nil, err
		}
		found[i] = f
	}
	if len(flock) == 0 {
		return found, nil
	}
	leases, err := wants(ctx, flock)
	if err != nil && !errors.Is(err, netif.ErrMissing) {
		return nil, err
	}
	together, err := netif.FindAll(ctx, leases)
	for i, f := range together {
		found[at[i]] = f
	}
	return found, err
}

// left is what an earlier process left of each of some groups, by one look at the kernel
// for all of them.
func left(ctx context.Context, groups []Group) []director.Found {
	var all []Address
	for _, g := range groups {
		all = append(all, g.Addresses...)
	}
	found, err := find(ctx, all)
	results := make([]director.Found, len(groups))
	for i, g := range groups {
		if err != nil && len(g.Addresses) > 0 {
			// Nothing is known: to remove it is right in any case.
			results[i] = director.Found{Group: g.Name, Held: true}
			continue
		}
		results[i] = foundOf(g.Name, found[:len(g.Addresses)])
		found = found[len(g.Addresses):]
	}
	return results
}

// foundOf is what there is of one group: held if all of its addresses are there, with
// what is left of the shortest lease. Some of them, or one that is there for good, are
// held with nothing left, which has them removed.
func foundOf(group string, all []netif.Found) director.Found {
	result := director.Found{Group: group}
	for i, f := range all {
		left := f.Left
		if !f.Held || f.Permanent || f.Unusable {
			left = 0
		}
		if i == 0 {
			result.Left = left
		}
		result.Held = result.Held || f.Held
		result.Left = min(result.Left, left)
	}
	return result
}
