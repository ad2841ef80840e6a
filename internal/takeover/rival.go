package takeover

import (
	"slices"
	"time"

	"github.com/monitord/monitord/internal/director"
)

const (
	// rivalPatience is for how long a rival is given way. It takes the address within a
	// tenth of that, or something else keeps it from it.
	rivalPatience = time.Second
	// rivalPause is how long a rival has to be quiet to be given way again.
	rivalPause = 10 * time.Second
)

// A rivalry is that another director wants an address at the same time as this one,
// and neither hears the other: a wrong key, or a network that is cut for all but ARP.
// Both would find the wire silent, and take. RFC 5227 section 2.1.1 calls the probe of
// another machine a conflict; here the better one in the group's order goes on.
type rivalry struct{ first, last director.Instant }

// sought is told of each probe of another director for a group's address.
func (l *Loop) sought(group int, by director.Answerer) {
	state, _ := l.state.Peer(l.o.Director, by.Node)
	if state == director.Alive || state == director.Suspect || !l.ranksAbove(by.Node, group) {
		return // who is heard is judged by what it says
	}
	r, now := &l.rivals[group], l.now()
	if r.last == 0 || now.Sub(r.last) > rivalPause {
		r.first = now
	}
	r.last = now
	if now.Sub(r.first) <= rivalPatience {
		l.step(director.WireAnswered{Group: l.o.Groups[group].Name, By: by})
	}
}

// ranksAbove tells whether a node comes before this one in a group's order.
func (l *Loop) ranksAbove(node string, group int) bool {
	holders := l.o.Director.Holders(l.o.Director.Groups[group])
	other, own := slices.Index(holders, node), slices.Index(holders, l.o.Director.Self)
	return other >= 0 && other < own
}
