//go:build linux

// Package e2e_test has the tests of whole set-ups: clients, directors and real
// servers, each a host of its own.
package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// A service is a virtual service, as a test wants it. Each scenario is given a
// maker, so that whoever makes the tables is held to the same behaviour.
type service struct {
	name        string
	address     netip.AddrPort // or mark
	mark        int
	udp         bool
	scheduler   string
	persistence int    // seconds
	forward     string // "dr", "nat", "tun", "fullnat"
	real        []realServer
	check       string // of monitord, a table of TOML; default HTTP at the real servers' port
	more        string // keys of monitord's [[virtual]]
	synced      bool   // the director and its peers tell each other of connections
}

type realServer struct {
	address netip.AddrPort
	weight  int // 0 means 1
}

// A maker makes the director's table have these services.
type maker func(t *testing.T, director *hosts.Host, services ...service)

// makers are those that every scenario is run with.
var makers = map[string]maker{"ipvsadm": byIpvsadm, "monitord": byMonitord}

// realServers is how many a scenario has.
const realServers = 2

// scenario runs a scenario with every maker, in a new set-up.
func scenario(t *testing.T, run func(*testing.T, *hosts.LVS, maker)) {
	kernellab.Require(t)
	kernellab.Tools(t)
	for name, build := range makers {
		t.Run(name, func(t *testing.T) {
			l := hosts.NewLVS(t, realServers)
			defer showTables(t, l)
			run(t, l, build)
		})
	}
}

// showTables helps to see why a test failed.
func showTables(t *testing.T, l *hosts.LVS) {
	if !t.Failed() {
		return
	}
	for _, director := range []*hosts.Host{l.DR1, l.DR2} {
		for _, args := range [][]string{{"ipvsadm", "-Ln", "--stats"}, {"ipvsadm", "-Lnc"}, {"ip", "address"}, {"nft", "list", "ruleset"}} {
			out, err := director.Command(context.WithoutCancel(t.Context()), args[0], args[1:]...).Output()
			t.Logf("%s: %v %v\n%s", director.Name, args, err, out)
		}
	}
}

// byIpvsadm makes tables with Debian's ipvsadm: the reference.
func byIpvsadm(t *testing.T, director *hosts.Host, services ...service) {
	t.Helper()
	for _, s := range services {
		id := []string{"-t", s.address.String()}
		switch {
		case s.mark != 0:
			id = []string{"-f", strconv.Itoa(s.mark)}
		case s.udp:
			id[0] = "-u"
		}
		add := append([]string{"-A", "-s", s.scheduler}, id...)
		if s.persistence > 0 {
			add = append(add, "-p", strconv.Itoa(s.persistence))
		}
		director.Output("ipvsadm", add...)
		method := map[string]string{"dr": "-g", "nat": "-m", "fullnat": "-m", "tun": "-i"}[s.forward]
		for _, r := range s.real {
			director.Output("ipvsadm", append([]string{"-a", "-r", r.address.String(), method, "-w", strconv.Itoa(max(r.weight, 1))}, id...)...)
		}
		if s.forward == "fullnat" {
			masquerade(director, s.address)
		}
		if s.synced {
			for _, role := range []string{"master", "backup"} {
				director.Output("ipvsadm", "--start-daemon", role, "--mcast-interface", "eth0", "--syncid", "7")
			}
		}
	}
}

// masquerade lets real servers see the director as the client. IPVS leaves its
// NAT to be seen by conntrack, whose original direction still names the virtual
// service.
func masquerade(director *hosts.Host, service netip.AddrPort) {
	family := "ip"
	if service.Addr().Is6() {
		family = "ip6"
	}
	director.Sysctl("net.ipv4.vs.conntrack", "1")
	director.Output("nft", fmt.Sprintf(`
table %[1]s fullnat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta l4proto tcp ct original %[1]s daddr %[2]s ct original proto-dst %[3]d masquerade
	}
}`, family, service.Addr(), service.Port()))
}

// vip and webs are the virtual address and all real servers, with a port.
func vip(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(hosts.VIP), port)
}

func vip6(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(hosts.VIP6), port)
}

func webs(port uint16) []realServer {
	var list []realServer
	for i := range realServers {
		list = append(list, realServer{address: netip.AddrPortFrom(hosts.WebAddress(i), port)})
	}
	return list
}

func webs6(port uint16) []realServer {
	var list []realServer
	for i := range realServers {
		list = append(list, realServer{address: netip.AddrPortFrom(hosts.WebAddress6(i), port)})
	}
	return list
}

// alternates fails the test unless all were answered, by two servers in turn,
// who saw this client.
func alternates(t *testing.T, answers []hosts.Answer, client string) {
	t.Helper()
	for i, a := range answers {
		switch {
		case a.Err != nil:
			t.Errorf("request %d: %v", i, a.Err)
		case a.Client.String() != client:
			t.Errorf("request %d: %s saw %s, want %s", i, a.Server, a.Client, client)
		case i > 0 && a.Server == answers[i-1].Server:
			t.Errorf("request %d: %s twice in a row, want each in turn", i, a.Server)
		}
	}
	if t.Failed() {
		t.Logf("all: %v", hosts.Tally(answers))
	}
}

func TestMain(m *testing.M) {
	// What tests look for on the machine must not depend on its language.
	_ = os.Setenv("LC_ALL", "C")
	os.Exit(m.Run())
}

// patience is how long things may take that happen by themselves, in an emulated
// machine at worst.
const patience = 30 * time.Second
