package ipvstest

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/ipvs"
)

func TestConforms(t *testing.T) {
	Conform(t, func(*testing.T) ipvs.Access { return New() })
}

// filled has one service with one server, and remembers no calls.
func filled(t *testing.T) *Kernel {
	t.Helper()
	k := New()
	err := k.Admin(func(a ipvs.Access) error {
		return errors.Join(
			a.AddService(t.Context(), ipvs.Service{Key: web, Scheduler: "wlc"}),
			a.AddDestination(t.Context(), web, first))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(k.Calls()); n != 0 {
		t.Fatalf("%d calls are recorded of what was done behind the back", n)
	}
	return k
}

func TestRecords(t *testing.T) {
	k := filled(t)
	ctx := t.Context()
	_ = k.UpdateService(ctx, ipvs.Service{Key: web, Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 5})
	_ = k.AddDestination(ctx, web, second)
	_ = k.AddDestination(ctx, web, second) // fails
	_, _ = k.Services(ctx)
	_ = k.RemoveDestination(ctx, web, first.Address)
	want := []string{
		"-E -t 10.99.0.1:80 -s rr -p 5",
		"-a -t 10.99.0.1:80 -r 10.99.1.2:8080 -m -w 3 -x 20 -y 10",
		"-d -t 10.99.0.1:80 -r 10.99.1.1:80",
	}
	if diff := cmp.Diff(want, k.Changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	calls := k.Calls()
	if len(calls) != 5 || !errors.Is(calls[2].Err, ipvs.ErrExists) || calls[1].Destination != second {
		t.Errorf("calls %v", calls)
	}
	saved := []string{"-A -t 10.99.0.1:80 -s rr -p 5", "-a -t 10.99.0.1:80 -r 10.99.1.2:8080 -m -w 3 -x 20 -y 10"}
	if diff := cmp.Diff(saved, k.Save()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	k.Forget()
	k.Flush()
	if len(k.Calls()) != 0 || k.Save() != nil {
		t.Error("something is left")
	}
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := filled(t)
		k.Fail(1, syscall.ENOMEM)
		k.Hang(3)
		k.Lose(4)
		zero := func(ctx context.Context) (time.Duration, error) {
			begin := time.Now()
			err := k.RemoveDestination(ctx, web, first.Address)
			return time.Since(begin), err
		}
		if _, err := zero(t.Context()); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("first: %v", err)
		}
		if _, err := k.Services(t.Context()); err != nil {
			t.Errorf("second: %v", err)
		}
		if took, err := zero(t.Context()); !errors.Is(err, ipvs.ErrTimeout) || took != 5*time.Second {
			t.Errorf("third: %v after %v", err, took)
		}
		if len(k.Save()) != 2 {
			t.Error("a call that hung or failed has changed the table")
		}
		if _, err := zero(t.Context()); !errors.Is(err, ipvs.ErrTimeout) || len(k.Save()) != 1 {
			t.Errorf("fourth: %v; the table is %v", err, k.Save())
		}
		k.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if took, err := zero(ctx); !errors.Is(err, ipvs.ErrTimeout) || took != time.Second {
			t.Errorf("with a deadline: %v after %v", err, took)
		}
	})
}

func TestStates(t *testing.T) {
	k := filled(t)
	ctx := t.Context()
	k.Deny(true)
	if _, err := k.Services(ctx); !errors.Is(err, ipvs.ErrNoPermission) {
		t.Errorf("denied: %v", err)
	}
	k.Deny(false)
	k.SetSchedulers("rr")
	if err := k.AddService(ctx, ipvs.Service{Key: web6, Scheduler: "wlc"}); !errors.Is(err, ipvs.ErrNoScheduler) {
		t.Errorf("without its module: %v", err)
	}
	k.WithoutTunnels()
	if err := k.AddDestination(ctx, web, mixed6); !errors.Is(err, ipvs.ErrNoTunnel) {
		t.Errorf("without gue: %v", err)
	}
	if err := k.Count(web, first.Address, func(d *ipvs.Destination) { d.Active, d.Stats.CPS = 4, 5 }); err != nil {
		t.Error(err)
	}
	all, err := k.Destinations(ctx, web)
	if err != nil || len(all) != 1 || all[0].Active != 4 || all[0].Stats.CPS != 5 {
		t.Errorf("counters: %+v, %v", all, err)
	}
	k.SetConnections(ipvs.Connection{State: "NONE"})
	var conns []ipvs.Connection
	for c, err := range k.Connections(ctx) {
		if err != nil {
			t.Error(err)
		}
		conns = append(conns, c)
	}
	if !slices.Equal(conns, []ipvs.Connection{{State: "NONE"}}) {
		t.Errorf("connections: %v", conns)
	}
	k.Unload()
	if err := k.AddDestination(ctx, web, second); !errors.Is(err, ipvs.ErrNoKernel) {
		t.Errorf("unloaded: %v", err)
	}
	k.Load()
	if all, err := k.Services(ctx); err != nil || len(all) != 0 {
		t.Errorf("loaded again: %v, %v", all, err)
	}
}
