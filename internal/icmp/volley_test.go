package icmp

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A line is a wire that is told what becomes of each ping. It runs on the clock
// of a synctest bubble, so that tests know every time exactly.
type line struct {
	session session
	targets []netip.Addr
	// answer tells what comes back for ping k, and after what time.
	answer func(k int) []answer
	// refuse makes send fail for a ping; full for all of them at that time.
	refuse func(k int) error
	full   func(now time.Time) bool
	// stall is how long the process does not run, once, at the first wait.
	stall   time.Duration
	broken  error
	arrived []arrival
	sent    []sending
	closed  bool
}

type answer struct {
	after time.Duration
	from  netip.Addr // zero: the target
	event event      // zero: the reply
}

type arrival struct {
	at    time.Time
	event event
}

type sending struct {
	k, target int
	at        time.Time
}

func (l *line) send(packets []packet) (int, error) {
	now := time.Now()
	for i, p := range packets {
		k := int(binary.BigEndian.Uint64(p.message[headerLen+nonceLen:]))
		err := error(nil)
		switch {
		case l.full != nil && l.full(now):
			err = os.NewSyscallError("sendmmsg", syscall.EAGAIN)
		case l.refuse != nil:
			err = l.refuse(k)
		}
		if err != nil {
			return i, err
		}
		l.sent = append(l.sent, sending{k, p.to, now})
		l.transmit(k, p.to, now)
	}
	return len(packets), nil
}

func (l *line) transmit(k, target int, now time.Time) {
	for _, a := range l.answer(k) {
		if a.event.refusal == "" {
			a.event.ping, a.event.from = k, l.targets[target]
			if a.from.IsValid() {
				a.event.from = a.from
			}
		}
		l.arrived = append(l.arrived, arrival{now.Add(a.after), a.event})
	}
	slices.SortStableFunc(l.arrived, func(a, b arrival) int { return a.at.Compare(b.at) })
}

func (l *line) drain(take func(event)) (time.Time, error) {
	now := time.Now()
	if l.broken != nil {
		return time.Time{}, l.broken
	}
	for len(l.arrived) > 0 && !l.arrived[0].at.After(now) {
		take(l.arrived[0].event)
		l.arrived = l.arrived[1:]
	}
	return now, nil
}

func (l *line) wait(ctx context.Context, until time.Time, take func(event)) error {
	time.Sleep(l.stall)
	l.stall = 0
	if len(l.arrived) > 0 && l.arrived[0].at.Before(until) {
		until = l.arrived[0].at
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil
	}
	_, err := l.drain(take)
	return err
}

func (l *line) close() error { l.closed = true; return nil }

// loopbacks lists n addresses of 127.0.0.0/8, all of which answer.
func loopbacks(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	a := netip.MustParseAddr("127.1.0.1")
	for i := range list {
		list[i] = a
		a = a.Next()
	}
	return list
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func after(d time.Duration) []answer { return []answer{{after: d}} }

// fly runs a volley in a bubble and returns its statistics and how long it took.
func fly(t *testing.T, c Config, n int, set func(*line)) (stats []Stats, took time.Duration, l *line) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if stats, took, l, err = flown(t.Context(), c, n, set); err != nil {
			t.Error(err)
		}
	})
	return stats, took, l
}

func flown(ctx context.Context, c Config, n int, set func(*line)) ([]Stats, time.Duration, *line, error) {
	l := &line{session: fixed(ipv4Family), targets: loopbacks(n)}
	l.answer = func(int) []answer { return after(5 * time.Millisecond) }
	set(l)
	v := newVolley(c, l.session, l.targets)
	start := time.Now()
	err := v.run(ctx, l)
	return v.tally.stats, time.Since(start), l, err
}

func steady() Config {
	return Config{Count: 3, Interval: 200 * time.Millisecond, Timeout: time.Second, Size: 56}
}

func TestVolleyAccounts(t *testing.T) {
	ms := time.Millisecond
	other := netip.MustParseAddr("192.0.2.1")
	refusal := func(e event) []answer { return []answer{{after: ms, event: e}} }
	for _, test := range []struct {
		name   string
		answer func(k int) []answer
		want   Stats
		took   time.Duration
	}{
		{
			"all come back", func(k int) []answer { return after(time.Duration(k+1) * ms) },
			Stats{Sent: 3, Received: 3, Min: ms, Avg: 2 * ms, Max: 3 * ms},
			403 * ms,
		},
		{"none comes back", func(int) []answer { return nil }, Stats{Sent: 3, Lost: 3}, 1400 * ms},
		{"the second does not", func(k int) []answer {
			return map[bool][]answer{true: nil, false: after(10 * ms)}[k == 1]
		}, Stats{Sent: 3, Received: 2, Lost: 1, Min: 10 * ms, Avg: 10 * ms, Max: 10 * ms}, 1200 * ms},
		{"all come too late", func(int) []answer { return after(1001 * ms) }, Stats{Sent: 3, Lost: 3}, 1400 * ms},
		{
			"they come at the last moment", func(int) []answer { return after(999 * ms) },
			Stats{Sent: 3, Received: 3, Min: 999 * ms, Avg: 999 * ms, Max: 999 * ms},
			1399 * ms,
		},
		{
			"they come in disorder", func(k int) []answer { return after(time.Duration(600-250*k) * ms) },
			Stats{Sent: 3, Received: 3, Min: 100 * ms, Avg: 350 * ms, Max: 600 * ms},
			600 * ms,
		},
		{
			"they come twice", func(int) []answer { return append(after(ms), after(2*ms)...) },
			Stats{Sent: 3, Received: 3, Min: ms, Avg: ms, Max: ms},
			401 * ms,
		},
		{
			"they come from another", func(int) []answer { return []answer{{after: ms, from: other}} },
			Stats{Sent: 3, Lost: 3},
			1400 * ms,
		},
		{
			"a router refuses", func(k int) []answer { return refusal(event{from: other, ping: k, refusal: "host unreachable"}) },
			Stats{Sent: 3, Lost: 3, Refusal: "host unreachable, says 192.0.2.1"},
			1400 * ms,
		},
		{"a router quotes little", func(int) []answer {
			return refusal(event{from: other, ping: -1, about: loopbacks(1)[0], refusal: "time to live exceeded"})
		}, Stats{Sent: 3, Lost: 3, Refusal: "time to live exceeded, says 192.0.2.1"}, 1400 * ms},
		{"a refusal of somebody else's", func(int) []answer {
			return refusal(event{from: other, ping: -1, about: other, refusal: "host unreachable"})
		}, Stats{Sent: 3, Lost: 3}, 1400 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			stats, took, _ := fly(t, steady(), 1, func(l *line) { l.answer = test.answer })
			if stats[0] != test.want {
				t.Errorf("got %+v\nwant %+v", stats[0], test.want)
			}
			if took != test.took {
				t.Errorf("took %s, want %s", took, test.took)
			}
		})
	}
}

// TestVolleyOneOfMany: what befalls one target leaves the others alone.
func TestVolleyOneOfMany(t *testing.T) {
	const n, odd = 300, 123
	stats, _, _ := fly(t, steady(), n, func(l *line) {
		l.answer = func(k int) []answer {
			if k%n == odd {
				return nil
			}
			return after(time.Millisecond)
		}
	})
	for i, s := range stats {
		if want := map[bool]int{true: 3}[i == odd]; s.Lost != want || s.Received != 3-want || s.Sent != 3 {
			t.Errorf("target %d: %+v, want %d lost", i, s, want)
		}
	}
}

func TestVolleyRoundsAndPace(t *testing.T) {
	const n = 1000
	_, _, l := fly(t, steady(), n, func(*line) {})
	if len(l.sent) != 3*n {
		t.Fatalf("%d pings sent, want %d", len(l.sent), 3*n)
	}
	inBurst := map[time.Time]int{}
	for i, s := range l.sent {
		if s.k != i || s.target != i%n {
			t.Fatalf("sending %d is ping %d to target %d", i, s.k, s.target)
		}
		inBurst[s.at]++
		if gap := s.at.Sub(l.sent[max(i-n, 0)].at); i >= n && (gap < 195*time.Millisecond || gap > 210*time.Millisecond) {
			t.Fatalf("target %d: %s between two pings, want 200ms", s.target, gap)
		}
	}
	for at, count := range inBurst {
		if count > maxBurst {
			t.Errorf("%d pings at once at %s, want %d at most", count, at, maxBurst)
		}
	}
	if took := l.sent[n-1].at.Sub(l.sent[0].at); took < 5*time.Millisecond || took > 20*time.Millisecond {
		t.Errorf("a round of %d took %s, want about 10ms", n, took)
	}
}

// TestVolleyInFlight: there are never more pings unanswered than allowed.
func TestVolleyInFlight(t *testing.T) {
	c := steady()
	c.InFlight, c.Interval = 10, 0
	for name, rtt := range map[string]time.Duration{"answered": 20 * time.Millisecond, "lost": time.Hour} {
		stats, took, l := fly(t, c, 100, func(l *line) {
			l.answer = func(int) []answer { return after(rtt) }
		})
		busy := min(rtt, c.Timeout)
		for i, s := range l.sent {
			if i >= c.InFlight && s.at.Sub(l.sent[i-c.InFlight].at) < busy {
				t.Fatalf("%s: ping %d was sent %s after ping %d", name, i, s.at.Sub(l.sent[i-c.InFlight].at), i-c.InFlight)
			}
		}
		if want := busy * 30; took < want || took > want+want/10 {
			t.Errorf("%s: took %s, want %s", name, took, want)
		}
		for i, s := range stats {
			if s.Received+s.Lost != 3 {
				t.Errorf("%s: target %d: %+v", name, i, s)
			}
		}
	}
}

func TestVolleyCannotSend(t *testing.T) {
	const n = 5
	for _, test := range []struct {
		name  string
		errno error
		want  Stats
	}{
		{"no route", syscall.ENETUNREACH, Stats{}},
		{"unreachable", syscall.EHOSTUNREACH, Stats{Sent: 3, Lost: 3, Refusal: "no route to host"}},
		{"forbidden", syscall.EPERM, Stats{}},
		{"invalid", syscall.EINVAL, Stats{}},
	} {
		failed := os.NewSyscallError("sendmmsg", test.errno)
		stats, took, _ := fly(t, steady(), n, func(l *line) {
			l.refuse = func(k int) error {
				if k%n == 2 {
					return failed
				}
				return nil
			}
		})
		got := stats[2]
		if test.want.Sent == 0 && !errors.Is(got.Err, test.errno) {
			t.Errorf("%s: error %v, want %v", test.name, got.Err, test.errno)
		}
		if got.Err = nil; got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
		if stats[1].Received != 3 || stats[3].Received != 3 || took > 410*time.Millisecond {
			t.Errorf("%s: the others %+v, %+v after %s", test.name, stats[1], stats[3], took)
		}
	}
}

// TestVolleyFullSocket: pings that find no room are sent later, and the wait is
// not counted as theirs.
func TestVolleyFullSocket(t *testing.T) {
	stats, _, l := fly(t, steady(), 10, func(l *line) {
		start := time.Now()
		l.full = func(now time.Time) bool {
			d := now.Sub(start)
			return d < 3*time.Second || d > 3100*time.Millisecond && d < 3300*time.Millisecond
		}
	})
	for i, s := range stats {
		if s.Received != 3 || s.Max != 5*time.Millisecond {
			t.Errorf("target %d: %+v, want 3 received within 5ms", i, s)
		}
	}
	if gap := l.sent[10].at.Sub(l.sent[0].at); gap < 200*time.Millisecond {
		t.Errorf("the second round followed the late first after %s, want 200ms at least", gap)
	}
}

// TestVolleyStalled: a process that did not run for longer than the timeout
// finds the replies in the socket's buffer.
func TestVolleyStalled(t *testing.T) {
	stats, _, _ := fly(t, steady(), 3, func(l *line) { l.stall = 5 * time.Second })
	for i, s := range stats {
		if s.Received != 3 || s.Lost != 0 {
			t.Errorf("target %d: %+v, want none lost", i, s)
		}
	}
}

func TestVolleyCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
		defer cancel()
		stats, took, _, err := flown(ctx, steady(), 2, func(l *line) {
			l.answer = func(k int) []answer {
				if k == 0 {
					return after(time.Millisecond)
				}
				return nil
			}
		})
		if err != nil || took != 1100*time.Millisecond {
			t.Errorf("ended after %s with %v, want 1.1s and no error", took, err)
		}
		// Sent at 0, 0.2 and 0.4 s: only the first had its full second.
		for i, want := range []Stats{
			{Sent: 3, Received: 1, Min: time.Millisecond, Avg: time.Millisecond, Max: time.Millisecond}, {Sent: 3, Lost: 1},
		} {
			if stats[i] != want {
				t.Errorf("target %d: got %+v, want %+v", i, stats[i], want)
			}
		}
	})
}

func TestVolleyBrokenSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := func(l *line) { l.broken = errors.New("socket is gone") }
		_, took, _, err := flown(t.Context(), steady(), 2, l)
		if !errors.Is(err, errSocket) || !strings.Contains(err.Error(), "socket is gone") {
			t.Errorf("error %v after %s, want one about the socket", err, took)
		}
	})
}

func TestBatchReportsError(t *testing.T) {
	b := newBatch(ipv4Family)
	for i, target := range addrs("192.0.2.1", "192.0.2.2", "192.0.2.1") {
		b.add(target, i)
	}
	b.err = errSocket
	stats := make([]Stats, 3)
	b.report(stats)
	for i, s := range stats {
		if !errors.Is(s.Err, errSocket) || s.Sent != 0 {
			t.Errorf("target %d: %+v", i, s)
		}
	}
}

func TestRecorder(t *testing.T) {
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r := recorder{timeout: time.Second}
	for i := range 4 {
		r.begin(at(200 * i))
	}
	r.take(0, at(10))
	r.take(0, at(11))
	r.take(1, at(1300)) // 1.1 s after it was sent.
	r.take(3, at(630))
	r.take(9, at(630))
	got, err := r.stats(t.Context(), 4, nil)
	want := Stats{
		Sent: 4, Received: 2, Lost: 2,
		Min: 10 * time.Millisecond, Avg: 20 * time.Millisecond, Max: 30 * time.Millisecond,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestRecorderErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	send := func(errno error) error { return os.NewSyscallError("sendto", errno) }
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		want Stats
		fail bool
	}{
		{"no way", t.Context(), send(syscall.EHOSTUNREACH), Stats{Sent: 3, Lost: 3, Refusal: "no route to host"}, false},
		{"no route", t.Context(), send(syscall.ENETUNREACH), Stats{}, true},
		{"forbidden", t.Context(), send(syscall.EPERM), Stats{}, true},
		{"cancelled", cancelled, send(syscall.ENETUNREACH), Stats{}, false},
	} {
		r := recorder{timeout: time.Second}
		got, err := r.stats(test.ctx, 3, test.err)
		if (got.Err != nil) != test.fail || err != nil {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if got.Err = nil; got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
	r := recorder{timeout: time.Second}
	r.Fatalf("sending packet: %s", send(syscall.EPERM))
	r.Fatalf("processing received packet: %s", errors.New("insufficient data"))
	if got, _ := r.stats(t.Context(), 3, nil); !errors.Is(got.Err, syscall.EPERM) {
		t.Errorf("a ping that could not be sent left the error %v", got.Err)
	}
}

func TestCrowd(t *testing.T) {
	var c crowd
	quiet, crowded := c.enter(maxQuiet)
	if crowded {
		t.Errorf("%d targets are a crowd", maxQuiet)
	}
	if surges, crowded := c.enter(1); !crowded || surges == quiet {
		t.Errorf("%d targets are no crowd", maxQuiet+1)
	}
	c.leave(2)
	if _, crowded := c.enter(1); crowded {
		t.Errorf("%d targets are a crowd", maxQuiet)
	}
	if c.surged() == quiet {
		t.Error("the crowd was forgotten")
	}
}
