package netif

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Ethernet, ARP and ICMPv6 numbers (RFC 826, RFC 4861).
const (
	etherHeader = 14
	arpLength   = 28
	arpRequest  = 1
	arpReply    = 2

	ipv6Header    = 40
	icmpv6        = 58
	solicitation  = 135
	advertisement = 136
	sourceMAC     = 1 // option: source link-layer address
	targetMAC     = 2 // option: target link-layer address

	fromRouter  = 0x80
	isSolicited = 0x40
	isOverride  = 0x20
)

// broadcast is Ethernet's.
func broadcast() net.HardwareAddr { return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// An arpFrame is an ARP packet for IPv4 over Ethernet. Addresses that are not valid
// are 0.0.0.0, a MAC of nil is zeros.
type arpFrame struct {
	to                   net.HardwareAddr // of the Ethernet frame
	op                   uint16
	senderMAC, targetMAC net.HardwareAddr
	sender, target       netip.Addr
}

func (f arpFrame) bytes() []byte {
	raw := make([]byte, etherHeader+arpLength)
	copy(raw, f.to)
	copy(raw[6:], f.senderMAC)
	// ARP's type; Ethernet, IPv4, addresses of 6 and 4 octets.
	copy(raw[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4})
	binary.BigEndian.PutUint16(raw[20:], f.op)
	copy(raw[22:], f.senderMAC)
	copy(raw[32:], f.targetMAC)
	if f.sender.Is4() {
		copy(raw[28:], f.sender.AsSlice())
	}
	if f.target.Is4() {
		copy(raw[38:], f.target.AsSlice())
	}
	return raw
}

// A claim is what a frame says of an address: that this MAC has it.
type claim struct {
	address netip.Addr
	mac     net.HardwareAddr
	unicast bool // sent to one machine, as an answer is
	answer  bool // in the form of an answer: ARP's reply, ND's solicited advertisement
	probe   bool // no claim, but the question of who wants it: RFC 5227 section 1.1
}

// readFrame reads who claims an address, or wants it. Other frames, and those that a
// kernel would drop too, are not ok.
func readFrame(raw []byte) (c claim, ok bool) {
	if len(raw) < etherHeader {
		return claim{}, false
	}
	c.unicast = raw[0]&1 == 0
	switch binary.BigEndian.Uint16(raw[12:]) {
	case 0x0806:
		return c.readARP(raw[etherHeader:])
	case 0x86dd:
		return c.readAdvertisement(raw)
	}
	return claim{}, false
}

func (c claim) readARP(raw []byte) (claim, bool) {
	if len(raw) < arpLength || [6]byte(raw) != [6]byte{0, 1, 0x08, 0x00, 6, 4} {
		return claim{}, false
	}
	op := binary.BigEndian.Uint16(raw[6:])
	c.address = netip.AddrFrom4([4]byte(raw[14:]))
	c.mac = net.HardwareAddr(append([]byte(nil), raw[8:14]...))
	c.answer = op == arpReply
	if op == arpRequest && c.address.IsUnspecified() {
		c.address, c.probe = netip.AddrFrom4([4]byte(raw[24:])), true
	}
	return c, (op == arpRequest || op == arpReply) && !c.address.IsUnspecified()
}

// readAdvertisement follows RFC 4861 section 7.1.2: a hop limit of 255 shows that
// no router forwarded it.
func (c claim) readAdvertisement(raw []byte) (claim, bool) {
	ip := raw[etherHeader:]
	if len(ip) < ipv6Header+24 || ip[6] != icmpv6 || ip[7] != 255 {
		return claim{}, false
	}
	length := int(binary.BigEndian.Uint16(ip[4:]))
	message := ip[ipv6Header:]
	if length < 24 || length > len(message) || message[0] != advertisement || message[1] != 0 {
		return claim{}, false
	}
	message = message[:length]
	c.address = netip.AddrFrom16([16]byte(message[8:]))
	c.answer = message[4]&isSolicited != 0
	c.mac = net.HardwareAddr(append([]byte(nil), raw[6:12]...))
	for options := message[24:]; len(options) >= 8; {
		size := int(options[1]) * 8
		if size == 0 || size > len(options) {
			return claim{}, false
		}
		if options[0] == targetMAC {
			c.mac = net.HardwareAddr(append([]byte(nil), options[2:8]...))
		}
		options = options[size:]
	}
	return c, !c.address.IsMulticast() && !c.address.IsUnspecified()
}

// solicit asks who has an IPv6 address. Without a source it is the question of the
// search for duplicates (RFC 4862 section 5.4.2), which is answered to everybody.
func solicit(mac net.HardwareAddr, source, target netip.Addr) []byte {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	message := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	if source.IsValid() {
		message = append(append(message, sourceMAC, 1), mac...)
	} else {
		source = netip.IPv6Unspecified()
	}
	return ipv6Frame(mac, source, group, message)
}

// announcement is the frames that say that a MAC has an address.
func announcement(mac net.HardwareAddr, address netip.Addr, router bool) [][]byte {
	if address.Is6() {
		return [][]byte{advertise(mac, address, router)}
	}
	// Linux takes a change from a request at once. It takes the reply only with the
	// MAC as its own target too: of others it thinks that they answer somebody else,
	// and ignores them for a second (arp_is_garp, locktime).
	request := arpFrame{to: broadcast(), op: arpRequest, senderMAC: mac, sender: address, target: address}
	reply := request
	reply.op, reply.targetMAC = arpReply, mac
	return [][]byte{request.bytes(), reply.bytes()}
}

// advertise tells everybody that a MAC has an IPv6 address, whatever they believed.
func advertise(mac net.HardwareAddr, address netip.Addr, router bool) []byte {
	a := address.As16()
	flags := byte(isOverride)
	if router {
		flags |= fromRouter
	}
	message := append([]byte{advertisement, 0, 0, 0, flags, 0, 0, 0}, a[:]...)
	message = append(append(message, targetMAC, 1), mac...)
	return ipv6Frame(mac, address, netip.IPv6LinkLocalAllNodes(), message)
}

// ipv6Frame wraps an ICMPv6 message to a multicast group (RFC 2464 section 7) and
// fills in its checksum.
func ipv6Frame(mac net.HardwareAddr, from, to netip.Addr, message []byte) []byte {
	source, group := from.As16(), to.As16()
	pseudo := append(append([]byte(nil), source[:]...), group[:]...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(message)), 0, 0, 0, icmpv6)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	raw := append([]byte{0x33, 0x33, group[12], group[13], group[14], group[15]}, mac...)
	raw = append(raw, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), icmpv6, 255)
	return append(append(append(raw, source[:]...), group[:]...), message...)
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, octet := range b {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
