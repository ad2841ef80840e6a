package netif

import (
	"net/netip"
	"slices"
	"sync"
)

const (
	// mostAnswers and mostClaims are how many sightings wait for a reader. Of one question
	// there are as many answers as addresses, some hundreds, and each is a claim, too.
	mostAnswers = 4096
	mostClaims  = 2048
	// mostMachines is how many machines are told of that say the same of one address: a
	// forger has as many as he likes.
	mostMachines = 8
)

// A mailbox holds sightings for a reader. What waits already does not wait twice, so that
// it is no matter how often something is said. Answers and proofs, by which it is decided
// whether an address is taken, have a room of their own: no flood of claims and searches
// pushes one of them out. It is safe for concurrent use.
type mailbox struct {
	wake chan struct{} // holds one token while something waits

	mu              sync.Mutex // protects what follows
	answers, claims shelf
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), answers: newShelf(mostAnswers), claims: newShelf(mostClaims)}
}

// put never waits: of more than there is room for the oldest are forgotten.
func (b *mailbox) put(s Sighting) {
	b.mu.Lock()
	switch s.Kind {
	case Answered, Works:
		b.answers.put(s)
	case Claimed, Sought:
		b.claims.put(s)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest answer or proof, and the oldest of the others if there is none.
func (b *mailbox) take() (Sighting, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.answers.take(); ok {
		return s, true
	}
	return b.claims.take()
}

// empty forgets everything.
func (b *mailbox) empty() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers, b.claims = newShelf(mostAnswers), newShelf(mostClaims)
}

// A saying is what several machines may say at the same time.
type saying struct {
	kind    SightingKind
	id      uint64
	address netip.Addr
	alone   bool
}

func (s Sighting) saying() saying { return saying{s.Kind, s.ID, s.Address, s.Alone} }

// A shelf holds sightings in their order.
type shelf struct {
	room    int
	waiting []Sighting
	by      map[saying][]string // the machines that said what waits
}

func newShelf(room int) shelf { return shelf{room: room, by: map[saying][]string{}} }

func (s *shelf) put(one Sighting) {
	what, mac := one.saying(), string(one.MAC)
	machines := s.by[what]
	if len(machines) >= mostMachines || slices.Contains(machines, mac) {
		return
	}
	s.by[what], s.waiting = append(machines, mac), append(s.waiting, one)
	if len(s.waiting) > s.room {
		s.take()
	}
}

func (s *shelf) take() (Sighting, bool) {
	if len(s.waiting) == 0 {
		return Sighting{}, false
	}
	one := s.waiting[0]
	s.waiting[0] = Sighting{}
	s.waiting = s.waiting[1:]
	// Of what was said by several the oldest waited first.
	if what := one.saying(); len(s.by[what]) > 1 {
		s.by[what] = s.by[what][1:]
	} else {
		delete(s.by, what)
	}
	return one, true
}
