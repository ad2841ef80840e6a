// Package kernellab is for tests that need the kernel's IPVS. Such a test is
// named TestKernel…, calls [Require] first, and is run by
//
//	go run ./internal/kernellab/run
//
// natively where the kernel has ip_vs, otherwise in a small virtual machine that
// is made of Debian's packages. Anywhere else the test is skipped.
package kernellab

import (
	"os"
	"os/exec"
	"testing"

	"github.com/monitord/monitord/internal/debian"
)

// The environment variables of the tests that the lab runs.
const (
	// RequireVariable set to 1 makes it a failure that IPVS is missing.
	RequireVariable = "MONITORD_REQUIRE_IPVS"
	// BinaryVariable is the path of a static monitord, built from this checkout.
	BinaryVariable = "MONITORD_BINARY"
	// ToolsVariable is 1 if the programs of [ToolPackages] are in PATH already.
	ToolsVariable = "MONITORD_LAB_TOOLS"
)

// SystemdPath is where a machine has systemd, if it has it. Tests on a machine without it
// take that of Debian's package "systemd", which is in the cache in the lab's machine too.
const SystemdPath = "/lib/systemd/systemd"

// ToolPackages are the Debian packages with the programs that [Tools] promises:
// ip, tc, ss, ipvsadm, nft, modprobe.
func ToolPackages() []string { return []string{"kmod", "iproute2", "ipvsadm", "nftables"} }

// Require skips the test, with the reason, if the network namespace that the
// test runs in cannot have IPVS services; with MONITORD_REQUIRE_IPVS=1 that is a
// failure.
func Require(t testing.TB) {
	t.Helper()
	err := Probe()
	switch {
	case err == nil:
	case os.Getenv(RequireVariable) == "1":
		t.Fatal(err)
	default:
		t.Skipf("%v; \"make e2e\" runs this in a machine that has it", err)
	}
	if os.Getenv(ToolsVariable) == "1" {
		loadLocality(t)
	}
}

// loadLocality has the schedulers lblc and lblcr in the lab's kernel before a
// service asks for them. Asked for by a service, the kernel loads them while it
// holds the lock of IPVS (ip_vs_genl_set_cmd), and they wait for the lock of network
// namespaces (register_pernet_subsys), which the end of an earlier test's namespace
// may hold while it waits for that of IPVS: a deadlock that a restart alone ends.
func loadLocality(t testing.TB) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "modprobe", "-a", "ip_vs_lblc", "ip_vs_lblcr").CombinedOutput()
	if err != nil {
		t.Fatalf("modprobe: %v\n%s", err, out)
	}
}

// Tools lets the test, and the processes that it starts, find ip, tc, ss,
// ipvsadm, nft and modprobe in PATH. In the lab they are there; elsewhere they
// come from Debian's packages in the cache of the checkout.
func Tools(t testing.TB) {
	t.Helper()
	if os.Getenv(ToolsVariable) != "1" {
		debian.Setenv(t, debian.Tree(t, ToolPackages()...))
	}
}
