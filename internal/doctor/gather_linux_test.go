package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/icmp/icmptest"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/nft/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustGather(t *testing.T, w Wanted) Facts {
	t.Helper()
	f, err := Gather(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// site is a director with a service of each family, of NAT.
func site() Wanted {
	service := func(vip, server, forward string) Service {
		return Service{
			Name: vip, VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Scheduler: "wlc",
			Reals: []Real{{Host: server, Address: netip.MustParseAddr(server), Forward: forward}},
		}
	}
	return Wanted{Director: &Director{Kernel: true, Services: []Service{
		service("10.1.0.100", "10.1.0.2", "dr"), service("fd01::100", "fd01::2", "dr"),
		service("10.1.0.101", "10.1.0.3", "nat"), service("192.0.2.1", "192.0.2.2", "tun"),
	}}}
}

// TestGather is on a director whose cable leads to a real server that has its
// VIPs on the wrong device, or does not keep quiet about them.
func TestGather(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	director, server := nstest.Here(t), nstest.New(t, "server")
	director.Cable("eth0", server, "eth0")
	director.Address("eth0", "10.1.0.1/24", "fd01::1/64", "10.1.0.100/32")
	server.Address("eth0", "10.1.0.2/24", "fd01::2/64", "fd01::100/128")
	server.Address("lo", "10.1.0.100/32")
	t.Run("who answers", func(t *testing.T) { whoAnswers(t, server) })
	t.Run("sysctls", func(t *testing.T) { sysctlsAreRead(t, director) })
	t.Run("routes", routesAreRead)
	t.Run("kernel", kernelIsRead)
	t.Run("listeners", listenersAreRead)
	t.Run("cancelled", cancelled)
	t.Run("no permission", noPermission)
}

func whoAnswers(t *testing.T, server *nstest.Host) {
	mac := server.MAC("eth0")
	answers := func(f Facts, vip string) (all []string) {
		fact := f.Claims[netip.MustParseAddr(vip)]
		if fact.Err != nil {
			t.Errorf("%s: %v", vip, fact.Err)
		}
		for _, m := range fact.Value {
			all = append(all, m.String())
		}
		return all
	}
	// The server answers pings, so that the director knows whose MAC it is.
	for _, real := range []string{"10.1.0.2:9", "[fd01::2]:9"} {
		conn, err := net.Dial("tcp", real)
		if err == nil {
			conn.Close()
		}
	}
	f := mustGather(t, site())
	for vip, want := range map[string][]string{"10.1.0.100": {mac}, "fd01::100": {mac}, "10.1.0.101": nil} {
		if got := answers(f, vip); !slices.Equal(got, want) {
			t.Errorf("%s is answered by %v, want %v", vip, got, want)
		}
	}
	if _, asked := f.Claims[netip.MustParseAddr("192.0.2.1")]; asked {
		t.Error("192.0.2.1, which is in none of our networks, was asked for")
	}
	found := Examine(f, site())
	for _, vip := range []string{"10.1.0.100", "fd01::100"} {
		if !slices.ContainsFunc(found, func(f Finding) bool {
			return f.Severity == Error && strings.Contains(f.What, "the real server "+map[bool]string{true: "10.1.0.2", false: "fd01::2"}[vip == "10.1.0.100"]) && strings.HasSuffix(f.What, vip)
		}) {
			t.Errorf("no finding that the real server answers for %s: %+v", vip, found)
		}
	}
	server.Sysctl("net/ipv4/conf/all/arp_ignore", "1")
	if got := answers(mustGather(t, site()), "10.1.0.100"); len(got) != 0 {
		t.Errorf("with arp_ignore 10.1.0.100 is answered by %v", got)
	}
}

func sysctlsAreRead(t *testing.T, director *nstest.Host) {
	for _, value := range []string{"1", "0"} {
		director.Sysctl("net/ipv4/ip_forward", value)
		f := mustGather(t, site())
		if got := f.Sysctls[forward4]; got.Err != nil || got.Value != value {
			t.Errorf("ip_forward: %+v, want %s", got, value)
		}
		off := slices.ContainsFunc(Examine(f, site()), func(f Finding) bool { return f.Severity == Error && strings.Contains(f.What, "ip_forward is off") })
		if off != (value == "0") {
			t.Errorf("ip_forward %s: found to be off: %t", value, off)
		}
	}
}

func routesAreRead(t *testing.T) {
	f := mustGather(t, site())
	if r := f.RoutesTo[netip.MustParseAddr("10.1.0.2")]; r.Err != nil || r.Value.Device != "eth0" || r.Value.Gateway.IsValid() || r.Value.MTU != 1500 {
		t.Errorf("route on the link: %+v", r)
	}
	if r := f.RoutesTo[netip.MustParseAddr("192.0.2.2")]; !errors.Is(r.Err, netif.ErrUnreachable) {
		t.Errorf("route to nowhere: %+v", r)
	}
	if !f.Multicast.Value["eth0"] || f.Multicast.Value["lo"] {
		t.Errorf("multicast: %+v", f.Multicast)
	}
}

// kernelIsRead holds with IPVS and without: it is there, or it is said.
func kernelIsRead(t *testing.T) {
	found := Examine(mustGather(t, site()), site())
	if i := slices.IndexFunc(found, func(f Finding) bool { return f.Topic == topicKernel && strings.Contains(f.What, "ip_vs") }); i < 0 {
		t.Errorf("nothing about ip_vs: %+v", found)
	}
}

func listenersAreRead(t *testing.T) {
	var want []netip.AddrPort
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "tcp": "[::]:0"} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		want = append(want, l.Addr().(*net.TCPAddr).AddrPort())
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 1, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	want = append(want, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	got := mustGather(t, Wanted{RealServer: &RealServer{VIPs: []netip.Addr{vip}, Ports: []uint16{80}}}).Listeners
	for _, w := range want {
		if got.Err != nil || !slices.Contains(got.Value, w) {
			t.Errorf("%s is not among the listeners: %+v", w, got)
		}
	}
	if len(got.Value) != len(want) {
		t.Errorf("listeners %v, want %v", got.Value, want)
	}
}

func cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Gather(ctx, site()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// noPermission: without CAP_NET_RAW nobody is asked, and that is said.
func noPermission(t *testing.T) {
	done := make(chan Fact[[]net.HardwareAddr])
	f := mustGather(t, site())
	go func() {
		var fact Fact[[]net.HardwareAddr]
		defer func() { done <- fact }()
		runtime.LockOSThread() // never unlocked: the thread ends without the capability
		icmptest.DropPrivileges(t)
		fact = claims(t.Context(), f, site().Director)[netip.MustParseAddr("10.1.0.100")]
	}()
	if fact := <-done; !errors.Is(fact.Err, os.ErrPermission) || !strings.Contains(fact.Err.Error(), "CAP_NET_RAW") {
		t.Errorf("%+v, want a lack of permission", fact)
	}
}

// TestKernelGather: what a kernel that has IPVS tells.
func TestKernelGather(t *testing.T) {
	kernellab.Require(t)
	w := Wanted{Director: &Director{Kernel: true, Services: []Service{{Name: "web", Scheduler: "wlc", Persistent: true, Cut: true}}}}
	nstest.New(t, "director").Do(func() {
		f := mustGather(t, w)
		if f.IPVS.Err != nil || f.IPVS.Value.ConnectionTableSize < 256 {
			t.Errorf("IPVS: %+v", f.IPVS)
		}
		if m := f.Modules["ip_vs"]; m.Value != Present {
			t.Errorf("module: %+v", m)
		}
		for _, key := range []string{vsConntrack, expireTemplates, expireNoDest} {
			if s := f.Sysctls[key]; s.Err != nil || s.Value != "0" {
				t.Errorf("%s: %+v, want the kernel's default", key, s)
			}
		}
		for _, finding := range Examine(f, w) {
			t.Logf("%s: %s", finding.Severity, finding.What)
			if finding.Severity == Error {
				t.Errorf("%+v", finding)
			}
		}
	})
}

func TestModule(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	loaded := write("modules", "ip_vs_rr 16384 0 - Live 0x0\nip_vs 200000 1 ip_vs_rr, Live 0x0\n")
	is := func(name string, want Module, folder string, fails bool) {
		t.Helper()
		if got, err := module(name, loaded, folder); got != want || (err != nil) != fails {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	is("ip_vs_rr", Present, dir, false)
	is("ip_vs_wlc", "", dir, true) // as in a container
	write("modules.builtin", "kernel/net/netfilter/ipvs/ip_vs_sh.ko\n")
	write("modules.dep", "kernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n")
	is("ip_vs_sh", Present, dir, false)
	is("ip_vs_wlc", Loadable, dir, false)
	is("ip_vs_wl", Absent, dir, false)
	is("ip_vs_mh", Absent, dir, false)
}

func TestReadSockets(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue\n"
	got, err := readSockets(strings.NewReader(header+
		"   0: 0100007F:0016 00000000:0000 0A 0:0\n"+
		"   1: 0100007F:0017 0200007F:9999 01 0:0\n"+
		"   2: 00000000000000000000000000000000:01BB 0:0 0A 0:0\n"+
		"   3: B80D0120000000000000000001000000:0050 0:0 0A 0:0\n"), tcpListen)
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("[::]:443"), netip.MustParseAddrPort("[2001:db8::1]:80")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v (on a little-endian machine)", got, err, want)
	}
	for _, line := range []string{"0: x:0016 0 0A", "0: 0100007F:fffff 0 0A", "0: 0100:0016 0 0A", "0: 0100007F 0 0A"} {
		if got, err := readSockets(strings.NewReader(header+line+"\n"), tcpListen); err == nil {
			t.Errorf("%q is read as %v", line, got)
		}
	}
}
