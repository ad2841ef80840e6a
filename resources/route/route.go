// Package route is the resource kind "route": a route that is there while this
// director owns the group. With an address of the group as source, the machine's own
// connections come from that address, as heartbeat's IPsrcaddr has it:
//
//	resource = [
//	  { type = "vip", address = "192.0.2.100" },
//	  { type = "route", to = "default", via = "192.0.2.1", source = "192.0.2.100" },
//	]
//
// Write it after the address that is its source. Other routes to the same destination
// stay as they are: of IPv4 this one goes before those of the same metric; of IPv6
// there may be none of the same metric, so write a smaller one.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	To     string `toml:"to" doc:"Destination: a network such as \"198.51.100.0/24\", an address, or \"default\" with the family of via or source; no default."`
	Via    string `toml:"via" doc:"Address of the gateway; default none, the destination is on the device's link."`
	Device string `toml:"device" doc:"Network device; default the one by which via is reached."`
	Source string `toml:"source" doc:"Address of this machine that its own connections to there come from; default the kernel's choice."`
	Table  int    `toml:"table" doc:"Number of the routing table; default 254, which is main."`
	Metric int    `toml:"metric" doc:"The least one wins; default 0, of IPv6 1024."`
	OnLink bool   `toml:"onlink" doc:"The gateway is on the device's link though no address of the device says so; default false."`
}

func init() { resources.Register("route", Config{Table: mainTable}, build) }

const (
	mainTable = 254
	// defaultMetric6 is the kernel's IP6_RT_PRIO_USER.
	defaultMetric6 = 1024
)

func build(c Config, _ resources.Site) (resources.Resource, error) {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, resources.BadKey(key, format, args...)) }
	r := netif.NewRoute{Device: c.Device, Table: c.Table, Metric: c.Metric, OnLink: c.OnLink}
	for _, a := range []struct {
		key, text string
		into      *netip.Addr
	}{{"via", c.Via, &r.Gateway}, {"source", c.Source, &r.Source}} {
		addr, err := netip.ParseAddr(a.text)
		switch {
		case a.text == "":
		case err != nil || !unicast(addr):
			bad(a.key, "%q is no address of one machine: write one such as \"192.0.2.1\" or \"2001:db8::1\"", a.text)
		default:
			*a.into = addr.Unmap()
		}
	}
	var err error
	if r.Destination, err = destination(c.To, r.Gateway, r.Source); err != nil {
		errs = append(errs, err)
	}
	otherFamily := func(a netip.Addr) bool { return err == nil && a.IsValid() && a.Is4() != r.Destination.Addr().Is4() }
	if otherFamily(r.Gateway) {
		bad("via", "%s is of another family than %s", r.Gateway, r.Destination)
	}
	if otherFamily(r.Source) {
		bad("source", "%s is of another family than %s", r.Source, r.Destination)
	}
	switch {
	case c.Device == "" && c.Via == "":
		bad("device", "missing: write the gateway, via, or the device on whose link the destination is")
	case c.OnLink && (c.Device == "" || c.Via == ""):
		bad("onlink", "is for a gateway on a device: write via and device")
	case strings.ContainsAny(c.Device, "/ \t\n") || len(c.Device) > 15:
		bad("device", "%q is no device: write one that \"ip link\" lists, such as \"eth0\"", c.Device)
	}
	if c.Table < 1 || c.Table > 1<<31-1 || c.Table == 255 {
		bad("table", "%d is no table for routes: write 1 to 254, or more than 255", c.Table)
	}
	if c.Metric < 0 || c.Metric > 1<<31-1 {
		bad("metric", "%d is out of range: write 0 to %d", c.Metric, 1<<31-1)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if r.Destination.Addr().Is6() {
		r.Metric = cmp.Or(r.Metric, defaultMetric6)
	}
	return &Route{r}, nil
}

func unicast(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// destination parses the key "to"; gateway and source tell the family of "default".
func destination(text string, gateway, source netip.Addr) (netip.Prefix, error) {
	like := gateway
	if !like.IsValid() {
		like = source
	}
	p, err := netip.ParsePrefix(text)
	if a, single := netip.ParseAddr(text); single == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case text == "":
		return p, resources.BadKey("to", "missing: write a network such as \"198.51.100.0/24\", or \"default\"")
	case text == "default" && !like.IsValid():
		return p, resources.BadKey("to", "\"default\" of which family? Write \"0.0.0.0/0\" or \"::/0\"")
	case text == "default" && like.Is4():
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	case text == "default":
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil
	case err != nil || p.Addr().Is4In6():
		return p, resources.BadKey("to", "%q is no network: write one such as \"198.51.100.0/24\", an address, or \"default\"", text)
	case p != p.Masked():
		return p, resources.BadKey("to", "%s is an address of a network: write the network, %s", text, p.Masked())
	}
	return p, nil
}

// A Route is the resource.
type Route struct{ route netif.NewRoute }

// Start adds the route. One that is there already, whoever made it, will do, if
// nothing of the same metric goes before it.
func (r *Route) Start(ctx context.Context) error {
	f, err := r.find(ctx)
	if err != nil || f.first {
		return err
	}
	if f.there || f.bare {
		if err := r.remove(ctx, f); err != nil {
			return err
		}
	}
	err = netif.PutRoute(ctx, r.route)
	if errors.Is(err, netif.ErrExists) {
		return fmt.Errorf("%w: somebody else's route has the same metric: write a smaller one", err)
	}
	return err
}

// Stop removes the route, whoever made it, and no other one.
func (r *Route) Stop(ctx context.Context) error {
	f, err := r.find(ctx)
	if err != nil {
		return err
	}
	return r.remove(ctx, f)
}

func (r *Route) remove(ctx context.Context, f found) error {
	var errs []error
	if f.there {
		errs = append(errs, netif.RemoveRoute(ctx, r.route))
	}
	if f.bare {
		bare := r.route
		bare.Source = netip.Addr{}
		errs = append(errs, netif.RemoveRoute(ctx, bare))
	}
	return errors.Join(errs...)
}

// Status is Failed if another route of the same metric goes before this one, or its
// source is lost.
func (r *Route) Status(ctx context.Context) (resources.Status, error) {
	f, err := r.find(ctx)
	switch {
	case err != nil:
		return resources.Stopped, err
	case f.first:
		return resources.Running, nil
	case f.there || f.bare:
		return resources.Failed, nil
	}
	return resources.Stopped, nil
}

// found is what is there of the route.
type found struct {
	there, first bool
	// bare is our IPv6 route that has lost its source: the kernel takes it away with
	// the address, and leaves the route.
	bare bool
}

func (r *Route) find(ctx context.Context) (found, error) {
	all, err := netif.RoutesOf(ctx, r.route.Destination, r.route.Table)
	all = slices.DeleteFunc(all, func(o netif.Route) bool { return o.Metric != r.route.Metric })
	var f found
	for i, o := range all {
		if !r.same(o) {
			continue
		}
		switch o.Source {
		case r.route.Source:
			f.there = true
			f.first = f.first || i == 0
		case netip.Addr{}:
			f.bare = f.bare || o.Own && r.route.Destination.Addr().Is6()
		}
	}
	return f, err
}

// same reports whether a route is this one, but for its source.
func (r *Route) same(o netif.Route) bool {
	return o.Gateway == r.route.Gateway && (r.route.Device == "" || o.Device == r.route.Device) &&
		len(o.NextHops) == 0 && !o.Local && !o.Rejected
}
