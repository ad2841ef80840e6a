package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"

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

func (f family) has(r Rule) bool {
	return r.Real.Addr().Is4() == (f.table.Family == nftables.TableFamilyIPv4)
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

// A form of rules is a set, and the one rule of the chain that looks it up.
type form struct {
	name   string
	fields []field
}

// A field is one part of a set's concatenated key.
type field struct {
	kind nftables.SetDatatype
	load func(register uint32) expr.Any
}

// forms are the three of [Rule], in its order:
//
//	meta l4proto . ip daddr . th dport . ct original daddr . ct original proto-dst @ports masquerade
//	meta l4proto . ip daddr . ct original daddr @hosts masquerade
//	meta mark . ip daddr @marks masquerade
//
// The original destination, that is the virtual service, makes the difference
// between what IPVS forwards and other connections to the same server.
func (f family) forms() []form {
	protocol := field{nftables.TypeInetProto, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r} }}
	mark := field{nftables.TypeMark, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: r} }}
	address := field{f.address, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.address.Bytes}
	}}
	port := field{nftables.TypeInetService, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	}}
	virtual := field{f.address, func(r uint32) expr.Any { return &expr.Ct{Key: expr.CtKeyDST, Register: r} }}
	virtualPort := field{nftables.TypeInetService, func(r uint32) expr.Any { return &expr.Ct{Key: expr.CtKeyPROTODST, Register: r} }}
	return []form{
		{"ports", []field{protocol, address, port, virtual, virtualPort}},
		{"hosts", []field{protocol, address, virtual}},
		{"marks", []field{mark, address}},
	}
}

// The forms' places in the list.
const (
	ofPorts = iota
	ofHosts
	ofMarks
)

func formOf(r Rule) int {
	switch {
	case r.Mark != 0:
		return ofMarks
	case r.Virtual.Port() == 0:
		return ofHosts
	}
	return ofPorts
}

// set describes the form's set. The ID names it within one batch.
func (f family) set(m form, id int) (*nftables.Set, error) {
	kinds := make([]nftables.SetDatatype, len(m.fields))
	for i, part := range m.fields {
		kinds[i] = part.kind
	}
	key, err := nftables.ConcatSetType(kinds...)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", m.name, err)
	}
	return &nftables.Set{Table: f.table, Name: m.name, ID: uint32(id), KeyType: key, Concatenation: true}, nil
}

// rule looks the set up: the fields go into registers side by side, each padded
// to whole ones of 4 bytes.
func (f family) rule(m form, s *nftables.Set) *nftables.Rule {
	register := uint32(unix.NFT_REG32_00)
	var exprs []expr.Any
	for _, part := range m.fields {
		exprs = append(exprs, part.load(register))
		register += words(part.kind.Bytes)
	}
	exprs = append(exprs, &expr.Lookup{SourceRegister: unix.NFT_REG32_00, SetName: s.Name, SetID: s.ID}, &expr.Masq{})
	return &nftables.Rule{Table: f.table, Chain: f.chain(), Exprs: exprs, UserData: m.stamp()}
}

func words(bytes uint32) uint32 { return (bytes + 3) / 4 }

// stamp is a rule's comment. A rule never changes, it is only replaced, so one
// that has our stamp is ours, and of this layout: count up with every change of
// forms.
func (m form) stamp() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, "monitord fullnat 1 "+m.name)
}

// key makes the set's element of a canonical rule.
func key(r Rule) []byte {
	number, _ := r.Protocol.number()
	protocol := []byte{number, 0, 0, 0}
	switch formOf(r) {
	case ofMarks:
		return append(binary.NativeEndian.AppendUint32(nil, r.Mark), r.Real.Addr().AsSlice()...)
	case ofHosts:
		return append(append(protocol, r.Real.Addr().AsSlice()...), r.Virtual.Addr().AsSlice()...)
	}
	k := append(protocol, r.Real.Addr().AsSlice()...)
	k = append(binary.BigEndian.AppendUint16(k, r.Real.Port()), 0, 0)
	k = append(k, r.Virtual.Addr().AsSlice()...)
	return append(binary.BigEndian.AppendUint16(k, r.Virtual.Port()), 0, 0)
}

// ruleOf is the rule of a set's element.
func (f family) ruleOf(which int, k []byte) (Rule, error) {
	size := int(f.address.Bytes)
	want := map[int]int{ofPorts: 12 + 2*size, ofHosts: 4 + 2*size, ofMarks: 4 + size}[which]
	if len(k) != want {
		return Rule{}, fmt.Errorf("table %s: an element has %d bytes, not %d", f, len(k), want)
	}
	head, server, rest := k[:4], address(k[4:4+size]), k[4+size:]
	switch which {
	case ofMarks:
		return Rule{Mark: binary.NativeEndian.Uint32(head), Real: netip.AddrPortFrom(server, 0)}, nil
	case ofHosts:
		return Rule{Protocol: protocolOf(head[0]), Real: netip.AddrPortFrom(server, 0), Virtual: netip.AddrPortFrom(address(rest), 0)}, nil
	}
	return Rule{
		Protocol: protocolOf(head[0]),
		Real:     netip.AddrPortFrom(server, binary.BigEndian.Uint16(rest)),
		Virtual:  netip.AddrPortFrom(address(rest[4:4+size]), binary.BigEndian.Uint16(rest[4+size:])),
	}, nil
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes
	return a
}
