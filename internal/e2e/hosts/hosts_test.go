//go:build linux

package hosts

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a client outside gets through the gateway, over either family, is what
// the servers say, who see its own address.
func TestThroughTheGateway(t *testing.T) {
	l := NewLVS(t, 2)
	for _, web := range l.Web {
		web.ServeHTTP(":80")
		web.ServeTCP(":7")
		web.ServeUDP(":53")
	}
	client := l.Client.Client()
	for i, web := range l.Web {
		for client4or6, address := range map[string]string{
			"10.1.0.100": WebAddress(i).String(), "fd00:1::100": "[" + WebAddress6(i).String() + "]",
		} {
			answers := client.HTTP(t.Context(), "http://"+address+"/", 2)
			answers = append(answers, client.TCP(t.Context(), address+":7", 2)...)
			answers = append(answers, client.UDP(t.Context(), address+":53", 2)...)
			for n, a := range answers {
				if a.Server != web.Name || a.Client.String() != client4or6 {
					t.Errorf("%s, request %d: got %q from %v (%v), want %q from %s", address, n, a.Server, a.Client, a.Err, web.Name, client4or6)
				}
			}
		}
	}
}

func TestClientFromAnotherAddress(t *testing.T) {
	l := NewLVS(t, 1)
	l.Client.AddAddress("eth0", "10.1.0.200/24")
	l.Web[0].ServeHTTP(":80")
	a := Client{Host: l.Client, From: "10.1.0.200"}.HTTP(t.Context(), "http://10.2.0.21/", 1)[0]
	if a.Err != nil || a.Client.String() != "10.1.0.200" {
		t.Errorf("got %v, %v", a.Client, a.Err)
	}
}

func TestCableIsPulled(t *testing.T) {
	l := NewLVS(t, 1)
	web := l.Web[0]
	web.ServeHTTP(":80")
	for name, cut := range map[string]struct{ cut, mend func() }{
		"pulled":   {web.Cable(0).Pull, web.Cable(0).Plug},
		"silenced": {web.Cable(0).Silence, web.Cable(0).Restore},
	} {
		t.Run(name, func(t *testing.T) {
			cut.cut()
			a := Client{Host: l.Client, Timeout: 200 * time.Millisecond}.HTTP(t.Context(), "http://10.2.0.21/", 1)[0]
			if a.Err == nil {
				t.Errorf("an answer through a cable that is %s", name)
			}
			cut.mend()
			if a := l.Client.Client().HTTP(t.Context(), "http://10.2.0.21/", 1)[0]; a.Err != nil {
				t.Errorf("after mending: %v", a.Err)
			}
		})
	}
}

func TestServerStops(t *testing.T) {
	l := NewLVS(t, 1)
	web, tcp := l.Web[0].ServeHTTP(":80"), l.Web[0].ServeTCP(":7")
	client := l.Client.Client()
	session, err := client.Session(t.Context(), "10.2.0.21:7")
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if name, err := session.Ask("who"); name != "web1" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	web.SetHealthy(false)
	if a := client.HTTP(t.Context(), "http://10.2.0.21/healthz", 1)[0]; a.Err == nil || !strings.Contains(a.Err.Error(), "503") {
		t.Errorf("unhealthy: got %v", a.Err)
	}
	web.Close()
	tcp.Close()
	if a := client.HTTP(t.Context(), "http://10.2.0.21/", 1)[0]; !errors.Is(a.Err, syscall.ECONNREFUSED) {
		t.Errorf("closed: got %v, want connection refused", a.Err)
	}
	if _, err := session.Ask("still there"); err == nil {
		t.Error("a closed server answers")
	}
}

// A prober sees an outage from its beginning to its end.
func TestProber(t *testing.T) {
	l := NewLVS(t, 1)
	s := l.Web[0].ServeHTTP("10.2.0.21:80")
	p := Client{Host: l.Client, Timeout: time.Second}.Probe(t.Context(), "http://10.2.0.21/", 10*time.Millisecond)
	await := func(good, bad int) {
		t.Helper()
		Eventually(t, patience, func() error {
			all := p.Answers()
			if failed := len(Failures(all)); len(all)-failed < good || failed < bad {
				return fmt.Errorf("%d good, %d bad", len(all)-failed, failed)
			}
			return nil
		})
	}
	await(5, 0)
	s.Close()
	await(5, 5)
	l.Web[0].ServeHTTP("10.2.0.21:80")
	good := len(p.Answers()) - len(Failures(p.Answers()))
	await(good+5, 5)
	p.Stop()
}

func TestCommandRunsInTheHost(t *testing.T) {
	l := NewLVS(t, 0)
	out := l.DR1.Output("cat", "/proc/self/net/fib_trie")
	if !strings.Contains(out, "10.2.0.11") || strings.Contains(out, "10.2.0.12") {
		t.Errorf("dr1 sees\n%s", out)
	}
	if _, err := l.DR1.Command(t.Context(), "sh", "-c", "echo why >&2; exit 3").Output(); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("got %v, want the reason", err)
	}
	if l.DR1.SysctlValue("net.ipv4.ip_forward") != "1" || l.Client.SysctlValue("net.ipv4.ip_forward") != "0" {
		t.Error("settings are not each host's own")
	}
}

// After a test nothing of it is left: no process, and no address here.
func TestNothingIsLeft(t *testing.T) {
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	t.Run("test", func(t *testing.T) {
		n := New(t)
		h := n.Host("h")
		h.Join(n.Segment("lan"), "10.9.0.1/24")
		cmd := h.Command(t.Context(), "sh", "-c", "sleep 1000 & echo $$ $!; wait")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		k, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		pids = strings.Fields(string(buf[:k]))
	})
	if len(pids) != 2 {
		t.Fatalf("processes %q", pids)
	}
	for _, pid := range pids {
		// A killed process whose parent is dead is its next parent's to reap.
		Eventually(t, patience, func() error {
			text, err := os.ReadFile("/proc/" + pid + "/stat")
			if err == nil && !strings.Contains(string(text), ") Z ") {
				return fmt.Errorf("process %s is left: %s", pid, text)
			}
			return nil
		})
	}
	after, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("interfaces before %v, after %v", before, after)
	}
}

// A panic or the end of the goroutine inside of Do must not hang the test.
func TestDoReturns(t *testing.T) {
	n := New(t)
	h := n.Host("h")
	if err := h.Do(func() error { return syscall.ENOENT }); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
	_, err := h.Dial(t.Context(), "tcp", "10.0.0.1:1", "")
	if !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a host without cables: got %v", err)
	}
}

func TestEndToEndDaemonInAHost(t *testing.T) {
	l := NewLVS(t, 2)
	for _, web := range l.Web {
		web.ServeHTTP(":80")
	}
	l.DR1.Take(VIP)
	d := l.DR1.Monitord(t, `
[hostgroups]
web = ["10.2.0.21", "10.2.0.22"]

[[watch]]
group = "web"
service = "http"
interval = "100ms"
monitor = { type = "http" }
fall = 1
rise = 1

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "shop" }]

[lvs]
backend = "relay"

[[virtual]]
name = "shop"
address = "10.2.0.100:80"
scheduler = "rr"
real = [{ host = "10.2.0.21", port = 80 }, { host = "10.2.0.22", port = 80 }]
`)
	served := func() error {
		if got := Tally(l.Client.Client().HTTP(t.Context(), "http://10.2.0.100/", 10)); got["web1"] != 5 || got["web2"] != 5 {
			return fmt.Errorf("served by %v", got)
		}
		return nil
	}
	Eventually(t, patience, served)
	d.Restart(t)
	Eventually(t, patience, served)
	d.Kill()
	if err := d.Status(new(any)); err == nil {
		t.Error("a killed daemon answers")
	}
	d.Start(t)
	Eventually(t, patience, served)
	d.Stop(t)
}
