package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestALongOutageHidesNoAlert: the decisions of an hour of "alertevery" do not push out
// the one that says why people were told.
func TestALongOutageHidesNoAlert(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].AlertEvery.Interval = time.Hour }))
	for range 100 {
		b.round("w1")
		b.set.News(b.key)
	}
	v, _ := b.set.View(b.key)
	if n := len(v.Decisions); n != 20 {
		t.Errorf("%d decisions are kept, want 20", n)
	}
	if first := v.Decisions[0].String(); first != "alert sent to mail in period p for w1: failure 1 in a row" {
		t.Errorf("the alert is forgotten; the first decision is %q", first)
	}
	if last := v.Decisions[19]; last.Code != TooSoon || !last.At.Equal(b.now) {
		t.Errorf("the last decision is %v, want that of the last run", last)
	}
}

// TestAlertsMakeRoomToo: many alerts leave half of the room to what was held back.
func TestAlertsMakeRoomToo(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].NumAlerts = 15 }))
	for range 100 {
		b.round("w1")
		b.set.News(b.key)
	}
	v, _ := b.set.View(b.key)
	sent := len(slices.DeleteFunc(slices.Clone(v.Decisions), func(d Decision) bool { return d.Code != Sent }))
	if sent != 10 || len(v.Decisions) != 20 {
		t.Errorf("%d of %d decisions are to send, want 10 of 20:\n%s", sent, len(v.Decisions), b.decisions())
	}
	if !slices.IsSortedFunc(v.Decisions, func(x, y Decision) int { return x.At.Compare(y.At) }) {
		t.Errorf("the decisions are not in the order of time:\n%s", b.decisions())
	}
}

// TestNewsAreEachToldOnce: what makes room is old, whatever it is.
func TestNewsAreEachToldOnce(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) { c.Periods[0].AlertEvery.Interval = time.Minute }))
	var got []time.Time
	for i := range 300 {
		b.round("w1")
		if i%(1+i/60) == 0 { // often, and then for once after more of them
			_, news := b.set.News(b.key)
			for _, d := range news {
				got = append(got, d.At)
			}
		}
	}
	_, news := b.set.News(b.key)
	for _, d := range news {
		got = append(got, d.At)
	}
	for i := range got {
		if want := noon.Add(time.Duration(i+1) * 10 * time.Second); !got[i].Equal(want) {
			t.Fatalf("decision %d is of %s, want %s", i, got[i], want)
		}
	}
	if len(got) != 300 {
		t.Errorf("%d decisions were news, want 300", len(got))
	}
}

// TestOperatorsAlertsSayWhose: the reason of an ackalert names who and why.
func TestOperatorsAlertsSayWhose(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Periods[0].AckAlerts = []Action{{ID: "k", Name: "mail"}}
		c.Periods[0].DisableAlerts = []Action{{ID: "d", Name: "mail"}}
	}))
	b.round("w1")
	if _, err := b.set.Ack(b.now, b.key, "ann", "disk ordered"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.set.DisableService(b.now, b.key, Mark{At: b.now, By: "bob", Why: "scrapped"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ackalert sent to mail in period p for w1: acknowledged by ann: disk ordered",
		"disablealert sent to mail in period p for w1 w2 w3: the watch is disabled by bob: scrapped",
	} {
		if !strings.Contains(b.decisions(), want) {
			t.Errorf("no decision %q:\n%s", want, b.decisions())
		}
	}
}

// TestAPoolKeepsNoMessageBack: what a period that tells nobody would have sent is no news.
func TestAPoolKeepsNoMessageBack(t *testing.T) {
	b := newBench(t, watchOf(func(c *Config) {
		c.Fall = 2
		c.Periods[0].AlertAfter.Consecutive = 3
		c.Periods = append(c.Periods, Period{Name: "pool", Alerts: []Action{{ID: "f", Name: "ipvs", Follows: true}}})
	}))
	b.round("w1")
	b.round("w1")
	b.round("")
	want := `  10s alert not sent (fall) for w1: failure 1 of fall 2
  20s alert not sent (alertafter) in period p for w1: failure 2 of alertafter 3
  30s upalert not sent (nothing to answer) in period p for w1: no alert was sent before in this period`
	if got := b.decisions(); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("the decisions are\n%s\nwant\n%s", got, want)
	}
}

// TestTheStartIsNoNews: a watch that nobody is to be told of at its start says nothing
// about that, also out of its period and while the site is paused.
func TestTheStartIsNoNews(t *testing.T) {
	for _, greets := range []bool{false, true} {
		t.Run(fmt.Sprint("startupalert ", greets), func(t *testing.T) {
			c := watchOf(func(c *Config) {
				c.Periods[0].When = when(t, "hr {1am-2am}")
				if greets {
					c.Periods[0].StartupAlerts = []Action{{ID: "s", Name: "mail"}}
				}
			})
			b := newBench(t, c)
			b.set.Pause(b.now, Mark{At: b.now, By: "ann"})
			b.set.StartupAlerts(b.now)
			v, _ := b.set.View(b.key)
			if want := map[bool]int{true: 2}[greets]; len(v.Decisions) != want {
				t.Errorf("%d decisions, want %d:\n%s", len(v.Decisions), want, b.decisions())
			}
		})
	}
}
