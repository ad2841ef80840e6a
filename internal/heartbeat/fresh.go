package heartbeat

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

const (
	// lateLimit is how much longer than the fastest a packet may have been under way.
	lateLimit = 2 * time.Second
	// drift is what two clocks may differ in speed: one part in a thousand.
	drift = 1000
	// rivalSilence is how long a session must be silent before one with a lower
	// incarnation (a clock that went back) replaces it.
	rivalSilence = 2 * time.Second
)

// A verdict is what becomes of an authentic packet.
type verdict int

const (
	// accepted: nobody has seen it before.
	accepted verdict = iota
	// duplicate: it came over another link before.
	duplicate
	// unproved: it echoes nothing that we said lately. The answer is a hello.
	unproved
	// replayed: it came over this link before, or is older than the window.
	replayed
	// late: it was held back somewhere. The answer is a hello with the new token, if
	// there is one.
	late
	// flushed: it waited here while the process stood still.
	flushed
	// rival: another process with the same name is alive.
	rival
)

// A freshness decides whether what a peer says is said now. Its packets are
// authentic, but anybody on the wire can repeat them, at any time:
//
//   - Each side chooses a random token for the other and hears it echoed in every
//     packet: what was recorded before this process started, or before the peer
//     was restarted, carries another one. A token is replaced when the peer's
//     session changes, and after a packet that came late.
//   - Within a session, sequence numbers are seen once on each link.
//   - What was withheld is noticed by the clocks: a packet may have been under way
//     [lateLimit] longer than the fastest one. The clocks themselves may be years
//     apart, and go at speeds that differ by a thousandth. A late copy of what came
//     over another link in time is dropped and changes nothing: one slow link must
//     not disturb the others.
type freshness struct {
	token uint64 // what the peer has to echo

	known       bool
	session     session
	incarnation uint64
	heard       time.Duration

	links [256]*window
	all   window

	timed    bool
	fastest  time.Duration // the least (our clock - its clock) of late
	fastAt   time.Duration
	flushing time.Duration // what was due before is dropped
}

func newToken() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                   // never fails, says crypto/rand
	return binary.BigEndian.Uint64(b[:]) | 1 // 0 means that none is known
}

func newFreshness() freshness { return freshness{token: newToken()} }

// judge takes in an authentic packet that came over a link.
func (r *freshness) judge(f frame, now time.Duration) verdict {
	if f.echo != r.token {
		return unproved
	}
	if !r.known || f.session != r.session {
		if r.known && f.incarnation < r.incarnation && now-r.heard < rivalSilence {
			return rival
		}
		r.adopt(f)
	}
	w := r.links[f.link]
	if w == nil {
		w = &window{}
		r.links[f.link] = w
	}
	if !w.first(f.seq) {
		return replayed
	}
	if v := r.delay(f.sent, now, r.all.has(f.seq)); v != accepted {
		return v
	}
	r.heard = now
	if !r.all.first(f.seq) {
		return duplicate
	}
	return accepted
}

// adopt begins a session. What the old one echoed is worth nothing from now on.
func (r *freshness) adopt(f frame) {
	if r.known {
		r.token = newToken()
	}
	r.known, r.session, r.incarnation = true, f.session, f.incarnation
	r.links, r.all, r.timed = [256]*window{}, window{}, false
}

// delay compares how long a packet was under way; a copy came over another link before.
func (r *freshness) delay(sent, now time.Duration, isCopy bool) verdict {
	offset := now - sent
	if r.timed {
		r.fastest += (now - r.fastAt) / drift
	}
	r.fastAt = now
	if !r.timed || offset < r.fastest {
		r.timed, r.fastest = true, offset
	}
	if offset-r.fastest > lateLimit {
		if !isCopy {
			r.token, r.timed = newToken(), false
		}
		return late
	}
	if sent+r.fastest < r.flushing {
		return flushed
	}
	return accepted
}

// A window remembers which of the last sequence numbers came.
type window struct {
	top  uint64
	bits [windowSize / 64]uint64
}

// windowSize is some seconds of a busy cluster: a packet may overtake others by this many.
const windowSize = 2048

// has tells whether n came, or is so old that it may have.
func (w *window) has(n uint64) bool {
	return n+windowSize <= w.top || n <= w.top && w.bits[n%windowSize/64]&(1<<(n%64)) != 0
}

// first tells whether n comes for the first time; below the window nothing does.
func (w *window) first(n uint64) bool {
	if n == 0 || n+windowSize <= w.top {
		return false
	}
	if n > w.top {
		if n-w.top >= windowSize {
			w.bits = [windowSize / 64]uint64{}
		} else {
			for i := w.top + 1; i < n; i++ {
				w.bits[i%windowSize/64] &^= 1 << (i % 64)
			}
		}
		w.top = n
		w.bits[n%windowSize/64] |= 1 << (n % 64)
		return true
	}
	word, bit := &w.bits[n%windowSize/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// A mark is the newest authentic packet of a peer, believed or not. Nobody can have
// recorded one that is newer.
type mark struct {
	incarnation uint64
	session     session
	seq         uint64
}

// reach moves the mark to a packet if that is newer, and tells whether it is.
func (m *mark) reach(f frame) bool {
	switch {
	case f.incarnation < m.incarnation:
		return false
	case f.incarnation == m.incarnation && f.session == m.session && f.seq <= m.seq:
		return false
	}
	*m = mark{f.incarnation, f.session, f.seq}
	return true
}
