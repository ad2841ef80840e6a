package sim

import "testing"

// TestException: the one case in which a single fault leaves two kernels that
// answer, and each of the things that are enough to be safe from it.
func TestException(t *testing.T) {
	tests := []struct {
		name     string
		change   func(*Setup)
		overlaps bool
	}{
		{"two directors, no relay, no witness, a cut that ARP does not pass", func(*Setup) {}, true},
		{"strict only makes it later", func(s *Setup) { s.Strict, s.LatestExpiry = true, 500*ms }, true},
		{"the gateway relays", func(s *Setup) { s.Relay = true }, false},
		{"a second network", func(s *Setup) { s.Back = true }, false},
		{"a witness", func(s *Setup) { s.Witnesses = 1 }, false},
		{"a third director", func(s *Setup) { s.Directors = 3 }, false},
		{`on_peer_silent = "hold"`, func(s *Setup) { s.HoldStill = true }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := plain(Fault{At: 100 * ms, For: 4000 * ms, Kind: Partition, Node: Owner, Other: Second})
			s.Setup.Relay = false
			test.change(&s.Setup)
			r := Run(s, Options{})
			if r.Violation != nil {
				t.Error(r.Violation)
			}
			if got := r.Overlaps > 0; got != test.overlaps {
				t.Errorf("overlaps: %v, want %v", got, test.overlaps)
			}
		})
	}
}

// TestARPDecides: where the LAN carries ARP between the directors, it is enough.
func TestARPDecides(t *testing.T) {
	s := plain(Fault{At: 100 * ms, For: 4000 * ms, Kind: Heartbeats, Node: Owner, Other: Second, Arg: 1})
	s.Setup.Relay = false
	if r := Run(s, Options{}); r.Violation != nil || r.Overlaps > 0 {
		t.Errorf("%v, %d overlaps", r.Violation, r.Overlaps)
	}
}

// TestUnnoticed: the exception of two devices, a driver that tells too late, and each of
// the things that are enough to be safe from it.
func TestUnnoticed(t *testing.T) {
	tests := []struct {
		name     string
		change   func(*Setup)
		late     int
		overlaps bool
	}{
		{"any gateway, heartbeats over the lost device alone", func(*Setup) {}, 700, true},
		{"the driver tells", func(*Setup) {}, 150, false},
		{"all gateways are needed", func(s *Setup) { s.AllGateways = true }, 700, false},
		{"the gateways are all behind the device", func(s *Setup) { s.GatewaySecond = false }, 700, false},
		{"heartbeats over both devices", func(s *Setup) { s.Back, s.BackOnSecond = true, true }, 700, false},
		{"a witness", func(s *Setup) { s.Witnesses = 1 }, 700, false},
		{`on_peer_silent = "hold"`, func(s *Setup) { s.HoldStill = true }, 700, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := plain(Fault{At: 100 * ms, For: 347 * ms, Kind: Unplug, Node: Owner, Other: Second, Arg: test.late})
			s.Setup.Gateways, s.Setup.Two, s.Setup.GatewaySecond = 2, true, true
			test.change(&s.Setup)
			r := Run(s, Options{})
			if r.Violation != nil {
				t.Error(r.Violation)
			}
			if got := r.Overlaps > 0; got != test.overlaps {
				t.Errorf("overlaps: %v, want %v", got, test.overlaps)
			}
		})
	}
}
