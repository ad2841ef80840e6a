package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

const (
	udpPace     = 10 * time.Millisecond
	httpPace    = 50 * time.Millisecond
	httpTimeout = 250 * time.Millisecond
	// late is when an answer is none any more: a router keeps what it cannot deliver,
	// and may do so seconds later (the neighbour's queue, unres_qlen).
	late = 50 * time.Millisecond
)

// A probe is one question, and when it was answered (0: not) by whom.
type probe struct {
	sent, answered time.Duration
	by             string
}

// A record is what a prober asked, in its order.
type record struct {
	mu     sync.Mutex // protects probes
	probes []probe
	// patience is after which time a probe is lost.
	patience time.Duration
	// pace is the longest pause between two questions of a prober that runs; 0: that is
	// not known.
	pace time.Duration
}

func (r *record) asked(at time.Duration) (number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probes = append(r.probes, probe{sent: at})
	return len(r.probes) - 1
}

// answered takes in an answer; one that was not asked for, or was before, is nothing.
func (r *record) answered(number uint64, at time.Duration, by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number < uint64(len(r.probes)) && r.probes[number].answered == 0 {
		r.probes[number].answered, r.probes[number].by = at, by
	}
}

// outage judges the questions that were asked in a time, from its begin on and before
// its end. The last ones may still be answered: if it is not over by now they don't count.
func (r *record) outage(from, to, now time.Duration) Outage {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := Outage{Answered: map[string]int{}}
	var run Outage // the present run of lost ones
	var before time.Duration
	for _, p := range r.probes {
		pause := p.sent - before
		before = p.sent
		if p.sent < from || p.sent >= to {
			continue
		}
		if run.Ongoing && r.pace > 0 {
			run.Unasked += max(0, pause-r.pace)
		}
		lost := p.answered == 0 || p.answered-p.sent > r.patience
		if lost && p.sent+r.patience > now {
			continue
		}
		o.Asked++
		switch {
		case !lost:
			o.Answered[p.by]++
			// Until it came, not until it was asked for: a router may have kept the question
			// for those who had no owner to go to.
			run.Lasted = p.answered - run.At
			o.longest(run)
			run = Outage{}
		case run.At == 0:
			run.At, run.Ongoing = p.sent, true
			fallthrough
		default:
			o.Lost++
		}
	}
	if run.Ongoing {
		run.Lasted = min(to, now) - run.At
		o.longest(run)
		o.Ongoing = o.At == run.At
	}
	return o
}

// longest keeps the longer one.
func (o *Outage) longest(run Outage) {
	if run.At != 0 && run.Lasted > o.Lasted {
		o.At, o.Lasted, o.Unasked = run.At, run.Lasted, run.Unasked
	}
}

// A prober asks until it is closed.
type prober struct {
	record
	close func() error
}

// probeUDP sends a datagram every 10 ms from a machine to the echo at an address.
func probeUDP(ctx context.Context, s *space, to netip.Addr) (*prober, error) {
	var conn *net.UDPConn
	err := s.do(func() error {
		// Not connected: so the kernel keeps what ICMP says to itself.
		socket, err := (&net.ListenConfig{}).ListenPacket(ctx, map[bool]string{false: "udp4", true: "udp6"}[to.Is6()], ":0")
		if err == nil {
			conn, _ = socket.(*net.UDPConn) // as the network says
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prober on %s: %w", s.name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{record: record{patience: late, pace: udpPace}}
	var running sync.WaitGroup
	running.Go(func() { p.send(ctx, conn, netip.AddrPortFrom(to, echoPort)) })
	running.Go(func() { p.receive(conn) })
	p.close = func() error {
		cancel()
		err := conn.Close()
		running.Wait()
		return err
	}
	return p, nil
}

func (p *prober) send(ctx context.Context, conn *net.UDPConn, to netip.AddrPort) {
	tick := time.NewTicker(udpPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		number := p.asked(netif.Boottime())
		// What cannot be sent is not answered either.
		_, _ = conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, uint64(number)), to)
	}
}

func (p *prober) receive(conn *net.UDPConn) {
	var datagram [512]byte
	for {
		n, _, err := conn.ReadFromUDPAddrPort(datagram[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= 8 {
			p.answered(binary.BigEndian.Uint64(datagram[:]), netif.Boottime(), string(datagram[8:n]))
		}
	}
}

// probeHTTP gets http://ADDRESS/ again and again from a machine.
func probeHTTP(ctx context.Context, s *space, to netip.Addr) *prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{record: record{patience: httpTimeout}}
	ended := make(chan error, 1)
	// On a thread of its own in the machine: connecting takes its time.
	go func() { ended <- s.inside(func() error { return p.browse(ctx, netip.AddrPortFrom(to, 80)) }) }()
	p.close = func() error {
		cancel()
		return <-ended
	}
	return p
}

func (p *prober) browse(ctx context.Context, to netip.AddrPort) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		number := p.asked(netif.Boottime())
		if by, err := get(ctx, to); err == nil {
			p.answered(uint64(number), netif.Boottime(), by)
		}
		pause.Reset(httpPace)
	}
}

// get is HTTP by hand: an http.Transport connects on goroutines of its own, which are
// not in the machine.
func get(ctx context.Context, to netip.AddrPort) (body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to.Addr()); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return strings.TrimSpace(string(text)), err
}
