//go:build linux

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/lvs"
)

// A setting is a virtual service of TestKernelSchedulers: what is configured, and
// how ipvsadm -Ln lists it.
type setting struct {
	toml   string
	listed string
	real   string // how each real server is listed
}

// settings are every scheduler with every flag, and whatever else a table can
// have.
func settings() []setting {
	var all []setting
	port := 8000
	add := func(format, listed string) {
		port++
		all = append(all, setting{fmt.Sprintf("address = \"10.2.0.100:%d\"\n%s", port, format), fmt.Sprintf("10.2.0.100:%d %s", port, listed), "Route 3"})
	}
	for _, s := range lvs.Schedulers() {
		add(fmt.Sprintf("scheduler = %q", s), "TCP "+string(s))
	}
	for _, s := range []string{"sh", "mh"} {
		for _, flags := range [][]string{{"port"}, {"fallback"}, {"fallback", "port"}} {
			for i := range flags {
				flags[i] = s + "-" + flags[i]
			}
			add(fmt.Sprintf("scheduler = %q\nflags = [\"%s\"]", s, strings.Join(flags, `", "`)), "TCP "+s+" ("+strings.Join(flags, ",")+")")
		}
	}
	add("protocol = \"udp\"\nscheduler = \"rr\"\nflags = [\"ops\"]", "UDP rr ops")
	add("protocol = \"sctp\"\nscheduler = \"wlc\"", "SCTP wlc")
	add("scheduler = \"wlc\"\npersistence = \"50s\"", "TCP wlc persistent 50")
	add("scheduler = \"wlc\"\npersistence = \"300s\"\npersistence_netmask = \"255.255.255.0\"", "TCP wlc persistent 300 mask 255.255.255.0")
	return all
}

// everything is the configuration with all the settings.
func everything() string {
	var b strings.Builder
	b.WriteString(kernel)
	for i, s := range settings() {
		fmt.Fprintf(&b, "[[virtual]]\nname = \"s%d\"\nstart = \"up\"\n%s\nreal = [{ host = \"10.2.0.21\", weight = 3 }, { host = \"10.2.0.22\", weight = 3 }]\n", i, s.toml)
	}
	return b.String() + `
[hostgroups]
peer = ["10.2.0.12"]

[[watch]]
group = "peer"
service = "ping"
interval = "1m"
monitor = { type = "ping" }

[[virtual]]
name = "six"
address = "[fd00:2::100]:0"
scheduler = "rr"
persistence = "60s"
persistence_netmask = "/64"
start = "up"
real = [{ host = "fd00:2::21" }, { host = "fd00:2::22", forward = "nat" }]

[[virtual]]
name = "mark"
fwmark = 9
scheduler = "wrr"
start = "up"
real = [{ host = "10.2.0.21", weight = 0 }]

[[virtual]]
name = "mark6"
fwmark = 10
family = "ipv6"
scheduler = "sh"
flags = ["ops"]
start = "up"
real = [{ host = "fd00:2::21" }]

[[virtual]]
name = "ways"
address = "10.2.0.101:80"
scheduler = "lc"
start = "up"
real = [
  { host = "10.2.0.21", forward = "nat", port = 8080, weight = 65535, upper = 100, lower = 80 },
  { host = "10.2.0.22", forward = "tun" },
  { host = "10.2.0.23", forward = "tun", tunnel = { type = "gue", port = 6080 } },
  { host = "10.2.0.24", forward = "tun", tunnel = { type = "gue", port = 6080, checksum = "remcsum" } },
  { host = "10.2.0.25", forward = "tun", tunnel = { type = "gre", checksum = "csum" } },
  { host = "127.0.0.1" },
]

[[virtual]]
name = "range"
address = "10.2.0.110-112:80"
start = "up"
real = [{ host = "10.2.0.21-22" }]
`
}

// withEverything runs a daemon with all the settings, until the kernel has them.
func withEverything(t *testing.T) (*hosts.LVS, *hosts.Daemon) {
	t.Helper()
	kernellab.Require(t)
	kernellab.Tools(t)
	l := hosts.NewLVS(t, 0)
	t.Cleanup(func() { showTables(t, l) })
	d := l.DR1.Monitord(t, everything())
	awaitTable(t, l.DR1, func(now table) error {
		if want := len(settings()) + 7; len(now) != want {
			return fmt.Errorf("%d services, want %d", len(now), want)
		}
		return nil
	})
	return l, d
}

// Each scheduler, with each of its flags, is accepted by the kernel and reported
// back as it was configured.
func TestKernelSchedulers(t *testing.T) {
	l, d := withEverything(t)
	listed := l.DR1.Output("ipvsadm", "-Ln")
	actual := map[string]lvs.ServiceView{}
	now := tableOf(t, d)
	for _, v := range now.Actual {
		actual[v.Name] = v
	}
	for i, s := range settings() {
		t.Run(s.listed, func(t *testing.T) {
			address, rest, _ := strings.Cut(s.listed, " ")
			protocol, rest, _ := strings.Cut(rest, " ")
			want := strings.Fields(protocol + " " + address + " " + rest)
			if !slices.ContainsFunc(strings.Split(listed, "\n"), func(line string) bool { return slices.Equal(strings.Fields(line), want) }) {
				t.Errorf("ipvsadm does not list %q", want)
			}
			v := actual[fmt.Sprintf("s%d", i)]
			if len(v.Servers) != 2 || v.Servers[0].Weight != 3 || v.Servers[1].Weight != 3 || !strings.HasPrefix(rest, string(v.Scheduler)) {
				t.Errorf("reported back as %+v", v)
			}
		})
	}
	if t.Failed() {
		t.Log(listed)
	}
	if len(now.Difference) > 0 || now.Problem != "" {
		t.Errorf("difference %q, problem %q, want none", now.Difference, now.Problem)
	}
}

// What "monitord ipvs" shows is what Debian's ipvsadm shows, of every setting
// there is, and of services that are not ours.
func TestKernelIpvsadmAgrees(t *testing.T) {
	l, d := withEverything(t)
	l.DR1.Output("ipvsadm", "-A", "-u", "10.2.0.9:53", "-s", "rr")
	l.DR1.Output("ipvsadm", "-a", "-u", "10.2.0.9:53", "-r", "10.2.0.21:5353", "-m", "-w", "7")
	ours, err := d.Run("ipvs", "--save")
	if err != nil {
		t.Fatal(err)
	}
	theirs := l.DR1.Output("ipvsadm", "-S", "-n")
	if diff := cmp.Diff(normal(theirs), normal(unsaid.Replace(ours))); diff != "" {
		t.Errorf("-ipvsadm -S -n, +monitord ipvs --save:\n%s", diff)
	}
	// And ipvsadm -R takes it.
	restore := l.DR2.Command(t.Context(), "ipvsadm", "-R")
	restore.Stdin = strings.NewReader(ours)
	if out, err := restore.Output(); err != nil {
		t.Fatalf("ipvsadm -R: %v\n%s", err, out)
	}
	if diff := cmp.Diff(normal(theirs), normal(l.DR2.Output("ipvsadm", "-S", "-n"))); diff != "" {
		t.Errorf("-saved, +restored by ipvsadm:\n%s", diff)
	}
	if listed := l.DR2.Output("ipvsadm", "-Ln", "--thresholds"); !strings.Contains(strings.Join(strings.Fields(listed), " "), "10.2.0.21:8080 100 80") {
		t.Errorf("the thresholds are not restored:\n%s", listed)
	}
	// A second daemon has nothing to do for the same configuration.
	lines, err := l.DR1.RunMonitord(t, "ipvs", "--dry-run", "-c", d.File("monitord.toml"))
	if err != nil || strings.TrimSpace(lines) != "" {
		t.Errorf("--dry-run says %q, %v, want nothing to do", lines, err)
	}
}

// unsaid takes out what ipvsadm -S leaves out although ipvsadm -R takes it.
var unsaid = strings.NewReplacer(" -x 100 -y 80", "")

// normal is a saved table in a fixed order, for the kernel lists services by a
// hash of their addresses; ipip is the tunnel that needs no word.
func normal(saved string) []string {
	var lines []string
	for line := range strings.Lines(saved) {
		lines = append(lines, strings.TrimSuffix(strings.Join(strings.Fields(line), " "), " --tun-type ipip"))
	}
	slices.Sort(lines)
	return lines
}
