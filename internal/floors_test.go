// Package internal_test holds the rules of the house.
package internal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/monitord/monitord"

// floors gives each package its floor; a package may import lower floors only,
// or packages named with it in neighbours. CONTRIBUTING.md draws the house.
var floors = map[string]int{
	"internal/plugin": 0, "internal/watch": 0, "internal/period": 0, "internal/director": 0, "internal/director/sim": 1, "internal/timeup": 0,

	"monitors": 1, "alerts": 1, "resources": 1,
	"monitors/monitortest": 2, "monitors/netprobe": 3, "alerts/alerttest": 2, "resources/resourcetest": 2,

	"internal/dial": 2, "internal/dial/dialtest": 2, "internal/dialogue": 2, "internal/dialogue/dialoguetest": 3, "internal/icmp": 2, "internal/lvs": 2, "internal/lvs/relay": 2, "internal/lvs/record": 2,
	"internal/ipvs": 2, "internal/ipvs/ipvstest": 2, "internal/lvs/kernel": 3, "internal/nft": 2, "internal/nft/nstest": 2, "internal/netif": 2, "internal/netif/netiftest": 2, "internal/state": 2, "internal/heartbeat": 2, "internal/scribe": 2, "internal/history": 2,
	"internal/realserver": 3, "internal/doctor": 4, "internal/kernellab": 4, "internal/kernellab/plan": 2, "internal/kernellab/guest": 3, "internal/kernellab/run": 5, "internal/e2e": 6, "internal/e2e/hosts": 5,
	"internal/lvs/lvstest": 2, "internal/monprog": 2, "internal/wording": 2, "internal/syslog": 2, "internal/logfile": 2, "internal/logbook": 2, "internal/runcmd": 2, "internal/mailsink": 2, "internal/debian": 2, "internal/debian/unpack": 3, "internal/icmp/icmptest": 2,

	"monitors/dns": 3, "monitors/exec": 3, "monitors/file": 3, "monitors/http": 3, "monitors/ping": 3, "monitors/tcp": 3, "monitors/telnet": 3, "monitors/tls": 3, "monitors/udp": 3,
	"monitors/smtp": 3, "monitors/imap": 3, "monitors/pop3": 3, "monitors/ftp": 3, "monitors/ssh": 3, "monitors/mysql": 3, "monitors/redis": 3,
	"alerts/wording": 3, "alerts/exec": 3, "alerts/file": 3, "alerts/ipvs": 3, "alerts/log": 3, "alerts/mail": 3, "alerts/syslog": 3, "alerts/webhook": 3,
	"resources/vip": 3, "resources/lvs": 3, "resources/realserver": 3, "resources/route": 3, "resources/sysctl": 3, "resources/exec": 3, "resources/systemd": 3, "resources/mail": 3,

	"internal/gateway": 3, "internal/fencing": 3, "internal/transition": 3, "internal/outbox": 3, "internal/outbox/outboxtest": 2, "internal/started": 2, "internal/lab": 4,

	"internal/config": 4, "internal/schedule": 4, "internal/engine": 4, "internal/simulate": 4, "internal/migrate/moncf": 4, "internal/migrate/mon": 4, "internal/control": 4, "internal/takeover": 4,

	"internal/daemon": 5, "internal/cli": 5, "internal/reference": 5,

	"internal/clustertest": 6, "internal/habench": 5, "internal/habench/run": 6, "internal/soak": 5, "internal/soak/run": 6,

	"": 6, "cmd/monitord": 6,
}

// neighbours are the imports on one floor that are meant: the engine is made of
// what the configuration built, an importer makes a configuration, commands start daemons, backends serve a pool,
// watches have periods.
var neighbours = map[string][]string{
	"internal/watch":           {"internal/period"},
	"internal/engine":          {"internal/config", "internal/schedule"},
	"internal/migrate/mon":     {"internal/config", "internal/migrate/moncf"},
	"internal/simulate":        {"internal/config", "internal/engine"},
	"internal/cli":             {"internal/daemon"},
	"internal/lvs/relay":       {"internal/lvs"},
	"internal/lvs/record":      {"internal/lvs"},
	"internal/lvs/lvstest":     {"internal/lvs"},
	"cmd/monitord":             {""},
	"resources/realserver":     {"internal/realserver"},
	"internal/debian":          {"internal/runcmd"},
	"internal/ipvs/ipvstest":   {"internal/ipvs"},
	"internal/dialogue":        {"internal/dial"},
	"internal/netif/netiftest": {"internal/netif"},
	"internal/logbook":         {"internal/logfile", "internal/syslog"},
	"internal/history":         {"internal/scribe"},
}

// doors are the third-party libraries that one package alone may import.
var doors = map[string][]string{
	"github.com/BurntSushi/toml":      {"internal/config"},
	"github.com/pelletier/go-toml":    {"internal/config"},
	"github.com/go-ping/ping":         {"internal/icmp"},
	"github.com/robfig/cron":          {"internal/config", "internal/schedule"},
	"github.com/wneessen/go-mail":     {"alerts/mail"},
	"github.com/emersion/go-smtp":     {"internal/mailsink"},
	"github.com/spf13/cobra":          {"internal/cli"},
	"github.com/sirupsen/logrus":      {"internal/daemon", "internal/engine", "internal/cli", "internal/lvs/record"},
	"os/exec":                         {"internal/runcmd", "internal/lab", "internal/icmp/icmptest", "internal/kernellab", "internal/kernellab/plan", "internal/kernellab/run", "internal/e2e/hosts"},
	"github.com/moby/ipvs":            {"internal/ipvs"},
	"github.com/miekg/dns":            {"monitors/dns"},
	"github.com/mdlayher/genetlink":   {"internal/ipvs"},
	"github.com/google/nftables":      {"internal/nft"},
	"github.com/vishvananda/netlink":  {"internal/netif", "internal/netif/netiftest", "internal/nft/nstest", "internal/kernellab", "internal/e2e/hosts"},
	"github.com/vishvananda/netns":    {"internal/nft/nstest", "internal/e2e/hosts"},
	"github.com/docker/docker":        {},
	"github.com/hashicorp/memberlist": {"internal/heartbeat"},
}

func TestFloors(t *testing.T) {
	seen := map[string]bool{}
	for name, imports := range imports(t) {
		seen[name] = true
		floor, ok := floors[name]
		if !ok {
			t.Errorf("package %q has no floor: give it one in floors_test.go and CONTRIBUTING.md", name)
			continue
		}
		for _, imported := range imports {
			if own, inside := inModule(imported); inside {
				if lower, known := floors[own]; known && lower >= floor && !slices.Contains(neighbours[name], own) {
					t.Errorf("%q (floor %d) imports %q (floor %d)", name, floor, own, lower)
				}
				continue
			}
			for library, allowed := range doors {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(allowed, name) {
					t.Errorf("%q imports %q, whose door is %v", name, imported, allowed)
				}
			}
		}
	}
	for name := range floors {
		if !seen[name] {
			t.Errorf("floor for package %q, which does not exist", name)
		}
	}
}

func inModule(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// imports lists every package's own imports, tests apart.
func imports(t *testing.T) map[string][]string {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, inside := inModule(fields[0])
		if !inside || name == "contrib" || strings.HasPrefix(name, "contrib/") || name == "internal" {
			continue
		}
		all[name] = fields[1:]
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages only", len(all))
	}
	return all
}
