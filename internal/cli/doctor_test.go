package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/monitord/monitord/alerts/ipvs"
	"github.com/monitord/monitord/internal/doctor"
	"github.com/monitord/monitord/internal/icmp/icmptest"
	_ "github.com/monitord/monitord/monitors/tcp"
)

// TestDoctor runs on a machine with nothing but its loopback device.
func TestDoctor(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	file := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "monitord.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const watch = `
[hostgroups]
web = ["127.0.0.1"]
[[watch]]
group = "web"
service = "tcp"
interval = "1m"
monitor = { type = "tcp", port = 80 }
[[watch.period]]
alert = [{ type = "ipvs", virtual = "web" }]
`
	const service = `
[[virtual]]
name = "web"
address = "192.0.2.1:80"
[[virtual.real]]
host = "127.0.0.1:8080"
`
	for name, test := range map[string]struct {
		args      []string
		status    int
		out, errs string // part of it
	}{
		"right":              {[]string{"-c", file(watch + service), "-a"}, 0, "0 errors", ""},
		"warning":            {[]string{"-c", file(watch + service)}, 0, "192.0.2.1 is not an address of this machine", ""},
		"error":              {[]string{"--realserver", "--vip", "192.0.2.1"}, 1, "monitord realserver up --vip 192.0.2.1 --mode dr", ""},
		"several":            {[]string{"--realserver", "--vip", "192.0.2.1,192.0.2.2", "--port", "80,81"}, 1, "nothing listens on port 81", ""},
		"nat":                {[]string{"--realserver", "--mode", "nat", "--vip", "192.0.2.1", "--director", "10.0.0.1"}, 1, "there is no default route", ""},
		"bad configuration":  {[]string{"-c", file("nonsense = 1")}, 2, "", "nonsense"},
		"no configuration":   {[]string{"-c", "/nowhere.toml"}, 2, "", "/nowhere.toml"},
		"no VIP":             {[]string{"--realserver"}, 2, "", "--realserver needs --vip"},
		"no such VIP":        {[]string{"--realserver", "--vip", "x"}, 2, "", "--vip"},
		"no such mode":       {[]string{"--realserver", "--vip", "192.0.2.1", "--mode", "fullnat"}, 2, "", `"fullnat" is not dr, tun or nat`},
		"no such port":       {[]string{"--realserver", "--vip", "192.0.2.1", "--port", "65536"}, 2, "", "65536 is not 1 to 65535"},
		"no such director":   {[]string{"--realserver", "--vip", "192.0.2.1", "--director", "x"}, 2, "", "--director"},
		"VIP of a director":  {[]string{"--vip", "192.0.2.1"}, 2, "", "--vip is for --realserver"},
		"needless arguments": {[]string{"now"}, 2, "", "unknown command"},
	} {
		var out, errs bytes.Buffer
		status := Run(append([]string{"doctor"}, test.args...), strings.NewReader(""), &out, &errs)
		if status != test.status || !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.errs) {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, test.status, &out, &errs)
		}
	}
	var out, errs bytes.Buffer
	Run([]string{"doctor", "--realserver", "--vip", "192.0.2.1", "--json"}, strings.NewReader(""), &out, &errs)
	var findings []doctor.Finding
	if err := json.Unmarshal(out.Bytes(), &findings); err != nil || len(findings) == 0 || findings[0].Severity != doctor.Error {
		t.Errorf("--json: %v\n%s%s", err, &out, &errs)
	}
}
