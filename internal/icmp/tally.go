package icmp

import (
	"net/netip"
	"time"
)

// A tally keeps account of pings. It is a plain value that is told the time.
//
// Pings are numbered in the order in which they are sent, round by round, so
// that they also time out in this order: number k goes to target k modulo the
// number of targets.
type tally struct {
	targets []netip.Addr
	timeout time.Duration
	pings   []ping
	stats   []Stats // of each target
	// next is the number of the next ping to send; all below decided are
	// settled; waiting of them are not.
	next, decided, waiting int
}

type ping struct {
	sent    time.Time
	settled bool
}

func newTally(c Config, targets []netip.Addr) tally {
	return tally{
		targets: targets, timeout: c.Timeout,
		pings: make([]ping, c.Count*len(targets)), stats: make([]Stats, len(targets)),
	}
}

func (t *tally) of(k int) *Stats { return &t.stats[k%len(t.targets)] }

// begin notes that the next ping is being sent, at the time now.
func (t *tally) begin(now time.Time) {
	t.pings[t.next].sent = now
	t.of(t.next).Sent++
	t.waiting++
	t.next++
}

// fail notes that the next ping could not be sent: err says nothing about its
// target.
func (t *tally) fail(err error) {
	t.of(t.next).Err = err
	t.pings[t.next].settled = true
	t.next++
}

// refuse notes that the next ping was sent nowhere because there is no way to
// the target: it is as good as lost.
func (t *tally) refuse(now time.Time, why string) {
	k := t.next
	t.begin(now)
	t.of(k).Refusal = why
	t.lose(k)
}

// take takes in what a packet says. Replies to pings that are settled already
// (duplicates, late ones) and those from anybody but the target are ignored.
func (t *tally) take(e event, now time.Time) {
	if e.refusal != "" {
		t.takeRefusal(e)
		return
	}
	if e.ping < 0 || e.ping >= t.next || t.pings[e.ping].settled {
		return
	}
	if t.targets[e.ping%len(t.targets)].WithZone("") != e.from.WithZone("") {
		return
	}
	t.pings[e.ping].settled = true
	t.waiting--
	t.of(e.ping).record(now.Sub(t.pings[e.ping].sent))
}

func (t *tally) takeRefusal(e event) {
	why := e.refusal
	if e.from.IsValid() {
		why += ", says " + e.from.WithZone("").String()
	}
	if e.ping >= 0 && e.ping < t.next {
		t.of(e.ping).Refusal = why
		return
	}
	for i, target := range t.targets {
		if e.ping < 0 && target.WithZone("") == e.about {
			t.stats[i].Refusal = why
		}
	}
}

func (t *tally) lose(k int) {
	t.pings[k].settled = true
	t.waiting--
	t.of(k).Lost++
}

// expire gives up the pings that timed out before empty, the last moment at
// which no reply was waiting to be read. It may lie well before the present: a
// process that did not get to run for a while must not take its own absence for
// its targets'.
func (t *tally) expire(empty time.Time) {
	for ; t.decided < t.next; t.decided++ {
		p := &t.pings[t.decided]
		if p.settled {
			continue
		}
		if p.sent.Add(t.timeout).After(empty) {
			return
		}
		t.lose(t.decided)
	}
}

// deadline is when the next ping times out; ok is false if none is waiting.
func (t *tally) deadline() (at time.Time, ok bool) {
	if t.waiting == 0 {
		return time.Time{}, false
	}
	for k := t.decided; k < t.next; k++ {
		if p := t.pings[k]; !p.settled {
			return p.sent.Add(t.timeout), true
		}
	}
	return time.Time{}, false
}

func (t *tally) allSent() bool  { return t.next == len(t.pings) }
func (t *tally) finished() bool { return t.allSent() && t.waiting == 0 }
