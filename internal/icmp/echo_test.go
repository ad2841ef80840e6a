package icmp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// fixed is a session whose secrets tests know.
func fixed(f family) session {
	return session{family: f, id: 0xbeef, nonce: [nonceLen]byte([]byte("0123456789abcdef"))}
}

func requestOf(s session, k int) []byte {
	b := make([]byte, headerLen+56)
	s.request(b, k, uint16(k))
	return b
}

func replyOf(s session, k int) []byte {
	b := requestOf(s, k)
	b[0] = echoReply4
	if s.family == ipv6Family {
		b[0] = echoReply6
	}
	return b
}

// ipHeader is in front of what travels from one address to another.
func ipHeader(from, to string, options int) []byte {
	f, t := netip.MustParseAddr(from), netip.MustParseAddr(to)
	if f.Is6() {
		h := append([]byte{0x60, 0, 0, 0, 0, 64, 58, 64}, f.AsSlice()...)
		return append(h, t.AsSlice()...)
	}
	h := append([]byte{byte(0x45 + options), 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0}, f.AsSlice()...)
	return append(append(h, t.AsSlice()...), make([]byte, 4*options)...)
}

func errorOf(kind, code byte, quoted ...[]byte) []byte {
	b := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	for _, q := range quoted {
		b = append(b, q...)
	}
	return b
}

func TestRequest(t *testing.T) {
	b := requestOf(fixed(ipv4Family), 258)
	if b[0] != 8 || b[1] != 0 || checksum(b) != 0 {
		t.Errorf("type %d, code %d, checksum of all %#x, want 8, 0, 0", b[0], b[1], checksum(b))
	}
	if id, seq := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]); id != 0xbeef || seq != 258 {
		t.Errorf("identifier %#x, sequence %d", id, seq)
	}
	if requestOf(fixed(ipv6Family), 1)[0] != 128 {
		t.Error("not ICMPv6's type")
	}
	if odd := checksum([]byte{1, 2, 3}); odd != ^uint16(0x0102+0x0300) {
		t.Errorf("checksum of an odd length %#x", odd)
	}
}

func TestSessionsDiffer(t *testing.T) {
	a, b := newSession(ipv4Family), newSession(ipv4Family)
	if a.nonce == b.nonce {
		t.Error("two sessions have the same nonce")
	}
	if _, ok := a.parse(replyOf(b, 0), netip.Addr{}, false); ok {
		t.Error("one session takes the other's replies")
	}
}

func TestParse(t *testing.T) {
	s4, s6 := fixed(ipv4Family), fixed(ipv6Family)
	v4, v6 := ipHeader("192.0.2.1", "198.51.100.7", 0), ipHeader("2001:db8::1", "2001:db8::7", 0)
	options := ipHeader("192.0.2.1", "198.51.100.7", 5)
	foreign, foreignID := replyOf(s4, 3), replyOf(s4, 3)
	foreign[headerLen] ^= 1
	foreignID[4] ^= 1
	foreignRequest, huge := requestOf(s4, 3), replyOf(s4, 3)
	foreignRequest[headerLen] ^= 1
	huge[headerLen+nonceLen] = 0xff
	for _, test := range []struct {
		name    string
		session session
		message []byte
		ok      bool
		ping    int
		refusal string
		about   string
	}{
		{"reply", s4, replyOf(s4, 3), true, 3, "", ""},
		{"reply 6", s6, replyOf(s6, 70000), true, 70000, "", ""},
		{"our own request, as loopback shows it", s4, requestOf(s4, 3), false, 0, "", ""},
		{"our own request 6", s6, requestOf(s6, 3), false, 0, "", ""},
		{"the other family's reply", s6, replyOf(s4, 3), false, 0, "", ""},
		{"another nonce", s4, foreign, false, 0, "", ""},
		{"another identifier", s4, foreignID, false, 0, "", ""},
		{"a number beyond all bounds", s4, huge, false, 0, "", ""},
		{"without payload", s4, replyOf(s4, 3)[:headerLen], false, 0, "", ""},
		{"cut in the nonce", s4, replyOf(s4, 3)[:headerLen+nonceLen], false, 0, "", ""},
		{"empty", s4, nil, false, 0, "", ""},
		{"host unreachable", s4, errorOf(3, 1, v4, requestOf(s4, 3)), true, 3, "host unreachable", "198.51.100.7"},
		{"with options", s4, errorOf(3, 13, options, requestOf(s4, 3)), true, 3, "administratively prohibited", "198.51.100.7"},
		{"quoting 8 bytes", s4, errorOf(11, 0, v4, requestOf(s4, 3)[:8]), true, -1, "time to live exceeded", "198.51.100.7"},
		{"quoting a foreign request", s4, errorOf(3, 1, v4, foreignRequest), false, 0, "", ""},
		{"quoting a reply", s4, errorOf(3, 1, v4, replyOf(s4, 3)), false, 0, "", ""},
		{"quoting 7 bytes", s4, errorOf(3, 1, v4, requestOf(s4, 3)[:7]), false, 0, "", ""},
		{"quoting half a header", s4, errorOf(3, 1, v4[:11]), false, 0, "", ""},
		{"quoting a cut header with options", s4, errorOf(3, 1, options[:24]), false, 0, "", ""},
		{"quoting nothing", s4, errorOf(3, 1), false, 0, "", ""},
		{"address unreachable 6", s6, errorOf(1, 3, v6, requestOf(s6, 3)), true, 3, "address unreachable", "2001:db8::7"},
		{"too big 6", s6, errorOf(2, 0, v6, requestOf(s6, 3)[:8]), true, -1, "packet too big", "2001:db8::7"},
		{"quoting half a header 6", s6, errorOf(1, 3, v6[:30]), false, 0, "", ""},
		{"source quench", s4, errorOf(4, 0, v4, requestOf(s4, 3)), false, 0, "", ""},
		{"neighbour solicitation", s6, errorOf(135, 0, v6), false, 0, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, ok := test.session.parse(test.message, netip.MustParseAddr("192.0.2.254"), true)
			if ok != test.ok {
				t.Fatalf("ok is %t, want %t", ok, test.ok)
			}
			if !ok {
				return
			}
			about := ""
			if e.about.IsValid() {
				about = e.about.String()
			}
			if e.ping != test.ping || e.refusal != test.refusal || about != test.about {
				t.Errorf("got ping %d, refusal %q about %s, want %d, %q, %s", e.ping, e.refusal, about, test.ping, test.refusal, test.about)
			}
		})
	}
	if e, ok := s4.parse(foreignID, netip.Addr{}, false); !ok || e.ping != 3 {
		t.Error("on a datagram socket the identifier is the kernel's, and must not matter")
	}
}

func TestRefusals(t *testing.T) {
	for _, f := range []family{ipv4Family, ipv6Family} {
		seen := map[string]bool{}
		for kind := range 256 {
			for code := range 16 {
				seen[fixed(f).refusal(byte(kind), byte(code))] = true
			}
		}
		if len(seen) < 8 || !seen[""] {
			t.Errorf("%s: refusals %v", f, seen)
		}
	}
}

// TestFilter runs the kernel's program on the machine of x/net: it has to agree
// with the parser about whose packet it is.
func TestFilter(t *testing.T) {
	s4, s6 := fixed(ipv4Family), fixed(ipv6Family)
	other4, other6 := s4, s6
	other4.id, other6.id = 1, 1
	outer, outerOptions := ipHeader("192.0.2.254", "192.0.2.1", 0), ipHeader("192.0.2.254", "192.0.2.1", 9)
	v4, v6 := ipHeader("192.0.2.1", "198.51.100.7", 0), ipHeader("2001:db8::1", "2001:db8::7", 0)
	v4Options := ipHeader("192.0.2.1", "198.51.100.7", 3)
	join := func(parts ...[]byte) []byte { return []byte(strings.Join(stringsOf(parts), "")) }
	for _, test := range []struct {
		name    string
		session session
		packet  []byte
		pass    bool
	}{
		{"reply", s4, join(outer, replyOf(s4, 1)), true},
		{"reply with options", s4, join(outerOptions, replyOf(s4, 1)), true},
		{"another's reply", s4, join(outer, replyOf(other4, 1)), false},
		{"request", s4, join(outer, requestOf(s4, 1)), false},
		{"unreachable", s4, join(outer, errorOf(3, 1, v4, requestOf(s4, 1))), true},
		{"time exceeded", s4, join(outerOptions, errorOf(11, 0, v4Options, requestOf(s4, 1)[:8])), true},
		{"parameter problem", s4, join(outer, errorOf(12, 0, v4, requestOf(s4, 1))), true},
		{"another's unreachable", s4, join(outer, errorOf(3, 1, v4, requestOf(other4, 1))), false},
		{"redirect", s4, join(outer, errorOf(5, 1, v4, requestOf(s4, 1))), false},
		{"cut", s4, join(outer, replyOf(s4, 1)[:5]), false},
		{"reply 6", s6, replyOf(s6, 1), true},
		{"another's reply 6", s6, replyOf(other6, 1), false},
		{"request 6", s6, requestOf(s6, 1), false},
		{"unreachable 6", s6, errorOf(1, 0, v6, requestOf(s6, 1)), true},
		{"parameter problem 6", s6, errorOf(4, 0, v6, requestOf(s6, 1)), true},
		{"another's unreachable 6", s6, errorOf(1, 0, v6, requestOf(other6, 1)), false},
		{"neighbour solicitation 6", s6, errorOf(135, 0, v6, requestOf(s6, 1)), false},
	} {
		vm, err := bpf.NewVM(test.session.filter())
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(test.packet)
		if err != nil {
			t.Fatal(err)
		}
		if pass := n > 0; pass != test.pass {
			t.Errorf("%s: passes %t, want %t", test.name, pass, test.pass)
		}
	}
}

func stringsOf(parts [][]byte) []string {
	list := make([]string, len(parts))
	for i, p := range parts {
		list[i] = string(p)
	}
	return list
}

// FuzzParse: whatever arrives, the parser neither panics nor takes for ours what
// does not hold our nonce.
func FuzzParse(f *testing.F) {
	s4, s6 := fixed(ipv4Family), fixed(ipv6Family)
	f.Add(replyOf(s4, 3), false)
	f.Add(replyOf(s6, 3), true)
	f.Add(errorOf(3, 1, ipHeader("192.0.2.1", "198.51.100.7", 2), requestOf(s4, 3)), false)
	f.Add(errorOf(3, 1, ipHeader("192.0.2.1", "198.51.100.7", 0), requestOf(s4, 3)[:8]), false)
	f.Add(errorOf(1, 3, ipHeader("2001:db8::1", "2001:db8::7", 0), requestOf(s6, 3)), true)
	f.Fuzz(func(t *testing.T, message []byte, six bool) {
		s := s4
		if six {
			s = s6
		}
		for _, matchID := range []bool{true, false} {
			e, ok := s.parse(message, netip.Addr{}, matchID)
			switch {
			case !ok:
			case e.ping < 0 && (e.refusal == "" || !e.about.IsValid()):
				t.Errorf("an event about nobody: %+v", e)
			case e.ping >= 0 && !strings.Contains(string(message), string(s.nonce[:])):
				t.Errorf("%+v without our nonce", e)
			}
		}
		if _, _, message, ok := stripIPv4(message); ok {
			s.parse(message, netip.Addr{}, true)
		}
	})
}
