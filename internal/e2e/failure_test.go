//go:build linux

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
)

// shop is the service of tests in which something fails.
func shop() service {
	return service{name: "shop", address: vip(80), scheduler: "rr", forward: "dr", real: webs(80)}
}

const shopURL = "http://10.2.0.100/"

// A site is the usual set-up with the service that the daemon on dr1 makes, by
// direct routing.
type site struct {
	*hosts.LVS
	service
	daemon  *hosts.Daemon
	servers []*hosts.Server
}

// start makes a site whose real servers are all in. The configuration is of the
// service, with more before it.
func start(t *testing.T, s service) *site {
	t.Helper()
	x := prepare(t, s)
	x.daemon = x.DR1.Monitord(t, configuration(s))
	x.await(t, 1, 1)
	return x
}

// prepare makes a site without a daemon.
func prepare(t *testing.T, s service) *site {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	x := &site{LVS: hosts.NewLVS(t, realServers), service: s}
	t.Cleanup(func() { showTables(t, x.LVS) })
	x.DR1.Take(hosts.VIP)
	for i, web := range x.Web {
		web.TakeQuietly("lo", hosts.VIP)
		x.servers = append(x.servers, nil)
		x.serve(i)
	}
	return x
}

// serve starts a real server's service.
func (x *site) serve(i int) { x.servers[i] = x.Web[i].ServeHTTP(":80") }

// await waits until the real servers have these weights, or are absent.
func (x *site) await(t *testing.T, weights ...int) {
	t.Helper()
	for i, weight := range weights {
		awaitWeight(t, x.DR1, x.service, x.real[i], weight)
	}
}

// probe has clients come all the time.
func (x *site) probe(t *testing.T) *hosts.Prober {
	t.Helper()
	return x.Client.Client().Probe(t.Context(), shopURL, 10*time.Millisecond)
}

// more waits until so many clients more have been served, by one server or "" for
// any.
func more(t *testing.T, p *hosts.Prober, n int, by string) {
	t.Helper()
	count := func() (count int) {
		for _, a := range p.Answers() {
			if a.Err == nil && (by == "" || a.Server == by) {
				count++
			}
		}
		return count
	}
	before := count()
	hosts.Eventually(t, patience, func() error {
		if got := count() - before; got < n {
			return fmt.Errorf("%d clients more were served, want %d", got, n)
		}
		return nil
	})
}

// A real server whose service is stopped is taken out of the table, and no client
// is sent there any more; it is back when it is back.
func TestKernelStoppedServiceIsOut(t *testing.T) {
	x := start(t, shop())
	x.leavesAndReturns(t, func() { x.servers[0].Close() }, func() { x.serve(0) })
}

// The same for one whose link is cut.
func TestKernelCutLinkIsOut(t *testing.T) {
	x := start(t, shop())
	x.leavesAndReturns(t, x.Web[0].Cable(0).Pull, x.Web[0].Cable(0).Plug)
}

// The same for one that is silent behind a link that is up.
func TestKernelSilentServerIsOut(t *testing.T) {
	x := start(t, shop())
	x.leavesAndReturns(t, x.Web[0].Cable(0).Silence, x.Web[0].Cable(0).Restore)
}

// leavesAndReturns lets web1 fail and come back.
func (x *site) leavesAndReturns(t *testing.T, fail, mend func()) {
	t.Helper()
	p := x.probe(t)
	more(t, p, 10, "web1")
	fail()
	x.await(t, absent, 1)
	out := time.Now()
	more(t, p, 100, "")
	back := time.Now()
	mend()
	x.await(t, 1, 1)
	more(t, p, 10, "web1")
	asked := 0
	for _, a := range p.Stop() {
		if a.At.Before(out) || a.At.After(back) {
			continue
		}
		if asked++; a.Server != "web2" {
			t.Errorf("a client that came %v after web1 was out got %v", a.At.Sub(out), a)
		}
	}
	if asked < 50 {
		t.Errorf("%d clients came while web1 was out, want about 100", asked)
	}
}

// A server that answers, but not with status 200, is out; a sorry server serves
// while no other does.
func TestKernelUnhealthyServerIsOut(t *testing.T) {
	s := shop()
	s.check = `{ type = "http", port = 80, path = "/healthz", status = "200" }`
	s.more = `sorry = { host = "10.2.0.12" }`
	x := prepare(t, s)
	x.DR2.TakeQuietly("lo", hosts.VIP)
	x.DR2.ServeHTTP(":80")
	x.daemon = x.DR1.Monitord(t, configuration(s))
	x.await(t, 1, 1)
	x.servers[0].SetHealthy(false)
	x.await(t, absent, 1)
	x.servers[1].SetHealthy(false)
	x.await(t, absent, absent)
	x.onlyBy(t, "dr2")
	x.servers[1].SetHealthy(true)
	x.await(t, absent, 1)
	x.onlyBy(t, "web2")
}

// onlyBy fails the test unless ten clients are all served by one.
func (x *site) onlyBy(t *testing.T, name string) {
	t.Helper()
	if got := hosts.Tally(x.Client.Client().HTTP(t.Context(), shopURL, 10)); got[name] != 10 {
		t.Errorf("served by %v, want %s", got, name)
	}
}

// guardNeverEmpty watches that the service always has a server that gets
// connections.
func (x *site) guardNeverEmpty(t *testing.T) *guard {
	t.Helper()
	return guardTable(t, x.DR1, func(now table) error {
		if len(now.up(x.service)) == 0 {
			return fmt.Errorf("the service had no server: %v", now)
		}
		return nil
	})
}
