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
// stands by, it holds on the one that tells, and after its death.
func TestEndToEndAnAckedFailureStaysAcked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	s := open(t, lab.Settings{}, telling(t, file), replaced(t, "alertevery = \"1h\"", "alertevery = \"300ms\""))
	told := func() string {
		text, _ := os.ReadFile(file) // not yet there
		return string(text)
	}
	says := func(node string, args ...string) {
		t.Helper()
		_, err := s.Run(t.Context(), node, append(args, "--socket", s.node(node).Socket())...)
		s.must(err)
	}
	shows := func(node, what string) {
		t.Helper()
		s.eventually(node+" shows "+what, func() bool {
			out, err := s.Run(t.Context(), node, "status", "--socket", s.node(node).Socket())
			return err == nil && strings.Contains(out, what)
		})
	}
	s.begins()
	s.must(s.Fail("web1"))
	s.eventually("people are told of the failure, twice", func() bool { return strings.Count(told(), "dr1 alert") > 1 })
	shows("dr2", "FAILED")
	says("dr2", "ack", "first:http", "-m", "disk ordered")
	shows("dr1", "FAILED (acked)")
	pass(time.Second) // what was on its way
	before := told()
	pass(2 * time.Second)
	if got := told(); got != before {
		t.Errorf("of an acknowledged failure was told: %q, before %q", got, before)
	}
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	pass(3 * time.Second) // ten rounds
	if got := told(); got != before {
		t.Errorf("after the failover was told: %q, before %q", got, before)
	}
	says("dr2", "silence", "add", "--group", "first", "--for", "1h", "-m", "upgrade")
	says("dr2", "unack", "first:http")
	shows("dr2", "FAILED (silenced)")
	s.must(s.Start("dr1"))
	shows("dr1", "silence dr2-1 by ")
	if got := told(); got != before {
		t.Errorf("in a silence was told: %q, before %q", got, before)
	}
	says("dr1", "silence", "rm", "dr2-1") // also the one that did not hear it said
	s.eventually("people are told again", func() bool { return told() != before })
}
