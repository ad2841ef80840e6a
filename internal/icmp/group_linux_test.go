package icmp

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/icmp/icmptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick pings fast, and waits long enough for a machine that is busy.
func quick() Config {
	return Config{Count: 3, Interval: 20 * time.Millisecond, Timeout: time.Second, Size: 56}
}

// mustGroup pings without an error of the call.
func mustGroup(t *testing.T, c Config, targets []netip.Addr) []Stats {
	t.Helper()
	stats, err := Group(t.Context(), c, targets)
	if err != nil {
		t.Fatal(err)
	}
	if len(stats) != len(targets) {
		t.Fatalf("%d statistics for %d targets", len(stats), len(targets))
	}
	return stats
}

func allAnswered(t *testing.T, c Config, targets []netip.Addr, stats []Stats) {
	t.Helper()
	for i, s := range stats {
		if s.Sent != c.Count || s.Received != c.Count || s.Lost != 0 || s.Err != nil || s.Refusal != "" {
			t.Fatalf("%s: %+v, want %d sent and received", targets[i], s, c.Count)
		}
		if s.Min <= 0 || s.Min > s.Avg || s.Avg > s.Max || s.Max > c.Timeout {
			t.Fatalf("%s: round trips %s, %s, %s", targets[i], s.Min, s.Avg, s.Max)
		}
	}
}

// TestLoopback pings what answers. It runs in a namespace for the permission, and
// so that no other pings of the machine are in the way.
func TestLoopback(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	for name, test := range map[string]func(*testing.T){
		"group of thousand loses nothing": testGroupOfThousandLosesNothing,
		"group sizes":                     testGroupSizes,
		"group duplicates":                testGroupDuplicates,
		"group of nobody":                 testGroupOfNobody,
		"group invalid":                   testGroupInvalid,
		"many groups at once":             testManyGroupsAtOnce,
		"filter in kernel":                testFilterInKernel,
		"source":                          testSource,
		"single":                          testSingle,
		"many singles at once":            testManySinglesAtOnce,
		"singles beside group":            testSinglesBesideGroup,
	} {
		t.Run(name, test)
	}
}

func testGroupOfThousandLosesNothing(t *testing.T) {
	targets := slices.Concat(loopbacks(1000), addrs("::1"))
	allAnswered(t, quick(), targets, mustGroup(t, quick(), targets))
}

func testGroupSizes(t *testing.T) {
	for _, size := range []int{MinSize, 57, 1472, 9000, MaxSize} {
		c := quick()
		c.Size = size
		targets := slices.Concat(loopbacks(20), addrs("::1"))
		allAnswered(t, c, targets, mustGroup(t, c, targets))
	}
}

func testGroupDuplicates(t *testing.T) {
	targets := addrs("127.0.0.1", "::1", "127.0.0.2", "127.0.0.1", "::ffff:127.0.0.1", "::1")
	stats := mustGroup(t, quick(), targets)
	allAnswered(t, quick(), targets, stats)
	if stats[0] != stats[3] || stats[0] != stats[4] {
		t.Errorf("one address, different statistics: %+v, %+v, %+v", stats[0], stats[3], stats[4])
	}
}

func testGroupOfNobody(t *testing.T) {
	if stats := mustGroup(t, quick(), nil); len(stats) != 0 {
		t.Errorf("statistics of nobody: %+v", stats)
	}
}

func testGroupInvalid(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"0 pings": func(c *Config) { c.Count = 0 }, "payload of 23": func(c *Config) { c.Size = MinSize - 1 },
		"payload of 65508": func(c *Config) { c.Size = MaxSize + 1 }, "timeout 0s": func(c *Config) { c.Timeout = 0 },
		"negative": func(c *Config) { c.Interval = -1 }, "ttl 256": func(c *Config) { c.TTL = 256 },
	} {
		c := quick()
		spoil(&c)
		for how, err := range map[string]error{
			"Group":  second(Group(t.Context(), c, loopbacks(1))),
			"Single": second(Single(t.Context(), c, loopbacks(1)[0])),
		} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %v, want one about %q", how, err, name)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// testManyGroupsAtOnce: the filter keeps the others' replies away.
func testManyGroupsAtOnce(t *testing.T) {
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			targets := loopbacks(100)
			allAnswered(t, quick(), targets, mustGroup(t, quick(), targets))
		})
	}
	running.Wait()
}

// testFilterInKernel: of foreign traffic nothing reaches a raw socket.
func testFilterInKernel(t *testing.T) {
	for _, target := range addrs("127.0.0.1", "::1") {
		s := newSession(familyOf(target))
		w, err := open(quick(), s, []netip.Addr{target})
		if err != nil {
			t.Fatal(err)
		}
		targets := []netip.Addr{target}
		allAnswered(t, quick(), targets, mustGroup(t, quick(), targets))
		k := w.(*socket)
		if n, err := k.conn.ReadBatch(k.in, unix.MSG_DONTWAIT); n > 0 {
			t.Errorf("%s: %d foreign messages (%v) passed the filter", target, n, err)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}

func testSource(t *testing.T) {
	c := quick()
	c.Source = netip.MustParseAddr("127.0.0.9")
	targets := addrs("127.0.0.1", "::1")
	stats := mustGroup(t, c, targets)
	allAnswered(t, c, targets[:1], stats[:1])
	if stats[1].Err == nil || !strings.Contains(stats[1].Err.Error(), "127.0.0.9 is not IPv6") || stats[1].Sent != 0 {
		t.Errorf("IPv6 target with an IPv4 source: %+v", stats[1])
	}
	c.Source = netip.MustParseAddr("192.0.2.99")
	for how, err := range map[string]error{
		"Group": second(Group(t.Context(), c, targets)), "Single": second(Single(t.Context(), c, targets[0])),
	} {
		if err == nil || !strings.Contains(err.Error(), "192.0.2.99") {
			t.Errorf("%s from a foreign source address: error %v", how, err)
		}
	}
}

func testSingle(t *testing.T) {
	c := quick()
	c.TTL = 9
	for _, target := range addrs("127.0.0.1", "::1", "::ffff:127.0.0.3") {
		s, err := Single(t.Context(), c, target)
		if err != nil {
			t.Fatal(err)
		}
		allAnswered(t, c, []netip.Addr{target}, []Stats{s})
	}
}

// testManySinglesAtOnce: by go-ping alone each of 300 would read what all of them
// get, and lose its own.
func testManySinglesAtOnce(t *testing.T) {
	var running sync.WaitGroup
	for _, target := range loopbacks(300) {
		running.Go(func() {
			s, err := Single(t.Context(), quick(), target)
			if err != nil {
				t.Error(err)
			} else if s.Received != 3 || s.Lost != 0 {
				t.Errorf("%s: %+v, want nothing lost", target, s)
			}
		})
	}
	running.Wait()
	if inFlight.targets != 0 {
		t.Errorf("%d targets are counted after all calls have ended", inFlight.targets)
	}
}

// testSinglesBesideGroup: a large group's replies flood go-ping's sockets.
func testSinglesBesideGroup(t *testing.T) {
	var running sync.WaitGroup
	running.Go(func() {
		targets := loopbacks(5000)
		allAnswered(t, quick(), targets, mustGroup(t, quick(), targets))
	})
	for _, target := range loopbacks(20) {
		running.Go(func() {
			if s, err := Single(t.Context(), quick(), target); err != nil || s.Received != 3 {
				t.Errorf("%s: %+v, %v, want nothing lost", target, s, err)
			}
		})
	}
	running.Wait()
}

// TestHosts runs pings against hosts that do not simply answer, with both kinds
// of sockets.
func TestHosts(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	answers := map[netip.Addr]icmptest.Answer{}
	for host, a := range map[string]icmptest.Answer{
		"2": icmptest.Reply, "3": icmptest.Silence, "4": icmptest.Refuse,
		"5": icmptest.Twice, "6": icmptest.FromAnother, "7": icmptest.Forged,
	} {
		answers[netip.MustParseAddr("10.77.0."+host)] = a
		answers[netip.MustParseAddr("fd77::"+host)] = a
	}
	flaky := netip.MustParseAddr("10.77.0.8")
	net := icmptest.New(t, func(to netip.Addr, n int) icmptest.Answer {
		if to == flaky && n%3 != 0 {
			return icmptest.Silence
		}
		return answers[to]
	})
	t.Run("raw", hosts)
	icmptest.PermitDatagrams(t)
	t.Run("datagram", hosts)
	if n := net.Pings(netip.MustParseAddr("10.77.0.3")); n != 2*2*3 {
		t.Errorf("the silent host got %d pings, want 12", n)
	}
}

func hosts(t *testing.T) {
	targets := addrs("10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.6", "10.77.0.7", "10.77.0.8",
		"fd77::2", "fd77::3", "fd77::4", "fd77::5", "fd77::6", "fd77::7")
	received := []int{3, 0, 0, 3, 0, 3, 1, 3, 0, 0, 3, 0, 3}
	refusal := map[netip.Addr]string{
		targets[2]: "host unreachable, says 10.77.0.2", targets[9]: "address unreachable, says fd77::1",
	}
	verify := func(how string, target netip.Addr, s Stats, received int, refusal string) {
		if s.Sent != 3 || s.Received != received || s.Lost != 3-received || s.Refusal != refusal || s.Err != nil {
			t.Errorf("%s %s: %+v, want %d received, %d lost, refusal %q", how, target, s, received, 3-received, refusal)
		}
	}
	for i, s := range mustGroup(t, quick(), targets) {
		verify("Group", targets[i], s, received[i], refusal[targets[i]])
	}
	for i, target := range targets {
		s, err := Single(t.Context(), quick(), target)
		if err != nil {
			t.Fatal(err)
		}
		why := refusal[target]
		if strings.Contains(why, "says") {
			why = "" // go-ping does not read ICMP errors.
		}
		if strings.HasSuffix(target.String(), "6") || strings.HasSuffix(target.String(), "8") {
			continue // It does not look at the sender; the flaky one is counted by the group.
		}
		verify("Single", target, s, received[i], why)
	}
}

// TestNoRoute: what this machine cannot even send says nothing about the target.
func TestNoRoute(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	for _, kind := range []string{"raw", "datagram"} {
		targets := addrs("203.0.113.1", "127.0.0.1", "2001:db8::1")
		stats := mustGroup(t, quick(), targets)
		allAnswered(t, quick(), targets[1:2], stats[1:2])
		for i, target := range targets {
			single, err := Single(t.Context(), quick(), target)
			if err != nil {
				t.Fatal(err)
			}
			for how, s := range map[string]Stats{"Group": stats[i], "Single": single} {
				if i != 1 && (!errors.Is(s.Err, syscall.ENETUNREACH) || s.Sent != 0 || s.Lost != 0) {
					t.Errorf("%s %s %s: %+v, want none sent for lack of a route", kind, how, target, s)
				}
			}
		}
		icmptest.PermitDatagrams(t)
	}
}

// TestThousandSilent: those that answer are not lost among those that do not.
func TestThousandSilent(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	up := netip.MustParseAddr("10.77.3.3")
	icmptest.New(t, func(to netip.Addr, _ int) icmptest.Answer {
		if to == up {
			return icmptest.Reply
		}
		return icmptest.Silence
	})
	var targets []netip.Addr
	for a := netip.MustParseAddr("10.77.0.2"); len(targets) < 1000; a = a.Next() {
		targets = append(targets, a)
	}
	start := time.Now()
	for i, s := range mustGroup(t, quick(), targets) {
		if want := map[bool]int{targets[i] == up: 3}[true]; s.Received != want || s.Lost != 3-want {
			t.Errorf("%s: %+v, want %d received", targets[i], s, want)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s, want little more than the timeout of %s", took, quick().Timeout)
	}
}

// TestCancelled: a silent host that was not waited for is neither here nor there.
func TestCancelled(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	icmptest.New(t, func(netip.Addr, int) icmptest.Answer { return icmptest.Silence })
	c := quick()
	c.Timeout = time.Minute
	for how, ping := range map[string]func(context.Context) (Stats, error){
		"Single": func(ctx context.Context) (Stats, error) { return Single(ctx, c, netip.MustParseAddr("10.77.0.2")) },
		"Group":  func(ctx context.Context) (Stats, error) { return byGroup(ctx, c, netip.MustParseAddr("fd77::2")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		start := time.Now()
		s, err := ping(ctx)
		cancel()
		if err != nil || s.Sent != 3 || s.Lost != 0 || s.Received != 0 || s.Err != nil {
			t.Errorf("%s: %+v, %v, want 3 sent and nothing known of them", how, s, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s ended %s after its start, want 100ms", how, took)
		}
		if s, err = ping(ctx); err != nil || s.Lost != 0 {
			t.Errorf("%s that was over before it began: %+v, %v", how, s, err)
		}
	}
}

// TestPermission: without privileges pings fail with advice, or take the
// datagram socket.
func TestPermission(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	runtime.LockOSThread() // And never unlocked: the thread ends with the test.
	icmptest.DropPrivileges(t)
	for _, target := range addrs("127.0.0.1", "::1") {
		for how, err := range map[string]error{
			"Group":  second(Group(t.Context(), quick(), []netip.Addr{target})),
			"Single": second(Single(t.Context(), quick(), target)),
		} {
			if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
				t.Errorf("%s %s: error %v, want one that says what to do", how, target, err)
			}
		}
	}
	icmptest.PermitDatagrams(t)
	targets := slices.Concat(loopbacks(1000), addrs("::1"))
	allAnswered(t, quick(), targets, mustGroup(t, quick(), targets))
	for _, target := range addrs("127.0.0.1", "::1") {
		s, err := Single(t.Context(), quick(), target)
		if err != nil {
			t.Fatal(err)
		}
		allAnswered(t, quick(), []netip.Addr{target}, []Stats{s})
	}
}

func BenchmarkGroup1000(b *testing.B) { benchmarkGroup(b, 1000) }

func BenchmarkGroup10000(b *testing.B) { benchmarkGroup(b, 10000) }

func benchmarkGroup(b *testing.B, n int) {
	c := quick()
	c.Count = 1
	targets := loopbacks(n)
	lost := 0
	for b.Loop() {
		stats, err := Group(b.Context(), c, targets)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range stats {
			lost += s.Lost
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/ping")
	b.ReportMetric(float64(lost), "lost")
}
