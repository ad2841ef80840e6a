//go:build linux

package e2e_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// A library has files that take their time: numbered lines, some in each packet, until
// it is told that it is enough, and then a last line.
type library struct{ enough chan struct{} }

const lastLine = "the end"

func (l *library) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	flow := http.NewResponseController(w)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		for range 20 {
			if _, err := fmt.Fprintf(w, "%d\n", n); err != nil {
				return
			}
			n++
		}
		if flow.Flush() != nil {
			return
		}
		select {
		case <-l.enough:
			_, _ = fmt.Fprintln(w, lastLine)
			return
		case <-tick.C:
		}
	}
}

// open begins to serve on a host.
func (l *library) open(t *testing.T, h *hosts.Host, address string) {
	t.Helper()
	listener, err := h.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

// A download is one that goes on while a test does other things.
type download struct {
	lines chan int   // how many lines there are; the newest
	ended chan error // nil after the last line, with none missing
}

func startDownload(t *testing.T, client *hosts.Host, url string) *download {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Client().Open(request) //nolint:bodyclose // closed by whoever reads it, below
	if err != nil {
		t.Fatal(err)
	}
	d := &download{lines: make(chan int, 1), ended: make(chan error, 1)}
	go func() {
		defer func() { _ = response.Body.Close() }()
		d.ended <- d.read(bufio.NewScanner(response.Body))
	}()
	return d
}

func (d *download) read(lines *bufio.Scanner) error {
	n := 0
	for lines.Scan() {
		text := lines.Text()
		if text == lastLine {
			return nil
		}
		if text != fmt.Sprint(n) {
			return fmt.Errorf("line %q, want %d", text, n)
		}
		n++
		select {
		case <-d.lines:
		default:
		}
		d.lines <- n
	}
	return fmt.Errorf("it ended after %d lines: %w", n, lines.Err())
}

// goesOn waits until many lines more have come, and fails the test if they do not.
func (d *download) goesOn(t *testing.T, when string) {
	t.Helper()
	const more = 200
	start := time.Now()
	limit := time.After(patience)
	for first, n := -1, 0; first < 0 || n < first+more; {
		select {
		case n = <-d.lines:
			if first < 0 {
				first = n
			}
		case err := <-d.ended:
			t.Fatalf("%s: the download has ended: %v", when, err)
		case <-limit:
			t.Fatalf("%s: the download does not go on", when)
		}
	}
	t.Logf("%s: %d lines more in %v", when, more, time.Since(start))
}

// A download through direct routing survives that the active director's daemon is
// killed, and that its group is moved back: the kernels tell each other of the
// connection. Clients with persistence keep their servers.
func TestKernelDownloadSurvivesFailover(t *testing.T) {
	kernellab.Require(t)
	kernellab.Tools(t)
	l := hosts.NewLVS(t, realServers)
	books := &library{make(chan struct{})}
	for _, web := range l.Web {
		web.TakeQuietly("lo", hosts.VIP)
		books.open(t, web, ":80")
		web.ServeTCP(":7")
	}
	p := newPair(t, l.Network, []string{hosts.VIP}, [2]*hosts.Host{l.DR1, l.DR2}, [2]string{"10.2.0.11", "10.2.0.12"}, downloads())
	defer p.show(t)
	p.start(t, hosts.VIP)
	p.roles(t, "master", "backup")

	file := startDownload(t, l.Client, shopURL)
	clients := p.visitors(t, l)
	hosts.Eventually(t, patience, func() error { return knows(l.DR2, ":80", "ESTABLISHED") })
	file.goesOn(t, "at first")

	p.daemons[0].Kill()
	file.goesOn(t, "after kill -9, while the lease lasts")
	p.owners.Await(hosts.VIP, l.DR2, patience)
	file.goesOn(t, "with the other director")
	clients.same(t, "with the other director")

	p.daemons[0].Start(t)
	p.awaitRole(t, 0, "standby")
	p.roles(t, "backup", "master")
	file.goesOn(t, "with the first one back as a standby")
	p.awaitAble(t, 1, "shop", "dr1")
	if _, err := p.daemons[1].Run("switchover", "shop", "dr1"); err != nil {
		t.Fatal(err)
	}
	p.owners.Await(hosts.VIP, l.DR1, patience)
	p.awaitRole(t, 1, "standby")
	p.roles(t, "master", "backup")
	file.goesOn(t, "after the switchover")
	clients.same(t, "after the switchover")

	close(books.enough)
	for {
		select {
		case <-file.lines:
			continue
		case err := <-file.ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the download does not end")
		}
		break
	}
	p.owners.End()
}

// downloads is the configuration: HTTP, and a service with persistence.
func downloads() string {
	shop := service{name: "shop", address: vip(80), scheduler: "rr", forward: "dr", real: webs(80), check: `{ type = "tcp", port = 80 }`}
	echo := service{name: "echo", address: vip(7), scheduler: "rr", forward: "dr", persistence: 300, real: webs(7), check: `{ type = "tcp", port = 7 }`}
	return `
[fence]
gateway = ["10.2.0.1"]
pace = "200ms"

[sync]
interface = "eth0"
syncid = 7
role = "master"

[[group]]
name = "shop"

  [[group.resource]]
  type = "lvs"

  [[group.resource]]
  type = "vip"
  address = "10.2.0.100"

[hostgroups]
shop = ["10.2.0.21", "10.2.0.22"]
echo = ["10.2.0.21", "10.2.0.22"]
` + shop.toml() + echo.toml()
}

// roles waits until these sync daemons run on the directors.
func (p *pair) roles(t *testing.T, want ...string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		for i, director := range p.directors {
			if got := syncRoles(director); got != want[i] {
				return fmt.Errorf("the sync daemons of %s are %q, want %q", director.Name, got, want[i])
			}
		}
		return nil
	})
}

// knows returns an error unless the director's kernel has a connection to a port in a
// state.
func knows(director *hosts.Host, port, state string) error {
	text := director.Output("ipvsadm", "-Lnc")
	for line := range strings.Lines(text) {
		if containsAll(line, []string{hosts.VIP + port, state}) {
			return nil
		}
	}
	return fmt.Errorf("%s knows of\n%s", director.Name, text)
}

// Visitors are clients with addresses of their own.
type visitors struct {
	host *hosts.Host
	// by are their addresses, by the servers that they were sent to.
	by map[string][]string
}

// visitors sends some clients to the service with persistence.
func (p *pair) visitors(t *testing.T, l *hosts.LVS) visitors {
	t.Helper()
	v := visitors{l.Client, map[string][]string{}}
	for i := range 6 {
		from := fmt.Sprintf("10.1.0.%d", 101+i)
		l.Client.AddAddress("eth0", from+"/24")
		server := v.visit(t, from)
		v.by[server] = append(v.by[server], from)
	}
	hosts.Eventually(t, patience, func() error {
		text := p.directors[1].Output("ipvsadm", "-Lnc")
		for i := range 6 {
			if from := fmt.Sprintf("10.1.0.%d:0 ", 101+i); !strings.Contains(text, from) {
				return fmt.Errorf("the standby does not know where %s belongs:\n%s", from, text)
			}
		}
		return nil
	})
	return v
}

// visit sends enough packets for the kernel to tell the other one (three, by
// net.ipv4.vs.sync_threshold).
func (v visitors) visit(t *testing.T, from string) (server string) {
	t.Helper()
	s, err := hosts.Client{Host: v.host, From: from}.Session(t.Context(), hosts.VIP+":7")
	if err != nil {
		t.Fatalf("%s: %v", from, err)
	}
	defer s.Close()
	for range 3 {
		if _, err := s.Ask("hello"); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
	}
	return s.Server
}

// same fails the test if a client that comes again is sent to another server. They
// come in an order in which a scheduler that knows none of them cannot be right.
func (v visitors) same(t *testing.T, when string) {
	t.Helper()
	for before, all := range v.by {
		for _, from := range all {
			if now := v.visit(t, from); now != before {
				t.Errorf("%s: %s was sent to %s, want %s as before", when, from, now, before)
			}
		}
	}
}
