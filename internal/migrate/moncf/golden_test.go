package moncf

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goldenDir is the folder of the traces of the real mon.
func goldenDir() string {
	if dir := os.Getenv("MONITORD_GOLDEN"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "engine", "testdata", "golden")
}

// A scenario is what of a trace concerns the reader.
type scenario struct {
	Config string `json:"config_text"`
	Trace  struct {
		Events []struct {
			Kind string `json:"kind"`
			Text string `json:"text"`
		} `json:"events"`
		MonitorCalls []call `json:"monitor_calls"`
		Alerts       []call `json:"alerts"`
	} `json:"trace"`
}

type call struct {
	Service string            `json:"service"`
	Script  string            `json:"script"`
	Argv    []string          `json:"argv"`
	Env     map[string]string `json:"env"`
}

// place fills in what the traces leave open.
var place = strings.NewReplacer("@DIR@", "/srv/mon", "@ALERTDIR@", "/srv/mon/alert.d", "@MONDIR@", "/srv/mon/mon.d", "@PORT@", "2583", "@TRAPPORT@", "2584")

func TestGoldenConfigurations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDir(), "[a-z]*.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d scenarios in %s: %v", len(files), goldenDir(), err)
	}
	monitors := 0
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var s scenario
			if err := json.Unmarshal([]byte(place.Replace(string(text))), &s); err != nil {
				t.Fatal(err)
			}
			monitors += len(s.Trace.MonitorCalls)
			compareScenario(t, s)
		})
	}
	if monitors < 300 {
		t.Errorf("only %d monitor calls were compared", monitors)
	}
}

// compareScenario compares mon's complaints, and the programs it called with
// their arguments and variables, with what was read.
func compareScenario(t *testing.T, s scenario) {
	f, err := Parse("mon.cf", strings.NewReader(s.Config))
	var complaints, want []string
	if err != nil {
		complaints = append(complaints, err.Error())
	} else {
		for _, w := range f.Warnings {
			if w.FromMon {
				complaints = append(complaints, w.Text)
			}
		}
	}
	for _, e := range s.Trace.Events {
		if e.Kind == "stderr" && (strings.HasPrefix(e.Text, "cf error:") || strings.HasPrefix(e.Text, "Warning: ")) {
			want = append(want, e.Text)
		}
	}
	if d := cmp.Diff(want, complaints); d != "" {
		t.Fatalf("complaints (-mon +read):\n%s", d)
	}
	if err != nil {
		return
	}
	for _, c := range s.Trace.MonitorCalls {
		compareMonitor(t, f, c)
	}
	for _, c := range s.Trace.Alerts {
		compareAlert(t, f, c)
	}
}

func goldenService(t *testing.T, f *File, path string) (*Watch, *Service) {
	group, name, _ := strings.Cut(path, "/")
	for i := range f.Watches {
		w := &f.Watches[i]
		for j := range w.Services {
			if w.Group == group && w.Services[j].Name == name {
				return w, &w.Services[j]
			}
		}
	}
	t.Fatalf("no service %s was read", path)
	return nil, nil
}

func compareMonitor(t *testing.T, f *File, c call) {
	w, s := goldenService(t, f, c.Service)
	if s.Monitor == nil {
		t.Fatalf("%s has no monitor", c.Service)
	}
	want := append([]string{"/srv/mon/mon.d/" + s.Monitor.Program}, s.Monitor.Args...)
	got := c.Argv[:min(len(want), len(c.Argv))]
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("monitor of %s (-mon +read):\n%s", c.Service, d)
	}
	// The rest are hosts, of which some may be left out.
	hosts, _ := f.Hosts(w.Group)
	rest := c.Argv[len(got):]
	if s.Monitor.NoHosts && len(rest) > 0 {
		t.Errorf("monitor of %s got hosts: %q", c.Service, rest)
	}
	for _, h := range rest {
		if !slices.Contains(hosts, h) {
			t.Errorf("monitor of %s got %q, which is none of %q", c.Service, h, hosts)
		}
	}
	compareVars(t, s, c)
}

// compareVars looks for the variables of the service, but for mon's own names,
// which mon sets later.
func compareVars(t *testing.T, s *Service, c call) {
	for _, v := range s.Vars {
		name, value, _ := strings.Cut(v, "=")
		if got := c.Env[name]; !strings.HasPrefix(name, "MON_") && got != value {
			t.Errorf("%s of %s: mon has %q, read was %q", name, s.Name, got, value)
		}
	}
}

// compareAlert looks for a line that gives the call's arguments.
func compareAlert(t *testing.T, f *File, c call) {
	found := false
	for _, w := range f.Watches {
		for _, s := range w.Services {
			if !slices.Contains(c.Argv, s.Name) || !slices.Contains(c.Argv, w.Group) {
				continue
			}
			lines := []AlertLine{}
			if s.Redistribute != nil {
				lines = append(lines, *s.Redistribute)
			}
			for _, q := range s.Periods {
				for _, list := range q.lists() {
					lines = append(lines, *list...)
				}
			}
			found = found || slices.ContainsFunc(lines, func(a AlertLine) bool { return gives(a, c) })
		}
	}
	if !found {
		t.Errorf("no line that was read gives %q", c.Argv)
	}
}

func gives(a AlertLine, c call) bool {
	const own = 1 + 4*2 // the program; -s, -g, -h and -t with their values
	if a.Program != c.Script || a.NeverFound || len(c.Argv) < own {
		return false
	}
	rest := c.Argv[own:]
	if len(rest) > len(a.Args) { // -u, -a, -T ...
		rest = rest[1:]
	}
	return slices.Equal(rest, a.Args)
}

func TestGoldenQuoteWords(t *testing.T) {
	dir := os.Getenv("MONITORD_GOLDEN")
	if dir == "" {
		dir = "testdata"
	}
	text, err := os.ReadFile(filepath.Join(dir, "_quotewords_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Vectors []struct {
			Text  string    `json:"text"`
			Words []*string `json:"words"`
		} `json:"vectors"`
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Vectors) < 24 {
		t.Fatalf("only %d vectors in %s", len(golden.Vectors), dir)
	}
	for _, v := range golden.Vectors {
		var want Split
		for _, w := range v.Words {
			if w == nil {
				want.Undefined = true
				want.Words = append(want.Words, "")
				continue
			}
			want.Words = append(want.Words, *w)
		}
		want.Unbalanced = len(v.Words) == 0
		if d := cmp.Diff(want, QuoteWords(v.Text)); d != "" {
			t.Errorf("QuoteWords(%q) (-perl +got):\n%s", v.Text, d)
		}
	}
}
