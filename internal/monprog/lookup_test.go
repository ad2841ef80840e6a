package monprog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for file, mode := range map[string]fs.FileMode{
		filepath.Join(first, "a.monitor"):    0o755,
		filepath.Join(second, "a.monitor"):   0o755,
		filepath.Join(first, "b.monitor"):    0o644,
		filepath.Join(second, "b.monitor"):   0o755,
		filepath.Join(second, "c.monitor"):   0o600,
		filepath.Join(second, "10%.monitor"): 0o700,
	} {
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(first, "c.monitor"), 0o755); err != nil {
		t.Fatal(err)
	}
	both := []string{filepath.Join(first, "missing"), first, second}
	tests := []struct {
		name string
		path []string
		want string
		err  error
		text string
	}{
		{name: "a.monitor", path: both, want: filepath.Join(first, "a.monitor")},
		{name: "b.monitor", path: both, want: filepath.Join(second, "b.monitor")},
		{name: "10%.monitor", path: both, want: filepath.Join(second, "10%.monitor")},
		{name: filepath.Join(second, "a.monitor"), want: filepath.Join(second, "a.monitor")},
		{name: "c.monitor", path: both, err: fs.ErrPermission, text: first + "/c.monitor is a folder"},
		{name: "c.monitor", path: both[2:], err: fs.ErrPermission, text: "is not executable (mode -rw-------)"},
		{name: "d.monitor", path: both, err: fs.ErrNotExist, text: `no program "d.monitor" in ` + strings.Join(both, ", ")},
		{name: "a.monitor", err: fs.ErrNotExist, text: "no folder is configured"},
		{name: filepath.Join(first, "d.monitor"), path: both, err: fs.ErrNotExist, text: "d.monitor"},
		{name: filepath.Join(first, "b.monitor"), path: both, err: fs.ErrPermission, text: "not executable"},
		{name: "", path: both, err: fs.ErrNotExist, text: "no program is named"},
		{name: "a\x00b", path: both, err: fs.ErrNotExist, text: "no file name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Lookup(tt.name, tt.path)
			if !errors.Is(err, tt.err) || tt.err == nil && got != tt.want {
				t.Fatalf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
			if tt.err != nil && !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("the error %q does not say %q", err, tt.text)
			}
		})
	}
}
