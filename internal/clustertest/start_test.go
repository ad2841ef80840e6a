//go:build linux

package clustertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// otherKey gives dr2 a key of its own.
func otherKey(t *testing.T) edit {
	t.Helper()
	return func(n lab.Node, text string) string {
		if n.Name != "dr2" {
			return text
		}
		key := filepath.Join(n.Folder, "key")
		if err := os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600); err != nil {
			t.Error(err)
		}
		return strings.Replace(text, n.KeyFile, key, 1)
	}
}

// TestEndToEndWrongKey: directors with different keys never hear each other, and say
// so. What keeps them apart then is the wire: who finds the address answered waits, and
// takes it when it is not.
func TestEndToEndWrongKey(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{}, eager(t), otherKey(t))
	s.must(s.Start("dr1"))
	s.owned("dr1")
	began := netif.Boottime()
	s.must(s.Start("dr2"))
	s.logged("dr1", `refused \"dr2\" at 10.7.0.12`)
	s.logged("dr2", `refused \"dr1\" at 10.7.0.11`)
	s.logged("dr2", "sealed with a key that is not among the key files here")
	s.eventually("dr2 finds the address answered", func() bool {
		v, err := s.view("dr2")
		return err == nil && v.Groups[0].Nodes[1].Role == "acquiring" && strings.Contains(v.Groups[0].Nodes[1].Refusal, "answers")
	})
	s.still(began, "dr1")
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
}

// TestEndToEndWrongKeyTogether: the same, when both begin at once and the wire is
// silent for either.
func TestEndToEndWrongKeyTogether(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{}, eager(t), otherKey(t))
	s.must(s.StartAll())
	s.settles()
	s.logged("dr1", `refused \"dr2\" at 10.7.0.12`)
	pass(patience / 10)
}

// TestEndToEndRefusedStarts: what is wrong is said at the start, once.
func TestEndToEndRefusedStarts(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	dr1 := s.node("dr1")
	file := []string{"-c", dr1.Config()}
	text, err := os.ReadFile(dr1.Config())
	s.must(err)
	other := func(old, instead string) []string {
		path := filepath.Join(t.TempDir(), "site.toml")
		if !strings.Contains(string(text), old) {
			t.Fatalf("no %q in the configuration", old)
		}
		s.must(os.WriteFile(path, []byte(strings.Replace(string(text), old, instead, 1)), 0o600))
		return []string{"-c", path}
	}
	key, err := os.ReadFile(dr1.KeyFile)
	s.must(err)
	readable := filepath.Join(t.TempDir(), "key")
	s.must(os.WriteFile(readable, key, 0o600))
	s.must(os.Chmod(readable, 0o640))

	s.refused("dr1", other(dr1.KeyFile, readable), "key_file", "mode 0640 lets others at it: chmod 600")
	s.refused("dr1", other(`name = "dr2"`, `name = "dr1"`), `there is another node "dr1"`)
	s.refused("web1", file, "this machine is none of the nodes", `"web1"`, "10.7.0.21", "--node NAME")
	s.refused("dr1", append(file, "--node", "dr9"), "--node dr9: there is no such node")
	if s.Owner() != "" {
		t.Errorf("%s has the address", s.Owner())
	}
}

// TestEndToEndPortTaken: somebody else uses the heartbeats' port, then the relay's.
func TestEndToEndPortTaken(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	for _, tt := range []struct{ network, at, says string }{
		{"udp", "10.7.0.11:6940", "link 1 of dr1: listen udp 10.7.0.11:6940: bind: address already in use"},
		{"tcp", "10.7.0.11:6940", "link 1 of dr1: listen tcp 10.7.0.11:6940: bind: address already in use"},
	} {
		taken := s.taken("dr1", tt.network, tt.at)
		s.refused("dr1", []string{"-c", s.node("dr1").Config()}, "[cluster]", tt.says)
		s.must(taken.Close())
	}
	s.begins()
	began := netif.Boottime()
	s.refused("dr1", []string{"-c", s.copied("dr1")}, "[cluster]", "udp 10.7.0.11:694", "bind: address already in use")
	s.refused("dr1", []string{"-c", s.node("dr1").Config()}, "statedir")
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
}

// copied is a node's configuration with another place for state and socket.
func (s *site) copied(node string) (path string) {
	s.t.Helper()
	n := s.node(node)
	text, err := os.ReadFile(n.Config())
	s.must(err)
	folder := s.t.TempDir()
	s.must(os.Mkdir(filepath.Join(folder, "state"), 0o700))
	path = filepath.Join(folder, "site.toml")
	elsewhere := strings.NewReplacer(fmt.Sprintf("%q", n.StateDir()), fmt.Sprintf("%q", folder+"/state"), n.Socket(), folder+"/socket")
	s.must(os.WriteFile(path, []byte(elsewhere.Replace(string(text))), 0o600))
	return path
}

type closer interface{ Close() error }

// taken takes a port on a machine.
func (s *site) taken(machine, network, at string) (c closer) {
	s.t.Helper()
	s.must(s.Within(machine, func() (err error) {
		if network == "udp" {
			c, err = (&net.ListenConfig{}).ListenPacket(s.t.Context(), network, at)
			return err
		}
		c, err = (&net.ListenConfig{}).Listen(s.t.Context(), network, at)
		return err
	}))
	return c
}

// TestEndToEndNameTwice: another machine runs as dr1, too. It is told, and nobody minds
// what it says: the group stays where it is, and moves when the real dr1 dies. A witness
// keeps the third machine, which hears nobody, from taking the address itself.
func TestEndToEndNameTwice(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{Near: true, Witness: true})
	s.begins()
	began := netif.Boottime()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := make(chan error, 1)
	config := s.copied("dr1")
	go func() {
		_, err := s.Run(ctx, "near", "run", "-c", config, "--node", "dr1")
		said <- err
	}()
	s.eventually("the second dr1 runs", func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(config), "socket"))
		return err == nil
	})
	pass(2 * time.Second)
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
	killed := netif.Boottime()
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
	s.outage(lab.Client, killed, s.bound(director.DaemonKilled))
	cancel()
	if err := <-said; err == nil || !strings.Contains(err.Error(), "this machine has no address of the node that it is to be") {
		t.Errorf("the second dr1 does not say what is wrong: %v", err)
	}
}
