// Package ping is the monitor "ping": a host is up if it answers ICMP echo
// requests.
//
//	monitor = { type = "ping", count = 3, loss = "66%", rtt = "200ms" }
//
// Each host gets count pings, one every interval, and each ping may take timeout.
// A host is down if at least the share loss of its pings got no reply, or if the
// average round trip of those that did is above rtt. Without these keys it is
// down only if no reply came at all.
//
// The hosts of a group are pinged together, over one socket for IPv4 and one for
// IPv6, so that a run takes (count-1) * interval + timeout at the worst, however
// many hosts are down. A port in a host's entry means nothing here and is left
// out. Of a name with several addresses the first is pinged.
//
// What cannot be tested is unknown: a name that cannot be looked up, a network
// to which this machine has no route, a ping that the local firewall forbids.
// Pings need CAP_NET_RAW or a place in net.ipv4.ping_group_range; without either
// the run fails and says so.
package ping

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/icmp"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Count    int               `toml:"count" doc:"How many pings each host gets (1 to 100, default 3)."`
	Interval monitors.Duration `toml:"interval" doc:"The time between two pings to a host (default 200ms)."`
	Timeout  monitors.Duration `toml:"timeout" doc:"How long to wait for the reply to each ping (default 1s)."`
	Loss     string            `toml:"loss" doc:"A host is down if this share of its pings or more is lost (default \"100%\": all of them)."`
	RTT      monitors.Duration `toml:"rtt" doc:"A host is down if its average round trip is longer (default 0s: however long)."`
	Size     int               `toml:"size" doc:"The payload of a ping in bytes (24 to 65507, default 56)."`
	TTL      int               `toml:"ttl" doc:"How many routers a ping may pass (1 to 255, default 64)."`
	Source   string            `toml:"source" doc:"The address of this machine to ping from (default: the system's choice)."`
	IP       string            `toml:"ip" doc:"The address family to use: \"any\", \"4\" or \"6\" (default \"any\")."`
	Limit    int               `toml:"limit" doc:"How many pings of a run may be waiting for their reply at once (default 0: any number)."`
}

func defaults() config {
	return config{
		Count: 3, Interval: monitors.Duration(200 * time.Millisecond), Timeout: monitors.Duration(time.Second),
		Loss: "100%", Size: 56, TTL: 64, IP: "any",
	}
}

func init() { monitors.Register("ping", defaults(), build) }

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	loss, err := c.parse()
	if err != nil {
		return nil, err
	}
	m := &monitor{
		pings: icmp.Config{
			Count: c.Count, Interval: c.Interval.Std(), Timeout: c.Timeout.Std(),
			Size: c.Size, TTL: c.TTL, InFlight: c.Limit,
		},
		limits: limits{loss: loss, rtt: c.RTT.Std()},
		lookup: net.DefaultResolver.LookupNetIP,
		family: c.IP,
		single: icmp.Single, group: icmp.Group,
	}
	if c.Source != "" {
		m.pings.Source = netip.MustParseAddr(c.Source).Unmap() // parse has seen to it.
		m.family = "6"
		if m.pings.Source.Is4() {
			m.family = "4"
		}
	}
	return m, nil
}

// parse judges the values and returns the limit of loss in percent.
func (c config) parse() (loss float64, err error) {
	switch {
	case c.Count < 1 || c.Count > 100:
		return 0, monitors.BadKey("count", "%d pings are not possible: write 1 to 100", c.Count)
	case c.Timeout <= 0:
		return 0, monitors.BadKey("timeout", "%s leaves no time for a reply: write a longer one, like \"1s\"", c.Timeout)
	case c.Size < icmp.MinSize || c.Size > icmp.MaxSize:
		return 0, monitors.BadKey("size", "%d bytes are not possible: write %d to %d", c.Size, icmp.MinSize, icmp.MaxSize)
	case c.TTL < 1 || c.TTL > 255:
		return 0, monitors.BadKey("ttl", "%d is not possible: write 1 to 255", c.TTL)
	case c.Limit < 0:
		return 0, monitors.BadKey("limit", "%d is not possible: write how many pings may wait at once, or 0 for any number", c.Limit)
	}
	if _, err := dial.New(c.Source, c.IP); err != nil {
		return 0, err
	}
	return parseLoss(c.Loss)
}

type monitor struct {
	pings  icmp.Config
	limits limits
	family string // "any", "4" or "6"

	// What tests put others in the place of.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	single func(context.Context, icmp.Config, netip.Addr) (icmp.Stats, error)
	group  func(context.Context, icmp.Config, []netip.Addr) ([]icmp.Stats, error)
}

// Check implements [monitors.Monitor].
func (m *monitor) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	hosts := make([]monitors.HostResult, len(r.Hosts))
	var targets []netip.Addr
	var places []int // of each target in hosts
	for i, found := range m.resolve(ctx, r.Hosts) {
		hosts[i] = monitors.HostResult{Host: r.Hosts[i], Reason: found.reason, Timings: monitors.Timings{Resolve: found.took}}
		if found.addr.IsValid() {
			targets, places = append(targets, found.addr), append(places, i)
		}
	}
	stats, err := m.ping(ctx, targets)
	if err != nil {
		return monitors.Result{}, fmt.Errorf("ping: %w", err)
	}
	for i, s := range stats {
		h := &hosts[places[i]]
		h.Verdict, h.Reason = m.limits.judge(m.pings.Count, s)
		h.Took = s.Avg
	}
	return monitors.Summarise(hosts), nil
}

// ping takes go-ping for one target and a shared socket for more.
func (m *monitor) ping(ctx context.Context, targets []netip.Addr) ([]icmp.Stats, error) {
	switch len(targets) {
	case 0:
		return nil, nil
	case 1:
		stats, err := m.single(ctx, m.pings, targets[0])
		return []icmp.Stats{stats}, err
	}
	return m.group(ctx, m.pings, targets)
}
