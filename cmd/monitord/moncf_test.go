package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/debian"
)

// listenAgain listens at an address that was in use a moment ago.
func listenAgain(t *testing.T, address string) net.Listener {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// holds waits until a file holds a text so many times.
func holds(t *testing.T, d *process, file, text string, times int) string {
	t.Helper()
	var content []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		content, _ = os.ReadFile(file) // it is not there before the first alert
		if strings.Count(string(content), text) >= times {
			return string(content)
		}
	}
	t.Fatalf("%s does not hold %q %d times:\n%s\n%s", file, text, times, content, d.text())
	return ""
}

// debianCF is a mon.cf for the programs of Debian's package: ports of a TCP server
// and of a web server, and the folder for state and for the file of alerts.
func debianCF(root, folder, tcp, web string) string {
	return fmt.Sprintf(`# what mon has tested here for years
alertdir = %[1]s/usr/lib/mon/alert.d
mondir   = %[1]s/usr/lib/mon/mon.d
statedir = %[2]s
logdir   = %[2]s
pidfile  = %[2]s/mon.pid

hostgroup local 127.0.0.1

watch local
    service tcp
        description a port
        interval 1s
        monitor tcp.monitor -p %[3]s
        period wd {Sun-Sat}
            alert file.alert -d %[2]s alerts
            upalert file.alert -d %[2]s alerts
            alertevery 1h
    service http
        interval 1s
        monitor http.monitor -p %[4]s
        period
            alertafter 2
            alert file.alert -d %[2]s alerts
            numalerts 1
`, root, folder, tcp, web)
}

func port(l net.Listener) string {
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// TestEndToEndMonCF runs a mon.cf with Debian's own monitors and alerts, directly and
// imported: alerts go out by the unmodified file.alert when a server dies, and when
// it is back.
func TestEndToEndMonCF(t *testing.T) {
	root := debian.Tree(t, "mon")
	debian.Setenv(t, root)
	for _, way := range []string{"directly", "imported"} {
		t.Run(way, func(t *testing.T) {
			p := newPlace(t, "")
			tcp, web := listen(t), listen(t)
			pages := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })}
			go func() { _ = pages.Serve(web) }() // ends when the server is closed
			t.Cleanup(func() { _ = pages.Close() })
			cf := filepath.Join(p.folder, "mon.cf")
			text := debianCF(root, p.folder, port(tcp), port(web))
			if err := os.WriteFile(cf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			run := cf
			if way == "imported" {
				run = filepath.Join(p.folder, "imported.toml")
				if _, errs, exit := program(t, "import", "--mon", cf, "-o", run); exit != 0 || !strings.Contains(errs, "not carried:\n  line 6: pidfile") {
					t.Fatalf("import: exit %d, %s", exit, errs)
				}
			}
			if out, errs, exit := program(t, "check", "-c", run); exit != 0 || strings.Contains(out, "warning") || !strings.Contains(out, "ok, 2 watches") {
				t.Fatalf("check: exit %d, %s%s", exit, out, errs)
			}
			d := start(t, "run", "-c", run, "--socket", p.socket)
			d.waitFor("msg=started")
			out, errs, exit := program(t, "test", "monitor", "local:tcp", "-c", run)
			if exit != 0 {
				t.Errorf("test monitor: exit %d, %s%s", exit, out, errs)
			}
			playDebian(t, p, d, tcp, pages)
			if way == "directly" {
				reloadMonCF(t, p, d, cf, text)
			}
			d.signal(syscall.SIGTERM)
			d.wantEnd()
		})
	}
}

// playDebian lets both servers die and one come back.
func playDebian(t *testing.T, p place, d *process, tcp net.Listener, pages *http.Server) {
	t.Helper()
	alerts := filepath.Join(p.folder, "alerts")
	_ = tcp.Close()
	holds(t, d, alerts, "failure local tcp ", 1)
	_ = pages.Close()
	text := holds(t, d, alerts, "failure local http ", 1)
	if !strings.Contains(text, "DESCR=a port\n") || !strings.Contains(text, "OPSTATUS=0\n") || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("the file of alerts:\n%s", text)
	}
	listenAgain(t, tcp.Addr().String())
	text = holds(t, d, alerts, "up local tcp ", 1)
	if n := strings.Count(text, "failure local tcp "); n != 1 {
		t.Errorf("%d alerts of one outage with alertevery 1h:\n%s", n, text)
	}
}

// reloadMonCF: a mon.cf is read again as any configuration is.
func reloadMonCF(t *testing.T, p place, d *process, cf, text string) {
	t.Helper()
	write := func(text string) {
		if err := os.WriteFile(cf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(text, "alertafter 2", "alertafer 2", 1))
	if _, errs, exit := program(t, "reload", "-s", p.socket); exit != 1 || !strings.Contains(errs, "mon.cf:23:13: mon refuses this: unknown syntax [alertafer 2]") || !strings.Contains(errs, "stays in force") {
		t.Errorf("reload of a bad mon.cf: exit %d, %s", exit, errs)
	}
	write(strings.Replace(text, "description a port", "description another port", 1))
	d.signal(syscall.SIGHUP)
	d.waitFor("configuration reloaded")
	if s := p.status(t); len(s.Engine.Watches) != 2 {
		t.Errorf("after the reload: %+v", s.Engine.Watches)
	}
}

// TestEndToEndImport: the command's flags, outputs and exit status.
func TestEndToEndImport(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("mon.cf", "pidfile = /run/mon.pid\n\n# the web\nhostgroup web w1\n\nwatch web\n service http\n  interval 1m\n  monitor http.monitor\n  period\n   alert mail.alert a@example.org\n")
	bad := file("bad.cf", "hostgroup web w1\n\nwatch web\n service http\n  intervall 1m\n")
	idle := file("idle.cf", "# nothing\nhostgroup web w1\n")
	there := file("there.toml", "precious\n")
	toml := filepath.Join(folder, "out.toml")
	night := file("night.txt", "start 2026-11-22 01:00\nend +60m\n")
	for _, tc := range []struct {
		args      string
		exit      int
		out, errs string
	}{
		{"import --mon " + good, 0, "# the web\nweb = [\"w1\"]", "not carried:\n  line 1: pidfile"},
		{"import --mon " + good, 0, "compat = \"mon\"", "carried as they are: lines 3-4, 6-11"},
		{"import --mon " + good + " -o " + toml, 0, "", "not carried:"},
		{"check -c " + toml, 0, "ok, 1 watch", ""},
		{"check -c " + good, 0, "mon.cf:9:3: program: no program \"http.monitor\"", ""},
		{"simulate -c " + good + " --results " + night, 0, "60 checks", ""},
		{"import --mon " + good + " -o " + there, 1, "", "there.toml is there already: write --force to overwrite it"},
		{"import --mon " + good + " -o " + folder + "/no/where", 1, "", "no such file"},
		{"import --mon " + bad, 1, "", "bad.cf:5:3: mon refuses this: unknown syntax [intervall 1m]: did you mean \"interval\"?"},
		{"import --mon " + idle, 1, "[hostgroups]", "idle.cf:1:1: nothing is watched in this file"},
		{"import --mon " + folder + "/nowhere.cf", 1, "", "nowhere.cf: no such file"},
		{"import", 2, "", "--mon FILE"},
		{"import " + good, 2, "", "write --mon " + good},
		{"import --mon " + good + " " + bad, 2, "", "import takes one file"},
		{"import --mon " + good + " -o " + folder + " --force", 1, "", "no file that could be overwritten"},
		{"import --mon " + good + " -o -", 0, "compat = \"mon\"", "not carried:"},
		{"import --mon " + good + " --json -o " + there + " --force", 0, `"fate": "not carried"`, ""},
		{"check -c " + there, 0, "ok, 1 watch", ""},
	} {
		out, errs, exit := program(t, strings.Fields(tc.args)...)
		if exit != tc.exit || !strings.Contains(out, tc.out) || !strings.Contains(errs, tc.errs) {
			t.Errorf("monitord %s: exit %d, want %d\nstdout %s\nstderr %s", tc.args, exit, tc.exit, out, errs)
		}
	}
	private(t, folder, toml, there)
	out, _, _ := program(t, "import", "--mon", good, "--json")
	var report struct {
		File  string
		TOML  string
		Lines []struct {
			Line int
			Fate string
			TOML []int
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.File != good || len(report.Lines) != 9 || !strings.Contains(report.TOML, "compat") {
		t.Errorf("the report as JSON: %v\n%s", err, out)
	}
}

// private: what is made of a mon.cf that only its owner reads is read by nobody else,
// and a file is replaced as a whole, where a link points to.
func private(t *testing.T, folder, made, there string) {
	t.Helper()
	link := filepath.Join(folder, "link.toml")
	if err := errors.Join(os.Symlink(there, link), os.Chmod(there, 0o644)); err != nil { //nolint:gosec // to see it become less
		t.Fatal(err)
	}
	if _, errs, exit := program(t, "import", "--mon", filepath.Join(folder, "mon.cf"), "-o", link, "--force"); exit != 0 {
		t.Fatalf("exit %d, %s", exit, errs)
	}
	for _, path := range []string{made, there} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, ".*.toml.*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}
