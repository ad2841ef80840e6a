// Package monitortest is the conformance suite of the monitors contract: every
// kind of monitor runs it in its tests, one that you write yourself included.
//
//	func TestConformance(t *testing.T) {
//		monitortest.Run(t, monitortest.Subject{
//			New:    func(t testing.TB) monitors.Monitor { return newMonitor(defaults) },
//			Up:     func(t testing.TB) string { return serve(t, answer) },
//			Down:   func(t testing.TB) string { return refusingAddress(t) },
//			Silent: func(t testing.TB) string { return serve(t, hang) },
//		})
//	}
//
// Run it with -race. It looks for leaked goroutines, so a test that calls it
// must not run in parallel with others of its package.
package monitortest

import (
	"context"
	"testing"
	"time"

	"github.com/monitord/monitord/monitors"
)

// A Subject says how to make the monitor under test, and hosts for it to judge.
// The functions are called anew for each check, with that check's t; what they
// start they end with t.Cleanup.
type Subject struct {
	// New makes a monitor. Its own timeout for a host should be a minute or more: the
	// end of the run, and not the monitor's own, is what ends the wait for a silent
	// host, and before the monitor's own, however busy the machine.
	New func(t testing.TB) monitors.Monitor
	// Patient makes the monitor with such a timeout, for one that finds a host down by
	// waiting for it, and has a short timeout in New. It is nil if New's will do.
	Patient func(t testing.TB) monitors.Monitor
	// Up makes a host that is up and returns its entry in a host group.
	Up func(t testing.TB) string
	// Down makes a host that is found to be down within a second or two: a port
	// that refuses, a page that is missing.
	Down func(t testing.TB) string
	// Silent makes a host that gives no answer at all: the checks on a run's
	// end need one. Without it they are skipped.
	Silent func(t testing.TB) string
	// NeverSilent says why there is no such host, for a monitor that waits for nobody:
	// the checks do not apply then, and are skipped with that reason.
	NeverSilent string
	// WholeGroup is for a monitor that judges the group and not its hosts: its
	// results name no host.
	WholeGroup bool
	// Env is put into every request.
	Env []string
}

// Run runs all checks, each as a subtest of its own.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			switch {
			case !c.silent || s.Silent != nil:
			case s.NeverSilent != "":
				t.Skip("does not apply: " + s.NeverSilent)
			default:
				t.Skip("the subject has no silent host")
			}
			if err := c.verify(t.Context(), s.prepare(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A bench is a subject with its hosts running.
type bench struct {
	monitor, patient func() monitors.Monitor
	up, down, silent string
	env              []string
	wholeGroup       bool
}

func (s Subject) prepare(t testing.TB) bench {
	b := bench{
		monitor: func() monitors.Monitor { return s.New(t) },
		up:      s.Up(t), down: s.Down(t),
		env: s.Env, wholeGroup: s.WholeGroup,
	}
	b.patient = b.monitor
	if s.Patient != nil {
		b.patient = func() monitors.Monitor { return s.Patient(t) }
	}
	if s.Silent != nil {
		b.silent = s.Silent(t)
	}
	return b
}

// request asks for hosts, in a slice with room behind its end: a monitor that
// appends to it would write into its neighbour's memory.
func (b bench) request(hosts ...string) monitors.Request {
	roomy := make([]string, len(hosts), len(hosts)+3)
	copy(roomy, hosts)
	env := make([]string, len(b.env), len(b.env)+3)
	copy(env, b.env)
	return monitors.Request{
		Group: "conformance", Service: "check", Description: "conformance suite",
		Hosts: roomy, Env: env,
		Runs: 3, Events: 4, LastSummary: "before", LastOutput: "before\nand more\n",
		LastSuccess: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
	}
}

// A check is one rule of the contract. It gets a bench of its own and returns
// how the rule is broken.
type check struct {
	name   string
	verify func(context.Context, bench) error
	silent bool // needs a silent host
}

func checks() []check {
	return []check{
		{name: "a host that is up", verify: upIsUp},
		{name: "a host that is down", verify: downIsDown},
		{name: "one result per host in order", verify: oneResultPerHost},
		{name: "output and exit status agree with the verdicts", verify: summaryAgrees},
		{name: "duplicate hosts", verify: duplicates},
		{name: "many hosts", verify: manyHosts},
		{name: "no hosts", verify: noHosts},
		{name: "the same again", verify: sameAgain},
		{name: "an earlier result stays as it was", verify: earlierResultKept},
		{name: "the request is not modified", verify: requestKept},
		{name: "several watches at once", verify: severalWatches},
		{name: "cancelled beforehand", verify: cancelledBeforehand},
		{name: "cancelled while waiting", verify: cancelledWhileWaiting, silent: true},
		{name: "the run's deadline", verify: deadlineWhileWaiting, silent: true},
		{name: "no goroutine is left", verify: noLeak},
		{name: "no goroutine is left after a cancelled run", verify: noLeakCancelled, silent: true},
	}
}
