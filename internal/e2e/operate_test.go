//go:build linux

package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// What "monitord ipvs --dry-run" prints leads from nothing to the table that a
// daemon makes, when ipvsadm -R is given it.
func TestKernelDryRun(t *testing.T) {
	x := exampleSite(t)
	for _, name := range []string{"lvs-dr.toml", "lvs-nat.toml", "lvs-tun.toml", "lvs-fullnat.toml"} {
		t.Run(name, func(t *testing.T) {
			file, err := filepath.Abs(filepath.Join("../../etc", name))
			if err != nil {
				t.Fatal(err)
			}
			lines, err := x.DR2.RunMonitord(t, "ipvs", "--dry-run", "-c", file)
			if err != nil {
				t.Fatal(err)
			}
			if now := saved(x.DR2); len(now) > 0 {
				t.Fatalf("a dry run changed the table to %q", now)
			}
			restore := x.DR2.Command(t.Context(), "ipvsadm", "-R")
			restore.Stdin = strings.NewReader(lines)
			if out, err := restore.Output(); err != nil {
				t.Fatalf("ipvsadm -R: %v\n%s", err, out)
			}
			if diff := cmp.Diff(normal(lines), saved(x.DR2)); diff != "" {
				t.Errorf("-dry run, +table:\n%s", diff)
			}
			if again, err := x.DR2.RunMonitord(t, "ipvs", "--dry-run", "-c", file); err != nil || again != "" {
				t.Errorf("with that table: %q, %v, want nothing to do", again, err)
			}
			x.DR2.Output("ipvsadm", "-C")
		})
	}
}

// Counters and connections are those that ipvsadm shows.
func TestKernelCounters(t *testing.T) {
	x, session := startEcho(t, echoes())
	goesOn(t, session, "at first,")
	for _, a := range hosts.Failures(x.Client.Client().TCP(t.Context(), x.address.String(), 10)) {
		t.Error(a)
	}
	theirs := func() []string {
		var lines []string
		for line := range strings.Lines(x.DR1.Output("ipvsadm", "-Ln", "--stats", "--exact")) {
			if f := strings.Fields(line); len(f) == 7 && f[0] == "->" && f[1] != "RemoteAddress:Port" {
				lines = append(lines, strings.Join(f, " "))
			}
		}
		slices.Sort(lines)
		return lines
	}
	ours := func() []string {
		out, err := x.daemon.Run("ipvs", "--stats")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 7 && f[0] == "->" {
				lines = append(lines, strings.Join(f[:7], " "))
			}
		}
		slices.Sort(lines)
		return lines
	}
	hosts.Eventually(t, patience, func() error { // the kernel sums up every 2 s
		now := ours()
		if diff := cmp.Diff(theirs(), now); diff != "" {
			return fmt.Errorf("-ipvsadm, +monitord:\n%s", diff)
		}
		if len(now) != 2 || strings.Contains(now[0], " 0 ") && strings.Contains(now[1], " 0 0 0 ") {
			return fmt.Errorf("counted %q, want something for two servers", now)
		}
		return nil
	})
	out, err := x.DR1.RunMonitord(t, "ipvs", "--connections")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
		return containsAll(line, []string{"ESTABLISHED", client, "10.2.0.100:7", "10.2.0.21:7"})
	}) {
		t.Errorf("the session is not among\n%s", out)
	}
}

// A reload changes only what differs, and no client is lost by it: weights,
// servers that go and come, at last every real server.
func TestKernelReload(t *testing.T) {
	both := shop()
	x := start(t, both)
	p, g := x.probe(t), x.guardNeverEmpty(t)
	more(t, p, 10, "")
	x.reload(t, both, func(s *service) { s.real[1].weight = 3 })
	more(t, p, 20, "")
	x.reload(t, both, func(s *service) { s.real = s.real[:1] })
	more(t, p, 20, "web1")
	x.reload(t, both, func(s *service) { s.real = s.real[1:] })
	more(t, p, 20, "web2")
	x.reload(t, both, func(*service) {})
	more(t, p, 10, "web1")
	g.end(t)
	for _, a := range hosts.Failures(p.Stop()) {
		t.Errorf("a client got %v", a)
	}
}

// When all servers of many services are replaced by others, no service is without
// one in between.
func TestKernelReplacedServers(t *testing.T) {
	const services = 100
	x := prepare(t, shop())
	with := func(in int) string {
		one := shop()
		one.real = one.real[in : in+1]
		return strings.NewReplacer(`"10.2.0.100:80"`, `"10.2.0.101-200:80"`, fmt.Sprintf("shop = [%s]", list(one.real, quoted)), `shop = ["10.2.0.21", "10.2.0.22"]`).Replace(configuration(one))
	}
	served := func(by realServer) {
		t.Helper()
		awaitTable(t, x.DR1, func(now table) error {
			n := 0
			for _, servers := range now {
				if len(servers) == 1 && servers[by.address] == 1 {
					n++
				}
			}
			if n != services {
				return fmt.Errorf("%d services have %s alone, want %d", n, by.address, services)
			}
			return nil
		})
	}
	d := x.DR1.Monitord(t, with(0))
	served(x.real[0])
	hosts.Eventually(t, patience, func() error { // else it would not be known to be up
		for _, h := range statusOf(t, d).Engine.Watches[0].Hosts {
			if h.State != "up" {
				return fmt.Errorf("%s is %s", h.Name, h.State)
			}
		}
		return nil
	})
	g := guardTable(t, x.DR1, func(now table) error {
		for service, servers := range now {
			if len(servers) == 0 {
				return fmt.Errorf("%s had no server", service)
			}
		}
		return nil
	})
	for _, in := range []int{1, 0, 1} {
		d.Configure(t, with(in))
		if err := d.Reload(); err != nil {
			t.Fatal(err)
		}
		served(x.real[in])
	}
	g.end(t)
}

// A change of the scheduler has the kernel refuse clients for a moment, as it
// binds the new one only after everybody has left the old one (ip_vs_edit_service
// in ip_vs_ctl.c); but no server is taken out for it.
func TestKernelReloadScheduler(t *testing.T) {
	both := shop()
	x := start(t, both)
	g := x.guardNeverEmpty(t)
	for _, scheduler := range []string{"wrr", "wlc", "sh", "rr"} {
		x.reload(t, both, func(s *service) { s.scheduler = scheduler })
		if table := saved(x.DR1); !slices.Contains(table, "-A -t 10.2.0.100:80 -s "+scheduler) {
			t.Errorf("with %s the table is %q", scheduler, table)
		}
		x.served(t)
	}
	g.end(t)
}

// reload has the daemon take over a change of the shop, whose watch goes on to
// test both servers, and waits until the table follows.
func (x *site) reload(t *testing.T, both service, change func(*service)) {
	t.Helper()
	s := shop()
	change(&s)
	group := func(s service) string { return fmt.Sprintf("shop = [%s]", list(s.real, quoted)) }
	x.daemon.Configure(t, strings.Replace(configuration(s), group(s), group(both), 1))
	if err := x.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, r := range both.real {
		weight := absent
		if at := slices.IndexFunc(s.real, func(o realServer) bool { return o.address == r.address }); at >= 0 {
			weight = max(s.real[at].weight, 1)
		}
		awaitWeight(t, x.DR1, both, r, weight)
	}
}

func quoted(r realServer) string { return fmt.Sprintf("%q", r.address.Addr()) }

// The sync daemons and the timeouts are kept as configured too.
func TestKernelSyncDaemonIsKept(t *testing.T) {
	s := shop()
	s.synced = true
	x := prepare(t, s)
	x.daemon = x.DR1.Monitord(t, strings.Replace(configuration(s), "[lvs]\n", "[lvs]\ntcp_timeout = \"600s\"\ntcpfin_timeout = \"60s\"\nudp_timeout = \"30s\"\n", 1))
	x.await(t, 1, 1)
	state := func() string {
		return x.DR1.Output("ipvsadm", "-L", "--daemon") + x.DR1.Output("ipvsadm", "-L", "--timeout")
	}
	right := state()
	if !containsAll(right, []string{"master sync daemon (mcast=eth0, syncid=7", "backup sync daemon (mcast=eth0, syncid=7", "600 60 30"}) {
		t.Errorf("ipvsadm says\n%s", right)
	}
	x.DR1.Output("ipvsadm", "--stop-daemon", "master")
	x.DR1.Output("ipvsadm", "--set", "900", "120", "300")
	hosts.Eventually(t, patience, func() error {
		if now := state(); now != right {
			return fmt.Errorf("ipvsadm says\n%swant\n%s", now, right)
		}
		return nil
	})
	logged(t, x.daemon, "the sync daemon master was not running")
	logged(t, x.daemon, "the timeout")
	s.synced = false
	x.daemon.Configure(t, configuration(s))
	if err := x.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	hosts.Eventually(t, patience, func() error {
		if now := x.DR1.Output("ipvsadm", "-L", "--daemon"); strings.Contains(now, "eth0") {
			return fmt.Errorf("without [sync] ipvsadm says\n%s", now)
		}
		return nil
	})
}

// A kernel whose ip_vs was unloaded under the daemon gets it again, table and all.
func TestKernelUnloadedModule(t *testing.T) {
	x := start(t, shop())
	if err := x.daemon.Pause(); err != nil {
		t.Fatal(err)
	}
	x.DR1.Output("ipvsadm", "-C")
	modules, err := filepath.Glob("/sys/module/ip_vs_*")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(modules, "ip_vs") {
		if out, err := exec.CommandContext(t.Context(), "rmmod", filepath.Base(m)).CombinedOutput(); err != nil {
			t.Fatalf("rmmod %s: %v: %s", m, err, out)
		}
	}
	if err := x.daemon.Resume(); err != nil {
		t.Fatal(err)
	}
	hosts.Eventually(t, patience, func() error {
		if got := saved(x.DR1); len(got) != 3 {
			return fmt.Errorf("the table is %q", got)
		}
		return nil
	})
	x.served(t)
}
