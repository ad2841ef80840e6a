//go:build linux

package e2e_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

const (
	client  = "10.1.0.100"
	client6 = "fd00:1::100"
)

// Direct routing: the real servers have the address too, quietly, and answer
// past the director.
func TestKernelDirectRouting(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeHTTP(":80")
		}
		build(t, l.DR1, service{name: "web", address: vip(80), scheduler: "rr", forward: "dr", real: webs(80)})
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 10), client)
	})
}

// NAT: the real servers answer through the director, here on another port.
func TestKernelNAT(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.DefaultRoute("10.2.0.11")
			web.ServeHTTP(":8080")
		}
		build(t, l.DR1, service{name: "web", address: vip(80), scheduler: "rr", forward: "nat", real: webs(8080)})
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 10), client)
	})
}

// Tunnelling: packets come to the real servers inside of others (ipip).
func TestKernelTunnel(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		// Makes tunl0 in every namespace.
		if out, err := exec.CommandContext(t.Context(), "modprobe", "ipip").CombinedOutput(); err != nil {
			t.Fatalf("modprobe ipip: %v: %s", err, out)
		}
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.Up("tunl0")
			web.TakeQuietly("tunl0", hosts.VIP)
			web.ServeHTTP(":80")
		}
		build(t, l.DR1, service{name: "web", address: vip(80), scheduler: "rr", forward: "tun", real: webs(80)})
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 10), client)
	})
}

// Fullnat: the real servers know nothing of all this and see the director as
// their client.
func TestKernelFullNAT(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		l.DR1.Take(hosts.VIP6)
		for _, web := range l.Web {
			web.ServeHTTP(":8080")
		}
		build(t, l.DR1,
			service{name: "web", address: vip(80), scheduler: "rr", forward: "fullnat", real: webs(8080)},
			service{name: "web6", address: vip6(80), scheduler: "rr", forward: "fullnat", real: webs6(8080)})
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 10), "10.2.0.11")
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://[fd00:2::100]/", 10), "fd00:2::11")
	})
}

// A firewall mark: two ports are one service.
func TestKernelFirewallMark(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeHTTP(":80")
			web.ServeHTTP(":8080")
		}
		l.DR1.Output("nft", `
table ip marks {
	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		ip daddr 10.2.0.100 tcp dport { 80, 8080 } meta mark set 9
	}
}`)
		build(t, l.DR1, service{name: "web", mark: 9, scheduler: "rr", forward: "dr", real: webs(0), check: `{ type = "http", port = 80 }`})
		var answers []hosts.Answer
		for i := range 10 {
			url := []string{"http://10.2.0.100/", "http://10.2.0.100:8080/"}[i/2%2]
			answers = append(answers, l.Client.Client().HTTP(t.Context(), url, 1)...)
		}
		alternates(t, answers, client)
	})
}

func TestKernelDirectRouting6(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP6)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP6)
			web.ServeHTTP(":80")
		}
		build(t, l.DR1, service{name: "web", address: vip6(80), scheduler: "rr", forward: "dr", real: webs6(80)})
		alternates(t, l.Client.Client().HTTP(t.Context(), "http://[fd00:2::100]/", 10), client6)
	})
}

func TestKernelUDP(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeUDP(hosts.VIP + ":53")
		}
		build(t, l.DR1, service{name: "dns", address: vip(53), udp: true, scheduler: "rr", forward: "dr", real: webs(53), check: `{ type = "ping" }`})
		alternates(t, l.Client.Client().UDP(t.Context(), "10.2.0.100:53", 10), client)
	})
}

// With weights of 1 and 3 every fourth request goes to the first server: one of
// any four in a row.
func TestKernelWeights(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeHTTP(":80")
		}
		servers := webs(80)
		servers[0].weight, servers[1].weight = 1, 3
		build(t, l.DR1, service{name: "web", address: vip(80), scheduler: "wrr", forward: "dr", real: servers})
		answers := l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 24)
		if got := hosts.Tally(answers); got["web1"] != 6 || got["web2"] != 18 {
			t.Errorf("served by %v, want 6 by web1 and 18 by web2", got)
		}
		for i := range len(answers) - 3 {
			if got := hosts.Tally(answers[i : i+4]); got["web1"] != 1 {
				t.Errorf("requests %d to %d were served by %v, want one by web1", i, i+3, got)
			}
		}
	})
}

// A client that came back within the time gets the same server; another client
// may get another one.
func TestKernelPersistence(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		l.DR1.Take(hosts.VIP)
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeHTTP(":80")
		}
		l.Client.AddAddress("eth0", "10.1.0.200/24")
		build(t, l.DR1, service{name: "web", address: vip(80), scheduler: "rr", persistence: 50, forward: "dr", real: webs(80)})
		servers := map[string]bool{}
		for _, from := range []string{"10.1.0.100", "10.1.0.200"} {
			got := hosts.Tally(hosts.Client{Host: l.Client, From: from}.HTTP(t.Context(), "http://10.2.0.100/", 6))
			if len(got) != 1 {
				t.Errorf("%s was served by %v, want one server", from, got)
			}
			for name := range got {
				servers[name] = true
			}
		}
		if !servers["web1"] || !servers["web2"] {
			t.Errorf("the two clients were served by %v, want one each", servers)
		}
	})
}

// The sync daemon carries an open connection over to the other director.
func TestKernelSync(t *testing.T) {
	scenario(t, func(t *testing.T, l *hosts.LVS, build maker) {
		for _, web := range l.Web {
			web.TakeQuietly("lo", hosts.VIP)
			web.ServeTCP(":7")
		}
		l.DR1.Take(hosts.VIP)
		for _, director := range []*hosts.Host{l.DR1, l.DR2} {
			// Every packet of a connection is news for the other one.
			director.Sysctl("net.ipv4.vs.sync_threshold", "0 1")
			build(t, director, service{
				name: "echo", address: vip(7), scheduler: "rr", forward: "dr", real: webs(7), check: `{ type = "tcp", port = 7 }`, synced: true,
			})
		}
		session, err := l.Client.Client().Session(t.Context(), "10.2.0.100:7")
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		hosts.Eventually(t, patience, func() error {
			if _, err := session.Ask("before"); err != nil {
				t.Fatal(err)
			}
			if table := l.DR2.Output("ipvsadm", "-Lnc"); !strings.Contains(table, "ESTABLISHED") {
				return fmt.Errorf("the backup knows of\n%s", table)
			}
			return nil
		})
		l.DR1.Drop(hosts.VIP)
		l.DR2.Take(hosts.VIP)
		l.Gateway.ForgetNeighbours()
		if server, err := session.Ask("after"); err != nil || server != session.Server {
			t.Errorf("after the failover: %q, %v; want %q as before", server, err, session.Server)
		}
	})
}
