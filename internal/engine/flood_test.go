package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

func TestAFloodIsSummedUp(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		r := &recorder{}
		for i := range 1000 {
			m := testMessage(r, alerts.Failure, fmt.Sprintf("host%d", i))
			m.box, m.action, m.destination = fmt.Sprintf("g:s%d mail", i), fmt.Sprintf("a%d", i), "mail ops"
			m.event.Service = fmt.Sprintf("s%d", i)
			o.put(m)
		}
		synctest.Wait()
		if n := len(r.seen()); n != burst {
			t.Errorf("%d messages at once, want %d", n, burst)
		}
		time.Sleep(2 * limitWindow)
		synctest.Wait()
		if got := r.seen(); len(got) != burst+1 || !strings.Contains(got[burst], "940 more alerts") {
			t.Errorf("after a minute %d messages, the last %q", len(got), got[len(got)-1])
		}
		time.Sleep(2 * limitWindow)
		m := testMessage(r, alerts.Failure, "later")
		m.destination = "mail ops"
		o.put(m)
		synctest.Wait()
		if got := r.seen(); got[len(got)-1] != "failure later" {
			t.Errorf("a quiet destination is still limited")
		}
	})
}

func TestAReloadKeepsTheSumOfAFlood(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		failing := true
		r := &recorder{fail: func(_ int, e alerts.Event) error {
			if failing && e.Group == "monitord" {
				return errDown
			}
			return nil
		}}
		for i := range burst + 10 {
			m := testMessage(r, alerts.Failure, fmt.Sprintf("host%d", i))
			m.box, m.action, m.destination = fmt.Sprintf("g:s%d mail", i), fmt.Sprintf("a%d", i), "mail ops"
			o.put(m)
		}
		time.Sleep(limitWindow + 10*time.Second)
		o.rebind(bindings{}.bind)
		r.mu.Lock()
		failing = false
		r.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := r.seen(); len(got) != burst+1 || !strings.Contains(got[burst], "10 more alerts") {
			t.Errorf("%d messages, the last %q", len(got), got[len(got)-1])
		}
	})
}

// TestASumTakesUpTheOneBefore that could not be delivered.
func TestASumTakesUpTheOneBefore(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		r, set := mailServer()
		events := &eventRecorder{}
		set(true)
		put := func(n int, kind alerts.Kind) {
			m := testMessage(bothAlerts{r, events}, kind, "x")
			m.event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.action = boxOf(m.key(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		for n := range burst + 20 {
			put(n, alerts.Failure)
		}
		time.Sleep(limitWindow + time.Second)
		for n := range burst + 10 {
			put(n, alerts.Up)
		}
		time.Sleep(limitWindow)
		set(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var last alerts.Event
		for _, e := range events.got {
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
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		r, set := mailServer()
		set(true)
		for n := range burst + 3 {
			m := testMessage(r, alerts.Failure, "x")
			m.event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.action = boxOf(m.key(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		time.Sleep(limitWindow + time.Second)
		if n := len(o.saved()); n != burst+1 {
			t.Errorf("%d wait", n)
		}
		owners := map[watch.Key]string{}
		for n := range burst + 1 {
			owners[watch.Key{Group: "g", Service: fmt.Sprint(n)}] = "dr2"
		}
		o.forget(owners)
		left := o.saved()
		if len(left) != 1 || left[0].Sum == nil || len(left[0].Sum.Lines) != 2 || left[0].Event.Summary != "2 more alerts in the last minute" {
			t.Errorf("left: %+v", left)
		}
		owners[watch.Key{Group: "g", Service: fmt.Sprint(burst + 1)}] = "dr2"
		owners[watch.Key{Group: "g", Service: fmt.Sprint(burst + 2)}] = "dr3"
		o.forget(owners)
		if n := len(o.saved()); n != 0 || len(o.pending()) != 0 {
			t.Errorf("%d wait of others' watches", n)
		}
	})
}

// TestASumForgetsNoHost: of a watch that counts for each host by itself both sums are
// told, if the first could not be delivered; and in one sum both kinds.
func TestASumForgetsNoHost(t *testing.T) {
	put := func(o *outbox, r alerts.Alert, n int, kind alerts.Kind, host string) {
		m := hostMessage(r, kind, alerts.HostDown, host)
		m.event.Service, m.destination = fmt.Sprint(n), "mail"
		m.box, m.action = boxOf(m.key(), "mail"), fmt.Sprint(n)
		o.put(m)
	}
	t.Run("sums", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
			r, set := mailServer()
			events := &eventRecorder{}
			set(true)
			for _, host := range []string{"h1", "h2", "h3"} {
				for n := range burst + 20 {
					put(o, bothAlerts{r, events}, n, alerts.Failure, host)
				}
				time.Sleep(limitWindow + time.Second)
			}
			set(false)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			var text strings.Builder
			for _, e := range events.got {
				fmt.Fprintf(&text, "failure %s:%s: %s\n%s", e.Group, e.Service, e.Summary, e.Output)
			}
			for n := range burst + 20 {
				for _, host := range []string{"h1", "h2", "h3"} {
					if !toldOf(text.String(), fmt.Sprintf("failure g:%d:", n), host) {
						t.Errorf("nobody heard of %s of %d", host, n)
					}
				}
			}
		})
	})
	t.Run("kinds", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
			events := &eventRecorder{}
			for n := range burst {
				put(o, events, n, alerts.Failure, "h1")
			}
			put(o, events, 100, alerts.Failure, "h1")
			put(o, events, 100, alerts.Trap, "h2")
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			last := events.got[len(events.got)-1]
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
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		events := &eventRecorder{}
		long := strings.Repeat("é", 1<<19)
		for n := range burst + 500 {
			m := testMessage(events, alerts.Failure, long)
			m.event.Service, m.destination = fmt.Sprint(n), "mail"
			m.box, m.action = boxOf(m.key(), "mail"), fmt.Sprint(n)
			o.put(m)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		last := events.got[len(events.got)-1]
		if n := len(last.Output); last.Group != "monitord" || n > 1<<20 {
			t.Errorf("a sum of %d bytes", n)
		}
	})
}

// recordKeeper is a recorder for who looks back.
type recordKeeper struct{ recorder }

func (*recordKeeper) Recorder() {}

// TestARecordIsNeverSummedUp: people are spared a flood, a file is not.
func TestARecordIsNeverSummedUp(t *testing.T) {
	mail, file := &recorder{}, &recordKeeper{}
	m := &fakeMonitor{check: down("w1")}
	all := flood(burst+20, m, mail)
	for i := range all {
		w := &all[i]
		id := w.Group + "/file"
		w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: id, Name: "file"})
		w.Actions[id] = file
	}
	engineTest(t, all, func(t *testing.T, _ *Engine) {
		time.Sleep(3 * limitWindow)
		synctest.Wait()
		if n := len(mail.seen()); n != burst+1 {
			t.Errorf("%d mails, want %d and a sum", n, burst)
		}
		if n := len(file.seen()); n != burst+20 {
			t.Errorf("%d records, want %d", n, burst+20)
		}
	})
}
