package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/heartbeat"
)

func command(args ...string) (out, errs string, exit int) {
	var o, e bytes.Buffer
	exit = Run(args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), exit
}

func TestKeygen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.key")
	if _, errs, exit := command("keygen", file); exit != 0 {
		t.Fatalf("exit %d, %s", exit, errs)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	keys, err := heartbeat.LoadKeys(file)
	if err != nil || len(keys) != 1 {
		t.Errorf("the key file: %v", err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, exit := command("keygen", file); exit != 1 || !strings.Contains(errs, "is there already") {
		t.Errorf("a second time: exit %d, %s", exit, errs)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key was overwritten (%v)", err)
	}
	if _, _, exit := command("keygen", filepath.Join(file, "x")); exit != 1 {
		t.Errorf("a file for a folder: exit %d", exit)
	}
	folder := filepath.Join(t.TempDir(), "etc")
	if _, errs, exit := command("keygen", filepath.Join(folder, "x")); exit != 1 || errs != "monitord: there is no folder "+folder+": make it with \"mkdir -p "+folder+"\"\n" {
		t.Errorf("no folder: exit %d, %s", exit, errs)
	}
	if _, _, exit := command("keygen", "a", "b"); exit != 2 {
		t.Errorf("two files: exit %d", exit)
	}
}

func TestKeygenPrints(t *testing.T) {
	first, _, exit := command("keygen")
	second, _, _ := command("keygen")
	if exit != 0 || len(strings.TrimSpace(first)) != 44 || first == second {
		t.Errorf("exit %d, %q then %q", exit, first, second)
	}
}
