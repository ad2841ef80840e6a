// Package lvstest is the conformance suite of [lvs.Backend]. Every backend runs
// it in its tests; run it with -race.
package lvstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/lvs"
)

// A Subject says how to make the backend under test.
type Subject struct {
	// New makes a backend that forwards nothing.
	New func(t testing.TB) lvs.Backend
	// Actual returns what the backend forwards now, found out as far from the
	// backend's own memory as can be had. Order, names and times do not matter.
	Actual func(t testing.TB, b lvs.Backend) lvs.Table
	// Kernel says that the backend takes what IPVS has beyond the relay: all
	// protocols, schedulers, flags, ways to forward, thresholds and persistence.
	// Actual tells them then.
	Kernel bool
}

// Run runs all checks, each as a subtest with a backend of its own.
func Run(t *testing.T, s Subject) {
	t.Helper()
	checks := []check{
		{"one table after another", sequence, plain},
		{"IPv6", ipv6, plain},
		{"500 servers", manyServers, plain},
		{"the table stays the caller's", callersTable, plain},
		{"a call that is cancelled beforehand", cancelled, plain},
		{"closed", closed, plain},
		{"counts", counts, plain},
		{"services that are left", left, plain},
		{"any tables in any order", random, plain},
	}
	if s.Kernel {
		checks = append(checks, kernelChecks()...)
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			b := s.New(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.run(t, bench{b, s.Actual, c.view})
		})
	}
}

// A check is one of the suite.
type check struct {
	name string
	run  func(*testing.T, bench)
	view func(lvs.Table) lvs.Table // of what has to be equal
}

// A bench is a backend in one check.
type bench struct {
	lvs.Backend
	actual func(testing.TB, lvs.Backend) lvs.Table
	view   func(lvs.Table) lvs.Table
}

// set sets the table and verifies that it came true.
func (b bench) set(t testing.TB, wanted lvs.Table) {
	t.Helper()
	if err := b.Set(t.Context(), wanted); err != nil {
		t.Fatalf("Set(%v): %v", wanted, err)
	}
	b.verify(t, wanted)
}

func (b bench) verify(t testing.TB, wanted lvs.Table) {
	t.Helper()
	if diff := b.diff(t, wanted); diff != "" {
		t.Fatalf("the table is not as set (-want +got):\n%s", diff)
	}
}

func (b bench) diff(t testing.TB, wanted lvs.Table) string {
	t.Helper()
	return gocmp.Diff(b.view(wanted), b.view(b.actual(t, b.Backend)),
		cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty())
}

// plain reduces a table to what every backend can tell, in one order.
func plain(t lvs.Table) lvs.Table {
	out := lvs.Table{}
	for _, s := range t {
		s := lvs.Service{ID: s.ID, Scheduler: s.Scheduler, Servers: slices.Clone(s.Servers)}
		for i := range s.Servers {
			s.Servers[i].Forward = "" // its own way
		}
		out = append(out, s)
	}
	return sorted(out)
}

// sorted brings a table of one's own into one order.
func sorted(t lvs.Table) lvs.Table {
	for _, s := range t {
		slices.SortFunc(s.Servers, func(a, b lvs.Server) int { return a.Address.Compare(b.Address) })
	}
	slices.SortFunc(t, func(a, b lvs.Service) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return t
}

// Service returns a service with usual settings.
func Service(address netip.AddrPort, servers ...lvs.Server) lvs.Service {
	return lvs.Service{
		Name: "web", ID: lvs.ServiceID{Protocol: lvs.TCP, Address: address},
		Scheduler: lvs.WeightedLeastConnection, Drain: lvs.DrainSlowly,
		DrainTimeout: time.Minute, ConnectTimeout: 3 * time.Second, Servers: servers,
	}
}

// server is the nth of the servers that nobody connects to.
func server(n, weight int) lvs.Server {
	return lvs.Server{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(2 + n/250), byte(1 + n%250)}), 80), Weight: weight}
}

// serverLike is the nth server of an address's family.
func serverLike(address netip.AddrPort, n, weight int) lvs.Server {
	s := server(n, weight)
	if address.Addr().Is6() {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[15] = byte(n)
		s.Address = netip.AddrPortFrom(netip.AddrFrom16(a), s.Address.Port())
	}
	return s
}

// FreeAddress returns a loopback address and port that nobody listens on. Only
// IPv4 addresses other than 127.0.0.1 are returned, so that no outgoing
// connection takes the port meanwhile.
func FreeAddress(t testing.TB) netip.AddrPort {
	t.Helper()
	n := func() byte { return byte(1 + rand.N(250)) }
	return free(t, netip.AddrFrom4([4]byte{127, n(), n(), n()}))
}

// FreeAddress6 does the same for ::1.
func FreeAddress6(t testing.TB) netip.AddrPort {
	t.Helper()
	return free(t, netip.IPv6Loopback())
}

func free(t testing.TB, ip netip.Addr) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func sequence(t *testing.T, b bench) {
	web, mail := FreeAddress(t), FreeAddress(t)
	rr := Service(web, server(1, 1), server(2, 5))
	rr.Scheduler = lvs.RoundRobin
	steps := []struct {
		name  string
		table lvs.Table
	}{
		{"nothing", nil},
		{"a service without servers", lvs.Table{Service(web)}},
		{"its first server", lvs.Table{Service(web, server(1, 1))}},
		{"the same again", lvs.Table{Service(web, server(1, 1))}},
		{"a second server", lvs.Table{Service(web, server(1, 1), server(2, 3))}},
		{"other weights", lvs.Table{Service(web, server(1, 65535), server(2, 5))}},
		{"quiesced", lvs.Table{Service(web, server(1, 0), server(2, 5))}},
		{"back", lvs.Table{Service(web, server(1, 1), server(2, 5))}},
		{"another scheduler", lvs.Table{rr}},
		{"the other order", lvs.Table{Service(web, server(2, 5), server(1, 1))}},
		{"one removed", lvs.Table{Service(web, server(2, 5))}},
		{"one replaced", lvs.Table{Service(web, server(3, 1))}},
		{"a second service", lvs.Table{Service(mail, server(3, 2)), Service(web, server(3, 1))}},
		{"the first removed", lvs.Table{Service(mail, server(3, 2))}},
		{"the first again", lvs.Table{Service(web, server(1, 1)), Service(mail, server(3, 2))}},
		{"all servers removed", lvs.Table{Service(web), Service(mail)}},
		{"empty", lvs.Table{}},
	}
	for _, s := range steps {
		t.Log(s.name)
		b.set(t, s.table)
	}
}

func ipv6(t *testing.T, b bench) {
	real6 := lvs.Server{Address: netip.MustParseAddrPort("[2001:db8::1]:8080"), Weight: 2}
	b.set(t, lvs.Table{Service(FreeAddress6(t), real6), Service(FreeAddress(t), server(1, 1))})
}

func manyServers(t *testing.T, b bench) {
	var servers []lvs.Server
	for i := range 500 {
		servers = append(servers, server(i, i%7))
	}
	web := FreeAddress(t)
	b.set(t, lvs.Table{Service(web, servers...)})
	b.set(t, lvs.Table{Service(web, servers[100:400]...)})
}

func callersTable(t *testing.T, b bench) {
	wanted := lvs.Table{Service(FreeAddress(t), server(1, 1), server(2, 2))}
	same := wanted.Clone()
	b.set(t, wanted)
	wanted[0].Servers[0] = server(9, 9)
	wanted[0].Scheduler = lvs.RoundRobin
	b.verify(t, same)
	b.set(t, same)
}

func cancelled(t *testing.T, b bench) {
	before := lvs.Table{Service(FreeAddress(t), server(1, 1))}
	b.set(t, before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	after := lvs.Table{Service(before[0].ID.Address, server(2, 1))}
	if err := b.Set(ctx, after); !errors.Is(err, context.Canceled) {
		t.Errorf("Set with a cancelled context: %v, want %v", err, context.Canceled)
	}
	b.verify(t, before)
	b.set(t, after)
}

func closed(t *testing.T, b bench) {
	table := lvs.Table{Service(FreeAddress(t), server(1, 1))}
	b.set(t, table)
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := b.Set(t.Context(), table); !errors.Is(err, lvs.ErrClosed) {
		t.Errorf("Set after Close: %v, want %v", err, lvs.ErrClosed)
	}
}

func counts(t *testing.T, b bench) {
	c, ok := b.Backend.(lvs.Counter)
	if !ok {
		return // a backend need not count
	}
	web := Service(FreeAddress(t), server(1, 1), server(2, 0))
	b.set(t, lvs.Table{web})
	got, err := c.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range web.Servers {
		if n, ok := got[web.ID][s.Address]; !ok || n != (lvs.Count{}) {
			t.Errorf("count of unused server %s is %+v, %t; want zeros, true", s.Address, n, ok)
		}
	}
}

// left has services left as they are, which are there or not.
func left(t *testing.T, b bench) {
	web, mail := FreeAddress(t), FreeAddress(t)
	leave := func(a netip.AddrPort, servers ...lvs.Server) lvs.Service {
		s := Service(a, servers...)
		s.Leave, s.Scheduler = true, lvs.RoundRobin
		return s
	}
	is := func(wanted, then lvs.Table) {
		t.Helper()
		if err := b.Set(t.Context(), wanted); err != nil {
			t.Fatalf("Set(%v): %v", wanted, err)
		}
		b.verify(t, then)
	}
	was := Service(web, server(1, 1), server(2, 5))
	is(lvs.Table{leave(web, server(1, 1))}, nil)
	b.set(t, lvs.Table{was})
	for range 2 {
		is(lvs.Table{leave(web, server(1, 3), server(4, 1)), Service(mail, server(3, 1))}, lvs.Table{was, Service(mail, server(3, 1))})
		is(lvs.Table{leave(mail), leave(web)}, lvs.Table{was, Service(mail, server(3, 1))})
		is(lvs.Table{leave(web)}, lvs.Table{was})
	}
	b.set(t, lvs.Table{Service(web, server(2, 1))})
	is(lvs.Table{leave(web)}, lvs.Table{Service(web, server(2, 1))})
	b.set(t, nil)
	is(lvs.Table{leave(web)}, nil)
}

// random sets tables drawn from a small world, so that all transitions occur.
func random(t *testing.T, b bench) {
	addresses := []netip.AddrPort{FreeAddress(t), FreeAddress(t), FreeAddress6(t)}
	rapid.Check(t, func(r *rapid.T) {
		for i := range rapid.IntRange(1, 6).Draw(r, "tables") {
			wanted := drawTable(r, i, addresses)
			if err := b.Set(t.Context(), wanted); err != nil {
				r.Fatalf("Set: %v", err)
			}
			if diff := b.diff(t, wanted); diff != "" {
				r.Fatalf("the table is not as set (-want +got):\n%s", diff)
			}
		}
	})
}

func drawTable(r *rapid.T, step int, addresses []netip.AddrPort) lvs.Table {
	var table lvs.Table
	for i, a := range rapid.Permutation(addresses).Draw(r, fmt.Sprint("order ", step)) {
		if rapid.IntRange(0, 2).Draw(r, fmt.Sprint("absent ", step, i)) == 0 {
			continue
		}
		s := Service(a)
		s.Scheduler = rapid.SampledFrom(lvs.RelaySchedulers()).Draw(r, "scheduler")
		s.Drain = rapid.SampledFrom([]lvs.Drain{lvs.DrainSlowly, lvs.DrainCut}).Draw(r, "drain")
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 5), 0, 5, rapid.ID).Draw(r, "servers") {
			s.Servers = append(s.Servers, serverLike(a, n, rapid.IntRange(0, 3).Draw(r, "weight")))
		}
		table = append(table, s)
	}
	return table
}
