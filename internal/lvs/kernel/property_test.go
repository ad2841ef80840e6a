package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
)

// A service is read back as it was viewed.
func TestTranslation(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		for _, s := range views(lvstest.DrawTable(r, "table")) {
			k := toService(s)
			if back := fromService(k); !sameService(back, s) || toService(back).Key != k.Key || !toService(back).Same(k) {
				r.Fatalf("%+v is read back as %+v, by %+v", s, back, k)
			}
			for _, server := range s.Servers {
				d, err := toDestination(server)
				if err != nil {
					r.Fatal(err)
				}
				if back := fromDestination(d); back != server {
					r.Fatalf("%+v is read back as %+v, by %+v", server, back, d)
				}
			}
			if again := view(s); !sameService(again, s) || !same(again, s) {
				r.Fatalf("the view of %+v is %+v", s, again)
			}
		}
	})
}

func sameService(a, b lvs.Service) bool {
	a.Servers, b.Servers = nil, nil
	return a.ID == b.ID && same(a, b)
}

// From any table to any other, with some calls that fail: in the end it is as
// wanted, and no service with a server that is up, before and after, ever has
// none.
func TestAnyToAny(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld()
		h := &witness{Access: w.Kernel, w: w}
		k := New(Config{Access: h, Masquerade: w.masquerade, Sysctl: w.sysctls, Settings: Settings{Own: OwnAll}})
		table := lvstest.DrawTable(r, "table 0")
		if rapid.Bool().Draw(r, "foreign") {
			fill(r, w, table)
		}
		w.converge(r, k, table)
		for i := range rapid.IntRange(1, 4).Draw(r, "tables") {
			next := lvstest.DrawTable(r, fmt.Sprint("table ", i+1))
			if rapid.IntRange(0, 4).Draw(r, "flushed") == 0 {
				w.Flush()
			}
			h.expect(next)
			w.spoil(r)
			w.converge(r, k, next)
			if h.emptied != "" {
				r.Fatalf("no server that is up was left after: %s", h.emptied)
			}
			table = next
		}
		for range furthest {
			_, _ = w.Services(t.Context()) // takes the faults that are left
		}
		w.converge(r, k, table)
		w.Forget()
		if err := k.Set(t.Context(), table); err != nil {
			r.Fatalf("Set again: %v", err)
		}
		if done := w.changed(); len(done) > 0 {
			r.Fatalf("done again: %q", done)
		}
	})
}

// fill puts the table into the kernel by another hand.
func fill(r *rapid.T, w *world, t lvs.Table) {
	for _, s := range views(t) {
		if err := w.AddService(context.Background(), toService(s)); err != nil {
			r.Fatal(err)
		}
		for _, server := range s.Servers {
			d, _ := toDestination(server)
			if err := w.AddDestination(context.Background(), keyOf(s.ID), d); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// furthest is the last of the next calls that spoil may have fail.
const furthest = 12

// spoil has some of the next calls fail.
func (w *world) spoil(r *rapid.T) {
	for _, n := range rapid.SliceOfN(rapid.IntRange(1, furthest), 0, 3).Draw(r, "failing calls") {
		switch rapid.IntRange(0, 3).Draw(r, "how") {
		case 0:
			w.Fail(n, syscall.ENOMEM)
		case 1:
			w.Fail(n, syscall.EPERM)
		case 2:
			w.Lose(n)
		case 3:
			w.Fail(n, ipvs.ErrTimeout)
		}
	}
}

// converge sets the table until there is no error, which is soon.
func (w *world) converge(r *rapid.T, k *Kernel, table lvs.Table) {
	var err error
	for range 10 {
		if err = k.Set(context.Background(), table); err == nil {
			break
		}
	}
	if err != nil {
		r.Fatalf("Set: %v", err)
	}
	if diff := gocmp.Diff(lines(table), w.Save(), cmpopts.EquateEmpty()); diff != "" {
		r.Fatalf("the kernel's table (-want +got):\n%s", diff)
	}
}

// A witness looks at the table after each change of servers.
type witness struct {
	ipvs.Access
	w       *world
	wanted  map[lvs.ServiceID]bool // with a server that is up, before and after
	emptied string                 // what emptied one first
}

// expect begins a change to a table.
func (h *witness) expect(next lvs.Table) {
	up := h.up()
	h.wanted, h.emptied = map[lvs.ServiceID]bool{}, ""
	for _, s := range next {
		for _, server := range s.Servers {
			if server.Weight > 0 && up[s.ID] {
				h.wanted[s.ID] = true
			}
		}
	}
}

func (h *witness) look(what string, key ipvs.Key, at netip.AddrPort, err error) error {
	if h.emptied == "" && h.wanted[idOf(key)] && !h.up()[idOf(key)] {
		h.emptied = fmt.Sprintf("%s %s of %s", what, at, key)
	}
	return err
}

// up tells of each service whether it has a server that is up.
func (h *witness) up() map[lvs.ServiceID]bool {
	up := map[lvs.ServiceID]bool{}
	_ = h.w.Admin(func(a ipvs.Access) error {
		services, _ := a.Services(context.Background())
		for _, s := range services {
			all, _ := a.Destinations(context.Background(), s.Key)
			for _, d := range all {
				up[idOf(s.Key)] = up[idOf(s.Key)] || d.Weight > 0
			}
		}
		return nil
	})
	return up
}

func (h *witness) RemoveService(ctx context.Context, key ipvs.Key) error {
	return h.look("remove", key, netip.AddrPort{}, h.Access.RemoveService(ctx, key))
}

func (h *witness) UpdateDestination(ctx context.Context, key ipvs.Key, d ipvs.Destination) error {
	return h.look("change", key, d.Address, h.Access.UpdateDestination(ctx, key, d))
}

func (h *witness) RemoveDestination(ctx context.Context, key ipvs.Key, at netip.AddrPort) error {
	return h.look("remove", key, at, h.Access.RemoveDestination(ctx, key, at))
}
