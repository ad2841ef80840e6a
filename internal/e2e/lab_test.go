//go:build linux

package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// slowTimes are for a machine that is emulated, and so ten times slower and more.
const slowTimes = `[cluster]
heartbeat = "500ms"
initdead = "5s"
lease = "5s"
`

// story is the demo's, without its bounds: those are for machines that are not emulated.
// What is left to miss is that clients are served after each fault, by the director that
// should, and that no instant has two owners.
const story = `
expect owner dr1 120s
wait 5s
fail web2
wait 10s
expect http 20s
kill9 dr1
expect owner dr2 60s
wait 10s
expect http 30s
`

// TestKernelDemo plays the demo's configuration where directors can have IPVS.
func TestKernelDemo(t *testing.T) {
	kernellab.Require(t)
	text, err := os.ReadFile("../../etc/demo.toml")
	if err != nil {
		t.Fatal(err)
	}
	site := t.TempDir() + "/demo.toml"
	if err := os.WriteFile(site, []byte(strings.Replace(string(text), "[cluster]\n", slowTimes, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	lab := exec.CommandContext(t.Context(), hosts.Binary(t), "lab", "-c", site)
	lab.Stdin = strings.NewReader(story)
	out, err := lab.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(out), "forward by the kernel's IPVS") {
		t.Error("the directors do not forward by the kernel's IPVS")
	}
}
