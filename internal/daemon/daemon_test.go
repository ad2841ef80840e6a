package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/monitors"

	_ "github.com/monitord/monitord/alerts/ipvs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is generous: these tests are about what happens, not how fast.
const patience = 30 * time.Second

func init() {
	monitors.Register("test-always", struct{}{}, func(struct{}, monitors.Site) (monitors.Monitor, error) {
		return monitors.EachHost(8, time.Second, func(context.Context, string, *monitors.Timings) error { return nil }), nil
	})
	monitors.Register("test-half", struct{}{}, func(struct{}, monitors.Site) (monitors.Monitor, error) {
		return monitors.EachHost(8, time.Second, func(_ context.Context, host string, _ *monitors.Timings) error {
			if strings.HasSuffix(host, ".3") {
				return errors.New("down")
			}
			return nil
		}), nil
	})
	monitors.Register("test-never", struct{}{}, func(struct{}, monitors.Site) (monitors.Monitor, error) { return never{}, nil })
	alerts.Register("test-nothing", struct{}{}, func(struct{}, alerts.Site) (alerts.Alert, error) { return nothing{}, nil })
}

// never tests nothing: no verdict comes of it.
type never struct{}

func (never) Check(ctx context.Context, _ monitors.Request) (monitors.Result, error) {
	<-ctx.Done()
	return monitors.Result{}, ctx.Err()
}

type nothing struct{}

func (nothing) Send(context.Context, alerts.Event) error { return nil }

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A fixture is a daemon in this process.
type fixture struct {
	t              *testing.T
	folder, socket string
	config         string
	hangup         chan os.Signal
	log            lockedBuffer
	stop           func() error
}

func newFixture(t *testing.T, text string) *fixture {
	t.Helper()
	// A socket's path has room for 107 bytes (unix(7)).
	folder, err := os.MkdirTemp("", "monitord") //nolint:usetesting // too long, see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	f := &fixture{t: t, folder: folder, socket: filepath.Join(folder, "s"), config: filepath.Join(folder, "m.toml"), hangup: make(chan os.Signal, 1)}
	f.write(text)
	return f
}

func (f *fixture) write(text string) {
	f.t.Helper()
	text = fmt.Sprintf("statedir = %q\nsocket = %q\n", f.folder, f.socket) + text
	if err := os.WriteFile(f.config, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) start() {
	f.t.Helper()
	log := logrus.New()
	log.SetOutput(&f.log)
	ctx, cancel := context.WithCancel(f.t.Context())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			ConfigFile: f.config, Log: log, Hangup: f.hangup, Version: "test",
			Started: func() { close(started) }, ConfigureLog: func(config.Log) error { return nil },
		})
	}()
	f.stop = func() error { cancel(); return <-done }
	select {
	case <-started:
	case err := <-done:
		f.t.Fatalf("the daemon did not start: %v", err)
	}
}

// eventually waits until a condition holds.
func (f *fixture) eventually(what string, holds func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	f.t.Fatalf("not within %s: %s\n%s", patience, what, f.log.String())
}

func (f *fixture) status() Status {
	f.t.Helper()
	var s Status
	if err := control.NewClient(f.socket).Status(f.t.Context(), &s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

const oneWatch = `
[hostgroups]
web = ["127.0.0.1"]
[[watch]]
group = "web"
service = "always"
interval = "100ms"
monitor = { type = "test-always" }
`

func freePort(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Addr().String()
}

func TestHangupBeforeTheStartIsServedAfterIt(t *testing.T) {
	f := newFixture(t, oneWatch)
	f.hangup <- syscall.SIGHUP
	f.start()
	f.eventually("the reload", func() bool { return strings.Contains(f.log.String(), "configuration reloaded") })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

func TestReloadOfABadFileChangesNothing(t *testing.T) {
	f := newFixture(t, oneWatch)
	f.start()
	f.write(oneWatch + "[[watch]]\ngroup = \"nowhere\"\n")
	f.hangup <- syscall.SIGHUP
	f.eventually("the complaint", func() bool { return strings.Contains(f.log.String(), "was not reloaded") })
	if n := len(f.status().Engine.Watches); n != 1 {
		t.Errorf("%d watches after a bad reload, want 1", n)
	}
	f.write("socket = \"/elsewhere\"\n" + strings.TrimPrefix(oneWatch, "\n"))
	if err := control.NewClient(f.socket).Reload(t.Context()); err == nil {
		t.Error("a duplicate key was accepted")
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestAnEndDuringTheStartIsNoFailure: SIGTERM may come at any time.
func TestAnEndDuringTheStartIsNoFailure(t *testing.T) {
	f := newFixture(t, oneWatch)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Options{ConfigFile: f.config, Log: logrus.New(), ConfigureLog: func(config.Log) error { return nil }}); err != nil {
		t.Errorf("ended during the start: %v", err)
	}
}

func TestASecondDaemonSaysSo(t *testing.T) {
	f := newFixture(t, oneWatch)
	f.start()
	err := Run(t.Context(), Options{ConfigFile: f.config, Log: logrus.New(), ConfigureLog: func(config.Log) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "in use by another monitord") {
		t.Errorf("a second daemon got %v", err)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestVirtualServiceWhosePortIsTaken: it is said, the rest goes on, and it is
// served when the port is free.
func TestVirtualServiceWhosePortIsTaken(t *testing.T) {
	taken, address := freePort(t)
	other, free := freePort(t)
	server, realAddress := freePort(t)
	defer func() { _ = server.Close() }()
	_ = other.Close()
	text := strings.Replace(oneWatch, `["127.0.0.1"]`, fmt.Sprintf("[%q]", realAddress), 1) + `
  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "a" }, { type = "ipvs", virtual = "b" }]
`
	for name, at := range map[string]string{"a": address, "b": free} {
		text += fmt.Sprintf("[[virtual]]\nname = %q\naddress = %q\nreal = [{ host = %q }]\n", name, at, realAddress)
	}
	f := newFixture(t, text)
	f.start()
	reachable := func(address string) bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}
	f.eventually("service b", func() bool { return reachable(free) })
	if !strings.Contains(f.log.String(), address) {
		t.Errorf("the taken port is not in the log:\n%s", f.log.String())
	}
	_ = taken.Close()
	f.eventually("service a", func() bool { return reachable(address) })
	f.eventually("both pools full", func() bool {
		s := f.status()
		return s.Virtuals[0].Up == 1 && s.Virtuals[1].Up == 1
	})
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// halfAlive has three servers, of which .3 is down.
const halfAlive = `
[hostgroups]
web = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
[[watch]]
group = "web"
service = "half"
interval = "1h"
monitor = { type = "test-half" }
  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "web" }]
[lvs]
backend = "record"
[[virtual]]
name = "web"
address = "127.0.0.1:80"
real = [{ host = "127.0.0.2" }, { host = "127.0.0.3" }, { host = "127.0.0.4" }]
`

// TestARestartForgetsNothing: a server that is down, and one that was drained,
// stay out when the daemon comes back, before anything is tested again.
func TestARestartForgetsNothing(t *testing.T) {
	f := newFixture(t, halfAlive)
	f.start()
	f.eventually("the first results", func() bool { return f.status().Virtuals[0].Up == 2 })
	if names, err := control.NewClient(f.socket).Drain(t.Context(), control.Order{Host: "127.0.0.4", Seconds: 3600}); err != nil || len(names) != 1 {
		t.Fatalf("drain: %v, %v", names, err)
	}
	want := pool(f.status())
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.write(strings.ReplaceAll(halfAlive, "test-half", "test-never"))
	f.start()
	if got := pool(f.status()); got != want {
		t.Errorf("after the restart %s, before %s", got, want)
	}
	var table Table
	if err := control.NewClient(f.socket).Table(t.Context(), &table); err != nil {
		t.Fatal(err)
	}
	if want := []string{"-A -t 127.0.0.1:80 -s wlc", "-a -t 127.0.0.1:80 -r 127.0.0.2:80 -g -w 1", "-a -t 127.0.0.1:80 -r 127.0.0.4:80 -g -w 0"}; !slices.Equal(table.Lines, want) || len(table.Difference) > 0 {
		t.Errorf("the table is %q, difference %q, want %q", table.Lines, table.Difference, want)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// pool writes who is in.
func pool(s Status) string {
	var b strings.Builder
	for _, r := range s.Virtuals[0].Servers {
		fmt.Fprint(&b, r.Host, " in ", r.In, " drained ", r.Drained != nil, "; ")
	}
	return b.String()
}

// TestReloadOfAnotherVirtualService: one that was renamed, and one that is new on a
// watch that is known, have their servers at once, though nobody tests for an hour.
func TestReloadOfAnotherVirtualService(t *testing.T) {
	f := newFixture(t, halfAlive)
	f.start()
	f.eventually("the first results", func() bool { return f.status().Virtuals[0].Up == 2 })
	want := pool(f.status())
	renamed := strings.ReplaceAll(halfAlive, `"ipvs", virtual = "web" }`, `"ipvs", virtual = "shop" }, { type = "ipvs", virtual = "new" }`)
	renamed = strings.Replace(renamed, `name = "web"`, `name = "shop"`, 1)
	renamed += "[[virtual]]\nname = \"new\"\naddress = \"127.0.0.1:81\"\nreal = [{ host = \"127.0.0.2\" }, { host = \"127.0.0.3\" }]\n"
	f.write(renamed)
	if err := control.NewClient(f.socket).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := pool(f.status()); got != want {
		t.Errorf("the renamed service has %s, before %s", got, want)
	}
	f.eventually("the new service's server", func() bool { return f.status().Virtuals[1].Up == 1 })
	if n := strings.Count(f.log.String(), " -d "); n > 0 {
		t.Errorf("%d servers were taken out meanwhile:\n%s", n, f.log.String())
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestOldStateCountsAsUnknown: with a state_age that has passed nobody is in before
// a test, while the operator's word stands.
func TestOldStateCountsAsUnknown(t *testing.T) {
	f := newFixture(t, halfAlive)
	f.start()
	f.eventually("the first results", func() bool { return f.status().Virtuals[0].Up == 2 })
	if _, err := control.NewClient(f.socket).Drain(t.Context(), control.Order{Host: "127.0.0.4", Seconds: 3600}); err != nil {
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	f.write("state_age = \"1us\"\n" + strings.ReplaceAll(halfAlive, "test-half", "test-never"))
	f.start()
	want := "127.0.0.2 in false drained false; 127.0.0.3 in false drained false; 127.0.0.4 in false drained true; "
	if got := pool(f.status()); got != want {
		t.Errorf("with an old state %s, want %s", got, want)
	}
	if n := strings.Count(f.log.String(), "too old"); n != 2 {
		t.Errorf("%d warnings about the old state, want one of the watches and one of the pools:\n%s", n, f.log.String())
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestWithoutAFolderForTheState: it is said, and everything else goes on.
func TestWithoutAFolderForTheState(t *testing.T) {
	f := newFixture(t, oneWatch)
	text, err := os.ReadFile(f.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.config, bytes.Replace(text, []byte(fmt.Sprintf("%q", f.folder)), []byte(`"/dev/null/state"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.eventually("a result", func() bool { return f.status().Engine.Watches[0].Runs > 0 })
	if !strings.Contains(f.log.String(), "the state cannot be kept") {
		t.Errorf("not said:\n%s", f.log.String())
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestDamagedStateIsSetAside: it is said, kept for who wants to look, and the
// daemon starts.
func TestDamagedStateIsSetAside(t *testing.T) {
	f := newFixture(t, halfAlive)
	f.start()
	f.eventually("the first results", func() bool { return f.status().Virtuals[0].Up == 2 })
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	damaged, err := filepath.Glob(filepath.Join(f.folder, "*.state"))
	if err != nil || len(damaged) < 2 {
		t.Fatalf("state files %v, %v", damaged, err)
	}
	for _, file := range damaged {
		if err := os.Truncate(file, 20); err != nil {
			t.Fatal(err)
		}
	}
	f.start()
	if n := strings.Count(f.log.String(), "set aside"); n != len(damaged) {
		t.Errorf("%d of %d damaged files were told of:\n%s", n, len(damaged), f.log.String())
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// TestBackendKernelWhereThereIsNone: one clear sentence, and never a false
// success. It needs a kernel without IPVS, which the other kind of machine shows
// in the kernel lab.
func TestBackendKernelWhereThereIsNone(t *testing.T) {
	if access, err := ipvs.Open(t.Context()); err == nil {
		_ = access.Close()
		return // the kernel lab's tests are for this machine
	}
	f := newFixture(t, "[lvs]\nbackend = \"kernel\"\n"+oneWatch)
	err := Run(t.Context(), Options{ConfigFile: f.config, Log: logrus.New(), ConfigureLog: func(config.Log) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "ip_vs") || !strings.Contains(err.Error(), "relay") {
		t.Errorf("without IPVS the daemon got %v", err)
	}
}
