package exec

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/monitors"
)

// debianMonitor is a monitor of Debian's package mon, as it is packaged.
func debianMonitor(t *testing.T, program string, args ...string) monitors.Monitor {
	t.Helper()
	root := debian.Tree(t, "mon", "fping")
	debian.Setenv(t, root) // fping.monitor calls fping from PATH
	m, err := configured(filepath.Join(root, "usr/lib/mon/mon.d"), func(c *Config) { c.Program, c.Args = program, args })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func check(t *testing.T, m monitors.Monitor, hosts ...string) monitors.Result {
	t.Helper()
	r, err := m.Check(t.Context(), monitors.Request{Group: "g", Service: "s", Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("exit status %d, %+v\n%s", r.Exit, r.Hosts, r.Output)
	return r
}

func wantUp(t *testing.T, r monitors.Result, hosts ...string) {
	t.Helper()
	if r.Exit != 0 || len(r.Hosts) != len(hosts) {
		t.Fatalf("exit status %d with %d results, want 0 with %d", r.Exit, len(r.Hosts), len(hosts))
	}
	for i, h := range r.Hosts {
		if h.Host != hosts[i] || h.Verdict != monitors.Up {
			t.Errorf("%+v, want %s up", h, hosts[i])
		}
	}
}

// wantDown wants the second of two hosts down for a reason with these words.
func wantDown(t *testing.T, r monitors.Result, reason string) {
	t.Helper()
	if r.Exit == 0 || len(r.Hosts) != 2 || r.Hosts[0].Verdict != monitors.Up || r.Hosts[1].Verdict != monitors.Down ||
		!strings.Contains(r.Hosts[1].Reason, reason) {
		t.Errorf("exit status %d, %+v; want the second host down: %s", r.Exit, r.Hosts, reason)
	}
}

// listen listens on 127.0.0.1 alone: 127.0.0.2 with the same port refuses.
func listen(t *testing.T) (l net.Listener, port string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, port
}

func TestDebianTCPMonitor(t *testing.T) {
	l, port := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	m := debianMonitor(t, "tcp.monitor", "-p", port)
	wantUp(t, check(t, m, "127.0.0.1"), "127.0.0.1")
	wantDown(t, check(t, m, "127.0.0.1", "127.0.0.2"), "Connection refused")
}

func TestDebianHTTPMonitor(t *testing.T) {
	l, port := listen(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
		}
	}))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	m := debianMonitor(t, "http.monitor", "-p", port)
	wantUp(t, check(t, m, "127.0.0.1"), "127.0.0.1")
	wantDown(t, check(t, m, "127.0.0.1", "127.0.0.2"), "HTTP response code failure")
	missing := debianMonitor(t, "http.monitor", "-p", port, "-u", "/missing")
	if r := check(t, missing, "127.0.0.1"); r.Exit == 0 || r.Hosts[0].Verdict != monitors.Down {
		t.Errorf("a missing page: exit status %d, %+v", r.Exit, r.Hosts)
	}
}

// The limited broadcast address is one that nothing is sent to: the kernel
// refuses it.
func TestDebianFpingMonitor(t *testing.T) {
	m := debianMonitor(t, "fping.monitor", "-r", "1", "-t", "500")
	wantUp(t, check(t, m, "127.0.0.1", "127.0.0.2"), "127.0.0.1", "127.0.0.2")
	r := check(t, m, "255.255.255.255")
	if r.Exit == 0 || len(r.Hosts) != 1 || r.Hosts[0].Verdict != monitors.Down || r.Hosts[0].Reason == "" {
		t.Errorf("exit status %d, %+v; want the host down", r.Exit, r.Hosts)
	}
}
