package daemon

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/takeover"
	"github.com/monitord/monitord/internal/transition"
)

// A told collects what a transition's alert is told.
type told struct {
	mu  sync.Mutex
	all []string
}

func (t *told) Send(_ context.Context, e alerts.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, e.Summary)
	return nil
}

// A dog notes its end, and when it was petted.
type dog struct {
	events []string
	petted time.Time
	ill    error
}

func (d *dog) Err() error { return d.ill }

func (d *dog) Pet() { d.petted = time.Now() }

func (d *dog) Close() error {
	d.events = append(d.events, "disarmed")
	return nil
}

func quietLog() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// aCluster is a director alone, with a group of which nothing is here.
func aCluster() *cluster {
	site := &config.Cluster{Director: director.Config{
		Self: "dr1", Nodes: []director.Node{{Name: "dr1"}}, Timings: director.DefaultTimings(),
	}}
	c := &cluster{site: site, log: quietLog(), news: newNewsroom(), moved: make(chan struct{}, 1)}
	c.loop = takeover.New(takeover.Settings{Director: site.Director, Notice: c.news.add})
	return c
}

// The alerts that are sent at the end may take longer than the watchdog waits: it is
// disarmed as soon as nobody pets it any more.
func TestWatchdogEndsWithTheLoop(t *testing.T) {
	c, d := aCluster(), &dog{}
	c.watch(d)
	c.loop.Shutdown()
	c.run(t.Context(), nil)
	if !slices.Equal(d.events, []string{"disarmed"}) {
		t.Errorf("after the loop: %v", d.events)
	}
}

// What is done before the loop begins may take longer than the watchdog waits. From then
// on nobody else pets it.
func TestWatchdogWaitsForTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := aCluster(), &dog{}
		c.watch(d)
		time.Sleep(time.Minute)
		c.begun()
		if silent := time.Since(d.petted); silent >= watchdogTimeout/2 {
			t.Errorf("petted %v ago", silent)
		}
		last := d.petted
		time.Sleep(time.Minute)
		c.begun()
		if d.petted != last {
			t.Error("petted although the loop has begun")
		}
	})
}

// That the watchdog cannot be written to is said before the machine is reset, and once.
func TestWatchdogWritingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, said := aCluster(), 0
		c.dog = &dog{ill: io.ErrShortWrite}
		log := quietLog()
		log.AddHook(hook(func() { said++ }))
		c.log = log
		ctx, cancel := context.WithTimeout(t.Context(), watchdogTimeout)
		defer cancel()
		c.mind(ctx)
		if said != 1 {
			t.Errorf("said %d times", said)
		}
	})
}

// TestRelayGuess is about a start before the network: the relay has to be where it will be
// for the other nodes.
func TestRelayGuess(t *testing.T) {
	links := func(list ...string) (all []netip.AddrPort) {
		for _, a := range list {
			all = append(all, netip.AddrPortFrom(netip.MustParseAddr(a), 7946))
		}
		return all
	}
	for name, test := range map[string]struct {
		links    []netip.AddrPort
		gateway  string
		networks []netip.Prefix
		want     int
	}{
		"nothing is known":        {links("10.0.0.11", "192.0.2.11", "192.0.3.11"), "192.0.2.1", nil, 1},
		"the first, if alike":     {links("192.0.2.11", "192.0.2.12"), "192.0.2.1", nil, 0},
		"IPv6":                    {links("192.0.2.11", "2001:db8:1::11", "2001:db8:2::11"), "2001:db8:2::1", nil, 2},
		"known to be another":     {links("192.0.2.11", "192.0.3.11"), "192.0.2.1", []netip.Prefix{netip.MustParsePrefix("192.0.2.8/29")}, 1},
		"known":                   {links("192.0.2.11", "10.0.0.11"), "10.200.0.1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 1},
		"only link-local":         {links("fe80::11%eth1"), "fe80::1%eth1", nil, -1},
		"another kind of gateway": {links("192.0.2.11"), "2001:db8::1", nil, -1},
	} {
		t.Run(name, func(t *testing.T) {
			site := &config.Cluster{
				Director: director.Config{Self: "dr1"}, Links: []heartbeat.Node{{Name: "dr1", Links: test.links}},
				Gateways: []netip.Addr{netip.MustParseAddr(test.gateway)},
			}
			if got, _ := relayLink(site, test.networks); got != test.want {
				t.Errorf("link %d, want %d", got, test.want)
			}
		})
	}
}

// The kernel knows its neighbours without the interface.
func TestNodesAreKnownWithoutZones(t *testing.T) {
	site := &config.Cluster{Links: []heartbeat.Node{{Name: "dr2", Links: []netip.AddrPort{
		netip.MustParseAddrPort("[fe80::2%eth0]:6940"), {}, netip.MustParseAddrPort("10.0.0.12:6940"),
	}}}}
	want := []netip.Addr{netip.MustParseAddr("fe80::2"), netip.MustParseAddr("10.0.0.12")}
	if got := nodesOf(site); len(got) != 1 || !slices.Equal(got[0].Addresses, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Who ends for the next process renews the leases until the disk has what it needs.
func TestASlowDiskCostsNoLease(t *testing.T) {
	writing, goOn := make(chan struct{}), make(chan struct{})
	d := &daemon{cluster: aCluster(), poolState: keeping(func(lvs.Memory) error {
		close(writing)
		<-goOn
		return nil
	}, 0, quietLog())}
	d.cluster.tell = transition.New(nil, d.cluster.told)
	d.poolState.mu.Lock()
	d.poolState.value = &lvs.Memory{}
	d.poolState.mu.Unlock()
	ended := d.startGroups(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		d.leaveGroups(ended)
	}()
	<-writing
	select {
	case <-ended:
		t.Error("the loop ended while the disk was written")
	default:
	}
	close(goOn)
	<-left
	<-ended
}

// What happens last, as at every end, is told as well.
func TestTheLastTransitionIsTold(t *testing.T) {
	for range 20 {
		c, got := aCluster(), &told{}
		c.tell = transition.New(map[string][]transition.Alert{"web": {{Name: "notify", Alert: got}}}, func(transition.Delivery) {})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		busy, goOn := make(chan struct{}), make(chan struct{})
		log := quietLog()
		log.AddHook(hook(func() { close(busy); <-goOn }))
		c.log = log
		go func() {
			defer close(over)
			c.report(ctx, nil)
		}()
		c.news.add(takeover.Notice{Notice: director.Notice{Kind: director.Remark}})
		<-busy
		log.ReplaceHooks(logrus.LevelHooks{})
		c.news.add(takeover.Notice{Notice: director.Notice{Kind: director.Transition, Group: "web", From: director.Releasing, To: director.Standby}})
		end()
		close(goOn)
		<-over
		if err := c.tell.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(got.all) != 1 {
			t.Fatalf("told: %q", got.all)
		}
	}
}

// A hook is called with each line.
type hook func()

func (h hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(*logrus.Entry) error {
	h()
	return nil
}
