//go:build linux

package plan

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteAndRead(t *testing.T) {
	folder := t.TempDir()
	want := Plan{
		Packages: []Package{{Path: "a/b", Folder: "/src/b", Binary: "/tmp/b.test"}},
		Args:     []string{"-test.v"}, Env: []string{"A=1"},
		Modules: "/m", Links: map[string]string{"/sbin/ip": "/tree/bin/ip"},
	}
	if err := want.Write(folder); err != nil {
		t.Fatal(err)
	}
	got, err := Read(folder)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(folder, File), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(folder); err == nil {
		t.Error("half a plan is read")
	}
}

// Tests count when they ended, whichever way their output is cut into writes.
func TestCounter(t *testing.T) {
	text := "=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- PASS: TestA/sub (0.00s)\n--- SKIP: TestB (0.00s)\n--- FAIL: TestC (0.00s)\nPASS\n"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		c := &counter{to: &out}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if c.ran != 2 || out.String() != text {
			t.Errorf("in pieces of %d: %d tests, output %q", size, c.ran, out.String())
		}
	}
}

// Each package is run in its own folder, with arguments and environment, and the
// exit code and the number of its tests decide.
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	folder := t.TempDir()
	pkg := func(name, script string) Package {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return Package{Path: name, Folder: folder, Binary: path}
	}
	p := Plan{
		Args: []string{"-test.v"}, Env: []string{"GIVEN=yes"},
		Packages: []Package{
			pkg("good", `echo "--- PASS: T in $PWD with $1 given $GIVEN"`),
			pkg("bad", `echo "--- FAIL: T"; exit 1`),
			pkg("none", `echo PASS`),
			pkg("skips", `echo "--- SKIP: T"`),
			pkg("leaves", `echo "--- PASS: T"; sleep 1000 & exit 0`),
		},
	}
	var out bytes.Buffer
	err := p.Run(t.Context(), []string{"/usr/bin/env"}, &out)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"--- PASS: T in " + folder + " with -test.v given yes", "ok  \tgood", "FAIL\tbad", "FAIL\tnone", "FAIL\tskips",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, want := range []string{"bad: exit status 1", "none: no test ran", "skips: no test ran", "leaves: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
