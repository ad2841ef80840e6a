package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/ipvs/ipvstest"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
	"github.com/monitord/monitord/internal/nft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sysctls are kernel parameters in memory.
type sysctls struct {
	mu     sync.Mutex // protects all below
	values map[string]string
	denied map[string]bool
	first  func(key string) // called before each Set
}

func newSysctls() *sysctls {
	return &sysctls{
		values: map[string]string{expireTemplates: "0", expireConnections: "0", conntrack: "0", backupOnly: "0"},
		denied: map[string]bool{},
	}
}

func (s *sysctls) Get(key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[key]
	if !ok {
		return "", fs.ErrNotExist
	}
	return value, nil
}

func (s *sysctls) Set(key, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != nil {
		s.first(key)
	}
	if s.denied[key] {
		return fs.ErrPermission
	}
	s.values[key] = value
	return nil
}

func (s *sysctls) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

// masquerade holds rules in memory.
type masquerade struct {
	mu    sync.Mutex // protects all below
	rules []nft.Rule
	sizes []int // of what was set
	err   error
	first func() // called before each Set
}

func (m *masquerade) Set(_ context.Context, rules []nft.Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first != nil {
		m.first()
	}
	m.sizes = append(m.sizes, len(rules))
	if m.err == nil {
		m.rules = slices.Clone(rules)
	}
	return m.err
}

func (m *masquerade) Clear(ctx context.Context) error { return m.Set(ctx, nil) }

// A world is a backend with a kernel in memory around it, which outlives it.
type world struct {
	*ipvstest.Kernel
	masquerade *masquerade
	sysctls    *sysctls
	memory     Memory
	memoryErr  error
	saves      int
	namespace  string
	told       []Repair
}

func newWorld() *world {
	return &world{Kernel: ipvstest.New(), masquerade: &masquerade{}, sysctls: newSysctls()}
}

// start is a new process.
func (w *world) start(t testing.TB, s Settings) *Kernel {
	w.told = nil
	k := New(Config{
		Access: w.Kernel, Masquerade: w.masquerade, Sysctl: w.sysctls, Settings: s, Memory: w.memory, Namespace: w.namespace,
		Remember: func(m Memory) error {
			w.saves++
			if w.memoryErr == nil {
				w.memory = m
			}
			return w.memoryErr
		},
		Tell: func(r Repair) { w.told = append(w.told, r) },
	})
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// setCleanly sets the table and has all its lines in the kernel afterwards.
func (w *world) setCleanly(t testing.TB, k *Kernel, table lvs.Table) {
	t.Helper()
	if err := k.Set(t.Context(), table); err != nil {
		t.Fatalf("Set: %v", err)
	}
	w.holds(t, table)
}

func (w *world) holds(t testing.TB, table lvs.Table) {
	t.Helper()
	if diff := gocmp.Diff(lines(table), w.Save(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the kernel's table (-want +got):\n%s", diff)
	}
}

// views is a whole table as it will be read back.
func views(t lvs.Table) lvs.Table {
	out := make(lvs.Table, len(t))
	for i, s := range t {
		out[i] = view(s)
	}
	return out
}

// lines are those of ipvsadm -S, as [ipvstest.Kernel.Save] has them.
func lines(table lvs.Table) []string {
	other := ipvstest.New()
	for _, s := range views(table) {
		_ = other.AddService(context.Background(), toService(s))
		for _, r := range s.Servers {
			d, _ := toDestination(r)
			_ = other.AddDestination(context.Background(), keyOf(s.ID), d)
		}
	}
	return other.Save()
}

// changed returns the changes since the last call.
func (w *world) changed() []string {
	defer w.Forget()
	return w.Changes()
}

// repaired returns what was told since the last call, as text.
func (w *world) repaired() []string {
	defer func() { w.told = nil }()
	var out []string
	for _, r := range w.told {
		prefix := ""
		if r.Start {
			prefix = "start: "
		}
		for _, id := range r.Adopted {
			out = append(out, prefix+"adopted "+id.String())
		}
		for _, c := range r.Changes {
			out = append(out, prefix+c.String())
		}
		for _, o := range r.Other {
			out = append(out, prefix+o)
		}
	}
	return out
}

func want(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func address(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// service is a service on 10.0.0.1 with servers 10.0.1.1, .2 ... of these
// weights; -1 leaves one out.
func service(port uint16, weights ...int) lvs.Service {
	s := lvs.Service{
		Name: fmt.Sprint("web", port), Scheduler: lvs.WeightedLeastConnection, Drain: lvs.DrainSlowly,
		ID: lvs.ServiceID{Protocol: lvs.TCP, Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)},
	}
	for i, weight := range weights {
		if weight >= 0 {
			s.Servers = append(s.Servers, lvs.Server{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + i)}), port), Weight: weight, Forward: lvs.DirectRouting})
		}
	}
	return s
}

func TestConformance(t *testing.T) {
	lvstest.Run(t, lvstest.Subject{
		New: func(t testing.TB) lvs.Backend { return newWorld().start(t, Settings{}) },
		Actual: func(t testing.TB, b lvs.Backend) lvs.Table {
			return tableOf(t, b.(*Kernel).access)
		},
		Kernel: true,
	})
}

// tableOf reads the kernel's table.
func tableOf(t testing.TB, access ipvs.Access) lvs.Table {
	t.Helper()
	services, err := access.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table lvs.Table
	for _, found := range services {
		s := fromService(found)
		all, err := access.Destinations(t.Context(), found.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			s.Servers = append(s.Servers, fromDestination(d))
		}
		table = append(table, s)
	}
	return table
}

func TestDrift(t *testing.T) {
	ctx := t.Context()
	web, mail := service(80, 1, 3), service(25, 1)
	webKey, mailKey := keyOf(web.ID), keyOf(mail.ID)
	rr := toService(view(web))
	rr.Scheduler = "rr"
	heavy, _ := toDestination(web.Servers[0])
	heavy.Weight = 9
	extra := heavy
	extra.Address = address("10.0.1.9:80")
	nat := heavy
	nat.Weight, nat.Forward = 1, ipvs.Masq
	for _, c := range []struct {
		name  string
		admin func(ipvs.Access) error
		want  []string
	}{
		{"nothing", func(ipvs.Access) error { return nil }, nil},
		{"a weight", func(a ipvs.Access) error { return a.UpdateDestination(ctx, webKey, heavy) }, []string{"-e -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1"}},
		{"a way", func(a ipvs.Access) error { return a.UpdateDestination(ctx, webKey, nat) }, []string{"-e -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1"}},
		{"a server more", func(a ipvs.Access) error { return a.AddDestination(ctx, webKey, extra) }, []string{"-d -t 10.0.0.1:80 -r 10.0.1.9:80"}},
		{"a server less", func(a ipvs.Access) error { return a.RemoveDestination(ctx, webKey, heavy.Address) }, []string{"-a -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1"}},
		{"a scheduler", func(a ipvs.Access) error { return a.UpdateService(ctx, rr) }, []string{"-E -t 10.0.0.1:80 -s wlc"}},
		{"a service less", func(a ipvs.Access) error { return a.RemoveService(ctx, mailKey) }, []string{"-A -t 10.0.0.1:25 -s wlc", "-a -t 10.0.0.1:25 -r 10.0.1.1:25 -g -w 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			k := w.start(t, Settings{})
			table := lvs.Table{web, mail}
			w.setCleanly(t, k, table)
			w.setCleanly(t, k, table)
			want(t, "told of our own doing", w.repaired())
			w.Forget()
			if err := w.Admin(c.admin); err != nil {
				t.Fatal(err)
			}
			w.setCleanly(t, k, table)
			want(t, "told", w.repaired(), c.want...)
			want(t, "done", plainLines(w.changed()), c.want...)
			w.setCleanly(t, k, table)
			want(t, "told twice", w.repaired())
			want(t, "done twice", w.changed())
		})
	}
}

// plainLines has the thresholds left out that are 0, which some print.
func plainLines(lines []string) []string {
	for i, l := range lines {
		lines[i] = strings.NewReplacer(" -x 0", "", " -y 0", "").Replace(l)
	}
	return lines
}

// A change of the table finds out by itself that somebody flushed it.
func TestDriftUnderAChange(t *testing.T) {
	before, after := lvs.Table{service(80, 1, 1), service(25, 1)}, lvs.Table{service(80, 1, 2), service(25, 1)}
	for _, next := range []lvs.Table{
		after,
		{service(80, 1), service(25, 1)},
		{service(80, 1, 1, 1), service(25, 1)},
		{service(25, 1)},
		{service(80, 1, 1)},
	} {
		w := newWorld()
		k := w.start(t, Settings{})
		w.setCleanly(t, k, before)
		w.Flush()
		w.setCleanly(t, k, next)
		if got := w.repaired(); len(got) == 0 {
			t.Errorf("%v: nothing was told", next)
		}
	}
	w := newWorld()
	k := w.start(t, Settings{})
	w.setCleanly(t, k, before)
	if err := w.Admin(func(a ipvs.Access) error {
		d, _ := toDestination(service(80, 7).Servers[0])
		d.Address = address("10.0.1.3:80")
		return errors.Join(a.AddDestination(t.Context(), keyOf(before[0].ID), d), a.RemoveDestination(t.Context(), keyOf(before[0].ID), address("10.0.1.2:80")))
	}); err != nil {
		t.Fatal(err)
	}
	w.setCleanly(t, k, lvs.Table{service(80, 1, 2, 1), service(25, 1)})
	want(t, "told", w.repaired(), "-e -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 2", "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -g -w 1")
}

// A service that somebody else added meanwhile is adopted.
func TestExistsMeanwhile(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	w.setCleanly(t, k, lvs.Table{service(25, 1)})
	other := toService(view(service(80)))
	other.Scheduler = "rr"
	if err := w.Admin(func(a ipvs.Access) error { return a.AddService(t.Context(), other) }); err != nil {
		t.Fatal(err)
	}
	w.setCleanly(t, k, lvs.Table{service(25, 1), service(80, 1)})
	want(t, "told", w.repaired(), "adopted tcp 10.0.0.1:80", "-E -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1")
}

func TestAnotherProcess(t *testing.T) {
	w := newWorld()
	first := lvs.Table{service(80, 1, 1), service(25, 1), service(53, 1)}
	w.setCleanly(t, w.start(t, Settings{}), first)
	want(t, "told at the first start", w.repaired())

	// Killed; meanwhile somebody changes a weight, and the configuration has one
	// service less, and one more.
	foreign := service(99, 1)
	if err := w.Admin(func(a ipvs.Access) error {
		d, _ := toDestination(first[0].Servers[1])
		d.Weight = 5
		f, _ := toDestination(foreign.Servers[0])
		return errors.Join(a.UpdateDestination(t.Context(), keyOf(first[0].ID), d),
			a.AddService(t.Context(), toService(view(foreign))), a.AddDestination(t.Context(), keyOf(foreign.ID), f))
	}); err != nil {
		t.Fatal(err)
	}
	w.Forget()
	k := w.start(t, Settings{})
	second := lvs.Table{service(80, 1, 1), service(25, 1), service(443, 1)}
	if err := k.Set(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	w.holds(t, append(second.Clone(), foreign))
	want(t, "done", plainLines(w.changed()),
		"-A -t 10.0.0.1:443 -s wlc", "-a -t 10.0.0.1:443 -r 10.0.1.1:443 -g -w 1",
		"-e -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 1", "-D -t 10.0.0.1:53")
	want(t, "told", w.repaired(),
		"start: adopted tcp 10.0.0.1:80", "start: adopted tcp 10.0.0.1:25",
		"start: -e -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 1", "start: -D -t 10.0.0.1:53")
	if diff := gocmp.Diff([]lvs.ServiceID{second[1].ID, second[0].ID, second[2].ID}, w.memory.Services, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("remembered (-want +got):\n%s", diff)
	}

	// Nothing is wanted any more: what is foreign stays.
	k = w.start(t, Settings{})
	if err := k.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.holds(t, lvs.Table{foreign})
	if len(w.memory.Services) > 0 {
		t.Errorf("remembered after all was removed: %v", w.memory.Services)
	}
}

// After a reboot nothing of what was ours is left; what looks like it is not.
func TestAnotherNamespace(t *testing.T) {
	w := newWorld()
	w.namespace = "boot 1"
	w.setCleanly(t, w.start(t, Settings{}), lvs.Table{service(80, 1), service(25, 1)})
	w.setCleanly(t, w.start(t, Settings{}), lvs.Table{service(80, 1)})
	w.namespace = "boot 2"
	if err := w.start(t, Settings{}).Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.holds(t, lvs.Table{service(80, 1)})
	if w.memory.Namespace != "boot 2" || len(w.memory.Services) > 0 {
		t.Errorf("remembered %+v", w.memory)
	}
}

// What is remembered survives being written and read.
func TestMemoryAsJSON(t *testing.T) {
	w := newWorld()
	w.namespace = "boot 1"
	s := service(80, 1)
	s.Servers[0].Forward = lvs.FullNAT
	mark := lvs.Service{ID: lvs.ServiceID{Protocol: lvs.FWMark, Mark: 9, Address: address("[::]:0")}, Scheduler: lvs.RoundRobin, Name: "mark"}
	w.setCleanly(t, w.start(t, Settings{Sync: &SyncSettings{Role: SyncBoth, Interface: "eth0"}}), lvs.Table{s, mark})
	text, err := json.Marshal(w.memory)
	if err != nil {
		t.Fatal(err)
	}
	var back Memory
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(w.memory, back, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if len(back.Services) != 2 || len(back.Daemons) != 2 || !back.Masquerade || back.Sysctls[conntrack] != "0" {
		t.Errorf("memory %s", text)
	}
}

// Readers look while the table changes.
func TestReadersMeanwhile(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	tables := []lvs.Table{{service(80, 1, 1)}, {service(80, 1), service(25, 1)}, {}}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for range 50 {
				_, countErr := k.Counts(t.Context())
				_, _, actualErr := k.Actual(t.Context())
				_, diffErr := k.Diff(t.Context(), tables[0])
				if err := errors.Join(countErr, actualErr, diffErr); err != nil {
					t.Error(err)
				}
				k.Configure(Settings{})
			}
		})
	}
	for i := range 100 {
		if err := k.Set(t.Context(), tables[i%3]); err != nil {
			t.Error(err)
		}
	}
	running.Wait()
	w.setCleanly(t, k, tables[1])
}

func TestOwnAll(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	if err := w.AddService(t.Context(), toService(view(service(99)))); err != nil {
		t.Fatal(err)
	}
	table := lvs.Table{service(80, 1)}
	if err := k.Set(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	w.holds(t, lvs.Table{service(80, 1), service(99)})
	k.Configure(Settings{Own: OwnAll})
	w.setCleanly(t, k, table)
	want(t, "told", w.repaired(), "-D -t 10.0.0.1:99")
}

// A scribe sees that everything is remembered before it is done.
type scribe struct {
	ipvs.Access
	t testing.TB
	w *world
}

func (s scribe) AddService(ctx context.Context, v ipvs.Service) error {
	if !slices.Contains(s.w.memory.Services, idOf(v.Key)) {
		s.t.Errorf("%s is added and was not remembered", v.Key)
	}
	return s.Access.AddService(ctx, v)
}

func (s scribe) StartDaemon(ctx context.Context, d ipvs.Daemon) error {
	if !slices.Contains(s.w.memory.Daemons, SyncRole(d.Role.String())) {
		s.t.Errorf("daemon %s is started and was not remembered", d.Role)
	}
	return s.Access.StartDaemon(ctx, d)
}

// Whenever it is killed, the next process knows what is ours.
func TestRememberedBefore(t *testing.T) {
	w := newWorld()
	w.sysctls.first = func(key string) {
		if w.memory.Sysctls[key] != "0" {
			t.Errorf("%s is set and was not remembered", key)
		}
	}
	w.masquerade.first = func() {
		if !w.memory.Masquerade {
			t.Error("there is masquerade and it was not remembered")
		}
	}
	k := New(Config{
		Access: scribe{w.Kernel, t, w}, Masquerade: w.masquerade, Sysctl: w.sysctls,
		Settings: Settings{Sync: &SyncSettings{Role: SyncBoth, Interface: "eth0"}},
		Remember: func(m Memory) error { w.memory = m; return nil },
	})
	s := service(80, 1)
	s.Persistence, s.Drain, s.Servers[0].Forward = time.Minute, lvs.DrainCut, lvs.FullNAT
	w.setCleanly(t, k, lvs.Table{service(25, 1)})
	w.setCleanly(t, k, lvs.Table{service(25, 1), s})
	if len(w.memory.Sysctls) != 3 {
		t.Errorf("remembered %+v", w.memory)
	}
}

// A call that was made although it seemed lost is known to the next process.
func TestLostAndKilled(t *testing.T) {
	for n := range 5 { // calls of that Set
		w := newWorld()
		k := w.start(t, Settings{})
		w.Lose(1 + n)
		if err := k.Set(t.Context(), lvs.Table{service(80, 1), service(25, 1)}); !errors.Is(err, ipvs.ErrTimeout) {
			t.Errorf("Set with call %d lost: %v", 1+n, err)
		}
		w.setCleanly(t, w.start(t, Settings{}), lvs.Table{service(25, 2)})
	}
}

func TestCannotRemember(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	w.memoryErr = errors.New("disk full")
	table := lvs.Table{service(80, 1)}
	if err := k.Set(t.Context(), table); !errors.Is(err, w.memoryErr) {
		t.Errorf("Set: %v, want %v", err, w.memoryErr)
	}
	w.holds(t, table)
	w.memoryErr = nil
	w.setCleanly(t, k, table)
	if len(w.memory.Services) != 1 {
		t.Errorf("remembered %v", w.memory)
	}
	saves := w.saves
	w.setCleanly(t, k, table)
	w.setCleanly(t, k, lvs.Table{service(80, 1, 1)})
	if w.saves != saves {
		t.Errorf("saved %d times, want none without a change of services", w.saves-saves)
	}
}

func TestOnExit(t *testing.T) {
	w := newWorld()
	full := service(80, 1)
	full.Servers[0].Forward = lvs.FullNAT
	table := lvs.Table{full, service(25, 1)}
	settings := Settings{OnExit: OnExitKeep, Sync: &SyncSettings{Role: SyncBoth, Interface: "eth0"}}
	k := w.start(t, settings)
	w.setCleanly(t, k, table)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	w.holds(t, table)

	settings.OnExit = OnExitRemove
	k = w.start(t, settings)
	w.setCleanly(t, k, table)
	if err := w.AddService(t.Context(), toService(view(service(99)))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.holds(t, lvs.Table{service(99)})
	daemons, _ := w.Daemons(t.Context())
	if len(daemons) > 0 || len(w.masquerade.rules) > 0 || w.sysctls.all()[conntrack] != "0" {
		t.Errorf("left behind: %v, %v, %v", daemons, w.masquerade.rules, w.sysctls.all())
	}
	if diff := gocmp.Diff(Memory{}, w.memory, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("remembered after all was removed (-want +got):\n%s", diff)
	}
}

func TestCloseWithoutKernel(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{OnExit: OnExitRemove})
	w.setCleanly(t, k, lvs.Table{service(80, 1)})
	w.Unload()
	if err := k.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if len(w.memory.Services) > 0 {
		t.Errorf("remembered %v", w.memory)
	}
}

func TestCounts(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	web := service(80, 1, 1)
	w.setCleanly(t, k, lvs.Table{web, service(25)})
	if err := w.Count(keyOf(web.ID), web.Servers[0].Address, func(d *ipvs.Destination) {
		d.Active, d.Inactive = 2, 3
		d.Stats = ipvs.Stats{Connections: 1 << 40, InPackets: 4, OutPackets: 5, InBytes: 1 << 41, OutBytes: 7, CPS: 8, InPPS: 9, OutPPS: 10, InBPS: 11, OutBPS: 12}
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.CountService(keyOf(web.ID), func(s *ipvs.Stats) { s.Connections = 1 << 41 }); err != nil {
		t.Fatal(err)
	}
	got, err := k.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := lvs.Count{
		Active: 2, Inactive: 3, Total: 1 << 40, InPackets: 4, OutPackets: 5, InBytes: 1 << 41, OutBytes: 7,
		Rates: lvs.Rates{Connections: 8, InPackets: 9, OutPackets: 10, InBytes: 11, OutBytes: 12},
	}
	wanted := lvs.Counts{
		web.ID:         {web.Servers[0].Address: one, web.Servers[1].Address: {}, netip.AddrPort{}: {Total: 1 << 41}},
		service(25).ID: {netip.AddrPort{}: {}},
	}
	if diff := gocmp.Diff(wanted, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	w.Flush()
	if got, err := k.Counts(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("counts of a flushed table: %v, %v", got, err)
	}
}

func TestActualAndDiff(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{})
	web := service(80, 1, 1)
	web.Servers[0].Forward, web.Servers[1].Forward = lvs.FullNAT, ""
	web.Mask = 24
	table := lvs.Table{web}
	diff, err := k.Diff(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "diff", texts(diff), "-A -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1", "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1")
	want(t, "done", w.changed())

	w.setCleanly(t, k, table)
	if err := w.AddService(t.Context(), toService(view(service(99)))); err != nil {
		t.Fatal(err)
	}
	ours, others, err := k.Actual(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ours[0].Servers) // the kernel has the newest first
	if !ours.Equal(table) {
		t.Errorf("ours: %+v, want %+v", ours, table)
	}
	if len(others) != 1 || others[0].ID != service(99).ID {
		t.Errorf("others: %+v", others)
	}
	if diff, err = k.Diff(t.Context(), table); err != nil || len(diff) > 0 {
		t.Errorf("diff after Set: %v, %v", diff, err)
	}
	if diff, err = k.Diff(t.Context(), nil); err != nil {
		t.Error(err)
	}
	want(t, "diff to nothing", texts(diff), "-D -t 10.0.0.1:80")
	k.Configure(Settings{Own: OwnAll})
	if diff, err = k.Diff(t.Context(), table); err != nil {
		t.Error(err)
	}
	want(t, "diff with all", texts(diff), "-D -t 10.0.0.1:99")
}

func texts(changes []lvs.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestSetWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.start(t, Settings{})
		w.Hang(1)
		slow, end := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := k.Set(slow, lvs.Table{service(80, 1)}); !errors.Is(err, context.Canceled) {
				t.Errorf("hanging Set: %v", err)
			}
		})
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Set(short, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set meanwhile: %v, want %v", err, context.DeadlineExceeded)
		}
		end()
		running.Wait()
		w.setCleanly(t, k, lvs.Table{service(25, 1)})
	})
}

// TestCloseBeforeTheFirstSet: what an earlier process put there goes on when this
// one could not start.
func TestCloseBeforeTheFirstSet(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{OnExit: OnExitRemove})
	w.setCleanly(t, k, lvs.Table{service(80, 1)})
	before := w.Save()
	k = w.start(t, Settings{OnExit: OnExitRemove}) // the first one was killed
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(before, w.Save()); diff != "" {
		t.Errorf("the table after a failed start (-before +after):\n%s", diff)
	}
}
