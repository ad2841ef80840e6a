package doctor

import (
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/lvs"
)

// DirectorOf is the director that a configuration describes. sync may be nil.
func DirectorOf(virtuals []lvs.Virtual, c lvs.Config, sync *lvs.Sync) *Director {
	d := &Director{Kernel: c.Backend == lvs.BackendKernel}
	if sync != nil {
		d.Sync = &Sync{Interface: sync.Interface, Group: sync.Group}
	}
	for _, v := range virtuals {
		s := Service{
			Name: v.Name, Scheduler: string(v.Scheduler),
			Persistent: v.Persistence > 0, Cut: v.Drain == lvs.DrainCut,
		}
		for _, id := range v.IDs {
			if id.Protocol != lvs.FWMark && !slices.Contains(s.VIPs, id.Address.Addr()) {
				s.VIPs = append(s.VIPs, id.Address.Addr())
			}
		}
		reals := v.Reals
		if v.Sorry != nil {
			reals = append(slices.Clone(reals), *v.Sorry)
		}
		for _, r := range reals {
			s.Reals = append(s.Reals, realOf(r))
		}
		d.Services = append(d.Services, s)
	}
	return d
}

func realOf(r lvs.Real) Real {
	address := netip.Addr{}
	if r.Name == "" {
		address = r.Address.Addr()
	}
	return Real{Host: r.Host, Address: address, Name: r.Name, Forward: string(r.Forward), Overhead: overhead(r.Tunnel)}
}

// overhead is what comes between the outer IP header and the packet, in bytes
// (net/netfilter/ipvs/ip_vs_xmit.c).
func overhead(t lvs.Tunnel) int {
	const udp, gue, remoteChecksum, gre, greChecksum = 8, 4, 8, 4, 4
	switch t.Type {
	case lvs.GUE:
		if t.Checksum == lvs.RemoteChecksum {
			return udp + gue + remoteChecksum
		}
		return udp + gue
	case lvs.GRE:
		if t.Checksum == lvs.OuterChecksum {
			return gre + greChecksum
		}
		return gre
	case lvs.IPIP:
	}
	return 0
}
