package icmp

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/monitord/monitord/internal/icmp/icmptest"
)

// TestPinger asks hosts that answer as told, on both kinds of sockets.
func TestPinger(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	answers := map[byte]icmptest.Answer{
		2: icmptest.Silence, 3: icmptest.Refuse, 4: icmptest.FromAnother, 5: icmptest.Forged, 6: icmptest.Twice, 7: icmptest.Reply,
	}
	icmptest.New(t, func(to netip.Addr, _ int) icmptest.Answer {
		octets := to.AsSlice()
		return answers[octets[len(octets)-1]]
	})
	t.Run("raw", testPinger)
	icmptest.PermitDatagrams(t)
	t.Run("datagram", testPinger)
}

func testPinger(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		want   []int // the pings that are answered, of 0 and 1
	}{
		"silent":             {"10.77.0.2", nil},
		"refused":            {"10.77.0.3", nil},
		"another answers":    {"10.77.0.4", nil},
		"forged, then right": {"10.77.0.5", []int{0, 1}},
		"twice":              {"10.77.0.6", []int{0, 0, 1, 1}},
		"one":                {"10.77.0.7", []int{0, 1}},
		"silent, v6":         {"fd77::2", nil},
		"refused, v6":        {"fd77::3", nil},
		"another, v6":        {"fd77::4", nil},
		"forged, v6":         {"fd77::5", []int{0, 1}},
		"twice, v6":          {"fd77::6", []int{0, 0, 1, 1}},
		"one, v6":            {"fd77::7", []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := OpenPinger(netip.MustParseAddr(c.target), netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			for k := range 2 {
				if err := p.Ping("test0", k); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range c.want {
				if got, err := p.Answered(); got != want || err != nil {
					t.Fatalf("answer %d: %d, want %d: %v", i, got, want, err)
				}
			}
			// Whoever answers in another way has done so by the time that a good host,
			// asked later, has.
			good(t)
			if _, err := p.receive(p.descriptor.fd); err == nil {
				t.Error("one more answer")
			}
			if err := p.Ping("test7", 2); err == nil {
				t.Error("sent through a device that does not exist")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if _, err := p.Answered(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

func good(t *testing.T) {
	t.Helper()
	p, err := OpenPinger(netip.MustParseAddr("10.77.0.7"), netip.MustParseAddr("10.77.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.Ping("test0", 5); err != nil {
		t.Fatal(err)
	}
	if k, err := p.Answered(); k != 5 || err != nil {
		t.Errorf("answer %d, %v", k, err)
	}
}

func TestPingerSourceOfTheOtherKind(t *testing.T) {
	if _, err := OpenPinger(netip.MustParseAddr("10.77.0.7"), netip.MustParseAddr("fd77::1")); err == nil {
		t.Error("opened")
	}
}
