package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everyHour is a calendar.
func everyHour(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }

// digest is what is told when it is due; empty if nothing.
func (b *bench) digest() string {
	d, ok := b.set.Digest(b.now, everyHour)
	if !ok {
		return ""
	}
	return d.Summary() + "\n" + d.Text()
}

func (b *bench) wantDigest(lines ...string) {
	b.t.Helper()
	text := ""
	if len(lines) > 0 {
		text = strings.Join(lines, "\n") + "\n"
	}
	if diff := cmp.Diff(text, b.digest()); diff != "" {
		b.t.Errorf("at %s (-want +got)\n%s", b.now.Sub(noon), diff)
	}
}

func TestDigest(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	b.set.Digests(b.now, true)
	b.round("")
	b.tick(time.Hour)
	b.wantDigest() // nothing changed: no message
	b.round("w1")
	b.wantDigest() // it is not time yet
	b.round("")
	b.round("w1 w2")
	b.round("w2")
	if _, err := b.set.Ack(b.now, b.key, "ann", "disk ordered"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.set.DisableHosts(b.now, Mark{At: b.now, By: "bob", Why: "gone"}, "w3"); err != nil {
		t.Fatal(err)
	}
	b.tick(3 * time.Hour) // the daemon was not there at two
	b.wantDigest(
		"1 failing; 3 outages began, 2 ended",
		"from 2026-03-02 13:00 until 2026-03-02 16:00",
		"",
		"failing, the longest first:",
		"  web:http w2 for 3h0m0s (refused), acknowledged by ann: disk ordered",
		"",
		"ended:",
		"  web:http w1: 2 outages, 20s in all, the last until 13:00",
		"",
		"said by operators:",
		"  host w3: disabled by bob: gone",
		"  web:http w2: acknowledged by ann: disk ordered",
	)
	b.wantDigest()
	b.tick(48 * time.Hour)
	b.round("w2")
	b.wantDigest() // what lasts is no change
	// A restart in the middle loses nothing of it.
	again := New([]Config{watchOf(nil)}, Options{Calendar: calendars})
	b.tick(time.Minute)
	b.silence("1", 2*time.Hour, func(s *Silence) { s.Host = "w1" })
	b.round("w1 w2")
	again.RestoreWords(b.set.Spoken())
	again.RestoreSilences(b.now, b.set.SavedSilences())
	again.Restore(b.set.Save())
	again.Digests(b.now, true)
	b.set = again
	b.round("w2")
	b.tick(time.Hour)
	b.wantDigest(
		"1 failing; 1 outage began, 1 ended",
		"from 2026-03-04 16:01 until 2026-03-04 17:02",
		"",
		"failing, the longest first:",
		"  web:http w2 for 2d4h2m0s (refused), acknowledged by ann: disk ordered",
		"",
		"ended:",
		"  web:http w1: 1 outage, 10s in all, the last until 16:02",
		"",
		"held back by silences:",
		"  web:http w1: 1 message",
		"",
		"said by operators:",
		"  silence 1 by ann until 18:02: upgrade (group web, host w1)",
	)
	b.wantDigest()
}

// TestDigestOfASiteThatFellWhole: nobody reads a thousand lines.
func TestDigestOfASiteThatFellWhole(t *testing.T) {
	var hosts []string
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("w%d", i))
	}
	b := newQuietBench(t, watchOf(func(c *Config) { c.Hosts = hosts }))
	b.set.Digests(b.now, true)
	b.round(strings.Join(hosts, " "))
	b.tick(time.Hour)
	got := b.digest()
	if !strings.HasPrefix(got, "1000 failing; 1000 outages began, 0 ended\n") || !strings.HasSuffix(got, "\n  and 800 more\n") || strings.Count(got, "refused") != digestLines {
		t.Errorf("the digest: %s", got)
	}
}

// TestNobodyWantsDigests: then nothing is counted, and nothing is due.
func TestNobodyWantsDigests(t *testing.T) {
	b := newQuietBench(t, watchOf(nil))
	fails := func() Toll {
		b.round("w1")
		b.round("")
		return b.set.services[b.key].subject("w1").toll
	}
	if at, ok := b.set.NextDigest(everyHour); ok || fails() != (Toll{}) {
		t.Errorf("due at %s, counted %+v", at, fails())
	}
	b.set.Digests(b.now, true)
	if at, ok := b.set.NextDigest(everyHour); !ok || !at.Equal(noon.Add(time.Hour)) || fails().Ended != 1 {
		t.Errorf("due at %s, counted %+v", at, fails())
	}
	b.set.Pause(b.now, Mark{At: b.now, By: "ann"})
	if at, ok := b.set.NextDigest(everyHour); ok {
		t.Errorf("due in a pause at %s", at)
	}
	b.set.Unpause(b.now)
	if b.set.Digests(b.now, false); b.digest() != "" {
		t.Error("a digest that nobody wants")
	}
}

// TestDigestOfTwoDirectors: who tells people tells what changed, once, also what
// happened when the other one did; and nothing is lost with the owner.
func TestDigestOfTwoDirectors(t *testing.T) {
	a, b := newQuietBench(t, watchOf(nil)), newQuietBench(t, watchOf(nil))
	a.set.Digests(a.now, true)
	b.set.Digests(b.now, true)
	both := func(words string) {
		a.round(words)
		b.round(words)
	}
	hour := func() {
		a.tick(time.Hour)
		b.tick(time.Hour)
	}
	share := func(from, to *bench) {
		told, _ := from.set.Told(from.now, from.key)
		to.set.Absorb(to.now, "it", told)
	}
	own := func(is, not *bench) {
		not.set.Mute(not.now, not.key, "the other owns it")
		is.set.Own(is.now, is.key)
		share(is, not)
	}
	ended := func(d *bench, hosts ...string) {
		t.Helper()
		var got []string
		digest, _ := d.set.Digest(d.now, everyHour)
		for _, l := range digest.Ended {
			got = append(got, l.Host)
		}
		if diff := cmp.Diff(hosts, got); diff != "" {
			t.Errorf("at %s (-want +got)\n%s", d.now.Sub(noon), diff)
		}
	}
	own(a, b)
	both("")
	both("w1")
	both("")
	hour()
	ended(b) // who tells nobody sends none
	ended(a, "w1")
	both("w2") // before the other hears of the digest
	share(a, b)
	if at, ok := b.set.NextDigest(everyHour); ok {
		t.Errorf("who tells nobody has one at %s", at)
	}
	both("")
	own(b, a)
	ended(b) // it has heard that there was one
	both("")
	hour()
	ended(b, "w2")
	share(b, a)
	own(a, b)
	both("")
	ended(a)
	// The owner dies with a digest due: who takes over sends it.
	both("w3")
	both("")
	hour()
	own(b, a)
	ended(b, "w3")
}
