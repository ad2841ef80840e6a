package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/ipvs/ipvstest"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/nft"
)

// virtualsIn lists whose errors are joined.
func virtualsIn(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		if s, ok := errors.AsType[*lvs.ServiceError](err); ok {
			out = append(out, s.Virtual)
		}
	}
	walk(err)
	return out
}

func TestNoScheduler(t *testing.T) {
	w := newWorld()
	w.SetSchedulers("wlc")
	k := w.start(t, Settings{})
	maglev := service(80, 1)
	maglev.Scheduler = lvs.MaglevHashing
	for range 2 {
		err := k.Set(t.Context(), lvs.Table{maglev, service(25, 1)})
		if !errors.Is(err, ipvs.ErrNoScheduler) || !strings.Contains(err.Error(), "ip_vs_mh") {
			t.Errorf("Set: %v", err)
		}
		want(t, "services with errors", virtualsIn(err), "web80")
		w.holds(t, lvs.Table{service(25, 1)})
	}
	want(t, "told", w.repaired())
	w.SetSchedulers("wlc", "mh")
	w.setCleanly(t, k, lvs.Table{maglev, service(25, 1)})
	want(t, "told", w.repaired())
}

// The scheduler of a running service cannot be changed; its servers can.
func TestNoSchedulerToChangeTo(t *testing.T) {
	w := newWorld()
	w.SetSchedulers("wlc")
	k := w.start(t, Settings{})
	w.setCleanly(t, k, lvs.Table{service(80, 1)})
	other := service(80, 1, 2)
	other.Scheduler = lvs.NeverQueue
	if err := k.Set(t.Context(), lvs.Table{other}); !errors.Is(err, ipvs.ErrNoScheduler) {
		t.Errorf("Set: %v", err)
	}
	w.holds(t, lvs.Table{service(80, 1, 2)})
}

func TestNoTunnel(t *testing.T) {
	w := newWorld()
	w.WithoutTunnels()
	k := w.start(t, Settings{})
	gue := service(80, 1, 1)
	gue.Servers[1].Forward, gue.Servers[1].Tunnel = lvs.Tunneling, lvs.Tunnel{Type: lvs.GUE, Port: 6080}
	for range 3 {
		err := k.Set(t.Context(), lvs.Table{gue})
		if !errors.Is(err, ipvs.ErrNoTunnel) || len(virtualsIn(err)) != 1 {
			t.Errorf("Set: %v", err)
		}
		w.holds(t, lvs.Table{service(80, 1)})
		want(t, "told", w.repaired())
	}
}

func TestNoPermission(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	w.Deny(true)
	if err := k.Set(t.Context(), lvs.Table{service(80, 1)}); !errors.Is(err, ipvs.ErrNoPermission) {
		t.Errorf("Set: %v", err)
	}
	w.Deny(false)
	w.setCleanly(t, k, lvs.Table{service(80, 1), service(25, 1)})

	// One call is refused; the others are made.
	w.Fail(1, syscall.EPERM)
	err := k.Set(t.Context(), lvs.Table{service(80, 1, 1), service(25, 1, 1)})
	if !errors.Is(err, ipvs.ErrNoPermission) {
		t.Errorf("Set: %v", err)
	}
	want(t, "services with errors", virtualsIn(err), "web80")
	w.holds(t, lvs.Table{service(80, 1), service(25, 1, 1)})
	w.setCleanly(t, k, lvs.Table{service(80, 1, 1), service(25, 1, 1)})
	want(t, "told", w.repaired())
}

// A kernel that hangs is waited for once, not for every server.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.start(t, Settings{})
		w.setCleanly(t, k, lvs.Table{service(80, 1), service(25, 1)})
		w.Hang(2)
		before := time.Now()
		wanted := lvs.Table{service(80, 1, 1, 1), service(25, 1, 1), service(53)}
		if err := k.Set(t.Context(), wanted); !errors.Is(err, ipvs.ErrTimeout) {
			t.Errorf("Set: %v", err)
		}
		if took := time.Since(before); took > 6*time.Second {
			t.Errorf("Set took %s", took)
		}
		w.holds(t, lvs.Table{service(80, 1, 1), service(25, 1)})
		w.setCleanly(t, k, wanted)
		want(t, "told", w.repaired())

		w.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Set(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set with a deadline: %v", err)
		}
		w.setCleanly(t, k, nil)
	})
}

func TestUnloaded(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{Sync: &SyncSettings{Role: SyncMaster, Interface: "eth0"}})
	table := lvs.Table{service(80, 1), service(25, 1)}
	w.setCleanly(t, k, table)
	w.Unload()
	for _, next := range []lvs.Table{table, {service(80, 1, 1), service(25, 1)}, table} {
		if err := k.Set(t.Context(), next); !errors.Is(err, ipvs.ErrNoKernel) {
			t.Errorf("Set without ip_vs: %v", err)
		}
	}
	w.Load()
	w.setCleanly(t, k, table)
	if told := w.repaired(); len(told) != 5 || told[0] != "-A -t 10.0.0.1:80 -s wlc" {
		t.Errorf("told %q, want both services and the sync daemon", told)
	}
	if daemons, _ := w.Daemons(t.Context()); len(daemons) != 1 {
		t.Errorf("daemons %v", daemons)
	}
}

// If the new server cannot be put in, the old one stays.
func TestNeverEmptied(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	w.setCleanly(t, k, lvs.Table{service(80, 1, 1, 0)})
	w.Fail(1, syscall.ENOMEM)
	wanted := lvs.Table{service(80, -1, 0, -1, 1)}
	if err := k.Set(t.Context(), wanted); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("Set: %v", err)
	}
	if got := lines(lvs.Table{service(80, 1), service(80, -1, 1)}); !anyOf(w.Save(), got) {
		t.Errorf("no server that is up was left:\n%s", strings.Join(w.Save(), "\n"))
	}
	w.setCleanly(t, k, wanted)
}

func anyOf(lines, wanted []string) bool {
	for _, l := range lines {
		for _, x := range wanted {
			if l == x && strings.HasPrefix(l, "-a") {
				return true
			}
		}
	}
	return false
}

func TestManyErrorsOfOneService(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	w.setCleanly(t, k, lvs.Table{service(80)})
	for i := range 9 {
		w.Fail(1+i, syscall.ENOMEM)
	}
	err := k.Set(t.Context(), lvs.Table{service(80, 1, 1, 1, 1, 1, 1, 1, 1, 1)})
	if n := len(virtualsIn(err)); n != 5 || !strings.Contains(err.Error(), "and 5 more errors") {
		t.Errorf("%d errors: %v", n, err)
	}
}

func TestSysctls(t *testing.T) {
	w := newWorld()
	w.sysctls.values[expireConnections] = "1"
	k := w.start(t, Settings{})
	plain, persistent, cut, full := service(80, 1), service(80, 1), service(80, 1), service(80, 1)
	persistent.Persistence = time.Minute
	cut.Drain = lvs.DrainCut
	full.Servers[0].Forward = lvs.FullNAT
	values := func(templates, connections, tracking string) map[string]string {
		return map[string]string{expireTemplates: templates, expireConnections: connections, conntrack: tracking, backupOnly: "0"}
	}
	for _, step := range []struct {
		name  string
		table lvs.Table
		want  map[string]string
	}{
		{"plain", lvs.Table{plain}, values("0", "1", "0")},
		{"persistence", lvs.Table{persistent}, values("1", "1", "0")},
		{"cut", lvs.Table{cut}, values("0", "1", "0")},
		{"fullnat", lvs.Table{full}, values("0", "1", "1")},
		{"plain again", lvs.Table{plain}, values("0", "1", "0")},
		{"persistence again", lvs.Table{persistent}, values("1", "1", "0")},
	} {
		w.setCleanly(t, k, step.table)
		if diff := gocmp.Diff(step.want, w.sysctls.all()); diff != "" {
			t.Errorf("%s: sysctls (-want +got):\n%s", step.name, diff)
		}
	}
	want(t, "told", w.repaired())

	// Somebody resets it.
	_ = w.sysctls.Set(expireTemplates, "0")
	w.setCleanly(t, k, lvs.Table{persistent})
	want(t, "told", w.repaired(), expireTemplates+" was 0: it was set to 1 again")

	// What cannot be mended is no repair.
	_ = w.sysctls.Set(expireTemplates, "0")
	w.sysctls.denied[expireTemplates] = true
	for range 2 {
		if err := k.Set(t.Context(), lvs.Table{persistent}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Set: %v", err)
		}
	}
	want(t, "told", w.repaired())
	delete(w.sysctls.denied, expireTemplates)
	w.setCleanly(t, k, lvs.Table{persistent})
	want(t, "told", w.repaired(), expireTemplates+" was 0: it was set to 1 again")

	// The next process restores what this one set, unless somebody chose a third value.
	k = w.start(t, Settings{})
	w.setCleanly(t, k, lvs.Table{plain})
	if got := w.sysctls.all(); got[expireTemplates] != "0" {
		t.Errorf("%v", got)
	}
	w.setCleanly(t, k, lvs.Table{persistent})
	_ = w.sysctls.Set(expireTemplates, "2")
	w.setCleanly(t, k, lvs.Table{plain})
	if got := w.sysctls.all(); got[expireTemplates] != "2" {
		t.Errorf("%v", got)
	}

	w.sysctls.denied[expireTemplates] = true
	if err := k.Set(t.Context(), lvs.Table{persistent}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), expireTemplates) {
		t.Errorf("Set: %v", err)
	}
	w.holds(t, lvs.Table{persistent})
}

func TestFullNAT(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	web, marked := service(80, 1, 1), service(0, 1)
	web.Servers[0].Forward, web.Servers[1].Forward = lvs.FullNAT, lvs.NAT
	marked.ID = lvs.ServiceID{Protocol: lvs.FWMark, Mark: 7, Address: address("0.0.0.0:0")}
	marked.Name, marked.Servers[0].Forward = "marked", lvs.FullNAT
	table := lvs.Table{web, marked}
	w.setCleanly(t, k, table)
	rules := []nft.Rule{
		{Protocol: nft.TCP, Virtual: web.ID.Address, Real: web.Servers[0].Address},
		{Mark: 7, Real: marked.Servers[0].Address},
	}
	w.masqueradesAs(t, rules...)
	w.Forget()
	w.setCleanly(t, k, table)
	want(t, "done again", w.changed())
	want(t, "told", w.repaired())

	calls := len(w.masquerade.sizes)
	heavier := table.Clone()
	heavier[0].Servers[0].Weight = 2
	w.setCleanly(t, k, heavier)
	if len(w.masquerade.sizes) != calls {
		t.Error("a weight changed the masquerade")
	}
	w.setCleanly(t, k, lvs.Table{web})
	w.masqueradesAs(t, rules[0])
	nat := web
	nat.Servers = service(80, 1).Servers
	w.setCleanly(t, k, lvs.Table{nat})
	w.masqueradesAs(t)
	calls = len(w.masquerade.sizes)
	w.setCleanly(t, k, lvs.Table{nat})
	if len(w.masquerade.sizes) != calls {
		t.Error("the masquerade is touched although nothing needs it")
	}
}

// The rule of a server goes after the server.
func TestMasqueradeOutlivesServer(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	one, other := service(80, 1), service(80, -1, 1)
	one.Servers[0].Forward, other.Servers[0].Forward = lvs.FullNAT, lvs.FullNAT
	w.setCleanly(t, k, lvs.Table{one})
	w.setCleanly(t, k, lvs.Table{other})
	w.setCleanly(t, k, nil)
	if diff := gocmp.Diff([]int{1, 2, 1, 0}, w.masquerade.sizes); diff != "" {
		t.Errorf("numbers of rules (-want +got):\n%s", diff)
	}
}

func (w *world) masqueradesAs(t *testing.T, rules ...nft.Rule) {
	t.Helper()
	if diff := gocmp.Diff(rules, w.masquerade.rules, cmpopts.EquateEmpty(), gocmp.Comparer(func(a, b nft.Rule) bool { return a == b })); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// Without masquerade a server by fullnat would not be answered: it is left out,
// and nobody else suffers.
func TestNoFullNAT(t *testing.T) {
	full := service(80, 1, -1, 1)
	full.Servers[1].Forward = lvs.FullNAT
	for _, spoil := range []func(*world){
		func(w *world) { w.masquerade.err = nft.ErrNoKernel },
		func(w *world) { w.sysctls.denied[conntrack] = true },
		func(w *world) { delete(w.sysctls.values, conntrack) },
	} {
		w := newWorld()
		k := w.start(t, Settings{})
		w.setCleanly(t, k, lvs.Table{service(80, 1, 1), service(25, 1)})
		spoil(w)
		for range 2 {
			err := k.Set(t.Context(), lvs.Table{full, service(25, 2)})
			want(t, "services with errors", virtualsIn(err), "web80")
			w.holds(t, lvs.Table{service(80, 1), service(25, 2)})
		}
		// The last one stays rather than nobody.
		only := full
		only.Servers = full.Servers[1:]
		if err := k.Set(t.Context(), lvs.Table{only, service(25, 2)}); len(virtualsIn(err)) != 1 {
			t.Errorf("Set: %v", err)
		}
		w.holds(t, lvs.Table{service(80, 1), service(25, 2)})
		w.masquerade.err, w.sysctls.denied, w.sysctls.values = nil, nil, newSysctls().values
		w.setCleanly(t, k, lvs.Table{only, service(25, 2)})
	}
}

func TestSyncDaemons(t *testing.T) {
	w := newWorld()
	sync := SyncSettings{Role: SyncBackup, Interface: "eth0", SyncID: 7}
	k := w.start(t, Settings{Sync: &sync})
	running := func() (out []string) {
		all, err := w.Daemons(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			out = append(out, fmt.Sprintf("%s %s %d %d", d.Role, d.Interface, d.SyncID, d.Port))
		}
		return out
	}
	set := func(s *SyncSettings) {
		t.Helper()
		k.Configure(Settings{Sync: s})
		w.setCleanly(t, k, nil)
		w.Forget()
		w.setCleanly(t, k, nil)
		want(t, "done again", w.changed())
	}
	set(&sync)
	want(t, "daemons", running(), "backup eth0 7 8848")
	master := sync
	master.Role = SyncMaster
	set(&master)
	want(t, "daemons", running(), "master eth0 7 8848")
	both := sync
	both.Role, both.Port = SyncBoth, 9000
	set(&both)
	want(t, "daemons", running(), "master eth0 7 9000", "backup eth0 7 9000")
	want(t, "told", w.repaired())

	if err := w.Admin(func(a ipvs.Access) error {
		return errors.Join(a.StopDaemon(t.Context(), ipvs.Master), a.StopDaemon(t.Context(), ipvs.Backup),
			a.StartDaemon(t.Context(), ipvs.Daemon{Role: ipvs.Backup, Interface: "eth1"}))
	}); err != nil {
		t.Fatal(err)
	}
	w.setCleanly(t, k, nil)
	want(t, "daemons", running(), "master eth0 7 9000", "backup eth0 7 9000")
	want(t, "told", w.repaired(), "the sync daemon master was not running: it was started", "the sync daemon backup had other settings: it was started anew")

	// The next process stops what this one started, and nobody else's.
	k = w.start(t, Settings{})
	set(nil)
	want(t, "daemons", running())
	if err := w.StartDaemon(t.Context(), ipvs.Daemon{Role: ipvs.Backup, Interface: "eth1"}); err != nil {
		t.Fatal(err)
	}
	set(nil)
	want(t, "daemons", running(), "backup eth1 0 8848")
	set(&master)
	want(t, "daemons", running(), "master eth0 7 8848", "backup eth1 0 8848")
}

func TestDaemonsAlike(t *testing.T) {
	group6 := netip.MustParseAddr("ff02::51")
	for _, c := range []struct {
		name            string
		running, wanted ipvs.Daemon
		want            bool
	}{
		{"defaults", ipvs.Daemon{Role: ipvs.Master, MaxLength: 1472, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}, ipvs.Daemon{Role: ipvs.Master}, true},
		{"another port", ipvs.Daemon{Role: ipvs.Master, MaxLength: 1472, Port: 9000, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}, ipvs.Daemon{Role: ipvs.Master}, false},
		{"a short master", ipvs.Daemon{Role: ipvs.Master, MaxLength: 500, Port: 1, TTL: 2, Group: group6}, ipvs.Daemon{Role: ipvs.Master, MaxLength: 500, Port: 1, TTL: 2, Group: group6}, true},
		{"a short backup", ipvs.Daemon{Role: ipvs.Backup, MaxLength: 1024, Port: 1, TTL: 2, Group: group6}, ipvs.Daemon{Role: ipvs.Backup, MaxLength: 500, Port: 1, TTL: 2, Group: group6}, true},
		{"the longest", ipvs.Daemon{Role: ipvs.Backup, MaxLength: 65487, Port: 1, TTL: 2, Group: group6}, ipvs.Daemon{Role: ipvs.Backup, MaxLength: 65535, Port: 1, TTL: 2, Group: group6}, true},
		{"a longer one", ipvs.Daemon{Role: ipvs.Backup, MaxLength: 1472, Port: 1, TTL: 2, Group: group6}, ipvs.Daemon{Role: ipvs.Backup, MaxLength: 1400, Port: 1, TTL: 2, Group: group6}, false},
	} {
		if got := alike(c.running, c.wanted); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{Timeouts: ipvs.Timeouts{TCP: time.Hour}})
	now := func() ipvs.Timeouts { got, _ := w.Timeouts(t.Context()); return got }
	before := now()
	w.setCleanly(t, k, nil)
	wanted := before
	wanted.TCP = time.Hour
	if got := now(); got != wanted {
		t.Errorf("timeouts %v, want %v", got, wanted)
	}
	want(t, "told", w.repaired())
	w.Forget()
	w.setCleanly(t, k, nil)
	want(t, "done again", w.changed())
	if err := w.SetTimeouts(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	w.setCleanly(t, k, nil)
	want(t, "told", w.repaired(), "the timeout tcp was 15m0s instead of 1h0m0s")
}

// Flaps cost what they change: two calls each, whatever the table's size.
func TestFlaps(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	up := lvs.Table{}
	for port := range 20 {
		up = append(up, service(uint16(1000+port), 1, 1, 1))
	}
	w.setCleanly(t, k, up)
	down := up.Clone()
	down[10].Servers = down[10].Servers[1:]
	w.Forget()
	const flaps = 10_000
	for i := range flaps {
		if err := k.Set(t.Context(), []lvs.Table{down, up}[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.Calls()); n != flaps {
		t.Errorf("%d calls for %d flaps of one server", n, flaps)
	}
	w.holds(t, up)
	want(t, "told", w.repaired())
	if w.saves != 1 {
		t.Errorf("saved %d times", w.saves)
	}
}

// What a foreign hand gave our service that no configuration can is taken away.
func TestStrangeSettings(t *testing.T) {
	for name, spoil := range map[string]func(*ipvs.Service){
		"engine":         func(s *ipvs.Service) { s.Engine = "sip" },
		"another's flag": func(s *ipvs.Service) { s.Flags |= ipvs.Sched3 },
	} {
		w := newWorld()
		k := w.start(t, Settings{})
		table := lvs.Table{service(80, 1)}
		w.setCleanly(t, k, table)
		spoiled := toService(view(table[0]))
		spoil(&spoiled)
		if err := w.Admin(func(a ipvs.Access) error { return a.UpdateService(t.Context(), spoiled) }); err != nil {
			t.Fatal(err)
		}
		w.setCleanly(t, k, table)
		want(t, name+": told", w.repaired(), "-E -t 10.0.0.1:80 -s wlc")
	}
}

func TestBadServer(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	bad := service(80, 1, 1, 1)
	bad.Servers[0].Forward = "teleport"
	bad.Servers[1].Forward, bad.Servers[1].Tunnel.Type = lvs.Tunneling, "wormhole"
	err := k.Set(t.Context(), lvs.Table{bad, service(25, 1)})
	want(t, "services with errors", virtualsIn(err), "web80", "web80")
	w.holds(t, lvs.Table{service(80, -1, -1, 1), service(25, 1)})
}

var _ ipvs.Access = (*ipvstest.Kernel)(nil)
