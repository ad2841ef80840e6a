package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/scribe"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// A scripted site is one watch whose results come at the moments of a trace.
type scripted struct {
	*Engine
	watch   *config.Watch
	monitor *fakeMonitor
	start   time.Time
	end     func()
}

// A calledProgram is an alert that calls one.
type calledProgram struct {
	outboxtest.Recorder
	path string
}

func (p *calledProgram) Program() string { return p.path }

func newScripted(t *testing.T, site *config.Site, change func(*config.Watch)) *scripted {
	t.Helper()
	return newScriptedWith(t, Memory{}, site, change)
}

func newScriptedWith(t *testing.T, memory Memory, site *config.Site, change func(*config.Watch)) *scripted {
	t.Helper()
	s := &scripted{monitor: &fakeMonitor{}, start: time.Now()}
	w := testWatch("g", s.monitor, &outboxtest.Recorder{}, "h1", "h2")
	w.Scope, w.Compat = watch.ScopeGroup, true
	w.Periods[0].Alerts[0].Name, w.Periods[0].UpAlerts[0].Name = "exec a.alert", "exec up.alert -x y"
	w.Actions["g/a"], w.Actions["g/u"] = &calledProgram{path: "@ALERTDIR@/a.alert"}, &calledProgram{path: "@ALERTDIR@/up.alert"}
	if change != nil {
		change(&w)
	}
	site.Watches = []config.Watch{w}
	s.watch = &site.Watches[0]
	e, err := Resume(site, quiet(), memory)
	if err != nil {
		t.Fatal(err)
	}
	s.Engine = e
	e.begin(time.Now())
	stop := make(chan struct{})
	done := e.write(stop)
	s.end = func() {
		e.outbox.Close()
		close(stop)
		<-done
		e.stopSending()
	}
	return s
}

// play feeds the results of a recording of mon at their moments.
func (s *scripted) play(t *testing.T, tr *trace) {
	t.Helper()
	for _, event := range tr.Trace.Events {
		if event.Kind != "run" {
			continue
		}
		time.Sleep(time.Until(s.start.Add(time.Duration(event.T) * time.Second)))
		exit, output, _ := strings.Cut(event.Result, "|")
		status, err := strconv.Atoi(exit)
		if err != nil {
			t.Fatal(err)
		}
		s.result(t, status, strings.ReplaceAll(output, `\n`, "\n"))
	}
}

func (s *scripted) result(t *testing.T, exit int, output string) {
	s.monitor.set(func(context.Context, monitors.Request) (monitors.Result, error) {
		return monitors.Result{Exit: exit, Output: []byte(output)}, nil
	})
	s.check(t.Context(), s.watch)
	synctest.Wait()
}

// seconds writes times as those of a trace: "@T+7".
func (s *scripted) seconds(text string) string {
	return regexp.MustCompile(`\b9\d{8}\b`).ReplaceAllStringFunc(text, func(epoch string) string {
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf("@T+%d", n-s.start.Unix())
	})
}

func (s *scripted) want(t *testing.T, path string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(s.seconds(string(text)), "\n"), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-mon's +ours):\n%s", filepath.Base(path), diff)
	}
}

// TestGoldenDowntimes compares the log of downtimes with the one that mon wrote.
func TestGoldenDowntimes(t *testing.T) {
	tr := readTrace(t, filepath.Join(goldenFolder, "dtlog.json"))
	var want []string
	for _, event := range tr.Trace.Events {
		if event.Cmd == "list dtlog" {
			want = event.Reply[:len(event.Reply)-1] // the last is the protocol's
		}
	}
	path := filepath.Join(t.TempDir(), "log", "down.log")
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, &config.Site{Global: config.Global{DTLogFile: path, HistLength: 10}}, nil)
		s.play(t, tr)
		// mon(8)'s program writes these three lines, and one more, at its start.
		head := []string{"#", "# downtime log start @T+0", "# time back up, group, service, first failure, downtime, interval, summary", "#"}
		s.want(t, path, append(head, want...)...)
		s.end()
	})
}

// TestDowntimesOfAFailureInterval: it is the interval in force; and a summary makes
// one line.
func TestDowntimesOfAFailureInterval(t *testing.T) {
	path := filepath.Join(t.TempDir(), "down.log")
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, &config.Site{Global: config.Global{DTLogFile: path, HistLength: 10}}, func(w *config.Watch) {
			w.FailureInterval, w.Interval = 1500*time.Millisecond, 5*time.Second
		})
		time.Sleep(2 * time.Second)
		s.result(t, 1, "h1\rgone\nx\n")
		time.Sleep(3 * time.Second)
		s.result(t, 0, "")
		s.result(t, 0, "")
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasSuffix(s.seconds(string(text)), "#\n@T+5 g s @T+2 3 1.5 h1 gone\n") {
			t.Errorf("the log is %s, %v", s.seconds(string(text)), err)
		}
		if err := os.Rename(path, path+".1"); err != nil { // logrotate
			t.Fatal(err)
		}
		site := *s.site
		s.Reload(&site)
		synctest.Wait()
		if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "#\n# downtime log start") {
			t.Errorf("after a reload the new log is %q, %v", text, err)
		}
		s.end()
	})
}

// TestGoldenHistory compares the lines of alerts with those that mon wrote, and reads
// them back.
func TestGoldenHistory(t *testing.T) {
	tr := readTrace(t, filepath.Join(goldenFolder, "history.json"))
	var want []string
	for _, event := range tr.Trace.Events {
		if event.Cmd == "list alerthist" {
			for _, line := range event.Reply[:len(event.Reply)-1] {
				want = append(want, strings.ReplaceAll(line, `\20`, " ")) // the protocol's escape
			}
		}
	}
	want[2] = strings.Replace(want[2], "()", "(-x y)", 1) // so that arguments are seen
	path := filepath.Join(t.TempDir(), "hist.log")
	global := config.Global{HistoricFile: path, HistLength: 2, HistoricTime: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		old := fmt.Sprintf("alert g s %d a.alert () too old\nnonsense\nalert g s x a.alert () y\n# comment\n\n", time.Now().Add(-2*time.Hour).Unix())
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newScripted(t, &config.Site{Global: global}, nil)
		wantHistory(t, s.Engine) // there is nothing to read yet but what is too old
		s.play(t, tr)
		s.want(t, path, append(strings.Split(strings.TrimSuffix(s.seconds(old), "\n"), "\n"), want...)...)
		s.end()

		s = newScripted(t, &config.Site{Global: global}, nil)
		wantHistory(t, s.Engine, "failure h1: , 0 attempts", "up h1: , 0 attempts")
		read, err := s.History(history.Query{})
		if h := read[1]; err != nil || h.Alert != "@ALERTDIR@/up.alert -x y" || h.Group != "g" || h.Service != "s" {
			t.Errorf("read back: %+v, %v", h, err)
		}
		s.end()

		s = newScriptedWith(t, Memory{History: &fakeJournal{}}, &config.Site{Global: global}, nil) // what is told there comes instead
		s.book.Put(history.Entry{At: read[1].At, Kind: "up", Summary: "own", Fate: "delivered"})
		wantHistory(t, s.Engine, "failure h1: , 0 attempts", "up own: delivered, 0 attempts")
		s.end()
	})
}

// TestAHistoryFileThatCannotBeRead costs its lines and nothing else.
func TestAHistoryFileThatCannotBeRead(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/dev/full"} {
		if got, err := readHistoric(path, 10, 0, time.Now()); got != nil || err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if got, err := readHistoric(filepath.Join(t.TempDir(), "none"), 10, 0, time.Now()); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	path := filepath.Join(t.TempDir(), "huge")
	text := "alert g s 1 a (b) " + strings.Repeat("x", 3*historicLine) + "\nupalert g s 2 a () y\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readHistoric(path, 10, 0, time.Now())
	if err != nil || len(got) != 2 || len(got[0].Summary) > historicLine || got[1].Kind != "up" {
		t.Errorf("a huge line: %d lines, %v", len(got), err)
	}
}

// TestALogOnAFullDisk: /dev/full answers ENOSPC to every write (full(4)). The engine
// goes on, and says it once.
func TestALogOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, &config.Site{Global: config.Global{HistoricFile: "/dev/full", DTLogFile: "/dev/full", HistLength: 10}}, nil)
		for n := range 20 {
			time.Sleep(time.Minute)
			s.result(t, n%2, "x")
		}
		if waiting := len(s.monLogs.files["/dev/full"].Unwritten()); waiting != 29 { // the head, 10 failures, 9 recoveries and their 9 downtimes
			t.Errorf("%d lines wait for the disk", waiting)
		}
		s.end()
	})
}

// TestOneLogDoesNotHoldUpTheOther: a file that cannot be written costs its own lines,
// and none is written twice.
func TestOneLogDoesNotHoldUpTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
		if err := os.Mkdir(bad, 0o700); err != nil { // no file
			t.Fatal(err)
		}
		e, err := Resume(&config.Site{}, quiet(), Memory{})
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		done := e.write(stop)
		var want strings.Builder
		for n := range 3 * scribe.Batch {
			e.monLogs.put(bad, "x\n")
			if n%100 == 0 {
				line := fmt.Sprintln(n)
				e.monLogs.put(good, line)
				want.WriteString(line)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, err := os.ReadFile(good); err != nil || string(got) != want.String() {
			t.Errorf("%d lines are written of %d, %v", strings.Count(string(got), "\n"), strings.Count(want.String(), "\n"), err)
		}
		if err := os.Remove(bad); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, err := os.ReadFile(bad); err != nil || len(got) != 2*3*scribe.Batch {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		close(stop)
		<-done
	})
}
