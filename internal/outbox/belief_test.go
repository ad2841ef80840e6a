package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// flip turns one host, and puts what a watch has to say of that.
func flip(p *outboxtest.People, o *Outbox, service string, host int) {
	down := p.Hosts[service]
	down[host] = !down[host]
	fails := down[host]
	if service == outboxtest.Whole {
		fails = slices.Contains(down, true)
		p.Truth[service+" *"] = fails
	} else {
		p.Truth[fmt.Sprintf("%s h%d", service, host)] = fails
	}
	kind := alerts.Up
	if fails {
		kind = alerts.Failure
	}
	m := testMessage(p, kind, fmt.Sprintf("h%d", host))
	m.PerHost, m.Event.Service, m.destination = service != outboxtest.Whole, service, "mail"
	m.box, m.Action, m.Name = boxOf(m.Watch(), "mail"), service+kind.String(), "mail"
	for n, is := range down {
		h := alerts.Host{Name: fmt.Sprintf("h%d", n), State: alerts.HostUp, Concerned: n == host}
		if is {
			h.State = alerts.HostDown
		}
		m.Event.Hosts = append(m.Event.Hosts, h)
	}
	o.put(m)
}

// flood has as many messages about others as use up the minute.
func flood(p *outboxtest.People, o *Outbox) {
	for n := range FloodLimit {
		m := testMessage(p, alerts.Failure, "x")
		m.Event.Service, m.destination, m.Name = fmt.Sprint("filler", n), "mail", "mail"
		m.box, m.Action = boxOf(m.Watch(), "mail"), m.Event.Service
		o.put(m)
	}
}

// reincarnate is the outbox of the next daemon, from the disk.
func reincarnate(ctx context.Context, t *testing.T, p *outboxtest.People, o *Outbox) *Outbox {
	text, err := json.Marshal(o.saved())
	if err != nil {
		t.Fatal(err)
	}
	var saved Queue
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	next, now := newOutbox(ctx, func(Attempt) {}), time.Now()
	for i := range saved {
		next.Restore(&saved[i], Restart{Now: now, Alerts: bindingsTo(p, saved), Describe: func(watch.Key) (string, []string) { return "", nil }})
	}
	next.Own(nil)
	return next
}

// bindingsTo has all that waited go to one alert.
func bindingsTo(a alerts.Alert, q Queue) *Bindings {
	b := &Bindings{actions: map[string]alerts.Alert{}, names: map[string]alerts.Alert{}}
	for i := range q {
		b.actions[q[i].Action], b.names[q[i].Name] = a, a
	}
	return b
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
func live(t *testing.T, p *outboxtest.People, days []string) {
	ctx, cancel := context.WithCancel(t.Context())
	o := newOutbox(ctx, func(Attempt) {})
	set := func(server string) {
		p.Mu.Lock()
		defer p.Mu.Unlock()
		p.Server = server
	}
	for _, day := range days {
		var word, service string
		var n int
		switch words := strings.Fields(day); len(words) {
		case 3:
			_, _ = fmt.Sscan(day, &word, &service, &n)
			flip(p, o, service, n)
		case 2:
			_, _ = fmt.Sscan(day, &word, &n)
			time.Sleep(time.Duration(n) * time.Second)
		default:
			switch day {
			case "flood":
				flood(p, o)
			case "restart":
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				o = reincarnate(ctx, t, p, o)
			default:
				set(day)
			}
		}
		synctest.Wait()
	}
	set("up")
	time.Sleep(SendTimeout + 2*LongestPause + 3*FloodWindow)
	o.Close()
	cancel()
}

// TestPeopleBelieveTheTruth: whatever fails and returns, and however often the mail
// server and the daemon do, in a flood or not: in the end people know what is.
func TestPeopleBelieveTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		days := drawDays(rt)
		p := outboxtest.NewPeople()
		synctest.Test(t, func(t *testing.T) { live(t, p, days) })
		for what, fails := range p.Truth {
			if p.Fails[what] != fails {
				rt.Errorf("%s is down: %t, people believe %t after\n%s", what, fails, p.Fails[what], strings.Join(p.Read, "\n"))
			}
		}
	})
}
