//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/e2e/hosts"
)

// byMonitord makes tables with the daemon, whose watches test the real servers.
func byMonitord(t *testing.T, director *hosts.Host, services ...service) {
	t.Helper()
	director.Monitord(t, configuration(services...))
	awaitTable(t, director, func(now table) error {
		for _, s := range services {
			if got := len(now.up(s)); got != len(s.real) {
				return fmt.Errorf("%s has %d servers, want %d", s.name, got, len(s.real))
			}
		}
		return nil
	})
}

// kernel is how configurations of tests begin that have the kernel forward. A
// second is as often as it can be compared.
const kernel = `
[lvs]
backend = "kernel"
reconcile = "1s"
`

// configuration is that of a daemon that makes the services.
func configuration(services ...service) string {
	var b strings.Builder
	b.WriteString(kernel)
	b.WriteString("\n[hostgroups]\n")
	for _, s := range services {
		fmt.Fprintf(&b, "%s = [%s]\n", s.name, list(s.real, func(r realServer) string { return fmt.Sprintf("%q", r.address.Addr()) }))
	}
	for _, s := range services {
		if s.synced {
			b.WriteString("\n[sync]\ninterface = \"eth0\"\nsyncid = 7\n")
		}
	}
	for _, s := range services {
		b.WriteString(s.toml())
	}
	return b.String()
}

// toml is the service with its host group and the watch that decides who is in.
func (s service) toml() string {
	address := fmt.Sprintf("address = %q", s.address)
	if s.mark != 0 {
		address = fmt.Sprintf("fwmark = %d", s.mark)
	}
	protocol := "tcp"
	if s.udp {
		protocol = "udp"
	}
	check := s.check
	if check == "" {
		check = fmt.Sprintf(`{ type = "http", port = %d, status = "200", timeout = "2s" }`, s.real[0].address.Port())
	}
	reals := list(s.real, func(r realServer) string {
		port := ""
		if r.address.Port() != 0 {
			port = fmt.Sprintf(", port = %d", r.address.Port())
		}
		return fmt.Sprintf("{ host = %q%s, weight = %d }", r.address.Addr(), port, max(r.weight, 1))
	})
	return fmt.Sprintf(`
[[virtual]]
name = %[1]q
%[2]s
protocol = %[3]q
scheduler = %[4]q
persistence = "%[5]ds"
forward = %[6]q
real = [%[7]s]
%[8]s

[[watch]]
group = %[1]q
service = "check"
interval = "200ms"
monitor = %[9]s

  [[watch.period]]
  alert = [{ type = "ipvs", virtual = %[1]q }]
`, s.name, address, protocol, s.scheduler, s.persistence, s.forward, reals, s.more, check)
}

// list writes each server, with commas between them.
func list(all []realServer, write func(realServer) string) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = write(r)
	}
	return strings.Join(texts, ", ")
}

// tableOf is what "monitord ipvs --json" says.
func tableOf(t *testing.T, d *hosts.Daemon) daemon.Table {
	t.Helper()
	var table daemon.Table
	out, err := d.Run("ipvs", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &table)
	}
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// statusOf is what "monitord status --json" says.
func statusOf(t *testing.T, d *hosts.Daemon) daemon.Status {
	t.Helper()
	var s daemon.Status
	if err := d.Status(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// logged waits until the daemon's log has a line with all of these texts.
func logged(t *testing.T, d *hosts.Daemon, texts ...string) {
	t.Helper()
	hosts.Eventually(t, patience, func() error {
		for line := range strings.Lines(d.Log()) {
			if containsAll(line, texts) {
				return nil
			}
		}
		return fmt.Errorf("no line of the log has all of %q", texts)
	})
}

func containsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}
