package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/engine"
)

func TestStatusShowsWhatHostsTook(t *testing.T) {
	now := time.Now()
	hosts := []engine.HostStatus{
		{Name: "web1", State: "up", Since: &now, Took: 0.0123, Timings: &engine.Timings{Connect: 0.0002, FirstByte: 0.012}},
		{Name: "web2", State: "down", Since: &now, Reason: "no answer within 1s", Timings: &engine.Timings{Resolve: 0.001}},
		{Name: "gw", State: "up", Since: &now, Took: 0.0004},
		{Name: "web4", State: "unknown", Disabled: true},
	}
	var out strings.Builder
	printHosts(&out, hosts)
	want := []string{
		"HOST STATE SINCE TOOK REASON",
		"web1 up 0s 12.3ms: connect 200µs, first byte 12ms",
		"web2 down 0s resolve 1ms no answer within 1s",
		"gw up 0s 400µs",
		"web4 unknown (disabled) - -",
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if got := strings.Join(strings.Fields(line), " "); i >= len(want) || got != want[i] {
			t.Errorf("line %d is %q, want %q", i+1, got, want[min(i, len(want)-1)])
		}
	}
}

// TestStatusFoldsSilence: an hour of the same is one row, until an alert is sent.
func TestStatusFoldsSilence(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 3, 2, 12, 0, s, 0, time.UTC) }
	silence := func(s int, code, reason string) engine.DecisionStatus {
		return engine.DecisionStatus{At: at(s), Kind: "alert", Code: code, Hosts: []string{"w1"}, Reason: reason}
	}
	sent := engine.DecisionStatus{At: at(3), Kind: "alert", Code: "sent", Hosts: []string{"w1"}, Sent: []string{"mail"}, Reason: "failure 3 in a row"}
	good := at(0)
	w := engine.WatchStatus{Group: "web", Service: "http", State: "failed", Monitor: "http", Runs: 1, Failures: 1, LastGood: &good, Decisions: []engine.DecisionStatus{
		silence(0, "fall", "failure 1 of fall 3"), silence(1, "fall", "failure 2 of fall 3"), silence(2, "acknowledged", "by ann"), sent,
		silence(4, "fall", "failure 1 of fall 3"), silence(5, "acknowledged", "by ann"), silence(6, "fall", "failure 1 of fall 3"), silence(7, "acknowledged", "by ann"), silence(8, "acknowledged", "by ann"),
	}}
	var out strings.Builder
	if err := printWatch(&out, []engine.WatchStatus{w}, "web:http"); err != nil {
		t.Fatal(err)
	}
	head, decisions, _ := strings.Cut(out.String(), "last decisions:\n")
	want := `  12:00:00.000  alert not sent (fall) for w1: failure 1 of fall 3; 2 times until 12:00:01.000, then: failure 2 of fall 3
  12:00:02.000  alert not sent (acknowledged) for w1: by ann
  12:00:03.000  alert sent to mail for w1: failure 3 in a row
  12:00:04.000  alert not sent (fall) for w1: failure 1 of fall 3; 2 times until 12:00:06.000
  12:00:05.000  alert not sent (acknowledged) for w1: by ann; 3 times until 12:00:08.000
`
	if decisions != want {
		t.Errorf("the decisions are\n%s\nwant\n%s", decisions, want)
	}
	if !strings.HasPrefix(head, "web:http  FAILED\nmonitor http, 1 result, 1 failure in a row, last success ") {
		t.Errorf("it begins with\n%s", head)
	}
}

// TestStatusOfAWatchThatNeverRan has nothing to say yet, and says so.
func TestStatusOfAWatchThatNeverRan(t *testing.T) {
	w := engine.WatchStatus{Group: "backup", Service: "trap", State: "untested", Hosts: []engine.HostStatus{{Name: "b1", State: "unknown"}}}
	var out strings.Builder
	if err := printWatch(&out, []engine.WatchStatus{w}, "backup:trap"); err != nil {
		t.Fatal(err)
	}
	want := "backup:trap  untested\nno monitor, 0 results, 0 failures in a row, no success yet\n\nHOST  STATE    SINCE  TOOK  REASON\nb1    unknown  -      -     \n"
	if got := out.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStatusOfTheFirstResults(t *testing.T) {
	for _, tt := range []struct {
		w    engine.WatchStatus
		want string
	}{
		{engine.WatchStatus{State: "untested"}, "untested"},
		{engine.WatchStatus{State: "untested", Runs: 1}, "undecided"},
		{engine.WatchStatus{State: "untested", Runs: 1, Unknown: "no name server"}, "untested"},
		{engine.WatchStatus{State: "failed", Runs: 1}, "FAILED"},
		{engine.WatchStatus{State: "ok", Runs: 1, Disabled: true}, "ok (disabled)"},
	} {
		if got := state(&tt.w); got != tt.want {
			t.Errorf("%+v is shown as %q, want %q", tt.w, got, tt.want)
		}
	}
}

// TestOverviewMarksWhatIsDisabled: who is not tested is not to be looked for among those
// that are down, and not to be missed.
func TestOverviewMarksWhatIsDisabled(t *testing.T) {
	w := func(name string, disabled bool, hosts ...engine.HostStatus) engine.WatchStatus {
		return engine.WatchStatus{Group: name, Service: "http", State: "ok", Runs: 1, Disabled: disabled, Hosts: hosts}
	}
	host := func(name, state string, disabled bool) engine.HostStatus {
		return engine.HostStatus{Name: name, State: state, Reason: "refused", Disabled: disabled}
	}
	var out strings.Builder
	printWatches(&out, daemon.Status{Engine: engine.Status{Watches: []engine.WatchStatus{
		w("a", false, host("a1", "up", false), host("a2", "unknown", true)),
		w("b", true, host("b1", "unknown", false)),
		w("c", false, host("c1", "down", true), host("c2", "down", false), host("c3", "up", false)),
		w("d", false, host("d1", "unknown", true), host("d2", "unknown", true), host("d3", "down", false), host("d4", "unknown", true)),
	}}})
	_, table, _ := strings.Cut(out.String(), "\n\n")
	want := `WATCH   STATE          SINCE  HOSTS               DETAIL
a:http  ok             -      1/2 up, 1 disabled  a2 (disabled)
b:http  ok (disabled)  -      0/1 up              
c:http  ok             -      1/3 up, 1 disabled  c2 (refused), c1 (disabled)
d:http  ok             -      0/4 up, 3 disabled  d3 (refused), d1 (disabled), d2 (disabled), and 1 more
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("the overview (-want +got):\n%s", diff)
	}
}

// TestLongReasonsAreClipped where there are three to a line, and not where each has one.
func TestLongReasonsAreClipped(t *testing.T) {
	long := strings.Repeat("é", 200)
	w := engine.WatchStatus{Group: "web", Service: "http", State: "failed", Hosts: []engine.HostStatus{
		{Name: "w1", State: "down", Reason: long}, {Name: "w2", State: "down", Reason: long[:160]},
	}}
	if got, want := detail(&w), "w1 ("+strings.Repeat("é", 79)+"…), w2 ("+strings.Repeat("é", 80)+")"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w.Unknown = long + "\nmore"
	if got, want := detail(&w), strings.Repeat("é", 79)+"…"; got != want {
		t.Errorf("unknown: %q, want %q", got, want)
	}
	var out strings.Builder
	if err := printWatch(&out, []engine.WatchStatus{w}, "web:http"); err != nil || !strings.Contains(out.String(), long) {
		t.Errorf("the watch by itself does not show it (%v):\n%s", err, &out)
	}
}

func TestMisspeltArguments(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"import mon.cf", "monitord: import needs to know what the file is: write --mon mon.cf\n\nTry \"monitord import --help\".\n"},
		{"reference histlenght", "monitord: no table, kind or key \"histlenght\": did you mean \"histlength\"?\n"},
		{"reference wibble", "monitord: no table, kind or key \"wibble\"; \"monitord reference\" lists the tables and kinds\n"},
	} {
		if _, errs, exit := command(strings.Fields(tt.line)...); exit == 0 || errs != tt.want {
			t.Errorf("%s: exit %d, %q, want %q", tt.line, exit, errs, tt.want)
		}
	}
}
