package lvs_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
)

type report = map[string]alerts.HostState

const (
	unknown = alerts.HostUnknown
	up      = alerts.HostUp
	down    = alerts.HostDown
)

// virtual is "web" with real servers at 10.0.0.1, 10.0.0.2 and so on, written
// "1", "2" below, changed by the options.
func virtual(t testing.TB, servers int, change ...func(*lvs.VirtualConfig)) lvs.Virtual {
	t.Helper()
	c := lvs.DefaultVirtualConfig()
	c.Name, c.Address = "web", "10.0.0.100:80"
	for n := range servers {
		c.Real = append(c.Real, lvs.RealConfig{Host: host(n + 1)})
	}
	for _, f := range change {
		f(&c)
	}
	v, err := c.Build(lvs.BackendRelay)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func host(n int) string { return fmt.Sprintf("10.0.0.%d", n) }

func minUp(n int) func(*lvs.VirtualConfig) { return func(c *lvs.VirtualConfig) { c.MinUp = &n } }

// say makes a report of words like "1 up, 2 down".
func say(text string) report {
	r := report{}
	for part := range strings.SplitSeq(text, ", ") {
		var n int
		var state string
		if _, err := fmt.Sscan(part, &n, &state); err != nil {
			panic(err)
		}
		r[host(n)] = map[string]alerts.HostState{"up": up, "down": down, "unknown": unknown}[state]
	}
	return r
}

// A bed is a pool with a recorder.
type bed struct {
	*lvs.Pool
	record *record.Recorder
}

func newBed(t testing.TB, virtuals ...lvs.Virtual) bed {
	t.Helper()
	b := bed{record: record.New(nil)}
	b.Pool = lvs.NewPool(lvs.PoolConfig{Backend: b.record})
	b.reconfigure(t, nil, virtuals...)
	return b
}

func (b bed) reconfigure(t testing.TB, followers map[string][]string, virtuals ...lvs.Virtual) {
	t.Helper()
	if err := b.Reconfigure(t.Context(), virtuals, followers); err != nil {
		t.Fatal(err)
	}
}

func (b bed) report(t testing.TB, source, text string) {
	t.Helper()
	if err := b.Report(t.Context(), "web", source, say(text)); err != nil {
		t.Fatalf("%s says %s: %v", source, text, err)
	}
}

// table writes the recorder's table of "web": "1 2*0" is the first server with
// weight 1 and the second with weight 0.
func (b bed) table() string { return tableText(b.record.Table()) }

func tableText(t lvs.Table) string {
	var out []string
	for _, s := range t {
		for _, r := range s.Servers {
			_, n, _ := strings.Cut(r.Address.Addr().String(), "10.0.0.")
			if r.Weight != 1 {
				n += fmt.Sprint("*", r.Weight)
			}
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

func (b bed) mustHave(t testing.TB, want string) {
	t.Helper()
	if got := b.table(); got != want {
		t.Fatalf("the table has %q, want %q", got, want)
	}
}

func TestServerGoesAndReturns(t *testing.T) {
	b := newBed(t, virtual(t, 3))
	b.mustHave(t, "")
	b.report(t, "web:http", "1 up, 2 up, 3 unknown")
	b.mustHave(t, "1 2")
	b.report(t, "web:http", "1 up, 2 down, 3 up")
	b.mustHave(t, "1 3")
	b.report(t, "web:http", "1 unknown, 2 unknown, 3 unknown")
	b.mustHave(t, "1 3")
	b.report(t, "web:http", "1 up, 2 up, 3 up")
	b.mustHave(t, "1 2 3")
}

func TestStartUp(t *testing.T) {
	b := newBed(t, virtual(t, 3, func(c *lvs.VirtualConfig) { c.Start = "up" }))
	b.mustHave(t, "1 2 3")
	b.report(t, "web:http", "1 up, 2 down, 3 unknown")
	b.mustHave(t, "1 3")
}

func TestQuiesce(t *testing.T) {
	b := newBed(t, virtual(t, 2, func(c *lvs.VirtualConfig) { c.OnFailure, c.Real[1].Weight = "quiesce", new(5) }))
	b.mustHave(t, "1*0 2*0")
	b.report(t, "web:http", "1 up, 2 up")
	b.mustHave(t, "1 2*5")
	b.report(t, "web:http", "2 down")
	b.mustHave(t, "1 2*0")
}

func TestSourcesTogether(t *testing.T) {
	b := newBed(t, virtual(t, 2))
	b.report(t, "web:http", "1 up, 2 up")
	b.report(t, "web:ping", "1 up, 2 down")
	b.mustHave(t, "1")
	b.report(t, "web:http", "1 up, 2 up")
	b.mustHave(t, "1")
	b.report(t, "web:ping", "2 unknown")
	b.mustHave(t, "1")
	b.report(t, "web:ping", "2 up")
	b.mustHave(t, "1 2")
}

func TestMinUpRefuses(t *testing.T) {
	b := newBed(t, virtual(t, 3, minUp(2)))
	b.report(t, "web:http", "1 up, 2 up, 3 up")
	b.report(t, "web:http", "3 down")
	b.mustHave(t, "1 2")
	for range 2 { // a repeated report is refused again
		err := b.Report(t.Context(), "web", "web:http", say("1 down, 2 up, 3 down"))
		want := `virtual "web": min_up = 2 keeps 10.0.0.1 in although down: 1 of 3 real servers are up`
		if err == nil || err.Error() != want || !errors.Is(err, alerts.ErrDelivered) {
			t.Fatalf("got  %v\nwant %s, and ErrDelivered", err, want)
		}
		b.mustHave(t, "1 2")
	}
	if err := b.Report(t.Context(), "web", "web:http", say("1 down, 2 down, 3 down")); !errors.Is(err, alerts.ErrDelivered) {
		t.Fatalf("got %v, want a refusal", err)
	}
	b.mustHave(t, "1 2")
	b.report(t, "web:ping", "3 up") // no complaint: it says nothing about those held
	b.report(t, "web:http", "3 up") // the one that was up last is held: 2
	b.mustHave(t, "2 3")
	b.report(t, "web:http", "1 up")
	b.mustHave(t, "1 3")
}

func TestMinUpZeroEmpties(t *testing.T) {
	b := newBed(t, virtual(t, 1, minUp(0)))
	b.report(t, "web:http", "1 up")
	b.report(t, "web:http", "1 down")
	b.mustHave(t, "")
}

func TestNoHostIsAServer(t *testing.T) {
	b := newBed(t, virtual(t, 1))
	err := b.Report(t.Context(), "web", "db:sql", say("7 up, 8 down"))
	want := `delivered with a complaint: no host of db:sql (10.0.0.7, 10.0.0.8) is a real server of virtual "web" (10.0.0.1)`
	if err == nil || err.Error() != want || !errors.Is(err, alerts.ErrDelivered) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	b.report(t, "web:http", "1 up, 7 down") // one is enough
	if err := b.Report(t.Context(), "web", "web:http", report{}); err != nil {
		t.Errorf("a report about nobody: %v", err)
	}
}

func TestUnknownVirtual(t *testing.T) {
	b := newBed(t, virtual(t, 1))
	err := b.Report(t.Context(), "wbe", "web:http", say("1 up"))
	if want := `there is no virtual service "wbe", only web`; err == nil || err.Error() != want || errors.Is(err, alerts.ErrDelivered) {
		t.Errorf("got %v, want %s, and no ErrDelivered: after a reload there may be one", err, want)
	}
	if hosts, ok := b.Servers("wbe"); ok {
		t.Errorf("Servers of an unknown service: %v", hosts)
	}
	if hosts, ok := b.Servers("web"); !ok || !slices.Equal(hosts, []string{host(1)}) {
		t.Errorf("Servers: %v, %t", hosts, ok)
	}
	if names := b.Virtuals(); !slices.Equal(names, []string{"web"}) {
		t.Errorf("Virtuals: %v", names)
	}
}

// TestReload: health survives, a failed server is not put back, and a new server
// that an old watch knows is in at once.
func TestReload(t *testing.T) {
	follow := func(sources ...string) map[string][]string { return map[string][]string{"web": sources} }
	b := newBed(t, virtual(t, 3))
	b.report(t, "web:http", "1 up, 2 down, 3 up, 4 up, 5 down")
	startsUp := func(c *lvs.VirtualConfig) { c.Start = "up" }

	pushes := len(b.record.Tables())
	b.reconfigure(t, follow("web:http"), virtual(t, 3))
	if got := len(b.record.Tables()); got != pushes {
		t.Errorf("an unchanged configuration was pushed")
	}
	b.reconfigure(t, follow("web:http"), virtual(t, 5, startsUp))
	b.mustHave(t, "1 3 4")

	// The watch gets another name.
	b.reconfigure(t, follow("web:status"), virtual(t, 5, startsUp))
	b.mustHave(t, "1 3 4")
	b.report(t, "web:status", "1 up, 2 unknown, 3 down, 4 unknown, 5 up")
	b.mustHave(t, "1 4 5")
	b.report(t, "web:status", "2 up")
	b.mustHave(t, "1 2 4 5")

	// The last watch goes: nothing changes.
	b.reconfigure(t, follow(), virtual(t, 5, startsUp))
	b.mustHave(t, "1 2 4 5")

	// A service is removed and comes back: nothing is known of it.
	b.reconfigure(t, follow())
	b.reconfigure(t, follow(), virtual(t, 2))
	b.mustHave(t, "")
}

// TestRemovedWatchSaidDown: with another watch left that says up, the server
// comes in; with a new one it waits for that one's word.
func TestRemovedWatchSaidDown(t *testing.T) {
	for followers, want := range map[string]string{"web:ping": "1 2", "web:ping web:new": "1"} {
		b := newBed(t, virtual(t, 2))
		b.report(t, "web:ping", "1 up, 2 up")
		b.report(t, "web:http", "1 up, 2 down")
		b.reconfigure(t, map[string][]string{"web": strings.Fields(followers)}, virtual(t, 2))
		if got := b.table(); got != want {
			t.Errorf("followers %s: %q, want %q", followers, got, want)
		}
	}
}

func TestReloadKeepsHeldServers(t *testing.T) {
	b := newBed(t, virtual(t, 2))
	b.report(t, "web:http", "1 up, 2 up")
	b.report(t, "web:http", "1 down")
	_ = b.Report(t.Context(), "web", "web:http", say("2 down"))
	b.mustHave(t, "2")
	b.reconfigure(t, nil, virtual(t, 2, func(c *lvs.VirtualConfig) { c.Real[1].Weight = new(7) }))
	b.mustHave(t, "2*7")
}

func TestSnapshot(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	p := lvs.NewPool(lvs.PoolConfig{Backend: countingBackend{record.New(nil)}, Now: func() time.Time { return now }})
	if err := p.Reconfigure(t.Context(), []lvs.Virtual{virtual(t, 2)}, nil); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	_ = p.Report(t.Context(), "web", "web:http", say("1 up, 2 down"))
	now = now.Add(time.Minute)
	err := p.Report(t.Context(), "web", "web:http", say("1 down, 2 down"))
	if refused, ok := errors.AsType[*lvs.RefusedError](err); !ok || !slices.Equal(refused.Kept, []string{host(1)}) {
		t.Fatalf("got %v, want a refusal about 1", err)
	}
	got, err := p.Snapshot(t.Context())
	if err != nil || len(got) != 1 || len(got[0].Servers) != 2 {
		t.Fatalf("Snapshot: %+v, %v", got, err)
	}
	one, two := got[0].Servers[0], got[0].Servers[1]
	if !one.In || !one.Held || one.Reason != "down, says web:http, kept in by min_up" || one.Since.Minute() != 1 || one.Active != 7 || one.Target != "10.0.0.1:80" {
		t.Errorf("the first server: %+v", one)
	}
	if two.In || two.Held || two.Reason != "down, says web:http" || two.Since.Minute() != 0 || two.Active != 0 {
		t.Errorf("the second server: %+v", two)
	}
	if got[0].Up != 0 || got[0].Name != "web" || got[0].MinUp != 1 {
		t.Errorf("the service: %+v", got[0])
	}
}

// countingBackend counts 7 connections to the first server.
type countingBackend struct{ *record.Recorder }

func (countingBackend) Counts(context.Context) (lvs.Counts, error) {
	id := lvs.ServiceID{Protocol: lvs.TCP, Address: netip.MustParseAddrPort("10.0.0.100:80")}
	return lvs.Counts{id: {netip.MustParseAddrPort("10.0.0.1:80"): {Active: 7}}}, nil
}

// A faulty backend fails as long as fault returns an error.
type faulty struct {
	*record.Recorder
	fault func(ctx context.Context) error
}

func (f *faulty) Set(ctx context.Context, t lvs.Table) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	return f.Recorder.Set(ctx, t)
}

func TestBackendFailsAndRecovers(t *testing.T) {
	broken := errors.New("netlink: no permission")
	f := &faulty{record.New(nil), func(context.Context) error { return broken }}
	p := lvs.NewPool(lvs.PoolConfig{Backend: f})
	b := bed{p, f.Recorder}
	if err := p.Reconfigure(t.Context(), []lvs.Virtual{virtual(t, 2)}, nil); !errors.Is(err, broken) {
		t.Fatalf("Reconfigure: %v, want %v", err, broken)
	}
	for range 2 {
		err := p.Report(t.Context(), "web", "web:http", say("1 up, 2 up"))
		if !errors.Is(err, broken) || errors.Is(err, alerts.ErrDelivered) {
			t.Fatalf("Report: %v, want %v without ErrDelivered", err, broken)
		}
	}
	f.fault = func(context.Context) error { return nil }
	b.report(t, "web:other", "1 unknown") // anybody's next report mends it
	b.mustHave(t, "1 2")

	// A refusal does not hide that the backend failed.
	f.fault = func(context.Context) error { return broken }
	err := p.Report(t.Context(), "web", "web:http", say("1 down, 2 down"))
	if !errors.Is(err, broken) || errors.Is(err, alerts.ErrDelivered) {
		t.Errorf("Report: %v, want %v without ErrDelivered", err, broken)
	}
	f.fault = func(context.Context) error { return nil }
	if err := p.Apply(t.Context()); err != nil {
		t.Errorf("Apply: %v", err)
	}
	b.mustHave(t, "1")
}

// TestFaultOfAnotherService: a watch is not blamed for a service that is not its
// own.
func TestFaultOfAnotherService(t *testing.T) {
	f := &faulty{record.New(nil), func(context.Context) error {
		return errors.Join(&lvs.ServiceError{Virtual: "mail", Err: errors.New("port taken")})
	}}
	p := lvs.NewPool(lvs.PoolConfig{Backend: f})
	mail := virtual(t, 2, func(c *lvs.VirtualConfig) { c.Name, c.Address = "mail", "10.0.0.100:25" })
	if err := p.Reconfigure(t.Context(), []lvs.Virtual{virtual(t, 2), mail}, nil); err == nil {
		t.Error("Reconfigure hides the fault")
	}
	if err := p.Report(t.Context(), "web", "web:http", say("1 up")); err != nil {
		t.Errorf("Report about web: %v", err)
	}
	if err := p.Report(t.Context(), "mail", "mail:smtp", say("1 up")); err == nil || err.Error() != `virtual "mail": port taken` {
		t.Errorf("Report about mail: %v", err)
	}
}

// TestHangingBackend: reports that arrive meanwhile are answered when their time
// is up, and one push of the newest state follows.
func TestHangingBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &faulty{record.New(nil), func(context.Context) error { return nil }}
		p := lvs.NewPool(lvs.PoolConfig{Backend: f})
		if err := p.Reconfigure(t.Context(), []lvs.Virtual{virtual(t, 3)}, nil); err != nil {
			t.Fatal(err)
		}
		before := len(f.Tables())
		f.fault = func(context.Context) error { <-release; return nil }
		var reporting sync.WaitGroup
		reporting.Go(func() {
			if err := p.Report(t.Context(), "web", "a", say("1 up")); err != nil {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Report(ctx, "web", "b", say("2 up")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that waits: %v, want %v", err, context.DeadlineExceeded)
		}
		if got, err := p.Snapshot(ctx); err != nil || !got[0].Servers[1].In {
			t.Errorf("Snapshot waits, or what was reported is lost: %+v, %v", got, err)
		}
		for i := range 1000 {
			reporting.Go(func() {
				if err := p.Report(t.Context(), "web", fmt.Sprint("c", i), say("3 up")); err != nil {
					t.Errorf("another: %v", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		reporting.Wait()
		if got := tableText(f.Table()); got != "1 2 3" {
			t.Errorf("at last %q, want 1 2 3", got)
		}
		if n := len(f.Tables()) - before; n != 2 {
			t.Errorf("%d pushes, want 2", n)
		}
	})
}

func TestCancelledReport(t *testing.T) {
	b := newBed(t, virtual(t, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Report(ctx, "web", "web:http", say("1 up")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestTenThousandFlaps: many sources at once; the last state is right.
func TestTenThousandFlaps(t *testing.T) {
	b := newBed(t, virtual(t, 4, minUp(0)))
	var sources sync.WaitGroup
	for n := range 4 {
		sources.Go(func() {
			for i := range 2500 {
				state := []string{"down", "up"}[i%2]
				if err := b.Report(t.Context(), "web", fmt.Sprint("w:", n), say(fmt.Sprintf("%d %s", n+1, state))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sources.Wait()
	b.mustHave(t, "1 2 3 4")
}

// names is a resolver.
type names struct {
	mu    sync.Mutex // protects all below
	known map[string][]netip.Addr
	asked int
}

func (n *names) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if a, ok := n.known[name]; ok && network == "ip" {
		return a, ctx.Err()
	}
	return nil, errors.New("no such host")
}

// web2 sets the addresses of that name.
func (n *names) web2(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known["web2"] = nil
	for _, a := range addresses {
		n.known["web2"] = append(n.known["web2"], netip.MustParseAddr(a))
	}
}

// TestNames: DNS is down at the start, comes up, and changes its mind.
func TestNames(t *testing.T) {
	dns := &names{known: map[string][]netip.Addr{}}
	b := bed{record: record.New(nil)}
	b.Pool = lvs.NewPool(lvs.PoolConfig{Backend: b.record, Resolver: dns})
	b.reconfigure(t, nil, virtual(t, 1, func(c *lvs.VirtualConfig) { c.Real = append(c.Real, lvs.RealConfig{Host: "web2"}) }))
	ups := report{host(1): up, "web2": up}
	err := b.Report(t.Context(), "web", "web:http", ups)
	if want := `virtual "web": real server web2 is left out: no such host`; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	b.mustHave(t, "1")
	s, _ := b.Snapshot(t.Context())
	if got := s[0].Servers[1]; got.Target != "web2:80" || got.Reason != "up, says web:http, its name cannot be looked up" {
		t.Errorf("status %+v", got)
	}

	dns.web2()
	if err := b.Report(t.Context(), "web", "web:http", ups); err == nil {
		t.Error("a name without an address is no error")
	}
	dns.web2("2001:db8::2", "10.0.0.2")
	if err := b.Report(t.Context(), "web", "web:http", ups); err != nil {
		t.Fatal(err)
	}
	b.mustHave(t, "1 2") // of two addresses that of the service's family

	asked := dns.asked
	for range 3 {
		if err := b.Report(t.Context(), "web", "web:http", ups); err != nil {
			t.Fatal(err)
		}
	}
	if dns.asked != asked {
		t.Errorf("the name server was asked %d times for a server that is in", dns.asked-asked)
	}

	// The server moves while it is down.
	again := func(want string, addresses ...string) {
		t.Helper()
		dns.web2(addresses...)
		for _, state := range []alerts.HostState{down, up} {
			if err := b.Report(t.Context(), "web", "web:http", report{"web2": state}); err != nil {
				t.Fatal(err)
			}
		}
		b.mustHave(t, want)
	}
	again("1 3", "10.0.0.3")
	again("1 3", "10.0.0.4", "10.0.0.3") // it still has the old address
	again("1 3")                         // the name has gone: the old address is good

	// Two servers at one address: one is enough.
	dns.web2("10.0.0.1")
	_ = b.Report(t.Context(), "web", "web:http", report{"web2": down})
	err = b.Report(t.Context(), "web", "web:http", report{"web2": up})
	if want := `virtual "web": real server web2 has the address 10.0.0.1:80, which 10.0.0.1 has too: it is left out`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	b.mustHave(t, "1")
}

// TestDeadServerDoesNotWaitForDNS: it is taken out before names are looked up.
func TestDeadServerDoesNotWaitForDNS(t *testing.T) {
	b := bed{record: record.New(nil)}
	asked := ""
	b.Pool = lvs.NewPool(lvs.PoolConfig{Backend: b.record, Resolver: resolverFunc(func() { asked = b.table() })})
	b.reconfigure(t, nil, virtual(t, 2, func(c *lvs.VirtualConfig) { c.Real = append(c.Real, lvs.RealConfig{Host: "web3"}) }))
	b.report(t, "web:http", "1 up, 2 up")
	_ = b.Report(t.Context(), "web", "web:http", report{host(1): down, host(2): up, "web3": up})
	if asked != "2" {
		t.Errorf("when the name server was asked the table had %q, want 2", asked)
	}
}

type resolverFunc func()

func (f resolverFunc) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	f()
	return nil, errors.New("timeout")
}

func TestClose(t *testing.T) {
	b := newBed(t, virtual(t, 1))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Report(t.Context(), "web", "web:http", say("1 up")); !errors.Is(err, lvs.ErrClosed) {
		t.Errorf("Report after Close: %v, want %v", err, lvs.ErrClosed)
	}
}

// TestPoolAgainstOracle reports at random and compares with a plain reading of
// the rules.
func TestPoolAgainstOracle(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(r, "servers")
		least := rapid.IntRange(0, n).Draw(r, "min_up")
		b := newBed(t, virtual(t, n, minUp(least)))
		last := map[string]alerts.HostState{} // by source and host
		var before []bool
		for range rapid.IntRange(1, 25).Draw(r, "reports") {
			source := rapid.SampledFrom([]string{"w:a", "w:b", "w:c"}).Draw(r, "source")
			said := rapid.MapOf(rapid.Map(rapid.IntRange(1, n), host), rapid.SampledFrom([]alerts.HostState{up, down, unknown})).Draw(r, "report")
			for h, s := range said {
				if s != unknown {
					last[source+h] = s
				}
			}
			err := b.Report(t.Context(), "web", source, said)
			if err != nil && !errors.Is(err, alerts.ErrDelivered) {
				r.Fatal(err)
			}
			before = verify(r, b, last, n, least, before, said, err)

			pushes, table := len(b.record.Tables()), b.table()
			_ = b.Report(t.Context(), "web", source, said)
			if len(b.record.Tables()) != pushes || b.table() != table {
				r.Fatal("the same report again changed the table")
			}
		}
	})
}

// verify compares the table with the oracle and returns who is in.
func verify(r *rapid.T, b bed, last map[string]alerts.HostState, n, least int, before []bool, said report, err error) []bool {
	table := strings.Fields(b.table())
	in, ups, ins, wasIn, refused := make([]bool, n), 0, 0, 0, false
	for i := range n {
		anyUp, anyDown := false, false
		for _, source := range []string{"w:a", "w:b", "w:c"} {
			anyUp = anyUp || last[source+host(i+1)] == up
			anyDown = anyDown || last[source+host(i+1)] == down
		}
		isUp := anyUp && !anyDown
		in[i] = slices.Contains(table, fmt.Sprint(i+1))
		if isUp {
			ups++
		}
		if in[i] {
			ins++
		}
		if before != nil && before[i] {
			wasIn++
		}
		switch {
		case isUp && !in[i]:
			r.Fatalf("server %d is up and out", i+1)
		case in[i] && !isUp && (before == nil || !before[i]):
			r.Fatalf("server %d is not up and was put in", i+1)
		case in[i] && !isUp && said[host(i+1)] == down:
			refused = true
		}
	}
	switch {
	case ups >= least && ins != ups:
		r.Fatalf("%d are up, enough for min_up %d, and %d are in", ups, least, ins)
	case ins < min(least, wasIn):
		r.Fatalf("%d were in, min_up is %d, and %d are in", wasIn, least, ins)
	case refused != errors.Is(err, alerts.ErrDelivered):
		r.Fatalf("a refusal is %t, the error %v", refused, err)
	}
	return in
}

// TestOrderOfSourcesDoesNotMatter: each source's reports in their order, mixed
// in two ways, lead to the same servers in.
func TestOrderOfSourcesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const n = 4
		drawReports := rapid.SliceOfN(rapid.MapOf(rapid.Map(rapid.IntRange(1, n), host), rapid.SampledFrom([]alerts.HostState{up, down, unknown})), 0, 6)
		reports := map[string][]report{"w:a": nil, "w:b": nil, "w:c": nil}
		var order []string
		for _, source := range []string{"w:a", "w:b", "w:c"} {
			reports[source] = drawReports.Draw(r, source)
			for range reports[source] {
				order = append(order, source)
			}
		}
		play := func(order []string) string {
			b := newBed(t, virtual(t, n, minUp(0)))
			next := map[string]int{}
			for _, source := range order {
				if err := b.Report(t.Context(), "web", source, reports[source][next[source]]); err != nil {
					r.Fatal(err)
				}
				next[source]++
			}
			return b.table()
		}
		other := rapid.Permutation(order).Draw(r, "another order")
		if x, y := play(order), play(other); x != y {
			r.Fatalf("%v leads to %q, %v to %q", order, x, other, y)
		}
	})
}
