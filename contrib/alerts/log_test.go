// Package alerts_test tries the programs of this folder as monitord runs them.
package alerts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/exec"
)

func TestLog(t *testing.T) {
	folder := t.TempDir()
	a, err := alerts.Build("exec", alerts.Site{Path: []string{"."}, LogDir: filepath.Join(folder, "logs")}, func(into any) error {
		c := into.(*exec.Config)
		c.Program, c.Args = "log.alert", []string{"night.log"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	hosts := []alerts.Host{{Name: "web1"}, {Name: "web2"}}
	for _, kind := range []alerts.Kind{alerts.Failure, alerts.Up} {
		e := alerts.Event{Kind: kind, Group: "web", Service: "http", Time: time.Now(), Hosts: hosts, Output: []byte("web2\nweb2: refused\n")}
		if err := a.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, "logs", "night.log"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	want := []string{" failure web:http (web1 web2): web2", " up web:http (web1 web2): web2"}
	if len(got) != len(want) {
		t.Fatalf("the log has %d lines, want %d:\n%s", len(got), len(want), text)
	}
	for i := range want {
		if !strings.HasSuffix(got[i], want[i]) {
			t.Errorf("line %d is %q, want it to end in %q", i+1, got[i], want[i])
		}
	}
}
