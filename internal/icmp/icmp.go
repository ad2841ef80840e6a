// Package icmp pings: one address with go-ping, a group of them over one socket
// for each family. Every call opens what it needs and leaves nothing behind.
//
// A ping is lost when no reply came within its timeout. Replies count only if
// they carry the call's own random nonce and come from the address that was
// asked. An ICMP error such as "host unreachable" is kept as the reason, never
// taken for the verdict: it is easily forged, and often passes.
//
// Sockets are datagram ICMP where the sysctl net.ipv4.ping_group_range allows
// them, for there the kernel hands out replies by identifier, and raw otherwise
// (CAP_NET_RAW), with a filter in the kernel for the replies to our own pings.
package icmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// The bounds of Config.Size: room for the nonce and the ping's number, and the
// biggest ICMP message that fits into an IPv4 packet.
const (
	MinSize = nonceLen + 8
	MaxSize = 65535 - 20 - headerLen
)

// Config says how to ping.
type Config struct {
	Count    int           // pings to each target, at least 1
	Interval time.Duration // between two pings to one target
	Timeout  time.Duration // how long to wait for each ping's reply
	Size     int           // bytes of payload, MinSize to MaxSize
	// Source is the address to ping from. The zero value lets the system
	// choose; else targets of the other family cannot be tested.
	Source netip.Addr
	TTL    int // 0 is the system's default
	// InFlight bounds the pings that wait for a reply; 0 is no bound.
	InFlight int
}

func (c Config) validate() error {
	switch {
	case c.Count < 1:
		return fmt.Errorf("%d pings: at least 1 is needed", c.Count)
	case c.Size < MinSize || c.Size > MaxSize:
		return fmt.Errorf("payload of %d bytes: %d to %d are possible", c.Size, MinSize, MaxSize)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout %s: more than 0 is needed", c.Timeout)
	case c.Interval < 0 || c.InFlight < 0:
		return errors.New("negative interval or bound of pings in flight")
	case c.TTL < 0 || c.TTL > 255:
		return fmt.Errorf("ttl %d: 1 to 255 are possible", c.TTL)
	}
	return nil
}

// Stats is what the pings to one target found out.
type Stats struct {
	// Sent pings either were Received back or were Lost; those that are neither
	// were still waiting when the context ended, and say nothing.
	Sent, Received, Lost int
	// Min, Avg and Max are the round trips of the received ones.
	Min, Avg, Max time.Duration
	// Refusal is the last ICMP error about the target: why pings may have been
	// lost.
	Refusal string
	// Err says why pings could not be sent: forbidden, no route, no address of
	// that family on this machine. They are not among Sent.
	Err error
}

// record adds one round trip.
func (s *Stats) record(rtt time.Duration) {
	s.Received++
	if s.Received == 1 || rtt < s.Min {
		s.Min = rtt
	}
	s.Max = max(s.Max, rtt)
	s.Avg += (rtt - s.Avg) / time.Duration(s.Received)
}

// ErrPermission is in the chain of the error of a process that may open neither
// kind of socket.
var ErrPermission = errors.New("no permission to ping: give the process CAP_NET_RAW " +
	"(AmbientCapabilities=CAP_NET_RAW in its systemd unit), " +
	"or its group a place in the sysctl net.ipv4.ping_group_range")

// Group pings all targets, in rounds, and returns their statistics in the same
// order. It ends when every ping is answered or timed out, or with ctx, which is
// no error. An error means that there was no socket for any of the targets; if
// only one family lacks it, that is the Err of its targets, and so it is if they
// cannot be reached from the source address for being of the other family.
func Group(ctx context.Context, c Config, targets []netip.Addr) ([]Stats, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	batches := make(map[family]*batch, 2)
	for i, target := range targets {
		f := familyOf(target)
		if batches[f] == nil {
			batches[f] = newBatch(f)
		}
		batches[f].add(target.Unmap(), i)
	}
	if err := openAll(c, batches); err != nil {
		return nil, err
	}
	inFlight.enter(len(targets))
	defer inFlight.leave(len(targets))
	var running sync.WaitGroup
	for _, b := range batches {
		running.Go(func() { b.ping(ctx, c) })
	}
	running.Wait()
	stats := make([]Stats, len(targets))
	for _, b := range batches {
		b.report(stats)
	}
	return stats, nil
}

// openAll opens each family's socket. It fails if none of them can be had, and
// leaves the error with the family otherwise. It runs in the caller's goroutine:
// a thread in a network namespace of its own gets its own sockets.
func openAll(c Config, batches map[family]*batch) error {
	var errs []error
	opened := false
	for f, b := range batches {
		if c.Source.IsValid() && familyOf(c.Source) != f {
			b.err = fmt.Errorf("the source address %s is not %s", c.Source, f)
			continue
		}
		b.session = newSession(f)
		if b.wire, b.err = open(c, b.session, b.targets); b.err != nil {
			errs = append(errs, b.err)
			continue
		}
		opened = true
	}
	if opened {
		return nil
	}
	return errors.Join(errs...)
}

// A batch is the targets of one family: each distinct address once.
type batch struct {
	family  family
	targets []netip.Addr
	index   map[netip.Addr]int // of an address in targets
	// wanted lists, for each of targets, its places in the caller's list.
	wanted  [][]int
	session session
	wire    wire
	stats   []Stats
	err     error
}

func newBatch(f family) *batch { return &batch{family: f, index: map[netip.Addr]int{}} }

func (b *batch) add(target netip.Addr, place int) {
	i, known := b.index[target]
	if !known {
		i = len(b.targets)
		b.index[target] = i
		b.targets = append(b.targets, target)
		b.wanted = append(b.wanted, nil)
	}
	b.wanted[i] = append(b.wanted[i], place)
}

func (b *batch) ping(ctx context.Context, c Config) {
	if b.wire == nil {
		return
	}
	v := newVolley(c, b.session, b.targets)
	err := v.run(ctx, b.wire)
	b.err = errors.Join(err, b.wire.close())
	b.stats = v.tally.stats
}

func (b *batch) report(stats []Stats) {
	for i, places := range b.wanted {
		var s Stats
		if b.stats != nil {
			s = b.stats[i]
		}
		if s.Err == nil {
			s.Err = b.err
		}
		for _, place := range places {
			stats[place] = s
		}
	}
}
