// Package monitors_test tries the programs of this folder as monitord runs them.
package monitors_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/exec"
)

func TestDisk(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing")
	for _, tt := range []struct {
		name, limit string
		paths       []string
		exit        int
		summary     string
	}{
		{"room", "100", []string{folder, "/"}, 0, ""},
		{"full", "-1", []string{folder}, 1, folder},
		{"one of two is not there", "100", []string{missing, folder}, 1, missing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := monitors.Build("exec", monitors.Site{Path: []string{"."}}, func(into any) error {
				c := into.(*exec.Config)
				c.Program, c.Args, c.Hosts = "disk.monitor", append([]string{tt.limit}, tt.paths...), false
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := m.Check(t.Context(), monitors.Request{Group: "director", Service: "disk", Hosts: []string{"127.0.0.1"}})
			if err != nil {
				t.Fatal(err)
			}
			summary, detail, _ := strings.Cut(string(r.Output), "\n")
			if r.Exit != tt.exit || summary != tt.summary {
				t.Errorf("exit %d, summary %q, want %d, %q; output:\n%s", r.Exit, summary, tt.exit, tt.summary, r.Output)
			}
			if got := strings.Count(detail, "\n"); got != len(tt.paths) {
				t.Errorf("%d lines of detail, want one a path:\n%s", got, r.Output)
			}
		})
	}
}
