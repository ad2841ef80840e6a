package ipvs

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// union is an address as the kernel puts it: 16 bytes, of which IPv4 has the
// first four.
func union(s string) []byte {
	b := make([]byte, 16)
	copy(b, netip.MustParseAddr(s).AsSlice())
	return b
}

// stats numbers the counters from first on.
func stats(first uint64, wide bool) []byte {
	var b []byte
	for i := range uint16(10) {
		v := first + uint64(i)
		if wide || i == 3 || i == 4 { // bytes always have 64 bits
			b = append(b, attr(i+1, u64(v)...)...)
			b = append(b, attr(11)...) // IPVS_STATS_ATTR_PAD
		} else {
			b = append(b, attr(i+1, u32(uint32(v))...)...)
		}
	}
	return b
}

var (
	narrow = Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	wide   = Stats{1<<40 + 0, 1<<40 + 1, 1<<40 + 2, 1<<40 + 3, 1<<40 + 4, 1<<40 + 5, 1<<40 + 6, 1<<40 + 7, 1<<40 + 8, 1<<40 + 9}
)

func TestDecodeService(t *testing.T) {
	identity := join(attr(svcFamily, u16(2)...), attr(svcProtocol, u16(6)...), attr(svcAddress, union("10.0.0.1")...), attr(svcPort, 0, 80))
	settings := func(flags, timeout uint32, mask ...byte) []byte {
		return join(attr(svcScheduler, str("wlc")...), attr(svcFlags, join(u32(flags), u32(0xffffffff))...), attr(svcTimeout, u32(timeout)...), attr(svcNetmask, mask...))
	}
	cases := []struct {
		name string
		data []byte
		want Service
	}{
		{
			"persistent, hashed, both kinds of counters",
			nested(attrService, identity, settings(3, 50, 255, 255, 255, 0), attr(svcStats, stats(1, false)...), attr(svcEngine, str("sip")...), attr(svcStats64, stats(1<<40, true)...)),
			Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Flags: Persistent, Timeout: 50, Prefix: 24, Engine: "sip", Stats: wide},
		},
		{
			"the wide counters first",
			nested(attrService, identity, settings(2, 0, 255, 255, 255, 255), attr(svcStats64, stats(1<<40, true)...), attr(svcStats, stats(1, false)...)),
			Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Prefix: 32, Stats: wide},
		},
		{
			"before Linux 4.1",
			nested(attrService, identity, settings(2, 0, 255, 255, 255, 255), attr(svcStats, stats(1, false)...)),
			Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Prefix: 32, Stats: narrow},
		},
		{
			"a mask without length",
			nested(attrService, identity, settings(0, 0, 255, 0, 255, 0)),
			Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Prefix: -1},
		},
		{
			"a mask of nothing",
			nested(attrService, identity, settings(0, 0, 0, 0, 0, 0)),
			Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Prefix: -1},
		},
		{
			"mark, IPv6, one packet, scheduler flags",
			nested(attrService, attr(svcFamily, u16(10)...), attr(svcFWMark, u32(9)...), settings(4|8|16|32, 0, u32(128)...)),
			Service{Key: MarkKey(9, INET6), Scheduler: "wlc", Flags: OnePacket | Sched1 | Sched2 | Sched3, Prefix: 128},
		},
		{
			"IPv6",
			nested(attrService, attr(svcFamily, u16(10)...), attr(svcProtocol, u16(132)...), attr(svcAddress, union("2001:db8::1")...), attr(svcPort, 1, 0), settings(0, 0, u32(64)...), attr(99, 1, 2, 3)),
			Service{Key: AddressKey(SCTP, ap("[2001:db8::1]:256")), Scheduler: "wlc", Prefix: 64},
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got, err := decodeService(tc.data)
			if diff := cmp.Diff(tc.want, got, sameAddresses); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDecodeDestination(t *testing.T) {
	at := func(a string) []byte { return join(attr(destAddress, union(a)...), attr(destPort, 0x1f, 0x90)) }
	numbers := join(attr(destWeight, u32(70000)...), attr(destUpper, u32(20)...), attr(destLower, u32(10)...),
		attr(destActive, u32(3)...), attr(destInactive, u32(4)...), attr(destPersistent, u32(5)...))
	tunnel := join(attr(destTunnelType, 1), attr(destTunnelPort, 0x17, 0xc0), attr(destTunnelFlags, u16(1)...))
	base := Destination{Weight: 70000, Upper: 20, Lower: 10, Active: 3, Inactive: 4, Persistent: 5}
	cases := []struct {
		name   string
		family Family // of the service
		data   []byte
		want   func(*Destination)
	}{
		{"direct routing, connection flags beside the method", INET, join(at("10.0.0.2"), numbers, attr(destForward, u32(0x1f03)...), attr(destFamily, u16(2)...), attr(destStats, stats(1, false)...), attr(destStats64, stats(1<<40, true)...)), func(d *Destination) {
			d.Address, d.Forward, d.Stats = ap("10.0.0.2:8080"), Route, wide
		}},
		{"gue", INET, join(at("2001:db8::2"), numbers, attr(destForward, u32(2)...), attr(destFamily, u16(10)...), tunnel), func(d *Destination) {
			d.Address, d.Forward, d.Tunnel = ap("[2001:db8::2]:8080"), Tunnel, Encapsulation{GUE, 6080, Checksum}
		}},
		{"what a tunnel left behind", INET, join(at("10.0.0.2"), numbers, attr(destForward, u32(0)...), attr(destFamily, u16(2)...), tunnel), func(d *Destination) {
			d.Address = ap("10.0.0.2:8080")
		}},
		{"before Linux 3.18", INET6, join(at("2001:db8::2"), numbers, attr(destForward, u32(1)...)), func(d *Destination) {
			d.Address, d.Forward = ap("[2001:db8::2]:8080"), Local
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			want := base
			tc.want(&want)
			got, err := decodeDestination(nested(attrDest, tc.data), tc.family)
			if diff := cmp.Diff(want, got, sameAddresses); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDecodeOthers(t *testing.T) {
	info, err := decodeInfo(join(attr(infoVersion, u32(0x010203)...), attr(infoTableSize, u32(4096)...)))
	if err != nil || info != (Info{"1.2.3", 4096}) {
		t.Errorf("info %+v, %v", info, err)
	}
	timeouts, err := decodeTimeouts(join(attr(attrTimeoutTCP, u32(900)...), attr(attrTimeoutTCPFin, u32(120)...), attr(attrTimeoutUDP, u32(300)...)))
	if err != nil || timeouts != (Timeouts{15 * time.Minute, 2 * time.Minute, 5 * time.Minute}) {
		t.Errorf("timeouts %+v, %v", timeouts, err)
	}
	daemon, err := decodeDaemon(nested(attrDaemon, attr(daemonRole, u32(1)...), attr(daemonInterface, str("eth0")...), attr(daemonSyncID, u32(7)...),
		attr(daemonMaxLength, u16(1472)...), attr(daemonGroup, 224, 0, 0, 81), attr(daemonPort, u16(8848)...), attr(daemonTTL, 1)))
	want := Daemon{Master, "eth0", 7, 1472, netip.MustParseAddr("224.0.0.81"), 8848, 1}
	if err != nil || daemon != want {
		t.Errorf("daemon %+v, %v, want %+v", daemon, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := nested(attrService, attr(svcFamily, u16(10)...), attr(svcProtocol, u16(6)...), attr(svcAddress, union("10.0.0.1")...), attr(svcPort, 0, 80))
	cases := map[string][]byte{
		"nothing":                   nil,
		"another attribute":         nested(attrDest, attr(1, 1)),
		"cut short":                 good[:len(good)-5],
		"a length beyond the end":   append(u16(200), good[2:]...),
		"a family of three bytes":   nested(attrService, attr(svcFamily, 1, 2, 3)),
		"a service without address": nested(attrService, attr(svcFamily, u16(2)...)),
		"four bytes of IPv6":        nested(attrService, attr(svcFamily, u16(10)...), attr(svcAddress, 1, 2, 3, 4)),
	}
	for name, data := range cases {
		if s, err := decodeService(data); err == nil {
			t.Errorf("%s: accepted as %+v", name, s)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(nested(attrService, attr(svcFamily, u16(2)...), attr(svcAddress, union("10.0.0.1")...), attr(svcStats64, stats(1, true)...)))
	f.Add(nested(attrDest, attr(destAddress, union("::1")...), attr(destFamily, u16(10)...), attr(destTunnelPort, 1)))
	f.Add(binary.NativeEndian.AppendUint32(nil, 0xffffffff))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decodeService(data); err == nil && s.Key.FWMark == 0 && !s.Key.Address.Addr().IsValid() {
			t.Errorf("a service without address: %+v", s)
		}
		if d, err := decodeDestination(data, INET); err == nil && !d.Address.Addr().IsValid() {
			t.Errorf("a destination without address: %+v", d)
		}
		_, _ = decodeDaemon(data)
		_, _ = decodeInfo(data)
		_, _ = decodeTimeouts(data)
	})
}
