package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// A town is a site whose people are told by whole daemons, which are killed.
type town struct {
	*outboxtest.People
	store    *fakeStore
	monitors map[string]*fakeMonitor
	filler   *fakeMonitor
	watches  []config.Watch
}

func newTown() *town {
	c := &town{People: outboxtest.NewPeople(), store: &fakeStore{}, monitors: map[string]*fakeMonitor{}, filler: &fakeMonitor{check: down()}}
	add := func(service string, m *fakeMonitor, hosts ...string) *config.Watch {
		w := testWatch(service, m, c.People, hosts...)
		w.Key = watch.Key{Group: "g", Service: service}
		w.Interval, w.Periods[0].AlertEvery.Interval = 5*time.Second, 10*time.Hour
		if w.Scope = watch.ScopeHost; service == outboxtest.Whole {
			w.Scope = watch.ScopeGroup
		}
		c.watches = append(c.watches, w)
		return &c.watches[len(c.watches)-1]
	}
	for service, hosts := range c.Hosts {
		c.monitors[service] = &fakeMonitor{check: down()}
		var names []string
		for n := range hosts {
			names = append(names, fmt.Sprint("h", n))
		}
		add(service, c.monitors[service], names...)
	}
	w := add("filler", c.filler, "x")
	w.Periods[0].Alerts, w.Periods[0].UpAlerts = nil, nil
	for n := range outbox.FloodLimit { // as many alerts at once as use up the minute
		id := fmt.Sprint("filler/", n)
		w.Actions[id] = c.People
		w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: id, Name: "mail"})
	}
	return c
}

// turn has one host fail, or be up again.
func (c *town) turn(service string, host int) {
	hosts := c.Hosts[service]
	hosts[host] = !hosts[host]
	var failing []string
	for n, is := range hosts {
		if is {
			failing = append(failing, fmt.Sprint("h", n))
		}
		if service != outboxtest.Whole {
			c.Truth[fmt.Sprintf("%s h%d", service, n)] = is
		}
	}
	if service == outboxtest.Whole {
		c.Truth[service+" *"] = len(failing) > 0
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
		c.Mu.Lock()
		defer c.Mu.Unlock()
		c.Server = server
	}
	services := []string{"a", "b", outboxtest.Whole}
	flooded := false
	for range 60 {
		switch n := random.IntN(12); {
		case n < 4:
			service := services[random.IntN(len(services))]
			c.turn(service, random.IntN(len(c.Hosts[service])))
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
	time.Sleep(outbox.SendTimeout + 2*outbox.LongestPause + 3*outbox.FloodWindow)
	l.end()
	for what, fails := range c.Truth {
		if c.Fails[what] != fails {
			t.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, c.Fails[what], strings.Join(c.Read, "\n"))
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
func note(p *outboxtest.People, format string, args ...any) {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	p.Read = append(p.Read, time.Now().Format("15:04:05.0 ")+fmt.Sprintf(format, args...))
}

// mailboxOf is what a director delivers to, unless its mail server is dead.
func mailboxOf(p *outboxtest.People, director string, dead *atomic.Bool, scope watch.Scope) *outboxtest.Recorder {
	return &outboxtest.Recorder{Fail: func(_ int, e alerts.Event) error {
		if dead.Load() {
			return outboxtest.ErrDown
		}
		note(p, "%s:", director)
		service := e.Service
		if scope == watch.ScopeGroup {
			service = outboxtest.Whole
		}
		p.Mu.Lock()
		defer p.Mu.Unlock()
		p.Believe(e.Kind.String(), service, e.Summary)
		return nil
	}}
}

func liveInTwo(t *testing.T, random *rand.Rand, scope watch.Scope) {
	c := outboxtest.NewPeople()
	p := directors(t, func(w *config.Watch) {
		w.Scope, w.Periods[0].AlertEvery.Interval = scope, 10*time.Hour
	})
	mailbox := func(d *director, dead *atomic.Bool) *outboxtest.Recorder { return mailboxOf(c, d.name, dead, scope) }
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
			note(c, "fail: %q", failing)
			p.both(failing...)
		case 3:
			owner = []string{"dr1", "dr2", "nobody"}[random.IntN(3)]
			note(c, "owner %s", owner)
			p.own(owner)
		case 4:
			dead[d].Store(!dead[d].Load())
			note(c, "the mail server of %s is down: %t", d.name, dead[d].Load())
		case 5:
			note(c, "kill %s", d.name)
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
	p.pass(3 * outbox.LongestPause)
	p.end()
	truth := map[string]bool{"s w1": hosts["w1"], "s w2": hosts["w2"]}
	if scope == watch.ScopeGroup {
		truth = map[string]bool{outboxtest.Whole + " *": hosts["w1"] || hosts["w2"]}
	}
	for what, fails := range truth {
		if c.Fails[what] != fails {
			t.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, c.Fails[what], strings.Join(c.Read, "\n"))
		}
	}
}
