package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

func init() {
	monitors.Register("test-down", struct{}{}, func(struct{}, monitors.Site) (monitors.Monitor, error) {
		return monitors.EachHost(8, time.Second, func(context.Context, string, *monitors.Timings) error { return errors.New("refused") }), nil
	})
}

// running runs a daemon whose servers are all down; it returns its socket.
func running(t *testing.T) (socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "cli") //nolint:usetesting // a socket's path has room for 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket, file := filepath.Join(folder, "s"), filepath.Join(folder, "m.toml")
	text := fmt.Sprintf(`statedir = %q
socket = %q
[hostgroups]
web = ["w1", "w2"]
[[watch]]
group = "web"
service = "http"
interval = "100ms"
monitor = { type = "test-down" }
`, folder, socket)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{ConfigFile: file, Log: log, Started: func() { close(started) }, ConfigureLog: func(config.Log) error { return nil }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-started:
	case err := <-done:
		done <- err
		t.Fatalf("the daemon did not start: %v", err)
	}
	return socket
}

func TestOperatorsCommands(t *testing.T) {
	t.Setenv("SUDO_USER", "")
	socket := running(t)
	run := func(want string, args ...string) {
		t.Helper()
		out, errs, exit := command(append(args, "-s", socket)...)
		if exit != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: exit %d, want %q:\n%s%s", args, exit, want, out, errs)
		}
	}
	fails := func(status int, want string, args ...string) {
		t.Helper()
		out, errs, exit := command(append(args, "-s", socket)...)
		if exit != status || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d, want %d and %q:\n%s%s", args, exit, status, want, out, errs)
		}
	}
	for end := time.Now().Add(30 * time.Second); ; {
		if out, _, _ := command("status", "-s", socket); strings.Contains(out, "FAILED") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the watch does not fail")
		}
	}
	run("web:http: acknowledged by ", "ack", "web:http", "-m", "on it")
	run("FAILED (acked)", "status")
	run(": on it\n", "status", "web:http")
	run("web:http: no longer acknowledged", "unack", "web:http")
	fails(1, "no failure of the watch is acknowledged", "unack", "web:http")
	fails(2, `"web" is no watch: write GROUP:SERVICE`, "ack", "web")

	run("web:http: disabled by ", "disable", "web:http", "-m", "moving", "--for", "2h")
	run("FAILED (disabled)", "status")
	run("(moving)", "status", "web:http")
	run("web:http: enabled", "enable", "web:http")
	run("host w1: disabled", "disable", "host", "w1")
	run("down (disabled by ", "status", "web:http")
	run("host w1: enabled", "enable", "host", "w1")
	run("group web: disabled", "disable", "web")
	run("group web: enabled", "enable", "web")
	for what, args := range map[string][]string{
		"group web": {"web"}, "web:http": {"web:http"}, "host w1": {"host", "w1"},
	} {
		fails(1, what+" is not disabled\n", append([]string{"enable"}, args...)...)
	}
	run("web:http: disabled", "disable", "web:http")
	fails(1, "group web is not disabled, only web:http", "enable", "web")
	run("web:http: enabled", "enable", "web:http")
	run("group web: disabled", "disable", "web")
	fails(1, "web:http is not disabled itself, group web is", "enable", "web:http")
	run("group web: enabled", "enable", "web")
	run("host w1: disabled", "disable", "host", "w1")
	fails(1, "host w2 is not disabled", "enable", "host", "w1", "w2")
	run("down (disabled by ", "status", "web:http") // all or nothing
	run("host w1: enabled", "enable", "host", "w1")
	fails(1, `no group "wbe"; there are web`, "disable", "wbe")
	fails(2, "write GROUP, GROUP:SERVICE, or host and its NAME", "disable", "web", "http")
	fails(2, `--for: "2" has no unit`, "disable", "web", "--for", "2")
	fails(2, `is no time at all`, "disable", "web", "--for", "0s")

	run("paused by ", "pause", "-m", "new switch", "--for", "1h")
	run("PAUSED by ", "status")
	run("(new switch): nothing is tested", "status")
	run("resumed", "resume")
	fails(1, "the site is not paused", "resume")

	run("no silences", "silence", "list")
	run("it concerns web:http", "silence", "add", "--host", "w[12]", "--for", "1d", "-m", "upgrade")
	run("silence 2 by ", "silence", "add", "--match", "web:*", "--cron", "0 2 * * sun", "--for", "1h")
	run(" from 2100-01-01 00:00:00 until 2100-01-02 00:00:00", "silence", "add", "--service", "http", "--from", "2100-01-01", "--until", "2100-01-02")
	run(" from 2100-01-01 00:00:00 until 2100-01-01 02:00:00", "silence", "add", "--service", "http", "--from", "2100-01-01", "--for", "2h")
	run("FAILED (silenced)", "status")
	run("silence 1 by ", "status", "web:http")
	run(`match web:*; at "0 2 * * sun" for 1h0m0s`, "silence", "list")
	out, _, _ := command("silence", "list", "--json", "-s", socket)
	var all []watch.SilenceView
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 4 || !all[0].Active || all[0].Why != "upgrade" || all[1].Cron == "" {
		t.Errorf("%v: %s", err, out)
	}
	run("silence 1: taken away", "silence", "rm", "1", "2", "3", "4")
	fails(1, `no silence "1"; there is none at all`, "silence", "rm", "1")
	for want, args := range map[string][]string{
		"say what it covers":                 {"--for", "2h"},
		"say when: ":                         {"--group", "web"},
		"--cron needs --for":                 {"--group", "web", "--cron", "@daily"},
		"is over before it begins":           {"--group", "web", "--until", "2001-01-01"},
		`--from: "noon" is no time`:          {"--group", "web", "--for", "2h", "--from", "noon"},
		"say when: --for 2h, or --until TIM": {"--group", "web", "--for", "2h", "--until", "15:00"},
	} {
		fails(2, want, append([]string{"silence", "add"}, args...)...)
	}
	fails(1, "no regular expression", "silence", "add", "--host", "(", "--for", "2h")
	fails(1, "no pattern", "silence", "add", "--match", "[", "--for", "2h")
	run("no silences", "silence", "list")
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"14:30":                time.Date(2026, 3, 2, 14, 30, 0, 0, time.Local),
		"12:00":                time.Date(2026, 3, 3, 12, 0, 0, 0, time.Local),
		"09:15":                time.Date(2026, 3, 3, 9, 15, 0, 0, time.Local),
		"2026-04-01 08:00":     time.Date(2026, 4, 1, 8, 0, 0, 0, time.Local),
		"2026-04-01T08:00":     time.Date(2026, 4, 1, 8, 0, 0, 0, time.Local),
		"2026-04-01T08:00:00Z": time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "25:00", "tomorrow", "14"} {
		if got, err := moment(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
