package config

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

// TestValid reads each file of testdata/valid and compares the warnings with the
// .txt beside it, which -update writes.
func TestValid(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.toml")
	if err != nil || len(files) < 5 {
		t.Fatalf("only %d files in testdata/valid (%v)", len(files), err)
	}
	for name, mode := range map[string]os.FileMode{"secret": 0o600, "open-secret": 0o644} { // git does not keep it
		if err := os.Chmod("testdata/valid/conf.d/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			site := load(t, file)
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			got := site.Warnings.Error()
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func load(t *testing.T, file string) *Site {
	t.Helper()
	site, err := Load(file, testHost())
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// siteFile makes a file in a folder of its own.
func siteFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestGlobal(t *testing.T) {
	site := load(t, "testdata/valid/full.toml")
	base, err := filepath.Abs("testdata/valid")
	if err != nil {
		t.Fatal(err)
	}
	want := Global{
		StateDir: "/home/monitord/state", LogDir: base + "/log", ConfigDir: base,
		AlertDir: []string{base + "/alert.d"}, MonDir: []string{base + "/mon.d"},
		MaxProcs: 20, MaxChecks: 200, RandStart: 3 * time.Second, ExcludePeriod: site.ExcludePeriod,
		DepRecurLimit: 5, StartupAlertsOnReset: true, HistLength: 10, Socket: "/run/x.sock", StateAge: time.Hour,
		Log:          Log{Level: "debug", Format: "json"},
		HistoricFile: base + "/log/history.log", HistoricTime: 2 * time.Hour, DTLogFile: "/var/log/down.log",
	}
	if diff := cmp.Diff(want, site.Global); diff != "" {
		t.Errorf("global section (-want +got):\n%s", diff)
	}
	if got := site.ExcludePeriod.String(); got != "wd {Sun} hr {3am}" {
		t.Errorf("exclude_period is %q", got)
	}
	groups := map[string][]string{
		"web": {"10.0.0.1", "10.0.0.2:81", "web3.example.org"}, "gateway": {"10.0.0.254"}, "db": {"10.0.1.1"},
	}
	if diff := cmp.Diff(groups, site.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	files := []string{
		"testdata/valid/full.toml", "testdata/valid/conf.d/10-gateway.toml",
		"testdata/valid/conf.d/20-db.toml", "testdata/valid/conf.d/20-db/hosts.inc",
	}
	if diff := cmp.Diff(files, site.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if site.LVS.Backend != "record" || len(site.Virtuals) != 1 || site.Virtuals[0].Reals[1].Port != 81 {
		t.Errorf("virtual services: %+v %+v", site.LVS, site.Virtuals)
	}
	if diff := cmp.Diff(map[string][]string{"web": {"web:http"}}, site.Followers); diff != "" {
		t.Errorf("followers (-want +got):\n%s", diff)
	}
}

func TestGlobalDefaults(t *testing.T) {
	file := siteFile(t, "[hostgroups]\na = 'b'\n[[watch]]\ngroup = 'a'\nservice = 's'\ntraptimeout = '1m'\n")
	want := Global{
		StateDir: "/var/lib/monitord", LogDir: "/var/log/monitord", ConfigDir: filepath.Dir(file),
		AlertDir: []string{"/etc/monitord/alert.d", "/usr/lib/mon/alert.d", "/usr/local/lib/mon/alert.d"},
		MonDir:   []string{"/etc/monitord/mon.d", "/usr/lib/mon/mon.d", "/usr/local/lib/mon/mon.d"},
		MaxProcs: 50, MaxChecks: 500, DepRecurLimit: 10, HistLength: 100,
		Socket: "/run/monitord/monitord.sock", StateAge: time.Hour, Log: Log{Level: "info", Format: "auto"},
	}
	got := load(t, file)
	if !got.ExcludePeriod.Contains(time.Now()) || got.ExcludePeriod.String() != "" {
		t.Errorf("exclude_period is %q, want the zero value", got.ExcludePeriod)
	}
	want.ExcludePeriod = got.ExcludePeriod
	if diff := cmp.Diff(want, got.Global); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if w := got.Watches[0]; w.Monitor != nil || w.MonitorKind != "" || w.Interval != 0 || w.Cron != nil || w.Timeout != 0 || w.TrapTimeout != time.Minute {
		t.Errorf("a watch that lives by traps: %+v", w)
	}
}

func find(t *testing.T, s *Site, key string) *Watch {
	t.Helper()
	for i := range s.Watches {
		if s.Watches[i].Key.String() == key {
			return &s.Watches[i]
		}
	}
	t.Fatalf("there is no watch %s", key)
	return nil
}

func TestWatch(t *testing.T) {
	site := load(t, "testdata/valid/full.toml")
	w := find(t, site, "web:http")
	type plain struct {
		Description, Kind                         string
		Env, Hosts, Excluded                      []string
		Interval, Failing, Skew, Timeout          time.Duration
		TrapTimeout, TrapDuration, Memory         time.Duration
		Fall, Rise                                int
		Program, NoHosts, AllowEmpty, Unack, Cron bool
		Scope                                     watch.Scope
		Behavior                                  watch.Behavior
		Excluding                                 string
		Depend, Alert, Monitor, Host              string
	}
	got := plain{
		w.Description, w.MonitorKind, w.Env, w.Hosts, w.ExcludeHosts, w.Interval, w.FailureInterval, w.RandSkew, w.Timeout,
		w.TrapTimeout, w.TrapDuration, w.Depend.Memory, w.Fall, w.Rise, w.IsProgram, w.NoHosts, w.AllowEmptyGroup, w.UnackSummary, w.Cron != nil,
		w.Scope, w.Depend.Behavior, w.ExcludePeriod.String(), w.Depend.On.String(), w.Depend.Alert.String(), w.Depend.Monitor.String(), w.Depend.Host.String(),
	}
	want := plain{
		Description: "the web, ${not} a variable, ^[a-z]+$ no variable either", Kind: "test-probe",
		Env: []string{"A_1=", "NAME=value"}, Hosts: []string{"10.0.0.1", "10.0.0.2:81", "web3.example.org"}, Excluded: []string{"web3.example.org"},
		Interval: 5 * time.Second, Failing: time.Second, Skew: 2 * time.Second, Timeout: 20 * time.Second,
		TrapTimeout: time.Hour, TrapDuration: 24 * time.Hour, Fall: 3, Rise: 2, AllowEmpty: true,
		Scope: watch.ScopeHost, Behavior: watch.SuppressAlerts, Excluding: "hr {4am}",
		Depend: "gateway:ping && !web:cron", Alert: "gateway:ping", Host: "gateway:ping",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("watch (-want +got):\n%s", diff)
	}
}

func TestActionsAreUnique(t *testing.T) {
	w := Watch{Actions: map[string]alerts.Alert{}}
	for _, want := range []string{"mail a", "mail a #2", "mail a #3"} {
		id := w.newAction("mail a")
		if id != want {
			t.Errorf("got %q, want %q", id, want)
		}
		w.Actions[id] = nil
	}
}

func TestMonitorKeys(t *testing.T) {
	m := find(t, load(t, "testdata/valid/full.toml"), "web:http").Monitor.(probe)
	got := fmt.Sprintf("%v %v %v %v %v %v %v %v %v %v %v %v %s", m.Path, m.Port, m.Status, m.Timeout, m.Pause, m.Ratio, *m.Weight, m.Follow, m.Source, m.Headers, m.TLS, m.Steps, m.Password.Reveal())
	want := "/healthz 8080 [200 204] 3s 1ms 1 7 true ::1 map[Host:x] {y 14} [{a} {b}] from the environment"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPeriods(t *testing.T) {
	w := find(t, load(t, "testdata/valid/full.toml"), "web:http")
	type plain struct {
		Name, When  string
		After       watch.AlertAfter
		Every       watch.AlertEvery
		Num         int
		UpAfter     time.Duration
		Comp, Count bool
		Exit        string
		Actions     []string
	}
	var got []plain
	for _, p := range w.Periods {
		one := plain{p.Name, p.When.String(), p.AlertAfter, p.AlertEvery, p.NumAlerts, p.UpAlertAfter, p.NoCompAlerts, p.AlertsDontCount, "", nil}
		if p.ExitRange != nil {
			one.Exit = p.ExitRange.String()
		}
		for _, list := range [][]watch.Action{p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts} {
			for _, a := range list {
				text := a.ID + " = " + a.Name
				if a.Exit != nil {
					text += " exit " + a.Exit.String()
				}
				if a.Follows {
					text += " follows"
				}
				if w.Actions[a.ID] == nil {
					text += " LOST"
				}
				one.Actions = append(one.Actions, text)
			}
		}
		got = append(got, one)
	}
	want := []plain{
		{Actions: []string{"web:http//alert/test-follow web = test-follow web follows"}},
		{
			Name: "office", When: "wd {Mon-Fri} hr {7am-9pm}", After: watch.AlertAfter{Consecutive: 6}, Every: watch.AlertEvery{Interval: time.Hour},
			Num: 24, UpAfter: 5 * time.Minute, Comp: true, Count: true, Exit: "1-3",
			Actions: []string{
				"web:http/office/alert/test-note ops dev = test-note ops dev exit 2", "web:http/office/alert/exec sms.alert +49 1 = exec sms.alert +49 1",
				"web:http/office/upalert/test-note ops dev = test-note ops dev", "web:http/office/startupalert/test-note a = test-note a",
				"web:http/office/ackalert/test-note b = test-note b", "web:http/office/disablealert/test-note c = test-note c",
			},
		},
		{
			Name: "none", When: "none", After: watch.AlertAfter{Count: 6, Within: 5 * time.Minute}, Every: watch.AlertEvery{Interval: time.Hour, Compare: watch.Strict},
			Actions: []string{"web:http/none/alert/test-note d = test-note d"},
		},
		{
			Name: "long", After: watch.AlertAfter{Consecutive: 2, Within: 10 * time.Minute}, Every: watch.AlertEvery{Interval: 2 * time.Hour, Compare: watch.CompareDetail},
			Actions: []string{"web:http/long/alert/test-note e = test-note e"},
		},
		{
			Name: "time", After: watch.AlertAfter{Within: 30 * time.Second}, Every: watch.AlertEvery{Interval: 2 * time.Hour},
			Actions: []string{"web:http/time/alert/test-note f = test-note f"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	if w.Redistribute == nil || w.Redistribute.Name != "test-note everybody" || w.Actions[w.Redistribute.ID] == nil {
		t.Errorf("redistribute is %+v", w.Redistribute)
	}
	if key := w.Actions["web:http/office/upalert/test-note ops dev"].(note).Key.Reveal(); key != "s3cret\n" {
		t.Errorf("the secret of a file is %q, want it without its last newline only", key)
	}
}

func TestOtherWatches(t *testing.T) {
	site := load(t, "testdata/valid/full.toml")
	w := find(t, site, "web:cron")
	at := time.Date(2026, 7, 1, 12, 1, 0, 0, time.UTC)
	if next := w.Cron.Next(at); !next.Equal(at.Add(4 * time.Minute)) {
		t.Errorf("cron: after %s comes %s", at, next)
	}
	if _, ok := w.Cron.(*cron.SpecSchedule); !ok {
		t.Errorf("cron is a %T", w.Cron)
	}
	if !w.IsProgram || !w.NoHosts || w.Scope != watch.ScopeGroup || w.Timeout != 130*time.Second || w.Depend.Monitor.String() != "gateway:ping" {
		t.Errorf("web:cron: %+v", w)
	}
	if w.Depend.Memory != time.Minute || !w.UnackSummary || w.Depend.Behavior != watch.SuppressMonitor {
		t.Errorf("the global defaults do not reach web:cron: %+v", w)
	}
	if w := find(t, site, "gateway:ping"); w.Timeout != 90*time.Second || w.Fall != 1 || w.Rise != 1 || w.Scope != watch.ScopeHost || !w.ExcludePeriod.Contains(at) {
		t.Errorf("gateway:ping: %+v", w)
	}
	if m := find(t, site, "db:tcp").Monitor.(probe); m.Password.Reveal() != "s3cret\n" {
		t.Errorf("password_file beside an included file: %q", m.Password.Reveal())
	}
}

func TestCompat(t *testing.T) {
	site := load(t, "testdata/valid/compat.toml")
	w := find(t, site, "10.0.0.1:ping")
	if !site.Compat || !w.Compat || len(w.Hosts) != 1 || w.Hosts[0] != "10.0.0.1" {
		t.Errorf("compat: %+v", w)
	}
	missing := w.Periods[0].Alerts[0]
	if !missing.Missing || missing.Name != "exec gone.alert -x" || w.Actions[missing.ID] != nil {
		t.Errorf("a missing program: %+v", missing)
	}
	if w.Depend.Alert.Empty() || len(w.Depend.Alert.Refs()) != 0 {
		t.Errorf("a broken expression: %+v", w.Depend.Alert)
	}
}

func TestFingerprint(t *testing.T) {
	text := "[hostgroups]\na = ['h', 'i']\nb = ['j']\n[[watch]]\ngroup = 'a'\nservice = 's'\ninterval = '1m'\nmonitor = { type = 'test-probe', path = '/' }\nperiod = { alert = { type = 'test-note', to = 'x', key_file = 'key' } }\n[[watch]]\ngroup = 'b'\nservice = 't'\ntraptimeout = '1m'\n"
	file := siteFile(t, text)
	key := filepath.Join(filepath.Dir(file), "key")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(key, "one")
	first := load(t, file).Watches[0].Fingerprint
	tests := []struct {
		name, old, new string
		same           bool
	}{
		{"nothing", "x", "x", true},
		{"a comment and blanks", "[[watch]]\ngroup = 'a'", "# hello\n\n\n[[watch]]\n  group    = \"a\"", true},
		{"the order of keys", "group = 'a'\nservice = 's'", "service = 's'\ngroup = 'a'", true},
		{"another group", "b = ['j']", "b = ['k']", true},
		{"another watch", "service = 't'", "service = 'u'", true},
		{"maxprocs", "[hostgroups]", "maxprocs = 3\n[hostgroups]", true},
		{"its group", "['h', 'i']", "['h']", false},
		{"the order of its group", "['h', 'i']", "['i', 'h']", false},
		{"its interval", "interval = '1m'", "interval = '2m'", false},
		{"its monitor", "path = '/'", "path = '/x'", false},
		{"its alert", "to = 'x'", "to = 'y'", false},
		{"where its programs are", "[hostgroups]", "mondir = '/x'\n[hostgroups]", false},
		{"a default of it", "[hostgroups]", "dep_behavior = 'm'\n[hostgroups]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			put(file, strings.Replace(text, tt.old, tt.new, 1))
			if got := load(t, file).Watches[0].Fingerprint == first; got != tt.same {
				t.Errorf("same fingerprint: got %t, want %t", got, tt.same)
			}
		})
	}
	put(file, text)
	put(key, "two")
	if load(t, file).Watches[0].Fingerprint == first {
		t.Error("another secret in the file, and the same fingerprint")
	}
}

type recordingPool struct{ reports []string }

func (p *recordingPool) Servers(string) ([]string, bool) { return nil, false }
func (p *recordingPool) Virtuals() []string              { return nil }
func (p *recordingPool) Report(_ context.Context, virtual, source string, _ map[string]alerts.HostState) error {
	p.reports = append(p.reports, virtual+" "+source)
	return nil
}

func TestFollowersReportToTheHostsPool(t *testing.T) {
	behind := &recordingPool{}
	host := testHost()
	host.Pool = behind
	site, err := Load("testdata/valid/full.toml", host)
	if err != nil {
		t.Fatal(err)
	}
	event := alerts.Event{Group: "web", Service: "http"}
	if err := find(t, site, "web:http").Actions["web:http//alert/test-follow web"].Send(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web web:http"}, behind.reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	checked := load(t, "testdata/valid/full.toml")
	if err := find(t, checked, "web:http").Actions["web:http//alert/test-follow web"].Send(t.Context(), event); err == nil {
		t.Error("a site that was only checked reports somewhere")
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	loop, pipe, huge := filepath.Join(dir, "loop"), filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory",
		dir:                        "is a folder",
		loop:                       "too many levels of symbolic links",
		pipe:                       "is not a regular file",
		huge:                       "is larger than 16384 KiB",
		"":                         "no such file or directory",
	} {
		_, err := Load(path, testHost())
		if want := path + ":1:1: cannot read " + path + ": " + want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestLargest reads a file that is as large as may be, in a time that a reload
// may take.
func TestLargest(t *testing.T) {
	const watches = 10000
	small := loadLarge(t, watches/4, maxFile/4)
	large := loadLarge(t, watches, maxFile)
	t.Logf("%d watches in a file of %d bytes: %s, a quarter of it: %s", watches, maxFile, large, small)
	// Twice as much as is due; what is done for each pair would take sixteen times as long.
	if large > 8*small || large > 20*time.Second {
		t.Errorf("it took %s, and a quarter of it %s", large, small)
	}
}

// loadLarge loads a file of a size and with so many watches, each of which depends on the
// one before, and returns the processor time that it took.
func loadLarge(t *testing.T, watches, size int) time.Duration {
	var text strings.Builder
	text.WriteString("[hostgroups]\na = 'h'\n")
	for i := range watches {
		fmt.Fprintf(&text, "[[watch]]\ngroup = 'a'\nservice = 's%d'\ninterval = '1s'\nmonitor = { type = 'test-probe' }\n", i)
		if i > 0 {
			fmt.Fprintf(&text, "depend = 'a:s%d'\n", i-1)
		}
		text.WriteString("[[watch.period]]\nalert = { type = 'test-note', to = 'x' }\n")
	}
	text.WriteString("# " + strings.Repeat("x", size-text.Len()-3) + "\n")
	file := siteFile(t, text.String())
	begin := processorTime(t)
	site := load(t, file)
	took := processorTime(t) - begin
	if len(site.Watches) != watches {
		t.Errorf("%d watches", len(site.Watches))
	}
	return took
}

// processorTime is what this process used until now, however busy the machine is.
func processorTime(t *testing.T) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestDirectRoutingNeedsTheSameNetwork: a server behind a router is a warning,
// where the machine's networks are known.
func TestDirectRoutingNeedsTheSameNetwork(t *testing.T) {
	site, err := Load("testdata/valid/kernel.toml", Host{Hostname: "dr1", Networks: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/64")}})
	if err != nil {
		t.Fatal(err)
	}
	want := `testdata/valid/kernel.toml:31:8: real server 10.0.0.2 is on no network of this machine: forward = "dr" reaches servers on the same network only, use "tun", "nat" or "fullnat"`
	if got := strings.TrimSpace(site.Warnings.Error()); got != want {
		t.Errorf("warnings\n%s\nwant\n%s", got, want)
	}
	if site.Sync == nil || site.Sync.SyncID != 7 || !site.Sync.Master || site.Sync.Backup {
		t.Errorf("sync %+v", site.Sync)
	}
	q := site.Quorums["web"]
	if q == nil || len(q.Lost) != 1 || len(q.Had) != 1 || q.Lost[0].ID == q.Had[0].ID || len(site.Quorums) != 1 {
		t.Errorf("quorums %+v", site.Quorums)
	}
}

func TestEscalationIsBuilt(t *testing.T) {
	site, err := Load("testdata/valid/escalate.toml", testHost())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range site.Watches {
		w := &site.Watches[i]
		got = append(got, fmt.Sprintf("%s ack %s", w.Key, w.AckExpires))
		for _, e := range w.Periods[0].Escalate {
			for _, a := range e.Actions {
				if w.Actions[a.ID] == nil {
					t.Errorf("no alert is built for %s", a.ID)
				}
				got = append(got, fmt.Sprintf("%s %s", e.After, a.ID))
			}
		}
	}
	want := []string{
		"web:http ack 8h0m0s", "30m0s web:http//escalate 30m0s/test-note boss",
		"24h0m0s web:http//escalate 24h0m0s/test-note boss", "24h0m0s web:http//escalate 24h0m0s/test-note ceo",
		"web:smtp ack 0s", "2h0m0s web:smtp//escalate 2h0m0s/test-note boss",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestAnAckIsForgottenAfterADay: mon's last until the failure is over.
func TestAnAckIsForgottenAfterADay(t *testing.T) {
	for head, want := range map[string]time.Duration{"": 24 * time.Hour, "compat = \"mon\"\n": 0, "compat = \"mon\"\nack_expires = \"2h\"\n": 2 * time.Hour} {
		file := filepath.Join(t.TempDir(), "m.toml")
		text := head + "[hostgroups]\nweb = [\"192.0.2.1\"]\n[[watch]]\ngroup = \"web\"\nservice = \"s\"\ninterval = \"1m\"\nmonitor = { type = \"test-probe\" }\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		site, err := Load(file, testHost())
		if err != nil {
			t.Fatal(err)
		}
		if got := site.Watches[0].AckExpires; got != want {
			t.Errorf("with %q: %s, want %s", head, got, want)
		}
	}
}
