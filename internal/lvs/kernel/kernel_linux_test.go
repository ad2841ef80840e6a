package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
	"github.com/monitord/monitord/internal/nft"
)

// A director is a network namespace with a table of its own. The goroutine that
// made it is in there, with the programs that it starts.
type director struct {
	*Kernel
	client *ipvs.Client
	told   []Repair
	memory Memory
}

func newDirector(t testing.TB, s Settings) *director {
	t.Helper()
	kernellab.Require(t)
	netiftest.Enter(t)
	client, err := ipvs.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := &director{client: client}
	d.restart(t, s)
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), client.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// restart is a new process.
func (d *director) restart(t testing.TB, s Settings) {
	t.Helper()
	d.told = nil
	d.Kernel = New(Config{
		Access: d.client, Settings: s, Memory: d.memory,
		Remember: func(m Memory) error { d.memory = m; return nil },
		Tell:     func(r Repair) { d.told = append(d.told, r) },
	})
}

func (d *director) set(t testing.TB, table lvs.Table) {
	t.Helper()
	if err := d.Set(t.Context(), table); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

// ipvsadm runs Debian's in the namespace and returns what it prints.
func ipvsadm(t testing.TB, input string, args ...string) string {
	t.Helper()
	kernellab.Tools(t)
	c := exec.CommandContext(t.Context(), "ipvsadm", args...)
	c.Stdin = strings.NewReader(input)
	var failure bytes.Buffer
	c.Stderr = &failure
	out, err := c.Output()
	if err != nil {
		t.Fatalf("ipvsadm %s: %v: %s", strings.Join(args, " "), err, &failure)
	}
	return string(out)
}

func TestKernelConformance(t *testing.T) {
	kernellab.Require(t)
	lvstest.Run(t, lvstest.Subject{
		New: func(t testing.TB) lvs.Backend { return newDirector(t, Settings{}).Kernel },
		Actual: func(t testing.TB, b lvs.Backend) lvs.Table {
			return tableOf(t, b.(*Kernel).access)
		},
		Kernel: true,
	})
}

// everything has each scheduler, flag, protocol, way and setting.
func everything() lvs.Table {
	var table lvs.Table
	port := uint16(1000)
	add := func(change func(*lvs.Service)) {
		port++
		s := service(port, 1, 2)
		if change(&s); s.ID.Address.Addr().Is6() {
			for i := range s.Servers {
				s.Servers[i].Address = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%d", i+1)), port)
			}
		}
		table = append(table, s)
	}
	for _, scheduler := range lvs.Schedulers() {
		add(func(s *lvs.Service) { s.Scheduler = scheduler })
	}
	for _, f := range []struct {
		scheduler lvs.Scheduler
		flags     lvs.Flags
	}{
		{lvs.SourceHashing, lvs.SourceHashingFallback},
		{lvs.SourceHashing, lvs.SourceHashingFallback | lvs.SourceHashingPort},
		{lvs.MaglevHashing, lvs.MaglevPort},
		{lvs.MaglevHashing, lvs.MaglevFallback | lvs.MaglevPort},
	} {
		add(func(s *lvs.Service) { s.Scheduler, s.Flags = f.scheduler, f.flags })
	}
	add(func(s *lvs.Service) { s.ID.Protocol, s.Flags = lvs.UDP, lvs.OnePacket })
	add(func(s *lvs.Service) { s.ID.Protocol = lvs.SCTP })
	add(func(s *lvs.Service) { s.Persistence, s.Mask = 50*time.Second, 24 })
	add(func(s *lvs.Service) {
		s.ID = lvs.ServiceID{Protocol: lvs.FWMark, Mark: 7, Address: address("0.0.0.0:0")}
	})
	add(func(s *lvs.Service) {
		s.ID = lvs.ServiceID{Protocol: lvs.FWMark, Mark: 7, Address: address("[::]:0")}
		s.Persistence, s.Mask = time.Hour, 64
	})
	add(func(s *lvs.Service) {
		s.ID.Address = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), port)
	})
	for _, forward := range []lvs.Forward{lvs.NAT, lvs.FullNAT, lvs.Tunneling, lvs.Local} {
		add(func(s *lvs.Service) { s.Servers[0].Forward = forward })
	}
	for _, tunnel := range []lvs.Tunnel{{Type: lvs.GUE, Port: 6080, Checksum: lvs.RemoteChecksum}, {Type: lvs.GRE, Checksum: lvs.OuterChecksum}} {
		add(func(s *lvs.Service) { s.Servers[0].Forward, s.Servers[0].Tunnel = lvs.Tunneling, tunnel })
	}
	add(func(s *lvs.Service) { s.Servers[0].Upper, s.Servers[0].Lower, s.Servers[1].Weight = 100, 50, 0 })
	return table
}

// All that can be configured is read back as it was set: the second Set changes
// nothing, and ipvsadm says the same.
func TestKernelEverything(t *testing.T) {
	d := newDirector(t, Settings{})
	table := everything()
	d.set(t, table)
	for range 2 {
		d.set(t, table)
		if diff, err := d.Diff(t.Context(), table); err != nil || len(diff) > 0 {
			t.Errorf("after Set there is left to do %q, %v", texts(diff), err)
		}
	}
	if len(d.told) > 0 {
		t.Errorf("repaired %+v", d.told)
	}
	// It always says the type of a tunnel, and never the thresholds.
	expect := texts(lvs.Changes(nil, views(table)))
	for i, l := range expect {
		if strings.Contains(l, " -i ") && !strings.Contains(l, "--tun-type") {
			expect[i] = l + " --tun-type ipip"
		}
		expect[i] = strings.Replace(expect[i], " -x 100 -y 50", "", 1)
	}
	got := strings.Split(strings.TrimSpace(ipvsadm(t, "", "-S", "-n")), "\n")
	for i, l := range got {
		got[i] = strings.TrimSpace(l)
	}
	slices.Sort(expect)
	slices.Sort(got)
	if diff := gocmp.Diff(expect, got); diff != "" {
		t.Errorf("ipvsadm -S -n (-want +got):\n%s", diff)
	}

	ours, others, err := d.Actual(t.Context())
	if err != nil || len(ours) != len(table) || len(others) > 0 {
		t.Errorf("actual: %d ours, %d others, %v", len(ours), len(others), err)
	}
	if rules, err := nft.Rules(t.Context()); err != nil || len(rules) != 1 {
		t.Errorf("masquerade %v, %v", rules, err)
	}
	d.set(t, nil)
	if left := ipvsadm(t, "", "-S", "-n"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if rules, err := nft.Rules(t.Context()); err != nil || len(rules) > 0 {
		t.Errorf("masquerade %v, %v", rules, err)
	}
}

// A server that is one of the director's own addresses reads back as it was set,
// by whatever way.
func TestKernelOwnAddress(t *testing.T) {
	d := newDirector(t, Settings{})
	for _, forward := range lvs.Forwards() {
		s := service(80, 1)
		s.Servers[0].Address, s.Servers[0].Forward = address("127.0.0.1:80"), forward
		s6 := service(80, 1)
		s6.ID.Address = address("[2001:db8::1]:80")
		s6.Servers[0].Address, s6.Servers[0].Forward = address("[::1]:80"), forward
		table := lvs.Table{s, s6}
		d.set(t, table)
		d.set(t, table)
		if diff, err := d.Diff(t.Context(), table); err != nil || len(diff) > 0 {
			t.Errorf("%s: after Set there is left to do %q, %v", forward, texts(diff), err)
		}
	}
	if len(d.told) > 0 {
		t.Errorf("repaired %+v", d.told)
	}
}

// ipvsadm flushes and changes the table; the next comparison mends it.
func TestKernelDrift(t *testing.T) {
	d := newDirector(t, Settings{})
	table := lvs.Table{service(80, 1, 3), service(25, 1)}
	d.set(t, table)
	for _, c := range []struct {
		args string
		want int // changes
	}{
		{"-C", 5},
		{"-d -t 10.0.0.1:80 -r 10.0.1.1:80", 1},
		{"-e -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 7", 1},
		{"-E -t 10.0.0.1:80 -s rr -p 60", 1},
		{"-a -t 10.0.0.1:80 -r 10.0.1.9:80 -g", 1},
		{"-D -t 10.0.0.1:25", 2},
		{"-A -t 10.0.0.1:99 -s rr", 0},
	} {
		d.told = nil
		ipvsadm(t, "", strings.Fields(c.args)...)
		d.set(t, table)
		n := 0
		for _, r := range d.told {
			n += len(r.Changes)
		}
		if n != c.want {
			t.Errorf("ipvsadm %s: repaired %+v, want %d changes", c.args, d.told, c.want)
		}
		if diff, err := d.Diff(t.Context(), table); err != nil || len(diff) > 0 {
			t.Errorf("ipvsadm %s: left to do %q, %v", c.args, texts(diff), err)
		}
	}
	// Another process adopts all, and removes what is not wanted; the foreign
	// service stays.
	d.restart(t, Settings{})
	d.set(t, table[:1])
	if got := ipvsadm(t, "", "-S", "-n"); !strings.Contains(got, ":99 ") || strings.Contains(got, ":25 ") {
		t.Errorf("after a restart:\n%s", got)
	}
}

func TestKernelSysctls(t *testing.T) {
	d := newDirector(t, Settings{OnExit: OnExitRemove})
	s := service(80, 1)
	s.Persistence, s.Drain, s.Servers[0].Forward = time.Minute, lvs.DrainCut, lvs.FullNAT
	check := func(when, want string) {
		t.Helper()
		for _, key := range []netif.Sysctl{expireTemplates, expireConnections, conntrack} {
			if value, err := key.Get(); err != nil || value != want {
				t.Errorf("%s: %s = %q, %v, want %s", when, key, value, err, want)
			}
		}
	}
	d.set(t, lvs.Table{s})
	check("needed", "1")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	check("removed", "0")
	if got := ipvsadm(t, "", "-S", "-n"); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

func TestKernelSync(t *testing.T) {
	d := newDirector(t, Settings{})
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "wire"}}
	if err := errors.Join(netlink.LinkAdd(link), netlink.LinkSetUp(link), netlink.AddrAdd(link, &netlink.Addr{IPNet: netlink.NewIPNet([]byte{10, 9, 9, 1})})); err != nil {
		t.Fatal(err)
	}
	for _, s := range []SyncSettings{
		{Role: SyncMaster, Interface: "wire"},
		{Role: SyncBackup, Interface: "wire", SyncID: 9},
		{Role: SyncBoth, Interface: "wire", SyncID: 9, MaxLength: 1000, Group: netip.MustParseAddr("224.0.0.99"), Port: 9000, TTL: 3},
	} {
		d.Configure(Settings{Sync: &s, Timeouts: ipvs.Timeouts{TCP: time.Hour}})
		for range 3 {
			d.set(t, nil)
		}
		running, err := d.client.Daemons(t.Context())
		if err != nil || len(running) != len(s.Role.roles()) || len(d.told) > 0 {
			t.Errorf("%+v: running %+v, %v; repaired %+v", s, running, err, d.told)
		}
	}
	d.Configure(Settings{})
	d.set(t, nil)
	if running, err := d.client.Daemons(t.Context()); err != nil || len(running) > 0 {
		t.Errorf("running %+v, %v", running, err)
	}
	if now, err := d.client.Timeouts(t.Context()); err != nil || now.TCP != time.Hour {
		t.Errorf("timeouts %+v, %v", now, err)
	}
	if len(d.told) > 0 {
		t.Errorf("repaired %+v", d.told)
	}
}

// The kernel's sync daemons change their roles with the group, quickly; and a process
// that is started anew leaves them, and the services, until somebody has decided.
func TestKernelFollows(t *testing.T) {
	sync := Settings{Sync: &SyncSettings{Role: SyncMaster, Interface: "wire", SyncID: 9}}
	d := newDirector(t, sync)
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "wire"}}
	if err := errors.Join(netlink.LinkAdd(link), netlink.LinkSetUp(link), netlink.AddrAdd(link, &netlink.Addr{IPNet: netlink.NewIPNet([]byte{10, 9, 9, 1})})); err != nil {
		t.Fatal(err)
	}
	web := lvs.Table{service(80, 1, 2)}
	is := func(when string, a lvs.Activity, table lvs.Table, role ipvs.Role, services int) {
		t.Helper()
		d.SetActivity(a)
		began := time.Now()
		d.set(t, table)
		t.Logf("%s: %s", when, time.Since(began))
		running, err := d.client.Daemons(t.Context())
		if err != nil || len(running) != 1 || running[0].Role != role || running[0].SyncID != 9 {
			t.Errorf("%s: running %+v, %v; want %s", when, running, err, role)
		}
		if got := tableOf(t, d.client); len(got) != services {
			t.Errorf("%s: the kernel holds %v, want %d services", when, got, services)
		}
	}
	left := web.Clone()
	left[0].Leave, left[0].Servers = true, service(80, 7).Servers
	for range 3 {
		is("standby", lvs.Standby, nil, ipvs.Backup, 0)
		is("active", lvs.Active, web, ipvs.Master, 1)
		d.restart(t, sync)
		is("started anew", lvs.Waiting, left, ipvs.Master, 1)
		is("once more", lvs.Waiting, left, ipvs.Master, 1)
		is("adopted", lvs.Active, web, ipvs.Master, 1)
		for _, r := range d.told {
			if len(r.Changes)+len(r.Other) > 0 {
				t.Errorf("repaired %+v", r)
			}
		}
	}
}

// big has 1,000 services with 10 servers each.
func big() lvs.Table {
	var table lvs.Table
	for i := range 1000 {
		table = append(table, service(uint16(1000+i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	}
	return table
}

// TestKernelBig prints how long a large table takes, beside ipvsadm -R of the
// same table.
func TestKernelBig(t *testing.T) {
	kernellab.Require(t)
	table := big()
	var script strings.Builder
	for _, c := range lvs.Changes(nil, table) {
		fmt.Fprintln(&script, c)
	}
	stopwatch := func(t *testing.T, what string, do func()) time.Duration {
		before := time.Now()
		do()
		took := time.Since(before)
		t.Logf("1,000 services with 10 servers each: %s: %.3f s", what, took.Seconds())
		return took
	}
	var theirs time.Duration
	t.Run("ipvsadm", func(t *testing.T) {
		newDirector(t, Settings{})
		ipvsadm(t, "", "-S", "-n") // loads it
		theirs = stopwatch(t, "ipvsadm -R", func() { ipvsadm(t, script.String(), "-R") })
		stopwatch(t, "ipvsadm -S -n", func() { ipvsadm(t, "", "-S", "-n") })
		ipvsadm(t, "", "-C") // rather than leave it to the end of the namespace, which takes long
	})
	t.Run("Set", func(t *testing.T) {
		d := newDirector(t, Settings{})
		d.set(t, nil)
		ours := stopwatch(t, "Set", func() { d.set(t, table) })
		stopwatch(t, "Set that compares", func() { d.set(t, table) })
		flapped := table.Clone()
		flapped[500].Servers = flapped[500].Servers[1:]
		stopwatch(t, "Set after one server's flap", func() { d.set(t, flapped) })
		ipvsadm(t, "", "-C")
		stopwatch(t, "Set after a flush", func() { d.set(t, flapped) })
		stopwatch(t, "Counts", func() {
			if _, err := d.Counts(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if diff, err := d.Diff(t.Context(), flapped); err != nil || len(diff) > 0 {
			t.Errorf("left to do %d changes, %v", len(diff), err)
		}
		stopwatch(t, "Set of nothing", func() { d.set(t, nil) })
		t.Logf("Set took %.1f times as long as ipvsadm -R", ours.Seconds()/theirs.Seconds())
	})
}
