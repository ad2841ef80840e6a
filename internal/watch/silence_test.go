package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// hourly is a calendar of full hours.
type hourly struct{}

func (hourly) Next(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }

// never is a calendar without any day.
type never struct{}

func (never) Next(time.Time) time.Time { return time.Time{} }

func calendars(text string) (Calendar, error) {
	switch text {
	case "hourly":
		return hourly{}, nil
	case "never":
		return never{}, nil
	}
	return nil, fmt.Errorf("no calendar %q", text)
}

func newQuietBench(t *testing.T, configs ...Config) *bench {
	t.Helper()
	b := newBench(t, configs...)
	b.set.options.Calendar = calendars
	return b
}

// silence adds one from now on.
func (b *bench) silence(id string, span time.Duration, change func(*Silence)) {
	b.t.Helper()
	s := Silence{ID: id, At: b.now, By: "ann", Why: "upgrade", Group: "web", From: b.now, Until: b.now.Add(span), Span: span}
	if change != nil {
		change(&s)
	}
	if err := b.set.AddSilence(b.now, s); err != nil {
		b.t.Fatal(err)
	}
}

// tick lets time pass as the engine does: up to each moment that the set asks for.
func (b *bench) tick(d time.Duration) []string {
	b.t.Helper()
	out, end := []string{}, b.now.Add(d)
	for range 1000 {
		at, ok := b.set.NextTick()
		if !ok || at.After(end) {
			b.now = end
			return out
		}
		b.now = latest(b.now, at).Add(10 * time.Millisecond)
		out = append(out, b.say(b.set.Tick(b.now))...)
	}
	b.t.Fatalf("the set asks for a tick again and again")
	return nil
}

func TestASilenceHoldsBackAndTellsAtItsEnd(t *testing.T) {
	for _, scope := range []Scope{ScopeHost, ScopeGroup} {
		t.Run(scope.String(), func(t *testing.T) {
			b := newQuietBench(t, watchOf(func(c *Config) {
				c.Scope = scope
				c.Periods[0].AlertEvery.Interval = time.Hour
				c.Periods[0].Alerts = append(c.Periods[0].Alerts, Action{ID: "f", Name: "pool", Follows: true})
			}))
			b.want(b.round(""), "state f: w1=up w2=up w3=up")
			b.silence("1", 5*time.Minute, nil)
			b.want(b.round("w1"), "state f: w1=down w2=up w3=up") // the pool follows
			v, _ := b.set.View(b.key)
			last := v.Decisions[len(v.Decisions)-1]
			if last.Code != Silenced || last.Reason != "silence 1 by ann until 12:05: upgrade" || v.Consecutive != 1 || v.AlertsSent != 0 {
				t.Errorf("decision %q, %d failures in a row, %d alerts sent", last, v.Consecutive, v.AlertsSent)
			}
			b.want(b.round("w1"))
			b.want(b.tick(10*time.Minute), "alert a: w1")
			b.want(b.tick(time.Hour))
			b.want(b.round("w1"), "alert a: w1") // an hour after the first
			b.want(b.round(""), "upalert u: w1", "state f: w1=up w2=up w3=up")
		})
	}
}

func TestWhatCameAndWentInASilenceIsNotTold(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.silence("1", time.Hour, nil)
	b.want(b.round("w1"))
	b.want(b.round(""))
	if b.lastCode() != NothingToAnswer {
		t.Errorf("decisions:\n%s", b.decisions())
	}
	b.want(b.tick(2 * time.Hour))
	b.want(b.round(""))
}

func TestARecoveryOfWhatWasToldPassesASilence(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.want(b.round("w1"), "alert a: w1")
	b.silence("1", time.Hour, nil)
	b.want(b.round("w1 w2"))
	b.want(b.round("w2"), "upalert u: w1")
	b.want(b.round(""))
	// But with no_comp_alerts one that answers nothing is a message like others.
	b = newQuietBench(t, watchOf(func(c *Config) { c.Periods[0].NoCompAlerts = true }))
	b.silence("1", time.Hour, nil)
	b.want(b.round("w1"))
	b.want(b.round(""))
	if b.lastCode() != Silenced {
		t.Errorf("decisions:\n%s", b.decisions())
	}
}

func TestWhatASilenceCovers(t *testing.T) {
	tests := []struct {
		name  string
		scope Scope
		cover Silence
		fails string
		want  []string
	}{
		{"another group", ScopeHost, Silence{Group: "db"}, "w1", []string{"alert a: w1"}},
		{"the service", ScopeHost, Silence{Service: "http"}, "w1", nil},
		{"group and another service", ScopeHost, Silence{Group: "web", Service: "smtp"}, "w1", []string{"alert a: w1"}},
		{"a pattern", ScopeHost, Silence{Match: "w*:h?tp"}, "w1", nil},
		{"a pattern of something else", ScopeHost, Silence{Match: "w*:x*"}, "w1", []string{"alert a: w1"}},
		{"one host of two", ScopeHost, Silence{Host: "w1"}, "w1 w2", []string{"alert a: w2"}},
		{"hosts by expression", ScopeHost, Silence{Host: "w[12]"}, "w1 w2", nil},
		{"an expression is of the whole name", ScopeHost, Silence{Host: "w"}, "w1", []string{"alert a: w1"}},
		{"alternatives are of the whole name", ScopeHost, Silence{Host: "w2|w"}, "w1", []string{"alert a: w1"}},
		{"a group whose failing hosts are silenced", ScopeGroup, Silence{Host: "w[12]"}, "w1 w2", nil},
		{"a group of which another host fails", ScopeGroup, Silence{Host: "w[12]"}, "w1 w3", []string{"alert a: w1 w3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newQuietBench(t, watchOf(func(c *Config) { c.Scope = test.scope }))
			b.silence("1", time.Hour, func(s *Silence) {
				s.Group, s.Service, s.Match, s.Host = test.cover.Group, test.cover.Service, test.cover.Match, test.cover.Host
			})
			b.want(b.round(test.fails), test.want...)
		})
	}
}

func TestANewFailureOfAGroupIsNotHiddenByASilenceOfHosts(t *testing.T) {
	b := newQuietBench(t, watchOf(func(c *Config) { c.Scope = ScopeGroup }))
	b.silence("1", time.Hour, func(s *Silence) { s.Group, s.Host = "", "w1" })
	b.want(b.round("w1"))
	b.want(b.round("w1 w2"), "alert a: w1 w2")
}

func TestARecurringSilence(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.now = noon.Add(30 * time.Minute)
	b.silence("1", 10*time.Minute, func(s *Silence) { s.Cron, s.Until = "hourly", noon.Add(150*time.Minute) })
	b.want(b.round("w1"), "alert a: w1") // 12:30
	b.want(b.round(""), "upalert u: w1")
	b.want(b.tick(35 * time.Minute)) // 13:05
	b.want(b.round("w1"))
	b.want(b.tick(10*time.Minute), "alert a: w1") // 13:10
	b.want(b.round(""), "upalert u: w1")
	b.now = noon.Add(125 * time.Minute)
	b.want(b.round("w1")) // 14:05
	b.want(b.round(""))
	b.want(b.tick(time.Hour))
	if left := b.set.Silences(b.now); len(left) != 0 {
		t.Errorf("it is over, and still there: %+v", left)
	}
	b.now = noon.Add(185 * time.Minute)
	b.want(b.round("w1"), "alert a: w1") // 15:05, it ended at 14:30
}

func TestASilenceForATimeAndTheClock(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.silence("1", time.Hour, nil)
	b.now = b.now.Add(-365 * 24 * time.Hour) // the clock was wrong before
	b.set.Tick(b.now)
	b.want(b.round("w1"))
	b.want(b.tick(61*time.Minute), "alert a: w1") // and not a year later
	b = newQuietBench(t, watchOf(nil))
	if _, err := b.set.DisableService(b.now, b.key, Mark{At: b.now, By: "ann", Until: b.now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(-365 * 24 * time.Hour)
	b.set.Tick(b.now)
	b.want(b.round("w1"))
	b.want(b.tick(61 * time.Minute))
	b.want(b.round("w1"), "alert a: w1")
}

func TestRemovedSilence(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.silence("1", time.Hour, nil)
	b.silence("2", time.Hour, func(s *Silence) { s.Host = "w2" })
	b.want(b.round("w1 w2"))
	if _, err := b.set.RemoveSilence(b.now, "3"); !errors.Is(err, ErrNoSilence) {
		t.Errorf("a silence that is not there was removed: %v", err)
	}
	notices, err := b.set.RemoveSilence(b.now, "1")
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(notices), "alert a: w1") // w2 is silenced still
	notices, err = b.set.RemoveSilence(b.now, "2")
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(notices), "alert a: w2")
}

func TestSilencesThatMakeNoSense(t *testing.T) {
	good := Silence{ID: "1", Group: "web", From: noon, Until: noon.Add(time.Hour)}
	tests := []struct {
		change func(*Silence)
		want   string
	}{
		{func(s *Silence) { s.Group = "" }, "must cover something"},
		{func(s *Silence) { s.Match = "[" }, "no pattern"},
		{func(s *Silence) { s.Host = "(" }, "no regular expression"},
		{func(s *Silence) { s.Until = noon }, "must end after it begins"},
		{func(s *Silence) { s.Until = noon.Add(-time.Hour) }, "must end after it begins"},
		{func(s *Silence) { s.From, s.Until = noon.Add(-2*time.Hour), noon.Add(-time.Hour) }, "over before it begins"},
		{func(s *Silence) { s.Cron = "hourly" }, "how long it lasts"},
		{func(s *Silence) { s.Cron, s.Span = "x", time.Hour }, "no calendar"},
		{func(s *Silence) { s.Cron, s.Span = "never", time.Hour }, "over before it begins"},
	}
	for _, test := range tests {
		b, s := newQuietBench(t, watchOf(nil)), good
		test.change(&s)
		if err := b.set.AddSilence(noon, s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", s, err, test.want)
		}
		if left := b.set.SavedSilences(); len(left) != 0 {
			t.Errorf("it was added: %+v", left)
		}
	}
}

// TestSilencesOverARestart: also what one held back, of a watch of which no result
// comes any more.
func TestSilencesOverARestart(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.silence("1", time.Hour, nil)
	b.silence("2", time.Minute, func(s *Silence) { s.Group = "db" })
	b.want(b.round("w1"))
	again := New([]Config{watchOf(nil)}, Options{Calendar: calendars})
	b.now = b.now.Add(10 * time.Minute)
	if errs := again.RestoreSilences(b.now, append(b.set.SavedSilences(), Silence{ID: "3"})); len(errs) != 1 {
		t.Errorf("the errors are %v", errs)
	}
	again.Restore(b.set.Save())
	b.set = again
	if got := b.set.Silences(b.now); len(got) != 1 || got[0].ID != "1" || !got[0].Active || !slices.Equal(got[0].Watches, []Key{b.key}) {
		t.Errorf("silences after the restart: %+v", got)
	}
	b.want(b.tick(time.Hour), "alert a: w1")
}

// TestSilencesOfTwoDirectors: the newer word counts, and one that was taken away does
// not come back.
func TestSilencesOfTwoDirectors(t *testing.T) {
	a, b := newQuietBench(t, watchOf(nil)), newQuietBench(t, watchOf(nil))
	ids := func(b *bench) string {
		var out []string
		for _, v := range b.set.Silences(b.now) {
			out = append(out, v.ID)
		}
		return strings.Join(out, " ")
	}
	hear := func(to, from *bench) { to.set.Hear(to.now, from.set.Words()) }
	a.silence("1", time.Hour, nil)
	stale := a.set.Words()
	hear(b, a)
	if got := ids(b); got != "1" {
		t.Fatalf("the other has %q", got)
	}
	b.now = b.now.Add(time.Second)
	if _, err := b.set.RemoveSilence(b.now, "1"); err != nil {
		t.Fatal(err)
	}
	b.set.Hear(b.now, stale)
	hear(b, a)
	hear(a, b)
	hear(b, a)
	if ids(a) != "" || ids(b) != "" {
		t.Errorf("it was taken away, and is there: %q %q", ids(a), ids(b))
	}
	a.now = a.now.Add(time.Minute)
	a.set.Pause(a.now, Mark{At: a.now, By: "ann"})
	hear(b, a)
	if !b.set.Stopped() {
		t.Error("the other goes on, although the site is stopped")
	}
	a.now = a.now.Add(time.Minute)
	a.set.Unpause(a.now)
	hear(b, a)
	if b.set.Stopped() {
		t.Error("the other stays stopped")
	}
}

func TestDisabledForATime(t *testing.T) {
	b := newQuietBench(t, watchOf(func(c *Config) {
		c.Periods[0].Alerts = append(c.Periods[0].Alerts, Action{ID: "f", Name: "pool", Follows: true})
	}))
	b.want(b.round(""), "state f: w1=up w2=up w3=up")
	m := Mark{At: b.now, By: "ann", Why: "new disk", Until: b.now.Add(time.Hour)}
	notices, err := b.set.DisableHosts(b.now, m, "w1")
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(notices), "state f: w1=unknown w2=up w3=up")
	b.want(b.tick(59 * time.Minute))
	b.want(b.tick(time.Hour), "state f: w1=up w2=up w3=up")
	if _, hosts := b.set.Disabled(); len(hosts) != 0 {
		t.Errorf("still disabled: %v", hosts)
	}
	b.set.Pause(b.now, Mark{At: b.now, By: "ann", Until: b.now.Add(time.Hour)})
	b.tick(2 * time.Hour)
	if b.set.Stopped() {
		t.Error("the site is still stopped")
	}
}

func TestUnack(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	if err := b.set.Unack(b.now, b.key); !errors.Is(err, ErrNotAcked) {
		t.Errorf("unack of a good watch: %v", err)
	}
	b.want(b.round("w1"), "alert a: w1")
	if _, err := b.set.Ack(b.now, b.key, "ann", "on it"); err != nil {
		t.Fatal(err)
	}
	b.want(b.round("w1"))
	if err := b.set.Unack(b.now, b.key); err != nil {
		t.Fatal(err)
	}
	b.want(b.round("w1"), "alert a: w1")
}

// TestAnAckNeverHidesANewFailure: a new failure is told, in either scope.
func TestAnAckNeverHidesANewFailure(t *testing.T) {
	ack := func(b *bench) {
		t.Helper()
		if _, err := b.set.Ack(b.now, b.key, "ann", "on it"); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, watchOf(nil))
	b.want(b.round("w1"), "alert a: w1")
	ack(b)
	b.want(b.round("w1 w2"), "alert a: w2")
	b.want(b.round("w2"), "alert a: w2", "upalert u: w1")
	b.want(b.round("w1 w2"), "alert a: w1 w2") // its ack went with its outage
	// A group as a whole, by the hosts that are known to fail; in mon it is hidden.
	for _, compat := range []bool{false, true} {
		b = newBench(t, watchOf(func(c *Config) {
			c.Scope, c.Compat = ScopeGroup, compat
			c.Periods[0].AlertEvery.Interval = time.Hour
		}))
		anew := func(words string) {
			t.Helper()
			got := b.round(words)
			if compat {
				b.want(got)
				return
			}
			b.want(got, "alert a: "+words)
		}
		b.want(b.round("w1"), "alert a: w1")
		ack(b)
		b.want(b.round("w1"))
		anew("w1 w2")
		ack(b)
		b.want(b.round("w1 w2"))
		b.want(b.round("w2"))
		b.set.Restore(throughJSON(t, b.set.Save()))
		b.want(b.round("w2"))
		anew("w1 w2") // w1 was up in between
		ack(b)
		anew("w3")
	}
	// Mon's way for what has no hosts: by its summary, with unack_summary.
	for _, compat := range []bool{false, true} {
		b = newBench(t, watchOf(func(c *Config) {
			c.Scope, c.UnackSummary, c.Compat = ScopeGroup, true, compat
			c.Periods[0].AlertEvery.Interval = time.Hour
		}))
		b.want(b.round("w1"), "alert a: w1")
		ack(b)
		b.want(b.round("w1"))
		b.want(b.round("w1 w2"), "alert a: w1 w2")
		b.want(b.round("w1 w2")) // by alertevery now
	}
}

// TestSilencesAgainstOracle: with each failing result told, what is told is told
// unless a silence is in force, and at the end of each silence what fails is.
func TestSilencesAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		c.Scope, c.Compat, c.Fall, c.Rise = ScopeHost, rapid.Bool().Draw(t, "compat"), 1, 1
		c.Periods[0].AlertEvery, c.Periods[0].AlertAfter, c.Periods[0].NumAlerts = AlertEvery{}, AlertAfter{}, 0
		set, now := New([]Config{c}, Options{}), noon
		until, failing, told := time.Time{}, map[string]bool{}, map[string]bool{}
		check := func(what string, notices []Notice, results bool) {
			t.Helper()
			alerted := map[string]bool{}
			for _, n := range notices {
				for _, h := range concernedIn(n) {
					switch n.Kind {
					case Failure:
						alerted[h], told[h] = true, true
					case Up:
						if !told[h] {
							t.Fatalf("%s: up of %s, whose failure nobody was told", what, h)
						}
						delete(told, h)
					default:
					}
				}
			}
			quiet := now.Before(until)
			for h := range failing {
				switch {
				case quiet && alerted[h]:
					t.Fatalf("%s: %s is told in a silence", what, h)
				case !quiet && (results || !told[h]) && !alerted[h]:
					t.Fatalf("%s: %s fails and is not told", what, h)
				}
			}
		}
		for i, step := range histories(t, len(c.Hosts)) {
			end := now.Add(step.pause)
			if at, ok := set.NextTick(); ok && !at.After(end) {
				now = at
				check("tick", set.Tick(now), false)
			}
			now = end
			if step.operator != "" {
				if now.Before(until) {
					continue
				}
				until = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "span")) * time.Second)
				s := Silence{ID: fmt.Sprint(i), At: now, Match: "*", From: now, Until: until}
				if err := set.AddSilence(now, s); err != nil {
					t.Fatal(err)
				}
				continue
			}
			for i, v := range step.verdicts {
				switch v {
				case 'x':
					failing[c.Hosts[i]] = true
				case '.':
					delete(failing, c.Hosts[i])
				}
			}
			sure := !strings.Contains(step.verdicts, "?")
			check(step.verdicts, step.apply(set, now, c), sure)
			for h := range told {
				if !failing[h] {
					t.Fatalf("the recovery of %s is not told", h)
				}
			}
		}
	})
}

func TestOccurrencesThatOverlap(t *testing.T) {
	h, err := Options{Calendar: calendars}.understand(Silence{ID: "1", Group: "g", From: noon, Cron: "hourly", Span: 150 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	until, active := h.active(noon.Add(10 * time.Hour))
	if diff := cmp.Diff(noon.Add(12*time.Hour+30*time.Minute), until); !active || diff != "" {
		t.Errorf("active %v, (-want +got) %s", active, diff)
	}
	if _, active := h.active(noon.Add(-time.Minute)); active {
		t.Error("active before it begins")
	}
}
