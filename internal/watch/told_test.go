package watch

import (
	"testing"
	"time"
)

// TestAnAckIsShownByWhoSeesTheFailureLater: a director that was handed the ack before
// its own first test shows it too; not one that sees another failure.
func TestAnAckIsShownByWhoSeesTheFailureLater(t *testing.T) {
	owner, late := newQuietBench(t, watchOf(nil)), newQuietBench(t, watchOf(nil))
	late.set.Mute(late.now, late.key, "the other owns it")
	owner.round("w1")
	if _, err := owner.set.Ack(owner.now, owner.key, "ann", "disk ordered"); err != nil {
		t.Fatal(err)
	}
	late.tick(owner.now.Sub(late.now))
	told, _ := owner.set.Told(owner.now, owner.key)
	late.set.Absorb(late.now, "late", told)
	late.round("w1 w2")
	for host, want := range map[string]bool{"w1": true, "w2": false} {
		if ack := late.set.services[late.key].subject(host).ack; (ack != nil) != want {
			t.Errorf("the ack of %s: %v", host, ack)
		}
	}
	late.round("")
	late.round("w1") // as the owner has it: not over
	if late.set.services[late.key].subject("w1").ack == nil {
		t.Error("w1 failed here once more, and the ack is gone")
	}
}

// TestAnAckHidesNothingFromTheNextOwner: what fails while nobody tells is another
// failure, also if the next owner has seen it already.
func TestAnAckHidesNothingFromTheNextOwner(t *testing.T) {
	c := watchOf(func(c *Config) { c.Scope = ScopeGroup })
	owner, next := newQuietBench(t, c), newQuietBench(t, c)
	next.set.Mute(next.now, next.key, "the other owns it")
	owner.want(owner.round("w1"), "alert a: w1")
	next.round("w1")
	if _, err := owner.set.Ack(owner.now, owner.key, "ann", "disk ordered"); err != nil {
		t.Fatal(err)
	}
	told, _ := owner.set.Told(owner.now, owner.key)
	next.set.Absorb(next.now, "next", told.Shift(func(at time.Time) time.Time { return at }))
	next.want(next.round("w1 w2"))
	if next.set.services[next.key].group().ack == nil {
		t.Error("who tells nobody has ended the ack")
	}
	next.want(next.say(next.set.Own(next.now, next.key)))
	next.want(next.round("w1 w2"), "alert a: w1 w2")
}

// TestAnAckSaidToWhoDoesNotOwn is the owner's as soon as that hears of it, whatever the
// two say to each other on the way; the same words later are the same ack, renewed.
func TestAnAckSaidToWhoDoesNotOwn(t *testing.T) {
	for _, sees := range []string{"w1", ""} {
		c := watchOf(func(c *Config) {
			c.AckExpires = time.Hour
			c.Periods[0].AckAlerts = []Action{{ID: "k", Name: "ack"}}
		})
		owner, other := newQuietBench(t, c), newQuietBench(t, c)
		other.set.Mute(other.now, other.key, "the other owns it")
		skewed := func(told Told) Told {
			return told.Shift(func(at time.Time) time.Time {
				if at.IsZero() {
					return at
				}
				return at.Add(100 * time.Millisecond)
			})
		}
		hear := func(by, from *bench) []string {
			told, _ := from.set.Told(from.now, from.key)
			return by.say(by.set.Absorb(by.now, "me", skewed(told)))
		}
		owner.want(owner.round("w1"), "alert a: w1")
		other.round(sees)
		hear(other, owner)
		ack := func() {
			t.Helper()
			if _, err := other.set.Ack(other.now, other.key, "ann", "on it"); err != nil {
				t.Fatal(err)
			}
			hear(other, owner) // the two cross
		}
		ack()
		owner.want(hear(owner, other), "ackalert k: w1")
		for range 3 {
			other.want(hear(other, owner))
			owner.want(hear(owner, other))
		}
		for range 5 { // each half an hour: it never expires
			owner.now, other.now = owner.now.Add(30*time.Minute), other.now.Add(30*time.Minute)
			ack()
			owner.want(hear(owner, other))
			owner.want(owner.round("w1"))
		}
	}
}

// TestADisableSaidToWhoDoesNotOwn is told by the owner, once; not by who hears of it much
// later.
func TestADisableSaidToWhoDoesNotOwn(t *testing.T) {
	c := watchOf(func(c *Config) { c.Periods[0].DisableAlerts = []Action{{ID: "x", Name: "disabled"}} })
	owner, other, late := newQuietBench(t, c), newQuietBench(t, c), newQuietBench(t, c)
	other.set.Mute(other.now, other.key, "the other owns it")
	disable := func(b *bench, until time.Time) []string {
		t.Helper()
		notices, err := b.set.DisableService(b.now, b.key, Mark{At: b.now, By: "ann", Why: "moves", Until: until})
		if err != nil {
			t.Fatal(err)
		}
		return b.say(notices)
	}
	other.want(disable(other, time.Time{}))
	owner.want(owner.say(owner.set.Hear(owner.now, other.set.Words())), "disablealert x: w1 w2 w3")
	owner.want(owner.say(owner.set.Hear(owner.now, other.set.Words())))
	other.now, owner.now = other.now.Add(time.Minute), owner.now.Add(time.Minute)
	other.want(disable(other, other.now.Add(time.Hour))) // the same, renewed
	owner.want(owner.say(owner.set.Hear(owner.now, other.set.Words())))
	owner.want(disable(owner, time.Time{}))
	late.now = late.now.Add(time.Hour)
	late.want(late.say(late.set.Hear(late.now, other.set.Words())))
}
