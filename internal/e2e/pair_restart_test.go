//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// The active director's daemon makes way for the next process, again and again, and reads
// its configuration anew: the group stays where it is, and not one request is lost. What
// the kernel forwards needs no daemon.
func TestKernelPairRestart(t *testing.T) {
	kernellab.Require(t)
	kernellab.Tools(t)
	l := hosts.NewLVS(t, realServers)
	for _, web := range l.Web {
		web.TakeQuietly("lo", hosts.VIP)
		web.ServeHTTP(":80")
		web.ServeTCP(":7")
	}
	p := newPair(t, l.Network, []string{hosts.VIP}, [2]*hosts.Host{l.DR1, l.DR2}, [2]string{"10.2.0.11", "10.2.0.12"}, downloads())
	for _, d := range p.daemons {
		// A machine that is emulated needs seconds for a start.
		rewritten(t, d.File("monitord.toml"), `lease = "5s"`, `lease = "10s"`)
	}
	defer p.show(t)
	p.start(t, hosts.VIP)
	awaitTable(t, l.DR1, func(now table) error {
		if n := len(now["TCP 10.2.0.100:80"]); n != realServers {
			return fmt.Errorf("%d servers, want %d", n, realServers)
		}
		return nil
	})
	visits := hosts.Client{Host: l.Client}.Probe(t.Context(), shopURL, 50*time.Millisecond)
	more(t, visits, 20, "")
	for range 3 {
		p.daemons[0].Leave(t)
		more(t, visits, 10, "")
		p.daemons[0].Start(t)
		p.awaitRole(t, 0, "active")
		more(t, visits, 20, "")
	}
	for i, d := range p.daemons {
		rewritten(t, d.File("monitord.toml"), `interval = "200ms"`, `interval = "250ms"`)
		if err := d.Reload(); err != nil {
			t.Fatal(err)
		}
		p.awaitRole(t, i, []string{"active", "standby"}[i])
	}
	more(t, visits, 20, "")
	answers := visits.Stop()
	for _, a := range hosts.Failures(answers) {
		t.Errorf("a client got %v", a)
	}
	t.Logf("%d clients", len(answers))
	for i := range p.daemons {
		v, err := p.view(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range v.Events {
			if e.Kind == director.Transition.String() && (e.From == "active" || i == 1 && e.To == "active") {
				t.Errorf("%s: %s to %s, %s", v.Self, e.From, e.To, e.Reason)
			}
		}
	}
	p.owners.Await(hosts.VIP, l.DR1, patience)
	p.owners.End()
}

// rewritten replaces a part of a file, which has to be there.
func rewritten(t *testing.T, file, old, instead string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("no %q in %s", old, text)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, instead)), 0o600); err != nil {
		t.Fatal(err)
	}
}
