//go:build linux

package clustertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lab"
)

// TestEndToEndAnAckedFailureStaysAcked: said by the command line to the director that
// tells or to the one that stands by, it holds on both, after the death of the one that
// told, and when that one, which knows only what it is handed, takes over again.
func TestEndToEndAnAckedFailureStaysAcked(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"dr1", "dr2"} {
		t.Run("said to "+to, func(t *testing.T) {
			t.Parallel()
			o := operated(t)
			o.s.must(o.s.Fail("web1"))
			o.s.eventually("people are told of the failure, twice", func() bool { return strings.Count(o.told(), "dr1 alert") > 1 })
			o.shows("dr2", "FAILED")
			o.says(to, "ack", "first:http", "-m", "disk ordered")
			o.acked("dr1")
			o.acked("dr2")
			pass(time.Second) // what was on its way
			before := o.told()
			quiet := func(when string) {
				t.Helper()
				pass(3 * time.Second) // ten rounds
				if got := o.told(); got != before {
					t.Errorf("%s, of an acknowledged failure was told: %q, before %q", when, got, before)
				}
			}
			quiet("before the failover")
			o.s.must(o.s.Kill9(t.Context(), "dr1"))
			o.s.owned("dr2")
			quiet("after the failover")
			o.acked("dr2")
			if to != "dr1" {
				return
			}
			o.s.must(os.RemoveAll(o.s.node("dr1").StateDir()))
			o.s.must(o.s.Start("dr1"))
			o.s.eventually("dr1 stands by", func() bool { return o.s.role("dr1") == "standby" })
			o.acked("dr1")
			o.s.switchover("dr1")
			o.s.owned("dr1")
			quiet("after the switchover")
			o.acked("dr1")
		})
	}
}

// TestEndToEndASilenceHoldsOnBoth: also on a director that was not there when it was
// said, and until it is taken away, there or here.
func TestEndToEndASilenceHoldsOnBoth(t *testing.T) {
	t.Parallel()
	o := operated(t)
	o.s.must(o.s.Fail("web1"))
	o.s.eventually("people are told of the failure", func() bool { return o.told() != "" })
	o.s.must(o.s.Kill9(t.Context(), "dr1"))
	o.s.owned("dr2")
	o.says("dr2", "silence", "add", "--group", "first", "--for", "1h", "-m", "upgrade")
	o.shows("dr2", "FAILED (silenced)")
	pass(time.Second) // what was on its way
	before := o.told()
	o.s.must(o.s.Start("dr1"))
	o.shows("dr1", "silence dr2-1 by ")
	pass(3 * time.Second) // ten rounds
	if got := o.told(); got != before {
		t.Errorf("in a silence was told: %q, before %q", got, before)
	}
	o.says("dr1", "silence", "rm", "dr2-1") // also the one that did not hear it said
	o.s.eventually("people are told again", func() bool { return o.told() != before })
}

// operators are at a site of two directors that tell of a web server all the time.
type operators struct {
	s    *site
	file string
}

func operated(t *testing.T) operators {
	t.Helper()
	file := filepath.Join(t.TempDir(), "told")
	s := open(t, lab.Settings{}, telling(t, file), replaced(t, "alertevery = \"1h\"", "alertevery = \"300ms\""))
	s.begins()
	return operators{s: s, file: file}
}

func (o operators) told() string {
	text, _ := os.ReadFile(o.file) // not yet there
	return string(text)
}

// says runs a command on a node's machine.
func (o operators) says(node string, args ...string) {
	o.s.t.Helper()
	_, err := o.s.Run(o.s.t.Context(), node, append(args, "--socket", o.s.node(node).Socket())...)
	o.s.must(err)
}

// shows waits until a node's status has something in it.
func (o operators) shows(node, what string, of ...string) {
	o.s.t.Helper()
	args := append(append([]string{"status"}, of...), "--socket", o.s.node(node).Socket())
	o.s.eventually(node+" shows "+what, func() bool {
		out, err := o.s.Run(o.s.t.Context(), node, args...)
		return err == nil && strings.Contains(out, what)
	})
}

// acked asserts that a node shows the ack, with its words.
func (o operators) acked(node string) {
	o.s.t.Helper()
	o.shows(node, "FAILED (acked)")
	o.shows(node, "disk ordered", "first:http")
}
