package mon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
)

func TestRecognise(t *testing.T) {
	for _, tc := range []struct {
		what, name, text string
		want             bool
	}{
		{"a watch", "x", "watch web\n", true},
		{"a watch after globals", "x.toml", "# c\nmaxprocs = 20\nwatch web\n", true},
		{"macros", "x", "dnl hello\n", true},
		{"TOML", "mon.cf", "[hostgroups]\nweb = [\"a\"]\n", false},
		{"a list of tables", "mon.cf", "[[watch]]\ngroup = \"watch web\"\n", false},
		{"a header with a comment", "mon.cf", "maxprocs = 5\n[ log ] # how\n", false},
		{"TOML's top alone", "mon.cf", "statedir = \"/var/lib/monitord\"\ninclude = [\"conf.d/*.toml\"]\n", false},
		{"mon's top alone", "x", "statedir = /var/lib/mon\nmaxprocs = 20\n", true},
		{"TOML without its quotes", "x.toml", "statedir = /var/lib/monitord\n\n[hostgroups]\n", false},
		{"the words of mon inside of TOML", "x.toml", "[[watch]]\ndescription = \"\"\"\nwatch web\n\"\"\"\n", false},
		{"nothing", "mon.cf", "", true},
		{"nothing", "monitord.toml", "\n\n", false},
		{"nothing, for m4", "mon.m4", "# c\n", true},
		{"the comment of a list", "x", "hosts = [\n\"watch\"\n]\n", false},
		{"neither", "x.toml", "lorem ipsum\n", false},
		{"bytes", "x.toml", "\xff\xfe\x00w", false},
	} {
		if got := Recognise(tc.name, []byte(tc.text)); got != tc.want {
			t.Errorf("%s, named %s: recognised as mon.cf: %v", tc.what, tc.name, got)
		}
	}
}

// TestRecogniseExamples: what the project ships is TOML.
func TestRecogniseExamples(t *testing.T) {
	files, err := filepath.Glob("../../../etc/*.toml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	more, _ := filepath.Glob("../../config/testdata/*/*.toml") // the pattern is right
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if Recognise("mon.cf", text) && strings.Contains(string(text), "=") && strings.Contains(string(text), "\n[") {
			t.Errorf("%s is taken for a mon.cf", file)
		}
	}
}

const small = `hostgroup web w1

watch web
    service http
        interval 1m
        monitor http.monitor
        period wd {Sun-Sat}
            alert a.alert
`

// TestLoadRefused: mistakes name the line of the mon.cf, whoever finds them.
func TestLoadRefused(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown keyword", strings.Replace(small, "alert a.alert", "alertevry 1h", 1), `9:13: mon refuses this: unknown syntax [alertevry 1h]: did you mean "alertevery"?`},
		{"a template", strings.Replace(small, "alert a.alert", "{% if night %}", 1), "8:13: mon refuses this: unknown syntax [{% if night %}]: this is a template: have it filled in first"},
		{"unknown global", "maxproc = 5\n" + small, `1:1: mon refuses this: unknown variable 'maxproc': did you mean "maxprocs"?`},
		{"keyword of a period", strings.Replace(small, "        period wd {Sun-Sat}\n", "", 1), `: alert belongs below a "period"`},
		{"keyword of a service", small + "            interval 1m\n", `: interval belongs before the first "period" of the service`},
		{"a period", strings.Replace(small, "Sun-Sat", "Sun-", 1), "7:9: mon refuses this: malformed period"},
		{"no service", strings.Replace(small, "    service http\n", "", 1), `4:9: mon refuses this: need to specify service in watch record: below a watch stands first a service`},
		{"a misspelt service", strings.Replace(small, "service", "servce", 1), `4:5: mon refuses this: need to specify service in watch record: did you mean "service"?`},
		{"a watch twice", small + "\nwatch web\n    service x\n", "already defined"},
		{"an interval", strings.Replace(small, "1m", "60", 1), "5:9: mon refuses this: invalid time interval"},
		{"a range backwards", strings.Replace(small, "w1", "10.0.0.9-1", 1), `1:1: web[0]: "10.0.0.9-1" is no range of addresses`},
		{"nothing to watch", "hostgroup web w1\n", `1:1: nothing is watched in this file`},
		{"a service alone", "# c\nservice x\n  interval 1m\n", `2:1: nothing is watched in this file`},
		{"TOML", "# c\n[hostgroups]\nweb = [\"w1\"]\n", `2:1: this is no mon.cf: it looks like TOML, which needs no import`},
		{"NUL", small + "\x00", "9:1: there is a NUL byte"},
		{"UTF-16", "\xff\xfew\x00a\x00", "UTF-16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := tc.text
			if strings.HasPrefix(tc.want, "9:13") {
				text = "\n" + text
			}
			imported, err := Import(t.Context(), "mon.cf", []byte(text))
			if err == nil {
				_, err = imported.Load(checking())
			}
			problems, ok := errors.AsType[config.Problems](err)
			if !ok || len(problems) != 1 || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "mon.cf:") {
				t.Errorf("got %v, want one problem with %q", err, tc.want)
			}
		})
	}
}

// TestLoad: the door takes both kinds by their content, and warns of what is not
// there: a configuration is looked at on machines without its programs.
func TestLoad(t *testing.T) {
	folder := t.TempDir()
	for _, tc := range []struct{ name, text string }{
		{"mon.cf", small},
		{"site.toml", small},
		{"site.cf", "[hostgroups]\nweb = [\"w1\"]\n[[watch]]\ngroup = \"web\"\nservice = \"http\"\ninterval = \"1m\"\nmonitor = { type = \"ping\" }\n"},
	} {
		path := filepath.Join(folder, tc.name)
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		site, err := Load(t.Context(), path, checking())
		if err != nil {
			t.Fatal(err)
		}
		if len(site.Watches) != 1 || site.Compat != (tc.text == small) || !cmp.Equal(site.Files, []string{path}) {
			t.Errorf("%s: %d watches, compat %v, files %q", tc.name, len(site.Watches), site.Compat, site.Files)
		}
		if tc.text == small {
			wantMissing(t, site, path)
		}
	}
	if _, err := Load(t.Context(), filepath.Join(folder, "nowhere.cf"), checking()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(t.Context(), folder, checking()); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

func wantMissing(t *testing.T, site *config.Site, path string) {
	t.Helper()
	var got []string
	for _, w := range site.Warnings {
		before, _, _ := strings.Cut(w.Message, " in /")
		got = append(got, fmt.Sprintf("%s:%d: %s", w.File, w.Line, before))
	}
	want := []string{path + `:6: program: no program "http.monitor"`, path + `:8: program: no program "a.alert"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	w := site.Watches[0]
	if !w.Periods[0].Alerts[0].Missing {
		t.Error("the alert is not marked as missing")
	}
	if r, err := w.Monitor.Check(context.Background(), monitorsRequest(w.Hosts)); err == nil || len(r.Hosts) > 0 {
		t.Errorf("the monitor that is missing found %v, %v", r, err)
	}
}

// TestLineEnds: a file that went through Windows is the same.
func TestLineEnds(t *testing.T) {
	text, err := os.ReadFile("testdata/corpus/mon/office.cf")
	if err != nil {
		t.Fatal(err)
	}
	want := mustImport(t, "office.cf", text)
	dos := "\xef\xbb\xbf" + strings.ReplaceAll(string(text), "\n", "\r\n")
	got := mustImport(t, "office.cf", []byte(dos))
	if diff := cmp.Diff(string(want.TOML), string(got.TOML)); diff != "" {
		t.Errorf("with a byte order mark and CR LF (-without +with):\n%s", diff)
	}
	if diff := cmp.Diff(want.Lines, got.Lines); diff != "" {
		t.Error(diff)
	}
}

// TestUntestedGroup: what mon and the loader both say is said once.
func TestUntestedGroup(t *testing.T) {
	site := mustLoad(t, mustImport(t, "mon.cf", []byte("hostgroup idle w9\n\n"+small)))
	n := 0
	for _, w := range site.Warnings {
		if w.Line == 1 {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d warnings about the group that no watch tests: %v", n, site.Warnings)
	}
}

// TestAMissingProgramIsSaidOnce: at its first line, however often it is used; so it is
// with a machine that has none of the programs.
func TestAMissingProgramIsSaidOnce(t *testing.T) {
	const more = `
hostgroup db w2

watch db
    service smtp
        interval 30s
        monitor http.monitor -p 25
        period wd {Mon-Sun}
            alert a.alert x
            upalert a.alert x
            alert b.alert x
`
	site := mustLoad(t, mustImport(t, "mon.cf", []byte(small+more)))
	var got []string
	for _, w := range site.Warnings {
		program, rest, _ := strings.Cut(w.Message, " in /")
		_, others, _ := strings.Cut(rest, "as in mon")
		got = append(got, fmt.Sprintf("%s:%d: %s%s", w.File, w.Line, program, others))
	}
	want := []string{
		`mon.cf:6: program: no program "http.monitor" (and in 1 other place)`,
		`mon.cf:8: program: no program "a.alert" (and in 2 other places)`,
		`mon.cf:19: program: no program "b.alert"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
