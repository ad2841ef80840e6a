package watch

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// escalated is a watch that tells the boss after half an hour, the CEO after two.
func escalated(change func(*Config)) Config {
	return watchOf(func(c *Config) {
		c.Periods[0].AlertEvery.Interval = 24 * time.Hour
		c.Periods[0].Escalate = []Escalation{
			{After: 30 * time.Minute, Actions: []Action{{ID: "boss", Name: "mail boss"}}},
			{After: 2 * time.Hour, Actions: []Action{{ID: "ceo", Name: "mail ceo"}}},
		}
		if change != nil {
			change(c)
		}
	})
}

func TestEscalation(t *testing.T) {
	for _, scope := range []Scope{ScopeHost, ScopeGroup} {
		t.Run(scope.String(), func(t *testing.T) {
			b := newQuietBench(t, escalated(func(c *Config) { c.Scope = scope }))
			b.want(b.round("w1"), "alert a: w1")
			b.want(b.tick(29 * time.Minute))
			b.want(b.round("w1"))
			b.want(b.tick(time.Hour), "alert boss: w1") // without any result
			b.want(b.round("w1"))
			b.want(b.tick(time.Hour), "alert ceo: w1")
			b.want(b.round(""), "upalert u: w1", "upalert boss: w1", "upalert ceo: w1")
			b.want(b.round(""))
			b.want(b.round("w2"), "alert a: w2") // the next outage begins anew
			b.want(b.tick(29 * time.Minute))
			b.want(b.round(""), "upalert u: w2") // and the boss heard nothing of it
		})
	}
}

func TestAnAckStopsTheEscalation(t *testing.T) {
	b := newQuietBench(t, escalated(func(c *Config) { c.AckExpires = 8 * time.Hour }))
	b.want(b.round("w1 w2"), "alert a: w1 w2")
	b.want(b.round("w2"), "upalert u: w1")
	if _, err := b.set.Ack(b.now, b.key, "ann", "on it"); err != nil {
		t.Fatal(err)
	}
	b.want(b.tick(7 * time.Hour))
	b.want(b.round("w1 w2"), "alert a: w1")
	b.want(b.tick(31*time.Minute), "alert boss: w1") // nobody has acknowledged that one
	b.want(b.tick(30 * time.Minute))
	// The ack of w2 was forgotten: it is told again, and then the boss is.
	b.want(b.round("w1 w2"), "alert a: w2")
	b.want(b.tick(29 * time.Minute))
	b.want(b.tick(2*time.Minute), "alert boss: w2")
}

// TestWhoWasToldOfTheFailureIsToldOfItsEnd: whatever upalertafter and the period say.
func TestWhoWasToldOfTheFailureIsToldOfItsEnd(t *testing.T) {
	b := newQuietBench(t, escalated(func(c *Config) { c.Periods[0].UpAlertAfter, c.Periods[0].UpAlerts = 3*time.Hour, nil }))
	b.want(b.round("w1"), "alert a: w1")
	b.want(b.tick(time.Hour), "alert boss: w1")
	b.want(b.round(""), "upalert boss: w1")
}

// TestAMissingProgramIsEscalated: mon's way is to log what is not there.
func TestAMissingProgramIsEscalated(t *testing.T) {
	b := newQuietBench(t, escalated(func(c *Config) {
		c.Compat = true
		c.Periods[0].Alerts[0].Missing = true
	}))
	b.want(b.round("w1"))
	b.want(b.tick(time.Hour), "alert boss: w1")
}

func TestEscalationWaitsForWhatHoldsItBack(t *testing.T) {
	disable := func(b *bench) {
		if _, err := b.set.DisableService(b.now, b.key, Mark{At: b.now, By: "ann"}); err != nil {
			b.t.Fatal(err)
		}
	}
	tests := []struct {
		name       string
		change     func(*Config)
		hold, lets func(*bench)
		code       Code
	}{
		{
			"a silence", nil,
			func(b *bench) { b.silence("1", 2*time.Hour, nil) },
			func(*bench) {}, Silenced,
		},
		{
			"disabled", nil, disable,
			func(b *bench) {
				if _, err := b.set.EnableService(b.now, b.key); err != nil {
					b.t.Fatal(err)
				}
			}, DisabledByOperator,
		},
		{
			"out of the period", func(c *Config) { c.Periods[0].When = when(t, "hr {12pm-12pm}, hr {15-17}") },
			func(*bench) {}, func(b *bench) { b.now = noon.Add(4 * time.Hour) }, OutsidePeriod,
		},
		{
			"stopped", nil, func(b *bench) { b.set.Stop() }, func(b *bench) { b.set.Resume() }, Stopped,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newQuietBench(t, escalated(test.change))
			b.now = noon.Add(45 * time.Minute)
			b.want(b.round("w1"), "alert a: w1")
			test.hold(b)
			b.want(b.tick(90 * time.Minute))
			if b.lastCode() != test.code && test.code != Stopped {
				t.Errorf("the last decision is %s, want %s:\n%s", b.lastCode(), test.code, b.decisions())
			}
			test.lets(b)
			b.want(append(b.tick(time.Hour), b.round("w1")...), "alert boss: w1", "alert ceo: w1")
		})
	}
}

func TestAForgottenAck(t *testing.T) {
	b := newQuietBench(t, watchOf(func(c *Config) {
		c.AckExpires = 24 * time.Hour
		c.Periods[0].NumAlerts, c.Periods[0].AlertEvery.Interval = 1, 7*24*time.Hour
	}))
	b.want(b.round("w1"), "alert a: w1")
	if _, err := b.set.Ack(b.now, b.key, "ann", "on it"); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(23 * time.Hour)
	b.want(b.round("w1"))
	b.now = b.now.Add(time.Hour)
	b.want(b.round("w1"), "alert a: w1") // whatever numalerts and alertevery say
	b.want(b.round("w1"))                // once
	v, _ := b.set.View(b.key)
	if v.Ack != nil {
		t.Errorf("still acknowledged: %+v", v.Ack)
	}
	b.want(b.round(""), "upalert u: w1")
}

// TestNobodyIsForgotten holds random histories against what an escalation promises:
// of a failure that lasts for After without an ack, both lists were told, each once;
// an ack stops it; who was told of the failure is told of its end; and a restart or
// another owner in the middle changes nothing.
func TestNobodyIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const after = 100 * time.Second
		c := randomConfig(t)
		c.Compat = false
		p := &c.Periods[0]
		p.Escalate = []Escalation{{After: after, Actions: []Action{{ID: "boss", Name: "boss"}}}}
		p.UpAlertAfter = time.Duration(rapid.IntRange(0, 300).Draw(t, "upalertafter")) * time.Second
		set, now := New([]Config{c}, Options{}), noon
		first, boss := map[string]time.Time{}, map[string]bool{}
		take := func(notices []Notice) {
			t.Helper()
			for _, n := range notices {
				subjects := []string{""}
				if c.Scope == ScopeHost {
					subjects = concernedIn(n)
				}
				for _, sub := range subjects {
					switch {
					case n.Kind == Failure && n.Action.ID == "a":
						if first[sub].IsZero() {
							first[sub] = now
						}
					case n.Kind == Failure && n.Action.ID == "boss":
						if boss[sub] {
							t.Fatalf("%q: the boss was told twice", sub)
						}
						if first[sub].IsZero() || now.Sub(first[sub]) < after-time.Second {
							t.Fatalf("%q: the boss was told %s after the first alert", sub, now.Sub(first[sub]))
						}
						if set.services[c.Key].subject(sub).ack != nil {
							t.Fatalf("%q: the boss was told of an acknowledged failure", sub)
						}
						boss[sub] = true
					case n.Kind == Up && n.Action.ID == "boss":
						if !boss[sub] {
							t.Fatalf("%q: the boss was told of an end without a beginning", sub)
						}
						delete(boss, sub)
					default:
					}
				}
			}
		}
		for i, step := range histories(t, len(c.Hosts)) {
			end := now.Add(step.pause)
			for range 10 {
				at, ok := set.NextTick()
				if !ok || at.After(end) {
					break
				}
				now = latest(now, at)
				take(set.Tick(now))
			}
			now = end
			if rapid.IntRange(0, 9).Draw(t, fmt.Sprintf("move %d", i)) == 0 {
				set = moved(t, set, c, now, rapid.Bool().Draw(t, "by a restart"))
			}
			disabled := set.services[c.Key].disabled != nil
			take(step.apply(set, now, c))
			for _, sub := range set.services[c.Key].subjects {
				lasts := !first[sub.host].IsZero() && now.Sub(latest(first[sub.host], sub.unacked)) > after+time.Second
				switch {
				case sub.status == OK && sub.consecutive == 0:
					if boss[sub.host] && !disabled { // who is disabled hears of no end (mon)
						t.Fatalf("%q: the boss was not told of the end", sub.host)
					}
					delete(boss, sub.host)
					delete(first, sub.host)
				case sub.status == Failed && lasts && sub.ack == nil && !disabled && step.operator == "" && sub.verdict == Bad && !boss[sub.host]:
					t.Fatalf("%q: fails for %s, and the boss was not told", sub.host, now.Sub(first[sub.host]))
				}
			}
		}
	})
}

// moved is the set as another owner or the next process has it.
func moved(t *rapid.T, set *Set, c Config, now time.Time, restart bool) *Set {
	next := New([]Config{c}, Options{})
	next.Restore(set.Save())
	if restart {
		return next
	}
	told, _ := set.Told(now, c.Key)
	next = New([]Config{c}, Options{})
	saved := set.Save()
	for i := range saved { // it has seen the same, and told nothing
		for j := range saved[i].Subjects {
			saved[i].Subjects[j].Periods, saved[i].Subjects[j].Ack = nil, nil
		}
	}
	next.Restore(saved)
	next.Mute(now, c.Key, "the other owns it")
	next.Absorb(now, "me", told)
	if notices := messages(next.Own(now, c.Key)); len(notices) > 0 {
		for _, n := range notices {
			if n.Action.ID == "boss" || n.Kind == Up {
				t.Fatalf("the next owner tells %v", n)
			}
		}
	}
	return next
}
