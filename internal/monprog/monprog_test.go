package monprog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/monitors"
)

// at is the time T+n of the traces that the cases are taken from; T is 1000.
func at(n int64) time.Time { return time.Unix(1000+n, 0) }

var (
	monitorSite = monitors.Site{StateDir: "/d/state", LogDir: "/d/log", ConfigDir: "/d"}
	alertSite   = alerts.Site{StateDir: "/d/state", LogDir: "/d/log", ConfigDir: "/d"}
)

// env is the environment of a call with what every call has.
func env(lines ...string) []string {
	env := append(lines, "MON_STATEDIR=/d/state", "MON_LOGDIR=/d/log", "MON_CFBASEDIR=/d", "MON_GROUP=g", "MON_SERVICE=s")
	slices.Sort(env)
	return env
}

func sorted(env []string) []string { return slices.Sorted(slices.Values(env)) }

// The cases are calls that mon 1.3.6 was seen to make.
func TestMonitor(t *testing.T) {
	hosts := []string{"h1", "h2"}
	program := Program{Path: "/m/scripted.monitor", Args: []string{"-p", "a b"}}
	tests := []struct {
		name    string
		request monitors.Request
		noHosts bool
		args    []string
		env     []string
	}{
		{
			name: "first run",
			request: monitors.Request{
				Hosts: hosts, Description: "A test: 'quoted' text", Env: []string{"FOO=bar baz", "_X1='a b'"},
			},
			env: env("FOO=bar baz", "_X1='a b'", "MON_DESCRIPTION=A test: 'quoted' text", "MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0"),
		},
		{
			name: "after a failure",
			request: monitors.Request{
				Hosts: hosts, Runs: 1, Events: 1, LastSummary: "h1", LastOutput: "h1\ndetail\n", FirstFailure: at(2), LastFailure: at(2),
			},
			env: env("MON_FIRST_FAILURE=1002", "MON_LAST_FAILURE=1002", "MON_LAST_OUTPUT=h1\ndetail\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1"),
		},
		{
			name:    "after a success",
			request: monitors.Request{Hosts: hosts, Runs: 2, Events: 2, LastSummary: "ok", LastOutput: "ok\n", LastSuccess: at(4)},
			env:     env("MON_FIRST_FAILURE=0", "MON_LAST_FAILURE=0", "MON_LAST_OUTPUT=ok\n", "MON_LAST_SUCCESS=1004", "MON_LAST_SUMMARY=ok"),
		},
		{
			name:    "after a failure without output",
			request: monitors.Request{Hosts: hosts, Runs: 1, Events: 1, LastSummary: "(NO SUMMARY)", FirstFailure: at(2), LastFailure: at(2)},
			env:     env("MON_FIRST_FAILURE=1002", "MON_LAST_FAILURE=1002", "MON_LAST_OUTPUT=", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=(NO SUMMARY)"),
		},
		{
			name:    "the dependency is up",
			request: monitors.Request{Hosts: hosts, Runs: 1, Events: 1, LastSummary: "h1", LastOutput: "h1\n", FirstFailure: at(5), LastFailure: at(5), DependStatus: new(true)},
			env:     env("MON_DEPEND_STATUS=1", "MON_FIRST_FAILURE=1005", "MON_LAST_FAILURE=1005", "MON_LAST_OUTPUT=h1\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1"),
		},
		{
			name:    "the dependency is down",
			request: monitors.Request{Hosts: hosts, DependStatus: new(false)},
			env:     env("MON_DEPEND_STATUS=0", "MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0"),
		},
		{
			name:    "state loaded, output lost",
			request: monitors.Request{Hosts: hosts, LastSummary: "h1", FirstFailure: at(2), LastFailure: at(4)},
			env:     env("MON_FIRST_FAILURE=1002", "MON_LAST_FAILURE=1004", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1"),
		},
		{
			name: "no hosts on the command line", noHosts: true,
			request: monitors.Request{Hosts: hosts},
			args:    []string{"/m/scripted.monitor", "-p", "a b"},
			env:     env("MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0"),
		},
		{
			name:    "variables of the contract are mon's",
			request: monitors.Request{Hosts: hosts, Env: []string{"MON_GROUP=x", "MON_DEPEND_STATUS=1", "MON_ACK=x", "MON_MINE=y"}},
			env:     env("MON_MINE=y", "MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Group, tt.request.Service = "g", "s"
			if tt.args == nil {
				tt.args = []string{"/m/scripted.monitor", "-p", "a b", "h1", "h2"}
			}
			got := program.Monitor(tt.request, monitorSite, !tt.noHosts)
			if diff := cmp.Diff(tt.args, got.Args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.env, sorted(got.Env)); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if got.Stdin != nil {
				t.Errorf("standard input %q, want none", got.Stdin)
			}
		})
	}
}

// The cases are calls that mon 1.3.6 was seen to make.
func TestAlert(t *testing.T) {
	tests := []struct {
		name  string
		event alerts.Event
		flag  string
		env   []string
		stdin string
	}{
		{
			name: "first failure",
			event: alerts.Event{
				Kind: alerts.Failure, Time: at(2), Summary: "h1", Output: []byte("h1\ndetail\n"), Exit: new(1),
				Events: 1, FirstFailure: at(2), LastFailure: at(2), Description: "A test", Env: []string{"FOO=bar baz", "MON_GROUP=x"},
			},
			env: env("FOO=bar baz", "MON_ALERTTYPE=failure", "MON_DESCRIPTION=A test", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=",
				"MON_LAST_FAILURE=1002", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1", "MON_OPSTATUS=0", "MON_RETVAL=1"),
			stdin: "h1\ndetail\n",
		},
		{
			name: "second failure",
			event: alerts.Event{
				Kind: alerts.Failure, Time: at(4), Summary: "h2", Output: []byte("h2\nsecond\n"), Exit: new(4),
				Previous: "h1\nfirst\n", Events: 2, FirstFailure: at(2), LastFailure: at(4),
			},
			env: env("MON_ALERTTYPE=failure", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1004",
				"MON_LAST_OUTPUT=h1\nfirst\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h2", "MON_OPSTATUS=0", "MON_RETVAL=4"),
			stdin: "h2\nsecond\n",
		},
		{
			name: "failure after one without output",
			event: alerts.Event{
				Kind: alerts.Failure, Time: at(4), Summary: "x", Output: []byte("x\n"), Exit: new(1),
				Events: 2, FirstFailure: at(2), LastFailure: at(4),
			},
			env: env("MON_ALERTTYPE=failure", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1004",
				"MON_LAST_OUTPUT=", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=x", "MON_OPSTATUS=0", "MON_RETVAL=1"),
			stdin: "x\n",
		},
		{
			name: "recovery",
			event: alerts.Event{
				Kind: alerts.Up, Time: at(7), Summary: "h2", Output: []byte("h2\nsecond\n"), Status: 1, Exit: new(0),
				Previous: "h2\nsecond\n", Events: 3, FirstFailure: at(2), LastFailure: at(4),
			},
			flag: "-u",
			env: env("MON_ALERTTYPE=up", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1004",
				"MON_LAST_OUTPUT=h2\nsecond\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h2", "MON_OPSTATUS=1", "MON_RETVAL=0"),
			stdin: "h2\nsecond\n",
		},
		{
			name: "recovery as the first event after a restart",
			event: alerts.Event{
				Kind: alerts.Up, Time: at(7), Summary: "h1", Status: 1, Exit: new(0), Events: 1, FirstFailure: at(2), LastFailure: at(4),
			},
			flag: "-u",
			env: env("MON_ALERTTYPE=up", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1004",
				"MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1", "MON_OPSTATUS=1", "MON_RETVAL=0"),
		},
		{
			name:  "first success, redistributed",
			event: alerts.Event{Kind: alerts.Up, Time: at(2), Status: 1, Exit: new(0), Events: 1},
			flag:  "-u",
			env: env("MON_ALERTTYPE=up", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0",
				"MON_OPSTATUS=1", "MON_RETVAL=0"),
		},
		{
			name: "another success, redistributed",
			event: alerts.Event{
				Kind: alerts.Up, Time: at(12), Summary: "ok", Output: []byte("ok\n"), Previous: "ok\n", Status: 1, Exit: new(0),
				Events: 5, LastSuccess: at(10),
			},
			flag: "-u",
			env: env("MON_ALERTTYPE=up", "MON_FIRST_FAILURE=0", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=0", "MON_LAST_OUTPUT=ok\n",
				"MON_LAST_SUCCESS=1010", "MON_LAST_SUMMARY=ok", "MON_OPSTATUS=1", "MON_RETVAL=0"),
			stdin: "ok\n",
		},
		{
			name:  "startup",
			event: alerts.Event{Kind: alerts.Startup, Time: at(0), Status: 7, Exit: new(0)},
			env: env("MON_ALERTTYPE=startup", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=0", "MON_LAST_SUCCESS=0",
				"MON_OPSTATUS=7", "MON_RETVAL=0"),
		},
		{
			name: "acknowledgement",
			event: alerts.Event{
				Kind: alerts.Ack, Time: at(5), Summary: "h1", Output: []byte("h1\ndetail\n"), Previous: "h1\ndetail\n", Events: 2,
				FirstFailure: at(2), LastFailure: at(4), Ack: ": looking into it",
			},
			flag: "-a",
			env: env("MON_ACK=: looking into it", "MON_ALERTTYPE=ack", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=",
				"MON_LAST_FAILURE=1004", "MON_LAST_OUTPUT=h1\ndetail\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1", "MON_OPSTATUS=0"),
			stdin: ": looking into it",
		},
		{
			name: "acknowledgement of the first failure",
			event: alerts.Event{
				Kind: alerts.Ack, Time: at(3), Summary: "h1", Previous: "h1\nd\n", Events: 1,
				FirstFailure: at(2), LastFailure: at(2), Ack: ": known",
			},
			flag: "-a",
			env: env("MON_ACK=: known", "MON_ALERTTYPE=ack", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=",
				"MON_LAST_FAILURE=1002", "MON_LAST_OUTPUT=h1\nd\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1", "MON_OPSTATUS=0"),
			stdin: ": known",
		},
		{
			name: "recovery while acknowledged",
			event: alerts.Event{
				Kind: alerts.Up, Time: at(10), Summary: "h1", Output: []byte("h1\ndetail\n"), Status: 1, Exit: new(0),
				Previous: "h1\ndetail\n", Events: 4, FirstFailure: at(2), LastFailure: at(7), Ack: ": looking into it",
			},
			flag: "-u",
			env: env("MON_ACK=: looking into it", "MON_ALERTTYPE=up", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1007",
				"MON_LAST_OUTPUT=h1\ndetail\n", "MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=h1", "MON_OPSTATUS=1", "MON_RETVAL=0"),
			stdin: "h1\ndetail\n",
		},
		{
			name: "trap for the default watch",
			event: alerts.Event{
				Kind: alerts.Trap, Time: at(1), Summary: "lost", Output: []byte("lost\n\n"), Exit: new(1), Events: 1,
				FirstFailure: at(1), LastFailure: at(1), TrapIntended: "nogrp:nosvc",
			},
			flag: "-T",
			env: env("MON_ALERTTYPE=trap", "MON_FIRST_FAILURE=1001", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1001", "MON_LAST_SUCCESS=0",
				"MON_LAST_SUMMARY=lost", "MON_OPSTATUS=0", "MON_RETVAL=1", "MON_TRAP_INTENDED=nogrp:nosvc"),
			stdin: "lost\n\n",
		},
		{
			name: "recovery told by a trap",
			event: alerts.Event{
				Kind: alerts.Up, Time: at(5), Summary: "lost", Output: []byte("lost\n\n"), Status: 1, Exit: new(0), Events: 2,
				Previous: "lost\n\n", FirstFailure: at(1), LastFailure: at(1), TrapIntended: "other:thing",
			},
			flag: "-u",
			env: env("MON_ALERTTYPE=up", "MON_FIRST_FAILURE=1001", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1001", "MON_LAST_OUTPUT=lost\n\n",
				"MON_LAST_SUCCESS=0", "MON_LAST_SUMMARY=lost", "MON_OPSTATUS=1", "MON_RETVAL=0", "MON_TRAP_INTENDED=other:thing"),
			stdin: "lost\n\n",
		},
		{
			name: "no trap came",
			event: alerts.Event{
				Kind: alerts.TrapTimeout, Time: at(8), Summary: "trap timeout", Output: []byte("trap timeout\ntrap timeout after 5s at X\n"),
				Exit: new(1), Events: 2, Previous: "alive\n\n", FirstFailure: at(8), LastFailure: at(8), LastSuccess: at(2),
			},
			flag: "-O",
			env: env("MON_ALERTTYPE=traptimeout", "MON_FIRST_FAILURE=1008", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1008",
				"MON_LAST_OUTPUT=alive\n\n", "MON_LAST_SUCCESS=1002", "MON_LAST_SUMMARY=trap timeout", "MON_OPSTATUS=0", "MON_RETVAL=1"),
			stdin: "trap timeout\ntrap timeout after 5s at X\n",
		},
		testOf(alerts.Failure, "", "MON_ALERTTYPE=test"),
		testOf(alerts.Up, "-u", "MON_ALERTTYPE=up"),
		testOf(alerts.Startup, "", "MON_ALERTTYPE=startup"),
		testOf(alerts.Ack, "-a", "MON_ALERTTYPE=ack"),
		testOf(alerts.Disable, "-D", "MON_ALERTTYPE=disable"),
		{
			name: "bytes as they are",
			event: alerts.Event{
				Kind: alerts.Failure, Time: at(2), Summary: `h1 'q' "dq" back\slash = x`, Output: []byte("h1 'q' \"dq\" back\\slash = x\ntab\there \xc3\xa9\xff\x00\n"),
				Exit: new(1), Events: 1, FirstFailure: at(2), LastFailure: at(2),
			},
			env: env("MON_ALERTTYPE=failure", "MON_FIRST_FAILURE=1002", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=1002", "MON_LAST_SUCCESS=0",
				`MON_LAST_SUMMARY=h1 'q' "dq" back\slash = x`, "MON_OPSTATUS=0", "MON_RETVAL=1"),
			stdin: "h1 'q' \"dq\" back\\slash = x\ntab\there \xc3\xa9\xff\x00\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.event.Group, tt.event.Service = "g", "s"
			tt.event.Hosts = []alerts.Host{{Name: "h1"}, {Name: "h0", Disabled: true}, {Name: "h2"}}
			args := []string{"/a/a.alert", "-s", "s", "-g", "g", "-h", "h1 h2", "-t", epoch(tt.event.Time)}
			if tt.flag != "" {
				args = append(args, tt.flag)
			}
			got := Program{Path: "/a/a.alert", Args: []string{"-f", "x"}}.Alert(tt.event, alertSite)
			if diff := cmp.Diff(append(args, "-f", "x"), got.Args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.env, sorted(got.Env)); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if got.Stdin == nil || string(got.Stdin) != tt.stdin {
				t.Errorf("standard input %q, want %q", got.Stdin, tt.stdin)
			}
		})
	}
}

// testOf is mon's "test KIND", typed when the last event was a success.
func testOf(kind alerts.Kind, flag, word string) (tt struct {
	name  string
	event alerts.Event
	flag  string
	env   []string
	stdin string
},
) {
	tt.name, tt.flag, tt.stdin = "test of "+kind.String(), flag, "test\ntest detail\n"
	tt.event = alerts.Event{
		Kind: alerts.Test, Testing: kind, Time: at(3), Summary: "ok", Output: []byte("test\ntest detail\n"), Previous: "ok\n",
		Status: 1, Exit: new(7), Events: 1, LastSuccess: at(2),
	}
	tt.env = env(word, "MON_FIRST_FAILURE=0", "MON_FIRST_SUCCESS=", "MON_LAST_FAILURE=0", "MON_LAST_OUTPUT=ok\n",
		"MON_LAST_SUCCESS=1002", "MON_LAST_SUMMARY=ok", "MON_OPSTATUS=1", "MON_RETVAL=7")
	return tt
}

func TestEnviron(t *testing.T) {
	i := Invocation{Env: []string{"A=1", "MON_GROUP=g"}}
	own := []string{"PATH=/bin", "MON_GROUP=x", "MON_ACK=left over", "MON_MINE=y"}
	want := []string{"PATH=/bin", "MON_MINE=y", "A=1", "MON_GROUP=g"}
	if diff := cmp.Diff(want, i.Environ(own)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if own[1] != "MON_GROUP=x" {
		t.Errorf("the caller's environment was changed: %q", own)
	}
}

func TestNamesAreSorted(t *testing.T) {
	if !slices.IsSorted(names) {
		t.Errorf("binary search needs sorted names: %q", names)
	}
}

// What no program can be given is cut, for an execve that fails is worse.
func TestPassable(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	e := alerts.Event{
		Kind: alerts.Failure, Group: "g", Service: "s\x00x", Summary: "a\x00b", Previous: huge, Ack: "ü\x00", Events: 2,
		Env: []string{"BIG=" + huge, "NUL=a\x00b"}, Output: []byte("a\x00b"),
	}
	for range 20_000 {
		e.Hosts = append(e.Hosts, alerts.Host{Name: "192.0.2.100"})
	}
	got := Program{Path: "/a", Args: []string{huge}}.Alert(e, alertSite)
	for _, s := range slices.Concat(got.Args, got.Env) {
		if len(s) > longest || strings.Contains(s, "\x00") {
			t.Errorf("%.40q… of %d bytes", s, len(s))
		}
	}
	for _, want := range []string{"MON_LAST_SUMMARY=a", "MON_ACK=ü", "NUL=a"} {
		if !slices.Contains(got.Env, want) {
			t.Errorf("the environment has no %q", want)
		}
	}
	if word := got.Args[6]; len(word) < longest-12 || !strings.HasSuffix(word, " 192.0.2.100") {
		t.Errorf("the hosts are cut to %d bytes, ending in %q", len(word), word[len(word)-20:])
	}
	if string(got.Stdin) != "a\x00b" {
		t.Errorf("standard input %q", got.Stdin)
	}
}
