// Package vip is the resource kind "vip": a virtual address that moves with its
// group. The kernel holds it on a lease: it removes the address by itself when the
// director that should renew it is dead, frozen or hanging.
//
//	resource = [{ type = "vip", address = "192.0.2.100", device = "eth0" }]
//
// Nothing else comes with the address: no route, and for IPv6 no search for
// duplicates, which would take seconds in which nobody answers. An IPv6 address is
// never the source of connections from here.
//
// To have several addresses write one resource for each.
package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Address string             `toml:"address" doc:"The address, IPv4 or IPv6; with /LENGTH it is put on its network, else it stands alone (/32 or /128), which is better; no default."`
	Device  string             `toml:"device" doc:"Network device that gets it; default the one whose network contains it."`
	Label   string             `toml:"label" doc:"Name that ip and ifconfig show for it, DEVICE:NAME of at most 15 characters, IPv4 only; default none."`
	Lease   resources.Duration `toml:"lease" doc:"Time after which the kernel removes the address if nobody renews it, in whole seconds, from 1s to 1h; default 1s."`
}

func init() {
	resources.Register("vip", Config{Lease: resources.Duration(time.Second)}, build)
}

// longestLease is far beyond what makes sense for two directors.
const longestLease = time.Hour

func build(c Config, _ resources.Site) (resources.Resource, error) {
	p, err := parse(c.Address)
	if err != nil {
		return nil, err
	}
	lease := c.Lease.Std()
	if lease < time.Second || lease > longestLease || lease%time.Second != 0 {
		return nil, resources.BadKey("lease", "%s: the kernel counts whole seconds: write one from \"1s\" to \"1h\"", lease)
	}
	if c.Label != "" {
		if err := c.checkLabel(p); err != nil {
			return nil, err
		}
	}
	if strings.ContainsAny(c.Device, "/ \t\n") || len(c.Device) > longestName || c.Device == "lo" {
		return nil, resources.BadKey("device", "%q is no device that has neighbours: write one that \"ip link\" lists, such as \"eth0\"", c.Device)
	}
	return &Address{prefix: p, device: c.Device, label: c.Label, lease: lease}, nil
}

func parse(text string) (netip.Prefix, error) {
	const want = "write an address such as \"192.0.2.100\", \"192.0.2.100/24\" or \"2001:db8::100\""
	if text == "" {
		return netip.Prefix{}, resources.BadKey("address", "missing: %s", want)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
	}
	switch a := p.Addr(); {
	case err != nil || !p.IsValid() || a.Is4In6():
		return netip.Prefix{}, resources.BadKey("address", "%q is no address: %s", text, want)
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || p.Bits() == 0:
		return netip.Prefix{}, resources.BadKey("address", "%s cannot be one machine's address among others: %s", text, want)
	case !p.IsSingleIP() && a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == last(p)):
		return netip.Prefix{}, resources.BadKey("address", "%s is the network itself or its broadcast address: %s", text, want)
	}
	return p, nil
}

// last is the broadcast address of an IPv4 network.
func last(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// longestName is IFNAMSIZ without the zero at the end; labels have the same limit.
const longestName = 15

func (c Config) checkLabel(p netip.Prefix) error {
	switch {
	case p.Addr().Is6():
		return resources.BadKey("label", "%q: IPv6 addresses have none: leave it out", c.Label)
	case c.Device == "":
		return resources.BadKey("label", "%q: needs a device, with whose name it begins: write device too", c.Label)
	case c.Label != c.Device && !strings.HasPrefix(c.Label, c.Device+":") || len(c.Label) > longestName:
		return resources.BadKey("label", "%q: write %q and a name, together at most %d characters", c.Label, c.Device+":", longestName)
	}
	return nil
}

// An Address is the resource. Start gives it its first lease and Renew the others;
// whoever has to judge himself how late a lease was uses Take, and Stop.
type Address struct {
	prefix        netip.Prefix
	device, label string
	lease         time.Duration

	mu sync.Mutex // protects what follows: the device is also asked for while a lease is taken

	// renewed is when the last lease began, by netif.Boottime; 0 if this process gave
	// none since the last Stop.
	renewed time.Duration
	// on is the device that was found for it then.
	on string
}

// Prefix is the address with the length of its network.
func (r *Address) Prefix() netip.Prefix { return r.prefix }

// Lease is the lifetime that each Renew gives it.
func (r *Address) Lease() time.Duration { return r.lease }

// Device is the device that has or gets the address: the configured one; else the one
// that has it on a lease, or the one whose network contains it, as things are now.
// [netif.ErrMissing] if there is none.
func (r *Address) Device(ctx context.Context) (string, error) {
	return r.deviceBy(ctx, func() (*netif.Census, error) { return netif.TakeCensus(ctx) })
}

func (r *Address) deviceBy(ctx context.Context, look func() (*netif.Census, error)) (string, error) {
	if r.device != "" {
		return r.device, nil
	}
	if _, on := r.leased(); on != "" {
		return on, nil
	}
	c, err := look()
	if err != nil {
		return "", fmt.Errorf("device of %s: %w", r.prefix, err)
	}
	if on := c.Leased(r.prefix.Addr()); on != "" {
		return on, nil
	}
	device, err := c.Covering(ctx, r.prefix.Addr())
	if err != nil {
		return "", fmt.Errorf("%w: write device", err)
	}
	return device, nil
}

// Want is what the kernel is asked for, by who holds several addresses at once and tells
// each what became of it ([Address.Laid]). look says what there is, where that has to be
// known. With the error of a device that cannot be told, all but the device is there.
func (r *Address) Want(ctx context.Context, look func() (*netif.Census, error)) (netif.Lease, error) {
	device, err := r.deviceBy(ctx, look)
	return netif.Lease{Device: device, Prefix: r.prefix, Label: r.label, Lifetime: r.lease}, err
}

// Laid takes in that the address was held from a moment on, by [netif.Boottime], on a
// device. Without a device it may be held or not, and the device be gone; at the moment
// 0 it is not held.
func (r *Address) Laid(began time.Duration, device string) {
	if device == "" && began != 0 {
		began, _ = r.leased()
	}
	r.lay(began, device)
}

// leased is when the last lease began, and on which device.
func (r *Address) leased() (renewed time.Duration, on string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewed, r.on
}

func (r *Address) lay(renewed time.Duration, on string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed, r.on = renewed, on
}

// Take holds the address for one lease from now, also where somebody else configured
// it on the same device. It neither begins nor ends after notAfter (0: any time): a
// lease that came late is taken back before Take returns [netif.ErrLate].
func (r *Address) Take(ctx context.Context, notAfter time.Duration) (netif.Held, error) {
	device, err := r.Device(ctx)
	if err != nil {
		return netif.Held{}, err
	}
	h, err := netif.Hold(ctx, device, r.prefix, netif.HoldOptions{Label: r.label, Lifetime: r.lease, NotAfter: notAfter})
	if err != nil {
		renewed, _ := r.leased()
		r.lay(renewed, "") // It may be the device that is gone.
		return h, err
	}
	r.lay(h.Began, device)
	return h, nil
}

// Start holds the address for one lease. It asks nobody whether the address is free,
// and tells nobody that it is here: who owns the group has done the one, and does the
// other.
func (r *Address) Start(ctx context.Context) error {
	_, err := r.Take(ctx, 0)
	return err
}

// Renew begins a new lease if there is one: an address that is not there any more
// may be another director's by now.
func (r *Address) Renew(ctx context.Context) error {
	f, err := r.Found(ctx)
	renewed, _ := r.leased()
	switch {
	case err != nil:
		return err
	case !f.Held:
		return fmt.Errorf("renew %s: it is not there: %w", r.prefix, netif.ErrMissing)
	case f.Permanent && renewed == 0:
		return fmt.Errorf("renew %s: somebody else configured it, for good", r.prefix)
	}
	notAfter := renewed + r.lease // Made permanent meanwhile, it gets its lease back.
	if renewed == 0 {
		notAfter = netif.Boottime() + f.Left
	}
	_, err = r.Take(ctx, notAfter)
	return err
}

// Stop removes the address from its device, whoever configured it there. Without an
// error the device does not have it.
func (r *Address) Stop(ctx context.Context) error {
	device, err := r.Device(ctx)
	if err != nil && !errors.Is(err, netif.ErrMissing) {
		return err
	}
	// Also where no device has it and none would get it: one may have been renamed.
	if err := netif.ReleaseAll(ctx, []netif.Lease{{Device: device, Prefix: r.prefix}}); err != nil {
		return err
	}
	r.lay(0, "")
	return nil
}

// Status finds the address on its device. One that is not in use, that has no lease,
// or whose lease is over is Failed.
func (r *Address) Status(ctx context.Context) (resources.Status, error) {
	f, err := r.Found(ctx)
	switch {
	case err != nil:
		return resources.Stopped, err
	case !f.Held:
		return resources.Stopped, nil
	case f.Permanent || f.Unusable || f.Left <= 0:
		return resources.Failed, nil
	}
	return resources.Running, nil
}

// Found is what is there of the address, with what is left of its lease: what a
// process that was started anew adopts.
func (r *Address) Found(ctx context.Context) (netif.Found, error) {
	device, err := r.Device(ctx)
	if errors.Is(err, netif.ErrMissing) {
		return netif.Found{}, nil
	}
	if err != nil {
		return netif.Found{}, err
	}
	return netif.Find(ctx, device, r.prefix.Addr())
}
