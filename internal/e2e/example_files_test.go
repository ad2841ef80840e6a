//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// An example is a set-up with one of the files in etc/.
type example struct {
	*hosts.LVS
	daemon *hosts.Daemon
}

// exampleSite is what the files describe, on the director's side.
func exampleSite(t *testing.T) *example {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	x := &example{LVS: hosts.NewLVS(t, 2)}
	t.Cleanup(func() { showTables(t, x.LVS) })
	x.DR1.Take(hosts.VIP)
	return x
}

// run runs the file as it is, until the table is the one wanted.
func (x *example) run(t *testing.T, file string, table ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../etc", file))
	if err != nil {
		t.Fatal(err)
	}
	x.daemon = x.DR1.Monitord(t, string(text))
	x.await(t, table...)
}

// await waits until the table is this, as ipvsadm saves it.
func (x *example) await(t *testing.T, table ...string) {
	t.Helper()
	slices.Sort(table)
	hosts.Eventually(t, patience, func() error {
		if diff := cmp.Diff(table, saved(x.DR1)); diff != "" {
			return fmt.Errorf("-wanted, +actual:\n%s", diff)
		}
		return nil
	})
}

// served counts who served so many clients, each with an address of its own.
func (x *example) served(t *testing.T, url string, clients int) map[string]int {
	t.Helper()
	var all []hosts.Answer
	for i := range clients {
		from := fmt.Sprintf("10.1.0.%d", 150+i)
		if !slices.Contains(x.Client.Addresses("eth0"), from+"/24") {
			x.Client.AddAddress("eth0", from+"/24")
		}
		all = append(all, hosts.Client{Host: x.Client, From: from}.HTTP(t.Context(), url, 1)...)
		// wlc counts connections that are open: on a slow machine this one's end may come
		// after the next one's beginning.
		hosts.Eventually(t, patience, func() error {
			if text := x.DR1.Output("ipvsadm", "-Lnc"); strings.Contains(text, "ESTABLISHED") || strings.Contains(text, "SYN_RECV") {
				return fmt.Errorf("a connection is open: %s", text)
			}
			return nil
		})
	}
	return hosts.Tally(all)
}

// realServers makes the machines real servers by "monitord realserver up". What
// it returns undoes that, and fails the test if anything is left.
func (x *example) realServers(t *testing.T, mode string, vips ...string) (undo func()) {
	t.Helper()
	memory := make([]string, len(x.Web))
	before := make([]string, len(x.Web))
	for i, web := range x.Web {
		before[i], memory[i] = asRealServer(web, vips), t.TempDir()
		for _, verb := range []string{"up", "status"} {
			out, err := web.RunMonitord(t, "realserver", verb, "--mode", mode, "--vip", strings.Join(vips, ","), "--statedir", memory[i])
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	return func() {
		t.Helper()
		for i, web := range x.Web {
			if out, err := web.RunMonitord(t, "realserver", "down", "--statedir", memory[i]); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(before[i], asRealServer(web, vips)); diff != "" {
				t.Errorf("%s -before, +after:\n%s", web.Name, diff)
			}
		}
	}
}

// asRealServer is what a machine is changed in to be a real server.
func asRealServer(web *hosts.Host, vips []string) string {
	var b strings.Builder
	for _, device := range []string{"all", "lo", "eth0"} {
		for _, key := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			name := "net.ipv4.conf." + device + "." + key
			fmt.Fprintf(&b, "%s = %s\n", name, web.SysctlValue(name))
		}
	}
	for line := range strings.Lines(web.Output("ip", "-oneline", "address")) {
		for _, vip := range vips {
			if strings.Contains(line, " "+vip+"/") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// etc/lvs-dr.toml, with real servers made by "monitord realserver".
func TestKernelExampleDR(t *testing.T) {
	x := exampleSite(t)
	x.DR1.Take("10.2.0.101")
	undo := x.realServers(t, "dr", "10.2.0.100", "10.2.0.101")
	for _, web := range x.Web {
		web.ServeHTTP(":80")
		web.ServeHTTP(":8090")
	}
	x.run(t, "lvs-dr.toml",
		"-A -t 10.2.0.100:80 -s wlc -p 50",
		"-a -t 10.2.0.100:80 -r 10.2.0.21:80 -g -w 1",
		"-a -t 10.2.0.100:80 -r 10.2.0.22:80 -g -w 3",
		"-A -t 10.2.0.101:8090 -s wlc -p 50",
		"-a -t 10.2.0.101:8090 -r 10.2.0.21:8090 -g -w 1",
		"-a -t 10.2.0.101:8090 -r 10.2.0.22:8090 -g -w 3")
	for _, url := range []string{"http://10.2.0.100/", "http://10.2.0.101:8090/"} {
		if got := x.served(t, url, 8); got["web1"] < 1 || got["web2"] < 4 || got["web1"]+got["web2"] != 8 {
			t.Errorf("%s is served by %v, want about 2 by web1 and 6 by web2", url, got)
		}
	}
	undo()
}

// etc/lvs-nat.toml, with its sorry server.
func TestKernelExampleNAT(t *testing.T) {
	x := exampleSite(t)
	x.DR1.ServeHTTP("10.2.0.11:8080")
	var servers []*hosts.Server
	for _, web := range x.Web {
		web.DefaultRoute("10.2.0.11")
		servers = append(servers, web.ServeHTTP(":8080"))
	}
	x.run(t, "lvs-nat.toml",
		"-A -t 10.2.0.100:80 -s wrr",
		"-a -t 10.2.0.100:80 -r 10.2.0.21:8080 -m -w 1",
		"-a -t 10.2.0.100:80 -r 10.2.0.22:8080 -m -w 3")
	if got := x.served(t, shopURL, 8); got["web1"] != 2 || got["web2"] != 6 {
		t.Errorf("served by %v, want 2 by web1 and 6 by web2", got)
	}
	for _, s := range servers {
		s.Close()
	}
	x.await(t, "-A -t 10.2.0.100:80 -s wrr", "-a -t 10.2.0.100:80 -r 10.2.0.11:8080 -m -w 1")
	if got := x.served(t, shopURL, 4); got["dr1"] != 4 {
		t.Errorf("served by %v, want the sorry server", got)
	}
}

// etc/lvs-tun.toml, with real servers made by "monitord realserver".
func TestKernelExampleTunnel(t *testing.T) {
	x := exampleSite(t)
	undo := x.realServers(t, "tun", "10.2.0.100")
	for _, web := range x.Web {
		web.ServeTelnet(":23")
	}
	x.run(t, "lvs-tun.toml",
		"-A -t 10.2.0.100:23 -s wlc",
		"-a -t 10.2.0.100:23 -r 10.2.0.21:23 -i -w 5",
		"-a -t 10.2.0.100:23 -r 10.2.0.22:23 -i -w 5")
	bothServe(t, x.Client, "10.2.0.100:23")
	undo()
}

// bothServe fails the test unless six sessions that stay open are spread evenly
// over the two servers.
func bothServe(t *testing.T, client *hosts.Host, address string) {
	t.Helper()
	count := map[string]int{}
	for range 6 {
		s, err := client.Client().Session(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		count[s.Server]++
	}
	if len(count) != 2 || count["web1"] != 3 {
		t.Errorf("six connections went to %v, want three each", count)
	}
}

// etc/lvs-fullnat.toml, with real servers that know nothing of it.
func TestKernelExampleFullNAT(t *testing.T) {
	x := exampleSite(t)
	for _, web := range x.Web {
		web.ServeHTTP(":8080")
	}
	x.run(t, "lvs-fullnat.toml",
		"-A -t 10.2.0.100:80 -s rr",
		"-a -t 10.2.0.100:80 -r 10.2.0.21:8080 -m -w 1",
		"-a -t 10.2.0.100:80 -r 10.2.0.22:8080 -m -w 1")
	alternates(t, x.Client.Client().HTTP(t.Context(), shopURL, 10), "10.2.0.11")
}

// The rules for fullnat can be looked at with nft, as the rest of the machine's.
func TestKernelFullNATRulesAreListed(t *testing.T) {
	x := exampleSite(t)
	for _, web := range x.Web {
		web.ServeHTTP(":8080")
	}
	x.run(t, "lvs-fullnat.toml",
		"-A -t 10.2.0.100:80 -s rr",
		"-a -t 10.2.0.100:80 -r 10.2.0.21:8080 -m -w 1",
		"-a -t 10.2.0.100:80 -r 10.2.0.22:8080 -m -w 1")
	if rules := x.DR1.Output("nft", "list", "ruleset"); !containsAll(rules, []string{"monitord", "masquerade", "10.2.0.100"}) {
		t.Errorf("nft lists\n%s", rules)
	}
}
