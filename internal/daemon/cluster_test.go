package daemon

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
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

// A dog notes its end.
type dog struct{ events []string }

func (d *dog) Pet() {}

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
	c.dog = d
	c.loop.Shutdown()
	c.run(t.Context(), nil)
	if !slices.Equal(d.events, []string{"disarmed"}) {
		t.Errorf("after the loop: %v", d.events)
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
