package icmp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A family is IPv4 or IPv6, each with an ICMP of its own.
type family int

const (
	ipv4Family family = 4
	ipv6Family family = 6
)

func (f family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

func familyOf(a netip.Addr) family {
	if a.Unmap().Is4() {
		return ipv4Family
	}
	return ipv6Family
}

const (
	headerLen = 8 // of an ICMP message
	nonceLen  = 16
	ipv6Len   = 40 // of an IPv6 header
)

// The messages of RFC 792 and RFC 4443 that concern us.
const (
	echoRequest4     = 8
	echoReply4       = 0
	unreachable4     = 3
	timeExceeded4    = 11
	badParameter4    = 12
	echoRequest6     = 128
	echoReply6       = 129
	unreachable6     = 1
	packetTooBig6    = 2
	timeExceeded6    = 3
	badParameter6    = 4
	protocolICMP     = 1
	protocolIPv6ICMP = 58
)

// A session is what tells one call's pings from all others.
type session struct {
	family family
	// id is the identifier of our requests. The kernel puts in another one on
	// datagram sockets.
	id    uint16
	nonce [nonceLen]byte
}

func newSession(f family) session {
	s := session{family: f}
	var id [2]byte
	_, _ = rand.Read(id[:]) // It never fails.
	_, _ = rand.Read(s.nonce[:])
	s.id = binary.BigEndian.Uint16(id[:])
	return s
}

func (s session) requestType() byte {
	if s.family == ipv4Family {
		return echoRequest4
	}
	return echoRequest6
}

// request writes the echo request for ping number k into packet, all of which it
// fills: header, nonce, number, and a pattern. IPv6's checksum is left to the
// kernel, which alone knows the source address in it.
func (s session) request(packet []byte, k int, seq uint16) {
	packet[0], packet[1], packet[2], packet[3] = s.requestType(), 0, 0, 0
	binary.BigEndian.PutUint16(packet[4:], s.id)
	binary.BigEndian.PutUint16(packet[6:], seq)
	payload := packet[headerLen:]
	copy(payload, s.nonce[:])
	binary.BigEndian.PutUint64(payload[nonceLen:], uint64(k))
	for i := MinSize; i < len(payload); i++ {
		payload[i] = byte(i)
	}
	if s.family == ipv4Family {
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
	}
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// An event is what a packet tells about one of our pings.
type event struct {
	from netip.Addr // who sent the packet
	// ping is the number of the ping. It is -1 in an error from a router that
	// quoted too little of the request; then about names its destination.
	ping    int
	about   netip.Addr
	refusal string // why the ping did not arrive; empty in a reply
}

// parse reads an ICMP message, without an IP header. ok is false if it is not
// about a ping of this session. matchID is false on datagram sockets.
func (s session) parse(message []byte, from netip.Addr, matchID bool) (e event, ok bool) {
	if len(message) < headerLen {
		return event{}, false
	}
	reply := byte(echoReply4)
	if s.family == ipv6Family {
		reply = echoReply6
	}
	e.from = from
	if message[0] != reply {
		return s.parseError(e, message, matchID)
	}
	if matchID && binary.BigEndian.Uint16(message[4:]) != s.id {
		return event{}, false
	}
	e.ping, ok = s.number(message[headerLen:])
	return e, ok
}

// number finds the ping's number behind our nonce.
func (s session) number(payload []byte) (k int, ok bool) {
	if len(payload) < MinSize || !bytes.Equal(payload[:nonceLen], s.nonce[:]) {
		return 0, false
	}
	n := binary.BigEndian.Uint64(payload[nonceLen:])
	if n > 1<<62 {
		return 0, false
	}
	return int(n), true
}

func (s session) parseError(e event, message []byte, matchID bool) (event, bool) {
	if e.refusal = s.refusal(message[0], message[1]); e.refusal == "" {
		return event{}, false
	}
	quoted := message[headerLen:]
	request, ok := quoted, false
	if s.family == ipv4Family {
		_, e.about, request, ok = stripIPv4(quoted)
	} else {
		e.about, request, ok = stripIPv6(quoted)
	}
	if !ok || len(request) < headerLen || request[0] != s.requestType() {
		return event{}, false
	}
	if matchID && binary.BigEndian.Uint16(request[4:]) != s.id {
		return event{}, false
	}
	return s.quoted(e, request)
}

// quoted finds the ping that an error quotes. Routers need to quote no more than
// its header (RFC 792); if there is more it has to be ours.
func (s session) quoted(e event, request []byte) (event, bool) {
	var ok bool
	if e.ping, ok = s.number(request[headerLen:]); ok {
		return e, true
	}
	e.ping = -1
	return e, len(request) < headerLen+nonceLen
}

// stripIPv4 returns what an IPv4 packet with ICMP carries.
func stripIPv4(packet []byte) (from, to netip.Addr, payload []byte, ok bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[9] != protocolICMP {
		return from, to, nil, false
	}
	length := int(packet[0]&0xf) * 4
	if length < 20 || len(packet) < length {
		return from, to, nil, false
	}
	from, to = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
	return from, to, packet[length:], true
}

// stripIPv6 is the same for IPv6. Our requests have no extension headers, so
// that quotations of them have none.
func stripIPv6(packet []byte) (to netip.Addr, payload []byte, ok bool) {
	if len(packet) < ipv6Len || packet[0]>>4 != 6 || packet[6] != protocolIPv6ICMP {
		return to, nil, false
	}
	return netip.AddrFrom16([16]byte(packet[24:40])), packet[ipv6Len:], true
}

// refusal puts an ICMP error into words; it is empty if the message is no error.
func (s session) refusal(kind, code byte) string {
	if s.family == ipv4Family {
		return refusal4(kind, code)
	}
	return refusal6(kind, code)
}

func refusal4(kind, code byte) string {
	switch kind {
	case unreachable4:
		switch code {
		case 0, 6, 11:
			return "network unreachable"
		case 1, 7, 12:
			return "host unreachable"
		case 2:
			return "protocol unreachable"
		case 3:
			return "port unreachable"
		case 4:
			return "fragmentation needed"
		case 9, 10, 13:
			return "administratively prohibited"
		}
		return fmt.Sprintf("unreachable, code %d", code)
	case timeExceeded4:
		return "time to live exceeded"
	case badParameter4:
		return "parameter problem"
	}
	return ""
}

func refusal6(kind, code byte) string {
	switch kind {
	case unreachable6:
		switch code {
		case 0:
			return "no route to destination"
		case 1, 5:
			return "administratively prohibited"
		case 3:
			return "address unreachable"
		case 4:
			return "port unreachable"
		case 6:
			return "route rejected"
		}
		return fmt.Sprintf("unreachable, code %d", code)
	case packetTooBig6:
		return "packet too big"
	case timeExceeded6:
		return "hop limit exceeded"
	case badParameter6:
		return "parameter problem"
	}
	return ""
}
