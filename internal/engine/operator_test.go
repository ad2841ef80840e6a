package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

var ann = Word{By: "ann", Why: "disk ordered"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOperatorsWordsOnACluster: what one director is told holds on both, is saved when
// the command returns, and survives the death of the one that was told.
func TestOperatorsWordsOnACluster(t *testing.T) {
	silence := watch.Silence{Host: "w2", Span: 20 * time.Minute}
	tests := []struct {
		name string
		say  func(t *testing.T, d *director)
		// undo lets the failure be told.
		undo func(t *testing.T, d *director)
	}{
		{
			"ack",
			func(t *testing.T, d *director) { must(t, d.Ack(t.Context(), webKey, ann)) },
			func(t *testing.T, d *director) { must(t, d.Unack(t.Context(), webKey, ann)) },
		},
		{
			"disable",
			func(t *testing.T, d *director) { must(t, d.Disable(t.Context(), Target{Group: "web"}, ann)) },
			func(t *testing.T, d *director) { must(t, d.Enable(t.Context(), Target{Group: "web"}, ann)) },
		},
		{
			"disable for a time",
			func(t *testing.T, d *director) {
				must(t, d.Disable(t.Context(), Target{Group: "web", Service: "s"}, Word{By: "ann", For: 20 * time.Minute}))
			},
			func(*testing.T, *director) { time.Sleep(20 * time.Minute) },
		},
		{
			"silence",
			func(t *testing.T, d *director) {
				_, err := d.AddSilence(t.Context(), silence, ann)
				must(t, err)
			},
			func(t *testing.T, d *director) {
				must(t, d.RemoveSilence(t.Context(), d.Silences()[0].ID, ann))
			},
		},
		{
			"silence that ends",
			func(t *testing.T, d *director) {
				_, err := d.AddSilence(t.Context(), silence, ann)
				must(t, err)
			},
			func(*testing.T, *director) { time.Sleep(20 * time.Minute) },
		},
		{
			"pause",
			func(t *testing.T, d *director) { must(t, d.Pause(t.Context(), ann)) },
			func(t *testing.T, d *director) { must(t, d.Unpause(t.Context(), ann)) },
		},
	}
	for _, test := range tests {
		for _, at := range []string{"dr1", "dr2"} {
			t.Run(test.name+" at "+at, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := directors(t, func(w *config.Watch) {
						w.Periods[0].AlertEvery, w.Periods[0].AckAlerts = watch.AlertEvery{}, nil
					})
					said := map[string]*director{"dr1": p.a, "dr2": p.b}[at]
					p.both("w2")
					for said.state(t, "web").State != "failed" {
						p.pass(10 * time.Millisecond)
					}
					p.pass(300 * time.Millisecond)
					test.say(t, said)
					p.pass(300 * time.Millisecond)
					before := len(p.a.mail.Seen())
					p.pass(time.Minute)
					if got := p.a.mail.Seen(); len(got) != before {
						t.Errorf("dr1 told %q", got)
					}
					p.kill(said) // and what was told does not live in it alone
					said.mail = &outboxtest.Recorder{}
					p.boot(said, said.store)
					p.pass(time.Minute)
					p.own("dr2")
					p.pass(2 * time.Minute)
					if got := p.b.mail.Seen(); len(got) != 0 {
						t.Errorf("dr2 told %q", got)
					}
					test.undo(t, said)
					p.pass(2 * time.Second)
					if got := p.b.mail.Seen(); len(got) == 0 || got[0] != "failure w2" {
						t.Errorf("after all, dr2 told %q", got)
					}
					p.end()
				})
			})
		}
	}
}

// TestOperatorsWordsAreSaved: kill -9 just after the command undoes nothing.
func TestOperatorsWordsAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mail, store := &fakeMonitor{check: down("w2")}, &outboxtest.Recorder{}, &fakeStore{}
		w := mortal(m, mail, newPoolSink())
		l := live(t, store, time.Hour, w)
		time.Sleep(3 * time.Second)
		must(t, l.Ack(t.Context(), w.Key, ann))
		must(t, l.Disable(t.Context(), Target{Hosts: []string{"w1"}}, Word{By: "bob", For: 2 * time.Hour}))
		_, err := l.AddSilence(t.Context(), watch.Silence{Match: "web:*", Cron: "0 2 * * sun", Span: time.Hour}, ann)
		must(t, err)
		_, err = l.AddSilence(t.Context(), watch.Silence{Group: "web", Span: time.Hour}, ann)
		must(t, err)
		must(t, l.RemoveSilence(t.Context(), "2", ann))
		must(t, l.Pause(t.Context(), ann))
		l.kill()
		l = live(t, store, time.Hour, w)
		l.wantLogged(t, "paused by ann: disk ordered; a restart does not end that")
		s := l.Status()
		if w := s.Watches[0]; w.Acked != "ann: disk ordered" || w.Hosts[0].DisabledBy == nil || w.Hosts[0].DisabledBy.By != "bob" {
			t.Errorf("status is %+v", w)
		}
		if !s.Stopped || s.StoppedBy == nil || s.StoppedBy.By != "ann" {
			t.Errorf("stopped %v by %+v", s.Stopped, s.StoppedBy)
		}
		if len(s.Silences) != 1 || s.Silences[0].ID != "1" || s.Silences[0].Active || s.Silences[0].Begins.Weekday() != time.Sunday {
			t.Errorf("silences are %+v", s.Silences)
		}
		v, err := l.AddSilence(t.Context(), watch.Silence{Group: "web", Span: time.Hour}, ann)
		if err != nil || v.ID != "3" {
			t.Errorf("the name of one that was taken away is given again: %s, %v", v.ID, err)
		}
		l.store.fail(errors.New("disk full"))
		err = l.Unpause(t.Context(), ann)
		if err == nil || !strings.Contains(err.Error(), "it is so, but a restart would forget it: ") || l.Status().Stopped {
			t.Errorf("with a full disk: %v, stopped %v", err, l.Status().Stopped)
		}
		l.kill()
	})
}

// TestWordsAboutNothing: what is misspelt changes nothing, and says what there is.
func TestWordsAboutNothing(t *testing.T) {
	engineTest(t, []config.Watch{testWatch("web", &fakeMonitor{check: down()}, &outboxtest.Recorder{}, "w1")}, func(t *testing.T, e *Engine) {
		time.Sleep(2 * time.Second)
		add := func(s watch.Silence) error {
			s.Span = time.Hour
			_, err := e.AddSilence(t.Context(), s, ann)
			return err
		}
		for want, err := range map[string]error{
			`no watch "web:x"; there are web:s`:      e.Ack(t.Context(), watch.Key{Group: "web", Service: "x"}, ann),
			"ack web:s: the watch is not failing":    e.Ack(t.Context(), webKey, ann),
			"no failure of the watch is ack":         e.Unack(t.Context(), webKey, ann),
			`no group "wbe"; there are web`:          e.Disable(t.Context(), Target{Group: "wbe"}, ann),
			`no watch "web:t"; there are web:s`:      e.Enable(t.Context(), Target{Group: "web", Service: "t"}, ann),
			`no host "w2"; there are w1`:             e.Disable(t.Context(), Target{Hosts: []string{"w1", "w2"}}, ann),
			`no service "t"; there are s`:            add(watch.Silence{Service: "t"}),
			`no group "g"; there are web`:            add(watch.Silence{Group: "g"}),
			`host w2: that covers no watch`:          add(watch.Silence{Host: "w2"}),
			`match db:*: that covers no watch`:       add(watch.Silence{Match: "db:*"}),
			`cannot read "0 2 * *"`:                  add(watch.Silence{Group: "web", Cron: "0 2 * *"}),
			`no silence "7"; there is none at all`:   e.RemoveSilence(t.Context(), "7", ann),
			`the site is not paused`:                 e.Unpause(t.Context(), ann),
			`"0 0 31 2 *" never comes`:               add(watch.Silence{Group: "web", Cron: "0 0 31 2 *"}),
			`there is no time zone "Europe/Nowhere"`: add(watch.Silence{Group: "web", Cron: "CRON_TZ=Europe/Nowhere 0 2 * * *"}),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if s := e.Status(); len(s.Silences) != 0 || s.Stopped || s.Watches[0].Disabled || s.Watches[0].Hosts[0].Disabled {
			t.Errorf("something was changed: %+v", s)
		}
	})
}

// TestAHostIsAllItsPorts: who disables a host need not know how the groups write it.
func TestAHostIsAllItsPorts(t *testing.T) {
	entries := []string{"10.0.0.21:80", "10.0.0.21:443", "10.0.0.2:80", "w1", "W1:8080", "[2001:db8::1]:80"}
	engineTest(t, []config.Watch{testWatch("web", &fakeMonitor{check: down()}, &outboxtest.Recorder{}, entries...)}, func(t *testing.T, e *Engine) {
		for name, want := range map[string][]string{
			"10.0.0.21":             {"10.0.0.21:443", "10.0.0.21:80"},
			"10.0.0.21:80":          {"10.0.0.21:80"},
			"w1":                    {"W1:8080", "w1"},
			"2001:db8:0:0:0:0:0:1":  {"[2001:db8::1]:80"},
			"[2001:db8::1]":         {"[2001:db8::1]:80"},
			"::ffff:10.0.0.2":       {"10.0.0.2:80"},
			"10.0.0.21:8080":        nil,
			"10.0.0":                nil,
			"2001:db8::1:80":        nil,
			"":                      nil,
			"[2001:db8::1]:80:80:x": nil,
		} {
			about := Target{Hosts: []string{name}}
			if want == nil {
				if err := e.Disable(t.Context(), about, ann); err == nil || !strings.Contains(err.Error(), "there are 10.0.0.21:443, ") {
					t.Errorf("%q: %v", name, err)
				}
				want = []string{name}
			} else {
				must(t, e.Disable(t.Context(), about, ann))
				if got := off(e); !slices.Equal(got, want) {
					t.Errorf("%q disables %q, want %q", name, got, want)
				}
				must(t, e.Enable(t.Context(), about, ann))
			}
			if got := off(e); len(got) != 0 {
				t.Errorf("%q leaves %q disabled", name, got)
			}
			if got := e.Named(about).Hosts; !slices.Equal(got, want) {
				t.Errorf("%q is %q, want %q", name, got, want)
			}
		}
	})
}

// off are the hosts that are disabled.
func off(e *Engine) []string {
	var out []string
	for _, h := range e.Status().Watches[0].Hosts {
		if h.Disabled {
			out = append(out, h.Name)
		}
	}
	slices.Sort(out)
	return out
}

// TestSilenceOfTheNightInSummerTime: two o'clock is there once a day.
func TestSilenceOfTheNightInSummerTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	c, err := calendar("30 2 * * *")
	must(t, err)
	for day, want := range map[time.Time]time.Time{
		time.Date(2026, 3, 28, 12, 0, 0, 0, berlin):               time.Date(2026, 3, 29, 3, 30, 0, 0, berlin), // 2:30 is left out
		time.Date(2026, 10, 24, 12, 0, 0, 0, berlin):              time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC),
		time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC).In(berlin): time.Date(2026, 10, 26, 2, 30, 0, 0, berlin), // not in the second round
	} {
		if got := c.Next(day); !got.Equal(want) {
			t.Errorf("after %s comes %s, want %s", day, got, want)
		}
	}
}

// TestAnAckAtABusyTime: what the owner says before it has heard of an ack takes nothing
// back, however often it speaks.
func TestAnAckAtABusyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := directors(t, func(w *config.Watch) {
			w.Periods[0].AlertEvery, w.Periods[0].AckAlerts = watch.AlertEvery{}, nil
		})
		p.both("w2")
		p.pass(3 * time.Second)
		must(t, p.b.Ack(t.Context(), webKey, ann))
		p.pass(10 * time.Millisecond)
		p.share(p.a) // before the word of dr2 has come
		p.pass(time.Second)
		for _, d := range []*director{p.a, p.b} {
			if got := d.state(t, "web").Acked; got != "ann: disk ordered" {
				t.Errorf("%s shows the ack %q", d.name, got)
			}
		}
		must(t, p.a.Unack(t.Context(), webKey, ann))
		p.pass(time.Second)
		for _, d := range []*director{p.a, p.b} {
			if got := d.state(t, "web").Acked; got != "" {
				t.Errorf("%s shows the ack %q, which was taken back", d.name, got)
			}
		}
		p.end()
	})
}
