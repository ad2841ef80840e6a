package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
)

// The test binary is the daemon when this is set: the tests run the program
// itself, with its plugins, signals and exit status.
const asProgram = "MONITORD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is generous: these tests are about what happens, not how fast.
const patience = 30 * time.Second

// program runs it to its end.
func program(t *testing.T, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	return programWithin(t, patience, args...)
}

func programWithin(t *testing.T, limit time.Duration, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// A place is a folder with a configuration.
type place struct {
	folder, config, socket string
}

func newPlace(t *testing.T, config string) place {
	t.Helper()
	// A socket's path has room for 107 bytes (unix(7)); t.TempDir is too long.
	folder, err := os.MkdirTemp("", "monitord") //nolint:usetesting // too long, see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := place{folder: folder, config: filepath.Join(folder, "m.toml"), socket: filepath.Join(folder, "m.sock")}
	p.write(t, config)
	return p
}

func (p place) write(t *testing.T, config string) {
	t.Helper()
	text := fmt.Sprintf("statedir = %q\nlogdir = %q\nsocket = %q\n%s", p.folder, p.folder, p.socket, config)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A process is a daemon in the background.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
	// seen is closed and replaced whenever the log grows.
	seen chan struct{}
	end  chan struct{}
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.Write(b)
	close(p.seen)
	p.seen = make(chan struct{})
	return len(b), nil
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, func(p *process) { p.cmd.Stderr = p }, args...)
}

// launch starts a daemon after change was made to it.
func launch(t *testing.T, change func(*process), args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), seen: make(chan struct{}), end: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	change(p)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit status is read from ProcessState
		close(p.end)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // nothing to do if it has ended
		<-p.end
	})
	return p
}

// waitFor waits until the log holds the text.
func (p *process) waitFor(text string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		have, seen := strings.Contains(p.log.String(), text), p.seen
		p.mu.Unlock()
		if have {
			return
		}
		select {
		case <-seen:
		case <-p.end:
			p.t.Fatalf("the daemon ended without saying %q:\n%s", text, p.text())
		case <-deadline:
			p.t.Fatalf("no %q in the log:\n%s", text, p.text())
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wantEnd waits for the daemon to end by itself, well.
func (p *process) wantEnd() {
	p.t.Helper()
	select {
	case <-p.end:
	case <-time.After(patience):
		p.t.Fatalf("the daemon does not end:\n%s", p.text())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != 0 {
		p.t.Errorf("exit status %d, want 0:\n%s", got, p.text())
	}
}

// site is a watch of one server, at an address that the caller listens on or not.
func site(address string) string {
	return fmt.Sprintf(`
[hostgroups]
web = [%q]
[[watch]]
group = "web"
service = "tcp"
interval = "100ms"
monitor = { type = "tcp", timeout = "1s" }
`, address)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (p place) status(t *testing.T) daemon.Status {
	t.Helper()
	out, errs, exit := program(t, "status", "--json", "-s", p.socket)
	if exit != 0 {
		t.Fatalf("status: exit %d: %s", exit, errs)
	}
	var s daemon.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("status: %v in %s", err, out)
	}
	return s
}

func TestEndToEndDaemon(t *testing.T) {
	l := listen(t)
	p := newPlace(t, site(l.Addr().String()))
	d := start(t, "run", "-c", p.config)
	d.waitFor("msg=started")
	_ = l.Close()
	d.waitFor("msg=down")
	if s := p.status(t); s.Engine.Watches[0].State != "failed" || s.Engine.Watches[0].Hosts[0].State != "down" {
		t.Errorf("status: %+v", s.Engine.Watches[0])
	}
	if out, errs, exit := program(t, "status", "-s", p.socket, "web:tcp"); exit != 0 || !strings.Contains(out, "refused") {
		t.Errorf("status web:tcp: exit %d, %s%s", exit, out, errs)
	}
	if _, errs, exit := program(t, "status", "-s", p.socket, "web:htp"); exit != 1 || !strings.Contains(errs, "there are web:tcp") {
		t.Errorf("status of a watch that is not there: exit %d, %s", exit, errs)
	}

	// A second daemon on the same folder, or with another folder on the same
	// socket, says so and ends.
	if _, errs, exit := program(t, "run", "-c", p.config); exit != 1 || !strings.Contains(errs, "in use by another monitord") {
		t.Errorf("a second daemon: exit %d, %s", exit, errs)
	}
	other := filepath.Join(p.folder, "other.toml")
	if err := os.WriteFile(other, []byte(fmt.Sprintf("statedir = %q\nsocket = %q\n%s", p.folder+"/other", p.socket, site(l.Addr().String()))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, exit := program(t, "run", "-c", other); exit != 1 || !strings.Contains(errs, "another daemon answers") {
		t.Errorf("a second daemon: exit %d, %s", exit, errs)
	}

	// A bad configuration changes nothing; the state survives a good one.
	p.write(t, site(l.Addr().String())+"\nnonsense = 1\n")
	if _, errs, exit := program(t, "reload", "-s", p.socket); exit != 1 || !strings.Contains(errs, "nonsense") || !strings.Contains(errs, "stays in force") {
		t.Errorf("reload of a bad file: exit %d, %s", exit, errs)
	}
	results := p.status(t).Engine.Watches[0].Runs
	p.write(t, site(l.Addr().String())+"\n[log]\nlevel = \"debug\"\n")
	d.signal(syscall.SIGHUP)
	d.waitFor("configuration reloaded")
	if s := p.status(t).Engine.Watches[0]; s.State != "failed" || s.Runs < results {
		t.Errorf("after the reload: %+v", s)
	}
	d.signal(syscall.SIGTERM)
	d.wantEnd()
	if _, errs, exit := program(t, "status", "-s", p.socket); exit != 1 || !strings.Contains(errs, "no daemon answers") {
		t.Errorf("status without a daemon: exit %d, %s", exit, errs)
	}
}

// TestEndToEndHangupDuringStart sends SIGHUPs as soon as the daemon shows itself,
// which is before it has started: they must not end it, and must be served.
func TestEndToEndHangupDuringStart(t *testing.T) {
	p := newPlace(t, site(listen(t).Addr().String()))
	d := start(t, "run", "-c", p.config)
	appears(t, p.socket)
	for range 20 {
		d.signal(syscall.SIGHUP)
	}
	d.waitFor("configuration reloaded")
	d.signal(syscall.SIGTERM)
	d.wantEnd()
}

// appears waits for a file.
func appears(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	t.Fatalf("%s does not appear", file)
}

// TestEndToEndHangingMonitor: SIGTERM does not wait for a monitor that hangs.
// TestEndToEndTestMonitor: what a program repeats of what a host said is for people, and
// not for their terminal.
func TestEndToEndTestMonitor(t *testing.T) {
	p := newPlace(t, `
hostgroups = { web = ["w1", "w2"] }

[[watch]]
group    = "web"
service  = "banner"
interval = "1m"
monitor  = { type = "exec", program = "./banner.monitor" }
`)
	monitor := filepath.Join(p.folder, "banner.monitor")
	if err := os.WriteFile(monitor, []byte("#!/bin/sh\nprintf 'w2\\nsaid \\033[2J\\033]0;x\\007\\000\\377hello\\n'\nexit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Chdir(p.folder)
	out, _, exit := program(t, "test", "monitor", "web:banner", "-c", p.config)
	if want := "exit status 1, output:\nw2\nsaid [2J]0;x\uFFFDhello\n1 of 2 up"; exit != 1 || !strings.Contains(out, want) {
		t.Errorf("exit %d, %q; want %q", exit, out, want)
	}
}

func TestEndToEndHangingMonitor(t *testing.T) {
	p := newPlace(t, "")
	script := filepath.Join(p.folder, "hang.monitor")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntrap '' TERM\necho started >&2\n: >"+p.folder+"/running\nsleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write(t, fmt.Sprintf("[hostgroups]\nweb = [\"w1\"]\n[[watch]]\ngroup = \"web\"\nservice = \"x\"\ninterval = \"100ms\"\nmonitor = { type = \"exec\", program = %q }\n", script))
	d := start(t, "run", "-c", p.config)
	d.waitFor("msg=started")
	appears(t, filepath.Join(p.folder, "running"))
	began := time.Now()
	d.signal(syscall.SIGTERM)
	d.wantEnd()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the end took %s", took)
	}
}

// TestEndToEndTwoDaemonsOneFolder: the second is told who was first and what to do,
// with the same socket and with one of its own, and the first goes on undisturbed.
func TestEndToEndTwoDaemonsOneFolder(t *testing.T) {
	p := newPlace(t, site(listen(t).Addr().String()))
	d := start(t, "run", "-c", p.config)
	d.waitFor("msg=started")
	before := p.status(t)
	other := filepath.Join(p.folder, "other.toml")
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, bytes.Replace(text, []byte("m.sock"), []byte("other.sock"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("the folder %s is in use by another monitord, process %d: end that one, or give each its own \"statedir\"", p.folder, d.cmd.Process.Pid)
	for _, config := range []string{p.config, other} {
		if _, errs, exit := program(t, "run", "-c", config); exit != 1 || !strings.Contains(errs, want) {
			t.Errorf("run -c %s: exit %d, %s", config, exit, errs)
		}
	}
	if after := p.status(t); after.PID != before.PID || !after.Started.Equal(before.Started) {
		t.Errorf("another daemon answers: %+v", after)
	}
	if _, err := os.Stat(filepath.Join(p.folder, "other.sock")); err == nil {
		t.Error("the second left a socket")
	}
	d.signal(syscall.SIGTERM)
	d.wantEnd()
	if strings.Contains(d.text(), "cannot be saved") || strings.Contains(d.text(), "was not saved") {
		t.Errorf("the first was disturbed:\n%s", d.text())
	}
	d = start(t, "run", "-c", p.config)
	d.waitFor("the saved state is taken up")
	d.signal(syscall.SIGTERM)
	d.wantEnd()
}

// TestEndToEndKill: after kill -9 the daemon goes on where it was: a server that
// is down and one that was drained stay out, before anything was tested again.
func TestEndToEndKill(t *testing.T) {
	good, bad := listen(t), listen(t)
	_ = bad.Close()
	text := fmt.Sprintf(`
[hostgroups]
web = [%[1]q, %[2]q]
[[watch]]
group = "web"
service = "tcp"
interval = "100ms"
monitor = { type = "tcp", timeout = "1s" }
  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web" }]
[lvs]
backend = "record"
[[virtual]]
name = "web"
address = "10.0.0.1:80"
forward = "nat"
real = [{ host = %[1]q, forward = "nat" }, { host = %[2]q, forward = "nat" }]
`, good.Addr(), bad.Addr())
	p := newPlace(t, text)
	d := start(t, "run", "-c", p.config)
	d.waitFor("pool told")
	if out, errs, exit := program(t, "ipvs", "--save", "-s", p.socket); exit != 0 || !strings.Contains(out, "-r "+good.Addr().String()+" -m -w 1") || strings.Contains(out, bad.Addr().String()) {
		t.Errorf("ipvs --save: exit %d, %s%s", exit, out, errs)
	}
	if out, errs, exit := program(t, "drain", good.Addr().String(), "--for", "1h", "-s", p.socket); exit != 0 || !strings.Contains(out, "leaves web") {
		t.Errorf("drain: exit %d, %s%s", exit, out, errs)
	}
	if _, errs, exit := program(t, "drain", "10.9.9.9", "-s", p.socket); exit != 1 || !strings.Contains(errs, "is no real server here") {
		t.Errorf("drain of a stranger: exit %d, %s", exit, errs)
	}
	d.signal(syscall.SIGKILL)
	<-d.end
	p.write(t, strings.Replace(text, "100ms", "1h", 1)+"\n")
	d = start(t, "run", "-c", p.config)
	d.waitFor("msg=started")
	if out, errs, exit := program(t, "ipvs", "--save", "-s", p.socket); exit != 0 || !strings.Contains(out, "-r "+good.Addr().String()+" -m -w 0") || strings.Contains(out, bad.Addr().String()) {
		t.Errorf("after kill -9, ipvs --save: exit %d, %s%s\n%s", exit, out, errs, d.text())
	}
	if out, errs, exit := program(t, "undrain", good.Addr().String(), "-s", p.socket); exit != 0 || !strings.Contains(out, "is back in web") {
		t.Errorf("undrain: exit %d, %s%s", exit, out, errs)
	}
	if out, errs, exit := program(t, "ipvs", "-s", p.socket); exit != 0 || !strings.Contains(out, "no difference") {
		t.Errorf("ipvs: exit %d, %s%s", exit, out, errs)
	}
	d.signal(syscall.SIGTERM)
	d.wantEnd()
}

func TestEndToEndCommandLine(t *testing.T) {
	p := newPlace(t, site(listen(t).Addr().String()))
	bad := newPlace(t, site("127.0.0.1:1")+"intervall = \"5s\"\n")
	two := newPlace(t, `[cluster]
node = [{ name = "dr1", address = ["10.0.0.11"] }, { name = "dr2", address = ["10.0.0.12"] }]
[fence]
gateway = ["10.0.0.1"]
[[group]]
name = "web-vip"
`+site("127.0.0.1:1"))
	for _, tc := range []struct {
		args      string
		exit      int
		out, errs string
	}{
		{"check -c " + two.config, 0, "dead time + 2 ticks", ""},
		{"run -c " + two.config, 1, "", "start with --node NAME"},
		{"check -c " + p.config, 0, "ok, 1 watch, 0 virtual services", ""},
		{"check -c " + bad.config, 1, "", "did you mean"},
		{"check -c " + p.folder + "/nowhere.toml", 1, "", "nowhere.toml"},
		{"test monitor web:tcp -c " + p.config, 0, "(connect ", ""},
		{"test monitor web:tcp -c " + p.config, 0, "1 of 1 up", ""},
		{"test monitor web:tpc -c " + p.config, 1, "", "there are web:tcp"},
		{"test alert web:tcp -c " + p.config, 1, "", "no such alert"},
		{"ipvs --dry-run -c ../../etc/lvs-dr.toml", 0, "-a -t 10.2.0.100:80 -r 10.2.0.22:80 -g -w 3", "as if every real server were up"},
		{"ipvs --save --stats", 2, "", "--help"},
		{"ipvs -s " + p.socket + " -c " + bad.config, 1, "", "did you mean"},
		{"drain", 2, "", "--help"},
		{"drain web1 -s " + p.socket, 1, "", "no daemon answers"},
		{"version", 0, "monitord", ""},
		{"--help", 0, "monitord check", ""},
		{"completion bash", 0, "complete", ""},
		{"chekc", 2, "", "chekc"},
		{"check --confg x", 2, "", "--help"},
		{"check stray", 2, "", "stray"},
	} {
		out, errs, exit := program(t, strings.Fields(tc.args)...)
		if exit != tc.exit || !strings.Contains(out, tc.out) || !strings.Contains(errs, tc.errs) {
			t.Errorf("monitord %s: exit %d, want %d\nstdout %s\nstderr %s", tc.args, exit, tc.exit, out, errs)
		}
	}
}

// TestEndToEndEveryExample checks each file under etc, and the configuration in
// the README, alone and with what is told there of two directors.
func TestEndToEndEveryExample(t *testing.T) {
	files, err := filepath.Glob("../../etc/*.toml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for after := range strings.SplitSeq(string(readme), "```toml\n") {
		example, _, _ := strings.Cut(after, "```")
		examples = append(examples, example)
	}
	if examples = examples[1:]; len(examples) != 2 {
		t.Fatalf("%d examples in the README, want two", len(examples))
	}
	files = append(files, newPlace(t, examples[0]).config, newPlace(t, examples[0]+examples[1]).config)
	for _, file := range files {
		out, errs, exit := program(t, "check", "-c", file)
		for line := range strings.Lines(out) {
			// Of this machine, not of the example.
			if strings.Contains(line, "warning") && !strings.Contains(line, "is on no network of this machine") && !strings.Contains(line, "as root monitord would not run it") && !strings.Contains(line, "cluster.key is not here, on none of the nodes") {
				exit = 1
			}
		}
		if exit != 0 {
			t.Errorf("%s: exit %d\n%s%s", file, exit, out, errs)
		}
	}
}

// TestEndToEndDemo plays what "make demo" does: its script has the bounds, and fails
// if two directors held the address at any instant.
func TestEndToEndDemo(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	out, errs, exit := programWithin(t, 3*patience, "lab", "-c", "../../etc/demo.toml", "--script", "../../etc/demo.faults")
	if exit != 0 {
		t.Errorf("exit %d: %s\n%s", exit, errs, out)
	}
	_, table, _ := strings.Cut(out, "two owners ms")
	for _, fault := range []string{"web2 fail", "dr1 kill9", "dr2 freeze", "dr1 pull", "dr1 partition", "switchover dr1", "dr1 stop"} {
		if !strings.Contains(table, fault) {
			t.Errorf("the table has no %q:\n%s", fault, out)
		}
	}
}
