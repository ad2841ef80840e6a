// Package nft holds the source address translation that makes IPVS's NAT
// forwarding a FULLNAT: the real server sees the director's own address, so its
// answers need no route back through the director, and it may stand anywhere.
//
// IPVS translates the destination. With the sysctl net.ipv4.vs.conntrack = 1 its
// connections pass through connection tracking, and a masquerade rule of
// nftables translates the source. The director's address is the kernel's choice:
// the first one of the device that the packet leaves by. Without that sysctl the
// rules match nothing and do no harm.
//
// The rules are in tables of their own, "ip monitord" and "ip6 monitord". No
// other table is read or written. The chain has one rule for each virtual service,
// whatever the number of its real servers, which are elements of the service's
// set, and one for all firewall marks. It is passed by the first packet of a
// connection only. Tools that list all tables see these too: the rules are of
// forms that nft 1.0.6, of Debian 12, can show.
//
// Calls change a kernel-wide table: one caller at a time.
package nft

import (
	"errors"
	"fmt"
	"net/netip"
)

// Table is the name of our tables, in the families ip and ip6.
const Table = "monitord"

// ErrNoKernel is a kernel that lacks what the rules are made of.
var ErrNoKernel = errors.New("this kernel cannot masquerade (modprobe nf_tables nft_chain_nat nft_masq nft_ct; " +
	"in a container the host has to load them), so fullnat is not possible: use nat, or the relay backend")

// A Protocol is a transport. The names are those of IPVS.
type Protocol string

// The protocols that IPVS balances.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// number is the protocol's in the IP header (IANA, Protocol Numbers).
func (p Protocol) number() (byte, bool) {
	switch p {
	case TCP:
		return 6, true
	case UDP:
		return 17, true
	case SCTP:
		return 132, true
	}
	return 0, false
}

// A Rule masquerades the connections that IPVS forwards from one virtual service
// to one real server. There are three forms:
//
//   - Protocol, Virtual and Real with ports;
//   - Protocol, Virtual and Real with port 0: a service of all ports;
//   - Mark and Real: a firewall mark's service, of any protocol and port. The
//     mark has to be on the packet still when it leaves.
//
// Other connections to the same real server keep their source.
type Rule struct {
	Protocol Protocol
	Virtual  netip.AddrPort
	Mark     uint32
	Real     netip.AddrPort
}

// String describes the rule in nft's words.
func (r Rule) String() string {
	if r.Mark != 0 {
		return fmt.Sprintf("mark %#x to %s", r.Mark, r.Real.Addr())
	}
	return fmt.Sprintf("%s %s to %s", r.Protocol, r.Virtual, r.Real)
}

// canonical returns the rule with what does not count cleared, so that equal
// rules compare equal.
func (r Rule) canonical() (Rule, error) {
	r.Real = unmap(r.Real)
	if err := plain(r.Real.Addr()); err != nil {
		return r, fmt.Errorf("masquerade %s: real server: %w", r, err)
	}
	if r.Mark != 0 {
		if r.Virtual.IsValid() {
			return r, fmt.Errorf("masquerade %s: a firewall mark's service has no virtual address %s", r, r.Virtual)
		}
		return Rule{Mark: r.Mark, Real: netip.AddrPortFrom(r.Real.Addr(), 0)}, nil
	}
	r.Virtual = unmap(r.Virtual)
	if err := plain(r.Virtual.Addr()); err != nil {
		return r, fmt.Errorf("masquerade %s: virtual service: %w", r, err)
	}
	_, known := r.Protocol.number()
	switch {
	case !known:
		return r, fmt.Errorf("masquerade %s: protocol %q is not tcp, udp or sctp", r, r.Protocol)
	case r.Virtual.Addr().Is4() != r.Real.Addr().Is4():
		return r, fmt.Errorf("masquerade %s: the two addresses are of different families", r)
	case (r.Virtual.Port() == 0) != (r.Real.Port() == 0):
		return r, fmt.Errorf("masquerade %s: either both ports are 0, or none", r)
	}
	return r, nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// plain refuses what cannot be an element of a set.
func plain(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("there is no address")
	case a.IsUnspecified():
		return fmt.Errorf("%s is no address of one machine", a)
	case a.Zone() != "":
		return fmt.Errorf("%s: an address with a zone cannot be forwarded to", a)
	}
	return nil
}

// less orders rules for people.
func less(a, b Rule) int {
	for _, c := range []int{
		a.Real.Addr().BitLen() - b.Real.Addr().BitLen(), int(a.Mark) - int(b.Mark),
		a.Virtual.Compare(b.Virtual), a.Real.Compare(b.Real),
	} {
		if c != 0 {
			return c
		}
	}
	na, _ := a.Protocol.number()
	nb, _ := b.Protocol.number()
	return int(na) - int(nb)
}
