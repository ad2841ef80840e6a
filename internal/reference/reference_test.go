package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
)

// plugin writes a package with a comment, and returns its folder.
func plugin(t *testing.T, comment string) string {
	t.Helper()
	folder := t.TempDir()
	text := ""
	for line := range strings.Lines(comment) {
		text += strings.TrimRight("// "+line, " ")
	}
	for name, content := range map[string]string{
		"a.go": "package sample\n", "sample.go": text + "package sample\n", "sample_test.go": "// Package other is none.\npackage sample\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAbout(t *testing.T) {
	folder := plugin(t, `Package sample is the monitor "sample": it looks at *all* of <them>, as
[alerts.Follower] does in a [[watch]].

	monitor = { type = "sample" }

# Why

Because:
  - one
  - two

Called as

	PROGRAM -x HOST

Defaults: port 80.
`)
	got, err := about(folder)
	if err != nil {
		t.Fatal(err)
	}
	want := "It looks at \\*all\\* of \\<them>, as\n`alerts.Follower` does in a [[watch]].\n\n" +
		"```toml\nmonitor = { type = \"sample\" }\n```\n\n" +
		"#### Why\n\nBecause:\n\n - one\n - two\n\nCalled as\n\n" +
		"```\nPROGRAM -x HOST\n```\n\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A kind that people could not copy from is a mistake of its author.
func TestAboutWithoutExample(t *testing.T) {
	for name, comment := range map[string]string{
		"nothing to copy": "Package sample is the monitor \"sample\": it looks.\n",
		"no comment":      "",
	} {
		if got, err := about(plugin(t, comment)); err == nil {
			t.Errorf("%s: no error, but %q", name, got)
		}
	}
}

func TestTable(t *testing.T) {
	host := []config.Key{{Name: "host", Type: "string", Default: "required", Doc: "Its name."}}
	got := table([]config.Key{
		{Name: "cron", Type: "string", Default: "none", Doc: "When, like \"*/5 | x\".", Mon: "at"},
		{Name: "password", Type: "secret", Default: "none", Doc: "The `word`."},
		{Name: "sorry", Type: "table", Default: "none", Doc: "One.", Of: host},
		{Name: "real", Type: "list of tables", Default: "none", Doc: "All.", Of: host},
	})
	want := `| key | type | default | meaning | in mon.cf |
|---|---|---|---|---|
| ` + "`cron`" + ` | string | none | When, like "\*/5 \| x". | at |
| ` + "`password`, `password_file`" + ` | secret | none | The ` + "\\`word\\`" + `. |  |
| ` + "`sorry`" + ` | table | none | One. |  |
| ` + "`real`" + ` | list of tables | none | All. |  |

The keys of ` + "`sorry` and `real`" + `:

| key | type | default | meaning |
|---|---|---|---|
| ` + "`host`" + ` | string | required | Its name. |
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := table(nil); got != "It has no keys.\n" {
		t.Errorf("a table without keys is %q", got)
	}
}

// A table that the page's text forgets, or that is no more, is found.
func TestPageIsWhole(t *testing.T) {
	tables := config.Reference()
	if _, err := Page(append(tables, config.Table{Name: "[new]"}), "../.."); err == nil || !strings.Contains(err.Error(), `keys "[new]"`) {
		t.Errorf("a table that page.md lacks: %v", err)
	}
	if _, err := Page(tables[1:], "../.."); err == nil || !strings.Contains(err.Error(), `no table "globals"`) {
		t.Errorf("a table that the code lacks: %v", err)
	}
}

// Kinds of one package are told of once.
func TestKindsOfOnePackage(t *testing.T) {
	folder := plugin(t, "Package sample is the monitor \"imap\": it greets.\n\n\tmonitor = { type = \"imap\" }\n")
	w := writer{root: filepath.Dir(folder), used: map[string]bool{}, tables: []config.Table{
		{Name: "imap", Contract: "monitor", Package: module + filepath.Base(folder)},
		{Name: "pop3", Contract: "monitor", Package: module + filepath.Base(folder)},
		{Name: "mail", Contract: "alert", Package: module + "nowhere"},
	}}
	got, err := w.kinds("monitor")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got, "It greets.") != 1 || !strings.Contains(got, "### monitor `pop3`\n\nSee monitor `imap`") || strings.Contains(got, "mail") {
		t.Errorf("got\n%s", got)
	}
}
