package exec

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

// debianRoot is an OCF root with one agent of Debian's package. The agent is a copy:
// the package's own may belong to anybody here, and is then not run by root.
func debianRoot(t *testing.T, agent string) string {
	t.Helper()
	from, root := filepath.Join(debian.Tree(t, "resource-agents"), "usr/lib/ocf"), t.TempDir()
	text, err := os.ReadFile(filepath.Join(from, "resource.d/heartbeat", agent))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "resource.d/heartbeat", agent), string(text), 0o755)
	if err := os.Symlink(filepath.Join(from, "lib"), filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	return root
}

// Debian's agents run unmodified, and keep the whole contract.
func TestConformanceDebianAgent(t *testing.T) {
	root := debianRoot(t, "Dummy")
	agent := func(file string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			dir := t.TempDir()
			t.Setenv("HA_RSCTMP", dir) // else it makes a folder in /run
			return func() resources.Resource {
				return built(t, dir, func(c *Config) {
					c.Program, c.OCFRoot = "ocf:heartbeat:Dummy", root
					c.Params = map[string]string{"state": filepath.Join(dir, file)}
				})
			}
		}
	}
	resourcetest.Run(t, resourcetest.Subject{New: agent("dummy.state"), Broken: agent("missing/dummy.state"), NeverWaits: "Dummy has nothing to wait for"})
}
