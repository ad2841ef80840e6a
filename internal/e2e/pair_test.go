//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/takeover"
)

// A pair is two directors with one configuration.
type pair struct {
	owners    *hosts.Owners
	directors []*hosts.Host // the preferred one first
	daemons   []*hosts.Daemon
}

// newPair prepares the daemons of two directors, which have an address each and are
// called as their hosts. The addresses that they share are watched.
func newPair(t *testing.T, n *hosts.Network, shared []string, directors [2]*hosts.Host, addresses [2]string, configuration string) *pair {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(patient, key) + nodes(directors, addresses) + configuration
	p := &pair{owners: n.WatchOwners(shared, directors[:]...)}
	for _, h := range directors {
		p.directors = append(p.directors, h)
		p.daemons = append(p.daemons, h.PrepareMonitord(t, text))
	}
	return p
}

// patient is how clusters of tests begin: an emulated machine stands still now and
// then for longer than the default times forgive.
const patient = kernel + `
[cluster]
key_file = %q
heartbeat = "500ms"
initdead = "5s"
lease = "5s"
`

// silence bounds, for these times, how long nobody serves after any single fault: the
// dead time, or what is left of the lease, in proportion; and what the slow machine
// adds. docs/failover.md has the bounds of machines that are not emulated.
const silence = 15 * time.Second

func nodes(directors [2]*hosts.Host, addresses [2]string) string {
	text := ""
	for i, h := range directors {
		text += fmt.Sprintf("\n  [[cluster.node]]\n  name = %q\n  address = [%q]\n  priority = %d\n", h.Name, addresses[i], 200-100*i)
	}
	return text
}

// start starts both daemons and waits until the first one has the address.
func (p *pair) start(t *testing.T, address string) {
	t.Helper()
	var both sync.WaitGroup
	for _, d := range p.daemons {
		both.Go(func() { d.Start(t) })
	}
	both.Wait()
	p.owners.Await(address, p.directors[0], patience)
	p.awaitRole(t, 1, "standby")
}

// view is what "monitord cluster --json" says on a director.
func (p *pair) view(i int) (v daemon.ClusterView, err error) {
	out, err := p.daemons[i].Run("cluster", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	return v, err
}

// awaitRole waits until a director is in these roles in its groups, and both directors
// hear each other.
func (p *pair) awaitRole(t *testing.T, i int, roles ...string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		v, err := p.view(i)
		if err != nil {
			return err
		}
		for _, n := range v.Nodes {
			if !n.Self && (n.State != "alive" || len(n.Hears) == 0) {
				return fmt.Errorf("%s sees %+v", v.Self, n)
			}
		}
		for j, g := range v.Groups {
			if c := own(v, g.Name); c.Role != roles[j] {
				return fmt.Errorf("%s is %s of %s (%s; %s), want %s", v.Self, c.Role, g.Name, c.Why, c.Refusal, roles[j])
			}
		}
		return nil
	})
}

// awaitAble waits until a director knows that another one can take a group: who has just
// begun to stand by has to find its gateway, and to say so, or a switchover is refused.
func (p *pair) awaitAble(t *testing.T, by int, group, node string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		v, err := p.view(by)
		if err != nil {
			return err
		}
		for _, g := range v.Groups {
			if g.Name == group && slices.ContainsFunc(g.Nodes, func(c takeover.ClaimView) bool { return c.Node == node && c.Able }) {
				return nil
			}
		}
		return fmt.Errorf("%s does not know that %s can take %s: %+v", v.Self, node, group, v.Groups)
	})
}

// own is what a director itself is for a group.
func own(v daemon.ClusterView, group string) (own takeover.ClaimView) {
	for _, g := range v.Groups {
		for _, c := range g.Nodes {
			if g.Name == group && c.Node == v.Self {
				own = c
			}
		}
	}
	return own
}

// awaitRefusal waits until a director says why it does not take a group.
func (p *pair) awaitRefusal(t *testing.T, i int, group, why string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		v, err := p.view(i)
		if c := own(v, group); err == nil && c.Refusal != why {
			err = fmt.Errorf("%s is %s of %s (%s; %s), want %s", v.Self, c.Role, group, c.Why, c.Refusal, why)
		}
		return err
	})
}

// show, deferred, helps to see why a test failed.
func (p *pair) show(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for i, h := range p.directors {
		for _, args := range [][]string{{"ipvsadm", "-Ln"}, {"ipvsadm", "-Lnc"}, {"ipvsadm", "-L", "--daemon"}, {"ip", "address"}} {
			out, err := h.Command(t.Context(), args[0], args[1:]...).Output()
			t.Logf("%s: %v %v\n%s", h.Name, args, err, out)
		}
		out, err := p.daemons[i].Run("cluster")
		t.Logf("%s: %v\n%s", h.Name, err, out)
	}
}

// guardOneTable watches that the virtual service, "TCP 10.2.0.100:80", is never in
// both directors' tables. Who has it before and after the other one was asked had it
// at that instant.
func (p *pair) guardOneTable(t *testing.T, service string) *guard {
	t.Helper()
	second := openTable(t, p.directors[1])
	t.Cleanup(second.close)
	first := openTable(t, p.directors[0])
	t.Cleanup(first.close)
	has := func(f tableFile) bool {
		now, err := f.read()
		return err == nil && now[service] != nil
	}
	g := &guard{stop: make(chan struct{})}
	t.Cleanup(g.halt)
	g.running.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond) // the directors need the processor too
		defer tick.Stop()
		for {
			if g.looks++; has(first) && has(second) && has(first) && len(g.wrong) == 0 {
				g.wrong = append(g.wrong, service+" was in both directors' tables")
			}
			select {
			case <-g.stop:
				return
			case <-tick.C:
			}
		}
	})
	return g
}

// syncRoles are the sync daemons that run on a director, "master", "backup".
func syncRoles(director *hosts.Host) string {
	var roles []string
	for line := range strings.Lines(director.Output("ipvsadm", "-L", "--daemon")) {
		if role, _, ok := strings.Cut(line, " sync daemon"); ok {
			roles = append(roles, role)
		}
	}
	return strings.Join(roles, " ")
}

// longest is the longest time without an answer, between those that were answered.
func longest(t *testing.T, answers []hosts.Answer) time.Duration {
	t.Helper()
	var last time.Time
	var most time.Duration
	served := 0
	for _, a := range answers {
		if a.Err != nil {
			continue
		}
		if served++; !last.IsZero() {
			most = max(most, a.At.Sub(last))
		}
		last = a.At
	}
	t.Logf("%d of %d clients were served; the longest pause was %v", served, len(answers), most)
	return most
}
