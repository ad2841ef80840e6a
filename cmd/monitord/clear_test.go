package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/monitors"
)

// TestPasswordsInTheClear reads each kind of monitor and alert that may send a password
// without TLS, and each way not to.
func TestPasswordsInTheClear(t *testing.T) {
	for _, tc := range []struct {
		plugin string
		want   []string // what each warning holds, in order
	}{
		{`monitor = { type = "imap", user = "u", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: write tls = true or starttls = true"}},
		{`monitor = { type = "imap", user = "u", password_file = "secret" }`, []string{"password: goes to the hosts in the clear"}},
		{`monitor = { type = "imap", user = "u", password = "p", tls = true }`, nil},
		{`monitor = { type = "imap", user = "u", password = "p", starttls = true }`, nil},
		{`monitor = { type = "imap" }`, nil},
		{`monitor = { type = "pop3", user = "u", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: write tls = true or starttls = true"}},
		{`monitor = { type = "pop3", user = "u", password = "p", tls = true }`, nil},
		{`monitor = { type = "pop3", user = "u", password = "p", starttls = true }`, nil},
		{`monitor = { type = "ftp", user = "u", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: write tls = true or starttls = true"}},
		{`monitor = { type = "ftp", user = "anonymous", password = "probe@example.org" }`, nil},
		{`monitor = { type = "ftp", user = "ftp", password = "probe@example.org" }`, nil},
		{`monitor = { type = "ftp", user = "u", password = "p", tls = true }`, nil},
		{`monitor = { type = "ftp", user = "u", password = "p", starttls = true }`, nil},
		{`monitor = { type = "redis", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: write tls = true"}},
		{`monitor = { type = "redis", password = "p", tls = true }`, nil},
		{`monitor = { type = "telnet", user = "u", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: telnet has no TLS"}},
		{`monitor = { type = "telnet", user = "u" }`, nil},
		{`monitor = { type = "http", user = "u", password = "p" }`, []string{"password: goes to the hosts in the clear, for everybody on the way to read: write tls = true"}},
		{`monitor = { type = "http", user = "u", password = "p", tls = true }`, nil},
		{`monitor = { type = "http", user = "u" }`, nil},
		{`monitor = { type = "http", headers = { X-Probe = "1", cookie = "id=1", Authorization = "Bearer x" } }`, []string{"headers.cookie: goes", "headers.Authorization: goes"}},
		{`monitor = { type = "http", headers = { Authorization = "Bearer x" }, tls = true }`, nil},
		{`alert = { type = "webhook", url = "http://hook.example.org/x", token = "t" }`, []string{"token: goes to hook.example.org in the clear, for everybody on the way to read: write an https:// URL"}},
		{`alert = { type = "webhook", url = "http://hook.example.org/x", format = "pagerduty", routing_key = "k" }`, []string{"routing_key: goes to hook.example.org"}},
		{`alert = { type = "webhook", url = "http://hook.example.org/x", headers = { X-Probe = "1", Authorization = "Basic x" } }`, []string{"headers.Authorization: goes to hook.example.org"}},
		{`alert = { type = "webhook", url = "http://hook.example.org/x", sign_secret = "s" }`, nil},
		{`alert = { type = "webhook", url = "http://[::1]:8080/x", token = "t" }`, nil},
		{`alert = { type = "webhook", url = "https://hook.example.org/x", token = "t" }`, nil},
	} {
		text, warnings := warningsOf(t, tc.plugin)
		if !slices.EqualFunc(warnings, tc.want, func(w config.Problem, want string) bool { return strings.Contains(w.Message, want) }) {
			t.Errorf("%s: the warnings are %v, want %q", tc.plugin, warnings, tc.want)
		}
		lines := strings.Split(text, "\n")
		for _, w := range warnings {
			key, _, _ := strings.Cut(w.Message, ":")
			key = strings.TrimPrefix(key, "headers.")
			if before := lines[w.Line-1][:w.Column-1]; !strings.HasSuffix(before, " "+key+" = ") && !strings.HasSuffix(before, " "+key+"_file = ") {
				t.Errorf("%s: the place of %s is behind %q", tc.plugin, key, before)
			}
		}
	}
}

// warningsOf reads a configuration with the plugin.
func warningsOf(t *testing.T, plugin string) (text string, warnings config.Problems) {
	t.Helper()
	folder := t.TempDir()
	monitor, alert := plugin, `alert = { type = "log" }`
	if strings.HasPrefix(plugin, "alert") {
		monitor, alert = `monitor = { type = "http" }`, plugin
	}
	text = `[hostgroups]
web = ["192.0.2.1"]
[[watch]]
group = "web"
service = "s"
interval = "1m"
` + monitor + `
[[watch.period]]
alertevery = "1h"
` + alert + "\n"
	file := filepath.Join(folder, "monitord.toml")
	if err := errors.Join(os.WriteFile(filepath.Join(folder, "secret"), []byte("p\n"), 0o600), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	site, err := config.Load(file, config.Host{Hostname: "dr1"})
	if err != nil {
		t.Fatalf("%s: %v", plugin, err)
	}
	return text, site.Warnings
}

// TestEveryMonitorWithAPasswordWarns keeps a new kind from forgetting it.
func TestEveryMonitorWithAPasswordWarns(t *testing.T) {
	var got []string
	for _, kind := range monitors.Kinds() {
		c := monitors.Defaults(kind)
		for f, v := range reflect.ValueOf(c).Elem().Fields() {
			if f.Type != reflect.TypeFor[monitors.Secret]() {
				continue
			}
			v.SetString("hunter2")
			warner, ok := c.(monitors.Warner)
			if !ok || len(warner.Warnings()) == 0 {
				t.Errorf("monitor %q says nothing of its %s, which is sent without TLS", kind, f.Name)
			}
			got = append(got, fmt.Sprintf("%s %s", kind, f.Name))
		}
	}
	want := []string{"ftp Password", "http Password", "imap Password", "pop3 Password", "redis Password", "telnet Password"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets of monitors (-want +got):\n%s", diff)
	}
}
