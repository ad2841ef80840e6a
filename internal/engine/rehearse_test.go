package engine

import (
	"context"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// rehearse plays a site for a while and returns who was told what, and why others
// were not.
func rehearse(t *testing.T, site *config.Site, start time.Time, long time.Duration) (told, why []string) {
	t.Helper()
	r, err := Rehearse(site, start, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Begin(t.Context())
	for {
		at, ok := r.Next()
		if !ok || at.Sub(start) > long {
			break
		}
		r.Move(at)
		r.Work()
	}
	for _, s := range r.Play() {
		if s.Decision != nil && s.Decision.Code != watch.Sent {
			why = append(why, s.Decision.Code.String())
		}
		if s.Alert != nil {
			told = append(told, s.Alert.Event.Kind.String()+" "+s.Alert.Event.Summary+" at "+s.At.Sub(start).String())
		}
	}
	return told, why
}

func TestARehearsalSendsNothing(t *testing.T) {
	mail := &outboxtest.Recorder{}
	w := testWatch("web", &fakeMonitor{check: down("w1")}, mail, "w1", "w2")
	w.Fall = 3
	w.Periods[0].NumAlerts = 1
	start := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	told, why := rehearse(t, &config.Site{Watches: []config.Watch{w}}, start, 5*time.Second-time.Millisecond)
	mail.Want(t)
	if len(told) != 1 || len(why) != 4 || why[0] != "fall" || why[1] != "fall" || why[2] != "numalerts" {
		t.Errorf("told %q, and not because of %q; want one alert, and two failures below fall, two above numalerts", told, why)
	}
	if mail.Attempts > 0 {
		t.Errorf("%d alerts were sent", mail.Attempts)
	}
}

func TestARehearsalKnowsSilentTraps(t *testing.T) {
	w := testWatch("traps", nil, &outboxtest.Recorder{}, "t1")
	w.Scope, w.Interval, w.TrapTimeout = watch.ScopeGroup, 0, time.Minute
	site := &config.Site{Watches: []config.Watch{w}}
	start := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	told, _ := rehearse(t, site, start, 90*time.Second)
	if len(told) != 1 || told[0] != "traptimeout trap timeout at 1m0.01s" {
		t.Errorf("told %q", told)
	}
}

func TestARehearsalHearsWhatOthersDo(t *testing.T) {
	m := &fakeMonitor{check: func(context.Context, monitors.Request) (monitors.Result, error) { panic("not asked") }}
	w := testWatch("web", m, &outboxtest.Recorder{}, "w1")
	r, err := Rehearse(&config.Site{Watches: []config.Watch{w}}, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Trap(watch.TrapMessage{Group: "web", Service: "s", Status: "1", Summary: "w1"})
	if play := r.Play(); err != nil || len(play) != 2 || play[0].Alert == nil || play[1].Decision == nil {
		t.Errorf("%d scenes, %v; want the alert and its decision", len(play), err)
	}
}
