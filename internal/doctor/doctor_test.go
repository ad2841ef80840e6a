package doctor

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/netif"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	vip    = netip.MustParseAddr("192.0.2.100")
	vip6   = netip.MustParseAddr("2001:db8::100")
	real1  = netip.MustParseAddr("10.0.0.1")
	real6  = netip.MustParseAddr("fd00::1")
	inside = netip.MustParseAddr("10.0.0.254") // the director's, on eth1
	mac    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

func on(device, prefix string) netif.Address {
	return netif.Address{Device: device, Prefix: netip.MustParsePrefix(prefix)}
}

func known[T any](v T) Fact[T] { return Fact[T]{Value: v} }

func sysctlFacts(values map[string]string, devices ...string) map[string]Fact[string] {
	all := map[string]Fact[string]{}
	for _, d := range append(devices, "all") {
		for name, v := range map[string]string{"send_redirects": "0", "rp_filter": "0", "arp_ignore": "0", "arp_announce": "0"} {
			all[confKey(d, name)] = known(v)
		}
	}
	for k, v := range values {
		all[k] = known(v)
	}
	return all
}

// healthy is a director without a fault: clients on eth0, real servers on eth1.
func healthy() (Facts, Wanted) {
	f := Facts{
		IPVS:    known(ipvs.Info{Version: "1.2.1", ConnectionTableSize: 4096}),
		Modules: map[string]Fact[Module]{"ip_vs": known(Present), "ip_vs_wlc": known(Loadable)},
		Addresses: known([]netif.Address{
			on("lo", "127.0.0.1/8"), on("eth0", "192.0.2.1/24"), on("eth0", "192.0.2.100/32"), on("eth0", "2001:db8::1/64"), on("eth0", "2001:db8::100/128"),
			on("eth1", "10.0.0.254/24"), on("eth1", "fd00::fe/64"),
		}),
		Links: known([]netif.Link{
			{Name: "lo", Loop: true, Up: true, MTU: 65536},
			{Name: "eth0", Up: true, MTU: 1500},
			{Name: "eth1", Up: true, MTU: 1600},
		}),
		Routes: known([]netif.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Device: "eth0", Gateway: netip.MustParseAddr("192.0.2.254"), Table: 254}}),
		RoutesTo: map[netip.Addr]Fact[netif.Route]{
			real1: known(netif.Route{Device: "eth1", MTU: 1600}), real6: known(netif.Route{Device: "eth1", MTU: 1600}),
		},
		Claims:    map[netip.Addr]Fact[[]net.HardwareAddr]{vip: {}, vip6: {}},
		Multicast: known(map[string]bool{"eth1": true}),
		Sysctls: sysctlFacts(map[string]string{
			forward4: "1", forward6: "1", vsConntrack: "0", expireTemplates: "1", expireNoDest: "1", conntrackMax: "1000", conntrackCount: "10",
		}, "lo", "eth0", "eth1"),
	}
	d := &Director{
		Kernel: true, Sync: &Sync{Interface: "eth1", Group: netip.MustParseAddr("224.0.0.81")},
		Services: []Service{
			{Name: "web", VIPs: []netip.Addr{vip}, Scheduler: "wlc", Persistent: true, Cut: true, Reals: []Real{{Host: "w1", Address: real1, Forward: "dr"}}},
			{Name: "web6", VIPs: []netip.Addr{vip6}, Scheduler: "wlc", Reals: []Real{{Host: "w6", Address: real6, Forward: "dr"}}},
		},
	}
	return f, Wanted{Director: d}
}

// forward changes how all real servers are forwarded to.
func (d *Director) forward(how string) {
	for i := range d.Services {
		for j := range d.Services[i].Reals {
			d.Services[i].Reals[j].Forward = how
		}
	}
}

// bad are the findings that are not OK.
func bad(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Severity == OK })
}

// A mistake is what is wrong, and the finding that tells of it: it is there, and
// it alone, but for those allowed beside it.
type mistake struct {
	make     func(f *Facts, w *Wanted)
	severity Severity
	what     string // part of it
	mend     string // part of one of the commands, empty for none
	beside   string // part of other findings
}

func check(t *testing.T, name string, base func() (Facts, Wanted), m mistake) {
	t.Helper()
	f, w := base()
	m.make(&f, &w)
	found := bad(Examine(f, w))
	i := slices.IndexFunc(found, func(f Finding) bool { return strings.Contains(f.What, m.what) && f.Severity == m.severity })
	if i < 0 {
		t.Errorf("%s: no %s with %q in %+v", name, m.severity, m.what, found)
		return
	}
	if got := strings.Join(found[i].Mend, "\n"); !strings.Contains(got, m.mend) || (m.mend == "") != (got == "") {
		t.Errorf("%s: mended by %q, want %q", name, got, m.mend)
	}
	if found[i].Why == "" && m.severity != Unknown {
		t.Errorf("%s: no reason", name)
	}
	for _, other := range found {
		if other.What != found[i].What && (m.beside == "" || !strings.Contains(other.What, m.beside)) {
			t.Errorf("%s: also %s %q", name, other.Severity, other.What)
		}
	}
}

func TestHealthy(t *testing.T) {
	for name, base := range map[string]func() (Facts, Wanted){"director": healthy, "dr": direct, "tun": tunnelled, "nat": translated} {
		f, w := base()
		all := Examine(f, w)
		if wrong := bad(all); len(wrong) > 0 {
			t.Errorf("%s: %+v", name, wrong)
		}
		if len(all) == 0 {
			t.Errorf("%s: nothing was looked at", name)
		}
	}
}

func TestDirector(t *testing.T) {
	nat := func(how string, also func(f *Facts, w *Wanted)) func(f *Facts, w *Wanted) {
		return func(f *Facts, w *Wanted) {
			w.Director.forward(how)
			if how == "fullnat" {
				f.Sysctls[vsConntrack] = known("1")
			}
			also(f, w)
		}
	}
	seen := func(m net.HardwareAddr) func(f *Facts, w *Wanted) {
		return func(f *Facts, _ *Wanted) { f.Claims[vip] = known([]net.HardwareAddr{m}) }
	}
	nothing := func(*Facts, *Wanted) {}
	const wayBack = "cannot be seen from here"
	for name, m := range map[string]mistake{
		"no ip_vs": {func(f *Facts, _ *Wanted) { f.IPVS.Err = ipvs.ErrNoKernel }, Error, "no ip_vs", "modprobe ip_vs", ""},
		"ip_vs not installed": {func(f *Facts, _ *Wanted) {
			f.IPVS.Err, f.Modules["ip_vs"] = ipvs.ErrNoKernel, known(Absent)
		}, Error, "no ip_vs", "apt-get install", ""},
		"not root":          {func(f *Facts, _ *Wanted) { f.IPVS.Err = ipvs.ErrNoPermission }, Unknown, "may not use ip_vs", "sudo", ""},
		"scheduler missing": {func(f *Facts, _ *Wanted) { f.Modules["ip_vs_wlc"] = known(Absent) }, Error, "ip_vs_wlc, which is not installed", "modprobe ip_vs_wlc", ""},
		"scheduler unknown": {func(f *Facts, _ *Wanted) { delete(f.Modules, "ip_vs_wlc") }, Unknown, "module ip_vs_wlc", "", ""},
		"ip_forward off":    {nat("nat", func(f *Facts, _ *Wanted) { f.Sysctls[forward4] = known("0") }), Error, "net.ipv4.ip_forward is off", "sysctl -w net.ipv4.ip_forward=1", wayBack},
		"ip_forward off, fullnat": {
			nat("fullnat", func(f *Facts, _ *Wanted) { f.Sysctls[forward4] = known("0") }), Error, "net.ipv4.ip_forward is off",
			"sysctl -w net.ipv4.ip_forward=1", "",
		},
		"IPv6 forwarding off": {
			nat("fullnat", func(f *Facts, _ *Wanted) { f.Sysctls[forward6] = known("0") }), Error, "net.ipv6.conf.all.forwarding is off",
			"sysctl -w net.ipv6.conf.all.forwarding=1", "",
		},
		"ip_forward unread":    {nat("fullnat", func(f *Facts, _ *Wanted) { delete(f.Sysctls, forward4) }), Unknown, "sysctl net.ipv4.ip_forward", "", ""},
		"redirects, all":       {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("all", "send_redirects")] = known("1") }, Warning, "send_redirects is on for eth1", "net.ipv4.conf.all.send_redirects=0", ""},
		"redirects, device":    {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("eth1", "send_redirects")] = known("1") }, Warning, "send_redirects is on for eth1", "net.ipv4.conf.eth1.send_redirects=0", ""},
		"conntrack needed":     {nat("fullnat", func(f *Facts, _ *Wanted) { f.Sysctls[vsConntrack] = known("0") }), Warning, vsConntrack + " is off", vsConntrack + "=1", ""},
		"conntrack for naught": {func(f *Facts, _ *Wanted) { f.Sysctls[vsConntrack] = known("1") }, Warning, "no service needs it", vsConntrack + "=0", ""},
		"templates":            {func(f *Facts, _ *Wanted) { f.Sysctls[expireTemplates] = known("0") }, Warning, expireTemplates + " is off", expireTemplates + "=1", ""},
		"nodest":               {func(f *Facts, _ *Wanted) { f.Sysctls[expireNoDest] = known("0") }, Warning, expireNoDest + " is off", expireNoDest + "=1", ""},
		"rp_filter": {func(f *Facts, _ *Wanted) {
			f.Routes.Value[0].Device, f.Sysctls[confKey("all", "rp_filter")] = "eth1", known("1")
		}, Warning, "rp_filter is strict on eth0", "net.ipv4.conf.eth0.rp_filter=2", ""},
		"no VIP": {func(f *Facts, _ *Wanted) {
			f.Addresses.Value = slices.DeleteFunc(f.Addresses.Value, func(a netif.Address) bool { return a.Prefix.Addr() == vip })
		}, Warning, "192.0.2.100 is not an address of this machine", "ip address add 192.0.2.100/32 dev eth0", ""},
		"duplicate": {func(f *Facts, _ *Wanted) { f.Addresses.Value[4].Duplicate = true }, Error, "2001:db8::100 on eth0 is a duplicate", "", ""},
		"VIP twice": {seen(mac), Error, "02:00:00:00:00:01 answers for 192.0.2.100, which this machine has", "realserver up", ""},
		"VIP of a real server": {func(f *Facts, w *Wanted) {
			seen(mac)(f, w)
			f.Neighbours = known([]netif.Neighbour{{Address: real1, MAC: mac}})
		}, Error, "the real server 10.0.0.1 (02:00:00:00:00:01) answers for 192.0.2.100", "sysctl -w net.ipv4.conf.all.arp_ignore=1", ""},
		"standby": {func(f *Facts, w *Wanted) {
			seen(mac)(f, w)
			f.Addresses.Value = slices.DeleteFunc(f.Addresses.Value, func(a netif.Address) bool { return a.Prefix.Addr() == vip })
		}, Warning, "02:00:00:00:00:01 answers for 192.0.2.100", "", "is not an address of this machine"},
		"not asked":     {func(f *Facts, _ *Wanted) { delete(f.Claims, vip) }, Unknown, "who answers for 192.0.2.100", "", ""},
		"could not ask": {func(f *Facts, _ *Wanted) { f.Claims[vip] = Fact[[]net.HardwareAddr]{Err: os.ErrPermission} }, Unknown, "who answers for 192.0.2.100", "", ""},
		"dr behind a gateway": {func(f *Facts, _ *Wanted) {
			f.RoutesTo[real1] = known(netif.Route{Device: "eth1", Gateway: inside, MTU: 1600})
		}, Warning, "10.0.0.1 with dr is behind the gateway 10.0.0.254", `forward = "tun"`, ""},
		"no route":      {func(f *Facts, _ *Wanted) { f.RoutesTo[real1] = Fact[netif.Route]{Err: netif.ErrUnreachable} }, Error, "10.0.0.1 has no route", "ip route add 10.0.0.1/32", ""},
		"route unknown": {func(f *Facts, _ *Wanted) { delete(f.RoutesTo, real1) }, Unknown, "the route to 10.0.0.1", "", ""},
		"tunnel MTU": {func(f *Facts, w *Wanted) {
			w.Director.forward("tun")
			f.RoutesTo[real1] = known(netif.Route{Device: "eth1", MTU: 1500})
		}, Warning, "the MTU to 10.0.0.1 is 1500, but clients of 192.0.2.100 may send 1500 and the tunnel adds 20", "maxseg size set 1440", ""},
		"tunnel MTU, gue6": {func(f *Facts, w *Wanted) {
			w.Director.forward("tun")
			w.Director.Services[1].Reals[0].Overhead = 12
			f.RoutesTo[real6] = known(netif.Route{Device: "eth1", MTU: 1551})
		}, Warning, "the MTU to fd00::1 is 1551, but clients of 2001:db8::100 may send 1500 and the tunnel adds 52", "ip6 saddr 2001:db8::100 tcp flags syn tcp option maxseg size set 1439", ""},
		"way back": {nat("nat", nothing), Unknown, "whether 10.0.0.1 answers through this director", "--mode nat --vip 192.0.2.100 --director 10.0.0.254", wayBack},
		"nat in one network": {nat("nat", func(f *Facts, w *Wanted) {
			w.Director.Services = w.Director.Services[:1]
			w.Director.Services[0].VIPs[0] = netip.MustParseAddr("10.0.0.100")
			f.Addresses.Value = append(f.Addresses.Value, on("eth1", "10.0.0.100/32"))
			f.Claims[netip.MustParseAddr("10.0.0.100")] = Fact[[]net.HardwareAddr]{}
		}), Warning, "10.0.0.1 with nat is in the network of its VIP 10.0.0.100", "fullnat", ""},
		"nearly full":    {func(f *Facts, _ *Wanted) { f.Sysctls[conntrackCount] = known("800") }, Warning, "800 of 1000", conntrackMax + "=4000", ""},
		"full":           {func(f *Facts, _ *Wanted) { f.Sysctls[conntrackCount] = known("990") }, Error, "990 of 1000", conntrackMax + "=4000", ""},
		"sync interface": {func(_ *Facts, w *Wanted) { w.Director.Sync.Interface = "eth7" }, Error, "no interface eth7", "lo, eth0, eth1", ""},
		"sync down":      {func(f *Facts, _ *Wanted) { f.Links.Value[2].Up = false }, Error, "eth1 is down", "ip link set eth1 up", ""},
		"sync multicast": {func(f *Facts, _ *Wanted) { f.Multicast.Value["eth1"] = false }, Error, "eth1 cannot multicast", "multicast on", ""},
		"sync unknown":   {func(f *Facts, _ *Wanted) { f.Multicast = Fact[map[string]bool]{Err: os.ErrPermission} }, Unknown, "whether eth1 can multicast", "", ""},
		"sync without address": {func(f *Facts, w *Wanted) {
			w.Director.Sync.Group = netip.MustParseAddr("ff02::81")
			f.Addresses.Value = slices.DeleteFunc(f.Addresses.Value, func(a netif.Address) bool { return a.Prefix.Addr().Is6() && a.Device == "eth1" })
		}, Error, "eth1 has no address of the family", "ip address add", ""},
		"name unknown": {func(f *Facts, w *Wanted) {
			w.Director.Services[0].Reals[0] = Real{Host: "w1", Name: "w1", Forward: "dr"}
			f.Names = map[string]Fact[[]netip.Addr]{"w1": {Err: errors.New("no such host")}}
		}, Unknown, "the address of w1", "", ""},
		"addresses unread": {func(f *Facts, _ *Wanted) { f.Addresses = Fact[[]netif.Address]{Err: os.ErrPermission} }, Unknown, "the addresses", "", "has no address of the family"},
	} {
		check(t, name, healthy, m)
	}
}

// TestNoFalseOK: with nothing known, nothing is right.
func TestNoFalseOK(t *testing.T) {
	for _, base := range []func() (Facts, Wanted){healthy, direct, tunnelled, translated} {
		_, w := base()
		none := errors.New("nothing can be read")
		f := Facts{}
		f.IPVS.Err, f.Addresses.Err, f.Links.Err, f.Routes.Err, f.Multicast.Err, f.Listeners.Err = none, none, none, none, none, none
		for _, finding := range Examine(f, w) {
			if finding.Severity != Unknown {
				t.Errorf("%+v of facts that are not known", finding)
			}
		}
	}
}

// direct is a real server for direct routing without a fault.
func direct() (Facts, Wanted) {
	f := Facts{
		Addresses: known([]netif.Address{on("lo", "127.0.0.1/8"), on("lo", "192.0.2.100/32"), on("eth0", "10.0.0.1/24")}),
		Links:     known([]netif.Link{{Name: "lo", Loop: true, Up: true, MTU: 65536}, {Name: "eth0", Up: true, MTU: 1500}}),
		Routes:    known([]netif.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Device: "eth0", Gateway: netip.MustParseAddr("10.0.0.253"), Table: 254}}),
		Sysctls:   sysctlFacts(map[string]string{confKey("all", "arp_ignore"): "1", confKey("all", "arp_announce"): "2"}, "lo", "eth0", "tunl0"),
		Listeners: known([]netip.AddrPort{netip.MustParseAddrPort("[::]:80"), netip.MustParseAddrPort("127.0.0.1:81")}),
	}
	return f, Wanted{RealServer: &RealServer{VIPs: []netip.Addr{vip}, Ports: []uint16{80}, Mode: "dr"}}
}

func tunnelled() (Facts, Wanted) {
	f, w := direct()
	w.RealServer.Mode = "tun"
	f.Addresses.Value[1] = on("tunl0", "192.0.2.100/32")
	f.Links.Value = append(f.Links.Value, netif.Link{Name: "tunl0", Kind: "ipip", Up: true, NoARP: true, MTU: 1480})
	f.Routes.Value[0].MTU = 1480
	return f, w
}

func translated() (Facts, Wanted) {
	f, w := direct()
	w.RealServer.Mode, w.RealServer.Director = "nat", inside
	f.Addresses.Value = slices.Delete(f.Addresses.Value, 1, 2)
	f.Routes.Value[0].Gateway = inside
	return f, w
}

func TestRealServer(t *testing.T) {
	for name, m := range map[string]mistake{
		"no VIP":        {func(f *Facts, _ *Wanted) { f.Addresses.Value = f.Addresses.Value[:1] }, Error, "192.0.2.100 is not an address", "monitord realserver up --vip 192.0.2.100 --mode dr", ""},
		"VIP on eth0":   {func(f *Facts, _ *Wanted) { f.Addresses.Value[1].Device = "eth0" }, Error, "192.0.2.100 is on eth0", "ip address del 192.0.2.100/32 dev eth0", ""},
		"prefix":        {func(f *Facts, _ *Wanted) { f.Addresses.Value[1] = on("lo", "192.0.2.100/24") }, Error, "prefix length 24, not 32", "ip address del 192.0.2.100/24 dev lo", ""},
		"lo down":       {func(f *Facts, _ *Wanted) { f.Links.Value[0].Up = false }, Error, "which is down", "ip link set lo up", ""},
		"arp_ignore":    {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("all", "arp_ignore")] = known("0") }, Error, "arp_ignore is 0 on eth0", "net.ipv4.conf.all.arp_ignore=1", ""},
		"arp_ignore 3":  {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("eth0", "arp_ignore")] = known("3") }, Error, "arp_ignore is 3 on eth0", "net.ipv4.conf.all.arp_ignore=1", ""},
		"arp_announce":  {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("all", "arp_announce")] = known("1") }, Error, "arp_announce is 1 on eth0", "net.ipv4.conf.all.arp_announce=2", ""},
		"arp unread":    {func(f *Facts, _ *Wanted) { delete(f.Sysctls, confKey("eth0", "arp_ignore")) }, Unknown, "sysctl net.ipv4.conf.eth0.arp_ignore", "", ""},
		"not listening": {func(f *Facts, _ *Wanted) { f.Listeners.Value = nil }, Error, "nothing listens on port 80", "ss -ltnup", ""},
		"elsewhere": {func(f *Facts, _ *Wanted) {
			f.Listeners = known([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80")})
		}, Error, "port 80 is listened to on [10.0.0.1] only", "listen on 192.0.2.100:80", ""},
		"listen unknown": {func(f *Facts, _ *Wanted) { f.Listeners.Err = os.ErrPermission }, Unknown, "where services listen", "", ""},
	} {
		check(t, name, direct, m)
	}
	for name, m := range map[string]mistake{
		"VIP on eth0":     {func(f *Facts, _ *Wanted) { f.Addresses.Value[1].Device = "eth0" }, Error, "192.0.2.100 is on eth0", "--mode tun", ""},
		"tunnel down":     {func(f *Facts, _ *Wanted) { f.Links.Value[2].Up = false }, Error, "no tunnel device is up", "ip link set tunl0 up", "which is down"},
		"no tunnel":       {func(f *Facts, _ *Wanted) { f.Links.Value, f.Addresses.Value[1].Device = f.Links.Value[:2], "lo" }, Error, "no tunnel device is up", "monitord realserver up", ""},
		"rp_filter, all":  {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("all", "rp_filter")] = known("1") }, Error, "rp_filter is strict on tunl0", "net.ipv4.conf.tunl0.rp_filter=2", ""},
		"rp_filter, tunl": {func(f *Facts, _ *Wanted) { f.Sysctls[confKey("tunl0", "rp_filter")] = known("1") }, Error, "rp_filter is strict on tunl0", "net.ipv4.conf.tunl0.rp_filter=2", ""},
		"MTU":             {func(f *Facts, _ *Wanted) { f.Routes.Value[0].MTU = 0 }, Warning, "send up to 1500 bytes, and the tunnel adds 20 to them on a network of 1500", "ip route change default via 10.0.0.253 dev eth0 mtu 1480", ""},
	} {
		check(t, name, tunnelled, m)
	}
	for name, m := range map[string]mistake{
		"another gateway": {func(f *Facts, _ *Wanted) { f.Routes.Value[0].Gateway = real1 }, Error, "the default route is by 10.0.0.1 on eth0, not by the director", "ip route replace default via 10.0.0.254", ""},
		"no route":        {func(f *Facts, _ *Wanted) { f.Routes.Value = nil }, Error, "no default route", "ip route replace default via 10.0.0.254", ""},
		"no director":     {func(_ *Facts, w *Wanted) { w.RealServer.Director = netip.Addr{} }, Unknown, "without its address", "--director ADDRESS", ""},
		"one network":     {func(_ *Facts, w *Wanted) { w.RealServer.VIPs[0] = netip.MustParseAddr("10.0.0.100") }, Warning, "in this machine's own network", "fullnat", ""},
		"loopback only":   {func(_ *Facts, w *Wanted) { w.RealServer.Ports[0] = 81 }, Error, "port 81 is listened to on [127.0.0.1] only", "listen on", ""},
	} {
		check(t, name, translated, m)
	}
}

func TestPrint(t *testing.T) {
	director := func(f *Facts, w *Wanted) {
		w.Director.forward("nat")
		f.Sysctls[forward4] = known("0")
		f.Claims[vip] = known([]net.HardwareAddr{mac})
		delete(f.Modules, "ip_vs_wlc")
	}
	server := func(f *Facts, _ *Wanted) { f.Sysctls = sysctlFacts(nil, "lo", "eth0") }
	for name, test := range map[string]struct {
		base  func() (Facts, Wanted)
		spoil func(*Facts, *Wanted)
		all   bool
	}{
		"director": {healthy, director, false}, "director-all": {healthy, director, true},
		"realserver": {direct, server, false}, "healthy": {healthy, func(*Facts, *Wanted) {}, false},
	} {
		f, w := test.base()
		test.spoil(&f, &w)
		var got bytes.Buffer
		Print(&got, Examine(f, w), test.all)
		file := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestDirectorOf(t *testing.T) {
	gue := lvs.Real{Host: "w1:80", Address: netip.MustParseAddrPort("10.0.0.1:80"), Port: 80, Forward: lvs.Tunneling, Tunnel: lvs.Tunnel{Type: lvs.GUE, Port: 5555}}
	sorry := lvs.Real{Host: "sorry", Name: "sorry", Port: 80, Forward: lvs.NAT}
	got := DirectorOf([]lvs.Virtual{{
		Name: "web", Scheduler: lvs.WeightedLeastConnection, Persistence: 50e9, Drain: lvs.DrainCut, Reals: []lvs.Real{gue}, Sorry: &sorry,
		IDs: []lvs.ServiceID{
			{Protocol: lvs.TCP, Address: netip.AddrPortFrom(vip, 80)},
			{Protocol: lvs.UDP, Address: netip.AddrPortFrom(vip, 80)},
			{Protocol: lvs.FWMark, Address: netip.MustParseAddrPort("0.0.0.0:0"), Mark: 1},
		},
	}}, lvs.Config{Backend: lvs.BackendKernel}, &lvs.Sync{Interface: "eth1", Group: netip.MustParseAddr("224.0.0.81")})
	want := &Director{
		Kernel: true, Sync: &Sync{Interface: "eth1", Group: netip.MustParseAddr("224.0.0.81")},
		Services: []Service{{
			Name: "web", VIPs: []netip.Addr{vip}, Scheduler: "wlc", Persistent: true, Cut: true,
			Reals: []Real{{Host: "w1:80", Address: real1, Forward: "tun", Overhead: 12}, {Host: "sorry", Name: "sorry", Forward: "nat"}},
		}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for tunnel, bytes := range map[lvs.Tunnel]int{
		{}: 0, {Type: lvs.GRE}: 4, {Type: lvs.GRE, Checksum: lvs.OuterChecksum}: 8, {Type: lvs.GUE, Checksum: lvs.RemoteChecksum}: 20,
	} {
		if got := overhead(tunnel); got != bytes {
			t.Errorf("%+v: %d bytes, want %d", tunnel, got, bytes)
		}
	}
}
