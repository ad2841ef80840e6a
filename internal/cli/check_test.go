package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/monitord/monitord/resources/vip"
)

const clustered = `[cluster]
key_file = "cluster.key"
node = [
  { name = "dr1.invalid", address = ["192.0.2.11"] },
  { name = "dr2.invalid", address = ["192.0.2.12"] },
]
[fence]
gateway = ["192.0.2.1"]
[[group]]
name = "web-vip"
resource = { type = "vip", address = "192.0.2.100" }
`

func TestCheckCluster(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.toml")
	if err := os.WriteFile(file, []byte(clustered), 0o600); err != nil {
		t.Fatal(err)
	}
	key := func(mode os.FileMode) {
		t.Helper()
		name := filepath.Join(folder, "cluster.key")
		_ = os.Remove(name) // there may be none yet
		if err := writeKey(name); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	check := func(node string, exit int, wants ...string) {
		t.Helper()
		args := []string{"check", "-c", file}
		if node != "" {
			args = append(args, "--node", node)
		}
		out, errs, got := command(args...)
		out = strings.Join(strings.Fields(out), " ") // the columns' widths are their own
		for _, want := range wants {
			if got != exit || !strings.Contains(out+errs, want) {
				t.Errorf("%q: exit %d, want %d and %q\n%s%s", args, got, exit, want, out, errs)
			}
		}
	}
	check("", 0, "this machine is none of the nodes; read as dr1.invalid does", "group web-vip: dr1.invalid, then dr2.invalid", "host dead 235ms")
	check("", 0, "gateway on ", "relay on ", "witness off ", "stonith off ", "lease on ")
	check("dr2.invalid", 1, "cluster.key: no such file or directory: make it with \"monitord keygen cluster.key\"")
	check("dr3.invalid", 1, `--node dr3.invalid: there is no such node: did you mean "dr1.invalid"?`)
	key(0o640)
	check("", 1, "mode 0640 lets others at it: chmod 600")
	key(0o600)
	check("dr2.invalid", 0, "this machine is node dr2.invalid")
}

func TestCheckOneDirector(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.toml")
	_, group, _ := strings.Cut(clustered, "[fence]")
	if err := os.WriteFile(file, []byte("[fence]"+group), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, exit := command("check", "-c", file, "--node", "here")
	if exit != 0 || !strings.Contains(out, "group web-vip: here\n") || strings.Contains(out, "longest time") || strings.Contains(out, "relay") {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}
