package watch

import (
	"strings"
	"testing"
	"time"
)

// These are the ways in which a dead server could get back into its pool, or a
// good one out of it, without anybody having tested it.

func following(scope Scope) func(*Config) {
	return func(c *Config) {
		c.Scope = scope
		c.Periods[0].Alerts, c.Periods[0].UpAlerts = []Action{{ID: "f", Follows: true}}, nil
	}
}

func TestAnUntestedHostKeepsItsPlace(t *testing.T) {
	b := newBench(t, watchOf(following(ScopeGroup)))
	b.want(b.round("w1 w2"), "state f: w1=down w2=down w3=up")
	b.want(b.round("w2 w1?")) // w1 is not known to be up
	// w1 is left out of the next run: a good result says nothing about it.
	b.now = b.now.Add(time.Minute)
	got := b.set.Result(b.now, b.key, Result{Hosts: []HostVerdict{{Host: "w2", Verdict: Good}, {Host: "w3", Verdict: Good}}})
	b.want(b.say(got), "state f: w1=down w2=up w3=up")
}

func TestUnknownWithoutReasonIsNoSuccess(t *testing.T) {
	b := newBench(t, watchOf(following(ScopeGroup)))
	b.round("w1")
	got := b.set.Result(b.now, b.key, Result{Hosts: []HostVerdict{{Host: "w1"}, {Host: "w2"}, {Host: "w3"}}})
	b.want(b.say(got), "state f: w1=unknown w2=unknown w3=unknown")
	if v, _ := b.set.View(b.key); v.Status != Failed {
		t.Errorf("status is %s after a result that told nothing, want failed", v.Status)
	}
}

func (b *bench) trap(status, summary string) []string {
	b.t.Helper()
	b.now = b.now.Add(10 * time.Second)
	got, err := b.set.Trap(b.now, TrapMessage{Group: b.key.Group, Service: b.key.Service, Status: status, Summary: summary})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.say(got)
}

func TestTrapsAndThePool(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		following(ScopeHost)(c)
		c.TrapDuration = time.Minute
		c.Fall = 2
	}))
	b.want(b.round(""), "state f: w1=up w2=up w3=up")
	b.want(b.trap("1", "w1 w1"))                                                // named twice is one failure
	b.want(b.trap("1", "w1"), "state f: w1=down w2=up w3=up")                   // the second
	b.want(b.trap("0", "fine"), "state f: w1=up w2=up w3=up")                   // takes back what a trap said
	b.round("w2")                                                               // a monitor's word
	b.want(b.round("w2"), "state f: w1=up w2=down w3=up")                       //
	b.want(b.trap("0", "fine"))                                                 // stands against a good trap
	b.want(b.trap("1", "no name"), "state f: w1=unknown w2=unknown w3=unknown") // nobody is put out for it
	b.now = b.now.Add(2 * time.Minute)
	b.want(b.say(b.set.Tick(b.now)))
	b.want(b.round("w2"), "state f: w1=up w2=down w3=up")
}

func TestAForgottenTrapPutsNobodyIn(t *testing.T) {
	for _, scope := range []Scope{ScopeGroup, ScopeHost} {
		b := newBench(t, watchOf(func(c *Config) {
			following(scope)(c)
			c.TrapDuration = time.Minute
		}))
		b.round("")
		b.trap("0", "fine")
		b.want(b.round("w1"), "state f: w1=down w2=up w3=up")
		b.now = b.now.Add(2 * time.Minute)
		b.want(b.say(b.set.Tick(b.now)))
		if v, _ := b.set.View(b.key); v.Status != Failed {
			t.Errorf("scope %s: status is %s, want failed: the monitor found w1 down", scope, v.Status)
		}
	}
}

func TestADisabledHostDoesNotKeepTheWatchFailed(t *testing.T) {
	b := newBench(t, watchOf(nil))
	b.round("w1")
	if _, err := b.set.DisableHosts(b.now, Mark{}, "w1"); err != nil {
		t.Fatal(err)
	}
	if v, _ := b.set.View(b.key); v.Status != OK {
		t.Errorf("status is %s with its only failing host disabled, want ok", v.Status)
	}
	if _, err := b.set.EnableHosts(b.now, "w1"); err != nil {
		t.Fatal(err)
	}
	if v, _ := b.set.View(b.key); v.Status != Failed {
		t.Errorf("status is %s with the host enabled again, want failed", v.Status)
	}
}

func TestClearTimersIsNoNewOutage(t *testing.T) {
	b := newBench(t, watchOf(nil))
	b.round("w1")
	before, _ := b.set.View(b.key)
	if err := b.set.ClearTimers(b.now, b.key); err != nil {
		t.Fatal(err)
	}
	b.round("w1")
	after, _ := b.set.View(b.key)
	if !after.FirstFailure.Equal(before.FirstFailure) {
		t.Error("the outage started anew: its mails would be another thread")
	}
}

func TestRedistributeDoesNotCallAFailureGood(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Fall, c.Redistribute = 2, &Action{ID: "r"} }))
	b.want(b.round("w1"))
	b.want(b.round("w1"), "alert r: w1", "alert a: w1")
	b.want(b.round(""), "upalert r: w1", "upalert u: w1")
}

func TestTrapClockRests(t *testing.T) {
	with := watchOf(func(c *Config) { c.TrapTimeout = time.Minute })
	b := newBench(t, with)
	if _, ok := b.set.NextTick(); !ok {
		t.Error("no tick for a watch with traptimeout")
	}
	b.set.Reconfigure(b.now, []Config{watchOf(nil)}, Options{})
	if at, ok := b.set.NextTick(); ok {
		t.Errorf("a tick at %s for a watch that has no traptimeout any more", at)
	}
}

// TestAPoolKnowsMoreThanAnOlderState: whatever happens before a result has come that
// agrees, a pool that remembers a host to be down is not told an older "up".
func TestAPoolKnowsMoreThanAnOlderState(t *testing.T) {
	for _, scope := range []Scope{ScopeHost, ScopeGroup} {
		t.Run(scope.String(), func(t *testing.T) {
			c := watchOf(following(scope))
			c.Fall, c.Rise = 2, 2
			b := newQuietBench(t, c)
			b.want(b.round(""), "state f: w1=up w2=up w3=up")
			old := throughJSON(t, b.set.Save()) // then w1 fails, and the daemon is killed
			b = newQuietBench(t, c)
			b.set.Restore(old)
			b.set.Retell()
			silent := func(when string, notices []Notice) {
				t.Helper()
				for _, said := range b.say(notices) {
					if strings.Contains(said, "=up") || strings.Contains(said, "=down") {
						t.Errorf("%s: %s", when, said)
					}
				}
			}
			operate := func(when string) {
				t.Helper()
				notices, err := b.set.DisableHosts(b.now, Mark{At: b.now}, "w3")
				if err != nil {
					t.Fatal(err)
				}
				silent(when+", disabled", notices)
				if notices, err = b.set.EnableHosts(b.now, "w3"); err != nil {
					t.Fatal(err)
				}
				silent(when+", enabled", notices)
				b.set.Reconfigure(b.now, []Config{c}, b.set.options)
				silent(when+", reloaded", append(b.set.Follow(b.now), b.set.FollowNew(b.now)...))
			}
			operate("before any test")
			silent("could not test", b.set.CouldNotTest(b.now, b.key, "no program"))
			operate("after none")
			if scope == ScopeGroup {
				b.want(b.round("w1"), "state f: w1=down w2=up w3=up")
				return
			}
			b.want(b.round("w1"), "state f: w1=unknown w2=up w3=up") // below fall
			b.want(b.round("w1"), "state f: w1=down w2=up w3=up")
			b.want(b.round("")) // below rise
			b.want(b.round(""), "state f: w1=up w2=up w3=up")
		})
	}
}
