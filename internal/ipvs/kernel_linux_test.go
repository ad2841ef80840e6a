package ipvs

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// withoutLibrary has the companion make all calls.
type withoutLibrary struct{ *namespace }

func (withoutLibrary) library() (library, bool, error) { return nil, false, nil }

// kernelClient is a client in a network namespace of its own. Only the
// goroutine of the test is in there.
func kernelClient(t *testing.T, withLibrary bool) *Client {
	t.Helper()
	netiftest.Enter(t)
	kernellab.Require(t)
	ns, err := currentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	var open opener = ns
	if !withLibrary {
		open = withoutLibrary{ns}
	}
	c, err := newClient(t.Context(), open, time.Minute) // the lab is slow
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// bothWays runs a test with the library and without.
func bothWays(t *testing.T, test func(t *testing.T, c *Client)) {
	t.Helper()
	for name, with := range map[string]bool{"library": true, "companion": false} {
		t.Run(name, func(t *testing.T) {
			c := kernelClient(t, with)
			if with && libraryLost {
				t.Skip("an earlier test has unloaded the module, after which moby/ipvs is of no use to this process")
			}
			if used := c.usesLibrary(t); used != with {
				t.Fatalf("the library is used: %v, want %v", used, with)
			}
			test(t, c)
		})
	}
}

func (c *Client) usesLibrary(t *testing.T) bool {
	t.Helper()
	used, err := call(t.Context(), c, Subject{}, func(l *link) (bool, error) { return l.library != nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return used
}

var (
	web4  = AddressKey(TCP, ap("10.99.0.1:80"))
	web6  = AddressKey(TCP, ap("[2001:db8::1]:80"))
	mark4 = MarkKey(9, INET)
	mark6 = MarkKey(9, INET6)
)

func TestKernelInfo(t *testing.T) {
	c := kernelClient(t, true)
	info, err := c.Info(t.Context())
	if err != nil || !strings.HasPrefix(info.Version, "1.") || info.ConnectionTableSize < 256 {
		t.Errorf("info %+v, %v", info, err)
	}
}

func TestKernelServices(t *testing.T) {
	services := []Service{
		{Key: web4, Scheduler: "rr"},
		{Key: web4, Scheduler: "wlc", Flags: Persistent, Timeout: 50, Prefix: 24},
		{Key: web4, Scheduler: "wlc", Flags: Persistent, Timeout: 50},
		{Key: AddressKey(UDP, ap("10.99.0.1:53")), Scheduler: "rr", Flags: OnePacket},
		{Key: AddressKey(SCTP, ap("10.99.0.1:2905")), Scheduler: "lc"},
		{Key: AddressKey(TCP, ap("10.99.0.1:0")), Scheduler: "wrr", Flags: Persistent, Timeout: 300},
		{Key: web6, Scheduler: "rr", Flags: Persistent, Timeout: 10, Prefix: 64},
		{Key: AddressKey(UDP, ap("[2001:db8::1]:53")), Scheduler: "rr"},
		{Key: mark4, Scheduler: "rr"},
		{Key: mark6, Scheduler: "rr"},
		{Key: web4, Scheduler: "sh", Flags: SHFallback},
		{Key: web4, Scheduler: "sh", Flags: SHPort},
		{Key: web4, Scheduler: "mh", Flags: MHFallback | MHPort},
		{Key: web4, Scheduler: "rr", Flags: Sched3},
	}
	for _, name := range []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"} {
		services = append(services, Service{Key: web4, Scheduler: name}, Service{Key: web6, Scheduler: name})
	}
	bothWays(t, func(t *testing.T, c *Client) {
		for _, s := range services {
			t.Run(s.Line(), func(t *testing.T) { roundTripService(t, c, s) })
		}
	})
}

// roundTripService adds, reads, changes and removes one service.
func roundTripService(t *testing.T, c *Client, s Service) {
	t.Helper()
	if err := c.AddService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wantService(t, c, s)
	if err := c.AddService(t.Context(), s); !errors.Is(err, ErrExists) {
		t.Errorf("adding it again: %v, want ErrExists", err)
	}
	changed := s
	changed.Scheduler, changed.Flags, changed.Timeout, changed.Prefix = "wrr", Persistent|s.Flags&OnePacket, 77, 16
	if err := c.UpdateService(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	wantService(t, c, changed)
	if err := c.UpdateService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wantService(t, c, s)
	if err := c.RemoveService(t.Context(), s.Key); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveService(t.Context(), s.Key); !errors.Is(err, ErrMissing) {
		t.Errorf("removing it again: %v, want ErrMissing", err)
	}
	if err := c.UpdateService(t.Context(), s); !errors.Is(err, ErrMissing) {
		t.Errorf("changing it afterwards: %v, want ErrMissing", err)
	}
	if all, err := c.Services(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("services left: %v, %v", all, err)
	}
}

func wantService(t *testing.T, c *Client, want Service) {
	t.Helper()
	all, err := c.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want.Prefix == 0 {
		want.Prefix = want.Key.Family.bits()
	}
	if diff := cmp.Diff([]Service{want}, all, sameAddresses); diff != "" {
		t.Fatalf("read back (-want +got):\n%s", diff)
	}
	if !all[0].Same(want) {
		t.Errorf("%+v is not the same as %+v", all[0], want)
	}
}

func TestKernelDestinations(t *testing.T) {
	v4, v6, other6 := ap("10.99.1.1:8080"), ap("[2001:db8:1::1]:8080"), ap("[2001:db8:1::2]:80")
	cases := []struct {
		key Key
		d   Destination
	}{
		{web4, Destination{Address: v4, Forward: Masq, Weight: 1}},
		{web4, Destination{Address: v4, Forward: Route, Weight: 0}},
		{web4, Destination{Address: v4, Forward: Local, Weight: 3}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 65535}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GUE, Port: 6080}}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GUE, Port: 6080, Flags: Checksum}}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GUE, Port: 6080, Flags: RemoteChecksum}}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GRE}}},
		{web4, Destination{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GRE, Flags: Checksum}}},
		{web4, Destination{Address: v4, Forward: Route, Weight: 1<<31 - 1, Upper: 1<<31 - 1, Lower: 1<<31 - 2}},
		{web4, Destination{Address: other6, Forward: Tunnel, Weight: 5}}, // IPv4 in IPv6
		{web4, Destination{Address: other6, Forward: Tunnel, Weight: 5, Tunnel: Encapsulation{Type: GUE, Port: 1}}},
		{web6, Destination{Address: v4, Forward: Tunnel, Weight: 5}},
		{web6, Destination{Address: v6, Forward: Masq, Weight: 1}},
		{web6, Destination{Address: v6, Forward: Route, Weight: 1}},
		{web6, Destination{Address: v6, Forward: Tunnel, Weight: 1}},
		{web6, Destination{Address: v6, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GRE}}},
		{mark4, Destination{Address: ap("10.99.1.1:0"), Forward: Route, Weight: 1}},
		{mark6, Destination{Address: ap("[2001:db8:1::1]:0"), Forward: Route, Weight: 1}},
		{mark6, Destination{Address: ap("[2001:db8:1::1]:80"), Forward: Masq, Weight: 1, Upper: 10}},
	}
	bothWays(t, func(t *testing.T, c *Client) {
		for _, key := range []Key{web4, web6, mark4, mark6} {
			must(t, c.AddService(t.Context(), Service{Key: key, Scheduler: "wrr"}))
		}
		for _, tc := range cases {
			t.Run(tc.d.Line(tc.key), func(t *testing.T) { roundTripDestination(t, c, tc.key, tc.d) })
		}
	})
}

// roundTripDestination adds, reads, changes and removes one destination.
func roundTripDestination(t *testing.T, c *Client, key Key, d Destination) {
	t.Helper()
	ctx := t.Context()
	if err := c.UpdateDestination(ctx, key, d); !errors.Is(err, ErrMissing) {
		t.Errorf("changing what is not there: %v, want ErrMissing", err)
	}
	must(t, c.AddDestination(ctx, key, d))
	wantDestinations(t, c, key, d)
	if err := c.AddDestination(ctx, key, d); !errors.Is(err, ErrExists) {
		t.Errorf("adding it again: %v, want ErrExists", err)
	}
	changed := d
	changed.Weight, changed.Upper, changed.Lower = 7, 30, 20
	if d.Tunnel.Type == GUE {
		changed.Tunnel = Encapsulation{} // back to ipip
	}
	must(t, c.UpdateDestination(ctx, key, changed))
	wantDestinations(t, c, key, changed)
	must(t, c.UpdateDestination(ctx, key, d))
	wantDestinations(t, c, key, d)
	must(t, c.RemoveDestination(ctx, key, d.Address))
	wantDestinations(t, c, key)
	if err := c.RemoveDestination(ctx, key, d.Address); !errors.Is(err, ErrMissing) {
		t.Errorf("removing it again: %v, want ErrMissing", err)
	}
}

func wantDestinations(t *testing.T, c *Client, key Key, want ...Destination) {
	t.Helper()
	all, err := c.Destinations(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, all, sameAddresses); diff != "" {
		t.Fatalf("read back (-want +got):\n%s", diff)
	}
}

func TestKernelOrderOfDestinations(t *testing.T) {
	c := kernelClient(t, true)
	must(t, c.AddService(t.Context(), Service{Key: web4, Scheduler: "rr"}))
	first := Destination{Address: ap("10.99.1.1:80"), Forward: Route, Weight: 1}
	second := Destination{Address: ap("10.99.1.2:80"), Forward: Route, Weight: 1}
	must(t, c.AddDestination(t.Context(), web4, first))
	must(t, c.AddDestination(t.Context(), web4, second))
	wantDestinations(t, c, web4, second, first) // as ipvstest.Kernel has it
}

func TestKernelMissingService(t *testing.T) {
	bothWays(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		d := Destination{Address: ap("10.99.1.1:80"), Forward: Route, Weight: 1}
		_, err := c.Destinations(ctx, web4)
		for name, err := range map[string]error{
			"destinations": err,
			"add":          c.AddDestination(ctx, web4, d),
			"update":       c.UpdateDestination(ctx, web4, d),
			"remove":       c.RemoveDestination(ctx, web4, d.Address),
			"zero":         c.Zero(ctx, &web4),
		} {
			if !errors.Is(err, ErrMissing) {
				t.Errorf("%s: %v, want ErrMissing", name, err)
			}
		}
	})
}

func TestKernelMissingScheduler(t *testing.T) {
	bothWays(t, func(t *testing.T, c *Client) {
		bad := Service{Key: web4, Scheduler: "nonesuch"}
		err := c.AddService(t.Context(), bad)
		if !errors.Is(err, ErrNoScheduler) || !strings.Contains(err.Error(), "modprobe ip_vs_nonesuch") {
			t.Errorf("adding: %v", err)
		}
		must(t, c.AddService(t.Context(), Service{Key: web4, Scheduler: "rr"}))
		if err := c.UpdateService(t.Context(), bad); !errors.Is(err, ErrNoScheduler) {
			t.Errorf("changing: %v", err)
		}
		wantService(t, c, Service{Key: web4, Scheduler: "rr"})
	})
}

func TestKernelEngine(t *testing.T) {
	bothWays(t, func(t *testing.T, c *Client) {
		s := Service{Key: AddressKey(UDP, ap("10.99.0.1:5060")), Scheduler: "rr", Flags: Persistent, Timeout: 60, Engine: "sip"}
		must(t, c.AddService(t.Context(), s))
		wantService(t, c, s)
		s.Engine = ""
		must(t, c.UpdateService(t.Context(), s))
		wantService(t, c, s)
	})
}

func TestKernelZeroAndTimeouts(t *testing.T) {
	c := kernelClient(t, true)
	ctx := t.Context()
	must(t, c.AddService(ctx, Service{Key: web4, Scheduler: "rr"}))
	must(t, c.Zero(ctx, &web4))
	must(t, c.Zero(ctx, nil))
	before, err := c.Timeouts(ctx)
	if err != nil || before != (Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}) {
		t.Errorf("timeouts at first: %+v, %v", before, err)
	}
	must(t, c.SetTimeouts(ctx, Timeouts{TCPFin: 7 * time.Second, UDP: 24 * 24 * time.Hour}))
	after, err := c.Timeouts(ctx)
	if err != nil || after != (Timeouts{TCP: before.TCP, TCPFin: 7 * time.Second, UDP: 24 * 24 * time.Hour}) {
		t.Errorf("timeouts afterwards: %+v, %v", after, err)
	}
}

// addLink makes an interface with an address for the sync daemons.
func addLink(t *testing.T, name, address string) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}))
	link, err := netlink.LinkByName(name)
	must(t, err)
	a, err := netlink.ParseAddr(address)
	must(t, err)
	must(t, netlink.AddrAdd(link, a))
	must(t, netlink.LinkSetUp(link))
}

func TestKernelDaemons(t *testing.T) {
	c := kernelClient(t, true)
	ctx := t.Context()
	addLink(t, "sync0", "10.98.0.1/24")
	master := Daemon{Role: Master, Interface: "sync0", SyncID: 42, MaxLength: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 9000, TTL: 3}
	must(t, c.StartDaemon(ctx, master))
	must(t, c.StartDaemon(ctx, Daemon{Role: Backup, Interface: "sync0"}))
	all, err := c.Daemons(ctx)
	must(t, err)
	backup := Daemon{Role: Backup, Interface: "sync0", MaxLength: 1472, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
	if diff := cmp.Diff([]Daemon{master, backup}, all, sameAddresses); diff != "" {
		t.Errorf("daemons (-want +got):\n%s", diff)
	}
	if err := c.StartDaemon(ctx, master); !errors.Is(err, ErrExists) {
		t.Errorf("a second master: %v, want ErrExists", err)
	}
	must(t, c.AddService(ctx, Service{Key: web4, Scheduler: "rr"}))
	mixed := Destination{Address: ap("[2001:db8:1::1]:80"), Forward: Tunnel, Weight: 1}
	if err := c.AddDestination(ctx, web4, mixed); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("mixed families while synchronising: %v, want EINVAL", err)
	}
	for _, role := range []Role{Master, Backup} {
		must(t, c.StopDaemon(ctx, role))
		if err := c.StopDaemon(ctx, role); !errors.Is(err, ErrMissing) {
			t.Errorf("stopping %s again: %v, want ErrMissing", role, err)
		}
	}
	if all, err := c.Daemons(ctx); err != nil || len(all) != 0 {
		t.Errorf("daemons left: %v, %v", all, err)
	}
	if err := c.StartDaemon(ctx, Daemon{Role: Master, Interface: "nonesuch"}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("on no interface: %v, want ENODEV", err)
	}
	must(t, c.AddDestination(ctx, web4, mixed))
	if err := c.StartDaemon(ctx, master); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("synchronising mixed families: %v, want EINVAL", err)
	}
}

// TestKernelConnections has a real connection in the table.
func TestKernelConnections(t *testing.T) {
	c := kernelClient(t, true)
	ctx := t.Context()
	server, err := net.Listen("tcp4", "127.0.0.1:0") // a listener is of the namespace of its thread
	must(t, err)
	defer func() { must(t, server.Close()) }()
	address := server.Addr().(*net.TCPAddr).AddrPort()
	vip := AddressKey(TCP, ap("127.0.0.9:4711"))
	must(t, c.AddService(ctx, Service{Key: vip, Scheduler: "rr"}))
	must(t, c.AddDestination(ctx, vip, Destination{Address: address, Forward: Masq, Weight: 1}))
	client, err := net.Dial("tcp4", vip.Address.String())
	must(t, err)
	defer client.Close()
	conn, err := server.Accept()
	must(t, err)
	defer conn.Close()
	go func() { _, _ = io.WriteString(client, "hello") }()
	_, err = io.ReadFull(conn, make([]byte, 5))
	must(t, err)

	var all []Connection
	for conn, err := range c.Connections(ctx) {
		must(t, err)
		all = append(all, conn)
	}
	i := slices.IndexFunc(all, func(o Connection) bool { return o.Virtual == vip.Address })
	if i < 0 {
		t.Fatalf("the connection is not among %v", all)
	}
	got := all[i]
	if got.Protocol != "TCP" || got.Server != address || got.State != "ESTABLISHED" || got.Expires <= 0 ||
		got.Client != client.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("the connection is %+v", got)
	}
	wantCounters(t, c, vip)
	must(t, c.Zero(ctx, &vip))
	services, err := c.Services(ctx)
	must(t, err)
	if s := services[0].Stats; s.Connections != 0 || s.InBytes != 0 {
		t.Errorf("the counters after zero are %+v", s)
	}
}

// wantCounters waits for the kernel to add up its counters.
func wantCounters(t *testing.T, c *Client, vip Key) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		services, err := c.Services(t.Context())
		must(t, err)
		destinations, err := c.Destinations(t.Context(), vip)
		must(t, err)
		s, d := services[0].Stats, destinations[0]
		if s.Connections == 1 && s.InPackets > 0 && s.OutPackets > 0 && s.InBytes > 0 && s.OutBytes > 0 && d.Active == 1 && d.Stats.Connections == 1 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the counters are %+v and %+v", s, d)
		}
	}
}

// TestKernelNamespace opens a client in a namespace and uses it from threads of
// another one, also after its handles were replaced.
func TestKernelNamespace(t *testing.T) {
	c := kernelClient(t, true)
	must(t, c.AddService(t.Context(), Service{Key: web4, Scheduler: "rr"}))
	if _, err := call(t.Context(), c, Subject{}, func(l *link) (int, error) { l.broken = true; return 0, nil }); err != nil {
		t.Fatal(err)
	}
	wantService(t, c, Service{Key: web4, Scheduler: "rr"})
	if !c.usesLibrary(t) {
		t.Error("the new handles are without library")
	}
	must(t, c.RemoveService(t.Context(), web4))
	// Another namespace has its own table.
	netiftest.Enter(t)
	other, err := Open(t.Context())
	must(t, err)
	defer func() { must(t, other.Close()) }()
	must(t, other.AddService(t.Context(), Service{Key: web6, Scheduler: "rr"}))
	if all, err := c.Services(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the first namespace has %v, %v", all, err)
	}
}

// TestKernelMany prints how long 1,000 services with 10 servers each take.
func TestKernelMany(t *testing.T) {
	const services, servers = 1000, 10
	bothWays(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		begin := time.Now()
		key := func(i int) Key {
			return AddressKey(TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 97, byte(i >> 8), byte(i)}), 80))
		}
		for i := range services {
			must(t, c.AddService(ctx, Service{Key: key(i), Scheduler: "wrr"}))
			for j := range servers {
				d := Destination{Address: ap(fmt.Sprintf("10.96.0.%d:80", j+1)), Forward: Route, Weight: j}
				must(t, c.AddDestination(ctx, key(i), d))
			}
		}
		added := time.Now()
		all, err := c.Services(ctx)
		must(t, err)
		if len(all) != services {
			t.Fatalf("%d services, want %d", len(all), services)
		}
		listed := time.Now()
		for _, s := range all {
			if d, err := c.Destinations(ctx, s.Key); err != nil || len(d) != servers {
				t.Fatalf("%s: %d destinations, %v", s.Key, len(d), err)
			}
		}
		read := time.Now()
		t.Logf("%d services with %d servers: added in %v, services listed in %v, servers in %v",
			services, servers, added.Sub(begin).Round(time.Millisecond), listed.Sub(added).Round(time.Millisecond), read.Sub(listed).Round(time.Millisecond))
	})
}
