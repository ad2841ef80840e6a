package mon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/timeup"
)

// withM4 puts a program named m4 on an otherwise empty PATH.
func withM4(t *testing.T, script string) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	if script == "" {
		return
	}
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(folder, "m4"), []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}

// TestMacros expands a file with the real m4.
func TestMacros(t *testing.T) {
	root := debian.Tree(t, "m4")
	debian.Setenv(t, root)
	text, err := os.ReadFile("testdata/corpus/mon/macros.m4")
	if err != nil {
		t.Fatal(err)
	}
	imported := mustImport(t, "testdata/corpus/mon/macros.m4", text)
	accounted(t, imported, string(text))
	for _, want := range []string{`when = "wd {Mon-Fri} hr {7am-10pm}"`, `args = ["ops@example.org"]`, "  # to everybody\n  alert"} {
		if !strings.Contains(string(imported.TOML), want) {
			t.Errorf("no %s in\n%s", want, imported.TOML)
		}
	}
	// The account names the lines of the file, and not of what m4 makes.
	for _, l := range imported.Lines {
		if strings.HasPrefix(l.Text, "interval 1m") && (l.Line != 12 || l.Fate != Carried) {
			t.Errorf("%+v", l)
		}
		if strings.HasPrefix(l.Text, "define") && (l.Fate != Changed || !strings.Contains(l.Why, "m4")) {
			t.Errorf("%+v", l)
		}
	}
	bad := strings.Replace(string(text), "interval 1m", "intervall _OPS_", 1)
	_, err = Import(t.Context(), "mon.cf", []byte(bad))
	if err == nil || !strings.HasPrefix(err.Error(), "mon.cf:12:9: mon refuses this: unknown syntax [intervall ops@example.org]") {
		t.Errorf("a mistake below macros: %v", err)
	}
}

// TestMacrosIncluded: what is included is found beside the file, and a line that it
// gives belongs to the include.
func TestMacrosIncluded(t *testing.T) {
	root := debian.Tree(t, "m4")
	debian.Setenv(t, root)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "groups.m4"), []byte("hostgroup web w1\n\nmaxproc = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Import(t.Context(), filepath.Join(folder, "mon.cf"), []byte("# groups\n\ninclude(`groups.m4')\nwatch web\n"))
	if err == nil || !strings.Contains(err.Error(), "mon.cf:3:1: mon refuses this: unknown variable 'maxproc'") {
		t.Errorf("a mistake in what is included: %v", err)
	}
	_, err = Import(t.Context(), filepath.Join(folder, "mon.cf"), []byte("# groups\n\ninclude(`nowhere.m4')\n"))
	if err == nil || !strings.Contains(err.Error(), "mon.cf:3:1: m4: ") || !strings.Contains(err.Error(), "nowhere.m4") {
		t.Errorf("an include of nothing: %v", err)
	}
}

// TestMacrosCannot: one error that says what to do.
func TestMacrosCannot(t *testing.T) {
	const macros = "dnl periods\ndefine(_W_, `wd {Mon-Fri}')dnl\n"
	for _, tc := range []struct{ name, script, text, want string }{
		{"no m4", "", macros, "mon.cf:1:1: this is a file for m4, and there is no m4 on the PATH: install it"},
		{"fails", "echo m4:stdin:2: ERROR: end of file in string >&2; exit 1", macros, "mon.cf:2:1: m4: ERROR: end of file in string"},
		{"warns", "echo m4:stdin:2: Warning: excess arguments >&2", macros, "mon.cf:2:1: m4: Warning: excess arguments"},
		{"dies", "kill -9 $$", macros, "mon.cf:1:1: m4: killed by signal 9"},
		{"no end of output", "exec cat /dev/zero", macros, "mon.cf:1:1: m4"},
		{"runs programs", "exit 0", macros + "esyscmd(`reboot')\n", "mon.cf:3:1: syscmd and esyscmd of m4 run commands whenever the file is read"},
		{"NUL", `printf 'a\0b\n'`, macros, "mon.cf:1:1: there is a NUL byte in what m4 makes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := t.Context()
			if strings.Contains(tc.script, "cat ") { // It is stopped when it has begun.
				begun := filepath.Join(t.TempDir(), "begun")
				ctx = timeup.AtWord(t, begun)
				tc.script = "echo >" + begun + "; " + strings.Replace(tc.script, "cat", "/bin/cat", 1)
			}
			withM4(t, tc.script)
			_, err := Import(ctx, "mon.cf", []byte(tc.text))
			problems, ok := errors.AsType[config.Problems](err)
			if !ok || len(problems) != 1 || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
