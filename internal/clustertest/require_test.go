//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// needing adds a watch that fails on a director while its folder has a file "ill", and
// which has to be good.
func needing(t *testing.T, where string) edit {
	t.Helper()
	return func(n lab.Node, text string) string {
		program := filepath.Join(n.Folder, "own")
		if err := writeProgram(program, fmt.Sprintf("#!/bin/sh\n[ ! -e %s/ill ] || { echo itself; exit 1; }\n", n.Folder)); err != nil {
			t.Error(err)
		}
		text = replaced(t, where, where+"require = [\"own:health\"]\n")(n, text)
		return replaced(t, "[hostgroups]\n", "[hostgroups]\nown = [\"itself\"]\n")(n, text) + fmt.Sprintf(`
[[watch]]
group = "own"
service = "health"
interval = "300ms"
monitor = { type = "exec", program = %q }
`, program)
	}
}

// ill has the watch of a director fail, or not.
func (s *site) ill(node string, is bool) {
	s.t.Helper()
	file := filepath.Join(s.node(node).Folder, "ill")
	if is {
		s.must(os.WriteFile(file, nil, 0o600))
		return
	}
	s.must(os.Remove(file))
}

// TestEndToEndRequire: a director whose required watch is bad hands over, and is given
// nothing until it is good; where it is bad on both the group stays.
func TestEndToEndRequire(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]string{"for all groups": "[fence]\n", "for one": "[[group]]\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, lab.Settings{}, needing(t, where))
			s.begins()
			began := netif.Boottime()
			s.ill("dr1", true)
			s.owned("dr2")
			s.served("dr2")
			s.outage(lab.Client, began, noise)
			s.eventually("people see why", func() bool { return s.shown("dr1", "watch own:health: is failed") })
			// The owner's refusal ends the wait, also where it is another one.
			if _, err := s.does("dr1", "switchover", "web", "dr1", "--wait", "20s"); err == nil || !strings.Contains(err.Error(), "web was not moved: dr1 cannot take it") {
				t.Errorf("the group is moved to where the requirement is not met: %v", err)
			}
			both := netif.Boottime()
			s.ill("dr2", true)
			s.eventually("dr2 sees it", func() bool { return s.shown("dr2", "no other node can take it") })
			s.still(both, "dr2")
			s.ill("dr1", false)
			s.owned("dr1")
			s.served("dr1")
		})
	}
}

// TestEndToEndInterface: an interface that has to be up, and has none of the addresses.
func TestEndToEndInterface(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{SecondNetwork: true}, replaced(t, "[fence]\n", "[fence]\ninterface = [\"eth1\"]\n"))
	s.begins()
	began := netif.Boottime()
	up := func(node string, is bool) {
		t.Helper()
		s.must(s.Within(node, func() error { return netif.SetUp(t.Context(), "eth1", is) }))
	}
	up("dr1", false)
	s.owned("dr2")
	s.served("dr2")
	s.outage(lab.Client, began, noise)
	s.eventually("people see why", func() bool { return s.shown("dr1", "interface eth1: is down") })
	up("dr1", true)
	s.eventually("dr1 is fit again", func() bool { return s.fit("dr1") })
	s.switchover("dr1")
	s.owned("dr1")
	s.served("dr1")
}
