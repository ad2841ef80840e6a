package ipvstest

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/ipvs"
)

// Conform tests what every [ipvs.Access] has to keep, on an empty table each
// time, which open opens and closes. The suite runs against [Kernel] and against
// Linux, so that neither drifts from the other.
func Conform(t *testing.T, open func(t *testing.T) ipvs.Access) {
	t.Helper()
	for name, test := range map[string]func(*suite){
		"services":         (*suite).services,
		"destinations":     (*suite).destinations,
		"missing":          (*suite).missing,
		"families":         (*suite).families,
		"daemons":          (*suite).daemons,
		"timeouts":         (*suite).timeouts,
		"bad input":        (*suite).badInput,
		"a context at end": (*suite).cancelled,
		"closed":           (*suite).closed,
	} {
		t.Run(name, func(t *testing.T) {
			test(&suite{T: t, Access: open(t), ctx: t.Context()})
		})
	}
}

type suite struct {
	*testing.T
	ipvs.Access
	ctx context.Context
}

var (
	web    = ipvs.AddressKey(ipvs.TCP, netip.MustParseAddrPort("10.99.0.1:80"))
	web6   = ipvs.AddressKey(ipvs.TCP, netip.MustParseAddrPort("[2001:db8:99::1]:80"))
	mark   = ipvs.MarkKey(7, ipvs.INET6)
	first  = ipvs.Destination{Address: netip.MustParseAddrPort("10.99.1.1:80"), Forward: ipvs.Route, Weight: 1}
	second = ipvs.Destination{Address: netip.MustParseAddrPort("10.99.1.2:8080"), Forward: ipvs.Masq, Weight: 3, Upper: 20, Lower: 10}
	mixed6 = ipvs.Destination{
		Address: netip.MustParseAddrPort("[2001:db8:99::2]:80"), Forward: ipvs.Tunnel, Weight: 1,
		Tunnel: ipvs.Encapsulation{Type: ipvs.GUE, Port: 6080},
	}
)

// must ends the test at an error.
func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refuses wants an error of that kind.
func (s *suite) refuses(what string, err, kind error) {
	s.Helper()
	var typed *ipvs.Error
	if !errors.Is(err, kind) || !errors.As(err, &typed) {
		s.Errorf("%s: %v, want an *ipvs.Error that is %v", what, err, kind)
	}
}

func (s *suite) wantServices(want ...ipvs.Service) {
	s.Helper()
	all, err := s.Services(s.ctx)
	s.must(err)
	byKey := cmpopts.SortSlices(func(a, b ipvs.Service) bool { return a.Key.String() < b.Key.String() })
	if diff := cmp.Diff(want, all, byKey, compared); diff != "" {
		s.Fatalf("services (-want +got):\n%s", diff)
	}
}

func (s *suite) wantDestinations(key ipvs.Key, want ...ipvs.Destination) {
	s.Helper()
	all, err := s.Destinations(s.ctx, key)
	s.must(err)
	if diff := cmp.Diff(want, all, compared); diff != "" {
		s.Fatalf("destinations (-want +got):\n%s", diff)
	}
}

var compared = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}), cmpopts.EquateEmpty()}

func (s *suite) services() {
	s.wantServices()
	plain := ipvs.Service{Key: web, Scheduler: "wlc"}
	sticky := ipvs.Service{Key: mark, Scheduler: "sh", Flags: ipvs.Persistent | ipvs.SHPort | 2, Timeout: 50, Prefix: 64}
	s.must(s.AddService(s.ctx, plain))
	s.must(s.AddService(s.ctx, sticky))
	plain.Prefix, sticky.Flags = 32, ipvs.Persistent|ipvs.SHPort // as they are read
	s.wantServices(plain, sticky)
	s.refuses("adding twice", s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "nonesuch"}), ipvs.ErrExists)
	s.refuses("a scheduler that is not there", s.AddService(s.ctx, ipvs.Service{Key: web6, Scheduler: "nonesuch"}), ipvs.ErrNoScheduler)
	s.refuses("changing to one", s.UpdateService(s.ctx, ipvs.Service{Key: web, Scheduler: "nonesuch"}), ipvs.ErrNoScheduler)
	s.refuses("an engine that is not there", s.AddService(s.ctx, ipvs.Service{Key: web6, Scheduler: "rr", Engine: "nonesuch"}), ipvs.ErrNoScheduler)
	plain = ipvs.Service{Key: web, Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 7, Prefix: 24}
	s.must(s.UpdateService(s.ctx, plain))
	s.wantServices(plain, sticky)
	s.must(s.RemoveService(s.ctx, mark))
	s.wantServices(plain)
}

func (s *suite) destinations() {
	s.must(s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}))
	s.wantDestinations(web)
	s.must(s.AddDestination(s.ctx, web, first))
	s.must(s.AddDestination(s.ctx, web, second))
	s.wantDestinations(web, second, first)
	s.refuses("adding twice", s.AddDestination(s.ctx, web, first), ipvs.ErrExists)
	changed := first
	changed.Weight, changed.Forward, changed.Tunnel = 0, ipvs.Tunnel, ipvs.Encapsulation{Type: ipvs.GRE, Flags: ipvs.Checksum}
	s.must(s.UpdateDestination(s.ctx, web, changed))
	s.wantDestinations(web, second, changed)
	changed.Forward = ipvs.Masq
	s.must(s.UpdateDestination(s.ctx, web, changed))
	changed.Tunnel = ipvs.Encapsulation{} // is not read of what is no tunnel
	s.wantDestinations(web, second, changed)
	s.must(s.RemoveDestination(s.ctx, web, second.Address))
	s.wantDestinations(web, changed)
	s.must(s.RemoveService(s.ctx, web))
	_, err := s.Destinations(s.ctx, web)
	s.refuses("the destinations of nothing", err, ipvs.ErrMissing)
}

func (s *suite) missing() {
	s.refuses("changing a service", s.UpdateService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}), ipvs.ErrMissing)
	s.refuses("removing a service", s.RemoveService(s.ctx, web), ipvs.ErrMissing)
	for range 2 { // without the service, and with it
		s.refuses("changing a destination", s.UpdateDestination(s.ctx, web, first), ipvs.ErrMissing)
		s.refuses("removing a destination", s.RemoveDestination(s.ctx, web, first.Address), ipvs.ErrMissing)
		err := s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"})
		if err != nil {
			s.refuses("adding again", err, ipvs.ErrExists)
		}
	}
	s.refuses("a destination of nothing", s.AddDestination(s.ctx, mark, mixed6), ipvs.ErrMissing)
	s.refuses("the counters of nothing", s.Zero(s.ctx, &mark), ipvs.ErrMissing)
	s.must(s.Zero(s.ctx, &web))
	s.must(s.Zero(s.ctx, nil))
}

func (s *suite) families() {
	s.must(s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}))
	s.must(s.AddService(s.ctx, ipvs.Service{Key: web6, Scheduler: "rr"}))
	s.must(s.AddDestination(s.ctx, web, mixed6))
	s.wantDestinations(web, mixed6)
	tunnel4 := first
	tunnel4.Forward = ipvs.Tunnel
	s.must(s.AddDestination(s.ctx, web6, tunnel4))
	s.wantDestinations(web6, tunnel4)
	s.must(s.RemoveDestination(s.ctx, web, mixed6.Address))
	s.must(s.RemoveDestination(s.ctx, web6, tunnel4.Address))
	if err := s.AddDestination(s.ctx, web6, first); err == nil {
		s.Error("direct routing from IPv6 to IPv4 is accepted")
	}
}

func (s *suite) daemons() {
	want := ipvs.Daemon{Role: ipvs.Backup, Interface: "lo", SyncID: 3, MaxLength: 1400, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
	s.must(s.StartDaemon(s.ctx, ipvs.Daemon{Role: ipvs.Backup, Interface: "lo", SyncID: 3, MaxLength: 1400}))
	s.refuses("starting twice", s.StartDaemon(s.ctx, want), ipvs.ErrExists)
	all, err := s.Daemons(s.ctx)
	if diff := cmp.Diff([]ipvs.Daemon{want}, all, compared); err != nil || diff != "" {
		s.Errorf("daemons: %v (-want +got):\n%s", err, diff)
	}
	s.must(s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}))
	if err := s.AddDestination(s.ctx, web, mixed6); err == nil {
		s.Error("mixed families are accepted while synchronising")
	}
	s.refuses("stopping the other", s.StopDaemon(s.ctx, ipvs.Master), ipvs.ErrMissing)
	s.must(s.StopDaemon(s.ctx, ipvs.Backup))
	s.must(s.AddDestination(s.ctx, web, mixed6))
	if err := s.StartDaemon(s.ctx, want); err == nil {
		s.Error("mixed families are synchronised")
	}
}

func (s *suite) timeouts() {
	before, err := s.Timeouts(s.ctx)
	s.must(err)
	s.must(s.SetTimeouts(s.ctx, ipvs.Timeouts{TCPFin: 7e9}))
	after, err := s.Timeouts(s.ctx)
	if before.TCPFin = 7e9; err != nil || after != before {
		s.Errorf("timeouts %+v, %v, want %+v", after, err, before)
	}
}

func (s *suite) badInput() {
	s.must(s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}))
	bad := first
	bad.Weight = -1
	for what, err := range map[string]error{
		"no key":             s.AddService(s.ctx, ipvs.Service{Scheduler: "rr"}),
		"no scheduler":       s.AddService(s.ctx, ipvs.Service{Key: web6}),
		"a negative weight":  s.AddDestination(s.ctx, web, bad),
		"no address":         s.AddDestination(s.ctx, web, ipvs.Destination{}),
		"half a second":      s.SetTimeouts(s.ctx, ipvs.Timeouts{UDP: 5e8}),
		"a daemon of no use": s.StartDaemon(s.ctx, ipvs.Daemon{}),
	} {
		if _, typed := errors.AsType[*ipvs.Error](err); !typed {
			s.Errorf("%s: %v, want an *ipvs.Error", what, err)
		}
	}
	s.wantServices(ipvs.Service{Key: web, Scheduler: "rr", Prefix: 32})
	s.wantDestinations(web)
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.refuses("a cancelled call", s.AddService(ctx, ipvs.Service{Key: web, Scheduler: "rr"}), context.Canceled)
	s.wantServices()
}

func (s *suite) closed() {
	s.must(s.Close())
	s.must(s.Close())
	s.refuses("a call afterwards", s.AddService(s.ctx, ipvs.Service{Key: web, Scheduler: "rr"}), ipvs.ErrClosed)
	for _, err := range s.Connections(s.ctx) {
		s.refuses("the connections afterwards", err, ipvs.ErrClosed)
	}
}
