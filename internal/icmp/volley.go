package icmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// The pace of sending. The socket is read empty before each burst, so that even
// on loopback, where replies are there at once, a burst's replies find room in
// the smallest receive buffer (208 KiB hold some 270 of them).
const (
	pace     = 10 * time.Microsecond // for each ping
	perByte  = 10 * time.Nanosecond  // for each byte of it: 800 Mbit/s
	maxBurst = 128
	// fullPause is how long to leave a socket alone whose send buffer is full,
	// of pings that wait for a neighbour's address most likely.
	fullPause = 2 * time.Millisecond
)

// A wire carries pings. The real one is a socket.
type wire interface {
	// send sends packets, each to its target, and returns how many it took. If
	// that is none, err tells why the first was not taken.
	send(packets []packet) (n int, err error)
	// drain hands over everything that has arrived. It does not wait; empty is
	// a moment at which there was nothing (more) to read.
	drain(take func(event)) (empty time.Time, err error)
	// wait waits until something arrives, and hands that over, or until the
	// given time, or for the end of ctx.
	wait(ctx context.Context, until time.Time, take func(event)) error
	close() error
}

// A packet is a request and the number of its target.
type packet struct {
	message []byte
	to      int
}

// A volley sends pings in rounds and takes in the replies, all in one goroutine:
// nothing can be sent faster than its replies are read.
type volley struct {
	config  Config
	session session
	tally   tally
	burst   []packet
	// The present round began at roundStart; nothing is sent before resume.
	roundStart, resume time.Time
}

func newVolley(c Config, s session, targets []netip.Addr) *volley {
	v := &volley{config: c, session: s, tally: newTally(c, targets)}
	v.burst = make([]packet, min(maxBurst, len(targets), max(1, (1<<20)/(c.Size+headerLen))))
	for i := range v.burst {
		v.burst[i].message = make([]byte, headerLen+c.Size)
	}
	return v
}

// errSocket says that reading from the socket failed again and again.
var errSocket = errors.New("the socket cannot be read")

// run pings until everything is settled or ctx ends. An error means that the
// socket broke; what is not settled then is unknown.
func (v *volley) run(ctx context.Context, w wire) error {
	take := func(e event) { v.tally.take(e, time.Now()) }
	v.resume = time.Now()
	for broken := 0; ; {
		empty, err := w.drain(take)
		if err == nil {
			v.tally.expire(empty)
		}
		if ctx.Err() != nil || v.tally.finished() {
			return nil //nolint:nilerr // the run is over: what its end cost stands in the tally
		}
		v.send(w)
		if until, ok := v.next(); ok {
			err = errors.Join(err, w.wait(ctx, until, take))
		}
		if broken++; err == nil {
			broken = 0
		} else if broken > 100 {
			return fmt.Errorf("%w: %w", errSocket, err)
		}
	}
}

// next is when there is something to do that no arriving packet tells of: the
// next burst, or a ping's timeout. ok is false if there is nothing left to do.
func (v *volley) next() (until time.Time, ok bool) {
	until, waiting := v.tally.deadline()
	if !v.tally.allSent() && !v.windowFull() && (!waiting || v.resume.Before(until)) {
		return v.resume, true
	}
	return until, waiting
}

func (v *volley) windowFull() bool {
	return v.config.InFlight > 0 && v.tally.waiting >= v.config.InFlight
}

// send sends what is due now.
func (v *volley) send(w wire) {
	now := time.Now()
	if v.tally.allSent() || now.Before(v.resume) {
		return
	}
	if v.tally.next%len(v.tally.targets) == 0 {
		v.roundStart = now
	}
	n := v.due(now)
	v.compose(n)
	for sent := 0; sent < n; {
		did, full := v.sendSome(w, v.burst[sent:n])
		if full {
			v.resume = now.Add(fullPause)
			return
		}
		sent += did
	}
	v.resume = now.Add(time.Duration(n) * v.pace())
	if n > 0 {
		v.endRound()
	}
}

// compose writes the requests for the next n pings into the burst.
func (v *volley) compose(n int) {
	for i := range n {
		k := v.tally.next + i
		round := k / len(v.tally.targets)
		v.session.request(v.burst[i].message, k, uint16(round))
		v.burst[i].to = k % len(v.tally.targets)
	}
}

// due is how many pings to send now: those that the pace has room for since the
// last burst, within the round and the window.
func (v *volley) due(now time.Time) int {
	n := len(v.tally.targets) - v.tally.next%len(v.tally.targets)
	if v.config.InFlight > 0 {
		n = min(n, v.config.InFlight-v.tally.waiting)
	}
	earned := len(v.burst)/2 + int(now.Sub(v.resume)/v.pace())
	return max(0, min(n, len(v.burst), max(earned, 1)))
}

func (v *volley) pace() time.Duration {
	return pace + time.Duration(headerLen+v.config.Size)*perByte
}

// sendSome sends some packets at least, or settles the first as impossible. full
// says that the socket takes no more for now.
func (v *volley) sendSome(w wire, packets []packet) (n int, full bool) {
	// The clock is read before, not after: on loopback the reply is there
	// before send returns.
	now := time.Now()
	n, err := w.send(packets)
	for range n {
		v.tally.begin(now)
	}
	switch {
	case n > 0:
		return n, false
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS):
		return 0, true
	case errors.Is(err, syscall.EHOSTUNREACH):
		v.tally.refuse(now, bare(err).Error())
	default:
		v.tally.fail(unsent(err))
	}
	return 1, false
}

// unsent is the error of a ping that could not be sent. A missing route is one of
// them: that is what a pulled cable looks like, and no verdict on all targets.
func unsent(err error) error {
	return fmt.Errorf("ping could not be sent: %w", bare(err))
}

// bare is the system's own words, without the names of calls and addresses.
func bare(err error) error {
	if n := syscall.Errno(0); errors.As(err, &n) {
		return n
	}
	return err
}

// endRound holds the next round back until its time has come.
func (v *volley) endRound() {
	next := v.roundStart.Add(v.config.Interval)
	if v.tally.next%len(v.tally.targets) == 0 && next.After(v.resume) {
		v.resume = next
	}
}
