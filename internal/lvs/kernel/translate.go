package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// strange marks a service of the kernel that has what no wanted one can have: a
// scheduler's flag that we do not know, a persistence engine. It differs
// therefore, and is corrected.
const strange lvs.Flags = 1 << 7

// view is a wanted service as it will be read back from the kernel: with NAT for
// fullnat, which differs by a masquerade rule only, and for a server that has no
// way given; without what has no meaning there.
func view(s lvs.Service) lvs.Service {
	s.ID.Address = unmap(s.ID.Address)
	s.Persistence = s.Persistence.Truncate(time.Second)
	whole := s.ID.Address.Addr().BitLen()
	switch {
	case s.Persistence == 0:
		s.Mask = 0
	case s.Mask == 0:
		s.Mask = whole
	}
	servers := make([]lvs.Server, len(s.Servers))
	for i, r := range s.Servers {
		servers[i] = viewServer(r)
	}
	s.Servers = servers
	return s
}

func viewServer(r lvs.Server) lvs.Server {
	r.Address = unmap(r.Address)
	if r.Forward == lvs.FullNAT || r.Forward == "" {
		r.Forward = lvs.NAT
	}
	if r.Forward != lvs.Tunneling || r.Tunnel.Type == lvs.IPIP {
		r.Tunnel = lvs.Tunnel{}
	}
	if r.Tunnel.Type != lvs.GUE {
		r.Tunnel.Port = 0
	}
	return r
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// resembling writes what the kernel holds as the wanted service writes it: NAT
// is what it calls fullnat, or leaves open.
func resembling(actual, wanted lvs.Service) lvs.Service {
	ways := make(map[netip.AddrPort]lvs.Forward, len(wanted.Servers))
	for _, r := range wanted.Servers {
		ways[unmap(r.Address)] = r.Forward
	}
	for i, r := range actual.Servers {
		if way, ok := ways[r.Address]; ok && r.Forward == lvs.NAT && (way == lvs.FullNAT || way == "") {
			actual.Servers[i].Forward = way
		}
	}
	if actual.Persistence == 0 {
		actual.Mask = wanted.Mask
	}
	actual.Name, actual.Drain = wanted.Name, wanted.Drain
	actual.DrainTimeout, actual.ConnectTimeout = wanted.DrainTimeout, wanted.ConnectTimeout
	return actual
}

// keyOf is the kernel's name of a service.
func keyOf(id lvs.ServiceID) ipvs.Key {
	switch id.Protocol {
	case lvs.FWMark:
		if a := id.Address.Addr(); a.IsValid() && !a.Unmap().Is4() {
			return ipvs.MarkKey(id.Mark, ipvs.INET6)
		}
		return ipvs.MarkKey(id.Mark, ipvs.INET)
	case lvs.UDP:
		return ipvs.AddressKey(ipvs.UDP, id.Address)
	case lvs.SCTP:
		return ipvs.AddressKey(ipvs.SCTP, id.Address)
	case lvs.TCP:
	}
	return ipvs.AddressKey(ipvs.TCP, id.Address)
}

// idOf is the reverse of keyOf.
func idOf(k ipvs.Key) lvs.ServiceID {
	if k.FWMark == 0 {
		return lvs.ServiceID{Protocol: lvs.Protocol(k.Protocol.String()), Address: k.Address}
	}
	family := netip.IPv4Unspecified()
	if k.Family == ipvs.INET6 {
		family = netip.IPv6Unspecified()
	}
	return lvs.ServiceID{Protocol: lvs.FWMark, Mark: k.FWMark, Address: netip.AddrPortFrom(family, 0)}
}

// serviceFlags are the flags that mean something to a scheduler.
func serviceFlags(scheduler lvs.Scheduler) map[lvs.Flags]ipvs.Flags {
	all := map[lvs.Flags]ipvs.Flags{lvs.OnePacket: ipvs.OnePacket}
	switch scheduler { //nolint:exhaustive // the others have none of their own
	case lvs.SourceHashing:
		all[lvs.SourceHashingFallback], all[lvs.SourceHashingPort] = ipvs.SHFallback, ipvs.SHPort
	case lvs.MaglevHashing:
		all[lvs.MaglevFallback], all[lvs.MaglevPort] = ipvs.MHFallback, ipvs.MHPort
	}
	return all
}

// toService is what the kernel is given for a service that was viewed.
func toService(s lvs.Service) ipvs.Service {
	out := ipvs.Service{Key: keyOf(s.ID), Scheduler: string(s.Scheduler)}
	for ours, kernels := range serviceFlags(s.Scheduler) {
		if s.Flags&ours != 0 {
			out.Flags |= kernels
		}
	}
	if s.Persistence > 0 {
		out.Flags |= ipvs.Persistent
		out.Timeout = uint32(s.Persistence / time.Second)
		out.Prefix = s.Mask
	}
	return out
}

// fromService is the reverse of toService.
func fromService(k ipvs.Service) lvs.Service {
	out := lvs.Service{ID: idOf(k.Key), Scheduler: lvs.Scheduler(k.Scheduler)}
	rest := k.Flags &^ ipvs.Persistent
	for ours, kernels := range serviceFlags(out.Scheduler) {
		if rest&kernels != 0 {
			out.Flags |= ours
			rest &^= kernels
		}
	}
	if rest != 0 || k.Engine != "" {
		out.Flags |= strange
	}
	if k.Flags&ipvs.Persistent != 0 {
		out.Persistence = time.Duration(k.Timeout) * time.Second
		out.Mask = k.Prefix
		if k.Prefix == 0 {
			out.Mask = out.ID.Address.Addr().BitLen()
		}
	}
	return out
}

// toDestination is what the kernel is given for a server that was viewed.
func toDestination(r lvs.Server) (ipvs.Destination, error) {
	out := ipvs.Destination{Address: r.Address, Weight: r.Weight, Upper: r.Upper, Lower: r.Lower}
	switch r.Forward {
	case lvs.NAT, lvs.FullNAT, "":
		out.Forward = ipvs.Masq
	case lvs.DirectRouting:
		out.Forward = ipvs.Route
	case lvs.Tunneling:
		out.Forward = ipvs.Tunnel
	case lvs.Local:
		out.Forward = ipvs.Local
	default:
		return out, fmt.Errorf("real server %s: forward = %q is none of the kernel's ways", r.Address, r.Forward)
	}
	var err error
	out.Tunnel, err = toEncapsulation(r.Tunnel)
	if err != nil {
		return out, fmt.Errorf("real server %s: %w", r.Address, err)
	}
	return out, nil
}

func toEncapsulation(t lvs.Tunnel) (ipvs.Encapsulation, error) {
	out := ipvs.Encapsulation{Port: t.Port}
	switch t.Type {
	case lvs.IPIP:
		return ipvs.Encapsulation{}, nil
	case lvs.GUE:
		out.Type = ipvs.GUE
	case lvs.GRE:
		out.Type = ipvs.GRE
	default:
		return out, fmt.Errorf("tunnel type %q is none of the kernel's", t.Type)
	}
	switch t.Checksum {
	case lvs.NoChecksum:
	case lvs.OuterChecksum:
		out.Flags = ipvs.Checksum
	case lvs.RemoteChecksum:
		out.Flags = ipvs.RemoteChecksum
	default:
		return out, fmt.Errorf("tunnel checksum %q is none of the kernel's", t.Checksum)
	}
	return out, nil
}

// fromDestination is the reverse of toDestination. What has no word of ours gets
// the kernel's, which no wanted server has.
func fromDestination(d ipvs.Destination) lvs.Server {
	out := lvs.Server{Address: d.Address, Weight: d.Weight, Upper: d.Upper, Lower: d.Lower}
	switch d.Forward {
	case ipvs.Masq:
		out.Forward = lvs.NAT
	case ipvs.Route:
		out.Forward = lvs.DirectRouting
	case ipvs.Local:
		out.Forward = lvs.Local
	case ipvs.Tunnel:
		out.Forward, out.Tunnel = lvs.Tunneling, fromEncapsulation(d.Tunnel)
	default:
		out.Forward = lvs.Forward(d.Forward.String())
	}
	return out
}

func fromEncapsulation(e ipvs.Encapsulation) lvs.Tunnel {
	out := lvs.Tunnel{Port: e.Port}
	switch e.Type {
	case ipvs.IPIP:
		return lvs.Tunnel{} // the kernel does nothing with the rest
	case ipvs.GUE:
		out.Type = lvs.GUE
	case ipvs.GRE:
		out.Type = lvs.GRE
	default:
		out.Type = lvs.TunnelType(e.Type.String())
	}
	switch e.Flags {
	case 0:
	case ipvs.Checksum:
		out.Checksum = lvs.OuterChecksum
	case ipvs.RemoteChecksum:
		out.Checksum = lvs.RemoteChecksum
	default:
		out.Checksum = lvs.Checksum(fmt.Sprintf("flags %#x", uint16(e.Flags)))
	}
	return out
}

func countOf(d ipvs.Destination) lvs.Count {
	c := countOfStats(d.Stats)
	c.Active, c.Inactive = int(d.Active), int(d.Inactive)
	return c
}

func countOfStats(s ipvs.Stats) lvs.Count {
	return lvs.Count{
		Total: s.Connections, InPackets: s.InPackets, OutPackets: s.OutPackets, InBytes: s.InBytes, OutBytes: s.OutBytes,
		Rates: lvs.Rates{
			Connections: s.CPS, InPackets: s.InPPS, OutPackets: s.OutPPS, InBytes: s.InBPS, OutBytes: s.OutBPS,
		},
	}
}
