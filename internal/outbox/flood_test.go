package outbox

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

func TestAFloodIsSummedUp(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		r := &outboxtest.Recorder{}
		for i := range 1000 {
			m := testMessage(r, alerts.Failure, fmt.Sprintf("host%d", i))
			m.box, m.Action, m.destination = fmt.Sprintf("g:s%d mail", i), fmt.Sprintf("a%d", i), "mail ops"
			m.Event.Service = fmt.Sprintf("s%d", i)
			o.put(m)
		}
		synctest.Wait()
		if n := len(r.Seen()); n != FloodLimit {
			t.Errorf("%d messages at once, want %d", n, FloodLimit)
		}
		time.Sleep(2 * FloodWindow)
		synctest.Wait()
		if got := r.Seen(); len(got) != FloodLimit+1 || !strings.Contains(got[FloodLimit], "940 more alerts") {
			t.Errorf("after a minute %d messages, the last %q", len(got), got[len(got)-1])
		}
		time.Sleep(2 * FloodWindow)
		m := testMessage(r, alerts.Failure, "later")
		m.destination = "mail ops"
		o.put(m)
		synctest.Wait()
		if got := r.Seen(); got[len(got)-1] != "failure later" {
			t.Errorf("a quiet destination is still limited")
		}
	})
}

func TestAReloadKeepsTheSumOfAFlood(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		failing := true
		r := &outboxtest.Recorder{Fail: func(_ int, e alerts.Event) error {
			if failing && e.Group == "monitord" {
				return outboxtest.ErrDown
			}
			return nil
		}}
		for i := range FloodLimit + 10 {
			m := testMessage(r, alerts.Failure, fmt.Sprintf("host%d", i))
			m.box, m.Action, m.destination = fmt.Sprintf("g:s%d mail", i), fmt.Sprintf("a%d", i), "mail ops"
			o.put(m)
		}
		time.Sleep(FloodWindow + 10*time.Second)
		o.Rebind(&Bindings{})
		r.Mu.Lock()
		failing = false
		r.Mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := r.Seen(); len(got) != FloodLimit+1 || !strings.Contains(got[FloodLimit], "10 more alerts") {
			t.Errorf("%d messages, the last %q", len(got), got[len(got)-1])
		}
	})
}

// TestASumTakesUpTheOneBefore that could not be delivered.
func TestASumTakesUpTheOneBefore(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		r, set := outboxtest.MailServer()
		events := &outboxtest.Events{}
		set(true)
		put := func(n int, kind alerts.Kind) {
			m := testMessage(outboxtest.Both{First: r, Second: events}, kind, "x")
			m.Event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.Action = boxOf(m.Watch(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		for n := range FloodLimit + 20 {
			put(n, alerts.Failure)
		}
		time.Sleep(FloodWindow + time.Second)
		for n := range FloodLimit + 10 {
			put(n, alerts.Up)
		}
		time.Sleep(FloodWindow)
		set(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var last alerts.Event
		for _, e := range events.Got {
			if e.Group == "monitord" {
				last = e
			}
		}
		for _, want := range []string{"up g:65:", "failure g:75:", "21 more alerts since"} {
			if !strings.Contains(string(last.Output), want) {
				t.Errorf("no %q in the sum:\n%s", want, last.Output)
			}
		}
		if strings.Contains(string(last.Output), "failure g:65:") {
			t.Errorf("the sum tells what is not true any more:\n%s", last.Output)
		}
	})
}

// TestASumForgetsWhatOthersTell: the lines of watches that another director owns, and
// itself when none is left.
func TestASumForgetsWhatOthersTell(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		r, set := outboxtest.MailServer()
		set(true)
		for n := range FloodLimit + 3 {
			m := testMessage(r, alerts.Failure, "x")
			m.Event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.Action = boxOf(m.Watch(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		time.Sleep(FloodWindow + time.Second)
		if n := len(o.saved()); n != FloodLimit+1 {
			t.Errorf("%d wait", n)
		}
		owners := map[watch.Key]string{}
		for n := range FloodLimit + 1 {
			owners[watch.Key{Group: "g", Service: fmt.Sprint(n)}] = "dr2"
		}
		o.Forget(owners)
		left := o.saved()
		if len(left) != 1 || left[0].Sum == nil || len(left[0].Sum.Lines) != 2 || left[0].Event.Summary != "2 more alerts in the last minute" {
			t.Errorf("left: %+v", left)
		}
		owners[watch.Key{Group: "g", Service: fmt.Sprint(FloodLimit + 1)}] = "dr2"
		owners[watch.Key{Group: "g", Service: fmt.Sprint(FloodLimit + 2)}] = "dr3"
		o.Forget(owners)
		if n := len(o.saved()); n != 0 || len(o.Pending()) != 0 {
			t.Errorf("%d wait of others' watches", n)
		}
	})
}

// TestASumForgetsNoHost: of a watch that counts for each host by itself both sums are
// told, if the first could not be delivered; and in one sum both kinds.
func TestASumForgetsNoHost(t *testing.T) {
	put := func(o *Outbox, r alerts.Alert, n int, kind alerts.Kind, host string) {
		m := hostMessage(r, kind, alerts.HostDown, host)
		m.Event.Service, m.destination = fmt.Sprint(n), "mail"
		m.box, m.Action = boxOf(m.Watch(), "mail"), fmt.Sprint(n)
		o.put(m)
	}
	t.Run("sums", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
			r, set := outboxtest.MailServer()
			events := &outboxtest.Events{}
			set(true)
			for _, host := range []string{"h1", "h2", "h3"} {
				for n := range FloodLimit + 20 {
					put(o, outboxtest.Both{First: r, Second: events}, n, alerts.Failure, host)
				}
				time.Sleep(FloodWindow + time.Second)
			}
			set(false)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			var text strings.Builder
			for _, e := range events.Got {
				fmt.Fprintf(&text, "failure %s:%s: %s\n%s", e.Group, e.Service, e.Summary, e.Output)
			}
			for n := range FloodLimit + 20 {
				for _, host := range []string{"h1", "h2", "h3"} {
					if !toldOf(text.String(), fmt.Sprintf("failure g:%d:", n), host) {
						t.Errorf("nobody heard of %s of %d", host, n)
					}
				}
			}
		})
	})
	t.Run("kinds", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
			events := &outboxtest.Events{}
			for n := range FloodLimit {
				put(o, events, n, alerts.Failure, "h1")
			}
			put(o, events, 100, alerts.Failure, "h1")
			put(o, events, 100, alerts.Trap, "h2")
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			last := events.Got[len(events.Got)-1]
			for _, want := range []string{"failure g:100: h1", "trap g:100: h2"} {
				if !strings.Contains(string(last.Output), want) {
					t.Errorf("no %q in the sum:\n%s", want, last.Output)
				}
			}
		})
	})
}

func toldOf(text, watch, host string) bool {
	for line := range strings.Lines(text) {
		if strings.Contains(line, watch) && strings.Contains(line, host) {
			return true
		}
	}
	return false
}

// TestASumIsNoLongerThanAMail, whatever monitors print.
func TestASumIsNoLongerThanAMail(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		events := &outboxtest.Events{}
		long := strings.Repeat("é", 1<<19)
		for n := range FloodLimit + 500 {
			m := testMessage(events, alerts.Failure, long)
			m.Event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.Action = boxOf(m.Watch(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		last := events.Got[len(events.Got)-1]
		if n := len(last.Output); last.Group != "monitord" || n > 1<<20 {
			t.Errorf("a sum of %d bytes", n)
		}
	})
}
