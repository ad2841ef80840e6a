package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program writes a configuration with a program as monitor and alert.
func program(t *testing.T, head string) (file, path string) {
	t.Helper()
	folder := t.TempDir()
	path, file = filepath.Join(folder, "x"), filepath.Join(t.TempDir(), "m.toml")
	text := fmt.Sprintf(`%s
[hostgroups]
g = ["192.0.2.1"]
[[watch]]
group = "g"
service = "s"
interval = "1m"
monitor = { type = "exec", program = %q }
  [[watch.period]]
  alert = [{ type = "exec", program = %q }]
`, head, path, path)
	if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return file, path
}

func TestUsersAreWarned(t *testing.T) {
	file, path := program(t, "")
	host := testHost()
	host.Distrust = func(program string) error { return fmt.Errorf("%s is everybody's", program) }
	site, err := Load(file, host)
	if err != nil {
		t.Fatal(err)
	}
	want := "program: " + path + " is everybody's; as root monitord would not run it"
	if len(site.Warnings) != 2 || site.Warnings[0].Message != want || site.Warnings[0].Line != 8 || site.Warnings[1].Line != 10 {
		t.Errorf("the warnings are %v, want twice %q", site.Warnings, want)
	}
}

// With compat = "mon" a missing program is left out; one that root must not run is a
// mistake all the same: mon ran as root as well.
func TestRootIsRefused(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("only root is kept from running others' programs")
	}
	for _, head := range []string{"", `compat = "mon"`} {
		file, path := program(t, head)
		if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
		_, err := Load(file, testHost())
		want := path + ` (mode -rwxrwxrwx): everybody may write it: whoever may write there would be root; mend it with "chmod go-w ` + path + `"`
		if err == nil || strings.Count(err.Error(), want) != 2 || !strings.Contains(err.Error(), file+":8:") || !strings.Contains(err.Error(), file+":10:") {
			t.Errorf("%q: %v\nwant twice %q", head, err, want)
		}
	}
}
