package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/reference"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const pageFile = "../../docs/configuration.md"

// TestReferencePage holds the page to the code.
func TestReferencePage(t *testing.T) {
	want, err := reference.Page(config.Reference(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(pageFile, []byte(want), 0o644); err != nil { //nolint:gosec // it is for everybody
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/configuration.md is out of date: run go test ./cmd/monitord -run Reference -update (-is +should be)\n%s", diff)
	}
}

// TestReferenceKeys wants of each key what a user asks first.
func TestReferenceKeys(t *testing.T) {
	n := 0
	for _, table := range config.Reference() {
		n += wantKeys(t, strings.TrimSpace(table.Contract+" "+table.Name), table.Keys)
	}
	if n < 200 {
		t.Errorf("only %d keys are known", n)
	}
}

func wantKeys(t *testing.T, table string, keys []config.Key) (n int) {
	t.Helper()
	for _, k := range keys {
		where := table + ": " + k.Name
		if len(k.Doc) < 10 || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: the doc tag is no sentence: %q", where, k.Doc)
		}
		if k.Type == "" {
			t.Errorf("%s: no type: name its forms in internal/config/equivalents.go", where)
		}
		if k.Default == "" {
			t.Errorf("%s: the doc tag names no default: end it with \"; default 5.\", \"; default none.\" or \"; no default.\"", where)
		}
		if wrong := k.Contradiction(); wrong != "" {
			t.Errorf("%s: %s", where, wrong)
		}
		n += 1 + wantKeys(t, where, k.Of)
	}
	return n
}

// TestReferenceEquivalents finds words of mon's for keys that are no more.
func TestReferenceEquivalents(t *testing.T) {
	tables := map[string][]config.Key{}
	for _, table := range config.Reference() {
		tables[strings.TrimSpace(table.Contract+" "+table.Name)] = table.Keys
	}
	for table, words := range config.Equivalents() {
		for key, word := range words {
			if !slices.ContainsFunc(tables[table], func(k config.Key) bool { return k.Name == key && k.Mon == word }) {
				t.Errorf("there is no key %q in %q", key, table)
			}
		}
	}
}

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

// TestReferenceExamples loads every example of the page.
func TestReferenceExamples(t *testing.T) {
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := tomlBlock.FindAllStringSubmatchIndex(string(page), -1)
	if len(blocks) < 30 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for _, at := range blocks {
		line := 1 + strings.Count(string(page[:at[2]]), "\n")
		t.Run(fmt.Sprintf("line %d", line), func(t *testing.T) {
			for _, example := range alternatives(string(page[at[2]:at[3]])) {
				if err := loads(t, example); err != nil {
					t.Errorf("docs/configuration.md, line %d: %v\n%s", line, err, whole(example))
				}
			}
		})
	}
}

// alternatives takes a block apart each of whose lines is an example.
func alternatives(block string) []string {
	lines := strings.SplitAfter(strings.TrimSuffix(block, "\n"), "\n")
	for _, line := range lines {
		if !oneLiner.MatchString(line) {
			return []string{block}
		}
	}
	return lines
}

var oneLiner = regexp.MustCompile(`^(monitor|alert|resource) += .*[\]}]\n?$`)

// loads reads an example with what it leaves out. The files that it names are made.
func loads(t *testing.T, example string) error {
	t.Helper()
	folder := t.TempDir()
	text := madeFiles(t, folder, whole(example))
	file := filepath.Join(folder, "monitord.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file, config.Host{
		Hostname: "elsewhere", AnyNode: true, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Env: func(string) (string, bool) { return "", false },
	})
	return err
}

var (
	namedFile    = regexp.MustCompile(`"(/(?:etc|usr|var/lib)/[^"]*)"`)
	namedProgram = regexp.MustCompile(`\bprogram *= *"([^"/]+)"`)
)

// issuer is the certificate of one, in PEM form.
func issuer(t *testing.T) string {
	t.Helper()
	pem, err := os.ReadFile(dialtest.NewAuthority(t).File)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem)
}

// madeFiles makes the files and programs that a configuration names, below folder, and
// lets it name them there.
func madeFiles(t *testing.T, folder, text string) string {
	t.Helper()
	made := func(path, content string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	text = namedFile.ReplaceAllStringFunc(text, func(quoted string) string {
		path := filepath.Join(folder, strings.Trim(quoted, `"`))
		switch {
		case strings.Contains(path, "cluster.key"):
			made(path, heartbeat.NewKey(), 0o600)
		case strings.HasSuffix(path, ".url"):
			made(path, "https://hooks.example.org/services/secret\n", 0o600)
		case strings.HasSuffix(path, "ca.pem"):
			made(path, issuer(t), 0o600)
		case strings.Contains(path, "bin/"):
			made(path, "#!/bin/sh\n", 0o700)
		case strings.HasSuffix(path, ".pem"):
			made(path, certificate(t), 0o600)
		default:
			made(path, "secret\n", 0o600)
		}
		return `"` + path + `"`
	})
	for _, m := range namedProgram.FindAllStringSubmatch(text, -1) {
		made(filepath.Join(folder, "programs", m[1]), "#!/bin/sh\n", 0o700)
	}
	programs := fmt.Sprintf("%q", filepath.Join(folder, "programs"))
	return "mondir = " + programs + "\nalertdir = " + programs + "\n" + fmt.Sprintf("logdir = %q\n", folder) + text
}

// certificate is one in PEM form.
func certificate(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(dialtest.NewAuthority(t).File)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	someWatch = "[[watch]]\ngroup = \"web\"\nservice = \"some\"\ninterval = \"1m\"\n"
	somePing  = "monitor = { type = \"ping\" }\n"
	// A machine that is none of the nodes need not have the programs of a group.
	otherNodes = "[cluster]\nnode = [{ name = \"dr1\", address = [\"192.0.2.2\"] }]\n"
	somePool   = "[[virtual]]\nname = \"web\"\naddress = \"192.0.2.10:80\"\nreal = [{ host = \"192.0.2.11\" }]\n"
)

// whole puts around an example what a configuration has besides.
func whole(example string) string {
	text := example
	begins := func(key string) bool { return strings.HasPrefix(strings.TrimSpace(example), key) }
	switch {
	case begins("monitor"):
		text = someWatch + example + "\n[[watch.period]]\nalertevery = \"1h\"\n"
	case begins("alert"), begins("upalert"):
		text = someWatch + somePing + "[[watch.period]]\nalertevery = \"1h\"\n" + example
	case begins("[[watch.period"):
		text = someWatch + somePing + example
	case begins("resource"), begins("[[group.resource]]"):
		text = otherNodes + "[[group]]\nname = \"web\"\n" + example
	}
	if !strings.Contains(text, "[[watch]]") {
		text += "\n" + someWatch + somePing
	}
	if !strings.Contains(text, "[hostgroups]") {
		text += "\n[hostgroups]\nweb = [\"192.0.2.11\", \"192.0.2.12\", \"192.0.2.13\"]\ngateway = [\"192.0.2.1\"]\n"
	}
	if !strings.Contains(text, "[[virtual]]") {
		text += "\n" + somePool
	}
	return text
}

// TestReferenceCommand asks the program itself.
func TestReferenceCommand(t *testing.T) {
	for _, tt := range []struct {
		args string
		exit int
		want []string
		lack string
	}{
		{"reference", 0, []string{"[[watch.period]]", "kinds of monitor:\n  ", "http", "ipvs", "vip"}, "alertafter"},
		{"reference monitor http", 0, []string{"monitor http\n", "body_absent (string, none)", "password, password_file (secret"}, "alert"},
		{"reference period", 0, []string{"[[watch.period]]\n", "alertafter (", "In mon.cf: numalerts"}, "monitor http"},
		{"reference password_file", 0, []string{"monitor http\n", "alert mail\n", "[fence.stonith]\n"}, "body_absent"},
		{"reference tunnel", 0, []string{"[[virtual]]\n", "checksum (", "resource realserver\n"}, "scheduler"},
		{"reference resource", 0, []string{"every resource\n", "stop_timeout (duration, default 20s)", "resource vip\n"}, "monitor http"},
		{"reference nowhere", 1, nil, "globals"},
		{"reference monitor vip", 1, nil, "address"},
		{"reference a b c", 2, nil, "globals"},
	} {
		out, errs, exit := program(t, strings.Fields(tt.args)...)
		if exit != tt.exit || exit == 0 && errs != "" {
			t.Errorf("monitord %s: exit %d, want %d: %s", tt.args, exit, tt.exit, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("monitord %s lacks %q:\n%s", tt.args, want, out)
			}
		}
		if strings.Contains(out, tt.lack) {
			t.Errorf("monitord %s tells of %q:\n%s", tt.args, tt.lack, out)
		}
	}
}
