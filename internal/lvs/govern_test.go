package lvs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/resources"
)

// A partner is a recorder that can be made to refuse, and that another process may
// have left a table in.
type partner struct {
	*record.Recorder
	mu       sync.Mutex // protects all below
	refuse   func(lvs.Table) error
	activity []lvs.Activity
	differs  []lvs.Change
	sets     int
	follows  bool
}

func (p *partner) Follows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.follows
}

func (p *partner) Set(ctx context.Context, t lvs.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sets++
	if p.refuse != nil {
		if err := p.refuse(t); err != nil {
			return err
		}
	}
	return p.Recorder.Set(ctx, t)
}

func (p *partner) SetActivity(a lvs.Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.activity); n == 0 || p.activity[n-1] != a {
		p.activity = append(p.activity, a)
	}
}

func (p *partner) Diff(context.Context, lvs.Table) ([]lvs.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.differs, nil
}

// governed is a bed in which "web" and "mail" belong to groups, and "always" does not.
type governed struct {
	bed
	partner *partner
}

func three(t testing.TB) []lvs.Virtual {
	named := func(name, address string) lvs.Virtual {
		return virtual(t, 2, func(c *lvs.VirtualConfig) { c.Name, c.Address = name, address })
	}
	return []lvs.Virtual{named("web", "10.0.0.100:80"), named("mail", "10.0.0.101:25"), named("always", "10.0.0.102:80")}
}

// newGoverned is a pool over what another process left, as the text of tables says.
func newGoverned(t testing.TB, left lvs.Table) governed {
	t.Helper()
	b := &partner{Recorder: record.New(nil)}
	if err := b.Set(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	g := governed{bed{lvs.NewPool(lvs.PoolConfig{Backend: b, Found: left}), b.Recorder}, b}
	g.Govern([]string{"web", "mail"})
	g.reconfigure(t, nil, three(t)...)
	return g
}

// forwarded writes the table as "web 1 2, always 1".
func (g governed) forwarded() string {
	var all []string
	for _, s := range g.record.Table() {
		all = append(all, strings.TrimSpace(s.Name+" "+tableText(lvs.Table{s})))
	}
	return strings.Join(all, ", ")
}

func (g governed) must(t testing.TB, want string) {
	t.Helper()
	if got := g.forwarded(); got != want {
		t.Fatalf("forwarded is %q, want %q", got, want)
	}
}

func (g governed) do(t testing.TB, call func(context.Context, ...string) error, names ...string) {
	t.Helper()
	if err := call(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
}

func (g governed) all(t testing.TB, text string) {
	t.Helper()
	for _, name := range []string{"web", "mail", "always"} {
		if err := g.Report(t.Context(), name, "w", say(text)); err != nil {
			t.Fatal(err)
		}
	}
}

func (g governed) stands(t testing.TB, want resources.Status, names ...string) {
	t.Helper()
	if got, err := g.Standing(t.Context(), names...); err != nil || got != want {
		t.Fatalf("%v: %s, %v, want %s", names, got, err, want)
	}
}

// A service follows the watches while it is held; while it is not, they are
// remembered.
func TestHoldAndResign(t *testing.T) {
	g := newGoverned(t, nil)
	g.all(t, "1 up, 2 up")
	g.must(t, "always 1 2")
	g.stands(t, resources.Stopped, "web", "mail")
	g.do(t, g.Hold, "web")
	g.must(t, "web 1 2, always 1 2")
	g.stands(t, resources.Running, "web")
	g.stands(t, resources.Failed)
	if !g.Holding("web") || g.Holding("mail") || !g.Holding("always") {
		t.Error("not web and always are held")
	}
	g.all(t, "2 down")
	g.must(t, "web 1, always 1")
	g.do(t, g.Resign)
	g.must(t, "always 1")
	g.stands(t, resources.Stopped)
	g.all(t, "1 down, 2 up")
	g.must(t, "always 2")
	g.do(t, g.Hold)
	g.must(t, "web 2, mail 2, always 2")
	g.stands(t, resources.Running)
	before := g.partner.sets
	g.do(t, g.Hold)
	g.do(t, g.Hold, "mail")
	if g.partner.sets != before {
		t.Errorf("%d calls of the backend for what is held already", g.partner.sets-before)
	}
	if want := []lvs.Activity{lvs.Waiting, lvs.Active, lvs.Standby, lvs.Active}; fmt.Sprint(g.partner.activity) != fmt.Sprint(want) {
		t.Errorf("activity %v, want %v", g.partner.activity, want)
	}
}

// A standby that is told of connections has the services as they would be forwarded;
// one that is active for another group has not, for it forwards what it has.
func TestFollows(t *testing.T) {
	g := newGoverned(t, nil)
	g.partner.follows = true
	g.all(t, "1 up, 2 up")
	g.must(t, "always 1 2")
	g.do(t, g.Resign)
	g.must(t, "web 1 2, mail 1 2, always 1 2")
	g.stands(t, resources.Stopped)
	if g.Holding("web") {
		t.Error("web is held")
	}
	g.all(t, "2 down")
	g.must(t, "web 1, mail 1, always 1")
	g.do(t, g.Hold, "web")
	g.must(t, "web 1, always 1")
	g.stands(t, resources.Running, "web")
	g.stands(t, resources.Stopped, "mail")
	g.do(t, g.Resign, "web")
	g.must(t, "web 1, mail 1, always 1")
}

// What a process left stays exactly as it is until somebody decides: neither reports
// nor time change it.
func TestUndecided(t *testing.T) {
	old := newGoverned(t, nil)
	old.all(t, "1 up, 2 up")
	old.do(t, old.Hold, "web")
	left := old.record.Table()
	left[0].Servers = append(left[0].Servers, lvs.Server{Address: left[0].Servers[0].Address, Weight: 7}) // somebody's own

	for _, c := range []struct{ name, want string }{{"hold", "web 2, always 2"}, {"resign", "always 2"}} {
		g := newGoverned(t, left)
		g.stands(t, resources.Failed, "web")
		g.stands(t, resources.Stopped, "mail")
		for range 2 {
			if err := g.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.must(t, "web 1 2 1*7, always 1 2")
			g.all(t, "1 up, 2 up")
		}
		g.all(t, "1 down")
		g.must(t, "web 1 2 1*7, always 2")
		if g.Holding("web") {
			t.Error("nobody decided, and web is held")
		}
		if c.name == "hold" {
			g.do(t, g.Hold, "web")
		} else {
			g.do(t, g.Resign, "web")
		}
		g.must(t, c.want)
	}
}

// An adopted service keeps the servers it was found with, though no watch has
// reported: a restart of the daemon costs none.
func TestAdoptedUntested(t *testing.T) {
	old := newGoverned(t, nil)
	old.all(t, "1 up, 2 up")
	old.do(t, old.Hold, "web")
	g := newGoverned(t, old.record.Table())
	g.do(t, g.Hold, "web")
	g.must(t, "web 1 2, always 1 2")
}

// A reload keeps the positions. A service that joins a group stays as it is until
// that is held, and one that leaves its group is forwarded.
func TestReloadKeepsPositions(t *testing.T) {
	g := newGoverned(t, nil)
	g.all(t, "1 up, 2 up")
	g.do(t, g.Hold, "web")
	g.do(t, g.Resign, "mail")
	g.reconfigure(t, nil, three(t)...)
	g.must(t, "web 1 2, always 1 2")
	g.stands(t, resources.Running, "web")
	g.stands(t, resources.Stopped, "mail")

	g.Govern([]string{"web", "always"})
	g.reconfigure(t, nil, three(t)...)
	g.must(t, "web 1 2, mail 1 2, always 1 2")
	g.all(t, "2 down")
	g.must(t, "web 1, mail 1, always 1 2")
	g.stands(t, resources.Failed, "always")
	g.do(t, g.Hold)
	g.must(t, "web 1, mail 1, always 1")
	if err := g.Resign(t.Context(), "mail"); err == nil {
		t.Error("resigned what belongs to no group")
	}
	if err := g.Hold(t.Context(), "web", "www"); err == nil || !strings.Contains(err.Error(), `"www"`) {
		t.Errorf("hold what is not there: %v", err)
	}

	renamed := three(t)
	renamed[0].Name = "www"
	g.Govern([]string{"www", "always"})
	g.reconfigure(t, nil, renamed...)
	g.stands(t, resources.Running, "www")
}

// The last service that belonged to a group is gone: the backend is told, though its
// table is the same.
func TestActivityWithoutGroups(t *testing.T) {
	g := newGoverned(t, nil)
	g.do(t, g.Resign)
	g.reconfigure(t, nil, three(t)[2])
	if last := g.partner.activity[len(g.partner.activity)-1]; last != lvs.Alone {
		t.Errorf("activity %q", last)
	}
}

// A Hold that the backend refuses leaves nothing behind, and what other services
// suffer from is not its business.
func TestHoldRefused(t *testing.T) {
	g := newGoverned(t, nil)
	g.all(t, "1 up, 2 up")
	refused := errors.New("no such scheduler")
	g.partner.refuse = func(table lvs.Table) error {
		for _, s := range table {
			if s.Name == "web" {
				return errors.Join(&lvs.ServiceError{Virtual: "web", Err: refused}, g.record.Set(t.Context(), table[1:]))
			}
		}
		return nil
	}
	if err := g.Hold(t.Context(), "web", "mail"); !errors.Is(err, refused) {
		t.Errorf("hold: %v", err)
	}
	g.must(t, "always 1 2")
	g.stands(t, resources.Stopped)
	g.do(t, g.Hold, "mail")
	g.stands(t, resources.Running, "mail")
	g.partner.refuse = func(lvs.Table) error { return &lvs.ServiceError{Virtual: "always", Err: refused} }
	g.do(t, g.Resign, "mail")
	g.stands(t, resources.Stopped)
	g.partner.refuse = func(lvs.Table) error {
		return errors.Join(&lvs.ServiceError{Virtual: "web", Err: &lvs.Flaw{Err: refused}}, &lvs.Flaw{Err: refused})
	}
	g.do(t, g.Hold, "web")
	g.stands(t, resources.Running, "web")
}

// As long as the backend has not withdrawn a service, Resign fails; it succeeds when
// the backend does, by whomever's call.
func TestResignRefused(t *testing.T) {
	g := newGoverned(t, nil)
	g.do(t, g.Hold)
	refused := errors.New("busy")
	address := three(t)[0].IDs[0].String()
	for _, virtual := range []string{"web", address} {
		g.partner.refuse = func(lvs.Table) error { return &lvs.ServiceError{Virtual: virtual, Err: refused} }
		if err := g.Resign(t.Context(), "web"); !errors.Is(err, refused) {
			t.Errorf("resign: %v", err)
		}
		g.stands(t, resources.Failed, "web")
	}
	g.partner.refuse = nil
	if err := g.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.stands(t, resources.Stopped, "web")
	g.do(t, g.Resign, "web")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(g.Hold(over, "web")); !errors.Is(err, context.Canceled) {
		t.Errorf("hold: %v", err)
	}
	g.stands(t, resources.Stopped, "web")
}

// What somebody did to the kernel's table is seen.
func TestStandingLooks(t *testing.T) {
	g := newGoverned(t, nil)
	g.do(t, g.Hold)
	web := lvs.Service{ID: three(t)[0].IDs[0]}
	g.partner.differs = []lvs.Change{{Operation: lvs.AddServer, Service: web}}
	g.stands(t, resources.Running)
	g.partner.differs = []lvs.Change{{Operation: lvs.AddService, Service: web}}
	g.stands(t, resources.Failed)
	g.stands(t, resources.Failed, "web")
	g.stands(t, resources.Running, "mail")
}

// A standby judges quorums as the active director does, and shows its positions.
func TestStandbyQuorum(t *testing.T) {
	var told []lvs.QuorumChange
	p := lvs.NewPool(lvs.PoolConfig{Backend: record.New(nil), Quorum: func(q lvs.QuorumChange) { told = append(told, q) }})
	p.Govern([]string{"web"})
	if err := errors.Join(p.Reconfigure(t.Context(), []lvs.Virtual{virtual(t, 2, minUp(0))}, nil), p.Resign(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1 up, 2 up", "1 down, 2 down", "2 up"} {
		if err := p.Report(t.Context(), "web", "w", say(text)); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 2 || told[0].Had || !told[1].Had {
		t.Errorf("told %+v", told)
	}
	status, err := p.Snapshot(t.Context())
	if err != nil || status[0].Position != lvs.Resigned || status[0].Up != 1 {
		t.Errorf("status %+v, %v", status, err)
	}
}
