package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/watch"
)

// people read what a mail server delivers, in that order, and believe the last word on
// each watch and host.
type people struct {
	truth map[string]bool   // by "watch host": whether it is down
	hosts map[string][]bool // by watch: who is down

	mu     sync.Mutex      // protects what follows
	server string          // "up", "down", or "hangs"
	fails  map[string]bool // what people believe of truth
	read   []string        // what they read, for who looks at a failure
}

// whole is the watch that does not count for each host by itself.
const whole = "c"

func newPeople() *people {
	return &people{server: "up", fails: map[string]bool{}, truth: map[string]bool{}, hosts: map[string][]bool{"a": make([]bool, 3), "b": make([]bool, 3), whole: make([]bool, 2)}}
}

func (p *people) Send(ctx context.Context, e alerts.Event) error {
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	switch server {
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	case "down":
		return errDown
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Group != "monitord" {
		p.believe(e.Kind.String(), e.Service, e.Summary)
		return nil
	}
	for line := range strings.Lines(string(e.Output)) {
		if kind, rest, ok := strings.Cut(strings.TrimSpace(line), " g:"); ok {
			service, summary, _ := strings.Cut(rest, ": ")
			p.believe(kind, service, summary)
		}
	}
	return nil
}

func (p *people) believe(kind, service, summary string) {
	if strings.HasPrefix(service, "filler") {
		return
	}
	p.read = append(p.read, fmt.Sprintf("%s %s %s: %s", time.Now().Format(time.TimeOnly), kind, service, summary))
	about := strings.Fields(summary)
	if service == whole {
		about = []string{"*"}
	}
	for _, host := range about {
		p.fails[service+" "+host] = kind == "failure"
	}
}

// flip turns one host, and puts what a watch has to say of that.
func (p *people) flip(o *outbox, service string, host int) {
	down := p.hosts[service]
	down[host] = !down[host]
	fails := down[host]
	if service == whole {
		fails = slices.Contains(down, true)
		p.truth[service+" *"] = fails
	} else {
		p.truth[fmt.Sprintf("%s h%d", service, host)] = fails
	}
	kind := alerts.Up
	if fails {
		kind = alerts.Failure
	}
	m := testMessage(p, kind, fmt.Sprintf("h%d", host))
	m.hosts, m.event.Service, m.destination = service != whole, service, "mail"
	m.box, m.action, m.name = boxOf(m.key(), "mail"), service+kind.String(), "mail"
	for n, is := range down {
		h := alerts.Host{Name: fmt.Sprintf("h%d", n), State: alerts.HostUp, Concerned: n == host}
		if is {
			h.State = alerts.HostDown
		}
		m.event.Hosts = append(m.event.Hosts, h)
	}
	o.put(m)
}

// flood has as many messages about others as use up the minute.
func (p *people) flood(o *outbox) {
	for n := range burst {
		m := testMessage(p, alerts.Failure, "x")
		m.event.Service, m.destination, m.name = fmt.Sprint("filler", n), "mail", "mail"
		m.box, m.action = boxOf(m.key(), "mail"), m.event.Service
		o.put(m)
	}
}

// reincarnate is the outbox of the next daemon, from the disk.
func (p *people) reincarnate(ctx context.Context, t *testing.T, o *outbox) *outbox {
	text, err := json.Marshal(o.saved())
	if err != nil {
		t.Fatal(err)
	}
	var saved savedQueue
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	next := newOutbox(ctx, func(delivery) {})
	for i := range saved {
		m := saved[i].message(time.Now(), 0)
		m.alert = p
		next.restore(m, saved[i].Held, time.Now())
	}
	next.own(nil)
	return next
}

// drawDays is what happens, a word each.
func drawDays(rt *rapid.T) []string {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]string{"flip a 0", "flip a 1", "flip a 2", "flip b 0", "flip b 1", "flip c 0", "flip c 1"}),
		rapid.SampledFrom([]string{"flood", "flood", "up", "down", "hangs", "restart"}),
		rapid.Map(rapid.IntRange(1, 200), func(n int) string { return fmt.Sprint("sleep ", n) }),
	), 30, 60).Draw(rt, "days")
}

// live plays what happens, and then lets everything be delivered.
func (p *people) live(t *testing.T, days []string) {
	ctx, cancel := context.WithCancel(t.Context())
	o := newOutbox(ctx, func(delivery) {})
	set := func(server string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.server = server
	}
	for _, day := range days {
		var word, service string
		var n int
		switch words := strings.Fields(day); len(words) {
		case 3:
			_, _ = fmt.Sscan(day, &word, &service, &n)
			p.flip(o, service, n)
		case 2:
			_, _ = fmt.Sscan(day, &word, &n)
			time.Sleep(time.Duration(n) * time.Second)
		default:
			switch day {
			case "flood":
				p.flood(o)
			case "restart":
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				o = p.reincarnate(ctx, t, o)
			default:
				set(day)
			}
		}
		synctest.Wait()
	}
	set("up")
	time.Sleep(sendTimeout + 2*longestWait + 3*limitWindow)
	o.close()
	cancel()
}

// TestPeopleBelieveTheTruth: whatever fails and returns, and however often the mail
// server and the daemon do, in a flood or not: in the end people know what is.
func TestPeopleBelieveTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		days := drawDays(rt)
		p := newPeople()
		synctest.Test(t, func(t *testing.T) { p.live(t, days) })
		for what, fails := range p.truth {
			if p.fails[what] != fails {
				rt.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, p.fails[what], strings.Join(p.read, "\n"))
			}
		}
	})
}

// A town is a site whose people are told by whole daemons, which are killed.
type town struct {
	*people
	store    *fakeStore
	monitors map[string]*fakeMonitor
	filler   *fakeMonitor
	watches  []config.Watch
}

func newTown() *town {
	c := &town{people: newPeople(), store: &fakeStore{}, monitors: map[string]*fakeMonitor{}, filler: &fakeMonitor{check: down()}}
	add := func(service string, m *fakeMonitor, hosts ...string) *config.Watch {
		w := testWatch(service, m, c.people, hosts...)
		w.Key = watch.Key{Group: "g", Service: service}
		w.Interval, w.Periods[0].AlertEvery.Interval = 5*time.Second, 10*time.Hour
		if w.Scope = watch.ScopeHost; service == whole {
			w.Scope = watch.ScopeGroup
		}
		c.watches = append(c.watches, w)
		return &c.watches[len(c.watches)-1]
	}
	for service, hosts := range c.hosts {
		c.monitors[service] = &fakeMonitor{check: down()}
		var names []string
		for n := range hosts {
			names = append(names, fmt.Sprint("h", n))
		}
		add(service, c.monitors[service], names...)
	}
	w := add("filler", c.filler, "x")
	w.Periods[0].Alerts, w.Periods[0].UpAlerts = nil, nil
	for n := range burst { // as many alerts at once as use up the minute
		id := fmt.Sprint("filler/", n)
		w.Actions[id] = c.people
		w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: id, Name: "mail"})
	}
	return c
}

// turn has one host fail, or be up again.
func (c *town) turn(service string, host int) {
	hosts := c.hosts[service]
	hosts[host] = !hosts[host]
	var failing []string
	for n, is := range hosts {
		if is {
			failing = append(failing, fmt.Sprint("h", n))
		}
		if service != whole {
			c.truth[fmt.Sprintf("%s h%d", service, n)] = is
		}
	}
	if service == whole {
		c.truth[service+" *"] = len(failing) > 0
	}
	c.monitors[service].set(down(failing...))
}

// TestPeopleBelieveTheTruthAcrossKills plays what happens to daemons that are killed at
// any moment, and to mail servers that are down or hang meanwhile.
func TestPeopleBelieveTheTruthAcrossKills(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	for seed := base; seed < base+8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newTown().live(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func (c *town) live(t *testing.T, random *rand.Rand) {
	l := live(t, c.store, 0, c.watches...)
	set := func(server string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.server = server
	}
	services := []string{"a", "b", whole}
	flooded := false
	for range 60 {
		switch n := random.IntN(12); {
		case n < 4:
			service := services[random.IntN(len(services))]
			c.turn(service, random.IntN(len(c.hosts[service])))
		case n < 6:
			if flooded = !flooded; flooded {
				c.filler.set(down("x"))
			} else {
				c.filler.set(down())
			}
		case n < 9:
			set([]string{"up", "down", "hangs"}[n-6])
		default:
			l.kill()
			l = live(t, c.store, 0, c.watches...)
		}
		time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
	}
	set("up")
	time.Sleep(sendTimeout + 2*longestWait + 3*limitWindow)
	l.end()
	for what, fails := range c.truth {
		if c.fails[what] != fails {
			t.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, c.fails[what], strings.Join(c.read, "\n"))
		}
	}
}

// TestPeopleBelieveTheTruthOfTwo: the group moves between directors whose mail servers
// are down now and then, and which are killed. What waits at one that owns nothing is
// told by nobody, or not behind what the other tells.
func TestPeopleBelieveTheTruthOfTwo(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	for seed := base; seed < base+8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { liveInTwo(t, rand.New(rand.NewPCG(seed, 0)), watch.Scope(seed%2)) })
		})
	}
}

// note writes down what happens, for who looks at a failure.
func (p *people) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = append(p.read, time.Now().Format("15:04:05.0 ")+fmt.Sprintf(format, args...))
}

// mailbox is what a director delivers to, unless its mail server is dead.
func (p *people) mailbox(director string, dead *atomic.Bool, scope watch.Scope) *recorder {
	return &recorder{fail: func(_ int, e alerts.Event) error {
		if dead.Load() {
			return errDown
		}
		p.note("%s:", director)
		service := e.Service
		if scope == watch.ScopeGroup {
			service = whole
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.believe(e.Kind.String(), service, e.Summary)
		return nil
	}}
}

func liveInTwo(t *testing.T, random *rand.Rand, scope watch.Scope) {
	c := newPeople()
	p := directors(t, func(w *config.Watch) {
		w.Scope, w.Periods[0].AlertEvery.Interval = scope, 10*time.Hour
	})
	mailbox := func(d *director, dead *atomic.Bool) *recorder { return c.mailbox(d.name, dead, scope) }
	dead := map[*director]*atomic.Bool{p.a: {}, p.b: {}}
	for _, d := range []*director{p.a, p.b} {
		p.restart(d, mailbox(d, dead[d]))
	}
	owner := "dr1"
	p.own(owner)
	hosts := map[string]bool{}
	for range 50 {
		d := []*director{p.a, p.b}[random.IntN(2)]
		switch random.IntN(7) {
		case 0, 1, 2:
			host := []string{"w1", "w2"}[random.IntN(2)]
			hosts[host] = !hosts[host]
			var failing []string
			for _, name := range []string{"w1", "w2"} {
				if hosts[name] {
					failing = append(failing, name)
				}
			}
			c.note("fail: %q", failing)
			p.both(failing...)
		case 3:
			owner = []string{"dr1", "dr2", "nobody"}[random.IntN(3)]
			c.note("owner %s", owner)
			p.own(owner)
		case 4:
			dead[d].Store(!dead[d].Load())
			c.note("the mail server of %s is down: %t", d.name, dead[d].Load())
		case 5:
			c.note("kill %s", d.name)
			p.kill(d)
			if d.name == owner {
				owner = "nobody"
			}
			d.mail = mailbox(d, dead[d])
			p.boot(d, d.store)
			p.own(owner)
		case 6:
			p.pass(time.Duration(random.IntN(50)) * time.Second)
		}
		p.pass(1200*time.Millisecond + time.Duration(random.IntN(9000))*time.Millisecond)
	}
	dead[p.a].Store(false)
	dead[p.b].Store(false)
	p.own("dr1")
	p.pass(3 * longestWait)
	p.end()
	truth := map[string]bool{"s w1": hosts["w1"], "s w2": hosts["w2"]}
	if scope == watch.ScopeGroup {
		truth = map[string]bool{whole + " *": hosts["w1"] || hosts["w2"]}
	}
	for what, fails := range truth {
		if c.fails[what] != fails {
			t.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, c.fails[what], strings.Join(c.read, "\n"))
		}
	}
}
