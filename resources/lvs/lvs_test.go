package lvs_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	pool "github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/lvs"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is the resource of a configuration as users write it.
func made(site resources.Site, names ...string) (resources.Resource, error) {
	return resources.Build("lvs", site, func(into any) error {
		into.(*lvs.Config).Virtual = names
		return nil
	})
}

// table is a director's pool of two services.
func table(t testing.TB, backend pool.Backend) *pool.Pool {
	t.Helper()
	p := pool.NewPool(pool.PoolConfig{Backend: backend})
	var all []pool.Virtual
	for _, name := range []string{"web", "mail"} {
		c := pool.DefaultVirtualConfig()
		c.Name, c.Address, c.Start = name, map[string]string{"web": "192.0.2.100:80", "mail": "192.0.2.101:25"}[name], "up"
		c.Real = []pool.RealConfig{{Host: "192.0.2.1"}}
		v, err := c.Build(pool.BackendRelay)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	p.Govern([]string{"web", "mail"})
	if err := p.Reconfigure(t.Context(), all, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// A refuser forwards nothing.
type refuser struct{ *record.Recorder }

func (refuser) Set(_ context.Context, t pool.Table) error {
	for _, s := range t {
		if !s.Leave {
			return &pool.ServiceError{Virtual: s.Name, Err: errors.New("no such scheduler")}
		}
	}
	return nil
}

// A hanger does not come to an end with anything that is to be forwarded.
type hanger struct{ *record.Recorder }

func (h hanger) Set(ctx context.Context, t pool.Table) error {
	for _, s := range t {
		if !s.Leave {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return h.Recorder.Set(ctx, t)
}

func subject(names []string, backend func() pool.Backend) func(t testing.TB) func() resources.Resource {
	return func(t testing.TB) func() resources.Resource {
		p := table(t, backend())
		return func() resources.Resource {
			r, err := made(resources.Site{Table: p}, names...)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
}

func TestConformance(t *testing.T) {
	for name, names := range map[string][]string{"all": nil, "one": {"web"}, "both": {"mail", "web"}} {
		t.Run(name, func(t *testing.T) {
			resourcetest.Run(t, resourcetest.Subject{
				New:     subject(names, func() pool.Backend { return record.New(nil) }),
				Broken:  subject(names, func() pool.Backend { return refuser{record.New(nil)} }),
				Blocked: subject(names, func() pool.Backend { return hanger{record.New(nil)} }),
			})
		})
	}
}

// Two groups have a service each.
func TestTwoGroups(t *testing.T) {
	backend := record.New(nil)
	site := resources.Site{Table: table(t, backend)}
	web, err := made(site, "web")
	if err != nil {
		t.Fatal(err)
	}
	mail, err := made(site, "mail")
	if err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		t.Helper()
		var got []string
		for _, s := range backend.Table() {
			got = append(got, s.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("forwarded %v, want %s", got, want)
		}
	}
	for _, step := range []struct {
		call func(context.Context) error
		want string
	}{{web.Start, "web"}, {mail.Start, "web mail"}, {web.Stop, "mail"}, {mail.Stop, ""}, {mail.Start, "mail"}} {
		if err := step.call(t.Context()); err != nil {
			t.Fatal(err)
		}
		is(step.want)
	}
	if g := web.(resources.Governor).Governs(); len(g) != 1 || g[0] != "web" {
		t.Errorf("governs %v", g)
	}
}

func TestBuild(t *testing.T) {
	site := resources.Site{Table: table(t, record.New(nil))}
	for _, c := range []struct {
		name  string
		site  resources.Site
		names []string
		want  string
	}{
		{"no table", resources.Site{}, nil, "no virtual services here"},
		{"no services", resources.Site{Table: pool.NewPool(pool.PoolConfig{Backend: record.New(nil)})}, nil, "no virtual service at all"},
		{"another name", site, []string{"web", "www"}, `no virtual service "www": write some of web, mail`},
		{"twice", site, []string{"web", "web"}, `"web" is there twice`},
	} {
		_, err := made(c.site, c.names...)
		key, blamed := errors.AsType[*plugin.KeyError](err)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.site.Table != nil && (!blamed || key.Key != "virtual") {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
