package mon

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/debian"
)

// corpusVariable names another folder with an index.tsv than the project's own.
const corpusVariable = "MONITORD_CORPUS"

// An indexed file is a row of index.tsv.
type indexed struct{ file, kind string }

// TestCorpus imports every file of mon in a folder of real ones. What is a whole
// file becomes TOML that the loader takes, and every line of it is accounted for,
// unless testdata/not-valid.tsv says why it is none; a template or a piece may be
// refused with one error that names a line.
func TestCorpus(t *testing.T) {
	root := os.Getenv(corpusVariable)
	if root == "" {
		root = filepath.Join("testdata", "corpus")
	}
	notValid := notValid(t)
	whole := 0
	for _, row := range index(t, root) {
		t.Run(strings.ReplaceAll(row.file, "/", ":"), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, row.file))
			if err != nil {
				t.Fatal(err)
			}
			reason, listed := notValid[row.file]
			err = imports(t, row.file, text)
			switch {
			case err != nil && listed:
				t.Logf("not valid, because it is %s: %v", reason, err)
				namesLine(t, err, text)
			case err != nil && row.kind != "file":
				namesLine(t, err, text)
			case err != nil:
				t.Error(err)
			case listed:
				t.Errorf("listed as not valid (%s), and is accepted: take it off the list", reason)
			case row.kind == "file":
				whole++
			}
		})
	}
	if whole == 0 {
		t.Errorf("no whole mon.cf in %s", root)
	}
}

// imports returns why a file is no valid mon.cf.
func imports(t *testing.T, name string, text []byte) error {
	t.Helper()
	imported, err := Import(t.Context(), name, text)
	if err != nil {
		return err
	}
	accounted(t, imported, string(text))
	file := filepath.Join(t.TempDir(), "imported.toml")
	if err := os.WriteFile(file, imported.TOML, 0o600); err != nil {
		t.Fatal(err)
	}
	direct, err := imported.Load(checking())
	if err != nil {
		return err
	}
	written, err := config.Load(file, checking())
	if err != nil {
		return err
	}
	sameSites(t, direct, written)
	return nil
}

// sameSites: running a mon.cf is running the TOML that is made of it.
func sameSites(t *testing.T, a, b *config.Site) {
	t.Helper()
	marks := func(s *config.Site) []string {
		var all []string
		for i := range s.Watches {
			all = append(all, s.Watches[i].Key.String()+" "+s.Watches[i].Fingerprint)
		}
		for i := range s.Virtuals {
			all = append(all, fmt.Sprintf("%+v", s.Virtuals[i]))
		}
		return append(all, fmt.Sprintf("%+v", s.Global))
	}
	if diff := cmp.Diff(marks(a), marks(b)); diff != "" {
		t.Errorf("the file and what is made of it differ (-mon.cf +TOML):\n%s", diff)
	}
}

// checking is the machine of somebody who looks at a configuration.
func checking() config.Host {
	return config.Host{Hostname: "here", AnyNode: true, Env: func(string) (string, bool) { return "", false }}
}

// namesLine checks an error for a template: one line, of the file.
func namesLine(t *testing.T, err error, text []byte) {
	t.Helper()
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 || len(problems) > 3 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	lines := strings.Count(string(text), "\n") + 1
	for _, p := range problems {
		if p.Line < 1 || p.Line > lines || p.Message == "" || strings.Contains(p.Message, "\n") {
			t.Errorf("%s: the file has %d lines", p, lines)
		}
	}
}

func index(t *testing.T, root string) []indexed {
	t.Helper()
	var all []indexed
	for _, row := range table(t, filepath.Join(root, "index.tsv"), "file", "kind") {
		if folder, _, _ := strings.Cut(row[0], "/"); folder == "mon" || folder == "mon-generators" {
			all = append(all, indexed{row[0], row[1]})
		}
	}
	return all
}

func notValid(t *testing.T) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for _, row := range table(t, filepath.Join("testdata", "not-valid.tsv"), "file", "reason") {
		if row[1] == "" {
			t.Errorf("%s is listed without a reason", row[0])
		}
		reasons[row[0]] = row[1]
	}
	return reasons
}

// table reads two columns of a file, by their names in its first line.
func table(t *testing.T, file string, columns ...string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows: %v", file, len(rows), err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	var out [][]string
	for _, row := range rows[1:] {
		var picked []string
		for _, c := range columns {
			i, ok := at[c]
			if !ok || i >= len(row) {
				t.Fatalf("%s: no column %q in %q", file, c, row)
			}
			picked = append(picked, row[i])
		}
		out = append(out, picked)
	}
	return out
}

// folders are the settings that say where programs are.
var folders = regexp.MustCompile(`(?m)^(alertdir|mondir)\s*=.*$`)

// TestDebiansFiles imports the mon.cf that Debian installs, and the examples that come
// with it: nothing is lost, and both ways are the same.
func TestDebiansFiles(t *testing.T) {
	debian.Setenv(t, debian.Tree(t, "m4"))
	root := debian.Tree(t, "mon")
	examples := filepath.Join(root, "usr", "share", "doc", "mon", "examples")
	for file, watches := range map[string]int{
		filepath.Join(root, "etc", "mon", "mon.cf"): 4,
		filepath.Join(examples, "very-simple.cf"):   2,
		filepath.Join(examples, "example.cf.gz"):    23,
		filepath.Join(examples, "example.m4.gz"):    23,
	} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text := unpacked(t, file)
			if err := imports(t, strings.TrimSuffix(file, ".gz"), text); err != nil {
				t.Fatal(err)
			}
			imported := mustImport(t, strings.TrimSuffix(file, ".gz"), text)
			if n := len(mustLoad(t, imported).Watches); n != watches {
				t.Errorf("%d watches, want %d", n, watches)
			}
			if !strings.HasSuffix(file, "m4.gz") && !sameMachines(t, folders.ReplaceAllString(string(text), "$1 = @DIR@")) {
				t.Error("mon does not take it")
			}
		})
	}
}

func unpacked(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	var in io.Reader = f
	if filepath.Ext(file) == ".gz" {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
