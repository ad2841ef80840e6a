package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// A process that is started anew leaves the services on which nobody has decided
// exactly as they are, with all that they need, and mends the others; when they are
// held or resigned, they follow.
func TestLeft(t *testing.T) {
	full, cut := service(80, 1, 1), service(25, 1)
	full.Servers[0].Forward, cut.Drain = lvs.FullNAT, lvs.DrainCut
	for _, held := range []bool{true, false} {
		w := newWorld()
		k := w.start(t, Settings{})
		w.setCleanly(t, k, lvs.Table{full, cut})
		rules := slices.Clone(w.masquerade.rules)
		if len(rules) != 1 {
			t.Fatalf("rules %v", rules)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}

		k = w.start(t, Settings{})
		leave, mended := full, cut
		leave.Leave, mended.Servers = true, service(25, 7).Servers
		leave.Servers = append(slices.Clone(full.Servers), service(80, -1, -1, 4).Servers...)
		for range 3 {
			w.Forget()
			if err := k.Set(t.Context(), lvs.Table{leave, mended}); err != nil {
				t.Fatal(err)
			}
			w.holds(t, lvs.Table{full, mended})
			if !slices.Equal(w.masquerade.rules, rules) || w.sysctls.all()[conntrack] != on {
				t.Errorf("rules %v, sysctls %v", w.masquerade.rules, w.sysctls.all())
			}
		}
		want(t, "done again", w.changed())
		if diff, err := k.Diff(t.Context(), lvs.Table{leave, mended}); err != nil || len(diff) > 0 {
			t.Errorf("left to do: %v, %v", diff, err)
		}
		if held {
			w.setCleanly(t, k, lvs.Table{service(80, 2), mended})
		} else {
			w.setCleanly(t, k, lvs.Table{mended})
		}
		if len(w.masquerade.rules) > 0 || w.sysctls.all()[conntrack] != "0" {
			t.Errorf("afterwards rules %v, sysctls %v", w.masquerade.rules, w.sysctls.all())
		}
	}
}

// Where nothing was, a service that is left adds nothing, and takes nothing for ours.
func TestLeftOut(t *testing.T) {
	w := newWorld()
	full := service(80, 1)
	full.Servers[0].Forward, full.Drain, full.Leave = lvs.FullNAT, lvs.DrainCut, true
	k := w.start(t, Settings{})
	foreign := service(25, 3)
	if err := w.AddService(t.Context(), toService(view(foreign))); err != nil {
		t.Fatal(err)
	}
	w.Forget()
	theirs := service(25, 1)
	theirs.Leave = true
	for range 2 {
		if err := k.Set(t.Context(), lvs.Table{full, theirs}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "changes", w.changed())
	if len(w.masquerade.rules) > 0 || w.sysctls.all()[conntrack] != "0" || w.sysctls.all()[expireConnections] != "0" || len(w.memory.Services) > 0 {
		t.Errorf("rules %v, sysctls %v, ours %v", w.masquerade.rules, w.sysctls.all(), w.memory.Services)
	}
	w.setCleanly(t, k, lvs.Table{})

	w.sysctls.denied[conntrack] = true
	other := service(26, 1)
	other.Servers[0].Forward = lvs.FullNAT
	want(t, "without fullnat, services with errors", virtualsIn(k.Set(t.Context(), lvs.Table{full, other})), "web26")
}

// The sync daemons follow who is active, unless the settings say both.
func TestSyncFollows(t *testing.T) {
	for _, c := range []struct {
		role            SyncRole
		first           []string // before there are groups
		active, standby string
	}{
		{role: SyncMaster, first: []string{"master"}, active: "[master]", standby: "[backup]"},
		{role: SyncBackup, first: []string{"backup"}, active: "[master]", standby: "[backup]"},
		{role: SyncBoth, first: []string{"master", "backup"}, active: "[master backup]", standby: "[master backup]"},
	} {
		w := newWorld()
		settings := Settings{Sync: &SyncSettings{Role: c.role, Interface: "eth0"}}
		k := w.start(t, settings)
		is := func(when, want string) {
			t.Helper()
			all, err := w.Daemons(t.Context())
			var roles []string
			for _, d := range all {
				roles = append(roles, d.Role.String())
			}
			if err != nil || fmt.Sprint(roles) != want {
				t.Errorf("%s, %s: %v, %v, want %s", c.role, when, roles, err, want)
			}
		}
		k.SetActivity(lvs.Waiting)
		w.setCleanly(t, k, nil)
		is("undecided", "[]")
		k.SetActivity(lvs.Active)
		w.setCleanly(t, k, lvs.Table{service(80, 1)})
		is("active", c.active)

		k = w.start(t, settings)
		k.SetActivity(lvs.Waiting)
		w.setCleanly(t, k, lvs.Table{service(80, 1)})
		is("started anew", c.active)
		for range 2 {
			k.SetActivity(lvs.Standby)
			w.setCleanly(t, k, nil)
			is("standby", c.standby)
			k.SetActivity(lvs.Active)
			w.setCleanly(t, k, lvs.Table{service(80, 1)})
			is("active again", c.active)
			w.setCleanly(t, k, lvs.Table{service(80, 1)})
			is("looked at", c.active)
		}
		k.SetActivity(lvs.Alone)
		w.setCleanly(t, k, nil)
		is("without groups", fmt.Sprint(c.first))
		for _, r := range w.told {
			if len(r.Other) > 0 {
				t.Errorf("%s: repaired %v", c.role, r.Other)
			}
		}
	}
}

// While it only receives connections, the kernel forwards none by the services that
// these are bound to; a process that is started anew leaves that until it is decided.
func TestBackupOnly(t *testing.T) {
	w := newWorld()
	settings := Settings{Sync: &SyncSettings{Role: SyncBoth, Interface: "eth0"}}
	k := w.start(t, settings)
	if !k.Follows() || w.start(t, Settings{}).Follows() {
		t.Error("who has sync daemons follows, and nobody else")
	}
	table := lvs.Table{service(80, 1)}
	left := table.Clone()
	left[0].Leave = true
	is := func(a lvs.Activity, table lvs.Table, want string) {
		t.Helper()
		k.SetActivity(a)
		w.setCleanly(t, k, table)
		if got := w.sysctls.all()[backupOnly]; got != want {
			t.Errorf("%s: %s is %s, want %s", a, backupOnly, got, want)
		}
	}
	is(lvs.Waiting, nil, "0")
	for range 2 {
		is(lvs.Standby, table, "1")
		is(lvs.Active, table, "0")
		is(lvs.Standby, table, "1")
		k = w.start(t, settings)
		is(lvs.Waiting, left, "1")
		is(lvs.Waiting, left, "1")
		is(lvs.Active, table, "0")
		k = w.start(t, settings)
		is(lvs.Waiting, left, "0")
	}
	is(lvs.Standby, table, "1")
	k.Configure(Settings{})
	is(lvs.Standby, nil, "0")
}

// A stubborn kernel refuses a kind of call.
type stubborn struct {
	ipvs.Access
	refused ipvs.Op
}

var errStubborn = errors.New("busy")

func (s *stubborn) refuses(op ipvs.Op) error {
	if op == s.refused {
		return errStubborn
	}
	return nil
}

func (s *stubborn) StartDaemon(ctx context.Context, d ipvs.Daemon) error {
	if err := s.refuses(ipvs.OpStartDaemon); err != nil {
		return err
	}
	return s.Access.StartDaemon(ctx, d)
}

func (s *stubborn) AddService(ctx context.Context, v ipvs.Service) error {
	if err := s.refuses(ipvs.OpAddService); err != nil {
		return err
	}
	return s.Access.AddService(ctx, v)
}

func (s *stubborn) RemoveService(ctx context.Context, k ipvs.Key) error {
	if err := s.refuses(ipvs.OpRemoveService); err != nil {
		return err
	}
	return s.Access.RemoveService(ctx, k)
}

// A sync daemon that cannot run keeps no service from being forwarded, and is tried
// again.
func TestSyncFlaw(t *testing.T) {
	w := newWorld()
	k := w.start(t, Settings{Sync: &SyncSettings{Role: SyncMaster, Interface: "eth0"}})
	access := &stubborn{w.Kernel, ipvs.OpStartDaemon}
	k.access = access
	k.SetActivity(lvs.Active)
	if err := w.StartDaemon(t.Context(), ipvs.Daemon{Role: ipvs.Master, Interface: "eth1"}); err != nil {
		t.Fatal(err)
	}
	err := k.Set(t.Context(), lvs.Table{service(80, 1)})
	if _, flaw := errors.AsType[*lvs.Flaw](err); !flaw || !errors.Is(err, errStubborn) {
		t.Errorf("set: %v", err)
	}
	w.holds(t, lvs.Table{service(80, 1)})
	access.refused = ""
	w.setCleanly(t, k, lvs.Table{service(80, 1)})
	if all, _ := w.Daemons(t.Context()); len(all) != 1 || all[0].Interface != "eth0" {
		t.Errorf("running %v", all)
	}
}

// A server that cannot be put in is a flaw as long as another one is; a service that
// cannot be added, or removed, or has no server, is more.
func TestFlaws(t *testing.T) {
	w := newWorld()
	w.WithoutTunnels()
	k := w.start(t, Settings{})
	tunnel := lvs.Server{Address: address("10.0.1.9:80"), Weight: 1, Forward: lvs.Tunneling, Tunnel: lvs.Tunnel{Type: lvs.GUE, Port: 6080}}
	some, none := service(80, 1), service(81)
	some.Servers, none.Servers = append(some.Servers, tunnel), append(none.Servers, tunnel)
	for _, c := range []struct {
		table lvs.Table
		flaw  bool
	}{{lvs.Table{some}, true}, {lvs.Table{none}, false}} {
		err := k.Set(t.Context(), c.table)
		_, flaw := errors.AsType[*lvs.Flaw](err)
		if err == nil || flaw != c.flaw {
			t.Errorf("%v: %v, a flaw: %t", c.table, err, flaw)
		}
	}
	if err := k.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.setCleanly(t, k, lvs.Table{service(80, 1)})
	access := &stubborn{w.Kernel, ""}
	k.access = access
	for _, op := range []ipvs.Op{ipvs.OpRemoveService, ipvs.OpAddService} {
		access.refused = op
		var table lvs.Table
		if op == ipvs.OpAddService {
			table = lvs.Table{service(80, 1), service(25, 1)}
		}
		err := k.Set(t.Context(), table)
		if _, flaw := errors.AsType[*lvs.Flaw](err); err == nil || flaw {
			t.Errorf("%s: %v, a flaw: %t", op, err, flaw)
		}
	}
}
