package mon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"

	_ "github.com/monitord/monitord/alerts/exec"
	_ "github.com/monitord/monitord/alerts/ipvs"
	_ "github.com/monitord/monitord/alerts/mail"
	_ "github.com/monitord/monitord/monitors/exec"
	_ "github.com/monitord/monitord/monitors/http"
	_ "github.com/monitord/monitord/monitors/ping"
)

// TestGoldenImport: for each configuration of the golden traces the watches of the
// imported TOML are those that package moncf makes of it, by which the traces are
// replayed.
func TestGoldenImport(t *testing.T) {
	folder := os.Getenv("MONITORD_GOLDEN")
	fewest := 1
	if folder == "" {
		folder, fewest = filepath.Join("..", "..", "engine", "testdata", "golden"), 104
	}
	files, err := filepath.Glob(filepath.Join(folder, "[^_]*.json"))
	if err != nil || len(files) < fewest {
		t.Fatalf("%d traces in %s: %v", len(files), folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var trace struct {
				Config string `json:"config_text"`
			}
			if err := json.Unmarshal(raw, &trace); err != nil {
				t.Fatal(err)
			}
			sameMachines(t, trace.Config)
		})
	}
}

// sameMachines compares both ways of a mon.cf, and reports whether mon takes it.
func sameMachines(t *testing.T, text string) (taken bool) {
	t.Helper()
	folder := t.TempDir()
	text = strings.NewReplacer("@ALERTDIR@", folder, "@MONDIR@", folder, "@DIR@", folder, "@PORT@", "2583", "@TRAPPORT@", "2584").Replace(text)
	file, refused := moncf.Parse("mon.cf", strings.NewReader(text))
	imported, err := Import(t.Context(), "mon.cf", []byte(text))
	if refused != nil {
		wantRefusal(t, refused, err)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	accounted(t, imported, text)
	makePrograms(t, folder, file)
	site, err := imported.Load(config.Host{Hostname: "h", AnyNode: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, imported.TOML)
	}
	found := func(name string) bool {
		_, err := os.Stat(filepath.Join(folder, name))
		return err == nil
	}
	want, lines := file.Machines(found)
	var got []watch.Config
	for i := range site.Watches {
		got = append(got, site.Watches[i].Config)
	}
	if diff := cmp.Diff(named(want, lines), named(got, nil), cmp.AllowUnexported(watch.Expr{}), cmp.Comparer(func(a, b watch.Expr) bool {
		return a.String() == b.String() && cmp.Equal(a.Refs(), b.Refs())
	})); diff != "" {
		t.Errorf("watches (-mon.cf +imported):\n%s\n%s", diff, imported.TOML)
	}
	i := 0
	for _, w := range file.Watches {
		for j := range w.Services {
			sameRuns(t, &w.Services[j], &site.Watches[i])
			i++
		}
	}
	return true
}

// sameRuns compares when the monitor of a service runs, and what is called.
func sameRuns(t *testing.T, s *moncf.Service, w *config.Watch) {
	t.Helper()
	want := *w
	want.Description, want.Env, want.ExcludePeriod = s.Description, nil, period.Period{}
	if s.ExcludePeriod != nil {
		want.ExcludePeriod = *s.ExcludePeriod
	}
	for _, v := range s.Vars {
		if !strings.HasPrefix(v, "MON_") {
			want.Env = append(want.Env, v)
		}
	}
	slices.Sort(want.Env)
	if w.Monitor != nil {
		want.Interval, want.FailureInterval = max(s.Interval, shortest), s.FailureInterval
		want.RandSkew = min(s.RandSkew, want.Interval-time.Millisecond)
	}
	shown := func(w *config.Watch) string {
		return fmt.Sprintf("%s %q %q %q %s %s %s", w.Key, w.Description, w.Env, w.ExcludePeriod, w.Interval, w.FailureInterval, w.RandSkew)
	}
	if shown(&want) != shown(w) {
		t.Errorf("mon has %s, the import %s", shown(&want), shown(w))
	}
	called, isProgram := w.Monitor.(interface {
		Invocation(r monitors.Request) monprog.Invocation
	})
	if !isProgram {
		return
	}
	hosts := []string{"h1", "h2"}
	argv := append([]string{called.Invocation(monitors.Request{}).Args[0]}, s.Monitor.Args...)
	if !s.Monitor.NoHosts {
		argv = append(argv, hosts...)
	}
	got := called.Invocation(monitors.Request{Hosts: hosts}).Args
	if filepath.Base(got[0]) != filepath.Base(s.Monitor.Program) || !slices.Equal(argv, got) {
		t.Errorf("%s: mon calls %s %q, the import %q", w.Key, s.Monitor.Program, argv, got)
	}
}

func wantRefusal(t *testing.T, refused, err error) {
	t.Helper()
	bad := &moncf.Error{}
	if !errors.As(refused, &bad) {
		t.Fatal(refused)
	}
	var problems config.Problems
	if !errors.As(err, &problems) || problems[0].Line != bad.Line || !strings.Contains(problems[0].Message, strings.Fields(bad.Text)[0]) {
		t.Errorf("mon says %q, the importer %v", refused, err)
	}
}

// makePrograms makes those that the scenario has: all but the ones named nosuch.
func makePrograms(t *testing.T, folder string, file *moncf.File) {
	t.Helper()
	for _, w := range file.Watches {
		for i := range w.Services {
			s := &w.Services[i]
			var names []string
			if s.Monitor != nil {
				names = append(names, s.Monitor.Program)
			}
			for j := range s.Periods {
				p := &s.Periods[j]
				for _, list := range alertLists {
					for _, a := range list(p) {
						names = append(names, a.Program)
					}
				}
			}
			for _, name := range names {
				if !strings.HasPrefix(name, "nosuch") && !strings.ContainsAny(name, "/=") && name != "" {
					if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// named puts in place of the actions' names and IDs, which the two ways choose
// themselves, what is called: program and arguments.
func named(machines []watch.Config, lines map[string]moncf.AlertLine) []watch.Config {
	rename := func(list []watch.Action) {
		for i := range list {
			a := &list[i]
			if line, ok := lines[a.ID]; ok {
				program, args := line.Program, line.Args
				if line.NeverFound && strings.Contains(line.Lookup(), " ") {
					program, args = line.Lookup(), nil
				}
				a.Name = strings.TrimSpace(strings.Join(append([]string{"exec", program}, args...), " "))
			}
			a.ID = ""
		}
	}
	for i := range machines {
		m := &machines[i]
		if m.Redistribute != nil {
			one := []watch.Action{*m.Redistribute}
			rename(one)
			m.Redistribute = &one[0]
		}
		for j := range m.Periods {
			p := &m.Periods[j]
			for _, list := range [][]watch.Action{p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts} {
				rename(list)
			}
		}
		if m.Fall == 1 && m.Rise == 1 { // not used in scope group; 0 means the same
			m.Fall, m.Rise = 0, 0
		}
	}
	return machines
}

// accounted checks the account: each line that is not blank has one, in order, with
// lines of the TOML that are there, and a reason if it is not as it was.
func accounted(t *testing.T, imported *Imported, text string) {
	t.Helper()
	var want []int
	for i, line := range strings.Split(strings.TrimPrefix(text, "\xef\xbb\xbf"), "\n") {
		if strings.TrimFunc(line, isBlank) != "" {
			want = append(want, i+1)
		}
	}
	count := strings.Count(string(imported.TOML), "\n")
	var got []int
	for _, l := range imported.Lines {
		got = append(got, l.Line)
		if err := sound(l, count); err != nil {
			t.Errorf("%v: %+v", err, l)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines accounted for (-want +got):\n%s", diff)
	}
}

func sound(l Line, toml int) error {
	for _, n := range l.TOML {
		if n < 1 || n > toml {
			return fmt.Errorf("line %d of %d", n, toml)
		}
	}
	switch {
	case l.Fate == Carried && len(l.TOML) == 0:
		return errors.New("carried to nowhere")
	case l.Fate != Carried && l.Why == "":
		return errors.New("no reason")
	case l.Fate == NotCarried && len(l.TOML) > 0:
		return errors.New("not carried and carried")
	}
	return nil
}
