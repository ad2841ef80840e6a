package schedule

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the same Berlin on every machine

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
)

func parse(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	s, err := parser.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func place(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

const reading = "2006-01-02 15:04:05 MST"

// Summer time in Berlin began on 2026-03-29 (02:00 CET = 03:00 CEST) and ends on
// 2026-10-25 (03:00 CEST = 02:00 CET).
func TestNextTimeInSummerTime(t *testing.T) {
	for _, c := range []struct {
		name, spec, after string // after: in UTC
		want              []string
	}{
		{
			"a left-out time is served by the old clock", "30 2 * * *", "2026-03-28 00:00:00",
			[]string{"2026-03-28 02:30:00 CET", "2026-03-29 03:30:00 CEST", "2026-03-30 02:30:00 CEST"},
		},
		{
			"the first left-out minute", "0 2 * * *", "2026-03-28 12:00:00",
			[]string{"2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST"},
		},
		{
			"many left-out times are one", "*/20 2 * * *", "2026-03-28 12:00:00",
			[]string{"2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST"},
		},
		{
			"every hour goes on every hour in spring", "30 * * * *", "2026-03-29 00:00:00",
			[]string{"2026-03-29 01:30:00 CET", "2026-03-29 03:30:00 CEST", "2026-03-29 04:30:00 CEST"},
		},
		{
			"the hour after", "0 3 * * *", "2026-03-28 12:00:00",
			[]string{"2026-03-29 03:00:00 CEST", "2026-03-30 03:00:00 CEST"},
		},
		{
			"a yearly time that is left out", "30 2 29 3 *", "2025-06-01 00:00:00",
			[]string{"2026-03-29 03:30:00 CEST", "2027-03-29 02:30:00 CEST"},
		},
		{
			"a time that comes twice is served once", "30 2 * * *", "2026-10-24 12:00:00",
			[]string{"2026-10-25 02:30:00 CEST", "2026-10-26 02:30:00 CET"},
		},
		{
			"so are many", "*/20 2 * * *", "2026-10-24 12:00:00",
			[]string{"2026-10-25 02:00:00 CEST", "2026-10-25 02:20:00 CEST", "2026-10-25 02:40:00 CEST", "2026-10-26 02:00:00 CET"},
		},
		{
			"every hour goes on every hour in autumn", "30 * * * *", "2026-10-24 23:00:00",
			[]string{"2026-10-25 01:30:00 CEST", "2026-10-25 02:30:00 CEST", "2026-10-25 02:30:00 CET", "2026-10-25 03:30:00 CET"},
		},
		{
			"every minute too", "* * * * *", "2026-10-25 00:58:30",
			[]string{"2026-10-25 02:59:00 CEST", "2026-10-25 02:00:00 CET", "2026-10-25 02:01:00 CET"},
		},
		{
			"months away", "0 0 1 5 *", "2026-01-01 00:00:00",
			[]string{"2026-05-01 00:00:00 CEST", "2027-05-01 00:00:00 CEST"},
		},
		{"never", "0 0 30 2 *", "2026-01-01 00:00:00", []string{"never"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, err := time.Parse(time.DateTime, c.after)
			if err != nil {
				t.Fatal(err)
			}
			schedule, at := parse(t, c.spec), after.In(place(t, "Europe/Berlin"))
			var got []string
			for range c.want {
				at = nextTime(schedule, at)
				if at.IsZero() {
					got = append(got, "never")
					break
				}
				got = append(got, at.Format(reading))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.spec, diff)
			}
		})
	}
}

func TestNextTimeWithItsOwnZone(t *testing.T) {
	schedule := parse(t, "CRON_TZ=UTC 30 1 * * *")
	at := time.Date(2026, 10, 24, 12, 0, 0, 0, place(t, "Europe/Berlin"))
	// 01:30 UTC is 02:30 CET in the second round of Berlin's repeated hour.
	if got, want := nextTime(schedule, at).Format(reading), "2026-10-25 02:30:00 CET"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A wallClock can be set.
type wallClock struct {
	step atomic.Int64
	loc  *time.Location
}

// noonIn returns a clock that shows 2026-07-01, a Wednesday, 12:00.
func noonIn(loc *time.Location) *wallClock {
	w := &wallClock{loc: loc}
	w.jump(time.Date(2026, 7, 1, 12, 0, 0, 0, loc).Sub(time.Now().Round(0)))
	return w
}

func (w *wallClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(w.step.Load())).In(w.loc)
}
func (w *wallClock) jump(d time.Duration) { w.step.Add(int64(d)) }

// clockRun runs a cron job and an interval job from 2026-07-01 12:00 on, and
// returns the wall clock's readings at the cron job's starts.
func clockRun(t *testing.T, spec string, steps func(w *wallClock)) []string {
	t.Helper()
	w := noonIn(place(t, "Europe/Berlin"))
	var readings locked[[]string]
	r := newRecorder()
	j := r.job("cron", 0, 0)
	j.Cron = parse(t, spec)
	inner := j.Run
	j.Run = func(ctx context.Context) {
		readings.with(func(got *[]string) { *got = append(*got, w.now().Format("02 15:04:05")) })
		inner(ctx)
	}
	drive(t, Config{Wall: w.now}, Plan{Jobs: []Job{j, r.job("interval", 10*time.Second, 0)}, RandStart: grain})
	steps(w)
	synctest.Wait()
	for i, at := range r.of("interval") {
		if want := time.Duration(i) * 10 * time.Second; at != want {
			t.Fatalf("the interval job's run %d started at %s, want %s", i, at, want)
		}
	}
	return readings.get()
}

func TestWallClockSteps(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		steps      func(w *wallClock)
		want       []string
	}{
		{"no step", "*/5 * * * *", func(*wallClock) {
			pass(11 * time.Minute)
		}, []string{"01 12:05:00", "01 12:10:00"}},
		{"forward over nothing", "*/5 * * * *", func(w *wallClock) {
			pass(time.Minute)
			w.jump(2 * time.Minute)
			pass(3 * time.Minute)
		}, []string{"01 12:05:00"}},
		{"forward or resumed: one run for all that was missed", "*/5 * * * *", func(w *wallClock) {
			pass(90 * time.Second)
			w.jump(8 * time.Hour)
			pass(5 * time.Minute)
		}, []string{"01 20:01:31", "01 20:05:00"}},
		{"forward by a year", "@daily", func(w *wallClock) {
			pass(90500 * ms)
			w.jump(365 * 24 * time.Hour)
			pass(24 * time.Hour)
		}, []string{"01 12:01:31", "02 00:00:00"}},
		{"back: a daily run is not repeated", "30 12 * * *", func(w *wallClock) {
			pass(40 * time.Minute)
			w.jump(-time.Hour)
			pass(26 * time.Hour)
		}, []string{"01 12:30:00", "02 12:30:00"}},
		{"back: every minute goes on every minute", "* * * * *", func(w *wallClock) {
			pass(90 * time.Second)
			w.jump(-time.Hour)
			pass(2 * time.Minute)
		}, []string{"01 12:01:00", "01 11:02:00", "01 11:03:00"}},
		{"back by half a second, just after a run", "* * * * *", func(w *wallClock) {
			pass(60100 * ms)
			w.jump(-500 * ms)
			pass(2 * time.Minute)
		}, []string{"01 12:01:00", "01 12:02:00"}},
		{"back before any run", "30 12 * * *", func(w *wallClock) {
			pass(time.Minute)
			w.jump(-time.Hour)
			pass(2 * time.Hour)
		}, []string{"01 12:30:00"}},
		{"back by less than a day: a monthly run is not repeated", "30 12 1 * *", func(w *wallClock) {
			pass(40 * time.Minute)
			w.jump(-23 * time.Hour)
			pass(50 * time.Hour)
		}, []string{"01 12:30:00"}},
		{"back by more than a day: the clock was wrong", "30 12 1 * *", func(w *wallClock) {
			pass(40 * time.Minute)
			w.jump(-48 * time.Hour)
			pass(50 * time.Hour)
		}, []string{"01 12:30:00", "01 12:30:00"}},
		{"a hair too early is not twice", "* * * * *", func(w *wallClock) {
			pass(30 * time.Second)
			w.jump(-ms / 2)
			pass(100 * time.Second)
		}, []string{"01 12:00:59", "01 12:02:00"}},
		{"forward by mistake, and back: at least the spacing later", "@hourly", func(w *wallClock) {
			pass(10 * time.Minute)
			w.jump(10 * time.Hour)
			pass(10 * time.Minute)
			w.jump(-10 * time.Hour)
			pass(2 * time.Hour)
		}, []string{"01 22:10:01", "01 14:00:00"}},
		{"slewed by a slow clock", "0 12 2 * *", func(w *wallClock) {
			for range 14500 {
				pass(6 * time.Second)
				w.jump(-3 * ms)
			}
		}, []string{"02 12:00:00"}},
		{"slewed by a fast clock", "0 12 2 * *", func(w *wallClock) {
			for range 1450 { // 500 ppm fast: 43 s in a day
				pass(time.Minute)
				w.jump(30 * ms)
			}
		}, []string{"02 12:00:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if diff := cmp.Diff(c.want, clockRun(t, c.spec, c.steps)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.spec, diff)
				}
			})
		})
	}
}

func TestReplaceCron(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		want       []time.Duration
	}{
		{"parsed anew, the same", "*/5 * * * *", seconds(300, 600, 900)},
		{"another", "1-59/5 * * * *", seconds(300, 360, 660, 960)},
		{"an interval instead: from the last run", "@every 7m", seconds(300, 720)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := noonIn(time.UTC)
				r := newRecorder()
				j := r.job("a", 0, 0)
				j.Cron = parse(t, "*/5 * * * *")
				s := drive(t, Config{Wall: w.now}, Plan{Jobs: []Job{j}})
				pass(5*time.Minute + 30*time.Second)
				j.Cron = parse(t, c.spec)
				if err := s.Replace(t.Context(), Plan{Jobs: []Job{j}}); err != nil {
					t.Fatal(err)
				}
				pass(11 * time.Minute)
				if diff := cmp.Diff(c.want, r.of("a")); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// "@every" is an interval: the wall clock has no say in it.
func TestEveryIsAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := noonIn(time.UTC)
		r := newRecorder()
		j := r.job("a", 0, 0)
		j.Cron = parse(t, "@every 5m")
		s := drive(t, Config{Wall: w.now}, Plan{Jobs: []Job{j}, RandStart: grain})
		pass(time.Minute)
		w.jump(time.Hour)
		pass(10 * time.Minute)
		if diff := cmp.Diff(seconds(0, 300, 600), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if st, _ := s.Status("a"); st.Interval != 5*time.Minute {
			t.Errorf("interval %s, want 5m", st.Interval)
		}
	})
}

// While a calendar job fails it may run at a pace, and goes back to the calendar.
func TestSetIntervalOfCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := noonIn(time.UTC)
		r := newRecorder()
		j := r.job("a", 0, 0)
		j.Cron = parse(t, "@hourly")
		s := drive(t, Config{Wall: w.now}, Plan{Jobs: []Job{j}})
		pass(61 * time.Minute)
		if err := s.SetInterval("a", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		pass(25 * time.Minute)
		if err := s.SetInterval("a", 0); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		if diff := cmp.Diff(seconds(3600, 4200, 4800, 7200, 10800), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

// What comes due in an exclude period runs once after it, by the calendar too.
func TestHeldCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := noonIn(time.UTC)
		r := newRecorder()
		j := r.job("a", 0, 0)
		j.Cron = parse(t, "*/10 * * * *")
		j.ExcludePeriod = func(now time.Time) bool { return now.Hour() == 12 && now.Minute() > 5 }
		drive(t, Config{Wall: w.now}, Plan{Jobs: []Job{j}})
		pass(75 * time.Minute)
		if diff := cmp.Diff(seconds(3600, 4200), r.of("a")); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}
