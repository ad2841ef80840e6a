package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Boottime is CLOCK_BOOTTIME: it goes on while the machine is suspended, and nobody
// sets it.
func Boottime() time.Duration {
	var now unix.Timespec
	// It fails for clocks that do not exist; this one is as old as Linux 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano())
}

// Hold puts an address on a device, or renews it there, for a lifetime after which
// the kernel removes it by itself. IPv6 addresses are in use at once, and never the
// source of a new connection. No route comes with the address.
//
// A call that would begin after NotAfter does nothing. One that ends after it, as
// after a freeze in its midst, may have put back an address that was gone already:
// it removes the address before it returns. Both are [ErrLate]; that the removal
// failed is said by the same error.
func Hold(ctx context.Context, device string, p netip.Prefix, o HoldOptions) (Held, error) {
	return HoldAll(ctx, []Lease{{Device: device, Prefix: p, Label: o.Label, Lifetime: o.Lifetime}}, o.NotAfter)
}

// Release removes an address from a device, whatever the length of its network, and
// from any other that has it on a lease; that it is not there, or that the device is
// not, is no error. Without an error the device certainly does not have it.
func Release(ctx context.Context, device string, addr netip.Addr) error {
	addr = addr.Unmap()
	return ReleaseAll(ctx, []Lease{{Device: device, Prefix: netip.PrefixFrom(addr, addr.BitLen())}})
}

// Find looks for an address on a device, as a process does that was started inside
// the lease of the one before it. A device that is missing has none.
func Find(ctx context.Context, device string, addr netip.Addr) (Found, error) {
	addr = addr.Unmap()
	found, err := FindAll(ctx, []Lease{{Device: device, Prefix: netip.PrefixFrom(addr, addr.BitLen())}})
	if err != nil {
		return Found{}, err
	}
	return found[0], nil
}

// lifetimes tells for how long the kernel keeps an address, and whether it has it. The
// kernel says that in whole seconds, but also when the lifetime was set
// (ifa_cacheinfo's tstamp, in hundredths of a second of its tick counter), and times(2)
// reads that counter.
func lifetimes(ctx context.Context) (func(Address) (time.Duration, bool), error) {
	var unused unix.Tms
	before, err := unix.Times(&unused)
	if err != nil {
		return nil, fmt.Errorf("times(2): %w", err)
	}
	asked := Boottime()
	all, err := cacheInfos(ctx)
	if err != nil {
		return nil, err
	}
	// The counter is read before, so that a second that ends in between is counted
	// twice and not left out.
	took := Boottime() - asked
	return func(a Address) (time.Duration, bool) {
		info, ok := all[where{a.Index, a.Prefix}]
		return max(0, remaining(uint64(before), info.Tstamp, info.Valid)-took), ok
	}, nil
}

// remaining reads the kernel's figures: times(2) counts from INITIAL_JIFFIES, five
// minutes before 32 bits of ticks overflow, and tstamp (put_cacheinfo) from 0. What
// lies between depends on the kernel's HZ, which no one tells; of those there are
// only one gives a time that fits. If none does, the second that is certain is less
// than the one the kernel says.
func remaining(ticks uint64, tstamp, seconds uint32) time.Duration {
	const (
		hundredth = 10 * time.Millisecond
		// A fiftieth of a second before its time the kernel may remove an address
		// (ADDRCONF_TIMER_FUZZ_MINUS), by a counter that is up to 10 ms ahead.
		early = 30 * time.Millisecond
	)
	for _, hz := range []uint64{1000, 250, 300, 100, 24, 32, 48, 64, 128, 256, 512, 1024, 1200} {
		initial := (uint64(1)<<32 - 300*hz) * 100 / hz
		since := int32(uint32(ticks-initial) - tstamp) //nolint:gosec // both wrap, as the kernel's 32 bits do
		if since < -2 || since >= 100*3600*24 {
			continue
		}
		elapsed := max(0, time.Duration(since)*hundredth)
		// Both figures are rounded: just after a second the kernel may not have taken it
		// off yet. The doubt lasts 20 ms, and is resolved as if nearly all were over.
		part := elapsed % time.Second
		if elapsed >= time.Second && part < 2*hundredth {
			part += time.Second
		}
		// The kernel has taken off the whole seconds. Once all are used up it says 0,
		// and nobody knows how many there were.
		if seconds == 0 {
			return 0
		}
		return max(0, time.Duration(seconds)*time.Second-part-early)
	}
	return max(0, time.Duration(seconds)*time.Second-time.Second-early)
}

// where is what tells one address from another.
type where struct {
	index  int
	prefix netip.Prefix
}

func cacheInfos(ctx context.Context) (map[where]unix.IfaCacheinfo, error) {
	raw, err := dump(ctx, func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	})
	if err != nil {
		return nil, named(err)
	}
	all := make(map[where]unix.IfaCacheinfo, len(raw))
	for _, m := range raw {
		message := nl.DeserializeIfAddrmsg(m)
		local, info := addressAttributes(m[message.Len():])
		if local.IsValid() && info != nil {
			all[where{int(message.Index), netip.PrefixFrom(local, int(message.Prefixlen))}] = *info
		}
	}
	return all, nil
}

// addressAttributes reads whose address an rtnetlink message is about. IFA_LOCAL is
// the own one where there is another end; else IFA_ADDRESS says the same, or, for
// IPv6, it alone does.
func addressAttributes(raw []byte) (local netip.Addr, info *unix.IfaCacheinfo) {
	attributes, err := nl.ParseRouteAttr(raw)
	if err != nil {
		return local, nil
	}
	for _, a := range attributes {
		switch {
		case a.Attr.Type == unix.IFA_LOCAL, a.Attr.Type == unix.IFA_ADDRESS && !local.IsValid():
			local = addr(a.Value)
		case a.Attr.Type == unix.IFA_CACHEINFO && len(a.Value) >= unix.SizeofIfaCacheinfo:
			info = &nl.DeserializeIfaCacheInfo(a.Value).IfaCacheinfo
		}
	}
	return local, info
}

// Covering is the device on whose network an address lies: the one with an address
// of the longest network that contains it, else the one of a route that has no
// gateway. [ErrMissing] if there is none. Two that fit equally well are an error:
// somebody has to say which.
func Covering(ctx context.Context, addr netip.Addr) (string, error) {
	c, err := TakeCensus(ctx)
	if err != nil {
		return "", fmt.Errorf("device for %s: %w", addr.Unmap(), err)
	}
	return c.Covering(ctx, addr)
}

// A Census is what devices and addresses there were at one moment.
type Census struct {
	links     []Link
	addresses []Address
	routes    []Route // read when they are needed
	routed    bool
}

// TakeCensus asks the kernel.
func TakeCensus(ctx context.Context) (*Census, error) {
	links, err := Links(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := Addresses(ctx)
	if err != nil {
		return nil, err
	}
	return &Census{links: links, addresses: addresses}, nil
}

// WithoutRoutes is the same without regard to routes: of the networks of addresses alone.
func (c *Census) WithoutRoutes() *Census {
	return &Census{links: c.links, addresses: c.addresses, routed: true}
}

// Leased is the device that had an address on a lease; empty: none. For good it is
// another's: a real server has the address on lo.
func (c *Census) Leased(addr netip.Addr) string {
	for _, a := range c.addresses {
		if a.Prefix.Addr() == addr.Unmap() && a.Valid != Forever {
			return a.Device
		}
	}
	return ""
}

// Covering is what the function [Covering] says.
func (c *Census) Covering(ctx context.Context, addr netip.Addr) (string, error) {
	addr = addr.Unmap()
	device, err := covering(addr, c.links, c.addresses, nil)
	if errors.Is(err, ErrMissing) {
		// Only now: a router may have a million.
		if !c.routed {
			if c.routes, err = Routes(ctx); err != nil {
				return "", fmt.Errorf("device for %s: %w", addr, err)
			}
			c.routed = true
		}
		device, err = covering(addr, c.links, c.addresses, c.routes)
	}
	if err != nil {
		return "", fmt.Errorf("device for %s: %w", addr, err)
	}
	return device, nil
}

func covering(addr netip.Addr, links []Link, addresses []Address, routes []Route) (string, error) {
	usable := map[string]bool{}
	for _, l := range links {
		usable[l.Name] = !l.Loop
	}
	best := candidates{bits: -1}
	for _, a := range addresses {
		if usable[a.Device] && a.Prefix.Addr() != addr && !a.Prefix.IsSingleIP() && a.Prefix.Contains(addr) {
			best.add(a.Device, a.Prefix.Bits())
		}
	}
	if len(best.devices) == 0 {
		for _, r := range routes {
			// Not a default route: everything lies on that network.
			onLink := !r.Gateway.IsValid() && !r.Local && !r.Rejected && r.Destination.Bits() > 0
			if onLink && usable[r.Device] && r.Destination.Contains(addr) && !multicast(r.Destination) {
				best.add(r.Device, r.Destination.Bits())
			}
		}
	}
	switch len(best.devices) {
	case 0:
		return "", fmt.Errorf("no network of any device contains it: %w", ErrMissing)
	case 1:
		return best.devices[0], nil
	}
	return "", fmt.Errorf("%s fit equally well", strings.Join(best.devices, " and "))
}

func multicast(p netip.Prefix) bool { return p.Addr().IsMulticast() }

// candidates are the devices of the longest network.
type candidates struct {
	devices []string
	bits    int
}

func (c *candidates) add(device string, bits int) {
	switch {
	case bits > c.bits:
		c.devices, c.bits = []string{device}, bits
	case bits == c.bits && !slices.Contains(c.devices, device):
		c.devices = append(c.devices, device)
	}
}
