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
