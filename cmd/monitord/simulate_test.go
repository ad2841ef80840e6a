package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rehearsalPage = "../../docs/rehearsal.md"

// block returns the n-th block of a page between ```kind and ```.
func block(t *testing.T, page, kind string, n int) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```"+kind+"\n")
	if len(parts) <= n {
		t.Fatalf("%s has %d blocks of %s, want %d", page, len(parts)-1, kind, n)
	}
	inside, _, _ := strings.Cut(parts[n], "```")
	return inside
}

// printed compares an output with the one on the page, which -update writes.
func printed(t *testing.T, n int, got string) {
	t.Helper()
	var trimmed strings.Builder
	for line := range strings.Lines(got) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	want := block(t, rehearsalPage, "output", n)
	if *update {
		text, err := os.ReadFile(rehearsalPage)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(text), "```output\n")
		parts[n] = trimmed.String() + strings.TrimPrefix(parts[n], want)
		if err := os.WriteFile(rehearsalPage, []byte(strings.Join(parts, "```output\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, trimmed.String()); diff != "" {
		t.Errorf("the page shows something else (-page +program; -update writes it):\n%s", diff)
	}
}

// written puts a text into a file of its own.
func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestEndToEndSimulate plays the night of the documentation to the configuration of
// the README.
func TestEndToEndSimulate(t *testing.T) {
	site := newPlace(t, block(t, "../../README.md", "toml", 1)).config
	night := written(t, "night.txt", block(t, rehearsalPage, "results", 1))
	out, errs, exit := program(t, "simulate", "-c", site, "--results", night)
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, errs)
	}
	printed(t, 1, out)

	out, errs, exit = program(t, "simulate", "-c", site, "--results", night, "--json")
	var report struct {
		Events []struct {
			Sent    string `json:"sent"`
			NotSent string `json:"not_sent"`
			Reason  string `json:"reason"`
			Pool    string `json:"pool"`
			Line    int    `json:"line"`
		} `json:"events"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || exit != 0 {
		t.Fatalf("exit %d, %v: %s", exit, err, errs)
	}
	sent, kept := 0, 0
	for _, e := range report.Events {
		if e.Reason == "" && e.Line == 0 {
			t.Errorf("no reason: %+v", e)
		}
		if e.Sent != "" {
			sent++
		}
		if e.NotSent != "" {
			kept++
		}
	}
	if sent != 2 || kept < 40 {
		t.Errorf("%d alerts sent and %d not, as JSON", sent, kept)
	}
}

// TestEndToEndSimulateDiff changes thresholds, as the page says.
func TestEndToEndSimulateDiff(t *testing.T) {
	text := block(t, "../../README.md", "toml", 1)
	night := written(t, "night.txt", block(t, rehearsalPage, "results", 1))
	changed := text
	for _, change := range [][2]string{
		{"fall     = 3 ", "fall     = 5 "}, {"alertafter = 6", "alertafter = 30"}, {"  when       =", "# "},
	} {
		if !strings.Contains(changed, change[0]) {
			t.Fatalf("the README's example has no %q", change[0])
		}
		changed = strings.Replace(changed, change[0], change[1], 1)
	}
	before, after := newPlace(t, text).config, newPlace(t, changed).config
	out, errs, exit := program(t, "simulate", "-c", before, "--diff", after, "--results", night)
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, errs)
	}
	printed(t, 2, strings.NewReplacer(before, "monitord.toml", after, "changed.toml").Replace(out))

	out, _, exit = program(t, "simulate", "-c", before, "--diff", before, "--results", night)
	if exit != 0 || !strings.HasSuffix(out, "; 0 differences\n") {
		t.Errorf("a configuration differs from itself: exit %d\n%s", exit, out)
	}
	out, _, exit = program(t, "simulate", "-c", before, "--diff", after, "--results", night, "--json")
	var compared struct {
		Before, After struct{ Events []any }
		Differences   []struct{ Before, After *struct{ At string } }
	}
	if err := json.Unmarshal([]byte(out), &compared); err != nil || exit != 0 || len(compared.Differences) == 0 || len(compared.After.Events) == 0 {
		t.Errorf("as JSON: exit %d, %v\n%.400s", exit, err, out)
	}
	bad := written(t, "bad.toml", "[hostgroups]\n")
	if out, errs, exit = program(t, "simulate", "-c", before, "--diff", bad, "--results", night); exit != 1 || !strings.Contains(errs, "with "+bad+": ") || out != "" {
		t.Errorf("a bad file: exit %d, %s%s", exit, out, errs)
	}
}

func TestEndToEndSimulateMistakes(t *testing.T) {
	site := newPlace(t, block(t, "../../README.md", "toml", 1)).config
	bad := written(t, "bad.txt", "02:00 web:htp down\n")
	for _, tc := range []struct {
		args []string
		exit int
		errs string
	}{
		{[]string{"-c", site}, 2, "which results?"},
		{[]string{"-c", site, "--results", "missing.txt"}, 1, "missing.txt: no such file"},
		{[]string{"-c", site, "--results", bad}, 1, bad + `:1:7: "web:htp" is no watch, no host and no group of the configuration: did you mean "web:http"?`},
		{[]string{"-c", bad, "--results", bad}, 1, "bad.txt:1:"},
	} {
		out, errs, exit := program(t, append([]string{"simulate"}, tc.args...)...)
		if exit != tc.exit || !strings.Contains(errs, tc.errs) || out != "" {
			t.Errorf("monitord simulate %q: exit %d, want %d\n%s%s", tc.args, exit, tc.exit, out, errs)
		}
	}
}

// TestEndToEndSimulateElsewhere rehearses a mon.cf on a machine that does not have its
// programs: what that changes is said.
func TestEndToEndSimulateElsewhere(t *testing.T) {
	site := written(t, "mon.cf", "mondir = "+t.TempDir()+`

hostgroup web w1 w2

watch web
    service ping
        interval 10s
        monitor ping.monitor
        period wd {Sun-Sat}
            alert mail.alert ops
`)
	out, errs, exit := program(t, "simulate", "-c", site, "--results", written(t, "night.txt", "02:01 w2 down\n"))
	for _, want := range []string{
		"exec mail.alert ops: no such program (missing program)", "\nnote: web:ping: ", "the daemon would not know its hosts; here they are as the results say",
	} {
		if exit != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in:\n%s%s", exit, want, out, errs)
		}
	}
	_, errs, exit = program(t, "simulate", "-c", site, "--results", written(t, "night.txt", "02:01 web:ping exit 1 w2\n"))
	if want := ":1:16: the program of web:ping is not there, which could judge an exit status: write down, up or unknown"; exit != 1 || !strings.Contains(errs, want) {
		t.Errorf("exit %d, %s; want %s", exit, errs, want)
	}
}

// TestEndToEndSimulateEndless: what has no end is no file of results.
func TestEndToEndSimulateEndless(t *testing.T) {
	site := newPlace(t, block(t, "../../README.md", "toml", 1)).config
	_, errs, exit := program(t, "simulate", "-c", site, "--results", "/dev/zero")
	if want := "/dev/zero:1:1: the file is too long: of its bytes at most 8388608 are read"; exit != 1 || !strings.Contains(errs, want) {
		t.Errorf("exit %d, %.300s; want %s", exit, errs, want)
	}
}

// TestEndToEndSimulateMonCf rehearses a mon.cf as it is, and compares it with TOML.
func TestEndToEndSimulateMonCf(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"ping.monitor", "mail.alert"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	site := written(t, "mon.cf", "alertdir = "+folder+"\nmondir = "+folder+`

hostgroup web w1 w2

watch web
    service ping
        interval 10s
        monitor ping.monitor
        period wd {Sun-Sat}
            alertafter 2
            alertevery 1h
            alert mail.alert ops
            upalert mail.alert ops
`)
	night := written(t, "night.txt", "start 2026-11-22 02:00\n02:01 web:ping exit 1 w2\n02:03 web:ping exit 0\n")
	out, errs, exit := program(t, "simulate", "-c", site, "--results", night)
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, errs)
	}
	for _, want := range []string{
		"failure 1 of alertafter 2 (alertafter)", "SENT      alert of period \"wd {Sun-Sat}\" for w2 to exec mail.alert ops: failure 2 in a row",
		"alertevery is 1h0m0s", "SENT      upalert of period \"wd {Sun-Sat}\" for w2 to exec mail.alert ops: up again after 2m0s", "\n2 alerts would be sent",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
