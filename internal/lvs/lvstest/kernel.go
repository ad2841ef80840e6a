package lvstest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/lvs"
)

// kernelChecks are for a backend that takes all that IPVS has.
func kernelChecks() []check {
	return []check{
		{"protocols", protocols, whole},
		{"schedulers and flags", schedulers, whole},
		{"persistence", persistence, whole},
		{"ways to forward", forwards, whole},
		{"thresholds", thresholds, whole},
		{"any settings in any order", randomSettings, whole},
	}
}

// whole is all that IPVS holds. Full NAT is NAT for it, and so is the way that
// is left to the backend.
func whole(t lvs.Table) lvs.Table {
	out := t.Clone()
	for i := range out {
		s := &out[i]
		s.Name, s.Drain, s.DrainTimeout, s.ConnectTimeout = "", "", 0, 0
		if s.Persistence == 0 {
			s.Mask = 0
		}
		for j := range s.Servers {
			if r := &s.Servers[j]; r.Forward == lvs.FullNAT || r.Forward == "" {
				r.Forward = lvs.NAT
			}
		}
	}
	return sorted(out)
}

// each sets the services one after the other in place, and once more from
// nothing, so that each is added and changed to.
func (b bench) each(t testing.TB, services []lvs.Service) {
	t.Helper()
	for _, s := range services {
		b.set(t, lvs.Table{s})
	}
	for _, s := range services {
		b.set(t, nil)
		b.set(t, lvs.Table{s})
	}
}

// virtual and virtual6 are addresses that nobody has.
var (
	virtual  = netip.MustParseAddrPort("198.51.100.1:80")
	virtual6 = netip.MustParseAddrPort("[2001:db8::100]:80")
)

// identities are services of every protocol and family.
func identities() []lvs.ServiceID {
	ids := []lvs.ServiceID{
		{Protocol: lvs.FWMark, Mark: 1, Address: netip.MustParseAddrPort("0.0.0.0:0")},
		{Protocol: lvs.FWMark, Mark: 1, Address: netip.MustParseAddrPort("[::]:0")},
		{Protocol: lvs.FWMark, Mark: 1<<32 - 1, Address: netip.MustParseAddrPort("0.0.0.0:0")},
	}
	for _, p := range lvs.Protocols() {
		ids = append(ids, lvs.ServiceID{Protocol: p, Address: virtual}, lvs.ServiceID{Protocol: p, Address: virtual6})
	}
	return ids
}

// of is a service of that identity with two servers of its family.
func of(id lvs.ServiceID) lvs.Service {
	s := Service(id.Address, serverLike(id.Address, 1, 1), serverLike(id.Address, 2, 2))
	s.ID = id
	return s
}

func protocols(t *testing.T, b bench) {
	var all lvs.Table
	for _, id := range identities() {
		all = append(all, of(id))
	}
	b.set(t, all)
	for i := range all {
		less := all.Clone()
		b.set(t, append(less[:i], less[i+1:]...))
		b.set(t, all)
	}
	// Port 0 is all ports, and needs persistence.
	allPorts := of(lvs.ServiceID{Protocol: lvs.TCP, Address: netip.AddrPortFrom(virtual.Addr(), 0)})
	allPorts.Persistence, allPorts.Mask = time.Minute, 32
	for i, r := range allPorts.Servers {
		allPorts.Servers[i].Address = netip.AddrPortFrom(r.Address.Addr(), 0)
	}
	b.set(t, lvs.Table{of(lvs.ServiceID{Protocol: lvs.TCP, Address: virtual}), allPorts})
}

func schedulers(t *testing.T, b bench) {
	var services []lvs.Service
	for _, scheduler := range lvs.Schedulers() {
		for _, flags := range flagsOf(scheduler) {
			s := Service(virtual, server(1, 1), server(2, 2))
			s.Scheduler, s.Flags = scheduler, flags
			services = append(services, s)
		}
	}
	b.each(t, services)
}

// flagsOf lists the combinations of flags that a scheduler takes.
func flagsOf(s lvs.Scheduler) []lvs.Flags {
	one, other := lvs.Flags(0), lvs.Flags(0)
	switch s { //nolint:exhaustive // the others have none of their own
	case lvs.SourceHashing:
		one, other = lvs.SourceHashingFallback, lvs.SourceHashingPort
	case lvs.MaglevHashing:
		one, other = lvs.MaglevFallback, lvs.MaglevPort
	}
	if one == 0 {
		return []lvs.Flags{0, lvs.OnePacket}
	}
	return []lvs.Flags{0, one, other, one | other, lvs.OnePacket | one, lvs.OnePacket}
}

func persistence(t *testing.T, b bench) {
	var services []lvs.Service
	for _, p := range []struct {
		address netip.AddrPort
		after   time.Duration
		mask    int
	}{
		{virtual, 0, 32},
		{virtual, 50 * time.Second, 32},
		{virtual, 50 * time.Second, 24},
		{virtual, time.Hour, 1},
		{virtual6, 0, 128},
		{virtual6, 50 * time.Second, 128},
		{virtual6, 50 * time.Second, 64},
		{virtual6, time.Hour, 1},
	} {
		s := of(lvs.ServiceID{Protocol: lvs.TCP, Address: p.address})
		s.Persistence, s.Mask = p.after, p.mask
		services = append(services, s)
	}
	b.each(t, services)
}

// ways are the manners to reach a server.
func ways() []lvs.Server {
	all := []lvs.Server{
		{Forward: lvs.DirectRouting},
		{Forward: lvs.NAT},
		{Forward: lvs.FullNAT},
		{Forward: lvs.Local},
		{Forward: lvs.Tunneling},
	}
	for _, checksum := range []lvs.Checksum{lvs.NoChecksum, lvs.OuterChecksum, lvs.RemoteChecksum} {
		all = append(all, lvs.Server{Forward: lvs.Tunneling, Tunnel: lvs.Tunnel{Type: lvs.GUE, Port: 6080, Checksum: checksum}})
		if checksum != lvs.RemoteChecksum {
			all = append(all, lvs.Server{Forward: lvs.Tunneling, Tunnel: lvs.Tunnel{Type: lvs.GRE, Checksum: checksum}})
		}
	}
	return all
}

func forwards(t *testing.T, b bench) {
	var services []lvs.Service
	for _, address := range []netip.AddrPort{virtual, virtual6} {
		for _, way := range ways() {
			s := of(lvs.ServiceID{Protocol: lvs.TCP, Address: address})
			way.Address, way.Weight = s.Servers[0].Address, 3
			s.Servers[0] = way
			services = append(services, s)
		}
	}
	b.each(t, services)
}

func thresholds(t *testing.T, b bench) {
	var services []lvs.Service
	for _, limits := range [][2]uint32{{0, 0}, {100, 0}, {100, 50}, {1<<31 - 1, 1}, {7, 7}} {
		s := of(lvs.ServiceID{Protocol: lvs.TCP, Address: virtual})
		s.Servers[0].Upper, s.Servers[0].Lower = limits[0], limits[1]
		services = append(services, s)
	}
	b.each(t, services)
}

// randomSettings sets tables of all that there is.
func randomSettings(t *testing.T, b bench) {
	rapid.Check(t, func(r *rapid.T) {
		for i := range rapid.IntRange(1, 5).Draw(r, "tables") {
			wanted := DrawTable(r, fmt.Sprint("table ", i))
			if err := b.Set(t.Context(), wanted); err != nil {
				r.Fatalf("Set(%v): %v", wanted, err)
			}
			if diff := b.diff(t, wanted); diff != "" {
				r.Fatalf("the table is not as set (-want +got):\n%s", diff)
			}
		}
	})
}

// DrawTable draws a table of what IPVS accepts, from a small world.
func DrawTable(r *rapid.T, label string) lvs.Table {
	var table lvs.Table
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(identities()), 0, 5, rapid.ID).Draw(r, label) {
		table = append(table, drawService(r, id))
	}
	return table
}

func drawService(r *rapid.T, id lvs.ServiceID) lvs.Service {
	s := of(id)
	s.Servers = nil
	s.Scheduler = rapid.SampledFrom(lvs.Schedulers()).Draw(r, "scheduler")
	s.Flags = rapid.SampledFrom(flagsOf(s.Scheduler)).Draw(r, "flags")
	s.Drain = rapid.SampledFrom([]lvs.Drain{lvs.DrainSlowly, lvs.DrainCut}).Draw(r, "drain")
	s.Persistence = rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(r, "persistence")
	s.Mask = rapid.IntRange(1, id.Address.Addr().BitLen()).Draw(r, "mask")
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 4, rapid.ID).Draw(r, "servers") {
		way := rapid.SampledFrom(ways()).Draw(r, "way")
		way.Address = serverLike(id.Address, n, 1).Address
		way.Weight = rapid.IntRange(0, 3).Draw(r, "weight")
		way.Upper = rapid.Uint32Range(0, 2).Draw(r, "upper")
		way.Lower = rapid.Uint32Range(0, way.Upper).Draw(r, "lower")
		s.Servers = append(s.Servers, way)
	}
	return s
}
