//go:build linux

package clustertest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/lab"
)

// telling adds a watch of one web server, of whose state people are told in a file, by
// whoever holds the group.
func telling(t *testing.T, file string) edit {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tell")
	script := fmt.Sprintf("#!/bin/sh\nup=alert\nfor a; do [ \"$a\" != -u ] || up=upalert; done\necho \"$(uname -n) $up\" >>%s\n", file)
	if err := writeProgram(program, script); err != nil {
		t.Fatal(err)
	}
	watch := fmt.Sprintf(`
[[watch]]
group = "first"
service = "http"
interval = "300ms"
monitor = { type = "http", port = 80, path = "/healthz", status = "200", timeout = "1s" }
  [[watch.period]]
  alertevery = "1h"
  alert = [{ type = "exec", program = %[1]q }]
  upalert = [{ type = "exec", program = %[1]q }]
`, program)
	return func(n lab.Node, text string) string {
		return replaced(t, "[hostgroups]\n", fmt.Sprintf("[hostgroups]\nfirst = [%q]\n", lab.Web(1)))(n, text) + watch
	}
}

// alerts are how many were sent about the first server's failure, as a director knows.
func (s *site) alerts(node string) int {
	out, err := s.does(node, "status", "--json")
	if err != nil {
		return 0
	}
	var status daemon.Status
	s.must(json.Unmarshal([]byte(out), &status))
	for _, w := range status.Engine.Watches {
		if w.Group == "first" {
			return w.Alerts
		}
	}
	return 0
}

// TestEndToEndOneOutageOneMail: a server fails, people are told, the director that told
// them is killed, the server returns: nobody is told anything twice, nor not at all.
func TestEndToEndOneOutageOneMail(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	s := open(t, lab.Settings{}, telling(t, file))
	told := func() string {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	s.begins()
	s.must(s.Fail("web1"))
	s.eventually("people are told of the failure", func() bool { return told() != "" })
	s.eventually("dr2 learns that they were", func() bool { return s.alerts("dr2") == 1 })
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
	pass(3 * time.Second) // ten rounds
	if got := told(); got != "dr1 alert" {
		t.Errorf("of one outage was told: %q", got)
	}
	// The next owner knows nothing but what it is handed.
	s.must(s.Start("dr1"))
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })
	pass(2 * time.Second)
	s.eventually("dr1 learns what people were told", func() bool { return s.alerts("dr1") == 1 })
	s.switchover("dr1")
	s.owned("dr1")
	pass(2 * time.Second)
	s.must(s.Return(t.Context(), "web1"))
	s.eventually("people are told that it is up", func() bool { return strings.Contains(told(), "upalert") })
	pass(2 * time.Second)
	if got := told(); got != "dr1 alert\ndr1 upalert" {
		t.Errorf("of one outage, that is over, was told: %q", got)
	}
}

// TestEndToEndFailureDuringFailover: a server fails when nobody holds the group: the
// next owner tells, once.
func TestEndToEndFailureDuringFailover(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	s := open(t, lab.Settings{}, telling(t, file))
	s.begins()
	s.must(s.Kill9(t.Context(), "dr1"))
	s.must(s.Fail("web1"))
	s.owned("dr2")
	read := func() string {
		text, _ := os.ReadFile(file) // not yet there
		return strings.TrimSpace(string(text))
	}
	s.eventually("people are told of the failure", func() bool { return read() != "" })
	pass(2 * time.Second)
	if got := read(); got != "dr2 alert" {
		t.Errorf("told: %q", got)
	}
}

// TestEndToEndTransitionsAreMailed: people get a mail of each transition, from the
// director that it is about, with its reason and for how long nobody held the group.
func TestEndToEndTransitionsAreMailed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	program := filepath.Join(folder, "sendmail")
	script := fmt.Sprintf("#!/bin/sh\nname=%s/$(uname -n).$$\ncat >$name.new && mv $name.new $name.mail\n", folder)
	if err := writeProgram(program, script); err != nil {
		t.Fatal(err)
	}
	s := open(t, lab.Settings{}, replaced(t, "[[group]]\n", fmt.Sprintf("[[group]]\nalert = [{ type = \"mail\", to = [\"ops@example.org\"], sendmail = %q }]\n", program)))
	mailed := func(node string, words ...string) {
		t.Helper()
		s.eventually(fmt.Sprintf("a mail of %s says %q", node, words), func() bool {
			files, _ := filepath.Glob(folder + "/" + node + ".*.mail") // the pattern is right
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				has := true
				for _, w := range append(words, "ops@example.org") {
					has = has && strings.Contains(string(text), w)
				}
				if has {
					return true
				}
			}
			return false
		})
	}
	s.begins()
	mailed("dr1", "dr1 is active")
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	mailed("dr2", "dr2 is active, was standby", "the kernel holds the address", "time without owner: ")
	s.must(s.Start("dr1"))
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })
	s.stop("dr2")
	mailed("dr2", "dr2 is stopped", "this daemon ends")
}
