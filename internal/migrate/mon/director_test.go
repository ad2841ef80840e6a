package mon

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/monitors"
)

func monitorsRequest(hosts []string) monitors.Request { return monitors.Request{Hosts: hosts} }

func mustImport(t testing.TB, name string, text []byte) *Imported {
	t.Helper()
	imported, err := Import(t.Context(), name, text)
	if err != nil {
		t.Fatal(err)
	}
	return imported
}

func mustLoad(t testing.TB, imported *Imported) *config.Site {
	t.Helper()
	site, err := imported.Load(checking())
	if err != nil {
		t.Fatalf("%v\n%s", err, imported.TOML)
	}
	return site
}

// TestDirector: a mon.cf of two directors, as guides for beginners print it. What
// old mon took and 1.3.6 refuses is taken, and those are all the warnings.
func TestDirector(t *testing.T) {
	for name, want := range map[string][]string{
		"director.cf": {
			"25 period \"wd\" has no braces", "30 joined to line 29", "35 period \"wd\" has no braces", "40 joined to line 39",
			"45 period \"wd\" has no braces", "51 joined to line 50", "57 period \"wd\" has no braces",
		},
		"telnet.cf": {"14 period \"wd hr\" has no braces", "21 period \"wd hr\" has no braces"},
	} {
		text, err := os.ReadFile("testdata/corpus/mon/" + name)
		if err != nil {
			t.Fatal(err)
		}
		imported := mustImport(t, name, text)
		if len(imported.Warnings) != len(want) {
			t.Errorf("%s: %d warnings, want %d", name, len(imported.Warnings), len(want))
		}
		for i, w := range imported.Warnings {
			line, text, _ := strings.Cut(want[min(i, len(want)-1)], " ")
			if got := w.String(); !strings.HasPrefix(got, "line "+line+": "+text) {
				t.Errorf("%s: warning %q, want line %s: %s", name, got, line, text)
			}
		}
	}
}

func TestDirectorBecomes(t *testing.T) {
	text, err := os.ReadFile("testdata/corpus/mon/director.cf")
	if err != nil {
		t.Fatal(err)
	}
	imported := mustImport(t, "director.cf", text)
	site := mustLoad(t, imported)
	if len(site.Virtuals) != 1 {
		t.Fatalf("%d virtual services", len(site.Virtuals))
	}
	v := site.Virtuals[0]
	var reals []string
	for _, r := range v.Reals {
		reals = append(reals, r.Host+" "+string(r.Forward))
		if r.Weight != 5 {
			t.Errorf("%s has weight %d", r.Host, r.Weight)
		}
	}
	if diff := cmp.Diff([]string{"192.0.2.175 dr", "192.0.2.142 dr", "192.0.2.187 dr"}, reals); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"server1:webcache", "server2:webcache", "server3:webcache"}, site.Followers["192.0.2.185:8080"]); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(imported.TOML), "[fence]\ngateway = [\"192.0.2.254\"]\n") {
		t.Errorf("no gateway:\n%s", imported.TOML)
	}
	for i := range site.Watches {
		w := &site.Watches[i]
		if w.Group == "server4" && len(w.Periods) > 0 {
			t.Error("the gateway's watch still calls heartbeat.alert")
		}
		for _, p := range w.Periods {
			if len(p.Alerts) != 1 || !p.Alerts[0].Follows || len(p.UpAlerts) > 0 || p.AlertAfter.Consecutive != 6 {
				t.Errorf("%s: %+v", w.Key, p)
			}
		}
	}
	// With a group to hold it the gateway guards it.
	whole := string(imported.TOML) + "\n[[group]]\nname = \"vip\"\n"
	both, err := config.LoadText("x.toml", []byte(whole), checking())
	if err != nil || both.Cluster == nil || len(both.Cluster.Gateways) != 1 {
		t.Errorf("with a group: %v", err)
	}
}

func moncfWith(lines ...string) string {
	return "hostgroup web 10.0.0.1 10.0.0.2\n\nhostgroup names web1\n\nwatch web\n service s\n  interval 10s\n  monitor m.monitor\n  period\n" + strings.Join(lines, "\n") + "\n"
}

func pinging(lines ...string) string {
	return strings.Replace(moncfWith(lines...), "m.monitor", "fping.monitor", 1)
}

// TestServers: what lvs.alert lines become, or why they stay calls of the program.
func TestServers(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		toml       []string
		why        string
	}{
		{"udp and nat with another port", moncfWith("alert lvs.alert -P udp -V 10.1.0.1:53 -R 10.0.0.1:5353 -W 2 -F nat"), []string{`protocol = "udp"`, `{ host = "10.0.0.1", port = 5353, weight = 2 }`, `forward = "nat"`, `virtual = "10.1.0.1:53/udp"`}, "follow who is up"},
		{"the same port needs no word", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1:80 -F dr"), []string{`{ host = "10.0.0.1", weight = 1 }`}, "follow who is up"},
		{"two servers of a group, one alert", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1 -W 1 -F dr", "alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.2 -W 3 -F tun"), []string{`forward = "tun"`, `forward = "dr"`, `alert = [{ type = "ipvs", virtual = "10.1.0.1:80" }]`}, "takes care of all"},
		{"a mail stays beside it", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1 -W 1 -F dr", "alert mail.alert ops"), []string{`program = "mail.alert"`, `type = "ipvs"`}, ""},
		{"the weight of the way back", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1", "upalert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1 -W 9 -F tun -u 1"), []string{"weight = 9", `forward = "tun"`}, "puts the server back"},
		{"a path", moncfWith("alert /usr/lib/mon/alert.d/lvs.alert -Ptcp -V10.1.0.1:80 -R10.0.0.1"), []string{`type = "ipvs"`}, ""},
		{"IPv6", strings.Replace(moncfWith("alert lvs.alert -P tcp -V [fd00::1]:80 -R fd00::2 -F tun"), "10.0.0.1 ", "fd00::2 ", 1), []string{`address = "[fd00::1]:80"`, `host = "fd00::2"`}, ""},

		{"a stranger", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.9 -W 5 -F dr"), []string{`program = "lvs.alert"`}, "is no host of the group web"},
		{"no port", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1 -R 10.0.0.1 -W 5 -F dr"), []string{`program = "lvs.alert"`}, "is no address with a port"},
		{"a name", moncfWith("alert lvs.alert -P tcp -V www:80 -R 10.0.0.1 -W 5 -F dr"), []string{`program = "lvs.alert"`}, "is no address with a port"},
		{"no weight", moncfWith("alert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1 -W five"), []string{`program = "lvs.alert"`}, "is no weight"},
		{"an exit status", moncfWith("alert exit=2 lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1"), []string{`program = "lvs.alert"`, "exit = 2"}, "exit status"},
		{"nothing takes it out", moncfWith("alert mail.alert x", "upalert lvs.alert -P tcp -V 10.1.0.1:80 -R 10.0.0.1"), []string{`program = "lvs.alert"`}, "no alert of this service takes the same server out"},
		{"a gateway without address", strings.Replace(pinging("alert heartbeat.alert"), "watch web", "watch names", 1), []string{`program = "heartbeat.alert"`}, "is no address of a gateway"},
		{"no pings", moncfWith("alert heartbeat.alert"), []string{`program = "heartbeat.alert"`}, "stays a call of heartbeat.alert: what is tested here is no gateway"},
		{"one gateway", strings.Replace(pinging("alert heartbeat.alert"), " 10.0.0.2", "", 1), []string{"[fence]\ngateway = [\"10.0.0.1\"]\n\n"}, "the gateway of [fence]"},
		{"a mail beside the gateway", pinging("alert heartbeat.alert", "alert mail.alert ops", "upalert heartbeat.alert -u"), []string{"gateway = [\"10.0.0.1\", \"10.0.0.2\"]\nneed = \"all\"", `program = "mail.alert"`}, "the gateway of [fence]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			imported := mustImport(t, "mon.cf", []byte(tc.text))
			accounted(t, imported, tc.text)
			mustLoad(t, imported)
			for _, want := range tc.toml {
				if !strings.Contains(string(imported.TOML), want) {
					t.Errorf("no %s in\n%s", want, imported.TOML)
				}
			}
			if strings.Contains(tc.why, "stays") && strings.Contains(string(imported.TOML), "[[virtual]]") {
				t.Errorf("a virtual service:\n%s", imported.TOML)
			}
			if !strings.Contains(imported.Report(), tc.why) {
				t.Errorf("no %q in the report:\n%s", tc.why, imported.Report())
			}
		})
	}
}
