package relay

import (
	"cmp"

	"github.com/monitord/monitord/internal/lvs"
)

// A scheduler chooses the server of a new connection, never one of weight 0; nil
// if there is no other. The service's lock is held.
//
// The orders are the kernel's (net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc}.c) with
// one difference: the kernel's list begins with the server added last, the
// relay's is in the configuration's order.
type scheduler interface {
	next(servers []*server) *server
	// changed is called when servers or weights have changed.
	changed(servers []*server)
}

func newScheduler(name lvs.Scheduler) scheduler {
	switch name { //nolint:exhaustive // a service with another scheduler is refused before
	case lvs.RoundRobin:
		return &roundRobin{last: -1}
	case lvs.WeightedRoundRobin:
		return &weightedRoundRobin{last: -1}
	case lvs.LeastConnection:
		return leastConnection{}
	case lvs.WeightedLeastConnection:
		return leastConnection{weighted: true}
	}
	return nil
}

// roundRobin takes each in turn. It goes on from its place in the list.
type roundRobin struct{ last int }

func (r *roundRobin) next(servers []*server) *server {
	for range servers {
		r.last = (r.last + 1) % len(servers)
		if s := servers[r.last]; s.weight > 0 {
			return s
		}
	}
	return nil
}

func (r *roundRobin) changed(servers []*server) { r.last = min(r.last, len(servers)-1) }

// weightedRoundRobin walks the list once for each level of weight, from the
// highest down in steps of the greatest common divisor, and takes the servers
// that reach the level: weights 4, 3, 2 give A AB ABC ABC. The lowest level is 1
// whatever the divisor, as in the kernel.
type weightedRoundRobin struct {
	last  int // place of the last choice; -1 is before the first
	level int
	top   int
	step  int
}

func (w *weightedRoundRobin) next(servers []*server) *server {
	if w.top == 0 {
		return nil
	}
	// No level is above the greatest weight, so a whole round finds a server.
	for range 2 {
		for w.last++; w.last < len(servers); w.last++ {
			if s := servers[w.last]; s.weight >= w.level {
				return s
			}
		}
		w.last = -1
		if w.level -= w.step; w.level <= 0 {
			w.level = w.top
		}
	}
	return nil
}

// changed begins the list anew and keeps the level, brought to a multiple of the
// new step.
func (w *weightedRoundRobin) changed(servers []*server) {
	w.last, w.step, w.top = -1, 0, 0
	for _, s := range servers {
		w.step = divisor(w.step, s.weight)
		w.top = max(w.top, s.weight)
	}
	if w.top == 0 {
		return
	}
	w.top -= w.step - 1
	if w.level > w.top || w.level <= 0 {
		w.level = w.top
	} else if w.step > 1 {
		w.level = w.level/w.step*w.step + 1
	}
}

// divisor is the greatest common one; 0 has all.
func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// leastConnection takes the server with the fewest connections in proportion to
// its weight. The kernel counts 256 for an open connection and 1 for one that
// has lately ended. The relay does not know about connections that have ended:
// among servers equally loaded it takes the one chosen least often in proportion
// to its weight since the table changed, so short connections follow the weights
// too, and a server that returns is not flooded.
type leastConnection struct{ weighted bool }

func (l leastConnection) weight(s *server) uint64 {
	if l.weighted {
		return uint64(s.weight)
	}
	return 1
}

func (l leastConnection) next(servers []*server) *server {
	var best *server
	for _, s := range servers {
		if s.weight > 0 && (best == nil || l.less(s, best)) {
			best = s
		}
	}
	if best != nil {
		best.chosen++
	}
	return best
}

// less compares the loads as fractions, without division. Weights are below
// 65,536, so the products would overflow after 2^48 connections.
func (l leastConnection) less(a, b *server) bool {
	wa, wb := l.weight(a), l.weight(b)
	if c := cmp.Compare(uint64(a.active)*wb, uint64(b.active)*wa); c != 0 {
		return c < 0
	}
	return a.chosen*wb < b.chosen*wa
}

func (l leastConnection) changed(servers []*server) {
	for _, s := range servers {
		s.chosen = 0
	}
}
