package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// Any are mistakes of executors that nothing but several addresses reveals: what holds
// for one of them is said of all.
type Any int

// The mistakes.
const (
	// AnyGone: what is left when one is gone does not count.
	AnyGone Any = 1 << iota
	// AnyDropped: a group is dropped when one of its addresses is.
	AnyDropped
	// AnyLaid: it is taken or renewed when one is.
	AnyLaid
)

// severalAddresses gives the groups of every third cluster up to three addresses, and
// faults of one of them. It draws from a source of its own, so that the other schedules
// are what they were.
func (s *Schedule) severalAddresses(r *rand.Rand) {
	if r.IntN(3) != 0 {
		return
	}
	most := 1
	for i := range s.Setup.Groups {
		if g := &s.Setup.Groups[i]; !g.Bare {
			g.Addresses = 1 + r.IntN(3)
			most = max(most, g.Addresses)
		}
	}
	if most == 1 {
		s.Setup.Groups[0].Addresses = 2 + r.IntN(2)
	}
	for i := range s.Faults {
		s.Faults[i].ofAddress(r)
	}
	if s.Setup.Single {
		for i := range s.Faults {
			if at := s.Faults[i].At; r.IntN(2) == 0 {
				s.Faults[i] = newAddressFault(r, s.Setup)
				s.Faults[i].At = at
			}
		}
		return
	}
	for range 1 + r.IntN(3) {
		f := newAddressFault(r, s.Setup)
		f.At = Time(r.IntN(6000)) * ms
		if n := len(s.Faults); n > 0 && r.IntN(3) > 0 {
			near := s.Faults[r.IntN(n)]
			f.At = near.At + Time(r.Int64N(int64(near.For+300*ms)))
		}
		s.Faults = append(s.Faults, f)
	}
	if r.IntN(6) == 0 {
		s.Faults = append(s.Faults, torn(r)...)
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// addressChances are the kinds that are about one address of several, or about the
// moment between two.
var addressChances = []chance{
	{Remove, 4},
	{KernelFails, 4},
	{Stranger, 1},
	{SwitchRemove, 3},
	{SwitchRefuse, 3},
	{Halfway, 4},
}

func newAddressFault(r *rand.Rand, s Setup) Fault {
	f := newFault(r, s, addressChances)
	switch f.Kind { //nolint:exhaustive // the other faults do not matter here
	case SwitchRemove:
		f.For = []Time{10 * ms, 50 * ms, 400 * ms}[r.IntN(3)]
		f.Arg = r.IntN(4)
	case SwitchRefuse:
		f.Arg = r.IntN(4)
	case Halfway:
		f.Arg = r.IntN(2)
	}
	f.ofAddress(r)
	return f
}

// ofAddress makes a fault one of an address, where it may be.
func (f *Fault) ofAddress(r *rand.Rand) {
	switch f.Kind {
	case KernelFails:
		f.Arg = r.IntN(2 * refuseDrops)
		if r.IntN(3) == 0 {
			f.For += 5000 * ms // longer than a group may be nobody's
		}
	case Remove, Stranger, SwitchRemove, SwitchRefuse:
	default:
		return
	}
	f.Address = r.IntN(4)
}

// torn: the kernel renews one address no more, and another one, whose lease is younger
// then, it does not remove.
func torn(r *rand.Rand) []Fault {
	at, of := Time(2000+r.IntN(3000))*ms, 1+r.IntN(2)
	return []Fault{
		{At: at, For: Time(400+r.IntN(900)) * ms, Kind: KernelFails, Node: Owner, Other: Second, Arg: refuseRenew, Address: of},
		{At: at + Time(r.IntN(700))*ms, For: Time(800+r.IntN(2500)) * ms, Kind: KernelFails, Node: Owner, Other: Second, Arg: refuseDrop, Address: 3 - of},
	}
}

// addresses is how many a group has; one without any is held as if it had one.
func (s Setup) addresses(group int) int { return max(1, s.Groups[group].Addresses) }

// about tells whether a fault of an address, or 0, is about one of a group's.
func (s Setup) about(group, which, address int) bool {
	return which == 0 || (which-1)%s.addresses(group) == address
}

// bits are those of a group's addresses that a fault is about.
func (s Setup) bits(group, which int) uint {
	var bits uint
	for k := range s.addresses(group) {
		if s.about(group, which, k) {
			bits |= 1 << k
		}
	}
	return bits
}

func (s Setup) addressName(group, address int) string {
	if s.addresses(group) == 1 {
		return groupName(group)
	}
	return fmt.Sprintf("%s/%d", groupName(group), address+1)
}

// holdsAll tells whether a kernel has all addresses of a group.
func (n *node) holdsAll(group int) bool {
	return !slices.ContainsFunc(n.addresses[group], func(a address) bool { return !a.held })
}

// asks is for which addresses a probe asks: of several each in its part, and the one
// that was answered for last in all of them.
func (n *node) asks(group int, p director.Probe) []int {
	if n.w.setup.addresses(group) == 1 {
		return []int{0}
	}
	var asked []int
	for k := range n.w.setup.addresses(group) {
		if p.Parts <= 1 || k%p.Parts == p.Part || k == n.known[group] {
			asked = append(asked, k)
		}
	}
	return asked
}

// claimPause lies at least between two claims to addresses of one group that are handed over.
const claimPause = 10 * ms

// claim hands over that another announces one of a group's addresses.
func (n *node) claim(group int, by director.Answerer) {
	if n.running && n.w.setup.addresses(group) > 1 {
		if n.w.now-n.claimed[group] < claimPause {
			return
		}
		n.claimed[group] = n.w.now
	}
	n.receive(director.ForeignClaim{Group: groupName(group), By: by})
}
