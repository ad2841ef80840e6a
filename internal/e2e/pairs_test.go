//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// The pairs of guides, with the steps by which their authors tried them.

// lanOf is one Ethernet.
func lanOf(t *testing.T) (*hosts.Network, func(name string, addresses ...string) *hosts.Host) {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	n := hosts.New(t)
	s := n.Segment("lan")
	return n, func(name string, addresses ...string) *hosts.Host {
		h := n.Host(name)
		h.Join(s, addresses...)
		return h
	}
}

// visited fails the test unless a URL was visited with nobody turned away, and only
// these servers serve it, all of them.
func visited(t *testing.T, client *hosts.Host, url string, servers ...string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		got := hosts.Tally(client.Client().HTTP(t.Context(), url, 8))
		if len(got) != len(servers) {
			return fmt.Errorf("%s is served by %v, want %q", url, got, servers)
		}
		for _, name := range servers {
			if got[name] == 0 {
				return fmt.Errorf("%s is served by %v, want %q", url, got, servers)
			}
		}
		return nil
	})
}

// Both directors are real servers too, beside a third one. The primary's network
// device goes down and comes up: its table and the other's were both active for good
// where this was done with heartbeat and a script. (Here the group does not go back,
// "nice_failback on".) With [sync] the standby has the table too, and must not use it:
// it gets packets for the address, as a real server.
func TestKernelPairOfRealServers(t *testing.T) {
	t.Run("alone", func(t *testing.T) { pairOfRealServers(t, "") })
	t.Run("with sync", func(t *testing.T) { pairOfRealServers(t, "\n[sync]\ninterface = \"eth0\"\n") })
}

func pairOfRealServers(t *testing.T, sync string) {
	n, host := lanOf(t)
	const vip, service, url = "10.144.43.185", "TCP 10.144.43.185:8080", "http://10.144.43.185:8080/"
	gateway := host("gateway", "10.144.43.254/24")
	outside, client := n.Segment("outside"), n.Host("client")
	gateway.Join(outside, "10.9.0.1/24")
	gateway.Forward()
	client.Join(outside, "10.9.0.2/24")
	client.DefaultRoute("10.9.0.1")
	linux187, linux142, nb8048 := host("linux187", "10.144.43.187/24"), host("linux142", "10.144.43.142/24"), host("nb8048", "10.144.43.175/24")
	for _, h := range []*hosts.Host{linux187, linux142, nb8048} {
		h.DefaultRoute("10.144.43.254")
		h.ServeHTTP(":8080")
	}
	linux187.Forward()
	linux142.Forward()
	nb8048.TakeQuietly("lo", vip)
	p := newPair(t, n, []string{vip}, [2]*hosts.Host{linux187, linux142}, [2]string{"10.144.43.187", "10.144.43.142"}, sync+realServersToo)
	defer p.show(t)
	if sync == "" {
		tables := p.guardOneTable(t, service)
		defer tables.end(t)
	}
	inTurn := func(forwards int) {
		t.Helper()
		p.table(t, forwards, service, 3)
		want := map[string]int{"linux187": 4, "linux142": 4, "nb8048": 4}
		if diff := cmp.Diff(want, hosts.Tally(client.Client().HTTP(t.Context(), url, 12))); diff != "" {
			t.Errorf("clients were served by, -want +got:\n%s", diff)
		}
	}
	p.start(t, vip)
	inTurn(0)
	p.isRealServer(t, 1, vip)

	visits := hosts.Client{Host: client, Timeout: time.Second}.Probe(t.Context(), url, 100*time.Millisecond)
	more(t, visits, 20, "")
	linux187.Output("ip", "link", "set", "eth0", "down")
	p.owners.Await(vip, linux142, patience)
	more(t, visits, 20, "linux142")
	p.table(t, 1, service, 2) // the other one is found out to be down

	linux187.Output("ip", "link", "set", "eth0", "up")
	linux187.DefaultRoute("10.144.43.254")
	p.awaitRole(t, 0, "standby")
	p.table(t, 1, service, 3)
	p.isRealServer(t, 0, vip)
	more(t, visits, 10, "linux187")
	p.owners.Await(vip, linux142, patience)
	if most := longest(t, visits.Stop()); most > silence {
		t.Errorf("nobody served for %v, want at most %v", most, silence)
	}
	inTurn(1)
	p.owners.End()
}

// table waits until a director forwards the service to so many servers, and the other
// one does not forward it: it has no table, or does not use it.
func (p *pair) table(t *testing.T, i int, service string, servers int) {
	t.Helper()
	awaitTable(t, p.directors[i], func(now table) error {
		if len(now[service]) != servers {
			return fmt.Errorf("%s forwards to %v, want %d servers of %s", p.directors[i].Name, now, servers, service)
		}
		return nil
	})
	awaitTable(t, p.directors[1-i], func(now table) error {
		h := p.directors[1-i]
		if now[service] != nil && (h.SysctlValue("net.ipv4.vs.backup_only") != "1" || !strings.Contains(syncRoles(h), "backup")) {
			return fmt.Errorf("%s forwards to %v", h.Name, now)
		}
		return nil
	})
}

// isRealServer fails the test unless a director has the address on lo and is silent
// about it.
func (p *pair) isRealServer(t *testing.T, i int, address string) {
	t.Helper()
	h := p.directors[i]
	if all := strings.Join(h.Addresses("lo"), " "); !strings.Contains(all, address+"/32") {
		t.Errorf("%s has %s on lo, want %s", h.Name, all, address)
	}
	if value := h.SysctlValue("net.ipv4.conf.all.arp_ignore"); value == "0" {
		t.Errorf("%s would answer for the address on lo", h.Name)
	}
}

const realServersToo = `
[fence]
gateway = ["10.144.43.254"]
pace = "200ms"

[[group]]
name = "web"
failback = "off"

  [[group.resource]]
  type = "realserver"
  address = ["10.144.43.185"]

  [[group.resource]]
  type = "lvs"

  [[group.resource]]
  type = "vip"
  address = "10.144.43.185"

[hostgroups]
web = ["10.144.43.175", "10.144.43.187", "10.144.43.142"]
gateway = ["10.144.43.254"]

[[virtual]]
name = "web"
address = "10.144.43.185:8080"
scheduler = "rr"
forward = "dr"
real = [
  { host = "10.144.43.175", weight = 5 },
  { host = "10.144.43.187", weight = 5 },
  { host = "10.144.43.142", weight = 5 },
]

[[watch]]
group = "web"
service = "webcache"
interval = "500ms"
fall = 2
monitor = { type = "http", port = 8080, timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web" }]

[[watch]]
group = "gateway"
service = "ping"
interval = "1s"
monitor = { type = "ping" }

  [[watch.period]]
`

// Two addresses of one group in front of two servers. The steps: the first director
// alone; the second one beside it, which changes nothing; the first one off; on again,
// which takes both addresses back.
func TestKernelPairWithTwoAddresses(t *testing.T) {
	n, host := lanOf(t)
	client := host("client", "192.168.1.50/24")
	dr1, dr2 := host("lvs-dr1", "192.168.1.210/24"), host("lvs-dr2", "192.168.1.211/24")
	vips := []string{"192.168.1.215", "192.168.1.220"}
	urls := []string{"http://192.168.1.215/", "http://192.168.1.220:8090/"}
	for i, address := range []string{"192.168.1.216/24", "192.168.1.217/24"} {
		web := host(fmt.Sprintf("web%d", i+1), address)
		for _, vip := range vips {
			web.TakeQuietly("lo", vip)
		}
		web.ServeHTTP(":80")
		web.ServeHTTP(":8090")
	}
	p := newPair(t, n, vips, [2]*hosts.Host{dr1, dr2}, [2]string{"192.168.1.210", "192.168.1.211"}, twoAddresses)
	defer p.show(t)
	has := func(h *hosts.Host) {
		t.Helper()
		for i, vip := range vips {
			p.owners.Await(vip, h, patience)
			answer := client.Client().HTTP(t.Context(), urls[i], 1)[0]
			hosts.Eventually(t, patience, func() error {
				answer = client.Client().HTTP(t.Context(), urls[i], 1)[0]
				return answer.Err
			})
			// The weights are 1 and 3, and a client stays where it was (50 s).
			if again := hosts.Tally(client.Client().HTTP(t.Context(), urls[i], 4)); again[answer.Server] != 4 {
				t.Errorf("%s: served by %v, want %s as before", urls[i], again, answer.Server)
			}
		}
	}
	p.daemons[0].Start(t)
	has(dr1)
	p.daemons[1].Start(t)
	p.awaitRole(t, 1, "standby")
	has(dr1)
	p.daemons[0].Stop(t) // it is shut down
	dr1.Cable(0).Pull()
	has(dr2)
	dr1.Cable(0).Plug()
	p.daemons[0].Start(t)
	has(dr1)
	p.awaitRole(t, 1, "standby")
	p.owners.End()
}

const twoAddresses = `
[[group]]
name = "VI_1"
failback = "on"

  [[group.resource]]
  type = "lvs"

  [[group.resource]]
  type = "vip"
  address = "192.168.1.215"

  [[group.resource]]
  type = "vip"
  address = "192.168.1.220"

[hostgroups]
web = ["192.168.1.216", "192.168.1.217"]

[[virtual]]
name = "web1"
address = "192.168.1.215:80"
scheduler = "wlc"
forward = "dr"
persistence = "50s"
real = [{ host = "192.168.1.216", weight = 1 }, { host = "192.168.1.217", weight = 3 }]

[[virtual]]
name = "web2"
address = "192.168.1.220:8090"
scheduler = "wlc"
forward = "dr"
persistence = "50s"
real = [{ host = "192.168.1.216", weight = 1 }, { host = "192.168.1.217", weight = 3 }]

[[watch]]
group = "web"
service = "http"
interval = "500ms"
monitor = { type = "tcp", port = 80, timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web1" }]

[[watch]]
group = "web"
service = "http-8090"
interval = "500ms"
monitor = { type = "tcp", port = 8090, timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web2" }]
`

// Two addresses, each preferred by another director, with a script that is told of
// each transition, and a page of the director's own for the time when no server is up.
func TestKernelDoubleMaster(t *testing.T) {
	n, host := lanOf(t)
	client := host("client", "172.18.1.1/16")
	vs1, vs2 := host("vs1", "172.18.10.11/16"), host("vs2", "172.18.10.10/16")
	vips := []string{"172.18.50.50", "172.18.51.51"}
	webs := []*hosts.Host{host("rs1", "172.18.200.100/16"), host("rs2", "172.18.249.57/16")}
	var servers []*hosts.Server
	for _, web := range webs {
		for _, vip := range vips {
			web.TakeQuietly("lo", vip)
		}
		servers = append(servers, web.ServeHTTP(":80"))
	}
	vs1.ServeHTTP(":80") // says sorry
	vs2.ServeHTTP(":80")
	folder := t.TempDir()
	script := filepath.Join(folder, "notify.sh")
	if err := os.WriteFile(script, []byte(notifyScript), 0o755); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, n, vips, [2]*hosts.Host{vs1, vs2}, [2]string{"172.18.10.11", "172.18.10.10"}, fmt.Sprintf(doubleMaster, script))
	defer p.show(t)
	each := func(first, second *hosts.Host) {
		t.Helper()
		p.owners.Await(vips[0], first, patience)
		p.owners.Await(vips[1], second, patience)
	}
	served := func(names ...string) {
		t.Helper()
		for _, vip := range vips {
			visited(t, client, "http://"+vip+"/", names...)
		}
	}
	p.daemons[1].Start(t) // the standby of the first one takes it while nobody else is there
	each(vs2, vs2)
	p.daemons[0].Start(t) // who takes it at once
	each(vs1, vs2)
	served("rs1", "rs2")

	// iptables -A OUTPUT -s 172.18.10.11 -d 224.0.100.50 -j REJECT: there the second
	// director took the address that the first one kept. Here it asks the wire, and
	// nothing happens to clients.
	vs1.Output("nft", "add table ip mute; add chain ip mute output { type filter hook output priority 0; }; "+
		"add rule ip mute output ip daddr 172.18.10.10 drop")
	p.awaitRefusal(t, 1, "one", "vs1's kernel answers for the address")
	each(vs1, vs2)
	served("rs1", "rs2")
	vs1.Output("nft", "delete table ip mute")
	p.awaitRole(t, 0, "active", "standby")
	// Nobody hears anything of it: it lets go, and the other one has both.
	vs1.Output("nft", "add table netdev mute; add chain netdev mute out { type filter hook egress device eth0 priority 0; }; "+
		"add rule netdev mute out drop")
	each(vs2, vs2)
	served("rs1", "rs2")
	vs1.Output("nft", "delete table netdev mute") // iptables -F
	each(vs1, vs2)
	served("rs1", "rs2")

	servers[0].Close() // service httpd stop
	served("rs2")
	servers[1].Close()
	for i, url := range []string{"http://172.18.50.50/", "http://172.18.51.51/"} {
		visited(t, client, url, p.directors[i].Name)
	}
	webs[0].ServeHTTP(":80")
	webs[1].ServeHTTP(":80")
	served("rs1", "rs2")

	p.daemons[1].Stop(t) // the client "finds that it can still access"
	each(vs1, vs1)
	served("rs1", "rs2")
	p.daemons[0].Stop(t)
	p.owners.End()
	told(t, script+".vs1", "one BACKUP 200", "one MASTER 200", "one BACKUP 200", "one MASTER 200", "one BACKUP 200", "one STOP 200")
	told(t, script+".vs1", "two BACKUP 200", "two MASTER 200", "two BACKUP 200", "two STOP 200")
	told(t, script+".vs2", "one BACKUP 100", "one MASTER 100", "one BACKUP 100", "one MASTER 100", "one BACKUP 100", "one STOP 100")
	told(t, script+".vs2", "two BACKUP 100", "two MASTER 100", "two BACKUP 100", "two STOP 100")
}

// told fails the test unless the script was told this of a group, in this order. More
// than that is no mistake on a machine that may be slow: a transition is one whether it
// was planned or not.
func told(t *testing.T, file string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for line := range strings.Lines(string(text)) {
		if next < len(want) && strings.TrimSpace(line) == "INSTANCE "+want[next] {
			next++
		}
	}
	if next < len(want) {
		t.Errorf("the script was not told %q, after that it was %q:\n%s", want[next], want[:next], text)
	}
}

// notifyScript notes how it was called, in a file for each director.
const notifyScript = `#!/bin/sh
echo "$*" >>"$0.$MONITORD_NODE"
`

const doubleMaster = `
[[group]]
name = "one"
order = ["vs1", "vs2"]
failback = "on"
alert = [{ type = "exec", program = %[1]q, style = "keepalived" }]

  [[group.resource]]
  type = "lvs"
  virtual = ["one"]

  [[group.resource]]
  type = "vip"
  address = "172.18.50.50"

[[group]]
name = "two"
order = ["vs2", "vs1"]
failback = "on"
alert = [{ type = "exec", program = %[1]q, style = "keepalived" }]

  [[group.resource]]
  type = "lvs"
  virtual = ["two"]

  [[group.resource]]
  type = "vip"
  address = "172.18.51.51"

[hostgroups]
web = ["172.18.200.100", "172.18.249.57"]

[[virtual]]
name = "one"
address = "172.18.50.50:80"
scheduler = "wrr"
forward = "dr"
sorry = { host = "127.0.0.1" }
real = [{ host = "172.18.200.100" }, { host = "172.18.249.57" }]

[[virtual]]
name = "two"
address = "172.18.51.51:80"
scheduler = "wrr"
forward = "dr"
sorry = { host = "127.0.0.1" }
real = [{ host = "172.18.200.100" }, { host = "172.18.249.57" }]

[[watch]]
group = "web"
service = "http"
interval = "500ms"
monitor = { type = "http", path = "/", status = "200", timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "one" }, { type = "ipvs", virtual = "two" }]
`
