package netif

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv4Header = 20
	udpHeader  = 8
	udp        = 17
	// hops is the time to live of a datagram for a router: one that arrives with one
	// less was forwarded once.
	hops = 64
)

// datagram is a UDP datagram in an IP packet (RFC 768, 791, 8200). It may be
// fragmented on its way.
func datagram(from, to netip.AddrPort, id uint16, payload []byte) []byte {
	length := udpHeader + len(payload)
	var packet []byte
	if from.Addr().Is4() {
		packet = make([]byte, ipv4Header, ipv4Header+length)
		packet[0], packet[8], packet[9] = 0x45, hops, udp
		binary.BigEndian.PutUint16(packet[2:], uint16(ipv4Header+length))
		binary.BigEndian.PutUint16(packet[4:], id)
		copy(packet[12:], from.Addr().AsSlice())
		copy(packet[16:], to.Addr().AsSlice())
		binary.BigEndian.PutUint16(packet[10:], checksum(packet))
	} else {
		packet = make([]byte, ipv6Header, ipv6Header+length)
		packet[0], packet[6], packet[7] = 0x60, udp, hops
		binary.BigEndian.PutUint16(packet[4:], uint16(length))
		copy(packet[8:], from.Addr().AsSlice())
		copy(packet[24:], to.Addr().AsSlice())
	}
	head := len(packet)
	packet = binary.BigEndian.AppendUint16(packet, from.Port())
	packet = binary.BigEndian.AppendUint16(packet, to.Port())
	packet = binary.BigEndian.AppendUint16(packet, uint16(length))
	packet = append(append(packet, 0, 0), payload...)
	sum := udpChecksum(from.Addr(), to.Addr(), packet[head:])
	if sum == 0 {
		sum = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(packet[head+6:], sum)
	return packet
}

// udpChecksum is 0 if the one inside the message is right.
func udpChecksum(from, to netip.Addr, message []byte) uint16 {
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = append(pseudo, 0, udp, byte(len(message)>>8), byte(len(message)))
	return checksum(append(pseudo, message...))
}

// A received datagram, and how often it was forwarded as far as one can see.
type received struct {
	from, to netip.AddrPort
	ttl      byte
	payload  []byte
}

// readDatagram reads an IP packet. One that was cut in pieces or has extension headers
// is not ok. The checksum is not looked at: a packet that has not left the machine may
// not have it yet, and its content is for others to trust.
func readDatagram(packet []byte) (r received, ok bool) {
	var from, to netip.Addr
	switch {
	case len(packet) >= ipv4Header && packet[0]>>4 == 4:
		head, total := int(packet[0]&0xf)*4, int(binary.BigEndian.Uint16(packet[2:]))
		whole := binary.BigEndian.Uint16(packet[6:])&0x3fff == 0
		if head < ipv4Header || total < head || total > len(packet) || !whole || packet[9] != udp {
			return received{}, false
		}
		from, to = netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
		r.ttl, packet = packet[8], packet[head:total]
	case len(packet) >= ipv6Header && packet[0]>>4 == 6:
		total := ipv6Header + int(binary.BigEndian.Uint16(packet[4:]))
		if total > len(packet) || packet[6] != udp {
			return received{}, false
		}
		from, to = netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
		r.ttl, packet = packet[7], packet[ipv6Header:total]
	default:
		return received{}, false
	}
	if len(packet) < udpHeader {
		return received{}, false
	}
	length := int(binary.BigEndian.Uint16(packet[4:]))
	if length < udpHeader || length > len(packet) {
		return received{}, false
	}
	packet = packet[:length]
	r.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(packet))
	r.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(packet[2:]))
	r.payload = packet[udpHeader:]
	return r, true
}
