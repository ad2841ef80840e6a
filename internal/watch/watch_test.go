package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/period"
)

// A bench drives one Set by a clock that only the test moves.
type bench struct {
	t   *testing.T
	set *Set
	now time.Time
	key Key
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

func newBench(t *testing.T, configs ...Config) *bench {
	t.Helper()
	b := &bench{t: t, set: New(configs, Options{}), now: noon, key: configs[0].Key}
	b.set.Start(b.now)
	return b
}

func when(t *testing.T, spec string) period.Period {
	t.Helper()
	p, err := period.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// watchOf is a watch of three web servers with one period that alerts and
// upalerts; change edits it.
func watchOf(change func(*Config)) Config {
	c := Config{
		Key: Key{"web", "http"}, Hosts: []string{"w1", "w2", "w3"},
		Periods: []Period{{Name: "p", Alerts: []Action{{ID: "a", Name: "mail"}}, UpAlerts: []Action{{ID: "u", Name: "mail"}}}},
	}
	if change != nil {
		change(&c)
	}
	return c
}

// round gives a result ten seconds later: each word is a host that is down, one
// with a question mark could not be tested, all others are up.
func (b *bench) round(words string) []string {
	b.t.Helper()
	b.now = b.now.Add(10 * time.Second)
	return b.say(b.set.Result(b.now, b.key, b.result(words)))
}

func (b *bench) result(words string) Result {
	var r Result
	var down []string
	for _, h := range b.set.services[b.key].Hosts {
		v := HostVerdict{Host: h, Verdict: Good}
		switch {
		case slices.Contains(strings.Fields(words), h):
			v.Verdict, v.Reason = Bad, "refused"
			down = append(down, h)
			r.Exit = 1
		case slices.Contains(strings.Fields(words), h+"?"):
			v.Verdict, v.Reason = Unseen, "no name server"
		}
		r.Hosts = append(r.Hosts, v)
	}
	r.Output = strings.Join(down, " ") + "\n"
	return r
}

// say writes notices as "kind action: concerned hosts", a state as its verdicts.
func (b *bench) say(notices []Notice) []string {
	out := []string{}
	for _, n := range notices {
		var hosts []string
		for _, h := range n.Hosts {
			switch {
			case n.Kind == State:
				hosts = append(hosts, h.Name+"="+h.Verdict.String())
			case h.Concerned:
				hosts = append(hosts, h.Name)
			}
		}
		out = append(out, fmt.Sprintf("%s %s: %s", n.Kind, n.Action.ID, strings.Join(hosts, " ")))
	}
	return out
}

func (b *bench) want(got []string, want ...string) {
	b.t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("at %s (-want +got):\n%s\ndecisions:\n%s", b.now.Sub(noon), diff, b.decisions())
	}
}

func (b *bench) decisions() string {
	v, _ := b.set.View(b.key)
	var out strings.Builder
	for _, d := range v.Decisions {
		fmt.Fprintf(&out, "  %s %s\n", d.At.Sub(noon), d)
	}
	return out.String()
}

func (b *bench) lastCode() Code {
	v, _ := b.set.View(b.key)
	return v.Decisions[len(v.Decisions)-1].Code
}

func TestARecoveryNamesTheHostsOfTheFailure(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Scope = ScopeGroup }))
	b.want(b.round("w1 w3"), "alert a: w1 w3")
	b.want(b.round(""), "upalert u: w1 w3")
}

func TestFallAndRise(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Fall, c.Rise = 3, 2 }))
	b.want(b.round("w1"))
	b.want(b.round("w1"))
	if b.lastCode() != BelowFall {
		t.Errorf("the silence has the reason %s, want fall", b.lastCode())
	}
	b.want(b.round("w1"), "alert a: w1")
	b.want(b.round(""))
	if b.lastCode() != BelowRise {
		t.Errorf("the silence has the reason %s, want rise", b.lastCode())
	}
	b.want(b.round("w1"), "alert a: w1")
	b.want(b.round(""))
	b.want(b.round(""), "upalert u: w1")
	b.want(b.round("w1 w2"))
	b.want(b.round(""))
	b.want(b.round("w1 w2"))
}

func TestOneNoticeForAllHostsOfARound(t *testing.T) {
	var hosts []string
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("h%04d", i))
	}
	b := newBench(t, watchOf(func(c *Config) { c.Hosts = hosts }))
	all := strings.Join(hosts, " ")
	b.want(b.round(all), "alert a: "+all)
	b.want(b.round(""), "upalert u: "+all)
}

func TestHostsCountForThemselves(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Periods[0].AlertEvery = AlertEvery{Interval: time.Minute}
	}))
	b.want(b.round("w1"), "alert a: w1")
	b.want(b.round("w1 w2"), "alert a: w2")
	if b.lastCode() != Sent && !strings.Contains(b.decisions(), "alertevery") {
		t.Errorf("w1's silence has no reason: %s", b.decisions())
	}
	b.want(b.round("w2"), "upalert u: w1")
	b.want(b.round(""), "upalert u: w2")
}

func TestUnknownFreezes(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Fall = 2
		c.Periods[0].Alerts = append(c.Periods[0].Alerts, Action{ID: "f", Follows: true})
	}))
	b.want(b.round(""), "state f: w1=up w2=up w3=up")
	b.want(b.round("w1"))
	b.want(b.round("w1? w2? w3?"), "state f: w1=unknown w2=unknown w3=unknown")
	b.want(b.say(b.set.CouldNotTest(b.now, b.key, "no such program")))
	b.want(b.round("w1"), "alert a: w1", "state f: w1=down w2=up w3=up")
	b.want(b.round("w1? w2"), "state f: w1=unknown w2=up w3=up")
	v, _ := b.set.View(b.key)
	if v.Status != Failed {
		t.Errorf("status is %s after a round that told nothing about w1, want failed", v.Status)
	}
}

func TestFollowerKnowsThresholdsOnly(t *testing.T) {
	for name, silence := range map[string]func(*bench){
		"ack":       func(b *bench) { _, _ = b.set.Ack(b.now, b.key, "me", "known") },
		"period":    func(b *bench) { b.set.services[b.key].Periods[0].When = when(b.t, "none") },
		"numalerts": func(b *bench) { b.set.services[b.key].Periods[0].NumAlerts = 1 },
		"every":     func(b *bench) { b.set.services[b.key].Periods[0].AlertEvery.Interval = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, watchOf(func(c *Config) {
				c.Periods[0].Alerts = []Action{{ID: "f", Follows: true}}
				c.Periods[0].AlertAfter.Consecutive = 2
			}))
			b.want(b.round(""), "state f: w1=up w2=up w3=up")
			b.want(b.round("w1"))
			b.want(b.round("w1"), "state f: w1=down w2=up w3=up")
			silence(b)
			b.want(b.round(""), "state f: w1=up w2=up w3=up")
			b.want(b.round("w2"))
			b.want(b.round("w2"), "state f: w1=up w2=down w3=up")
		})
	}
}

func TestDisableFreezesFollower(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].Alerts = []Action{{ID: "f", Follows: true}} }))
	b.round("")
	got, err := b.set.DisableHosts(b.now, Mark{}, "w2")
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(got), "state f: w1=up w2=unknown w3=up")
	got, err = b.set.DisableService(b.now, b.key, Mark{By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(got), "state f: w1=unknown w2=unknown w3=unknown")
	b.want(b.round("w1"))
	got, _ = b.set.EnableService(b.now, b.key)
	b.want(b.say(got), "state f: w1=down w2=unknown w3=up")
	if _, err := b.set.DisableHosts(b.now, Mark{}, "nobody"); err == nil {
		t.Error("a host that nobody knows was disabled")
	}
}

func TestAckCoversTheFailingHostsOnly(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].AckAlerts = []Action{{ID: "k", Name: "mail"}} }))
	if _, err := b.set.Ack(b.now, b.key, "me", "x"); err == nil {
		t.Error("a healthy watch was acknowledged")
	}
	b.want(b.round("w1"), "alert a: w1")
	got, err := b.set.Ack(b.now, b.key, "me", "on it")
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(got), "ackalert k: w1")
	b.want(b.round("w1"))
	if b.lastCode() != Acknowledged {
		t.Errorf("silence because of %s, want acknowledged", b.lastCode())
	}
	b.want(b.round("w1 w2"), "alert a: w2")
	b.want(b.round("w2"), "alert a: w2", "upalert u: w1")
	b.want(b.round("w1 w2"), "alert a: w1 w2")
}

func TestCompatAndNot(t *testing.T) {
	group := func(compat bool, change func(*Config)) Config {
		return watchOf(func(c *Config) {
			c.Scope, c.Compat = ScopeGroup, compat
			change(c)
		})
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		rounds []string
		// what is sent in each round: a for an alert, u for an upalert
		mon, own string
	}{
		{
			"alertevery compares the line or the set",
			func(c *Config) { c.Periods[0].AlertEvery.Interval = time.Hour },
			[]string{"w1 w2", "w2 w1", "w1"},
			"a a a", "a - a",
		},
		{
			"the window tumbles or slides over successes",
			func(c *Config) { c.Periods[0].AlertAfter = AlertAfter{Count: 3, Within: time.Minute} },
			[]string{"w1", "", "w1", "", "w1", ""},
			"- - - - - -", "- - - - a u",
		},
		{
			"in a long outage the tumbling window pauses",
			func(c *Config) { c.Periods[0].AlertAfter = AlertAfter{Count: 2, Within: 20 * time.Second} },
			[]string{"w1", "w1", "w1", "w1", "w1"},
			"- a a - a", "- a a a a",
		},
	} {
		for _, compat := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/compat=%v", tc.name, compat), func(t *testing.T) {
				b := newBench(t, group(compat, tc.change))
				var got []string
				for _, words := range tc.rounds {
					b.now = b.now.Add(10 * time.Second)
					r := b.result(words)
					r.Hosts, r.Output = nil, words+"\n"
					mark := "-"
					for _, n := range b.set.Result(b.now, b.key, r) {
						mark = n.Action.ID
					}
					got = append(got, mark)
				}
				want := tc.own
				if compat {
					want = tc.mon
				}
				if text := strings.Join(got, " "); text != want {
					t.Errorf("sent %s, want %s\n%s", text, want, b.decisions())
				}
			})
		}
	}
}

func TestRecoveryOutsideThePeriod(t *testing.T) {
	for _, compat := range []bool{true, false} {
		b := newBench(t, watchOf(func(c *Config) { c.Compat, c.Periods[0].When = compat, when(t, "hr {12}") }))
		b.want(b.round("w1"), "alert a: w1")
		b.now = b.now.Add(time.Hour)
		if compat {
			b.want(b.round(""))
		} else {
			b.want(b.round(""), "upalert u: w1")
		}
	}
}

func TestUpAlertAfter(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].UpAlertAfter = 20 * time.Second }))
	b.want(b.round("w1"), "alert a: w1")
	b.want(b.round(""))
	if b.lastCode() != TooShort {
		t.Errorf("silence because of %s, want upalertafter", b.lastCode())
	}
	b.round("w1")
	b.round("w1")
	b.want(b.round(""), "upalert u: w1")
}

func gateway() Config {
	return Config{Key: Key{"gw", "ping"}, Hosts: []string{"gw1"}, Scope: ScopeGroup}
}

func expr(t *testing.T, text string) Expr {
	t.Helper()
	e, err := ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (b *bench) gatewayIs(up bool) {
	r := Result{}
	if !up {
		r = Result{Exit: 1, Output: "gw1\n"}
	}
	b.set.Result(b.now, Key{"gw", "ping"}, r)
}

func TestDependencySilencesAndFreezes(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Depend.On = expr(t, "gw:ping")
		c.Depend.Memory = 25 * time.Second
		c.Periods[0].Alerts = append(c.Periods[0].Alerts, Action{ID: "f", Follows: true})
	}), gateway())
	b.want(b.round(""), "state f: w1=up w2=up w3=up")
	b.gatewayIs(false)
	b.want(b.round("w1"), "state f: w1=unknown w2=unknown w3=unknown")
	if b.lastCode() != DependencyFailing {
		t.Errorf("silence because of %s, want dependency", b.lastCode())
	}
	b.gatewayIs(true)
	b.want(b.round("w1")) // remembered
	b.want(b.round("w1"))
	b.want(b.round("w1"), "alert a: w1", "state f: w1=down w2=up w3=up")
}

func TestDependencyHoldsMonitorOrHosts(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Depend.Monitor = expr(t, "gw:ping") }), gateway())
	b.gatewayIs(false)
	if _, skip, later := b.set.Request(b.now, b.key); skip == "" || !later {
		t.Errorf("a watch whose parent fails would run (skip %q, later %v)", skip, later)
	}
	b.gatewayIs(true)
	if hosts, skip, _ := b.set.Request(b.now, b.key); skip != "" || len(hosts) != 3 {
		t.Errorf("hosts %v, skip %q", hosts, skip)
	}

	parent := watchOf(func(c *Config) { c.Key = Key{"web", "ping"}; c.Hosts = []string{"w1", "w11"} })
	b = newBench(t, watchOf(func(c *Config) { c.Hosts = []string{"w1", "w11"}; c.Depend.Host = expr(t, "web:ping") }), parent)
	r := Result{Exit: 1, Output: "w11\n", Hosts: []HostVerdict{{Host: "w1", Verdict: Good}, {Host: "w11", Verdict: Bad}}}
	b.set.Result(b.now, parent.Key, r)
	hosts, _, _ := b.set.Request(b.now, b.key)
	if !slices.Equal(hosts, []string{"w1"}) {
		t.Errorf("hosts to test are %v, want w1: names match whole", hosts)
	}
}

func TestExpressions(t *testing.T) {
	up := map[Key]bool{{"a", "x"}: true, {"b", "x"}: false}
	for text, want := range map[string]bool{
		"a:x": true, "b:x": false, "!b:x": true, "a:x && b:x": false, "a:x || b:x": true, "not b:x and a:x": true,
		"not (a:x and b:x)": true, "a:x and not b:x or b:x": true, "!a:x || a:x && b:x": false, "not a:x || a:x": false,
	} {
		e := expr(t, text)
		if got := e.root(func(k Key) bool { return up[k] }); got != want {
			t.Errorf("%s = %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"a", "a:x &&", "(a:x", "a:x b:x", "&& a:x", "a:x & b:x", "a:x)", "()"} {
		if _, err := ParseExpr(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestRecursionEnds(t *testing.T) {
	loop := func(name, on string) Config {
		return Config{Key: Key{name, "s"}, Hosts: []string{"h"}, Scope: ScopeGroup, Depend: Dependency{On: expr(t, on)}, Periods: []Period{{Alerts: []Action{{ID: name}}}}}
	}
	b := newBench(t, loop("a", "b:s"), loop("b", "a:s"))
	got := b.set.Result(b.now, b.key, Result{Exit: 1, Output: "h\n"})
	b.want(b.say(got))
}

func TestDisableAlert(t *testing.T) {
	for _, compat := range []bool{true, false} {
		b := newBench(t, watchOf(func(c *Config) {
			c.Compat, c.Scope, c.Periods[0].DisableAlerts = compat, ScopeGroup, []Action{{ID: "d"}}
		}))
		got, _ := b.set.DisableService(b.now, b.key, Mark{By: "me"})
		if compat {
			b.want(b.say(got)) // mon never sends one
		} else {
			b.want(b.say(got), "disablealert d: ")
		}
	}
}

func TestReconfigureKeepsState(t *testing.T) {
	c := watchOf(func(c *Config) { c.Periods[0].AlertEvery.Interval = time.Hour })
	b := newBench(t, c)
	b.want(b.round("w1"), "alert a: w1")
	c2 := watchOf(func(c *Config) {
		c.Hosts = []string{"w0", "w1", "w2", "w3"}
		c.Periods = append([]Period{{Name: "new", Alerts: []Action{{ID: "n"}}}}, c.Periods...)
		c.Periods[1].AlertEvery.Interval = time.Hour
	})
	b.set.Reconfigure(b.now, []Config{c2}, Options{})
	b.want(b.round("w1"), "alert n: w1")
	b.want(b.round(""), "upalert u: w1")
}

func TestSaveAndRestore(t *testing.T) {
	c := watchOf(func(c *Config) { c.Periods[0].NumAlerts = 2 })
	b := newBench(t, c)
	b.round("w1")
	b.round("w1")
	_, _ = b.set.Ack(b.now, b.key, "me", "x")
	_, _ = b.set.DisableHosts(b.now, Mark{By: "me"}, "w3")
	again := New([]Config{c}, Options{})
	again.Restore(b.set.Save())
	again.RestoreDisabled(b.set.Disabled())
	if diff := cmp.Diff(b.set.Save(), again.Save()); diff != "" {
		t.Errorf("restored state differs (-saved +restored):\n%s", diff)
	}
	b.set = again
	b.want(b.round("w1"))
	b.want(b.round(""), "upalert u: w1")
}

func TestATrapBlamesTheHostsItNames(t *testing.T) {
	b := newBench(t, watchOf(nil))
	for _, step := range []struct {
		status, summary string
		want            []string
	}{
		{"1", "w2 is on fire", []string{"alert a: w2"}},
		{"1", "no names here", []string{"alert a: w1 w2 w3"}},
		{"0", "all well", []string{"upalert u: w1 w2 w3"}},
	} {
		b.now = b.now.Add(time.Minute)
		got, err := b.set.Trap(b.now, TrapMessage{Group: "web", Service: "http", Status: step.status, Summary: step.summary})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i].Kind = map[Kind]Kind{Trap: Failure, Up: Up}[got[i].Kind]
		}
		b.want(b.say(got), step.want...)
	}
}

func BenchmarkTenThousandHostsOfOneGroup(b *testing.B) {
	c := watchOf(func(c *Config) {
		c.Hosts = nil
		for i := range 10_000 {
			c.Hosts = append(c.Hosts, fmt.Sprintf("h%05d", i))
		}
	})
	set, now := New([]Config{c}, Options{}), noon
	bad := &bench{set: set, key: c.Key}
	failing := bad.result(strings.Join(c.Hosts[:1000], " "))
	for b.Loop() {
		now = now.Add(time.Second)
		set.Result(now, c.Key, failing)
	}
}
