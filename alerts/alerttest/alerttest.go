// Package alerttest is the conformance suite of the alerts contract: every kind
// of alert runs it in its tests, one that you write yourself included.
//
//	func TestConformance(t *testing.T) {
//		alerttest.Run(t, alerttest.Subject{
//			New:     func(t testing.TB) alerts.Alert { return newAlert(server(t, accept)) },
//			Broken:  func(t testing.TB) alerts.Alert { return newAlert(server(t, refuse)) },
//			Blocked: func(t testing.TB) alerts.Alert { return newAlert(server(t, hang)) },
//		})
//	}
//
// Run it with -race. It looks for leaked goroutines, so a test that calls it
// must not run in parallel with others of its package.
package alerttest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/alerts"
)

// A Subject says how to make the alert under test. The functions are called anew
// for each check, with that check's t; what they start they end with t.Cleanup.
type Subject struct {
	// New makes an alert whose destination accepts everything.
	New func(t testing.TB) alerts.Alert
	// Broken makes an alert that cannot deliver: the server refuses, the program
	// fails. The check on it is skipped if there is no such function.
	Broken func(t testing.TB) alerts.Alert
	// Blocked makes an alert whose destination never answers; its own timeouts
	// should be a minute or more: the context is what ends a delivery, and before
	// them, however busy the machine. Without it the checks that need it are skipped.
	Blocked func(t testing.TB) alerts.Alert
	// NeverFails and NeverWaits say why there is no such alert, for one whose way has
	// nothing that could refuse, or nobody to wait for: the checks do not apply then,
	// and are skipped with that reason.
	NeverFails, NeverWaits string
	// Adapt changes the suite's events into ones that the alert can handle, if
	// it knows only certain hosts or groups. It is nil if any will do, and is
	// not called for the zero event.
	Adapt func(alerts.Event) alerts.Event
}

// Run runs all checks, each as a subtest of its own.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			b := s.prepare(t)
			if why := c.lacks(s, b); why != "" {
				t.Skip(why)
			}
			if err := c.verify(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
}

// A bench is a subject bound to one check's t.
type bench struct {
	alert, broken, blocked func() alerts.Alert
	adapt                  func(alerts.Event) alerts.Event
}

func (s Subject) prepare(t testing.TB) bench {
	bind := func(build func(testing.TB) alerts.Alert) func() alerts.Alert {
		if build == nil {
			return nil
		}
		return func() alerts.Alert { return build(t) }
	}
	b := bench{alert: bind(s.New), broken: bind(s.Broken), blocked: bind(s.Blocked), adapt: s.Adapt}
	if b.adapt == nil {
		b.adapt = func(e alerts.Event) alerts.Event { return e }
	}
	return b
}

// A check is one rule of the contract; it returns how the rule is broken.
type check struct {
	name   string
	verify func(context.Context, bench) error
	needs  need
}

type need int

const (
	nothing need = iota
	aBrokenAlert
	aBlockedAlert
)

func (c check) lacks(s Subject, b bench) string {
	switch {
	case c.needs == aBrokenAlert && b.broken == nil:
		return absent("broken", s.NeverFails)
	case c.needs == aBlockedAlert && b.blocked == nil:
		return absent("blocked", s.NeverWaits)
	}
	return ""
}

// absent says why a check is left out.
func absent(what, why string) string {
	if why == "" {
		return "the subject has no " + what + " alert"
	}
	return "does not apply: " + why
}

func checks() []check {
	return []check{
		{name: "every kind of event", verify: everyKind},
		{name: "a test of every kind", verify: everyTest},
		{name: "the same event twice", verify: sameTwice},
		{name: "failure, recovery, failure", verify: backAndForth},
		{name: "the zero event", verify: zeroEvent},
		{name: "an event without hosts", verify: withoutHosts},
		{name: "1,000 hosts", verify: manyHosts},
		{name: "an output of a megabyte", verify: hugeOutput},
		{name: "hostile text", verify: hostileText},
		{name: "the event is not modified", verify: eventKept},
		{name: "several watches at once", verify: severalWatches},
		{name: "a failed delivery is an error", verify: brokenIsError, needs: aBrokenAlert},
		{name: "cancelled beforehand", verify: cancelledBeforehand},
		{name: "cancelled while waiting", verify: cancelledWhileWaiting, needs: aBlockedAlert},
		{name: "the deadline", verify: deadlineWhileWaiting, needs: aBlockedAlert},
		{name: "no goroutine is left", verify: noLeak},
		{name: "no goroutine is left after a cancelled delivery", verify: noLeakCancelled, needs: aBlockedAlert},
	}
}

// kinds lists every kind of event there is: the first value without a name of
// its own ends it, so that a new kind is tried without a change here.
func kinds() []alerts.Kind {
	var all []alerts.Kind
	for k := alerts.Kind(0); !strings.HasPrefix(k.String(), "kind "); k++ {
		all = append(all, k)
	}
	return all
}

// event is an outage of one host of three, told in the given way.
func event(kind alerts.Kind) alerts.Event {
	began := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	e := alerts.Event{
		Kind: kind, Testing: alerts.Failure,
		Group: "conformance", Service: "check", Description: "conformance suite",
		Period: "always", Time: began.Add(time.Minute),
		Hosts: []alerts.Host{
			{Name: "192.0.2.1", State: alerts.HostUp, Since: began.Add(-time.Hour)},
			{Name: "web2.example", State: alerts.HostDown, Since: began, Reason: "connection refused", Concerned: true},
			{Name: "[2001:db8::3]:80", State: alerts.HostUnknown, Reason: "no address", Disabled: true},
		},
		Summary: "web2.example", Output: []byte("web2.example\nweb2.example: connection refused\n"),
		Reason: "failure 3 of alertafter 3", Status: 0, Exit: new(1),
		Previous: "\n", Events: 12,
		FirstFailure: began, LastFailure: began.Add(time.Minute), LastSuccess: began.Add(-time.Second),
		Ack: "operator: on it", TrapIntended: "other:trap", Outage: "conformance:check:1",
		Env: []string{"SITE=north"},
	}
	if kind == alerts.Up || kind == alerts.Startup {
		e.Status, e.Exit = 1, new(0)
		e.Hosts[1].State, e.Hosts[1].Reason = alerts.HostUp, ""
	}
	return e
}

// thousand is an event about 1,000 hosts that failed at once.
func thousand() alerts.Event {
	e := event(alerts.Failure)
	names := make([]string, 1000)
	e.Hosts = make([]alerts.Host, len(names))
	for i := range names {
		names[i] = fmt.Sprintf("host%03d.example", i)
		e.Hosts[i] = alerts.Host{
			Name: names[i], State: alerts.HostDown, Since: e.FirstFailure,
			Reason: "no answer within 1s", Concerned: true,
		}
	}
	e.Summary = strings.Join(names, " ")
	e.Output = []byte(e.Summary + "\n")
	return e
}
