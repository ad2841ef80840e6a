package simulate

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
)

var update = flag.Bool("update", false, "write the expected texts anew")

// friday is when the files without dates are read.
var friday = time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)

// same compares with a file, which -update writes.
func same(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestMistakesAreAllSaid(t *testing.T) {
	text, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("mistakes.txt", text, load(t, "testdata/site.toml", nil), friday)
	if _, ok := errors.AsType[config.Problems](err); !ok {
		t.Fatalf("the error is %T", err)
	}
	same(t, "testdata/mistakes.want", err.Error()+"\n")
}

func TestFilesThatAreNoScript(t *testing.T) {
	site := load(t, "testdata/site.toml", nil)
	for text, want := range map[string]string{
		"":                                "x:1:1: nothing happens in this file",
		"# nothing\n":                     "x:1:1: nothing happens in this file",
		"02:00 gateway down \xff\n":       "x:1:1: the line is not UTF-8",
		"02:00 gateway down\nend 01:00\n": "is before the last line",
		"2026-11-22 02:00 gateway down\n2028-11-22 02:00 gateway up\n":        "at most 8784h0m0s are played",
		"02:00 gateway down\nend 01:00\n# that is all":                        "x:2:1: the end, ",
		"start 01:00\nstart 02:00\nend +1h":                                   "x:2:1: start stands in line 1 already",
		"02:00 gateway down\nend +1h\nend +2h":                                "x:3:1: end stands in line 2 already",
		"02:00 gateway down\n+9000h gateway up":                               "x:2:1: the rehearsal would last",
		"9999-12-31 23:59 gateway down\n":                                     "x:1:1: the rehearsal would end after the year 9999",
		"sunshine 02:00 gateway down\n":                                       `x:1:1: "sunshine" is no time`,
		"su 02:00 gateway down\n":                                             `x:1:1: "su" is no time`,
		"zone Europe/Berlin\n2026-03-29 02:30 gateway down\n":                 `x:2:12: there is no "02:30" on 2026-03-29 in Europe/Berlin: the clocks are put forward then`,
		"02:00 gateway down\nstart 01:00\n":                                   "x:2:1: start has to stand above what happens",
		"start 01:00\nzone UTC\n":                                             "x:2:1: zone has to stand above all times",
		strings.Repeat("+1s gateway down\n", maxLines+1):                      "there are more than 100000 lines",
		strings.Repeat("# a long comment\n", MaxText/len("a long comment\n")): "at most 8388608 are read",
	} {
		_, err := Parse("x", []byte(text), site, friday)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q gives %.200v, want %q", text, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	site := load(t, "testdata/site.toml", nil)
	at := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, 0, time.UTC)
	}
	for _, tt := range []struct {
		name, text string
		lines      []time.Time
		from, to   time.Time
	}{
		{
			name: "of the day", text: "02:00 gateway down\n+90s gateway up\n02:05:30 gateway down\n",
			lines: []time.Time{at(20, 2, 0, 0), at(20, 2, 1, 30), at(20, 2, 5, 30)}, from: at(20, 1, 57, 50), to: at(20, 2, 15, 30),
		},
		{
			name: "of the week", text: "start Sun 01:55\nsunday 02:00 gateway down\nMon 00:10 gateway up\nend +1h\n",
			lines: []time.Time{at(22, 2, 0, 0), at(23, 0, 10, 0)}, from: at(22, 1, 55, 0), to: at(23, 1, 10, 0),
		},
		{
			name: "today's name, later", text: "fri 18:00 gateway down\nfri 17:30 gateway up\n",
			lines: []time.Time{at(20, 18, 0, 0), at(27, 17, 30, 0)}, from: at(20, 17, 57, 50), to: at(27, 17, 40, 0),
		},
		{
			name: "today's name, gone by", text: "fri 16:00 gateway down\n", lines: []time.Time{at(27, 16, 0, 0)}, from: at(27, 15, 57, 50), to: at(27, 16, 10, 0),
		},
		{
			name: "with dates and a zone", text: "zone Europe/Berlin\n2026-11-22 02:00 gateway down\n2026-11-22T03:30:00Z gateway up\nend 2026-11-22 05:00\n",
			lines: []time.Time{time.Date(2026, 11, 22, 2, 0, 0, 0, berlin), time.Date(2026, 11, 22, 4, 30, 0, 0, berlin)}, from: at(22, 0, 57, 50), to: at(22, 4, 0, 0),
		},
		{
			name: "the two 02:30 of a night", text: "zone Europe/Berlin\n2026-10-25T02:30:00+02:00 gateway down\n2026-10-25T02:30:00+01:00 gateway up\nend +1m",
			lines: []time.Time{time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)},
			from:  time.Date(2026, 10, 25, 0, 27, 50, 0, time.UTC), to: time.Date(2026, 10, 25, 1, 31, 0, 0, time.UTC),
		},
		{
			name: "of another system", text: "\uFEFF02:00 gateway down\r\n+1m gateway up\r\n",
			lines: []time.Time{at(20, 2, 0, 0), at(20, 2, 1, 0)}, from: at(20, 1, 57, 50), to: at(20, 2, 11, 0),
		},
		{name: "only a frame", text: "start 02:00\nend +2h", from: at(20, 2, 0, 0), to: at(20, 4, 0, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse("x", []byte(tt.text), site, friday)
			if err != nil {
				t.Fatal(err)
			}
			var lines []time.Time
			for _, l := range s.Lines {
				lines = append(lines, l.At)
			}
			equal := cmp.Comparer(time.Time.Equal)
			if diff := cmp.Diff(tt.lines, lines, equal); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if !s.From.Equal(tt.from) || !s.To.Equal(tt.to) {
				t.Errorf("from %s to %s, want from %s to %s", s.From, s.To, tt.from, tt.to)
			}
		})
	}
}

// TestTheEndWaitsForCalendars: until they have seen the last line, but a day at most.
func TestTheEndWaitsForCalendars(t *testing.T) {
	for calendar, want := range map[string]string{
		"0 3 * * *": "Fri 2026-11-20 03:00:00",
		"0 1 * * *": "Sat 2026-11-21 01:00:00",
		"0 3 1 * *": "Sat 2026-11-21 02:00:00",
		"* * * * *": "Fri 2026-11-20 02:10:00",
	} {
		site := load(t, "testdata/site.toml", nil)
		site.Watches = site.Watches[:1]
		w := &site.Watches[0]
		schedule, err := config.ParseCron(calendar)
		if err != nil {
			t.Fatal(err)
		}
		w.Interval, w.Cron = 0, schedule
		s, err := Parse("x", []byte("02:00 "+w.Key.String()+" down\n"), site, friday)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.To.Format(dated); got != want {
			t.Errorf("%s: the end is %s, want %s", calendar, got, want)
		}
	}
}

// play runs a text and returns what is printed.
func play(t *testing.T, text string) string {
	t.Helper()
	site := load(t, "testdata/site.toml", nil)
	script, err := Parse("x", []byte(text), site, friday)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), site, script)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestNights prints what happens on some nights.
func TestNights(t *testing.T) {
	for _, night := range []string{"gateway", "operator", "programs", "unnoticed"} {
		t.Run(night, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + night + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			same(t, "testdata/"+night+".want", play(t, string(text)))
		})
	}
}

func TestTheSiteIsLeftAlone(t *testing.T) {
	site := load(t, "testdata/site.toml", nil)
	before := site.Watches[0].Monitor
	script, err := Parse("x", []byte("02:00 gateway down"), site, friday)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Run(t.Context(), site, script)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Run(t.Context(), site, script)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the second rehearsal differs (-first +second):\n%s", diff)
	}
	if site.Watches[0].Monitor != before {
		t.Error("the site has another monitor now")
	}
}

func TestBounds(t *testing.T) {
	site := load(t, "testdata/site.toml", nil)
	script, err := Parse("x", []byte("02:00 *:http down\nend +2h"), site, friday)
	if err != nil {
		t.Fatal(err)
	}
	for name, bound := range map[string]func(*player){
		"1000 checks by Fri": func(p *player) { p.maxChecks = 1000 },
		"500 events by Fri":  func(p *player) { p.maxEvents = 500 },
	} {
		p, err := newPlayer(site, script)
		if err != nil {
			t.Fatal(err)
		}
		bound(p)
		if err := p.play(t.Context()); !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, site, script); !errors.Is(err, context.Canceled) {
		t.Errorf("a rehearsal that nobody waits for ends with %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"mistakes", "gateway", "operator", "programs", "unnoticed"} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	site, err := config.Load("testdata/site.toml", config.Host{Hostname: "director", AnyNode: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("x", text, site, friday)
		if err != nil {
			return
		}
		if s.To.Before(s.From) {
			t.Errorf("from %s to %s", s.From, s.To)
		}
		if s.To.Sub(s.From) > 12*time.Minute { // long ones take long
			return
		}
		if _, err := Run(t.Context(), site, s); err != nil {
			t.Errorf("%v", err)
		}
	})
}

// TestTheLastOneStays names min_up once.
func TestTheLastOneStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	text := `
[hostgroups]
web = ["192.0.2.11", "192.0.2.12"]
[[watch]]
group    = "web"
service  = "http"
interval = "1m"
monitor  = { type = "http" }
  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web" }]
[[virtual]]
name    = "web"
address = "192.0.2.80:80"
real    = [{ host = "192.0.2.11" }, { host = "192.0.2.12" }]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site := load(t, file, nil)
	script, err := Parse("x", []byte("02:00 web down"), site, friday)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), site, script)
	if err != nil {
		t.Fatal(err)
	}
	want := "down, says web:http, kept in by min_up, which is 1"
	if !slices.ContainsFunc(r.Events, func(e Event) bool { return e.Change == Kept && e.Reason == want }) {
		t.Errorf("nobody stays, because %s: %+v", want, r.Events)
	}
}
