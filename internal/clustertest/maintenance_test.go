//go:build linux

package clustertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// does runs a command on a node's machine, and returns what it says.
func (s *site) does(node string, args ...string) (string, error) {
	s.t.Helper()
	return s.Run(s.t.Context(), node, append(args, "--socket", s.node(node).Socket())...)
}

// TestEndToEndMaintenance: a director is emptied from the other one, remembers that over
// a restart, and is back when it is said to be. Of who is gone nothing is shown as if it
// were so now.
func TestEndToEndMaintenance(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	s.eventually("the gateway relays", func() bool { return s.shown("dr1", "guards: lease, wire, relay, gateway\n") })
	said, err := s.does("dr2", "maintenance", "on", "dr1")
	s.must(err)
	if said != "dr1: maintenance on\n" {
		t.Errorf("said was %q", said)
	}
	s.owned("dr2")
	s.served("dr2")
	s.eventually("dr1 is in maintenance", func() bool { return s.role("dr1") == "maintenance" })
	s.must(s.Restart(t.Context(), "dr1"))
	s.eventually("dr1 remembers it", func() bool { return s.role("dr1") == "maintenance" })
	if _, err := s.does("dr2", "switchover", "web", "dr1", "--wait", "20s"); err == nil || !strings.Contains(err.Error(), "web was not moved: dr1 cannot take it (an operator ordered maintenance)") {
		t.Errorf("a group is moved to who is in maintenance: %v", err)
	}
	if _, err := s.does("dr1", "switchover", "web", "dr2", "--wait", "20s"); err == nil || !strings.Contains(err.Error(), "web was not moved: dr2 holds it already") {
		t.Errorf("a group is moved to who has it: %v", err)
	}
	_, err = s.does("dr2", "maintenance", "off", "dr1")
	s.must(err)
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })

	s.must(s.Kill9(t.Context(), "dr1"))
	s.eventually("dr1 is shown as dead, and stale", func() bool { return s.shown("dr2", "standby when it was last heard") && s.shown("dr2", "dead (stale)") })
	if _, err := s.does("dr2", "maintenance", "on", "dr1"); err == nil || !strings.Contains(err.Error(), "dr1 is dead and does not hear of it") {
		t.Errorf("maintenance of who is dead: %v", err)
	}
	if _, err := s.does("dr2", "maintenance", "on", "dr9"); err == nil || !strings.Contains(err.Error(), `no node "dr9"; there are dr1, dr2`) {
		t.Errorf("maintenance of nobody: %v", err)
	}
	if _, err := s.does("dr2", "maintenance", "of", "dr1"); err == nil || !strings.Contains(err.Error(), `"of"`) {
		t.Errorf("a word that is none: %v", err)
	}
	// The only one left keeps the group.
	_, err = s.does("dr2", "maintenance", "on")
	s.must(err)
	s.served("dr2")
	if s.Owner() != "dr2" {
		t.Errorf("%s has the address, and nobody else could take it", s.Owner())
	}
}

// TestEndToEndAlone: without [cluster] a single director holds every group. Who is killed
// loses them with the lease, who restarts keeps them, and who ends gives them up.
func TestEndToEndAlone(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{Directors: 1}, func(_ lab.Node, text string) string {
		before, rest, found := strings.Cut(text, "[cluster]\n")
		_, after, also := strings.Cut(rest, "[fence]\n")
		if !found || !also {
			t.Errorf("no [cluster] and [fence] in %s", text)
		}
		return before + "[fence]\n" + after
	})
	s.must(s.Start("dr1"))
	s.owned("dr1")
	s.served("dr1")
	s.eventually("it holds the group", func() bool { return s.role("dr1") == "active" })
	v, err := s.view("dr1")
	s.must(err)
	if len(v.Nodes) != 1 || v.Groups[0].Owner != "dr1" || len(v.Links) != 0 {
		t.Errorf("shown is %+v", v)
	}
	began := netif.Boottime()
	s.must(s.Restart(t.Context(), "dr1"))
	s.eventually("it holds the group again", func() bool { return s.role("dr1") == "active" })
	s.still(began, "dr1")
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("")
	s.must(s.Start("dr1"))
	s.owned("dr1")
	s.served("dr1")
	s.stop("dr1")
	s.owned("")
}

// TestEndToEndLeftovers: what a director that was killed has left running is stopped by
// its next process, before that stands by; and not where it goes on inside its lease.
func TestEndToEndLeftovers(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{}, withService(t))
	folder := filepath.Dir(s.hanging())
	there := func(node string) bool {
		_, err := os.Stat(filepath.Join(folder, "service-"+node))
		return err == nil
	}
	s.begins()
	if !there("dr1") || there("dr2") {
		t.Fatalf("dr1 is active; the service runs on dr1: %t, on dr2: %t", there("dr1"), there("dr2"))
	}
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
	if !there("dr1") || !there("dr2") {
		t.Errorf("dr1 was killed, and dr2 took over; the service runs on dr1: %t, on dr2: %t", there("dr1"), there("dr2"))
	}
	s.must(s.Start("dr1"))
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })
	if there("dr1") {
		t.Error("dr1 stands by, and what its predecessor started still runs there")
	}
	if s.Owner() != "dr2" || !there("dr2") {
		t.Errorf("%s has the address; the service runs on dr2: %t", s.Owner(), there("dr2"))
	}
	s.must(s.Restart(t.Context(), "dr2"))
	s.eventually("dr2 goes on", func() bool { return s.role("dr2") == "active" })
	if !there("dr2") {
		t.Error("what runs was stopped by a restart")
	}
}
