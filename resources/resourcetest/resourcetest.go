// Package resourcetest is the conformance suite of the resources contract: every
// kind of resource runs it in its tests, one that you write yourself included.
//
//	func TestConformance(t *testing.T) {
//		resourcetest.Run(t, resourcetest.Subject{
//			New: func(t testing.TB) func() resources.Resource {
//				dir := t.TempDir()
//				return func() resources.Resource { return newResource(dir) }
//			},
//		})
//	}
//
// Run it with -race. It looks for leaked goroutines, so a test that calls it
// must not run in parallel with others of its package.
package resourcetest

import (
	"context"
	"testing"

	"github.com/monitord/monitord/resources"
)

// A Subject says how to make the resource under test. The functions are called
// anew for each check, with that check's t; what they start they end with
// t.Cleanup.
//
// Each of them prepares a place, such as a network interface of its own, in
// which the resource is stopped, and returns what makes the resource of this
// place. A second one made there is what a restarted daemon has.
type Subject struct {
	New func(t testing.TB) func() resources.Resource
	// Broken is a resource that cannot be started: its interface is missing, its
	// script fails. The check on it is skipped if there is no such function.
	Broken func(t testing.TB) func() resources.Resource
	// Blocked is a resource whose Start never comes to an end by itself, as far
	// as the place decides on it; a timeout of its own should be a minute or more.
	// Two of them wait at once, in two places. Without it the checks that need it are skipped.
	Blocked func(t testing.TB) func() resources.Resource
	// NeverFails and NeverWaits say why there is no such place, for a resource whose
	// Start has nothing that could fail, or nothing to wait for: the check does not
	// apply then, and is skipped with that reason.
	NeverFails, NeverWaits string
	// InProcess is for a resource that ends with the process that started it,
	// so that a restarted daemon has nothing to find.
	InProcess bool
}

// Run runs all checks, each as a subtest of its own. Those on leases are run if
// the resource is a [resources.Renewer].
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

// A bench is a subject bound to one check's t. Each call prepares a new place.
type bench struct {
	place, broken, blocked func() func() resources.Resource
	inProcess              bool
}

func (s Subject) prepare(t testing.TB) bench {
	bind := func(prepare func(testing.TB) func() resources.Resource) func() func() resources.Resource {
		if prepare == nil {
			return nil
		}
		return func() func() resources.Resource { return prepare(t) }
	}
	return bench{place: bind(s.New), broken: bind(s.Broken), blocked: bind(s.Blocked), inProcess: s.InProcess}
}

// resource makes a resource in a place of its own.
func (b bench) resource() resources.Resource { return b.place()() }

// A check is one rule of the contract; it returns how the rule is broken.
type check struct {
	name   string
	verify func(context.Context, bench) error
	needs  need
}

type need int

const (
	nothing need = iota
	aBrokenResource
	aBlockedResource
	aLease
	aPersistentResource
)

func (c check) lacks(s Subject, b bench) string {
	switch c.needs {
	case nothing:
	case aBrokenResource:
		if b.broken == nil {
			return absent("broken", s.NeverFails)
		}
	case aBlockedResource:
		if b.blocked == nil {
			return absent("blocked", s.NeverWaits)
		}
	case aLease:
		if _, ok := b.resource().(resources.Renewer); !ok {
			return "does not apply: the resource is not held on a lease"
		}
	case aPersistentResource:
		if b.inProcess {
			return "does not apply: the resource ends with its process"
		}
	}
	return ""
}

// absent says why a check is left out.
func absent(what, why string) string {
	if why == "" {
		return "the subject has no " + what + " resource"
	}
	return "does not apply: " + why
}

func checks() []check {
	return []check{
		{name: "stopped at first", verify: stoppedAtFirst},
		{name: "start and stop", verify: startAndStop},
		{name: "start twice", verify: startTwice},
		{name: "stop what is stopped", verify: stopStopped},
		{name: "start, stop and start again", verify: cycles},
		{name: "status changes nothing", verify: statusChangesNothing},
		{name: "status finds out", verify: statusFindsOut, needs: aPersistentResource},
		{name: "a restarted daemon can stop it", verify: restartedStops, needs: aPersistentResource},
		{name: "a restarted daemon can start it", verify: restartedStarts, needs: aPersistentResource},
		{name: "two resources at once", verify: twoAtOnce},
		{name: "a failed start leaves nothing behind", verify: failedStart, needs: aBrokenResource},
		{name: "start with a cancelled context", verify: startCancelled},
		{name: "stop with a cancelled context", verify: stopCancelled},
		{name: "status with a cancelled context", verify: statusCancelled},
		{name: "start is cancelled while it waits", verify: startBlocked, needs: aBlockedResource},
		{name: "renew while running", verify: renewRunning, needs: aLease},
		{name: "renew does not start", verify: renewStopped, needs: aLease},
		{name: "renew with a cancelled context", verify: renewCancelled, needs: aLease},
		{name: "no goroutine is left", verify: noLeak},
	}
}
