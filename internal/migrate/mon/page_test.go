package mon

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/moncf"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/mon.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns a fenced part of the page, counted from 0.
func block(t *testing.T, page, language string, n int) string {
	t.Helper()
	parts := strings.Split(page, "```"+language+"\n")
	if len(parts) < n+2 {
		t.Fatalf("no block %d of %s", n, language)
	}
	text, _, _ := strings.Cut(parts[n+1], "```")
	return text
}

// TestPageExample: the mon.cf of the page becomes the TOML of the page, and both
// forms of it load.
func TestPageExample(t *testing.T) {
	text := page(t)
	imported := mustImport(t, "mon.cf", []byte(block(t, text, "mon", 0)))
	_, toml, _ := strings.Cut(string(imported.TOML), "\n") // below the source's name
	if diff := cmp.Diff(block(t, text, "toml", 0), toml); diff != "" {
		t.Errorf("docs/mon.md (-page +imported):\n%s", diff)
	}
	mustLoad(t, imported)
	if _, err := config.LoadText("afresh.toml", []byte(block(t, text, "toml", 1)), checking()); err != nil {
		t.Error(err)
	}
}

var keywordRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*?) \\|")

// TestPageKeywords: the tables of the page have each word of mon.cf once, with the key
// that the importer writes.
func TestPageKeywords(t *testing.T) {
	text := page(t)
	_, text, _ = strings.Cut(text, "## Every word of mon.cf")
	for _, tc := range []struct {
		title, next string
		want        []string
		key         func(name string) string
	}{
		{"Settings:", "Of a service:", moncf.Globals(), globalKey},
		{"Of a service:", "Of a period:", moncf.ServiceKeywords(), quoted},
		{"Of a period:", "\x00", moncf.PeriodKeywords(), quoted},
	} {
		_, part, _ := strings.Cut(text, tc.title)
		part, _, _ = strings.Cut(part, tc.next)
		var got []string
		for _, m := range keywordRow.FindAllStringSubmatch(part, -1) {
			got = append(got, m[1])
			if want := tc.key(m[1]); m[2] != want {
				t.Errorf("%s %s is %s in docs/mon.md, and the importer writes %s", tc.title, m[1], m[2], want)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("docs/mon.md, %s (-mon's words +the page's):\n%s", tc.title, diff)
		}
	}
}

func quoted(name string) string { return "`" + name + "`" }

func globalKey(name string) string {
	rule, known := globalRules[name]
	switch {
	case inherited[name] != nil:
		return quoted(name)
	case known && rule.write != nil:
		return quoted(rule.key)
	}
	return "–"
}

// TestRules: every word of mon.cf has its rule.
func TestRules(t *testing.T) {
	for _, name := range moncf.Globals() {
		rule, ok := globalRules[name]
		if !ok && inherited[name] == nil || ok && (rule.write == nil) == (rule.instead == "") {
			t.Errorf("setting %s: %v", name, rule)
		}
	}
	for _, name := range moncf.ServiceKeywords() {
		if serviceWriters[name] == nil {
			t.Errorf("nothing is written for %s of a service", name)
		}
	}
	for _, name := range moncf.PeriodKeywords() {
		if periodWriters[name] == nil && alertLists[name] == nil {
			t.Errorf("nothing is written for %s of a period", name)
		}
	}
}
