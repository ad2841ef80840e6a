package mon

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/imported anew")

// TestImported compares TOML and report of each fixture with those kept, which
// -update writes: read the difference before committing it.
func TestImported(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/mon/*.cf")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d fixtures: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".cf")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			imported, err := Import(t.Context(), filepath.Base(file), text)
			if err != nil {
				t.Fatal(err)
			}
			kept(t, filepath.Join("testdata", "imported", name+".toml"), string(imported.TOML))
			kept(t, filepath.Join("testdata", "imported", name+".txt"), imported.Report())
		})
	}
}

func kept(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-kept +now):\n%s", file, diff)
	}
}

// TestSaid: what mon makes otherwise of a line than monitord is in the account.
func TestSaid(t *testing.T) {
	text := "dep_memory = 5m\n\nhostgroup web w1\n\nwatch web\n service fast\n  interval 1s\n  dep_memory 1m\n  monitor m.monitor\n" +
		"  period\n   upalertafter 5m\n service slow\n  interval 3s\n  monitor m.monitor\n"
	imported := mustImport(t, "mon.cf", []byte(text))
	said := map[string]string{
		"dep_memory = 5m": ignored, "dep_memory 1m": ignored, "upalertafter 5m": ignored,
		"interval 1s": "mon comes to it every 2 to 3 seconds only; here it runs each 1s",
	}
	for _, l := range imported.Lines {
		want := said[l.Text]
		if l.Why != want || want != "" && l.Fate != Changed {
			t.Errorf("%+v, want %q", l, want)
		}
	}
}

// TestTemplate: what is still to be filled in is not silently taken for names.
func TestTemplate(t *testing.T) {
	for text, want := range map[string]int{
		"hostgroup web {{ hosts }}\n": 1, "hostgroup web <%= @hosts %>\n": 1, "# {{ ansible_managed }}\nhostgroup web w1\n": 0,
	} {
		imported := mustImport(t, "mon.cf", []byte(text+"\nwatch web\n service s\n"))
		if len(imported.Warnings) != want || want > 0 && !strings.Contains(imported.Warnings[0].String(), "line 1: this looks like a template") {
			t.Errorf("%q: warnings %v", text, imported.Warnings)
		}
	}
}

// TestPeriodNames: only what would be taken for the same period gets mon's name.
func TestPeriodNames(t *testing.T) {
	const service = "hostgroup web w1\n\nwatch web\n service s\n  interval 1m\n  monitor m.monitor\n"
	for text, want := range map[string]int{
		"  period wd\n":                            0,
		"  period wd hr\n  period wd {Mon}\n":      0,
		"  period wd\n  period hr\n":               2,
		"  period\n  period wd\n":                  1,
		"  period P: wd\n  period wd\n":            1,
		"  period P:\n  period wd {Mon}\n":         1,
		"  period wd {Sun-Sat}\n  period hr {1}\n": 0,
	} {
		imported := mustImport(t, "mon.cf", []byte(service+text))
		mustLoad(t, imported)
		if got := strings.Count(string(imported.TOML), "\n  name = "); got != want {
			t.Errorf("%q: %d names, want %d\n%s", text, got, want, imported.TOML)
		}
	}
}
