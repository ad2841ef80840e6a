package netif_test

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/monitord/monitord/internal/netif"
)

func TestReadFrame(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	four := netif.Announcement(mac, netip.MustParseAddr("192.0.2.1"), false)[1]
	six := netif.Announcement(mac, netip.MustParseAddr("fd00::1"), true)[0]
	set := func(frame []byte, at int, octets ...byte) []byte {
		changed := slices.Clone(frame)
		copy(changed[at:], octets)
		return changed
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  string // empty: nothing is claimed
	}{
		{"ARP reply", four, "192.0.2.1 is at 02:00:00:00:00:01"},
		{"ARP reply with the padding of Ethernet", append(slices.Clone(four), make([]byte, 18)...), "192.0.2.1 is at 02:00:00:00:00:01"},
		{"ARP probe", set(four, 28, 0, 0, 0, 0), ""},
		{"ARP of another hardware", set(four, 15, 32), ""},
		{"reverse ARP", set(four, 21, 3), ""},
		{"ARP cut", four[:41], ""},
		{"advertisement", six, "fd00::1 is at 02:00:00:00:00:01"},
		{"another sender than in the option", set(six, 6, 2, 9, 9, 9, 9, 9), "fd00::1 is at 02:00:00:00:00:01"},
		{"no option", set(six[:14+40+24], 18, 0, 24), "fd00::1 is at 02:00:00:00:00:01"},
		{"forwarded by a router", set(six, 21, 254), ""},
		{"solicitation", set(six, 54, 135), ""},
		{"not ICMPv6", set(six, 20, 17), ""},
		{"length beyond the frame", set(six, 18, 1, 0), ""},
		{"length too small", set(six, 18, 0, 23), ""},
		{"option of length 0", set(six, 79, 0), ""},
		{"option beyond the end", set(six, 79, 9), ""},
		{"target a group", set(six, 62, 0xff), ""},
		{"advertisement cut", six[:70], ""},
		{"IPv4", set(four, 12, 8, 0), ""},
		{"nothing", nil, ""},
	} {
		got := ""
		if claim, ok := netif.ReadFrame(c.frame); ok {
			got = claim.Says()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, a := range []string{"192.0.2.1", "fd00::1"} {
		for _, frame := range netif.Announcement(mac, netip.MustParseAddr(a), false) {
			f.Add(frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		claim, ok := netif.ReadFrame(frame)
		if !bytes.Equal(before, frame) {
			t.Error("the frame was changed")
		}
		if ok && claim.Says() == "" {
			t.Error("a claim of nothing")
		}
	})
}
