package ping

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/icmp"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
)

func TestDefaults(t *testing.T) {
	m, err := monitors.Build("ping", monitors.Site{}, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	got := m.(*monitor)
	want := icmp.Config{Count: 3, Interval: 200 * time.Millisecond, Timeout: time.Second, Size: 56, TTL: 64}
	if got.pings != want || got.limits != (limits{loss: 100}) || got.family != "any" {
		t.Errorf("defaults are %+v, %+v, family %q", got.pings, got.limits, got.family)
	}
}

func TestSourceDecidesFamily(t *testing.T) {
	for source, want := range map[string]string{"10.0.0.1": "4", "fd00::1": "6", "::ffff:10.0.0.1": "4"} {
		c := defaults()
		c.Source = source
		m, err := build(c, monitors.Site{})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := m.(*monitor); got.family != want || got.pings.Source != netip.MustParseAddr(source).Unmap() {
			t.Errorf("%s: family %q, source %s, want family %q", source, got.family, got.pings.Source, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	for _, test := range []struct {
		key  string
		want string
		set  func(*config)
	}{
		{"count", "write 1 to 100", func(c *config) { c.Count = 0 }},
		{"count", "101 pings", func(c *config) { c.Count = 101 }},
		{"timeout", "0s leaves no time", func(c *config) { c.Timeout = 0 }},
		{"size", "write 24 to 65507", func(c *config) { c.Size = 23 }},
		{"size", "65508", func(c *config) { c.Size = 65508 }},
		{"ttl", "write 1 to 255", func(c *config) { c.TTL = 0 }},
		{"limit", "-1", func(c *config) { c.Limit = -1 }},
		{"source", "nonsense", func(c *config) { c.Source = "nonsense" }},
		{"ip", `"any", "4" or "6"`, func(c *config) { c.IP = "v4" }},
		{"ip", "10.0.0.1", func(c *config) { c.IP, c.Source = "6", "10.0.0.1" }},
		{"loss", `"66" is no share`, func(c *config) { c.Loss = "66" }},
		{"loss", `write a percentage above "0%", up to "100%"`, func(c *config) { c.Loss = "0%" }},
		{"loss", "101%", func(c *config) { c.Loss = "101%" }},
		{"loss", "NaN%", func(c *config) { c.Loss = "NaN%" }},
		{"loss", "%", func(c *config) { c.Loss = "%" }},
		{"loss", "is no share", func(c *config) { c.Loss = "" }},
	} {
		c := defaults()
		test.set(&c)
		_, err := build(c, monitors.Site{})
		key := new(plugin.KeyError)
		if !errors.As(err, &key) || key.Key != test.key || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one about %s with %q", err, test.key, test.want)
		}
	}
}

func TestParseLoss(t *testing.T) {
	for text, want := range map[string]float64{"100%": 100, "66%": 66, " 33.3 % ": 33.3, "0.1%": 0.1} {
		if got, err := parseLoss(text); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestJudge(t *testing.T) {
	ms := time.Millisecond
	all := limits{loss: 100}
	some := limits{loss: 66}
	slow := limits{loss: 100, rtt: 200 * ms}
	blocked := errors.New("ping could not be sent:\noperation not permitted")
	for _, test := range []struct {
		name    string
		limits  limits
		stats   icmp.Stats
		verdict monitors.Verdict
		reason  string
	}{
		{"all there", all, icmp.Stats{Sent: 3, Received: 3}, monitors.Up, ""},
		{"one there", all, icmp.Stats{Sent: 3, Received: 1, Lost: 2}, monitors.Up, ""},
		{"none there", all, icmp.Stats{Sent: 3, Lost: 3}, monitors.Down, "3 of 3 pings lost"},
		{
			"none there and why", all,
			icmp.Stats{Sent: 3, Lost: 3, Refusal: "host unreachable, says 10.0.0.1"},
			monitors.Down, "3 of 3 pings lost: host unreachable, says 10.0.0.1",
		},
		{"one of three, limit 66%", some, icmp.Stats{Sent: 3, Received: 2, Lost: 1}, monitors.Up, ""},
		{"two of three, limit 66%", some, icmp.Stats{Sent: 3, Received: 1, Lost: 2}, monitors.Down, "2 of 3 pings lost, limit 66%"},
		{"two of three, limit 67%", limits{loss: 67}, icmp.Stats{Sent: 3, Received: 1, Lost: 2}, monitors.Up, ""},
		{"one of three, limit 33.3%", limits{loss: 33.3}, icmp.Stats{Sent: 3, Received: 2, Lost: 1}, monitors.Down, "1 of 3 pings lost, limit 33.3%"},
		{"fast enough", slow, icmp.Stats{Sent: 3, Received: 3, Avg: 200 * ms}, monitors.Up, ""},
		{"too slow", slow, icmp.Stats{Sent: 3, Received: 3, Avg: 312 * ms}, monitors.Down, "average round trip 312ms, limit 200ms"},
		{"rounded", slow, icmp.Stats{Sent: 3, Received: 3, Avg: 312*ms + 4567}, monitors.Down, "average round trip 312ms, limit 200ms"},
		{"a trifle too slow", slow, icmp.Stats{Sent: 3, Received: 3, Avg: 200*ms + 4567}, monitors.Down, "average round trip 200.004567ms, limit 200ms"},
		{"none there and too slow", slow, icmp.Stats{Sent: 3, Lost: 3}, monitors.Down, "3 of 3 pings lost"},
		{"not sent", all, icmp.Stats{}, monitors.Unknown, "not finished before the run's deadline"},
		{"could not be sent", all, icmp.Stats{Err: blocked}, monitors.Unknown, "ping could not be sent: operation not permitted"},
		{"none there so far", all, icmp.Stats{Sent: 3, Lost: 2}, monitors.Unknown, "not finished before the run's deadline"},
		{"one there so far", all, icmp.Stats{Sent: 2, Received: 1}, monitors.Up, ""},
		{"one there so far, how fast?", slow, icmp.Stats{Sent: 2, Received: 1}, monitors.Unknown, "not finished before the run's deadline"},
		{"two lost so far, limit 66%", some, icmp.Stats{Sent: 3, Lost: 2}, monitors.Down, "2 of 3 pings lost, limit 66%"},
		{"one lost so far, limit 66%", some, icmp.Stats{Sent: 3, Received: 1, Lost: 1}, monitors.Unknown, "not finished before the run's deadline"},
		{"lost, and one not sent", all, icmp.Stats{Sent: 2, Lost: 2, Err: blocked}, monitors.Unknown, "ping could not be sent: operation not permitted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if v, reason := test.limits.judge(3, test.stats); v != test.verdict || reason != test.reason {
				t.Errorf("%+v is %s %q, want %s %q", test.stats, v, reason, test.verdict, test.reason)
			}
		})
	}
}

// offline is a monitor without network: names are looked up in a table, pings
// are recorded and answered by all hosts but 192.0.2.9.
func offline(t *testing.T, set func(*config)) (*monitor, *[][]string) {
	t.Helper()
	c := defaults()
	set(&c)
	built, err := build(c, monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	m, calls := built.(*monitor), new([][]string)
	m.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if addrs, ok := names()[host]; ok {
			return addrs, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	answer := func(a netip.Addr) icmp.Stats {
		if a == netip.MustParseAddr("192.0.2.9") {
			return icmp.Stats{Sent: 3, Lost: 3}
		}
		return icmp.Stats{Sent: 3, Received: 3, Avg: time.Millisecond}
	}
	m.single = func(_ context.Context, _ icmp.Config, a netip.Addr) (icmp.Stats, error) {
		*calls = append(*calls, []string{"single", a.String()})
		return answer(a), nil
	}
	m.group = func(_ context.Context, _ icmp.Config, targets []netip.Addr) ([]icmp.Stats, error) {
		call, stats := []string{"group"}, make([]icmp.Stats, len(targets))
		for i, a := range targets {
			call, stats[i] = append(call, a.String()), answer(a)
		}
		*calls = append(*calls, call)
		return stats, nil
	}
	return m, calls
}

func names() map[string][]netip.Addr {
	v4, mapped, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	return map[string][]netip.Addr{
		"both": {v6, v4}, "four": {mapped}, "six": {v6}, "none": {}, "any": {netip.IPv4Unspecified()},
	}
}

func TestTargets(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     func(*config)
		hosts   []string
		calls   [][]string
		unknown map[string]string // reasons
	}{
		{"one host", func(*config) {}, []string{"192.0.2.1"}, [][]string{{"single", "192.0.2.1"}}, nil},
		{"several hosts", func(*config) {}, []string{"192.0.2.1", "2001:db8::5", "192.0.2.1"}, [][]string{{"group", "192.0.2.1", "2001:db8::5", "192.0.2.1"}}, nil},
		{
			"ports", func(*config) {},
			[]string{"192.0.2.1:80", "[2001:db8::5]:443", "[2001:db8::6]", "four:8080", "::ffff:192.0.2.7"},
			[][]string{{"group", "192.0.2.1", "2001:db8::5", "2001:db8::6", "192.0.2.2", "192.0.2.7"}},
			nil,
		},
		{"first address of a name", func(*config) {}, []string{"both"}, [][]string{{"single", "2001:db8::1"}}, nil},
		{"IPv4 of a name", func(c *config) { c.IP = "4" }, []string{"both"}, [][]string{{"single", "192.0.2.1"}}, nil},
		{"IPv6 source", func(c *config) { c.Source = "fd00::1" }, []string{"both"}, [][]string{{"single", "2001:db8::1"}}, nil},
		{
			"the wrong family", func(c *config) { c.IP = "6" },
			[]string{"192.0.2.1", "four", "six"},
			[][]string{{"single", "2001:db8::1"}},
			map[string]string{"192.0.2.1": "192.0.2.1 is not an IPv6 address", "four": "four has no IPv6 address"},
		},
		{
			"nothing to ping", func(*config) {},
			[]string{"missing", "none", "any", "0.0.0.0", "224.0.0.1", "10.0.0.300", "[::1", ""},
			nil,
			map[string]string{
				"missing": "lookup missing: no such host", "none": "none has no address", "any": "0.0.0.0 is not a host's address",
				"0.0.0.0": "0.0.0.0 is not a host's address", "224.0.0.1": "224.0.0.1 is not a host's address",
				"10.0.0.300": `host "10.0.0.300" is not a valid IPv4 address`, "[::1": `host "[::1": brackets hold an IPv6 address, like [::1]:80`,
				"": `host "" has no name`,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, calls := offline(t, test.set)
			r, err := m.Check(t.Context(), monitors.Request{Hosts: test.hosts})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.calls, *calls); diff != "" {
				t.Errorf("pings (-want +got):\n%s", diff)
			}
			for i, h := range r.Hosts {
				want := monitors.HostResult{Host: test.hosts[i], Verdict: monitors.Up, Took: time.Millisecond}
				if reason, ok := test.unknown[h.Host]; ok {
					want = monitors.HostResult{Host: test.hosts[i], Reason: reason}
				}
				name, _, _ := strings.Cut(h.Host, ":")
				_, lookedUp := names()[name]
				if got := h.Timings.Resolve > 0; got != lookedUp {
					t.Errorf("%s: a lookup of %s, want one: %t", h.Host, h.Timings.Resolve, lookedUp)
				}
				h.Timings.Resolve = 0 // the real clock's
				if h != want {
					t.Errorf("got %+v, want %+v", h, want)
				}
			}
			if r.Exit != 0 {
				t.Errorf("exit status %d: no host is down", r.Exit)
			}
		})
	}
}

func TestResultsGoToTheirHosts(t *testing.T) {
	m, _ := offline(t, func(*config) {})
	r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{"missing", "192.0.2.9", "both", "192.0.2.9:22"}})
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []monitors.Verdict
	for _, h := range r.Hosts {
		verdicts = append(verdicts, h.Verdict)
	}
	if !slices.Equal(verdicts, []monitors.Verdict{monitors.Unknown, monitors.Down, monitors.Up, monitors.Down}) {
		t.Errorf("verdicts %v", verdicts)
	}
	if want := "192.0.2.9 192.0.2.9:22\n"; r.Exit != 1 || !strings.HasPrefix(string(r.Output), want) {
		t.Errorf("exit %d, output %q, want 1 and first line %q", r.Exit, r.Output, want)
	}
}

// TestNoSocket: without a socket no host is down.
func TestNoSocket(t *testing.T) {
	m, _ := offline(t, func(*config) {})
	m.single = func(context.Context, icmp.Config, netip.Addr) (icmp.Stats, error) {
		return icmp.Stats{}, icmp.ErrPermission
	}
	m.group = func(context.Context, icmp.Config, []netip.Addr) ([]icmp.Stats, error) { return nil, icmp.ErrPermission }
	for _, hosts := range [][]string{{"192.0.2.1"}, {"192.0.2.1", "192.0.2.9"}} {
		r, err := m.Check(t.Context(), monitors.Request{Hosts: hosts})
		if !errors.Is(err, icmp.ErrPermission) || len(r.Hosts) != 0 || r.Exit != 0 {
			t.Errorf("%+v, %v, want nothing but the error", r, err)
		}
	}
}

// TestSlowNames: names that nobody answers for take half of the time, and the
// other hosts are pinged in the rest.
func TestSlowNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, calls := offline(t, func(*config) {})
		m.lookup = func(ctx context.Context, _, name string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		hosts := append(slices.Repeat([]string{"slow"}, 3*maxLookups), "192.0.2.1")
		start := time.Now()
		r, err := m.Check(ctx, monitors.Request{Hosts: hosts})
		if took := time.Since(start); err != nil || took != 5*time.Second {
			t.Fatalf("took %s, error %v, want 5s and none", took, err)
		}
		if last := r.Hosts[len(hosts)-1]; last.Verdict != monitors.Up || len(*calls) != 1 {
			t.Errorf("%+v, want it up", last)
		}
		if first := r.Hosts[0]; first.Verdict != monitors.Unknown || !strings.Contains(first.Reason, "lookup slow") {
			t.Errorf("%+v, want it unknown for its name", first)
		}
	})
}

func TestCancelledLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := offline(t, func(*config) {})
		m.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r, err := m.Check(ctx, monitors.Request{Hosts: []string{"slow"}})
		if err != nil || r.Hosts[0].Verdict != monitors.Unknown || r.Hosts[0].Reason != "not tested before the run's deadline" {
			t.Errorf("%+v, %v", r.Hosts, err)
		}
	})
}
