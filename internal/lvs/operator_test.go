package lvs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/plugin"
)

// A counting backend is a record whose servers have the connections they are said
// to have.
type counting struct {
	*record.Recorder
	active map[int]int // by the server's last number
}

func (c counting) Counts(context.Context) (lvs.Counts, error) {
	counts := lvs.Counts{}
	for _, s := range c.Table() {
		counts[s.ID] = map[netip.AddrPort]lvs.Count{}
		for _, r := range s.Servers {
			b := r.Address.Addr().As4()
			counts[s.ID][r.Address] = lvs.Count{Active: c.active[int(b[3])]}
		}
	}
	return counts, nil
}

// A world is a pool with a clock of its own, that can be crashed.
type world struct {
	bed
	now      time.Time
	active   map[int]int
	memory   []byte // as it was last written
	quorums  []string
	writes   int
	found    lvs.Table // what the backend has at the next start
	virtuals []lvs.Virtual
}

func newWorld(t testing.TB, virtuals ...lvs.Virtual) *world {
	w := &world{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), active: map[int]int{}, virtuals: virtuals}
	w.restart(t)
	return w
}

// restart drops the pool, as a crash does, and makes another from its memory.
func (w *world) restart(t testing.TB) {
	t.Helper()
	var m lvs.Memory
	if w.memory != nil {
		if err := json.Unmarshal(w.memory, &m); err != nil {
			t.Fatal(err)
		}
	}
	w.start(t, m)
}

func (w *world) start(t testing.TB, m lvs.Memory) {
	t.Helper()
	w.record = record.New(nil)
	w.Pool = lvs.NewPool(lvs.PoolConfig{
		Backend: counting{w.record, w.active}, Memory: m,
		Now: func() time.Time { return w.now },
		Quorum: func(q lvs.QuorumChange) {
			w.quorums = append(w.quorums, fmt.Sprint(q.Had, " ", q.Weight, "/", q.Quorum))
		},
		Found: w.found,
		Remember: func(m lvs.Memory) {
			w.writes++
			text, err := json.Marshal(m)
			if err != nil {
				t.Error(err)
			}
			w.memory = text
		},
	})
	if err := w.Reconfigure(t.Context(), w.virtuals, nil); err != nil {
		t.Fatal(err)
	}
}

func (w *world) tick(t testing.TB, passed time.Duration) {
	t.Helper()
	w.now = w.now.Add(passed)
	if err := w.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) drain(t testing.TB, n int, timeout time.Duration) {
	t.Helper()
	if _, err := w.Drain(t.Context(), "", host(n), timeout); err != nil {
		t.Fatal(err)
	}
}

func TestDrainWaitsForConnections(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	w.active[2] = 3
	w.drain(t, 2, 0)
	w.mustHave(t, "1 2*0")
	w.tick(t, 30*time.Second)
	w.mustHave(t, "1 2*0")
	w.active[2] = 0
	w.tick(t, time.Second)
	w.mustHave(t, "1")
	w.report(t, "web:http", "1 up, 2 down")
	w.report(t, "web:http", "1 up, 2 up")
	w.mustHave(t, "1") // a watch does not take an operator's word back
	if _, err := w.Undrain(t.Context(), "web", host(2)); err != nil {
		t.Fatal(err)
	}
	w.mustHave(t, "1 2")
}

func TestDrainHasADeadline(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	w.active[2] = 3
	w.drain(t, 2, time.Minute)
	w.tick(t, 59*time.Second)
	w.mustHave(t, "1 2*0")
	w.tick(t, time.Second)
	w.mustHave(t, "1")
}

func TestDrainTakesTheServicesOwnTime(t *testing.T) {
	w := newWorld(t, virtual(t, 2, func(c *lvs.VirtualConfig) { c.DrainTimeout = plugin.Duration(time.Hour) }))
	w.report(t, "web:http", "1 up, 2 up")
	w.active[2] = 1
	w.drain(t, 2, 0)
	w.tick(t, time.Hour-time.Second)
	w.mustHave(t, "1 2*0")
	w.tick(t, time.Second)
	w.mustHave(t, "1")
}

// TestDrainIsStrongerThanMinUp: the operator knows, and the last one may go.
func TestDrainIsStrongerThanMinUp(t *testing.T) {
	w := newWorld(t, virtual(t, 1))
	w.report(t, "web:http", "1 up")
	w.drain(t, 1, 0)
	w.tick(t, time.Second)
	w.mustHave(t, "")
}

func TestDrainOfAStranger(t *testing.T) {
	w := newWorld(t, virtual(t, 1))
	if _, err := w.Drain(t.Context(), "", host(9), 0); err == nil || err.Error() != `"10.0.0.9" is no real server here: there is 10.0.0.1` {
		t.Errorf("drain of a stranger: %v", err)
	}
	if _, err := w.Drain(t.Context(), "mail", host(1), 0); err == nil || err.Error() != `there is no virtual service "mail", only web` {
		t.Errorf("drain of a service that is not there: %v", err)
	}
}

func TestDrainInAllServices(t *testing.T) {
	mail := func(c *lvs.VirtualConfig) { c.Name, c.Address = "mail", "10.0.0.100:25" }
	w := newWorld(t, virtual(t, 2), virtual(t, 2, mail))
	w.report(t, "web:http", "1 up, 2 up")
	if err := w.Report(t.Context(), "mail", "web:http", say("1 up, 2 up")); err != nil {
		t.Fatal(err)
	}
	w.mustHave(t, "1 2 1 2")
	names, err := w.Drain(t.Context(), "", host(1), 0)
	if err != nil || !slices.Equal(names, []string{"web", "mail"}) {
		t.Errorf("drained in %v, %v", names, err)
	}
	w.mustHave(t, "1*0 2 1*0 2")
	if _, err := w.Undrain(t.Context(), "mail", host(1)); err != nil {
		t.Fatal(err)
	}
	w.mustHave(t, "1*0 2 1 2")
	if _, err := w.Undrain(t.Context(), "mail", host(1)); err == nil || err.Error() != host(1)+" is not drained in mail" {
		t.Errorf("undrained once more: %v", err)
	}
	if names, err := w.Undrain(t.Context(), "", host(1)); err != nil || !slices.Equal(names, []string{"web"}) {
		t.Errorf("back in %v, %v", names, err)
	}
	if _, err := w.Undrain(t.Context(), "", host(2)); err == nil || err.Error() != host(2)+" is not drained in web, mail" {
		t.Errorf("undrained what was never drained: %v", err)
	}
	w.mustHave(t, "1 2 1 2")
}

func TestSorryServerWhileThePoolIsEmpty(t *testing.T) {
	sorry := func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: host(9)} }
	w := newWorld(t, virtual(t, 2, sorry))
	w.mustHave(t, "9") // nobody has been tested
	w.report(t, "web:http", "1 up, 2 up")
	w.mustHave(t, "1 2")
	w.report(t, "web:http", "1 down, 2 up")
	w.mustHave(t, "2")
	w.report(t, "web:http", "1 down, 2 down")
	w.mustHave(t, "9")
	if s, _ := w.Snapshot(t.Context()); s[0].Sorry != "10.0.0.9:80" || s[0].Quorum != "lost" {
		t.Errorf("status %+v", s[0])
	}
	w.report(t, "web:http", "1 down, 2 up")
	w.mustHave(t, "2")
	if want := []string{"false 0/1", "true 1/1"}; !slices.Equal(w.quorums, want) {
		t.Errorf("told of quorums %q, want %q", w.quorums, want)
	}
}

func TestQuorumWithHysteresis(t *testing.T) {
	w := newWorld(t, virtual(t, 6, func(c *lvs.VirtualConfig) {
		c.Quorum, c.QuorumHysteresis, c.MinUp, c.Sorry = 3, 1, new(0), &lvs.RealConfig{Host: host(9)}
	}))
	for _, step := range []struct{ say, table, told string }{
		{"1 up, 2 up", "1*0 2*0 9", ""},
		{"3 up", "1 2 3", ""}, // had from the beginning is no news
		{"3 down", "1 2", ""}, // 3-1 is enough to keep it
		{"2 down", "1*0 9", "false 1/3"},
		{"2 up", "1*0 2*0 9", ""},
		{"3 up", "1*0 2*0 3*0 9", ""}, // 3+1 are needed to get it back
		{"4 up", "1 2 3 4", "true 4/3"},
	} {
		w.quorums = nil
		w.report(t, "web:http", step.say)
		w.mustHave(t, step.table)
		if got := strings.Join(w.quorums, ", "); got != step.told {
			t.Errorf("after %s told %q, want %q", step.say, got, step.told)
		}
	}
}

// TestQuorumIsLostWhenAllAreTested: at the start nobody is alarmed before all have
// been heard of.
func TestQuorumIsLostWhenAllAreTested(t *testing.T) {
	w := newWorld(t, virtual(t, 2, minUp(0)))
	w.report(t, "web:http", "1 down")
	if len(w.quorums) > 0 {
		t.Errorf("told %q before all were tested", w.quorums)
	}
	w.report(t, "web:http", "2 down")
	if want := []string{"false 0/1"}; !slices.Equal(w.quorums, want) {
		t.Errorf("told %q, want %q", w.quorums, want)
	}
}

func TestRangeOfAddressesHasOnePool(t *testing.T) {
	w := newWorld(t, virtual(t, 2, func(c *lvs.VirtualConfig) { c.Address = "10.0.0.100-102:80" }))
	w.report(t, "web:http", "1 up, 2 down")
	w.mustHave(t, "1 1 1")
	if s, _ := w.Snapshot(t.Context()); len(s) != 1 || len(s[0].Services) != 3 {
		t.Errorf("status %+v", s)
	}
}

func TestNothingIsLostInACrash(t *testing.T) {
	w := newWorld(t, virtual(t, 3))
	w.report(t, "web:http", "1 up, 2 down, 3 up")
	w.active[3] = 5
	w.drain(t, 3, time.Hour)
	before, _ := w.Snapshot(t.Context())
	w.restart(t)
	w.mustHave(t, "1 3*0")
	after, _ := w.Snapshot(t.Context())
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the status after the crash (-before +after):\n%s", diff)
	}
	w.tick(t, time.Hour)
	w.mustHave(t, "1")
	w.restart(t)
	w.mustHave(t, "1")
}

// TestMinUpAfterACrash: the server that was held in is held in.
func TestMinUpAfterACrash(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	w.report(t, "web:http", "1 down")
	_ = w.Report(t.Context(), "web", "web:http", say("2 down")) // refused
	w.mustHave(t, "2")
	w.restart(t)
	w.mustHave(t, "2")
}

func TestOldMemoryKeepsTheOperatorsWord(t *testing.T) {
	w := newWorld(t, virtual(t, 3))
	w.report(t, "web:http", "1 up, 2 down, 3 up")
	w.drain(t, 3, time.Hour)
	var m lvs.Memory
	if err := json.Unmarshal(w.memory, &m); err != nil {
		t.Fatal(err)
	}
	w.start(t, m.Aged())
	w.mustHave(t, "")
	w.report(t, "web:http", "1 up, 2 up, 3 up")
	w.mustHave(t, "1 2 3*0")
}

func TestMemoryWritesOnlyNews(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	before := w.writes
	w.report(t, "web:http", "1 up, 2 up")
	w.tick(t, time.Minute)
	if w.writes != before {
		t.Errorf("%d writes without news", w.writes-before)
	}
}

// TestServersInTheTableStay: a daemon that takes over a table which forwards, and
// knows nothing, takes nobody out before a test says so.
func TestServersInTheTableStay(t *testing.T) {
	v := virtual(t, 3)
	w := newWorld(t, v)
	w.found = lvs.Full([]lvs.Virtual{v})
	w.found[0].Servers[2].Weight = 0 // somebody drained it: that is not in
	w.start(t, lvs.Memory{})
	w.mustHave(t, "1 2")
	w.report(t, "web:http", "1 up, 2 down, 3 up")
	w.mustHave(t, "1 3")
}

// TestWhatIsKnownIsStrongerThanTheTable: a failed server is not kept in because
// the kernel still has it.
func TestWhatIsKnownIsStrongerThanTheTable(t *testing.T) {
	v := virtual(t, 2)
	w := newWorld(t, v)
	w.report(t, "web:http", "1 up, 2 down")
	w.found = lvs.Full([]lvs.Virtual{v})
	w.restart(t)
	w.mustHave(t, "1")
}

// TestRenamedServiceKeepsItsPool: by its address.
func TestRenamedServiceKeepsItsPool(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 down")
	w.reconfigure(t, nil, virtual(t, 2, func(c *lvs.VirtualConfig) { c.Name = "shop" }))
	w.mustHave(t, "1")
}

// TestDrainOutlivesAnotherPort: and another way of writing the host.
func TestDrainOutlivesAnotherPort(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	w.active[2] = 1
	w.drain(t, 2, time.Hour)
	w.virtuals = []lvs.Virtual{virtual(t, 2, func(c *lvs.VirtualConfig) { c.Address, c.Real[1].Host = "10.0.0.100:81", host(2)+":81" })}
	w.reconfigure(t, nil, w.virtuals...)
	w.mustHave(t, "1 2*0")
	w.restart(t)
	w.mustHave(t, "1 2*0")
}

// TestSorryServerCutsNobody: servers that are up, or drained, keep their
// connections while the sorry server gets the new ones.
func TestSorryServerCutsNobody(t *testing.T) {
	w := newWorld(t, virtual(t, 3, func(c *lvs.VirtualConfig) { c.Quorum, c.Sorry = 3, &lvs.RealConfig{Host: host(9)} }))
	w.report(t, "web:http", "1 up, 2 up, 3 up")
	w.active[3] = 50
	w.drain(t, 3, time.Hour)
	w.mustHave(t, "1*0 2*0 3*0 9")
	w.report(t, "web:http", "1 down")
	w.mustHave(t, "2*0 3*0 9")
}

// TestDrainPutsNobodyIn: min_up keeps a server in, it does not put a bad one in
// because an operator drains the good one.
func TestDrainPutsNobodyIn(t *testing.T) {
	w := newWorld(t, virtual(t, 2))
	w.report(t, "web:http", "1 up, 2 up")
	w.report(t, "web:http", "2 down")
	w.active[1] = 1
	w.drain(t, 1, time.Hour)
	w.mustHave(t, "1*0")
	w.restart(t)
	w.mustHave(t, "1*0")
}

// TestQuorumIsLostWithoutTheUntested: when they could not make it up, or two are
// down of three and nobody ever tests the third but two are needed.
func TestQuorumIsLostWithoutTheUntested(t *testing.T) {
	w := newWorld(t, virtual(t, 3, func(c *lvs.VirtualConfig) { c.Quorum, c.MinUp = 2, new(0) }))
	w.report(t, "web:http", "1 down")
	if len(w.quorums) > 0 {
		t.Errorf("told %q, and two could still be up", w.quorums)
	}
	w.report(t, "web:http", "2 down")
	if want := []string{"false 0/2"}; !slices.Equal(w.quorums, want) {
		t.Errorf("told %q, want %q", w.quorums, want)
	}
}

// A nameServer answers for a name server.
type nameServer map[string]string

func (n nameServer) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if n[host] == "" {
		return nil, errors.New("no answer")
	}
	return []netip.Addr{netip.MustParseAddr(n[host])}, nil
}

// TestNameOfTheVirtualServiceItself: a name server's mistake does not make a
// circle, nor mix families; the good ones serve on.
func TestNameOfTheVirtualServiceItself(t *testing.T) {
	c := lvs.DefaultVirtualConfig()
	c.Name, c.Address, c.Start = "web", "10.0.0.100:80", "up"
	c.Real = []lvs.RealConfig{{Host: "good"}, {Host: "self"}, {Host: "six"}}
	v, err := c.Build(lvs.BackendKernel)
	if err != nil {
		t.Fatal(err)
	}
	r := record.New(nil)
	p := lvs.NewPool(lvs.PoolConfig{Backend: r, Resolver: nameServer{"good": "10.0.0.1", "self": "10.0.0.100", "six": "fd00::6"}})
	err = p.Reconfigure(t.Context(), []lvs.Virtual{v}, nil)
	for _, want := range []string{"real server self has the virtual service's own address", "real server six has the address fd00::6, of another family"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if got := tableText(r.Table()); got != "1" {
		t.Errorf("the table has %q, want 1", got)
	}
}

// TestNameServerThatIsBack: a remembered address serves until there is a new one,
// however long the name server is away.
func TestNameServerThatIsBack(t *testing.T) {
	v := virtual(t, 0, func(c *lvs.VirtualConfig) { c.Real = []lvs.RealConfig{{Host: "web1"}} })
	m := lvs.Memory{Virtuals: map[string]lvs.VirtualMemory{"web": {
		Said:    map[string]map[string]string{"web:http": {"web1": "up"}},
		Servers: map[string]lvs.ServerMemory{"web1": {In: true, LastUp: 1, Address: netip.MustParseAddrPort("10.0.0.1:80")}},
	}}}
	r, dns := record.New(nil), nameServer{}
	p := lvs.NewPool(lvs.PoolConfig{Backend: r, Resolver: dns, Memory: m})
	if err := p.Reconfigure(t.Context(), []lvs.Virtual{v}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := tableText(r.Table()); got != "1" {
		t.Fatalf("without a name server the table has %q, want 1", got)
	}
	dns["web1"] = "10.0.0.7"
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tableText(r.Table()); got != "7" {
		t.Errorf("with the name server back the table has %q, want 7", got)
	}
}

// TestCrashesChangeNothing: with a crash after any step, the table is as without.
func TestCrashesChangeNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		change := func(c *lvs.VirtualConfig) {
			c.OnFailure = rapid.SampledFrom([]string{"remove", "quiesce"}).Draw(r, "on_failure")
			c.Quorum = rapid.IntRange(1, 3).Draw(r, "quorum")
			c.QuorumHysteresis = rapid.IntRange(0, min(c.Quorum-1, 4-c.Quorum)).Draw(r, "hysteresis")
			if rapid.Bool().Draw(r, "sorry") {
				c.Sorry = &lvs.RealConfig{Host: host(9)}
			} else {
				c.MinUp = new(rapid.IntRange(0, 3).Draw(r, "min_up"))
			}
		}
		v := virtual(t, 4, change)
		steady, crashing := newWorld(t, v), newWorld(t, v)
		for i := range rapid.IntRange(1, 20).Draw(r, "steps") {
			n := rapid.IntRange(1, 4).Draw(r, "server")
			step := rapid.SampledFrom([]string{"up", "down", "drain", "undrain", "tick"}).Draw(r, fmt.Sprint("step ", i))
			for _, w := range []*world{steady, crashing} {
				switch step {
				case "drain":
					w.drain(t, n, time.Minute)
				case "undrain":
					_, _ = w.Undrain(t.Context(), "", host(n))
				case "tick":
					w.tick(t, 20*time.Second)
				default:
					source := fmt.Sprint("source ", n%2)
					_ = w.Report(t.Context(), "web", source, say(fmt.Sprint(n, " ", step))) // min_up may refuse
				}
			}
			if rapid.Bool().Draw(r, "crash") {
				crashing.restart(t)
			}
			if a, b := steady.table(), crashing.table(); a != b {
				r.Fatalf("step %d, %s %d: %q, with crashes %q", i, step, n, a, b)
			}
		}
	})
}
