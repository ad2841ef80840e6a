package netif

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestDatagram(t *testing.T) {
	for name, c := range map[string]struct{ from, to string }{
		"IPv4": {"10.0.0.1:694", "10.0.0.2:695"},
		"IPv6": {"[fd00::1]:694", "[fd00::2]:695"},
	} {
		for _, size := range []int{0, 1, 2, 3, 1300, 9000} {
			from, to := netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to)
			payload := bytes.Repeat([]byte{0xa5}, size)
			packet := datagram(from, to, 7, payload)
			// Ethernet fills short frames up.
			r, ok := readDatagram(append(bytes.Clone(packet), make([]byte, 46)...))
			if !ok || r.from != from || r.to != to || r.ttl != hops || !bytes.Equal(r.payload, payload) {
				t.Errorf("%s, %d bytes: %v %+v", name, size, ok, r)
			}
			if from.Addr().Is4() && checksum(packet[:ipv4Header]) != 0 {
				t.Errorf("%d bytes: the header's checksum is wrong", size)
			}
			udp := packet[len(packet)-udpHeader-size:]
			if udpChecksum(from.Addr(), to.Addr(), udp) != 0 || udp[6] == 0 && udp[7] == 0 {
				t.Errorf("%s, %d bytes: the checksum is wrong", name, size)
			}
		}
	}
}

// TestReadDatagramPieces cuts a packet off and refuses fragments.
func TestReadDatagramPieces(t *testing.T) {
	for _, c := range []struct{ from, to string }{{"10.0.0.1:694", "10.0.0.2:695"}, {"[fd00::1]:694", "[fd00::2]:695"}} {
		packet := datagram(netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to), 7, []byte("hello"))
		for n := range packet {
			if _, ok := readDatagram(packet[:n]); ok {
				t.Errorf("%s: %d bytes of %d are taken", c.from, n, len(packet))
			}
		}
	}
	for name, change := range map[string]func([]byte){
		"more fragments": func(p []byte) { p[6] |= 0x20 },
		"a later one":    func(p []byte) { p[7] = 1 },
		"no UDP":         func(p []byte) { p[9] = 6 },
		"a short header": func(p []byte) { p[0] = 0x44 },
		"a long header":  func(p []byte) { p[0] = 0x4f },
		"length of UDP":  func(p []byte) { p[25] = 200 },
		"no length":      func(p []byte) { p[25] = 0 },
	} {
		packet := datagram(netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2"), 7, []byte("hello"))
		change(packet)
		if _, ok := readDatagram(packet); ok {
			t.Errorf("%s: taken", name)
		}
	}
	// "Do not fragment" is no piece.
	packet := datagram(netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2"), 7, []byte("hello"))
	packet[6] |= 0x40
	if _, ok := readDatagram(packet); !ok {
		t.Error("refused although it is whole")
	}
}

func FuzzReadDatagram(f *testing.F) {
	f.Add(datagram(netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2"), 7, []byte("hello")))
	f.Add(datagram(netip.MustParseAddrPort("[fd00::1]:1"), netip.MustParseAddrPort("[fd00::2]:2"), 0, nil))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if r, ok := readDatagram(packet); ok && len(r.payload) > len(packet)-udpHeader-ipv4Header {
			t.Errorf("%d bytes out of %d", len(r.payload), len(packet))
		}
	})
}
