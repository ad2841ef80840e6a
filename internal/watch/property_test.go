package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A step of a random history: the verdicts of one round (., x and ? for each
// host), or what an operator does.
type historyStep struct {
	pause    time.Duration
	verdicts string
	operator string
}

func histories(t *rapid.T, hosts int) []historyStep {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) historyStep {
		s := historyStep{pause: time.Duration(rapid.IntRange(1, 40).Draw(t, "pause")) * time.Second}
		if rapid.IntRange(0, 9).Draw(t, "dice") == 0 {
			s.operator = rapid.SampledFrom([]string{"ack", "disable", "enable", "clear"}).Draw(t, "operator")
			return s
		}
		s.verdicts = rapid.StringMatching(fmt.Sprintf("[.x?]{%d}", hosts)).Draw(t, "verdicts")
		return s
	}), 1, 60).Draw(t, "history")
}

func randomConfig(t *rapid.T) Config {
	c := Config{Key: Key{"g", "s"}, Scope: Scope(rapid.IntRange(0, 1).Draw(t, "scope")), Compat: rapid.Bool().Draw(t, "compat")}
	for i := range rapid.IntRange(1, 3).Draw(t, "hosts") {
		c.Hosts = append(c.Hosts, fmt.Sprintf("h%d", i))
	}
	if c.Scope == ScopeHost {
		c.Fall, c.Rise = rapid.IntRange(1, 3).Draw(t, "fall"), rapid.IntRange(1, 3).Draw(t, "rise")
	}
	c.Periods = []Period{{
		Name:       "p",
		NumAlerts:  rapid.IntRange(0, 3).Draw(t, "numalerts"),
		AlertEvery: AlertEvery{Interval: time.Duration(rapid.IntRange(0, 90).Draw(t, "every")) * time.Second, Compare: Compare(rapid.IntRange(0, 3).Draw(t, "compare"))},
		AlertAfter: AlertAfter{Consecutive: rapid.IntRange(0, 3).Draw(t, "after")},
		Alerts:     []Action{{ID: "a", Name: "a"}, {ID: "f", Name: "f", Follows: true}},
		UpAlerts:   []Action{{ID: "u", Name: "u"}},
	}}
	return c
}

func (s historyStep) result(hosts []string) Result {
	r := Result{}
	var down []string
	for i, h := range hosts {
		v := HostVerdict{Host: h, Verdict: Good}
		switch s.verdicts[i] {
		case 'x':
			v.Verdict, v.Reason, r.Exit = Bad, "refused", 1
			down = append(down, h)
		case '?':
			v.Verdict, v.Reason = Unseen, "no idea"
		}
		r.Hosts = append(r.Hosts, v)
	}
	r.Output = strings.Join(down, " ") + "\n"
	return r
}

func (s historyStep) apply(set *Set, now time.Time, c Config) []Notice {
	switch s.operator {
	case "ack":
		out, _ := set.Ack(now, c.Key, "me", "x")
		return out
	case "disable":
		out, _ := set.DisableService(now, c.Key, Mark{By: "me"})
		return out
	case "enable":
		out, _ := set.EnableService(now, c.Key)
		return out
	case "clear":
		_ = set.ClearTimers(now, c.Key)
		return nil
	}
	return set.Result(now, c.Key, s.result(c.Hosts))
}

// TestPromises holds random histories against what mon(8) promises.
func TestPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		set, now := New([]Config{c}, Options{}), noon
		sent := map[string]int{}
		last := map[string]time.Time{}
		for _, step := range histories(t, len(c.Hosts)) {
			now = now.Add(step.pause)
			for _, n := range step.apply(set, now, c) {
				subjects := []string{""}
				if c.Scope == ScopeHost {
					subjects = concernedIn(n)
				}
				for _, sub := range subjects {
					switch n.Kind {
					case Failure:
						every := c.Periods[0].AlertEvery
						if before, ok := last[sub]; ok && every.Compare >= CompareNothing && step.operator == "" && now.Sub(before) < every.Interval-time.Second && sent[sub] > 0 {
							t.Fatalf("%q: two alerts %s apart, alertevery is %s", sub, now.Sub(before), every.Interval)
						}
						sent[sub]++
						last[sub] = now
						if most := c.Periods[0].NumAlerts; most > 0 && sent[sub] > most {
							t.Fatalf("%q: alert %d of one outage, numalerts is %d", sub, sent[sub], most)
						}
					case Up:
						if sent[sub] == 0 {
							t.Fatalf("%q: an upalert without an alert before", sub)
						}
						sent[sub] = 0
						delete(last, sub)
					default:
					}
				}
			}
			for _, sub := range set.services[c.Key].subjects {
				if sub.status == OK && sub.consecutive == 0 {
					sent[sub.host] = 0
					delete(last, sub.host)
				}
			}
			if step.operator == "clear" {
				clear(last)
			}
		}
	})
}

func concernedIn(n Notice) []string {
	var out []string
	for _, h := range n.Hosts {
		if h.Concerned {
			out = append(out, h.Name)
		}
	}
	return out
}

// TestFollowerAgainstOracle holds the followers against a dumb count of results.
func TestFollowerAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		c.Scope = ScopeHost
		need := max(c.Fall, c.Periods[0].AlertAfter.Consecutive, 1)
		set, now := New([]Config{c}, Options{}), noon
		pool := map[string]Verdict{}
		state, bad, good := map[string]Verdict{}, map[string]int{}, map[string]int{}
		down := map[string]bool{} // failed by fall, threshold or not
		for _, step := range histories(t, len(c.Hosts)) {
			if step.operator == "disable" || step.operator == "enable" || step.operator == "clear" {
				continue
			}
			now = now.Add(step.pause)
			for _, n := range step.apply(set, now, c) {
				if n.Kind != State {
					continue
				}
				for _, h := range n.Hosts {
					if h.Verdict != Unseen {
						pool[h.Name] = h.Verdict
					}
				}
			}
			for i, v := range step.verdicts {
				h := c.Hosts[i]
				switch v {
				case 'x':
					bad[h]++
					good[h] = 0
					down[h] = down[h] || bad[h] >= max(c.Fall, 1)
					if down[h] && bad[h] >= need {
						state[h] = Bad
					}
				case '.':
					good[h]++
					if !down[h] || good[h] >= max(c.Rise, 1) {
						down[h], bad[h], state[h] = false, 0, Good
						good[h] = 0
					}
				}
			}
			if diff := cmp.Diff(state, pool); diff != "" {
				t.Fatalf("after %q (-oracle +pool):\n%s", step.verdicts, diff)
			}
		}
	})
}

// TestSameHistorySameNotices also saves and restores in the middle: a restart
// must not change what people are told.
func TestSameHistorySameNotices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		c.Compat = false // with compat mon's restart loses the last output
		history := histories(t, len(c.Hosts))
		restart := rapid.IntRange(0, len(history)).Draw(t, "restart")
		one, two, now := New([]Config{c}, Options{}), New([]Config{c}, Options{}), noon
		for i, step := range history {
			if i == restart {
				saved := two.Save()
				two = New([]Config{c}, Options{})
				two.Restore(saved)
			}
			now = now.Add(step.pause)
			a, b := messages(step.apply(one, now, c)), messages(step.apply(two, now, c))
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("step %d (-without +with a restart):\n%s", i, diff)
			}
		}
	})
}

func messages(notices []Notice) []Notice {
	var out []Notice
	for _, n := range notices {
		if n.Kind != State {
			out = append(out, n)
		}
	}
	return out
}
