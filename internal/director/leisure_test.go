package director_test

import (
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// hundreds is a cluster whose group has 300 addresses, one second after its start.
func hundreds(t *testing.T, policy string) *world {
	t.Helper()
	c, err := parseCluster("node a\nnode b\ngroup web order=a,b addresses=300" + policy)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(c)
	w.commands(t, "start a; start b")
	w.run(time.Second)
	return w
}

func (w *world) commands(t *testing.T, script string) {
	t.Helper()
	for _, words := range split(script) {
		if err := w.command(words); err != nil {
			t.Fatal(err)
		}
	}
}

// perSecond is for how many addresses is asked in a second from now.
func (w *world) perSecond() int {
	before := w.asked
	w.run(time.Second)
	return w.asked - before
}

// Who cannot take hundreds of addresses asks for them at full pace as long as a lease may
// last, and then for each once a second, and for the one that is in the way each time.
func TestLeisure(t *testing.T) {
	for _, c := range []struct{ name, policy, fault string }{
		{"a stranger has one of them", "", "stranger; crash a"},
		{"an operator is waited for", "\npolicy on_peer_silent=hold", "crash a"},
		{"an operator is waited for, and a stranger has one", "\npolicy on_peer_silent=hold", "stranger; crash a"},
		{"the owner is not heard, but answers", "", "no-relay; silence a b"},
		{"the wire does not work", "", "gateway-down; crash a"},
		{"this node is not fit", "", "require b web bad; crash a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := hundreds(t, c.policy)
			w.commands(t, c.fault)
			w.run(time.Second)
			if n := w.perSecond(); n < 8000 {
				t.Errorf("in the beginning %d are asked for in a second", n)
			}
			w.run(time.Minute)
			if n := w.perSecond(); n < 250 || n > 340 {
				t.Errorf("after a minute %d are asked for in a second, want each once and the one in the way each time", n)
			}
		})
	}
}

// A takeover after a long wait is as fast as the bounds say of one at once.
func TestLeisureIsOver(t *testing.T) {
	for _, c := range []struct{ name, policy, fault, end string }{
		{"the stranger leaves", "", "stranger; crash a", "stranger-leaves"},
		{"an operator says that it is off", "\npolicy on_peer_silent=hold", "crash a", "operator b confirm-fenced a"},
		{"the owner that answered is off", "", "no-relay; silence a b", "crash a"},
		{"this node is fit again", "", "require b web bad; crash a", "require b web ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for shift := range 10 {
				w := hundreds(t, c.policy)
				w.commands(t, c.fault)
				w.run(time.Minute + time.Duration(shift)*7*time.Millisecond)
				w.commands(t, c.end)
				w.log.Reset()
				w.run(limit(t, w.configOf(w.nodes["b"])))
				if got := w.report(); !strings.Contains(got, "held by b") {
					t.Errorf("%d ms later: %s", shift*7, got)
				}
			}
		})
	}
}

// limit is the bound of a host that died.
func limit(t *testing.T, c director.Config) time.Duration {
	t.Helper()
	c.OnPeerSilent = director.TakeOver
	all, err := director.Bounds(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Failure == director.HostDead {
			return b.Limit
		}
	}
	t.Fatal("no bound of a dead host")
	return 0
}

// One of the answers that stand in the way of hundreds of addresses is not heard: a
// lost frame is no reason to ask for all of them for seconds.
func TestLeisureGoesOnAfterALostAnswer(t *testing.T) {
	w := hundreds(t, "")
	w.commands(t, "stranger; crash a")
	w.run(time.Minute)
	w.commands(t, "stranger-leaves")
	w.run(40 * time.Millisecond)
	w.commands(t, "stranger")
	w.run(100 * time.Millisecond)
	if n := w.perSecond(); n > 400 {
		t.Errorf("%d are asked for in the second after", n)
	}
}

// Two strangers have one address each: people are told once, not with each answer that
// comes first.
func TestTwoStrangers(t *testing.T) {
	w := hundreds(t, "")
	w.commands(t, "stranger; crash a")
	w.run(time.Second)
	w.log.Reset()
	for range 2000 {
		w.run(30 * time.Millisecond)
		w.give(w.nodes["b"], director.WireAnswered{Group: "web", By: director.Answerer{MAC: "02:00:00:00:00:98"}})
	}
	if n := strings.Count(w.log.String(), "no director"); n > 1 {
		t.Errorf("told %d times in a minute:\n%.500s", n, w.log.String())
	}
	// The first leaves: the other is told of.
	w.commands(t, "stranger-leaves")
	for range 200 {
		w.run(30 * time.Millisecond)
		w.give(w.nodes["b"], director.WireAnswered{Group: "web", By: director.Answerer{MAC: "02:00:00:00:00:98"}})
	}
	if !strings.Contains(w.log.String(), "02:00:00:00:00:98") {
		t.Errorf("the other is not told of: %s", w.log.String())
	}
}
