//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// echoes is a service for connections that last.
func echoes() service {
	return service{
		name: "echo", address: vip(7), scheduler: "rr", forward: "dr", real: webs(7),
		check: `{ type = "tcp", port = 7 }`,
	}
}

// startEcho makes a site of it, with a session to web1.
func startEcho(t *testing.T, s service) (*site, *hosts.Session) {
	t.Helper()
	x := prepare(t, s)
	for _, web := range x.Web {
		web.ServeTCP(":7")
	}
	x.daemon = x.DR1.Monitord(t, configuration(s))
	x.await(t, 1, 1)
	return x, x.session(t, "web1")
}

// session opens connections until one is with the server.
func (x *site) session(t *testing.T, server string) *hosts.Session {
	t.Helper()
	for range 10 {
		s, err := x.Client.Client().Session(t.Context(), x.address.String())
		if err != nil {
			t.Fatal(err)
		}
		if s.Server == server {
			t.Cleanup(s.Close)
			return s
		}
		s.Close()
	}
	t.Fatalf("none of ten connections went to %s", server)
	return nil
}

// goesOn fails the test unless the connection works.
func goesOn(t *testing.T, s *hosts.Session, when string) {
	t.Helper()
	if server, err := s.Ask("still there"); err != nil || server != s.Server {
		t.Errorf("%s the connection with %s says %q, %v", when, s.Server, server, err)
	}
}

// none of n new connections may go to the server.
func (x *site) avoids(t *testing.T, server string, n int) {
	t.Helper()
	for _, a := range x.Client.Client().TCP(t.Context(), x.address.String(), n) {
		if a.Err != nil || a.Server == server {
			t.Errorf("a new connection: %v, want another than %s", a, server)
		}
	}
}

func (x *site) tell(t *testing.T, args ...string) {
	t.Helper()
	if _, err := x.daemon.Run(args[0], args[1:]...); err != nil {
		t.Fatal(err)
	}
}

// A drained server keeps its connections and gets no new ones; when the last one
// has ended it is removed. It stays out, over kill -9 too, until it is undrained.
func TestKernelDrain(t *testing.T) {
	x, session := startEcho(t, echoes())
	x.tell(t, "drain", "10.2.0.21")
	x.await(t, 0, 1)
	x.avoids(t, "web1", 10)
	x.reconciled1(t)
	goesOn(t, session, "drained,")
	x.await(t, 0, 1)
	session.Close()
	x.await(t, absent, 1)
	x.daemon.Kill()
	x.daemon.Start(t)
	x.runs(t, 3)
	x.await(t, absent, 1)
	x.avoids(t, "web1", 4)
	x.tell(t, "undrain", "10.2.0.21")
	x.await(t, 1, 1)
	x.session(t, "web1").Close()
}

// reconciled1 waits until the table has been compared, by a change to web2.
func (x *site) reconciled1(t *testing.T) {
	t.Helper()
	x.DR1.Output("ipvsadm", "-e", "-t", x.address.String(), "-r", x.real[1].address.String(), "-g", "-w", "9")
	awaitWeight(t, x.DR1, x.service, x.real[1], 1)
}

// A drained server with a connection that does not end is removed when its time
// is up.
func TestKernelDrainDeadline(t *testing.T) {
	x, session := startEcho(t, echoes())
	x.tell(t, "drain", "--for", "3s", "10.2.0.21")
	x.await(t, 0, 1)
	goesOn(t, session, "drained,")
	x.await(t, absent, 1)
}

// A failed server that is quiesced keeps its connections; persistent clients of
// it are sent elsewhere, by a sysctl that is set back afterwards.
func TestKernelQuiesce(t *testing.T) {
	const key = "net.ipv4.vs.expire_quiescent_template"
	s := echoes()
	s.persistence, s.more = 300, `on_failure = "quiesce"`
	// The check is of another service on the same server, so that the server fails
	// and its connections do not.
	s.check = `{ type = "http", port = 80, path = "/healthz" }`
	x := prepare(t, s)
	before := x.DR1.SysctlValue(key)
	for _, web := range x.Web {
		web.ServeTCP(":7")
	}
	x.daemon = x.DR1.Monitord(t, configuration(s))
	x.await(t, 1, 1)
	if now := x.DR1.SysctlValue(key); before != "0" || now != "1" {
		t.Errorf("%s was %s and is %s, want 0 and 1", key, before, now)
	}
	session, err := x.Client.Client().Session(t.Context(), x.address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	failing := map[string]int{"web1": 0, "web2": 1}[session.Server]
	x.servers[failing].SetHealthy(false)
	awaitWeight(t, x.DR1, x.service, x.real[failing], 0)
	goesOn(t, session, "quiesced,")
	x.avoids(t, session.Server, 5)
	goesOn(t, session, "after others,")
	x.servers[failing].SetHealthy(true)
	x.await(t, 1, 1)

	// Without persistence nothing needs the sysctl.
	s.persistence = 0
	x.daemon.Configure(t, configuration(s))
	if err := x.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	hosts.Eventually(t, patience, func() error {
		if now := x.DR1.SysctlValue(key); now != before {
			return fmt.Errorf("%s is %s, want %s as before", key, now, before)
		}
		return nil
	})
	goesOn(t, session, "after the reload,")
}

// While no real server is up the sorry server gets the connections.
func TestKernelSorryServer(t *testing.T) {
	s := shop()
	s.more = `sorry = { host = "127.0.0.1" }`
	x := prepare(t, s)
	x.DR1.ServeHTTP(":80")
	x.daemon = x.DR1.Monitord(t, configuration(s))
	x.await(t, 1, 1)
	g := x.guardNeverEmpty(t)
	for _, server := range x.servers {
		server.Close()
	}
	x.await(t, absent, absent)
	x.onlyBy(t, "dr1")
	if v := statusOf(t, x.daemon).Virtuals[0]; v.Sorry != "127.0.0.1:80" || v.Quorum != "lost" {
		t.Errorf("the status says sorry %q, quorum %q", v.Sorry, v.Quorum)
	}
	x.serve(1)
	x.await(t, absent, 1)
	x.onlyBy(t, "web2")
	g.end(t)
}

// When the quorum is lost, and when it is had again, people are told once each.
func TestKernelQuorumAlert(t *testing.T) {
	s := shop()
	x := prepare(t, s)
	d := x.DR1.PrepareMonitord(t, "")
	program, told := d.File("tell"), d.File("told")
	script := fmt.Sprintf("#!/bin/sh\nread -r summary; echo \"$1 $*: $summary\" >> %s\n", told)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	alert := fmt.Sprintf("[{ type = \"exec\", program = %q }]", program)
	s.more = "quorum = 2\nquorum_alert = " + alert + "\nquorum_upalert = " + alert
	x.service, x.daemon = s, d
	d.Configure(t, configuration(s))
	d.Start(t)
	x.await(t, 1, 1)
	lines := func(want int) []string {
		t.Helper()
		var all []string
		hosts.Eventually(t, patience, func() error {
			text, err := os.ReadFile(told)
			if err != nil {
				return err
			}
			// The program makes the file before it writes into it.
			if all = strings.Split(strings.TrimSpace(string(text)), "\n"); len(all) != want || all[want-1] == "" {
				return fmt.Errorf("%d lines, want %d: %q", len(all), want, text)
			}
			return nil
		})
		return all
	}
	x.servers[0].Close()
	x.await(t, absent, 1)
	if got := lines(1)[0]; !containsAll(got, []string{"-g shop", "-s quorum"}) || strings.Contains(got, " -u") {
		t.Errorf("told of the loss: %q", got)
	}
	x.serve(0)
	x.await(t, 1, 1)
	if got := lines(2)[1]; !containsAll(got, []string{"-g shop", "-s quorum", " -u"}) {
		t.Errorf("told of the return: %q", got)
	}
}
