package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/monitord/monitord/monitors"
)

// maxStray bounds how many datagrams are read that are not the one waited for: a
// host that floods must not keep a processor busy until the timeout.
const maxStray = 1000

// largestDatagram is the most that one can carry, and what reading has room for.
const largestDatagram = 65535

// Each looks up a target and tries its addresses until one try succeeds. What try
// returns otherwise is judged over all addresses as [Dialer.Dial] does: one that
// was found to be down is a verdict, even if others could not be tried. left is how
// many addresses there are from this one on, for [Share].
func (d *Dialer) Each(
	ctx context.Context, t Target, took *monitors.Timings, try func(to netip.AddrPort, left int) error,
) error {
	start := time.Now()
	addrs, err := d.lookup(ctx, t)
	if err != nil {
		return monitors.Untested(err)
	}
	if !t.Addr.IsValid() {
		took.Resolve += time.Since(start)
	}
	var failures []error
	for i, addr := range addrs {
		err := try(netip.AddrPortFrom(addr, t.Port), len(addrs)-i)
		if err == nil {
			return nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return judge(failures)
}

// Share gives one of left addresses a fair share of the time until ctx is done.
func Share(ctx context.Context, left int) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	}
	return context.WithCancel(ctx)
}

// Datagrams is a connected UDP socket: the kernel delivers what comes from its
// address only, and reports ICMP errors about it.
type Datagrams struct {
	conn *net.UDPConn
	to   netip.AddrPort
	took *monitors.Timings
}

// Datagrams opens a socket to an address. Nothing is sent yet. The wait for the
// first datagram that comes is added to took. An error has passed [Verdict].
func (d *Dialer) Datagrams(to netip.AddrPort, took *monitors.Timings) (*Datagrams, error) {
	var local *net.UDPAddr
	if d.source.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.source, 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, Verdict(d.named(to, err))
	}
	if err := reportErrors(conn, to.Addr()); err != nil {
		return nil, errors.Join(monitors.Untested(fmt.Errorf("%s: %w", to, err)), conn.Close())
	}
	return &Datagrams{conn: conn, to: to, took: took}, nil
}

// Close closes the socket.
func (s *Datagrams) Close() { _ = s.conn.Close() }

// Exchange sends a datagram, and again after each interval as it may get lost,
// until accept is true for one that comes. The packet that accept gets is valid
// during the call only. The error is that of ctx when it is done; otherwise it
// names the address, and has passed [Verdict]: a refusal by an ICMP message, or
// too many datagrams of which none was accepted.
func (s *Datagrams) Exchange(
	ctx context.Context, packet []byte, interval time.Duration, accept func(answer []byte) bool,
) error {
	bound := bind(ctx, s.conn)
	defer bound.release()
	e := exchange{Datagrams: s, room: make([]byte, largestDatagram), start: time.Now(), accept: accept}
	for sent := time.Duration(1); ; sent++ {
		if _, err := s.conn.Write(packet); err != nil && !tooLong(err) {
			return s.failed(ctx, err)
		}
		again := e.start.Add(sent * max(interval, shortest)) //nolint:durationcheck // a count
		if done, err := e.listen(ctx, again); done || err != nil {
			return err
		}
	}
}

// shortest is the least time between two datagrams.
const shortest = 10 * time.Millisecond

type exchange struct {
	*Datagrams
	room   []byte
	start  time.Time
	came   int // datagrams
	accept func(answer []byte) bool
}

// listen reads until a time. It reports whether a datagram was accepted.
func (e *exchange) listen(ctx context.Context, until time.Time) (done bool, err error) {
	for {
		n, err := e.read(ctx, e.room, until)
		switch {
		case err != nil && tooLong(err):
			continue
		case ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		case err != nil:
			return false, e.failed(ctx, err)
		}
		if e.came++; e.came == 1 {
			e.took.FirstByte += time.Since(e.start)
		}
		if e.accept(e.room[:n]) {
			return true, nil
		}
		if e.came == maxStray {
			return false, fmt.Errorf("%s: %d datagrams came, and none was the answer", e.to, e.came)
		}
	}
}

// read waits for a datagram until a time, or until ctx is done. The deadline is set
// before ctx is asked: if that is done by then the end of it may have been set, and
// replaced; if it is done later that will end the wait.
func (s *Datagrams) read(ctx context.Context, room []byte, until time.Time) (int, error) {
	if err := s.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.conn.Read(room)
}

// tooLong is what the kernel says when a router on the way wants smaller packets.
// It knows from then on, and cuts the next one.
func tooLong(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }

func (s *Datagrams) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return Verdict(fmt.Errorf("%s: %w", s.to, bare(err)))
}
