package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/netif"
)

// Gather finds out what [Examine] needs to know, in the network namespace of the
// calling thread. For a director it asks on the network who has the virtual
// addresses, which takes most of a second for each of their networks. What could
// not be found out is an error in its fact; the returned error is the context's.
func Gather(ctx context.Context, w Wanted) (Facts, error) {
	f := Facts{
		Addresses: fact(netif.Addresses(ctx)), Links: fact(netif.Links(ctx)), Routes: fact(netif.Routes(ctx)),
		Multicast: fact(multicast()),
	}
	if w.Director != nil {
		if w.Director.Kernel {
			f.IPVS = info(ctx)
			f.Modules = modules(schedulers(w.Director))
		}
		f.Names, f.RoutesTo = reals(ctx, w.Director)
		f.Claims = claims(ctx, f, w.Director)
		f.Neighbours = fact(netif.Neighbours(ctx)) // after the question
	}
	if w.RealServer != nil && len(w.RealServer.Ports) > 0 {
		f.Listeners = fact(listeners())
	}
	f.Sysctls = sysctls(f)
	return f, ctx.Err()
}

func fact[T any](value T, err error) Fact[T] { return Fact[T]{value, err} }

func info(ctx context.Context) Fact[ipvs.Info] {
	client, err := ipvs.Open(ctx)
	if err != nil {
		return Fact[ipvs.Info]{Err: err}
	}
	i, err := client.Info(ctx)
	return fact(i, errors.Join(err, client.Close()))
}

// reals finds the addresses of real servers, and the routes to them.
func reals(ctx context.Context, d *Director) (names map[string]Fact[[]netip.Addr], routes map[netip.Addr]Fact[netif.Route]) {
	names, routes = map[string]Fact[[]netip.Addr]{}, map[netip.Addr]Fact[netif.Route]{}
	way := func(a netip.Addr) {
		if _, done := routes[a]; !done {
			routes[a] = fact(netif.RouteTo(ctx, a))
		}
	}
	for _, s := range d.Services {
		for _, r := range s.Reals {
			if r.Address.IsValid() {
				way(r.Address)
				continue
			}
			if _, done := names[r.Name]; !done {
				names[r.Name] = lookUp(ctx, r.Name)
			}
			for _, a := range names[r.Name].Value {
				way(a)
			}
		}
	}
	return names, routes
}

func lookUp(ctx context.Context, name string) Fact[[]netip.Addr] {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return fact(found, err)
}

// sysctls reads all that may be asked for: a handful for each interface.
func sysctls(f Facts) map[string]Fact[string] {
	keys := []string{forward4, forward6, vsConntrack, expireTemplates, expireNoDest, conntrackMax, conntrackCount}
	devices := []string{"all"}
	for _, l := range f.Links.Value {
		devices = append(devices, l.Name)
	}
	for _, d := range devices {
		for _, name := range []string{"send_redirects", "rp_filter", "arp_ignore", "arp_announce"} {
			keys = append(keys, confKey(d, name))
		}
	}
	all := make(map[string]Fact[string], len(keys))
	for _, k := range keys {
		all[k] = fact(netif.Sysctl(k).Get())
	}
	return all
}

func multicast() (map[string]bool, error) {
	all, err := net.Interfaces()
	can := make(map[string]bool, len(all))
	for _, i := range all {
		can[i.Name] = i.Flags&net.FlagMulticast != 0
	}
	return can, err
}
