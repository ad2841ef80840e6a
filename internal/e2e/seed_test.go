//go:build linux

package e2e_test

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// A lan is a set-up on one Ethernet, as in guides for beginners: director, real
// servers and a client.
type lan struct {
	client, director *hosts.Host
	web              []*hosts.Host
}

// newLAN makes one. The first address is the client's and the next one the
// director's, all with prefix lengths.
func newLAN(t *testing.T, client, director string, web ...string) *lan {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	n := hosts.New(t)
	s := n.Segment("lan")
	x := &lan{client: n.Host("client"), director: n.Host("director")}
	x.client.Join(s, client)
	x.director.Join(s, director)
	x.director.Forward()
	for i, address := range web {
		h := n.Host(fmt.Sprintf("web%d", i+1))
		h.Join(s, address)
		x.web = append(x.web, h)
	}
	return x
}

// await waits until the director's table is this, as ipvsadm saves it.
func (x *lan) await(t *testing.T, table ...string) {
	t.Helper()
	slices.Sort(table)
	hosts.Eventually(t, patience, func() error {
		if diff := cmp.Diff(table, saved(x.director)); diff != "" {
			return fmt.Errorf("-wanted, +actual:\n%s", diff)
		}
		return nil
	})
}

// Two web servers with weights of 1 and 3 behind two addresses, on ports 80 and
// 8090, by wlc and direct routing, with a persistence of 50 s.
func TestKernelTwoServersBehindTwoAddresses(t *testing.T) {
	x := newLAN(t, "192.168.1.50/24", "192.168.1.210/24", "192.168.1.216/24", "192.168.1.217/24")
	x.director.Take("192.168.1.215")
	x.director.Take("192.168.1.220")
	var servers []*hosts.Server
	for _, web := range x.web {
		web.TakeQuietly("lo", "192.168.1.215")
		web.AddAddress("lo", "192.168.1.220/32")
		servers = append(servers, web.ServeHTTP(":80"), web.ServeHTTP(":8090"))
	}
	x.director.Monitord(t, kernel+`
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
interval = "200ms"
monitor = { type = "tcp", port = 80, timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web1" }]

[[watch]]
group = "web"
service = "http-8090"
interval = "200ms"
monitor = { type = "tcp", port = 8090, timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web2" }]
`)
	x.await(t,
		"-A -t 192.168.1.215:80 -s wlc -p 50",
		"-a -t 192.168.1.215:80 -r 192.168.1.216:80 -g -w 1",
		"-a -t 192.168.1.215:80 -r 192.168.1.217:80 -g -w 3",
		"-A -t 192.168.1.220:8090 -s wlc -p 50",
		"-a -t 192.168.1.220:8090 -r 192.168.1.216:8090 -g -w 1",
		"-a -t 192.168.1.220:8090 -r 192.168.1.217:8090 -g -w 3")
	for _, url := range []string{"http://192.168.1.215/", "http://192.168.1.220:8090/"} {
		if got := x.persistent(t, url, 8); got["web1"] < 1 || got["web2"] < 4 || got["web1"]+got["web2"] != 8 {
			t.Errorf("%s is served by %v, want about 2 clients by web1 and 6 by web2", url, got)
		}
	}
	// The service on port 8090 of the stronger server ends: its clients go on with
	// the other one, and port 80 is not concerned.
	servers[3].Close()
	x.await(t,
		"-A -t 192.168.1.215:80 -s wlc -p 50",
		"-a -t 192.168.1.215:80 -r 192.168.1.216:80 -g -w 1",
		"-a -t 192.168.1.215:80 -r 192.168.1.217:80 -g -w 3",
		"-A -t 192.168.1.220:8090 -s wlc -p 50",
		"-a -t 192.168.1.220:8090 -r 192.168.1.216:8090 -g -w 1")
	if got := x.persistent(t, "http://192.168.1.220:8090/", 8); got["web1"] != 8 {
		t.Errorf("with web2 out, port 8090 is served by %v, want web1", got)
	}
	if got := x.persistent(t, "http://192.168.1.215/", 8); got["web2"] < 4 {
		t.Errorf("with web2 out on port 8090, port 80 is served by %v, want as before", got)
	}
}

// persistent counts the clients, each with an address of its own, that a server
// serves at three visits.
func (x *lan) persistent(t *testing.T, url string, clients int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for i := range clients {
		from := fmt.Sprintf("192.168.1.%d", 100+i)
		if !slices.Contains(x.client.Addresses("eth0"), from+"/24") {
			x.client.AddAddress("eth0", from+"/24")
		}
		got := hosts.Tally(hosts.Client{Host: x.client, From: from}.HTTP(t.Context(), url, 3))
		if len(got) != 1 {
			t.Errorf("%s was served by %v, want one server", from, got)
		}
		for server := range got {
			count[server]++
		}
	}
	return count
}

// Two servers that must answer "/" with status 200, in turn by wrr; while none
// does, the director's own web server says sorry.
func TestKernelStatus200AndSorryServer(t *testing.T) {
	x := newLAN(t, "172.18.1.1/16", "172.18.10.11/16", "172.18.200.100/16", "172.18.249.57/16")
	x.director.Take("172.18.50.50")
	x.director.ServeHTTP(":80")
	var servers []*hosts.Server
	for _, web := range x.web {
		web.TakeQuietly("lo", "172.18.50.50")
		servers = append(servers, web.ServeHTTP(":80"))
	}
	x.director.Monitord(t, kernel+`
[hostgroups]
web = ["172.18.200.100", "172.18.249.57"]

[[virtual]]
name = "web"
address = "172.18.50.50:80"
scheduler = "wrr"
forward = "dr"
sorry = { host = "127.0.0.1" }
real = [{ host = "172.18.200.100" }, { host = "172.18.249.57" }]

[[watch]]
group = "web"
service = "http"
interval = "200ms"
monitor = { type = "http", path = "/", status = "200", timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web" }]
`)
	const (
		service = "-A -t 172.18.50.50:80 -s wrr"
		web1    = "-a -t 172.18.50.50:80 -r 172.18.200.100:80 -g -w 1"
		web2    = "-a -t 172.18.50.50:80 -r 172.18.249.57:80 -g -w 1"
		sorry   = "-a -t 172.18.50.50:80 -r 127.0.0.1:80 -g -w 1"
	)
	served := func(want map[string]int) {
		t.Helper()
		got := hosts.Tally(x.client.Client().HTTP(t.Context(), "http://172.18.50.50/", 8))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("served by, -wanted, +actual:\n%s", diff)
		}
	}
	x.await(t, service, web1, web2)
	served(map[string]int{"web1": 4, "web2": 4})
	servers[0].Close()
	x.await(t, service, web2)
	served(map[string]int{"web2": 8})
	servers[1].Close()
	x.await(t, service, sorry)
	served(map[string]int{"director": 8})
	x.web[0].ServeHTTP(":80")
	x.await(t, service, web1)
	served(map[string]int{"web1": 8})
}

// The telnet service, by wlc over tunnels and in turn over direct routing, watched
// by logging in as far as the prompt.
func TestKernelTelnetService(t *testing.T) {
	for _, way := range []struct{ scheduler, forward, device, letter string }{
		{"wlc", "tun", "tunl0", "-i"},
		{"rr", "dr", "lo", "-g"},
	} {
		t.Run(way.scheduler+" "+way.forward, func(t *testing.T) {
			x := newLAN(t, "10.144.43.10/24", "10.144.43.186/24", "10.144.43.187/24", "10.144.43.142/24")
			if out, err := exec.CommandContext(t.Context(), "modprobe", "ipip").CombinedOutput(); err != nil {
				t.Fatalf("modprobe ipip: %v: %s", err, out)
			}
			x.director.Take("10.144.43.185")
			var servers []*hosts.Server
			for _, web := range x.web {
				web.Up("tunl0")
				web.TakeQuietly(way.device, "10.144.43.185")
				servers = append(servers, web.ServeTelnet(":23"))
			}
			x.director.Monitord(t, kernel+fmt.Sprintf(`
[hostgroups]
telnet = ["10.144.43.187", "10.144.43.142"]

[[virtual]]
name = "telnet"
address = "10.144.43.185:23"
scheduler = %q
forward = %q
real = [{ host = "10.144.43.187", weight = 5 }, { host = "10.144.43.142", weight = 5 }]

[[watch]]
group = "telnet"
service = "telnet"
interval = "200ms"
monitor = { type = "telnet", timeout = "3s" }

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "telnet" }]
`, way.scheduler, way.forward))
			service := "-A -t 10.144.43.185:23 -s " + way.scheduler
			server := func(address string) string {
				return fmt.Sprintf("-a -t 10.144.43.185:23 -r %s:23 %s -w 5", address, way.letter)
			}
			x.await(t, service, server("10.144.43.187"), server("10.144.43.142"))
			bothServe(t, x.client, "10.144.43.185:23")
			servers[0].Close()
			x.await(t, service, server("10.144.43.142"))
			if got := hosts.Tally(x.client.Client().TCP(t.Context(), "10.144.43.185:23", 4)); got["web2"] != 4 {
				t.Errorf("served by %v, want web2", got)
			}
			x.web[0].ServeTelnet(":23")
			x.await(t, service, server("10.144.43.187"), server("10.144.43.142"))
		})
	}
}
