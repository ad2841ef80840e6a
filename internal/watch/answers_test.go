package watch

import (
	"testing"
	"time"
)

// ack acknowledges the present failure, and wants these notices of it.
func (b *bench) ack(by, why string, want ...string) {
	b.t.Helper()
	got, err := b.set.Ack(b.now, b.key, by, why)
	if err != nil {
		b.t.Fatal(err)
	}
	b.want(b.say(got), want...)
}

// TestAnAckalertIsNoAlertOfTheFailure: it counts for mon alone, where an ack that is taken
// back brings no alert for as long as alertevery says, and uses up numalerts.
func TestAnAckalertIsNoAlertOfTheFailure(t *testing.T) {
	for _, compat := range []bool{false, true} {
		b := newBench(t, watchOf(func(c *Config) {
			c.Compat, c.Scope = compat, ScopeGroup
			c.Periods[0].AckAlerts = []Action{{ID: "k"}}
			c.Periods[0].AlertEvery.Interval, c.Periods[0].NumAlerts = time.Hour, 3
		}))
		b.want(b.round("w1"), "alert a: w1")
		b.now = b.now.Add(30 * time.Minute)
		b.ack("ann", "on it", "ackalert k: w1")
		if err := b.set.Unack(b.now, b.key); err != nil {
			t.Fatal(err)
		}
		b.want(b.round("w1"))
		b.now = b.now.Add(30 * time.Minute)
		again := b.round("w1")
		b.now = b.now.Add(time.Hour)
		if compat {
			b.want(again)
			b.want(b.round("w1"), "alert a: w1")
		} else {
			b.want(again, "alert a: w1")
			b.want(b.round("w1"), "alert a: w1")
		}
		b.now = b.now.Add(time.Hour)
		b.want(b.round("w1")) // numalerts
		b.want(b.round(""), "upalert u: w1")
	}
}

// TestADisablealertIsNoAlertOfTheFailure: of the end of a failure that nobody was told of
// nobody is told.
func TestADisablealertIsNoAlertOfTheFailure(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Periods[0].DisableAlerts, c.Periods[0].AlertAfter.Consecutive = []Action{{ID: "d"}}, 2
	}))
	b.want(b.round("w1"))
	got, err := b.set.DisableService(b.now, b.key, Mark{By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.say(got), "disablealert d: w1 w2 w3")
	if _, err := b.set.EnableService(b.now, b.key); err != nil {
		t.Fatal(err)
	}
	b.want(b.round(""))
}

// TestTheSameAckAgainTellsNobody: but mon tells of each.
func TestTheSameAckAgainTellsNobody(t *testing.T) {
	for _, compat := range []bool{false, true} {
		b := newBench(t, watchOf(func(c *Config) {
			c.Compat, c.AckExpires = compat, time.Hour
			c.Periods[0].AckAlerts = []Action{{ID: "k"}}
		}))
		if compat {
			b.set.services[b.key].AckExpires = 0
		}
		b.want(b.round("w1"), "alert a: w1")
		b.ack("ann", "on it", "ackalert k: w1")
		b.now = b.now.Add(50 * time.Minute)
		if compat {
			b.ack("ann", "on it", "ackalert k: w1")
		} else {
			b.ack("ann", "on it")
		}
		b.now = b.now.Add(50 * time.Minute)
		b.want(b.round("w1")) // it was said again: it lasts from then
		b.ack("ann", "disk ordered", "ackalert k: w1")
		b.ack("bob", "disk ordered", "ackalert k: w1")
		if !compat {
			b.want(b.round("w1 w2"), "alert a: w2")
			b.ack("bob", "disk ordered", "ackalert k: w2") // of another host
		}
	}
}

// TestADisabledWatchIsNotToldToHaveNoTraps: docs/mon.md says so to those whose mon.cf has
// a traptimeout.
func TestADisabledWatchIsNotToldToHaveNoTraps(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Compat, c.Scope, c.TrapTimeout = true, ScopeGroup, 10*time.Minute }))
	b.want(b.tick(11*time.Minute), "traptimeoutalert a: ")
	if _, err := b.set.DisableService(b.now, b.key, Mark{At: b.now, By: "ann", Why: "no traps yet"}); err != nil {
		t.Fatal(err)
	}
	watches, hosts := b.set.Disabled()
	b.set.Restore(b.set.Save())
	b.set.RestoreDisabled(watches, hosts)
	b.want(b.tick(time.Hour))
	if _, err := b.set.EnableService(b.now, b.key); err != nil {
		t.Fatal(err)
	}
	b.want(b.tick(11*time.Minute), "traptimeoutalert a: ")
}

// TestWhoPausedIsSaid: by what holds back, in the words of the command.
func TestWhoPausedIsSaid(t *testing.T) {
	b := newBench(t, watchOf(nil))
	b.want(b.round(""))
	b.set.Pause(b.now, Mark{At: b.now, By: "ann", Why: "new switch"})
	b.want(b.round("w1"))
	want := "alert not sent (paused) for w1: paused by ann: new switch"
	if v, _ := b.set.View(b.key); v.Decisions[len(v.Decisions)-1].String() != want {
		t.Errorf("got %s, want %s", b.decisions(), want)
	}
	if _, skip, _ := b.set.Request(b.now, b.key); skip != "paused by ann: new switch" {
		t.Errorf("not tested: %q", skip)
	}
	b.set.Unpause(b.now)
	if why := b.set.WhyPaused(); why != "" {
		t.Errorf("still %q", why)
	}
}
