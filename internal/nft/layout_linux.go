package nft

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// A family is one of our tables.
type family struct {
	table   *nftables.Table
	address nftables.SetDatatype
	// offset is where the destination address is in the IP header.
	offset uint32
}

func families() []family {
	return []family{
		{&nftables.Table{Name: Table, Family: nftables.TableFamilyIPv4}, nftables.TypeIPAddr, 16},  // RFC 791, 3.1
		{&nftables.Table{Name: Table, Family: nftables.TableFamilyIPv6}, nftables.TypeIP6Addr, 24}, // RFC 8200, 3
	}
}

func (f family) isOf(a netip.Addr) bool {
	return a.Is4() == (f.table.Family == nftables.TableFamilyIPv4)
}

func (f family) String() string {
	if f.table.Family == nftables.TableFamilyIPv4 {
		return "ip " + f.table.Name
	}
	return "ip6 " + f.table.Name
}

// chain is where the connections' first packets are translated. It comes before
// the usual place of source NAT, so that a general rule of the machine's own
// firewall does not get them first: the first translation is the one that counts.
func (f family) chain() *nftables.Chain {
	return &nftables.Chain{
		Name: "postrouting", Table: f.table, Type: nftables.ChainTypeNAT,
		Hooknum:  nftables.ChainHookPostrouting,
		Priority: new(*nftables.ChainPriorityNATSource - 1),
	}
}

// A group is the rules that share a set of real servers, and the one rule of the
// chain that looks it up: those of a virtual service, or, as the zero group,
// those of all firewall marks.
type group struct {
	protocol Protocol
	virtual  netip.AddrPort
}

func groupOf(r Rule) group { return group{r.Protocol, r.Virtual} }

func (g group) ofMarks() bool { return g == group{} }

// marksName is the set of the zero group.
const marksName = "marks"

// name is the set's. nft's words have no colons, and begin with a letter.
func (g group) name() string {
	if g.ofMarks() {
		return marksName
	}
	return fmt.Sprintf("%s-%s-%d", g.protocol, strings.ReplaceAll(g.virtual.Addr().String(), ":", "-"), g.virtual.Port())
}

// groupNamed is the group of a set, if it is one of ours.
func (f family) groupNamed(name string) (group, bool) {
	if name == marksName {
		return group{}, true
	}
	protocol, rest, _ := strings.Cut(name, "-")
	last := max(strings.LastIndex(rest, "-"), 0)
	text, number := rest[:last], strings.TrimPrefix(rest[last:], "-")
	if f.table.Family == nftables.TableFamilyIPv6 {
		text = strings.ReplaceAll(text, "-", ":")
	}
	virtual, errAddress := netip.ParseAddr(text)
	port, errPort := strconv.ParseUint(number, 10, 16)
	if errAddress != nil || errPort != nil {
		return group{}, false
	}
	g := group{Protocol(protocol), netip.AddrPortFrom(virtual, uint16(port))}
	_, known := g.protocol.number()
	return g, known && f.isOf(virtual) && g.name() == name
}

// compare orders groups for people.
func (g group) compare(other group) int {
	return cmp.Or(g.virtual.Compare(other.virtual), strings.Compare(string(g.protocol), string(other.protocol)))
}

// A field is a part of the packet or of its connection.
type field struct {
	kind nftables.SetDatatype
	load func(register uint32) expr.Any
}

func protocolField() field {
	return field{nftables.TypeInetProto, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r} }}
}

func markField() field {
	return field{nftables.TypeMark, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: r} }}
}

func (f family) addressField() field {
	return field{f.address, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.address.Bytes}
	}}
}

func portField() field {
	return field{nftables.TypeInetService, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	}}
}

func (f family) virtualField() field {
	return field{f.address, func(r uint32) expr.Any { return &expr.Ct{Key: expr.CtKeyDST, Register: r} }}
}

func virtualPortField() field {
	return field{nftables.TypeInetService, func(r uint32) expr.Any { return &expr.Ct{Key: expr.CtKeyPROTODST, Register: r} }}
}

// fields are the key of the group's set.
func (f family) fields(g group) []field {
	switch {
	case g.ofMarks():
		return []field{markField(), f.addressField()}
	case g.virtual.Port() == 0:
		return []field{f.addressField()}
	}
	return []field{f.addressField(), portField()}
}

// set describes the group's set. The ID names it within one batch.
func (f family) set(g group, id uint32) (*nftables.Set, error) {
	s := &nftables.Set{Table: f.table, Name: g.name(), ID: id}
	var kinds []nftables.SetDatatype
	for _, part := range f.fields(g) {
		kinds = append(kinds, part.kind)
	}
	if len(kinds) == 1 {
		s.KeyType = kinds[0]
		return s, nil
	}
	key, err := nftables.ConcatSetType(kinds...)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", s.Name, err)
	}
	s.KeyType, s.Concatenation = key, true
	return s, nil
}

// rule is the group's in the chain, one of the three of [Rule], in its order:
//
//	meta l4proto tcp ct original daddr VIRTUAL ip daddr . th dport @SET ct original proto-dst PORT masquerade
//	meta l4proto tcp ct original daddr VIRTUAL ip daddr @SET masquerade
//	meta mark . ip daddr @marks masquerade
//
// The original destination, that is the virtual service, makes the difference
// between what IPVS forwards and other connections to the same server. It is
// compared and no part of the set's key: in a key nft 1.0.6 does not know the
// length of "ct original daddr", and aborts when it lists the rule. The newer
// "ct original ip daddr" has one, but the library gives it no direction.
//
// "proto-dst" comes after "th dport", which nft lists as "tcp dport" and without
// "meta l4proto tcp": before it, nft could not load what it has listed.
func (f family) rule(g group, s *nftables.Set) *nftables.Rule {
	lookup := append(load(f.fields(g)), &expr.Lookup{SourceRegister: first, SetName: s.Name, SetID: s.ID})
	var exprs []expr.Any
	if !g.ofMarks() {
		number, _ := g.protocol.number()
		exprs = append(equal(protocolField(), []byte{number}), equal(f.virtualField(), g.virtual.Addr().AsSlice())...)
	}
	exprs = append(exprs, lookup...)
	if port := g.virtual.Port(); port != 0 {
		exprs = append(exprs, equal(virtualPortField(), binary.BigEndian.AppendUint16(nil, port))...)
	}
	return &nftables.Rule{Table: f.table, Chain: f.chain(), Exprs: append(exprs, &expr.Masq{}), UserData: g.stamp()}
}

// first is the register where values begin.
const first = uint32(unix.NFT_REG32_00)

// load puts fields side by side, each padded to whole registers of 4 bytes.
func load(fields []field) []expr.Any {
	var exprs []expr.Any
	register := first
	for _, part := range fields {
		exprs = append(exprs, part.load(register))
		register += words(part.kind.Bytes)
	}
	return exprs
}

// equal ends the rule unless a field has a value.
func equal(part field, value []byte) []expr.Any {
	return []expr.Any{part.load(first), &expr.Cmp{Op: expr.CmpOpEq, Register: first, Data: value}}
}

func words(bytes uint32) uint32 { return (bytes + 3) / 4 }

// stamp is a rule's comment. A rule never changes, it is only added and removed,
// so one that has our stamp is ours, and of this layout: count up with every
// change of rule or set.
func (g group) stamp() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, "monitord fullnat 2 "+g.name())
}

// key makes the set's element of a canonical rule.
func key(r Rule) []byte {
	server := r.Real.Addr().AsSlice()
	switch {
	case r.Mark != 0:
		return append(binary.NativeEndian.AppendUint32(nil, r.Mark), server...)
	case r.Virtual.Port() == 0:
		return server
	}
	return append(binary.BigEndian.AppendUint16(server, r.Real.Port()), 0, 0)
}

// ruleOf is the rule of an element of the group's set.
func (f family) ruleOf(g group, k []byte) (Rule, error) {
	size, want := int(f.address.Bytes), 0
	for _, part := range f.fields(g) {
		want += 4 * int(words(part.kind.Bytes))
	}
	if len(k) != want {
		return Rule{}, fmt.Errorf("an element of set %s has %d bytes, not %d", g.name(), len(k), want)
	}
	if g.ofMarks() {
		return Rule{Mark: binary.NativeEndian.Uint32(k), Real: netip.AddrPortFrom(address(k[4:]), 0)}, nil
	}
	r := Rule{Protocol: g.protocol, Virtual: g.virtual, Real: netip.AddrPortFrom(address(k[:size]), 0)}
	if g.virtual.Port() != 0 {
		r.Real = netip.AddrPortFrom(r.Real.Addr(), binary.BigEndian.Uint16(k[size:]))
	}
	return r, nil
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes
	return a
}
