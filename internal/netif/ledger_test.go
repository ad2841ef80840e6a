package netif

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// A proof counts once, for the last question, and in its time; a claim is an answer
// for a second.
func TestLedger(t *testing.T) {
	vip, gateway := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.254")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	proof := claim{address: gateway, mac: mac, unicast: true, answer: true}
	type step struct {
		ask  uint64 // else hear
		hear claim
		at   time.Duration
		want SightingKind
		id   uint64 // 0: nothing is seen
	}
	for name, steps := range map[string][]step{
		"once":             {{ask: 1}, {hear: proof, want: Works, id: 1}, {hear: proof}},
		"the last":         {{ask: 1}, {ask: 2}, {hear: proof, want: Works, id: 2}, {hear: proof}},
		"each":             {{ask: 1}, {hear: proof, want: Works, id: 1}, {ask: 2}, {hear: proof, want: Works, id: 2}},
		"too slow":         {{ask: 1}, {hear: proof, at: askedLately + 1}},
		"to everybody":     {{ask: 1}, {hear: claim{address: gateway, mac: mac, answer: true}}},
		"not an answer":    {{ask: 1}, {hear: claim{address: gateway, mac: mac, unicast: true}}},
		"nobody asked":     {{hear: proof}},
		"an answer":        {{ask: 1}, {hear: claim{address: vip, mac: mac}, at: askedLately, want: Answered, id: 1}},
		"an answer, late":  {{ask: 1}, {hear: claim{address: vip, mac: mac}, at: askedLately + 1}},
		"the own answer":   {{ask: 1}, {hear: claim{address: vip, mac: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}},
		"of another thing": {{ask: 1}, {hear: claim{address: vip.Next(), mac: mac}}},
	} {
		l := newLedger()
		l.own = []net.HardwareAddr{{2, 0, 0, 0, 0, 1}}
		for i, s := range steps {
			if s.ask != 0 {
				l.ask(Question{ID: s.ask, Addresses: []netip.Addr{vip}, Gateways: []netip.Addr{gateway}}, s.at)
				continue
			}
			got := l.hear(s.hear, s.at)
			if s.id == 0 && len(got) > 0 || s.id != 0 && (len(got) != 1 || got[0].Kind != s.want || got[0].ID != s.id) {
				t.Errorf("%s, step %d: got %+v, want %s of %d", name, i+1, got, s.want, s.id)
			}
		}
	}
}

// What was asked once is not kept for ever.
func TestLedgerForgets(t *testing.T) {
	l := newLedger()
	a := netip.MustParseAddr("fd00::1")
	for i := range 10000 {
		l.ask(Question{ID: 1, Addresses: []netip.Addr{a}, Gateways: []netip.Addr{a}}, time.Duration(i)*10*time.Millisecond)
		a = a.Next()
	}
	if len(l.asked) > 101 || len(l.proofs) > 101 {
		t.Errorf("%d questions and %d proofs are kept, want those of a second", len(l.asked), len(l.proofs))
	}
}
