package netif

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

// machine is the nth machine on a network.
func machine(n int) net.HardwareAddr {
	return binary.BigEndian.AppendUint32(net.HardwareAddr{2, 0}, uint32(n)) //nolint:gosec // it is small
}

// nth is the nth address.
func nth(n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(n)))) //nolint:gosec // it is small
}

// emptied are the sightings that wait, in the order in which they are taken.
func emptied(b *mailbox) (all []Sighting) {
	for s, ok := b.take(); ok; s, ok = b.take() {
		all = append(all, s)
	}
	return all
}

// Who floods the network loses no answer and no proof to those who ask: whatever he says,
// however often, and under as many names as he likes.
func TestFloodLosesNoAnswer(t *testing.T) {
	const flood = 100_000
	answer, proof := Sighting{Kind: Answered, ID: 7, Address: nth(1), MAC: machine(1), Alone: true}, Sighting{Kind: Works, ID: 7, Address: nth(0), MAC: machine(0)}
	for name, forged := range map[string]func(i int) Sighting{
		"the same claim":             func(int) Sighting { return Sighting{Kind: Claimed, Address: nth(2), MAC: machine(2)} },
		"claims of many":             func(i int) Sighting { return Sighting{Kind: Claimed, Address: nth(2), MAC: machine(i)} },
		"searches by many":           func(i int) Sighting { return Sighting{Kind: Sought, Address: nth(1), MAC: machine(i)} },
		"searches for all":           func(i int) Sighting { return Sighting{Kind: Sought, Address: nth(i % 820), MAC: machine(i)} },
		"the same answer":            func(int) Sighting { return Sighting{Kind: Answered, ID: 7, Address: nth(2), MAC: machine(2)} },
		"answers of many to another": func(i int) Sighting { return Sighting{Kind: Answered, ID: 6, Address: nth(2), MAC: machine(i)} },
		"answers of many":            func(i int) Sighting { return Sighting{Kind: Answered, ID: 7, Address: nth(1), MAC: machine(9 + i)} },
	} {
		b := newMailbox()
		b.put(answer)
		for i := range flood {
			b.put(forged(i))
			if i == flood/2 {
				b.put(proof)
			}
		}
		answered, proved, all := 0, 0, emptied(b)
		for _, s := range all {
			switch {
			case s.Kind == answer.Kind && s.ID == answer.ID && s.Address == answer.Address && s.Alone:
				answered++
			case s.Kind == proof.Kind && s.ID == proof.ID:
				proved++
			}
		}
		if answered != 1 || proved != 1 {
			t.Errorf("%s: the answer was handed over %d times, the proof %d times", name, answered, proved)
		}
		if most := mostAnswers + mostClaims; len(all) > most {
			t.Errorf("%s: %d waited, at most %d may", name, len(all), most)
		}
	}
}

// While there is room nothing that is different is lost, and each kind keeps its order.
func TestMailboxKeepsWhatIsDifferent(t *testing.T) {
	b := newMailbox()
	const addresses, machines = 820, 2
	for i := range addresses {
		for m := range machines {
			for range 3 {
				b.put(Sighting{Kind: Answered, ID: 1, Address: nth(i), MAC: machine(m)})
				b.put(Sighting{Kind: Answered, ID: 2, Address: nth(i), MAC: machine(m)})
				b.put(Sighting{Kind: Claimed, Address: nth(i), MAC: machine(m)})
			}
		}
	}
	all := emptied(b)
	if len(all) != 3*addresses*machines {
		t.Fatalf("%d were handed over, want %d", len(all), 3*addresses*machines)
	}
	last := map[saying]netip.Addr{}
	for i, s := range all {
		if claims := i >= 2*addresses*machines; claims != (s.Kind == Claimed) {
			t.Fatalf("the %dth is %+v: answers come first", i, s)
		}
		of := saying{kind: s.Kind, id: s.ID}
		if before, ok := last[of]; ok && s.Address.Less(before) {
			t.Fatalf("%s of %s comes after that of %s", s.Kind, s.Address, before)
		}
		last[of] = s.Address
	}
	if len(b.answers.by)+len(b.claims.by) != 0 {
		t.Errorf("%d and %d are remembered when nothing waits", len(b.answers.by), len(b.claims.by))
	}
}

// What was taken is news when it is said again.
func TestMailboxTakesAgain(t *testing.T) {
	b := newMailbox()
	for range 3 {
		for m := range 3 {
			b.put(Sighting{Kind: Claimed, Address: nth(1), MAC: machine(m)})
		}
		for m := range 3 {
			if s, ok := b.take(); !ok || s.MAC.String() != machine(m).String() {
				t.Errorf("got %+v, want what machine %d says", s, m)
			}
		}
	}
	b.put(Sighting{Kind: Answered, Address: nth(1)})
	b.put(Sighting{Kind: Claimed, Address: nth(1)})
	b.empty()
	if s, ok := b.take(); ok {
		t.Errorf("emptied, it has %+v", s)
	}
}

// Of more than there is room for the oldest go, never the newest.
func TestMailboxIsFull(t *testing.T) {
	b := newMailbox()
	const more = 10
	for i := range mostAnswers + more {
		b.put(Sighting{Kind: Answered, ID: uint64(i), Address: nth(1), MAC: machine(1)}) //nolint:gosec // it is small
	}
	all := emptied(b)
	if len(all) != mostAnswers || all[0].ID != more || all[len(all)-1].ID != mostAnswers+more-1 {
		t.Errorf("%d waited, from %d to %d", len(all), all[0].ID, all[len(all)-1].ID)
	}
}
