//go:build linux

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// oneDown is a site with web1 out of the table, which nothing but web1 itself may
// change.
func oneDown(t *testing.T, s service) *site {
	t.Helper()
	x := start(t, s)
	x.servers[0].Close()
	x.await(t, absent, 1)
	return x
}

// guard watches that web1 is out and web2 in, all the time.
func (x *site) guard(t *testing.T) *guard {
	t.Helper()
	return guardTable(t, x.DR1, func(now table) error {
		if now.weight(x.service, x.real[0]) != absent || now.weight(x.service, x.real[1]) != 1 {
			return fmt.Errorf("the table was %v, want web2 alone", now)
		}
		return nil
	})
}

// nobodyLost ends the probing and fails the test if a client was not served, or
// by web1.
func nobodyLost(t *testing.T, p *hosts.Prober) {
	t.Helper()
	answers := p.Stop()
	for _, a := range answers {
		if a.Server != "web2" {
			t.Errorf("a client got %v", a)
		}
	}
	t.Logf("%d clients", len(answers))
}

// Over kill -9 and a restart, not one request is lost and the failed server is
// not put back; what was counted goes on.
func TestKernelKilledDaemon(t *testing.T) {
	x := oneDown(t, shop())
	before := statusOf(t, x.daemon)
	p, g := x.probe(t), x.guard(t)
	more(t, p, 20, "")
	for range 3 {
		x.daemon.Kill()
		more(t, p, 20, "")
		x.daemon.Start(t)
		x.runs(t, 3)
		more(t, p, 20, "")
	}
	g.end(t)
	nobodyLost(t, p)
	x.remembers(t, before.Engine.Watches[0].Runs, before.Engine.Watches[0].Failures)
	x.serve(0)
	x.await(t, 1, 1)
}

// runs waits until the watch has had so many results more.
func (x *site) runs(t *testing.T, n int) {
	t.Helper()
	before := statusOf(t, x.daemon).Engine.Watches[0].Runs
	hosts.Eventually(t, patience, func() error {
		if got := statusOf(t, x.daemon).Engine.Watches[0].Runs - before; got < n {
			return fmt.Errorf("%d results more, want %d", got, n)
		}
		return nil
	})
}

// remembers fails the test if the daemon knows less than before.
func (x *site) remembers(t *testing.T, runs, failures int) {
	t.Helper()
	w := statusOf(t, x.daemon).Engine.Watches[0]
	if w.Runs < runs || w.Failures < failures {
		t.Errorf("%d results and %d failures in a row, want at least the %d and %d before the restarts", w.Runs, w.Failures, runs, failures)
	}
	if h := w.Hosts[0]; h.State != "down" {
		t.Errorf("%s is %s, want down as before", h.Name, h.State)
	}
}

// A failed server is not put back by a restart even before its first test: a
// daemon that cannot test anybody leaves all as it is.
func TestKernelRestartedWithoutATest(t *testing.T) {
	x := oneDown(t, shop())
	slow := strings.Replace(configuration(x.service), `interval = "200ms"`, `interval = "1h"`, 1)
	slow = "randstart = \"1h\"\n" + slow
	x.daemon.Kill()
	x.serve(0) // which nobody knows of
	g := x.guard(t)
	x.daemon.Configure(t, slow)
	x.daemon.Start(t)
	x.daemon.Kill()
	x.daemon.Start(t)
	if err := x.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	g.end(t)
}

// With on_exit = "keep" the kernel forwards while no daemon runs, after its
// proper end too.
func TestKernelOnExitKeep(t *testing.T) {
	x := oneDown(t, shop())
	p, g := x.probe(t), x.guard(t)
	for range 2 {
		x.daemon.Stop(t)
		more(t, p, 20, "")
		x.daemon.Start(t)
		x.runs(t, 2)
	}
	g.end(t)
	nobodyLost(t, p)
}

// With on_exit = "remove" the daemon leaves what was there before it: others'
// services, and sysctls.
func TestKernelOnExitRemove(t *testing.T) {
	s := service{name: "shop", address: vip(80), scheduler: "rr", persistence: 50, forward: "fullnat", real: webs(80)}
	x := prepare(t, s)
	x.DR1.Output("ipvsadm", "-A", "-t", "10.2.0.100:25", "-s", "wlc")
	keys := []string{"net.ipv4.vs.conntrack", "net.ipv4.vs.expire_quiescent_template"}
	state := func() []string {
		now := append(saved(x.DR1), strings.Fields(x.DR1.Output("nft", "list", "chains"))...)
		for _, key := range keys {
			now = append(now, key+" = "+x.DR1.SysctlValue(key))
		}
		return now
	}
	before := state()
	x.daemon = x.DR1.Monitord(t, strings.Replace(configuration(s), "[lvs]\n", "[lvs]\non_exit = \"remove\"\n", 1))
	x.await(t, 1, 1)
	x.served(t)
	during := state()
	if cmp.Diff(before, during) == "" || x.DR1.SysctlValue(keys[0]) != "1" || x.DR1.SysctlValue(keys[1]) != "1" {
		t.Errorf("with the daemon: %q", during)
	}
	x.daemon.Stop(t)
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("-before, +after:\n%s", diff)
	}
}

// Two daemons with one folder for their state: the second says so and ends, and
// the first goes on.
func TestKernelSecondDaemonEnds(t *testing.T) {
	x := start(t, shop())
	g := guardTable(t, x.DR1, func(now table) error {
		if len(now.up(x.service)) != realServers {
			return fmt.Errorf("the table was %v", now)
		}
		return nil
	})
	_, err := x.DR1.RunMonitord(t, "run", "-c", x.daemon.File("monitord.toml"))
	if err == nil || !strings.Contains(err.Error(), "statedir") {
		t.Errorf("the second daemon ended with %v, want a word about its statedir", err)
	}
	g.end(t)
	x.served(t)
	if err := x.daemon.Status(&struct{}{}); err != nil {
		t.Errorf("the first daemon: %v", err)
	}
}

// Where IPVS is not permitted the daemon says what it needs, and does not pretend.
func TestKernelDaemonWithoutPermission(t *testing.T) {
	x := prepare(t, shop())
	d := x.DR1.PrepareMonitord(t, configuration(x.service))
	// As in a container that was given no CAP_NET_ADMIN.
	_, err := x.DR1.Command(t.Context(), "unshare", "--user", "--map-root-user", hosts.Binary(t), "run", "-c", d.File("monitord.toml")).Output()
	if err == nil || !containsAll(err.Error(), []string{"backend", "CAP_NET_ADMIN"}) {
		t.Errorf("the daemon ended with %v, want what it needs", err)
	}
}
