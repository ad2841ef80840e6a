//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/kernellab/plan"
)

// The plan of a run, done natively: the test sees a network with nothing but a
// loopback that is up, and leaves no mount behind.
func TestPlanInNamespaces(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	folder := t.TempDir()
	guest, script := filepath.Join(folder, "guest"), filepath.Join(folder, "x.test")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", guest, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\necho devices: $(ls /sys/class/net | tr '\\n' ' ') flags $(cat /sys/class/net/lo/flags)\necho '--- PASS: T'\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	p := plan.Plan{Packages: []plan.Package{{Path: "x", Folder: folder, Binary: script}}}
	if err := p.Write(folder); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), guest, "plan", folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Fallback devices of tunnels (sit0, tunl0) are in every namespace; 0x1 is IFF_UP.
	if !regexp.MustCompile(`devices: .*\blo .*flags 0x\w*9\n`).Match(out) || strings.Contains(string(out), "eth0") {
		t.Errorf("got %s", out)
	}
	after, err := os.ReadFile("/proc/self/mounts")
	if err != nil || string(after) != string(mounts) {
		t.Errorf("mounts before %s\nafter %s (%v)", mounts, after, err)
	}
}
