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
	if o.Lifetime < time.Second {
		return Held{}, fmt.Errorf("hold %s on %s: a lease of %s, want whole seconds", p, device, o.Lifetime)
	}
	if o.Label != "" && o.Label != device && !strings.HasPrefix(o.Label, device+":") {
		return Held{}, fmt.Errorf("hold %s on %s: the label %q does not begin with %q", p, device, o.Label, device+":")
	}
	h := Held{Began: Boottime()}
	if o.NotAfter != 0 && h.Began > o.NotAfter {
		h.Ended = h.Began
		return h, fmt.Errorf("hold %s on %s: %s %w: not begun", p, device, h.Began-o.NotAfter, ErrLate)
	}
	err := ReplaceAddress(ctx, Add{
		Device: device, Prefix: p, Label: o.Label, Valid: o.Lifetime,
		Deprecated: p.Addr().Is6(), NoDAD: true, NoPrefixRoute: true,
	})
	h.Ended = Boottime()
	if o.NotAfter != 0 && h.Ended > o.NotAfter {
		// Also after an error: an answer that was lost says nothing of what was done.
		removed := Release(context.WithoutCancel(ctx), device, p.Addr())
		return h, errors.Join(fmt.Errorf("hold %s on %s: %s %w: removed again", p, device, h.Ended-o.NotAfter, ErrLate), err, removed)
	}
	return h, err
}

// Release removes an address from a device, whatever the length of its network; that
// it is not there, or that the device is not, is no error. Without an error the
// device certainly does not have it.
func Release(ctx context.Context, device string, addr netip.Addr) error {
	addr = addr.Unmap()
	// The usual case first: it is a single question.
	if err := RemoveAddress(ctx, device, netip.PrefixFrom(addr, addr.BitLen())); err != nil {
		return err
	}
	all, err := Addresses(ctx)
	if err != nil {
		return fmt.Errorf("remove address %s from %s: %w", addr, device, err)
	}
	for _, a := range all {
		if a.Device == device && a.Prefix.Addr() == addr {
			err = errors.Join(err, RemoveAddress(ctx, device, a.Prefix))
		}
	}
	return err
}

// Find looks for an address on a device, as a process does that was started inside
// the lease of the one before it. A device that is missing has none.
func Find(ctx context.Context, device string, addr netip.Addr) (Found, error) {
	addr = addr.Unmap()
	all, err := Addresses(ctx)
	if err != nil {
		return Found{}, fmt.Errorf("look for %s on %s: %w", addr, device, err)
	}
	i := slices.IndexFunc(all, func(a Address) bool { return a.Device == device && a.Prefix.Addr() == addr })
	if i < 0 {
		return Found{}, nil
	}
	a := all[i]
	f := Found{
		Held: true, Label: a.Label, Bits: a.Prefix.Bits(),
		Permanent: a.Valid == Forever, Unusable: a.Tentative || a.Duplicate,
	}
	if f.Permanent {
		return f, nil
	}
	if f.Left, err = left(ctx, a); errors.Is(err, ErrMissing) {
		return Found{}, nil // It has gone in between.
	}
	if err != nil {
		return Found{}, fmt.Errorf("look for %s on %s: %w", addr, device, err)
	}
	return f, nil
}

// left is for how long the kernel keeps an address. It says that in whole seconds,
// but also when the lifetime was set (ifa_cacheinfo's tstamp, in hundredths of a
// second of its tick counter), and times(2) reads that counter.
func left(ctx context.Context, a Address) (time.Duration, error) {
	var unused unix.Tms
	before, err := unix.Times(&unused)
	if err != nil {
		return 0, fmt.Errorf("times(2): %w", err)
	}
	asked := Boottime()
	info, err := cacheInfo(ctx, a)
	if err != nil {
		return 0, err
	}
	// The counter is read before, so that a second that ends in between is counted
	// twice and not left out.
	return max(0, remaining(uint64(before), info.Tstamp, info.Valid)-(Boottime()-asked)), nil
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

func cacheInfo(ctx context.Context, a Address) (unix.IfaCacheinfo, error) {
	raw, err := dump(ctx, func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	})
	if err != nil {
		return unix.IfaCacheinfo{}, named(err)
	}
	for _, m := range raw {
		message := nl.DeserializeIfAddrmsg(m)
		if int(message.Index) != a.Index || int(message.Prefixlen) != a.Prefix.Bits() {
			continue
		}
		local, info := addressAttributes(m[message.Len():])
		if local == a.Prefix.Addr() && info != nil {
			return *info, nil
		}
	}
	return unix.IfaCacheinfo{}, ErrMissing
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
	addr = addr.Unmap()
	links, err := Links(ctx)
	if err != nil {
		return "", fmt.Errorf("device for %s: %w", addr, err)
	}
	addresses, err := Addresses(ctx)
	if err != nil {
		return "", fmt.Errorf("device for %s: %w", addr, err)
	}
	device, err := covering(addr, links, addresses, nil)
	if errors.Is(err, ErrMissing) {
		// Only now: a router may have a million.
		var routes []Route
		if routes, err = Routes(ctx); err == nil {
			device, err = covering(addr, links, addresses, routes)
		}
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
