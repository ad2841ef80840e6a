package icmp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	goping "github.com/go-ping/ping" //nolint:staticcheck // Deprecated upstream; the chosen library for single targets, and this package is the only one to know it.
)

// Single pings one target. It returns like [Group].
//
// go-ping does it wherever it is right. On a raw socket it reads every ICMP
// packet of the machine, unfiltered: in a crowd its round trips grow and its
// replies are lost, which is no fault of the target's. So in a crowd the ping
// goes over a socket of our own, and so does a second try if a crowd came up
// while go-ping was at work.
func Single(ctx context.Context, c Config, target netip.Addr) (Stats, error) {
	if err := c.validate(); err != nil {
		return Stats{}, err
	}
	target = target.Unmap()
	if c.Source.IsValid() && familyOf(c.Source) != familyOf(target) {
		return byGroup(ctx, c, target)
	}
	privileged, err := privileged(familyOf(target), c.Source)
	if err != nil {
		return Stats{}, err
	}
	if !privileged {
		return byGoPing(ctx, c, target, false)
	}
	if stats, err, alone := aloneByGoPing(ctx, c, target); alone {
		return stats, err
	}
	return byGroup(ctx, c, target)
}

// aloneByGoPing pings on a raw socket, unless, or until, there is a crowd.
func aloneByGoPing(ctx context.Context, c Config, target netip.Addr) (_ Stats, _ error, alone bool) {
	surges, crowded := inFlight.enter(1)
	defer inFlight.leave(1)
	if crowded {
		return Stats{}, nil, false
	}
	stats, err := byGoPing(ctx, c, target, true)
	return stats, err, inFlight.surged() == surges
}

func byGroup(ctx context.Context, c Config, target netip.Addr) (Stats, error) {
	stats, err := Group(ctx, c, []netip.Addr{target})
	if err != nil {
		return Stats{}, err
	}
	return stats[0], nil
}

func byGoPing(ctx context.Context, c Config, target netip.Addr, privileged bool) (Stats, error) {
	var r recorder
	r.timeout = c.Timeout
	p := goping.New("")
	p.SetIPAddr(&net.IPAddr{IP: target.AsSlice(), Zone: target.Zone()})
	p.SetPrivileged(privileged)
	p.SetLogger(&r)
	p.Count, p.Size, p.Interval = c.Count, c.Size, max(c.Interval, time.Millisecond)
	p.Timeout = time.Duration(c.Count-1)*p.Interval + c.Timeout
	p.RecordRtts = false
	p.OnSend = func(*goping.Packet) { r.begin(time.Now()) }
	p.OnRecv = func(q *goping.Packet) { r.take(q.Seq, time.Now()) }
	if c.Source.IsValid() {
		p.Source = c.Source.Unmap().String()
	}
	if c.TTL != 0 {
		p.TTL = c.TTL
	}
	stop := context.AfterFunc(ctx, p.Stop)
	defer stop()
	err := p.Run()
	return r.stats(ctx, c.Count, err)
}

// A recorder keeps account of go-ping's pings. It is called by one goroutine of
// go-ping's, and read when that has ended. go-ping's own figures are not used:
// it measures by the wall clock, which may be set, and counts late replies.
type recorder struct {
	goping.NoopLogger
	timeout time.Duration
	pings   []ping // in the order of their sequence numbers
	total   Stats
	err     error
}

// Fatalf is called by go-ping with the error of every ping but the first that
// could not be sent, or of a packet that is none of ours.
func (r *recorder) Fatalf(_ string, args ...any) {
	for _, arg := range args {
		if err, ok := arg.(error); ok && errors.As(err, new(syscall.Errno)) {
			r.err = err
		}
	}
}

func (r *recorder) begin(now time.Time) {
	r.pings = append(r.pings, ping{sent: now})
	r.total.Sent++
}

func (r *recorder) take(seq int, now time.Time) {
	if seq < 0 || seq >= len(r.pings) || r.pings[seq].settled {
		return
	}
	rtt := now.Sub(r.pings[seq].sent)
	if r.pings[seq].settled = true; rtt > r.timeout {
		r.total.Lost++
		return
	}
	r.total.record(rtt)
}

// stats closes the account: what is not answered by now is lost, unless ctx has
// cut its time short. failed is the error with which go-ping ended.
func (r *recorder) stats(ctx context.Context, count int, failed error) (Stats, error) {
	now := time.Now()
	for _, p := range r.pings {
		if !p.settled && (ctx.Err() == nil || now.Sub(p.sent) >= r.timeout) {
			r.total.Lost++
		}
	}
	if failed == nil {
		failed = r.err
	}
	switch {
	case failed == nil, ctx.Err() != nil:
	case errors.Is(failed, syscall.EHOSTUNREACH):
		// As in a volley: the pings that were refused are lost.
		r.total.Refusal = bare(failed).Error()
		r.total.Lost += count - r.total.Sent
		r.total.Sent = count
	default:
		r.total.Err = unsent(failed)
	}
	return r.total, nil //nolint:nilerr // what failed is in the stats: a refusal is a finding, not a fault of the call
}
