package moncf

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
)

func mustParse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("mon.cf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readEverything(t *testing.T) *File {
	t.Helper()
	text, err := os.ReadFile("testdata/everything.cf")
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(text))
}

// withoutSource leaves out where things stand.
var withoutSource = cmp.Options{
	cmpopts.IgnoreTypes(Source{}),
	cmpopts.IgnoreFields(Hostgroup{}, "More"),
	cmpopts.IgnoreFields(Service{}, "Keywords"),
	cmpopts.IgnoreFields(Period{}, "Keywords"),
	cmpopts.IgnoreUnexported(AlertLine{}),
}

func when(t *testing.T, spec string) period.Period {
	t.Helper()
	p, err := period.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseService(t *testing.T) {
	f := readEverything(t)
	excluded := when(t, "hr {2}")
	want := Service{
		Name:            "http",
		Vars:            []string{"FOO=last"},
		Interval:        90 * time.Second,
		FailureInterval: 10 * time.Second,
		RandSkew:        5 * time.Second,
		TrapTimeout:     time.Hour,
		TrapDuration:    2 * time.Hour,
		DepMemory:       time.Minute,
		Monitor:         &Command{Program: "http.monitor", Args: []string{"-t", "10", "two words"}, NoHosts: true},
		Description:     `It's "the" web`,
		AllowEmptyGroup: true,
		ExcludeHosts:    []string{"www1", "www2"},
		ExcludePeriod:   &excluded,
		Depend:          "web:ping && gw:ping",
		AlertDepend:     "a:b",
		MonitorDepend:   "c:d",
		HostDepend:      "web:ping",
		DepBehavior:     watch.SuppressHosts,
		Redistribute:    &AlertLine{Program: "r.alert"},
		Periods: []Period{
			{
				Key: "wd {Mon-Fri}", Spec: "wd {Mon-Fri}", When: when(t, "wd {Mon-Fri}"),
				AlertAfter:      watch.AlertAfter{Consecutive: 3, Count: 2, Within: time.Hour},
				AlertEvery:      watch.AlertEvery{Interval: 2 * time.Hour, Compare: watch.CompareDetail},
				NumAlerts:       10,
				UpAlertAfter:    5 * time.Minute,
				NoCompAlerts:    true,
				AlertsDontCount: true,
				ExitRange:       &watch.ExitRange{From: 1, To: 99},
				Alerts: []AlertLine{
					{Program: "a.alert", Args: []string{"-x", "y z"}},
					{Program: "b.alert", Exit: &watch.ExitRange{From: 1, To: 5}},
				},
				UpAlerts:      []AlertLine{{Program: "u.alert"}},
				StartupAlerts: []AlertLine{{Program: "s.alert"}},
				AckAlerts:     []AlertLine{{Program: "k.alert"}},
				DisableAlerts: []AlertLine{{Program: "d.alert"}},
			},
			{Key: "NIGHT", Label: "NIGHT", Spec: "none", When: when(t, "none")},
			{},
		},
	}
	if d := cmp.Diff(want, f.Watches[0].Services[0], withoutSource); d != "" {
		t.Errorf("service http (-want +got):\n%s", d)
	}
	want = Service{
		Name:         "ping",
		Monitor:      &Command{Program: "fping.monitor"},
		DepBehavior:  watch.SuppressMonitor,
		DepMemory:    5 * time.Minute,
		UnackSummary: true,
	}
	if d := cmp.Diff(want, f.Watches[0].Services[1], withoutSource); d != "" {
		t.Errorf("service ping, by the defaults of the file (-want +got):\n%s", d)
	}
}

func TestParseRecords(t *testing.T) {
	f := readEverything(t)
	groups := []Hostgroup{
		{Name: "web", Hosts: []string{"www1", "www2", "www3", "192.0.2.4", "[2001:db8::5]"}},
		{Name: "nobody", Hosts: []string{"h1"}},
		{Name: "lone", Hosts: []string{"lone"}, Implicit: true},
	}
	if d := cmp.Diff(groups, f.Hostgroups, withoutSource); d != "" {
		t.Errorf("hostgroups (-want +got):\n%s", d)
	}
	views := []View{{Name: "both", Members: []string{"web", "web:http", "lone"}}}
	if d := cmp.Diff(views, f.Views, withoutSource, cmpopts.IgnoreFields(View{}, "More")); d != "" {
		t.Errorf("views (-want +got):\n%s", d)
	}
	if a := f.Aliases; len(a) != 1 || a[0].Name != "help" || len(a[0].Text) != 2 || a[0].Text[0].Raw != "call 555" || a[0].Text[1].Raw != "the end" {
		t.Errorf("aliases: got %+v", a)
	}
	if v, ok := f.Global("alertdir"); !ok || v != "/usr/lib/mon/alert.d:/usr/local/lib/mon/alert.d" {
		t.Errorf("alertdir: got %q, %v", v, ok)
	}
	if v, ok := f.Global("mondir"); ok {
		t.Errorf("mondir, which is not there: got %q", v)
	}
	if f.RandStart() != 90*time.Second || !f.DTLogging() || !f.StartupAlertsOnReset() || f.ExcludePeriod().String() != "wd {Sun} hr {3}" {
		t.Errorf("globals: got randstart %s, dtlogging %v, startupalerts_on_reset %v, exclude_period %s",
			f.RandStart(), f.DTLogging(), f.StartupAlertsOnReset(), f.ExcludePeriod())
	}
	if hosts, ok := f.Hosts("nobody"); !ok || len(hosts) != 1 {
		t.Errorf("Hosts of nobody: got %q, %v", hosts, ok)
	}
	warnings := []Warning{
		{Line: 19, LastLine: 19, Text: "Warning: hostgroup nobody has no watch assigned to it!", FromMon: true},
		{Line: 73, LastLine: 73, Text: "Warning: watch group lone defined with no corresponding hostgroup.", FromMon: true},
	}
	if d := cmp.Diff(warnings, f.Warnings); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

// TestEveryLineIsKept: an importer accounts for each line that is neither blank
// nor a comment, and for each comment.
func TestEveryLineIsKept(t *testing.T) {
	text, err := os.ReadFile("testdata/everything.cf")
	if err != nil {
		t.Fatal(err)
	}
	f := readEverything(t)
	kept := map[int]bool{}
	comments := 0
	for _, s := range sources(f) {
		for i := s.Line; i <= s.LastLine; i++ {
			kept[i] = true
		}
		comments += len(s.Comments)
		for _, c := range s.Comments {
			if c.Line > s.LastLine || !strings.HasPrefix(c.Text, "#") {
				t.Errorf("line %d has the comment %+v", s.Line, c)
			}
		}
	}
	comments += len(f.Trailing)
	want := 0
	for i, line := range strings.Split(string(text), "\n") {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
			want++
		case line != "" && !kept[i+1]:
			t.Errorf("line %d is lost: %s", i+1, line)
		}
	}
	if comments != want || want != 8 {
		t.Errorf("%d comments are kept of %d", comments, want)
	}
	if c := f.Watches[0].Comments; len(c) != 1 || c[0].Text != "# about the watch" {
		t.Errorf("comments of the watch: got %v", c)
	}
}

func sources(f *File) []Source {
	all := append([]Source{}, f.Ignored...)
	settings := func(list []Setting) {
		for _, s := range list {
			all = append(all, s.Source)
		}
	}
	settings(f.Globals)
	for _, g := range f.Hostgroups {
		all = append(append(all, g.Source), g.More...)
	}
	for _, a := range f.Aliases {
		all = append(append(all, a.Source), a.Text...)
	}
	for _, v := range f.Views {
		all = append(append(all, v.Source), v.More...)
	}
	for _, w := range f.Watches {
		all = append(all, w.Source)
		for _, s := range w.Services {
			all = append(all, s.Source)
			settings(s.Keywords)
			for _, q := range s.Periods {
				all = append(all, q.Source)
				settings(q.Keywords)
			}
		}
	}
	return all
}

// inService puts a line into a service, inPeriod into a period; both make it the
// last of the file.
func inService(line string) string {
	return "hostgroup g h\n\nwatch g\nservice s\ninterval 1m\n" + line
}

func inPeriod(line string) string { return inService("period\n" + line) }

func TestParseErrors(t *testing.T) {
	const badPeriod = " (the specified time period is not valid as per Time::Period::inPeriod)"
	tests := []struct {
		text, want string
	}{
		{"bogus = 1", "cf error: unknown variable 'bogus', line 1"},
		{"hostgroup g a\nh = 1", "cf error: unknown variable 'h', line 2"},
		{"randstart = 60", "cf error: bad value '60' for randstart option (syntax: randstart = timeval), line 1"},
		{"cltimeout = x", "cf error: bad value 'x' for cltimeout command (syntax: cltimeout = secs), line 1"},
		{"historictime =", "cf error: bad value '' for historictime command (syntax: historictime = timeval), line 1"},
		{"dep_memory = 5", "cf error: bad value '5' for dep_memory option (syntax: dep_memory = timeval), line 1"},
		{"dep_behavior = b", "cf error: unknown dependency behavior 'b', line 1"},
		{"unack_summary = 2", "cf error: invalid unack_summary value '2' (syntax: unack_summary [0|1|y|yes|n|no])"},
		{"exclude_period = wd", "cf error: malformed exclude_period 'wd'" + badPeriod + ", line 1"},

		{"watch g\nperiod", "cf error: need to specify service in watch record, line 2"},
		{"watch g\nA=1", "cf error: environment variable defined without a service, line 2"},
		{"watch g\nservice", "cf error: invalid service tag '', line 2"},
		{"watch g\nservice a/b", "cf error: invalid service tag 'a/b', line 2"},
		{inService("service s"), "cf error: service s already defined for watch group g, line 6"},
		{inService("\nwatch g"), "cf error: watch 'g' already defined, line 7"},
		{inService("bogus \\\n 1"), "cf error: unknown syntax [bogus 1], line 7"},
		{inService("-W 5"), "cf error: unknown syntax [-W 5], line 6"},
		{inService("alert a.alert"), "cf error: unknown syntax [alert a.alert], line 6"},
		{inService("interval 5"), "cf error: invalid time interval '' (syntax: interval = {positive number}{smhd}), line 6"},
		{inService("interval 0s"), "cf error: invalid time interval '0' (syntax: interval = {positive number}{smhd}), line 6"},
		{inService("failure_interval x"), "cf error: invalid interval '' (syntax: failure_interval = {positive number}{smhd}), line 6"},
		{inService("randskew"), "cf error: invalid randskew time interval '' (syntax: randskew = {positive number}{smhd}), line 6"},
		{inService("traptimeout 1w"), "cf error: invalid traptimeout interval '' (syntax: traptimeout = {positive number}{smhd}), line 6"},
		{inService("trapduration -1s"), "cf error: invalid trapduration interval '' (syntax: trapduration = {positive number}{smhd}), line 6"},
		{inService("dep_memory 0m"), "cf error: bad value '0m' for dep_memory option (syntax: dep_memory = timeval), line 6"},
		{inService("dep_behavior A"), "cf error: unknown dependency behavior 'A' (syntax: dep_behavior = {m|a}), line 6"},
		{inService("unack_summary"), "cf error: invalid unack_summary value '' (syntax: unack_summary [0|1|y|yes|n|no])"},
		{inService("exclude_period wd {8}"), "cf error: malformed exclude_period 'wd {8}'" + badPeriod + ", line 6"},

		{inService("period wd hr"), "cf error: malformed period 'wd hr'" + badPeriod + ", line 6"},
		{inService("period P: wd"), "cf error: malformed period 'wd'" + badPeriod + ", line 6"},
		{inPeriod("period"), "cf error: period '' already defined for watch group g service s, line 7"},
		{inService("period P: none\nperiod P:"), "cf error: period 'P' already defined for watch group g service s, line 7"},
		{inPeriod("interval 5m"), "cf error: unknown syntax [interval 5m], line 7"},
		{inPeriod("alertevery 0h"), "cf error: invalid time interval '0' (syntax: alertevery {positive number}{smhd} [ strict | observe_detail | ignore_summary ]), line 7"},
		{inPeriod("alertevery 1h loosely"), "cf error: invalid time interval '' (syntax: alertevery {positive number}{smhd} [ strict | observe_detail | ignore_summary ]), line 7"},
		{inPeriod("alertafter 1d"), "cf error: invalid interval specification '1d', line 7"},
		{inPeriod("alertafter 5M"), "cf error: invalid interval specification '5M', line 7"},
		{inPeriod("alertafter 0s"), "cf error: invalid time interval '0s' (syntax: alertafter = [{positive integer}] [{positive number}{smhd}]), line 7"},
		{inPeriod("alertafter 6 5m"), "cf error:  interval & alertafter not sensible. No alerts can be generated with those parameters, line 7"},
		{inPeriod("alertafter 99999999999999999999 5h"), "cf error:  interval & alertafter not sensible. No alerts can be generated with those parameters, line 7"},
		{inPeriod("upalertafter 5"), "cf error: invalid upalertafter specification '' (syntax: upalertafter = {positive number}{smhd}), line 7"},
		{inPeriod("numalerts -1"), "cf error: -numeric arg '-1' (syntax: numalerts = {positive integer}, line 7"},
		{inPeriod("alertexitrange 1 - 5"), "cf error: invalid exit code range '1 - 5', line 7"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			f, err := Parse("mon.cf", strings.NewReader(tt.text))
			var bad *Error
			if !errors.As(err, &bad) || f != nil {
				t.Fatalf("got %v, %v, want an Error", f, err)
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			if bad.File != "mon.cf" || bad.Line != 1+strings.Count(tt.text, "\n") {
				t.Errorf("the error is at %s:%d", bad.File, bad.Line)
			}
		})
	}
}

func TestErrorNamesTheCause(t *testing.T) {
	_, err := Parse("mon.cf", strings.NewReader(inService("period wd {Mon}, hr {25}")))
	var cause *period.SyntaxError
	if !errors.As(err, &cause) || cause.Offset != 14 {
		t.Errorf("got %v with the cause %v", err, cause)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"clean", inPeriod("alert a.alert"), nil},
		{
			"blank line in a watch",
			inService("\n# why\nservice t\n\ninterval 1m\n\nwatch u\nservice v\n\nhostgroup u h"),
			[]string{`lines 8-10: ignored, as mon does: the blank line 6 ended the watch "g"`, "line 12: Warning: watch group u defined with no corresponding hostgroup."},
		},
		{"nothing begun", "some text\n\nmore", []string{"lines 1-3: ignored, as mon does: no hostgroup, watch, alias or view has begun"}},
		{"no blank line after hostgroup", "hostgroup g h\nwatch g\nservice s", []string{"line 2: mon takes this line and those after it for names in the hostgroup above, because there is no blank line before it; here it starts a watch"}},
		{"alias text", "alias a\nwatch g", []string{"line 2: this is a line of the alias above: a blank line before it would make it a watch"}},
		{"text after the group", "hostgroup g h\n\nwatch g x y\nservice s", []string{`line 3: "x y" after the name of the group is ignored, as mon does`}},
		{"hostgroup twice", "hostgroup g h\nhostgroup g i\n\nwatch g\nservice s", []string{`line 2: hostgroup "g" is defined again: as in mon the hosts of line 1 are forgotten`}},
		{"depend twice", inService("depend a:b\ndepend c:d"), []string{"line 7: depend stands there twice: as in mon this one counts, and not that of line 6"}},
		{"numalerts twice", inPeriod("numalerts 1\nnumalerts 2"), []string{"line 8: numalerts stands there twice: as in mon this one counts, and not that of line 7"}},
		{"alertafter twice", inPeriod("alertafter 1\nalertafter 5m"), nil},
		{"allow_empty_group no", inService("allow_empty_group no"), []string{`line 6: allow_empty_group takes no value: as in mon it is on, whatever "no" is meant to say`}},
		{"glued ;;", inService("monitor a.monitor;;"), []string{`line 6: mon finds no monitor named "a.monitor;;": write a blank before ";;"`}},
		{"unbalanced monitor", inService(`monitor a.monitor "x`), []string{"line 6: a quote or backslash without its fellow: mon cannot start this monitor"}},
		{"unbalanced alert", inPeriod(`alert a.alert it's`), []string{`line 7: a quote or backslash without its fellow: mon calls "a.alert" without any arguments of its own`}},
		{"exit with blanks", inPeriod("alert exit = 1 a.alert"), []string{`line 7: mon never finds the program "=" of this line: it looks for "exit"`}},
		{"redistribute with arguments", inService("redistribute a.alert x"), []string{`line 6: mon never finds the program "a.alert" of this line: it looks for "a.alert x"`}},
		{"redistribute with arguments, known", inService("redistribute a.alert x\nperiod\nupalert a.alert"), nil},
		{"backslash at the end", inService("period\\\n  \\\n"), []string{"lines 6-7: ignored, as mon does: it ends in a backslash and the file ends there"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range mustParse(t, tt.text).Warnings {
				got = append(got, w.String())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("warnings (-want +got):\n%s", d)
			}
		})
	}
}

func TestAlertLine(t *testing.T) {
	tests := []struct {
		line string
		want AlertLine
	}{
		{"a.alert", AlertLine{Program: "a.alert"}},
		{"exit=3 a.alert x", AlertLine{Program: "a.alert", Args: []string{"x"}, Exit: &watch.ExitRange{From: 3, To: 3}}},
		{"EXIT=3-9 a.alert", AlertLine{Program: "a.alert", Exit: &watch.ExitRange{From: 3, To: 9}}},
		{"exit=3", AlertLine{Program: "exit=3"}},
		{"exit=x a.alert", AlertLine{Program: "exit=x", Args: []string{"a.alert"}, NeverFound: true}},
		{"exit=3  a.alert", AlertLine{Program: "a.alert", Exit: &watch.ExitRange{From: 3, To: 3}, NeverFound: true}},
		{"exit= 3 a.alert x", AlertLine{Program: "3", Args: []string{"a.alert", "x"}, Exit: &watch.ExitRange{From: 3, To: 3}, NeverFound: true}},
		{"a.alert logs ;;", AlertLine{Program: "a.alert", Args: []string{"logs", ";;"}}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got := mustParse(t, inPeriod("alert "+tt.line)).Watches[0].Services[0].Periods[0].Alerts[0]
			if d := cmp.Diff(tt.want, got, withoutSource); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestMonitorLine(t *testing.T) {
	tests := []struct {
		line string
		want Command
	}{
		{"m.monitor", Command{Program: "m.monitor"}},
		{"m.monitor ;;", Command{Program: "m.monitor", NoHosts: true}},
		{"m.monitor -p 80;;", Command{Program: "m.monitor", Args: []string{"-p", "80"}, NoHosts: true}},
		{`m.monitor "a b" c\ d ''`, Command{Program: "m.monitor", Args: []string{"a b", "c d", ""}}},
		{"m.monitor ;; x", Command{Program: "m.monitor", Args: []string{";;", "x"}}},
		{`m.monitor "a ;;`, Command{Program: "m.monitor", NoHosts: true, Unbalanced: true}},
		{"", Command{}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got := *mustParse(t, inService("monitor "+tt.line)).Watches[0].Services[0].Monitor
			if d := cmp.Diff(tt.want, got, withoutSource); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAlertAfterAndEvery(t *testing.T) {
	tests := []struct {
		lines string
		after watch.AlertAfter
		every watch.AlertEvery
	}{
		{"", watch.AlertAfter{}, watch.AlertEvery{}},
		{"alertafter 3", watch.AlertAfter{Consecutive: 3}, watch.AlertEvery{}},
		{"alertafter 5m", watch.AlertAfter{Within: 5 * time.Minute}, watch.AlertEvery{}},
		{"alertafter 5 5m", watch.AlertAfter{Count: 5, Within: 5 * time.Minute}, watch.AlertEvery{}},
		{"alertafter 0 5m", watch.AlertAfter{Count: 1, Within: 5 * time.Minute}, watch.AlertEvery{}},
		{"alertafter about 2 5m", watch.AlertAfter{Count: 2, Within: 5 * time.Minute}, watch.AlertEvery{}},
		{"alertafter 2 5m\nalertafter 9\nalertafter 7m", watch.AlertAfter{Consecutive: 9, Count: 2, Within: 7 * time.Minute}, watch.AlertEvery{}},
		{"alertafter 9\nalertafter 7m\nalertafter 2 5m", watch.AlertAfter{Consecutive: 9, Count: 2, Within: 5 * time.Minute}, watch.AlertEvery{}},
		{"alertevery 1.5d", watch.AlertAfter{}, watch.AlertEvery{Interval: 36 * time.Hour}},
		{"alertevery 1h summary", watch.AlertAfter{}, watch.AlertEvery{Interval: time.Hour}},
		{"alertevery 1h OBSERVE_detail", watch.AlertAfter{}, watch.AlertEvery{Interval: time.Hour, Compare: watch.CompareDetail}},
		{"alertevery 1h ignore_summary", watch.AlertAfter{}, watch.AlertEvery{Interval: time.Hour, Compare: watch.CompareNothing}},
		{"alertevery every 1h strict", watch.AlertAfter{}, watch.AlertEvery{Interval: time.Hour, Compare: watch.Strict}},
		{"alertevery 1h strict\nalertevery 2h", watch.AlertAfter{}, watch.AlertEvery{Interval: 2 * time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.lines, func(t *testing.T) {
			q := mustParse(t, inPeriod(tt.lines)).Watches[0].Services[0].Periods[0]
			if q.AlertAfter != tt.after || q.AlertEvery != tt.every {
				t.Errorf("got %+v %+v\nwant %+v %+v", q.AlertAfter, q.AlertEvery, tt.after, tt.every)
			}
		})
	}
}

func TestDefaultsHoldForLaterServices(t *testing.T) {
	f := mustParse(t, "watch a\nservice s\n\ndep_behavior = hm\nunack_summary = 1\ndep_memory = 1h\n\nwatch b\nservice s\nservice t\ndep_behavior a\nunack_summary n\n")
	a, b := f.Watches[0].Services[0], f.Watches[1].Services
	if a.DepBehavior != watch.SuppressAlerts || a.UnackSummary || a.DepMemory != 0 {
		t.Errorf("before the defaults: got %+v", a)
	}
	if b[0].DepBehavior != watch.SuppressHosts || !b[0].UnackSummary || b[0].DepMemory != time.Hour {
		t.Errorf("after the defaults: got %+v", b[0])
	}
	if b[1].DepBehavior != watch.SuppressAlerts || b[1].UnackSummary || b[1].DepMemory != time.Hour {
		t.Errorf("against the defaults: got %+v", b[1])
	}
}

func TestTimeval(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"30s", 30 * time.Second, true},
		{"1.5H", 90 * time.Minute, true},
		{" 2d ", 48 * time.Hour, true},
		{"0m", 0, true},
		{"300d", 300 * 24 * time.Hour, true},
		{"99999999999d", 1<<63 - 1, true},
		{"5", 0, false},
		{"", 0, false},
		{"5 s", 0, false},
		{".5s", 0, false},
		{"5.s", 0, false},
		{"1h30m", 0, false},
		{"1w", 0, false},
		{"-1s", 0, false},
		{"٣s", 0, false},
	}
	for _, tt := range tests {
		if got, ok := Timeval(tt.text); got != tt.want || ok != tt.ok {
			t.Errorf("Timeval(%q): got %s, %v, want %s, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestFlagsOfGlobals(t *testing.T) {
	for text, want := range map[string]bool{"1": true, "01.0": true, "1 please": true, "yes": true, "true": true, "0": false, "10": false, "1.5": false, "on": false, "Yes": false, "": false} {
		if got := mustParse(t, "dtlogging = "+text).DTLogging(); got != want {
			t.Errorf("dtlogging = %s: got %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"1": true, "10": true, "no, yes": true, "TRUE": true, "on": true, "icon": true, "ones": false, "0": false, "": false} {
		if got := mustParse(t, "startupalerts_on_reset = "+text).StartupAlertsOnReset(); got != want {
			t.Errorf("startupalerts_on_reset = %s: got %v, want %v", text, got, want)
		}
	}
}

func TestLineEndings(t *testing.T) {
	unix := "hostgroup g a \\\n  b\n\nwatch g\n service s\n  monitor m.monitor \\   \n x\n\n"
	want := mustParse(t, unix)
	for name, text := range map[string]string{
		"windows":             strings.ReplaceAll(unix, "\n", "\r\n"),
		"no newline at last":  strings.TrimRight(unix, "\n"),
		"vertical tabs":       strings.ReplaceAll(unix, "  ", "\v\f"),
		"comments everywhere": "# c\n" + strings.ReplaceAll(unix, "\n", "\n\t # c\n"),
	} {
		got := mustParse(t, text)
		if d := cmp.Diff(want.Hostgroups, got.Hostgroups, withoutSource); d != "" {
			t.Errorf("%s: hostgroups (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(want.Watches, got.Watches, withoutSource); d != "" {
			t.Errorf("%s: watches (-want +got):\n%s", name, d)
		}
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := Parse("mon.cf", io.MultiReader(strings.NewReader("randstart = 1s\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "mon.cf") {
		t.Errorf("got %v", err)
	}
}

// TestManyLines reads 10,000 services, and a host list of a megabyte on one line.
func TestManyLines(t *testing.T) {
	var b strings.Builder
	b.WriteString("hostgroup g" + strings.Repeat(" h", 500_000) + "\n\n")
	for i := range 10_000 {
		b.WriteString("watch w" + strings.Repeat("x", i%7) + "." + time.Duration(i).String() + "\n service s\n  interval 1m\n  period\n   alert a.alert\n\n")
	}
	f := mustParse(t, b.String())
	if len(f.Watches) != 10_000 || len(f.Hostgroups[0].Hosts) != 500_000 {
		t.Errorf("got %d watches, %d hosts", len(f.Watches), len(f.Hostgroups[0].Hosts))
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{"bogus 1", "alertafter 3 10m", "alert exit=1-2 a.alert \"x", "\nservice t", "# c\\\n", "\x00\xff = \\"} {
		f.Add([]byte(inPeriod(line)))
	}
	files, err := filepath.Glob("testdata/*.cf")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("mon.cf", bytes.NewReader(text))
		lines := bytes.Count(text, []byte("\n")) + 1
		var bad *Error
		switch {
		case errors.As(err, &bad):
			if bad.Line < 1 || bad.Line > lines || bad.Text == "" {
				t.Fatalf("%v in line %d of %d", err, bad.Line, lines)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		for _, s := range sources(file) {
			if s.Line < 1 || s.LastLine < s.Line || s.LastLine > lines || s.Raw == "" {
				t.Fatalf("%+v in a file of %d lines", s, lines)
			}
		}
		for _, w := range file.Warnings {
			if w.Line < 1 || w.LastLine < w.Line || w.LastLine > lines {
				t.Fatalf("%+v in a file of %d lines", w, lines)
			}
		}
	})
}
