package lvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An Operation is what a [Change] does.
type Operation int

// The operations, ipvsadm's -A -E -D and -a -e -d.
const (
	AddService Operation = iota
	EditService
	RemoveService
	AddServer
	EditServer
	RemoveServer
)

// A Change is one step from a table to another. Server is set for the operations
// on servers.
type Change struct {
	Operation Operation
	Service   Service
	Server    Server
}

// String writes the change as a line of ipvsadm -R.
func (c Change) String() string {
	id := c.Service.ID.ipvsadm()
	switch c.Operation {
	case AddService, EditService:
		return fmt.Sprintf("%s %s -s %s%s", [...]string{"-A", "-E"}[c.Operation], id, c.Service.Scheduler, c.Service.options())
	case RemoveService:
		return "-D " + id
	case AddServer, EditServer:
		word := map[Operation]string{AddServer: "-a", EditServer: "-e"}[c.Operation]
		return fmt.Sprintf("%s %s -r %s%s -w %d%s", word, id, c.Server.Address, c.Server.method(), c.Server.Weight, c.Server.options())
	case RemoveServer:
		return fmt.Sprintf("-d %s -r %s", id, c.Server.Address)
	}
	return fmt.Sprintf("operation %d", int(c.Operation))
}

// Changes returns what leads from one table to the other. Servers are put in and
// raised before others are taken out, so that no step leaves a service emptier
// than both tables have it. Services that are to be left are not changed.
func Changes(from, to Table) []Change {
	to = to.Over(from)
	had, wanted := from.index(), to.index()
	var put, gone []Change
	for _, s := range to {
		old, there := had[s.ID]
		switch {
		case !there:
			put = append(put, Change{Operation: AddService, Service: s})
		case !sameInTable(old, s):
			put = append(put, Change{Operation: EditService, Service: s})
		}
		p, g := serverChanges(s, old.Servers)
		put, gone = append(put, p...), append(gone, g...)
	}
	for _, s := range from {
		if _, stays := wanted[s.ID]; !stays {
			gone = append(gone, Change{Operation: RemoveService, Service: s})
		}
	}
	return append(put, gone...)
}

func (t Table) index() map[ServiceID]Service {
	by := make(map[ServiceID]Service, len(t))
	for _, s := range t {
		by[s.ID] = s
	}
	return by
}

func serverChanges(to Service, from []Server) (put, gone []Change) {
	had := make(map[netip.AddrPort]Server, len(from))
	for _, s := range from {
		had[s.Address] = s
	}
	for _, s := range to.Servers {
		old, there := had[s.Address]
		delete(had, s.Address)
		switch {
		case !there:
			put = append(put, Change{AddServer, to, s})
		case old == s:
		case old.Weight > s.Weight:
			gone = append(gone, Change{EditServer, to, s})
		default:
			put = append(put, Change{EditServer, to, s})
		}
	}
	for _, s := range from {
		if _, leaves := had[s.Address]; leaves {
			gone = append(gone, Change{RemoveServer, to, s})
		}
	}
	return put, gone
}

// ipvsadm writes a service as ipvsadm(8) does.
func (id ServiceID) ipvsadm() string {
	switch id.Protocol {
	case TCP:
		return "-t " + id.Address.String()
	case UDP:
		return "-u " + id.Address.String()
	case SCTP:
		return "--sctp-service " + id.Address.String()
	case FWMark:
		if id.Address.Addr().Is6() {
			return fmt.Sprintf("-f %d -6", id.Mark)
		}
		return fmt.Sprintf("-f %d", id.Mark)
	}
	return string(id.Protocol) + " " + id.Address.String()
}

// options are the settings of a service besides its scheduler.
func (s Service) options() string {
	var b strings.Builder
	if s.Persistence > 0 {
		fmt.Fprintf(&b, " -p %d", s.Persistence/time.Second)
		switch v6 := s.ID.Address.Addr().Is6(); {
		case v6 && s.Mask != 128:
			fmt.Fprintf(&b, " -M %d", s.Mask)
		case !v6 && s.Mask != 32:
			m := ^uint32(0) << (32 - s.Mask)
			fmt.Fprintf(&b, " -M %s", netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}))
		}
	}
	if flags := slices.DeleteFunc(s.Flags.Names(), func(n string) bool { return n == "ops" }); len(flags) > 0 {
		b.WriteString(" -b " + strings.Join(flags, ","))
	}
	if s.Flags&OnePacket != 0 {
		b.WriteString(" -o")
	}
	return b.String()
}

// method is ipvsadm's letter for the way to a server; the kernel sees in full
// NAT nothing but NAT, and the relay's way has none.
func (s Server) method() string {
	switch s.Forward {
	case DirectRouting, Local: // ipvsadm has no letter for local: the kernel finds out
		return " -g"
	case Tunneling:
		return " -i"
	case NAT, FullNAT:
		return " -m"
	}
	return ""
}

func (s Server) options() string {
	var b strings.Builder
	if s.Tunnel.Type != IPIP {
		fmt.Fprintf(&b, " --tun-type %s", s.Tunnel.Type)
		if s.Tunnel.Port != 0 {
			fmt.Fprintf(&b, " --tun-port %d", s.Tunnel.Port)
		}
		fmt.Fprintf(&b, " --tun-%s", map[Checksum]string{NoChecksum: "nocsum", OuterChecksum: "csum", RemoteChecksum: "remcsum"}[s.Tunnel.Checksum])
	}
	if s.Upper > 0 {
		fmt.Fprintf(&b, " -x %d", s.Upper)
	}
	if s.Lower > 0 {
		fmt.Fprintf(&b, " -y %d", s.Lower)
	}
	return b.String()
}
