package director_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
)

const ms = time.Millisecond

func pair() director.Config {
	return director.Config{
		Self: "a", Nodes: []director.Node{{Name: "a"}, {Name: "b"}}, Gateways: []string{"gw"},
		Groups:  []director.Group{{Name: "web", Order: []string{"a", "b"}, Before: true}},
		Timings: director.DefaultTimings(),
	}
}

func TestBounds(t *testing.T) {
	tests := []struct {
		name   string
		change func(*director.Config)
		want   map[director.Failure]time.Duration // -1: open
	}{
		{"defaults", func(*director.Config) {}, map[director.Failure]time.Duration{
			director.HostDead: 235 * ms, director.CutOff: 235 * ms, director.OneWay: 235 * ms,
			director.DaemonKilled: 140 * ms, director.Frozen: 140 * ms, director.GatewayPath: 1395 * ms, director.ServiceCut: 525 * ms, director.Planned: 60 * ms,
		}},
		{"a few addresses", func(c *director.Config) { c.Groups[0].Addresses = 20 }, map[director.Failure]time.Duration{
			director.HostDead: 235 * ms, director.Planned: 60 * ms,
		}},
		{"hundreds of addresses", func(c *director.Config) { c.Groups[0].Addresses = 300 }, map[director.Failure]time.Duration{
			director.HostDead: 249 * ms, director.CutOff: 249 * ms, director.DaemonKilled: 154 * ms, director.GatewayPath: 1423 * ms, director.Planned: 88 * ms,
		}},
		{"hundreds of IPv6 addresses", func(c *director.Config) { c.Groups[0].Addresses, c.Groups[0].IPv6 = 300, 200 }, map[director.Failure]time.Duration{
			director.HostDead: 289 * ms, director.Planned: 128 * ms,
		}},
		{"strict", func(c *director.Config) { c.Takeover = director.Strict }, map[director.Failure]time.Duration{
			director.HostDead: 1490 * ms, director.DaemonKilled: 770 * ms, director.Planned: 60 * ms,
		}},
		{"hold", func(c *director.Config) { c.OnPeerSilent = director.HoldStill }, map[director.Failure]time.Duration{
			director.HostDead: -1, director.DaemonKilled: -1, director.Planned: 60 * ms,
		}},
		{"hold with a witness", func(c *director.Config) {
			c.OnPeerSilent = director.HoldStill
			c.Nodes = append(c.Nodes, director.Node{Name: "w", Witness: true})
		}, map[director.Failure]time.Duration{director.HostDead: 235 * ms}},
		{"stonith", func(c *director.Config) { c.Stonith = director.StonithRequire }, map[director.Failure]time.Duration{
			director.HostDead: -1, director.Frozen: -1,
		}},
		{"no gateway", func(c *director.Config) { c.Gateways = nil }, map[director.Failure]time.Duration{director.GatewayPath: -1, director.ServiceCut: -1}},
		{"a short dead time, slow probes", func(c *director.Config) {
			c.Timings.ProbePause, c.Timings.Probes = 60*ms, 4
		}, map[director.Failure]time.Duration{director.HostDead: 360 * ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair()
			tt.change(&c)
			bounds, err := director.Bounds(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bounds {
				want, asked := tt.want[b.Failure]
				if asked && (b.Open != (want < 0) || want >= 0 && b.Limit != want) {
					t.Errorf("%s: got %s (open %t: %s), want %s", b.Failure, b.Limit, b.Open, b.Formula, want)
				}
				if b.Formula == "" {
					t.Errorf("%s: no formula", b.Failure)
				}
			}
		})
	}
}

// TestTimingsFor: every pace keeps the assumptions, and halving it halves the bound.
func TestTimingsFor(t *testing.T) {
	tests := []struct{ heartbeat, dead time.Duration }{
		{10 * ms, 45 * ms}, {25 * ms, 112500 * time.Microsecond}, {50 * ms, 225 * ms}, {100 * ms, 450 * ms}, {time.Second, 4500 * ms},
	}
	for _, tt := range tests {
		c := pair()
		c.Timings = director.TimingsFor(tt.heartbeat)
		if c.Timings.Dead != tt.dead {
			t.Errorf("%s: got deadtime %s, want %s", tt.heartbeat, c.Timings.Dead, tt.dead)
		}
		if _, err := director.Bounds(c); err != nil {
			t.Errorf("%s: %v", tt.heartbeat, err)
		}
	}
	if got, want := director.TimingsFor(50*ms), director.DefaultTimings(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want the defaults", got)
	}
}

func TestBoundsRefuse(t *testing.T) {
	tests := []struct {
		want   string
		change func(*director.Config)
	}{
		{"who is cut off must let go before its peer", func(c *director.Config) { c.Timings.Fence = 210 * ms }},
		{"1000 addresses: who is cut off needs 49ms to remove them all", func(c *director.Config) { c.Groups[0].Addresses = 1000 }},
		{"that leaves time for 820", func(c *director.Config) {
			for i := range 1000 {
				c.Groups = append(c.Groups, director.Group{Name: string(rune('A' + i))})
			}
		}},
		{"400 IPv6 addresses (of 500): the kernel needs 184ms to add them all", func(c *director.Config) { c.Groups[0].Addresses, c.Groups[0].IPv6 = 500, 400 }},
		{"after 100ms that is given up: there is time for 275", func(c *director.Config) { c.Groups[0].Addresses, c.Groups[0].IPv6 = 500, 400 }},
		{"shorter than three heartbeats", func(c *director.Config) { c.Timings.Dead = 140 * ms }},
		{"shorter than three renewals", func(c *director.Config) { c.Timings.Lease = 700 * ms }},
		{"10s is the most", func(c *director.Config) { c.Timings.Lease = time.Minute }},
		{"shorter than the lease", func(c *director.Config) { c.Timings.GapLimit = time.Second }},
		{"has to be repeated before", func(c *director.Config) { c.Timings.GapLimit = 400 * ms }},
		{"suspect 225ms has to come before", func(c *director.Config) { c.Timings.Suspect = 225 * ms }},
		{"suspect 50ms: a heartbeat comes each", func(c *director.Config) { c.Timings.Suspect = 50 * ms }},
		{"pings are fast from 120ms on", func(c *director.Config) { c.Timings.AckStale = 120 * ms }},
		{"acknowledgements come each", func(c *director.Config) { c.Timings.AckStale = 40 * ms }},
		{"two pings, one each 60ms", func(c *director.Config) { c.Timings.FastPing = 60 * ms }},
		{"up to a tick (20ms) late", func(c *director.Config) { c.Timings.Tick = 20 * ms }},
		{"gap limit 970ms has to be shorter", func(c *director.Config) { c.Timings.GapLimit = 970 * ms }},
		{"longer than the pause between probes", func(c *director.Config) { c.Timings.ProbeAge = 40 * ms }},
		{"no more than 6 are remembered", func(c *director.Config) { c.Timings.Probes = 7 }},
		{"at least one probe", func(c *director.Config) { c.Timings.Probes = 0 }},
		{"longer than nothing", func(c *director.Config) { c.Timings.Renew = 0 }},
		{"two of them have to fit", func(c *director.Config) { c.Timings.Tick = 30 * ms }},
		{"gap 300ms", func(c *director.Config) { c.Timings.Gap = 300 * ms }},
		{"patience", func(c *director.Config) { c.Timings.Patience = 100 * ms }},
		{"the schedule of announcements", func(c *director.Config) { c.Timings.Announce = nil }},
		{"only the simulator", func(c *director.Config) { c.Without = director.WireProbe }},
		{"is not one of the cluster's", func(c *director.Config) { c.Self = "z" }},
		{"node \"a\" is there twice", func(c *director.Config) { c.Nodes[1].Name = "a" }},
		{"group \"web\" is there twice", func(c *director.Config) { c.Groups = append(c.Groups, c.Groups[0]) }},
		{"which is no node", func(c *director.Config) { c.Groups[0].Order = []string{"c"} }},
		{"which is a witness", func(c *director.Config) { c.Nodes[1].Witness = true }},
		{"\"a\" twice", func(c *director.Config) { c.Groups[0].Order = []string{"a", "a"} }},
		{"which is no group", func(c *director.Config) { c.Groups[0].Together = "dns" }},
		{"in a circle", func(c *director.Config) {
			c.Groups = append(c.Groups, director.Group{Name: "dns", Together: "web"})
			c.Groups[0].Together = "dns"
		}},
		{"both together with and apart", func(c *director.Config) {
			c.Groups = append(c.Groups, director.Group{Name: "dns", Together: "web", Apart: []string{"web"}})
		}},
		{"which is no other group", func(c *director.Config) { c.Groups[0].Apart = []string{"web"} }},
		{"no node may hold it", func(c *director.Config) {
			c.Nodes[0].Witness, c.Nodes[1].Witness, c.Groups[0].Order = true, true, nil
		}},
		{"negative", func(c *director.Config) { c.Groups[0].Failback.After = -ms }},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			c := pair()
			tt.change(&c)
			_, err := director.Bounds(c)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// promised are the bounds of a pair with the default times.
func promised(t *testing.T) map[director.Failure]time.Duration {
	t.Helper()
	bounds, err := director.Bounds(pair())
	if err != nil {
		t.Fatal(err)
	}
	all := map[director.Failure]time.Duration{}
	for _, b := range bounds {
		all[b.Failure] = b.Limit
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestThePageHasTheBounds: docs/failover.md has the machine's own times and bounds.
func TestThePageHasTheBounds(t *testing.T) {
	page, bounds, times := read(t, "docs/failover.md"), promised(t), director.DefaultTimings()
	for row, failure := range map[string]director.Failure{
		"daemon killed with -9": director.DaemonKilled, "frozen, resumed": director.Frozen, "host dead, cable pulled": director.HostDead,
		"cut off without loss of carrier": director.CutOff, "cannot send / cannot receive": director.OneWay,
		"cut off on the service network, while a second network still carries heartbeats": director.ServiceCut,
		"only the owner's way to the gateway":                                             director.GatewayPath,
		"SIGTERM, switchover, failback, maintenance":                                      director.Planned,
	} {
		want := fmt.Sprintf("%d ms", bounds[failure].Milliseconds())
		if bounds[failure] > time.Second {
			want = fmt.Sprintf("%.1f s", bounds[failure].Seconds())
		}
		_, rest, found := strings.Cut(page, "\n| "+row+" | ")
		columns := strings.Split(strings.SplitN(rest, "\n", 2)[0], " | ")
		if !found || len(columns) < 4 || columns[2] != want {
			t.Errorf("%q: the bound is %s, the page has %q", row, want, columns)
		}
	}
	for _, want := range []string{
		fmt.Sprintf("fence (%d ms) + margin < dead time (%d ms)", times.Fence.Milliseconds(), times.Dead.Milliseconds()),
		fmt.Sprintf("lets go at the fence (%d ms)", times.Fence.Milliseconds()),
		fmt.Sprintf("has to wait for the dead time (%d ms)", times.Dead.Milliseconds()),
		fmt.Sprintf("waits a margin (%d ms)", times.Margin.Milliseconds()),
		fmt.Sprintf("Directors say every %d ms", times.Heartbeat.Milliseconds()),
		fmt.Sprintf("the lazy pace of pings (%d s)", int(times.LazyPing.Seconds())),
	} {
		if !strings.Contains(strings.ReplaceAll(page, "\n", " "), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestTheDemoExpectsTheBounds: what "make demo" expects of each fault is the bound, and
// 150 ms for a busy machine, as its script says.
func TestTheDemoExpectsTheBounds(t *testing.T) {
	bounds, last, judged := promised(t), "", 0
	for line := range strings.Lines(read(t, "etc/demo.faults")) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "wait" || words[0] == "#" || words[0] == "expect" && words[1] != "outage" {
			continue
		}
		failure, moves := map[string]director.Failure{
			"kill9": director.DaemonKilled, "freeze": director.Frozen, "pull": director.HostDead, "switchover": director.Planned, "stop": director.Planned,
		}[last]
		if words[0] != "expect" {
			last = words[0]
			continue
		}
		want := time.Duration(0)
		if moves {
			want = bounds[failure] + 150*ms
			judged++
		}
		if got, err := time.ParseDuration(words[2]); err != nil || got != want {
			t.Errorf("after %s at most %s is expected (%v), want %s", last, words[2], err, want)
		}
	}
	if judged != 5 {
		t.Errorf("%d faults move the address, want five", judged)
	}
}
