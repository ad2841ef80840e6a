package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/plugin"
)

// pool remembers what it was told, and answers with err.
type pool struct {
	names []string
	err   error
	block bool

	mu   sync.Mutex // protects told
	told []told
}

type told struct {
	virtual, source string
	hosts           map[string]alerts.HostState
}

func (p *pool) Virtuals() []string { return p.names }

func (p *pool) Servers(virtual string) ([]string, bool) {
	return []string{"10.0.0.1"}, slices.Contains(p.names, virtual)
}

func (p *pool) Report(ctx context.Context, virtual, source string, hosts map[string]alerts.HostState) error {
	if p.block {
		<-ctx.Done()
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, told{virtual, source, maps.Clone(hosts)})
	return p.err
}

func build1(t testing.TB, p alerts.Pool, virtual string) (alerts.Alert, error) {
	t.Helper()
	return alerts.Build("ipvs", alerts.Site{Pool: p}, func(into any) error {
		into.(*Config).Virtual = virtual
		return nil
	})
}

func newAlert(t testing.TB, p alerts.Pool) alerts.Alert {
	t.Helper()
	a, err := build1(t, p, "web")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConformance(t *testing.T) {
	asState := func(e alerts.Event) alerts.Event { e.Kind = alerts.State; return e }
	web := func() *pool { return &pool{names: []string{"web"}} }
	alerttest.Run(t, alerttest.Subject{
		New: func(t testing.TB) alerts.Alert { return newAlert(t, web()) },
		Broken: func(t testing.TB) alerts.Alert {
			p := web()
			p.err = errors.New("no permission")
			return newAlert(t, p)
		},
		Blocked: func(t testing.TB) alerts.Alert { p := web(); p.block = true; return newAlert(t, p) },
		Adapt:   asState,
	})
}

func TestBuild(t *testing.T) {
	var many []string
	for i := range 22 {
		many = append(many, fmt.Sprint(i))
	}
	for _, tt := range []struct {
		name, virtual string
		pool          alerts.Pool
		want          string
	}{
		{"known", "web", &pool{names: []string{"web"}}, ""},
		{"no pool, as in a check", "web", nil, ""},
		{"missing", "", &pool{names: []string{"web"}}, `virtual: missing: write the name of a virtual service: there is "web"`},
		{"missing, no pool", "", nil, `virtual: missing: write the name of a virtual service`},
		{"mistyped", "wbe", &pool{names: []string{"web", "mail"}}, `virtual: there is no virtual service "wbe": there is "web", "mail"`},
		{"there is none", "web", &pool{}, `virtual: there is no virtual service "web": there is none, each is a table [[virtual]]`},
		{"there are many", "web", &pool{names: many}, `virtual: there is no virtual service "web": there is "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19" and 2 more`},
	} {
		_, err := build1(t, tt.pool, tt.virtual)
		got := ""
		if err != nil {
			got = err.Error()
			if k, ok := errors.AsType[*plugin.KeyError](err); !ok || k.Key != "virtual" {
				t.Errorf("%s: %v does not blame the key", tt.name, err)
			}
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestReportsStates(t *testing.T) {
	p := &pool{names: []string{"web"}}
	a := newAlert(t, p)
	if _, ok := a.(alerts.Follower); !ok {
		t.Error("it is no Follower")
	}
	if got := a.(interface{ Virtual() string }).Virtual(); got != "web" {
		t.Errorf("Virtual: %q", got)
	}
	e := alerts.Event{Kind: alerts.State, Group: "web", Service: "http", Hosts: []alerts.Host{
		{Name: "a", State: alerts.HostUp},
		{Name: "b", State: alerts.HostDown, Concerned: true},
		{Name: "c"},
		{Name: "d", State: alerts.HostDown, Disabled: true},
		{Name: "e", State: alerts.HostUp, Disabled: true},
	}}
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want := map[string]alerts.HostState{
		"a": alerts.HostUp, "b": alerts.HostDown, "c": alerts.HostUnknown, "d": alerts.HostUnknown, "e": alerts.HostUnknown,
	}
	if len(p.told) != 1 || p.told[0].virtual != "web" || p.told[0].source != "web:http" || !maps.Equal(p.told[0].hosts, want) {
		t.Errorf("told %+v, want one report of web:http about web: %v", p.told, want)
	}
}

// TestOtherEventsChangeNothing: a test above all.
func TestOtherEventsChangeNothing(t *testing.T) {
	p := &pool{names: []string{"web"}}
	a := newAlert(t, p)
	for k := range alerts.State {
		e := alerts.Event{Kind: k, Testing: alerts.State, Group: "web", Service: "http", Hosts: []alerts.Host{{Name: "a", State: alerts.HostDown}}}
		if err := a.Send(t.Context(), e); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	if len(p.told) > 0 {
		t.Errorf("the pool was told %+v", p.told)
	}
}

func TestPoolIsMissing(t *testing.T) {
	a := newAlert(t, nil)
	for _, k := range []alerts.Kind{alerts.State, alerts.Test} {
		if err := a.Send(t.Context(), alerts.Event{Kind: k}); err == nil || err.Error() != "there is no pool of real servers here" {
			t.Errorf("%s: %v", k, err)
		}
	}
	p := &pool{names: []string{"web"}}
	a = newAlert(t, p)
	p.names = []string{"mail"} // a reload took it away
	if err := a.Send(t.Context(), alerts.Event{Kind: alerts.Test}); err == nil || err.Error() != `there is no virtual service "web": there is "mail"` {
		t.Errorf("after its service went: %v", err)
	}
}

// TestWithRealPool: from events to the table, and back as errors.
func TestWithRealPool(t *testing.T) {
	c := lvs.DefaultVirtualConfig()
	c.Name, c.Address = "web", "10.0.0.100:80"
	c.Real = []lvs.RealConfig{{Host: "10.0.0.1"}, {Host: "10.0.0.2"}}
	v, err := c.Build(lvs.BackendRelay)
	if err != nil {
		t.Fatal(err)
	}
	r := record.New(nil)
	p := lvs.NewPool(lvs.PoolConfig{Backend: r})
	if err := p.Reconfigure(t.Context(), []lvs.Virtual{v}, nil); err != nil {
		t.Fatal(err)
	}
	a := newAlert(t, p)
	send := func(hosts ...alerts.Host) error {
		return a.Send(t.Context(), alerts.Event{Kind: alerts.State, Group: "web", Service: "http", Hosts: hosts})
	}
	one, two := alerts.Host{Name: "10.0.0.1", State: alerts.HostUp}, alerts.Host{Name: "10.0.0.2", State: alerts.HostUp}
	if err := send(one, two); err != nil {
		t.Fatal(err)
	}
	one.State = alerts.HostDown
	if err := send(one, two); err != nil {
		t.Fatal(err)
	}
	if got := r.Table()[0].Servers; len(got) != 1 || got[0].Address.String() != "10.0.0.2:80" {
		t.Errorf("servers %v, want 10.0.0.2:80 alone", got)
	}
	two.State = alerts.HostDown
	refused := send(one, two)
	if _, ok := errors.AsType[*lvs.RefusedError](refused); !ok || !errors.Is(refused, alerts.ErrDelivered) {
		t.Errorf("got %v, want a refusal that is not to be repeated", refused)
	}
	if got := r.Table()[0].Servers; len(got) != 1 {
		t.Errorf("servers %v, want one", got)
	}
	stranger := send(alerts.Host{Name: "db1", State: alerts.HostUp})
	if want := `delivered with a complaint: no host of web:http (db1) is a real server of virtual "web" (10.0.0.1, 10.0.0.2)`; stranger == nil || stranger.Error() != want {
		t.Errorf("got  %v\nwant %s", stranger, want)
	}
}
