package simulate

import (
	"context"
	"errors"
	"fmt"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// A cast is all the monitors, who find what the lines say.
type cast struct {
	actors map[watch.Key]*actor
	checks int
}

// An actor stands for one watch's monitor. What no line speaks of is up.
type actor struct {
	cast  *cast
	stood monitors.Monitor // whom it stands for
	hosts map[string]*Line // what is so, of hosts that are not up
	whole *Line            // what is so of the watch as a whole: exit, unknown, down
}

func newCast() *cast { return &cast{actors: map[watch.Key]*actor{}} }

// join returns the site with the actors as its monitors.
func (c *cast) join(site *config.Site) *config.Site {
	out := *site
	out.Watches = make([]config.Watch, len(site.Watches))
	for i, w := range site.Watches {
		if w.Monitor != nil {
			a := &actor{cast: c, stood: w.Monitor, hosts: map[string]*Line{}}
			c.actors[w.Key], w.Monitor = a, a
		}
		out.Watches[i] = w
	}
	return &out
}

// learn tells the actors what a line says.
func (c *cast) learn(l *Line) {
	for _, key := range l.act.watches {
		a := c.actors[key]
		switch {
		case l.act.hosts == nil:
			clear(a.hosts)
			a.whole = l
		case a.whole != nil && a.whole.act.verb != down && a.whole.act.verb != up:
			a.whole = nil // the hosts count again
			a.note(l)
		default:
			a.note(l)
		}
	}
}

func (a *actor) note(l *Line) {
	for _, h := range l.act.hosts {
		a.hosts[h] = l
	}
}

// Check implements [monitors.Monitor].
func (a *actor) Check(_ context.Context, r monitors.Request) (monitors.Result, error) {
	a.cast.checks++
	if l := a.whole; l != nil {
		switch {
		case l.act.verb == unknown:
			l.seen++
			return monitors.Result{}, errors.New(l.reason())
		case l.act.verb == exit:
			l.seen++
			return a.stood.(judge).Judge(r.Hosts, l.act.exit, []byte(l.act.text+"\n")) // the parser has asked whether it is one
		case l.act.verb == down && len(r.Hosts) == 0:
			l.seen++
			return monitors.Result{Exit: 1, Output: []byte(l.reason() + "\n")}, nil
		}
	}
	found := make([]monitors.HostResult, len(r.Hosts))
	for i, h := range r.Hosts {
		found[i] = a.verdict(h)
	}
	return monitors.Summarise(found), nil
}

func (a *actor) verdict(host string) monitors.HostResult {
	l := a.hosts[host]
	if l == nil {
		l = a.whole
	}
	if l == nil || l.act.verb == up {
		return monitors.HostResult{Host: host, Verdict: monitors.Up}
	}
	l.seen++
	if l.act.verb == unknown {
		return monitors.HostResult{Host: host, Verdict: monitors.Unknown, Reason: l.reason()}
	}
	return monitors.HostResult{Host: host, Verdict: monitors.Down, Reason: l.reason()}
}

// reason is why, in the line's words if it has any.
func (l *Line) reason() string {
	if l.act.text != "" {
		return l.act.text
	}
	return fmt.Sprintf("line %d of the results", l.Number)
}
