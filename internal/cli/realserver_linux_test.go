package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/netif/netiftest"
	"github.com/monitord/monitord/internal/realserver"
)

// called runs a command in a namespace and returns its exit status and output.
func called(s *netiftest.Space, args ...string) (status int, out, errs string) {
	s.Do(func(context.Context) error {
		var o, e bytes.Buffer
		status = Run(args, strings.NewReader(""), &o, &e)
		out, errs = o.String(), e.String()
		return nil
	})
	return status, out, errs
}

func TestRealServer(t *testing.T) {
	s := netiftest.New(t)
	dir := t.TempDir()
	for _, c := range []struct {
		args   string
		status int
		out    []string // parts
		errs   string   // part
	}{
		{args: "status --vip 10.0.0.10", status: 3, out: []string{"10.0.0.10  DOWN, by dr on lo", "ip addr add 10.0.0.10/32 dev lo scope host", "sysctl -w net.ipv4.conf.all.arp_ignore=1"}},
		{args: "status", status: 3, out: []string{"no VIP is up"}},
		{args: "up --vip 10.0.0.10,10.0.0.11", out: []string{"net.ipv4.conf.all.arp_announce: 2, was 0", "10.0.0.11/32 on lo: present, was absent"}},
		{args: "up --vip 10.0.0.10 --vip 10.0.0.11", out: []string{"everything was right already"}},
		{args: "status", out: []string{"10.0.0.10  UP, by dr on lo", "10.0.0.11  UP", "ok     net.ipv4.conf.all.arp_ignore: 1"}},
		{args: "up --vip 10.0.0.10 --device lo --via eth7", status: 1, errs: "10.0.0.10 is up already in another way, 10.0.0.10 by dr on lo: take it down first"},
		{args: "status --vip 10.0.0.10,10.0.0.12", status: 1, out: []string{"10.0.0.12  DOWN"}},
		{args: "down --vip 10.0.0.10", out: []string{"10.0.0.10/32 on lo: absent again"}},
		{args: "down --vip 10.0.0.10", out: []string{"note: 10.0.0.10 was not put up by this command"}},
		{args: "down", out: []string{"net.ipv4.conf.all.arp_ignore: 0 again"}},
		{args: "down", out: []string{"nothing was to be undone"}},
		{args: "up", status: 2, errs: "Give --vip"},
		{args: "up --vip 10.0.0.10/24", status: 2, errs: "not an IP address such as 192.168.1.100"},
		{args: "up --vip 10.0.0.10 --mode nat", status: 1, errs: `mode "nat": take dr or tun`},
		{args: "up --vip 10.0.0.10 --port 70000", status: 2, errs: "out of range"},
		{args: "up --vip 10.0.0.10 extra", status: 2, errs: "unknown command"},
	} {
		status, out, errs := called(s, append([]string{"realserver"}, append(strings.Fields(c.args), "--statedir", dir)...)...)
		if status != c.status || !strings.Contains(errs, c.errs) || (errs == "") != (c.errs == "") {
			t.Errorf("%s: exit status %d, said %q, want %d and %q\n%s", c.args, status, errs, c.status, c.errs, out)
		}
		for _, part := range c.out {
			if !strings.Contains(out, part) {
				t.Errorf("%s: printed\n%swithout %q", c.args, out, part)
			}
		}
	}
}

func TestRealServerJSON(t *testing.T) {
	s := netiftest.New(t)
	dir := t.TempDir()
	var report realserver.Report
	if _, out, _ := called(s, "realserver", "up", "--vip", "fd00::10", "--statedir", dir, "--json"); json.Unmarshal([]byte(out), &report) != nil || len(report.Done) != 1 {
		t.Errorf("up printed %s", out)
	}
	var found realserver.Situation
	if _, out, _ := called(s, "realserver", "status", "--statedir", dir, "--json"); json.Unmarshal([]byte(out), &found) != nil ||
		found.State != realserver.IsUp || len(found.VIPs) != 1 || !found.VIPs[0].Remembered || len(found.VIPs[0].Checks) == 0 {
		t.Errorf("status printed %s", out)
	}
}
