package netif

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"
)

// askedLately is for how long a claim is the answer to a question.
const askedLately = time.Second

// A ledger knows what was asked, and what a claim says about it. It is not safe for
// concurrent use.
type ledger struct {
	own     []net.HardwareAddr
	guarded []netip.Addr
	asked   map[netip.Addr]asked
	// proofs are, for each gateway, the last question, until it is answered.
	proofs map[netip.Addr]asked
}

type asked struct {
	id uint64
	at time.Duration
}

func newLedger() *ledger {
	return &ledger{asked: map[netip.Addr]asked{}, proofs: map[netip.Addr]asked{}}
}

func (l *ledger) ask(q Question, now time.Duration) {
	// What nobody asks about any more would stay for ever.
	for _, all := range []map[netip.Addr]asked{l.asked, l.proofs} {
		maps.DeleteFunc(all, func(_ netip.Addr, a asked) bool { return now-a.at > askedLately })
	}
	for _, address := range q.Addresses {
		l.asked[address] = asked{q.ID, now}
	}
	for _, gateway := range q.Gateways {
		l.proofs[gateway] = asked{q.ID, now}
	}
}

// hear tells what a claim means.
func (l *ledger) hear(c claim, now time.Duration) []Sighting {
	if slices.ContainsFunc(l.own, func(mac net.HardwareAddr) bool { return slices.Equal(mac, c.mac) }) {
		return nil
	}
	var all []Sighting
	seen := func(k SightingKind, id uint64) {
		all = append(all, Sighting{Kind: k, ID: id, Address: c.address, MAC: c.mac, At: now, Alone: c.unicast})
	}
	if c.probe {
		if slices.Contains(l.guarded, c.address) {
			seen(Sought, 0)
		}
		return all
	}
	if a, ok := l.asked[c.address]; ok && now-a.at <= askedLately {
		seen(Answered, a.id)
	}
	if a, ok := l.proofs[c.address]; ok && c.unicast && c.answer && now-a.at <= askedLately {
		seen(Works, a.id)
		delete(l.proofs, c.address) // Each question is proved once.
	}
	if slices.Contains(l.guarded, c.address) {
		seen(Claimed, 0)
	}
	return all
}
