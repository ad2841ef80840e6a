package resourcetest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/resources"
)

// Times of the checks. How long something takes on a busy machine under the race
// detector nobody knows: the allowance for "when ctx is done at the latest" only
// bounds what hangs, and it is a patient Start that tells who ends in his own time.
const (
	// aWhile is how long a call goes on before it is cancelled.
	aWhile = 100 * time.Millisecond
	// promptly is how long after ctx is done a call may take to return.
	promptly = 2 * time.Second
	// patience bounds calls that nobody cancels.
	patience = 60 * time.Second
)

func stoppedAtFirst(ctx context.Context, b bench) error {
	return is(ctx, b.resource(), resources.Stopped, "before it was ever started")
}

func startAndStop(ctx context.Context, b bench) error {
	r := b.resource()
	return inOrder(
		func() error { return start(ctx, r) },
		func() error { return is(ctx, r, resources.Running, "after Start") },
		func() error { return stop(ctx, r) },
		func() error { return is(ctx, r, resources.Stopped, "after Stop") },
	)
}

func startTwice(ctx context.Context, b bench) error {
	r := b.resource()
	return inOrder(
		func() error { return start(ctx, r) },
		func() error { return again(start(ctx, r)) },
		func() error { return is(ctx, r, resources.Running, "after two Starts") },
		func() error { return stop(ctx, r) },
		func() error { return is(ctx, r, resources.Stopped, "after two Starts and one Stop") },
	)
}

func stopStopped(ctx context.Context, b bench) error {
	r := b.resource()
	return inOrder(
		func() error { return stop(ctx, r) },
		func() error { return again(stop(ctx, r)) },
		func() error { return is(ctx, r, resources.Stopped, "after two Stops without a Start") },
		func() error { return start(ctx, r) },
		func() error { return stop(ctx, r) },
		func() error { return again(stop(ctx, r)) },
		func() error { return is(ctx, r, resources.Stopped, "after a Start and two Stops") },
	)
}

func cycles(ctx context.Context, b bench) error {
	r := b.resource()
	for i := range 5 {
		err := inOrder(
			func() error { return start(ctx, r) },
			func() error { return is(ctx, r, resources.Running, "after Start") },
			func() error { return stop(ctx, r) },
			func() error { return is(ctx, r, resources.Stopped, "after Stop") },
		)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	return nil
}

func statusChangesNothing(ctx context.Context, b bench) error {
	r := b.resource()
	for range 3 {
		if err := is(ctx, r, resources.Stopped, "after another Status while stopped"); err != nil {
			return err
		}
	}
	if err := start(ctx, r); err != nil {
		return err
	}
	for range 3 {
		if err := is(ctx, r, resources.Running, "after another Status while running"); err != nil {
			return errors.Join(err, stop(ctx, r))
		}
	}
	return stop(ctx, r)
}

// statusFindsOut asks a second resource of the same place: one that remembers
// what it did, and does not look, has nothing to remember.
func statusFindsOut(ctx context.Context, b bench) error {
	build := b.place()
	r, other := build(), build()
	return inOrder(
		func() error { return start(ctx, r) },
		func() error { return is(ctx, other, resources.Running, "to a restarted daemon, after Start") },
		func() error { return stop(ctx, other) },
		func() error {
			return is(ctx, r, resources.Stopped, "to the one who started it, after somebody else's Stop")
		},
		func() error { return start(ctx, r) },
		func() error { return is(ctx, r, resources.Running, "after it was started once more") },
		func() error { return stop(ctx, r) },
	)
}

func restartedStops(ctx context.Context, b bench) error {
	build := b.place()
	r := build()
	return inOrder(
		func() error { return start(ctx, r) },
		func() error { return stop(ctx, build()) },
		func() error { return is(ctx, build(), resources.Stopped, "after a restarted daemon's Stop") },
		func() error { return again(stop(ctx, r)) },
	)
}

func restartedStarts(ctx context.Context, b bench) error {
	build := b.place()
	return inOrder(
		func() error { return start(ctx, build()) },
		func() error { return again(start(ctx, build())) },
		func() error { return is(ctx, build(), resources.Running, "after a restarted daemon's Start") },
		func() error { return stop(ctx, build()) },
		func() error { return is(ctx, build(), resources.Stopped, "after Stop") },
	)
}

// twoAtOnce runs resources of two groups in two places, so that state shared
// between them shows in their status, or to the race detector.
func twoAtOnce(ctx context.Context, b bench) error {
	first, second := b.resource(), b.resource()
	err := inOrder(
		func() error { return start(ctx, first) },
		func() error { return is(ctx, second, resources.Stopped, "while one in another place is running") },
		func() error { return stop(ctx, first) },
	)
	if err != nil {
		return err
	}
	done := make(chan error, 2)
	for _, r := range []resources.Resource{first, second} {
		go func() {
			done <- inOrder(
				func() error { return start(ctx, r) },
				func() error { return is(ctx, r, resources.Running, "after Start") },
				func() error { return stop(ctx, r) },
				func() error { return is(ctx, r, resources.Stopped, "after Stop") },
			)
		}()
	}
	return errors.Join(<-done, <-done)
}

func failedStart(ctx context.Context, b bench) error {
	build := b.broken()
	r := build()
	err := call(ctx, "Start", r.Start)
	switch {
	case err == nil:
		return errors.Join(errors.New("no error from the Start of a broken resource"), stop(ctx, r))
	case isPanic(err):
		return err
	}
	return inOrder(
		func() error { return notRunning(ctx, r, "after a failed Start") },
		func() error { return stop(ctx, r) },
		func() error { return stop(ctx, build()) },
		func() error { return notRunning(ctx, r, "after a failed Start and a Stop") },
	)
}

// startCancelled accepts both answers, but each has to be true: an error with
// nothing left behind, or success with the resource running.
func startCancelled(ctx context.Context, b bench) error {
	r := b.resource()
	over, cancel := context.WithCancel(ctx)
	cancel()
	err := promptCall(over, "Start", r.Start)
	want, when := resources.Running, "after a Start without error"
	switch {
	case isBroken(err):
		return err
	case err != nil:
		want, when = resources.Stopped, fmt.Sprintf("after a Start that failed (%s)", err)
	}
	return errors.Join(is(ctx, r, want, when), stop(ctx, r), is(ctx, r, resources.Stopped, "after Stop"))
}

func stopCancelled(ctx context.Context, b bench) error {
	r := b.resource()
	if err := start(ctx, r); err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	err := promptCall(over, "Stop", r.Stop)
	if isBroken(err) {
		return err
	}
	if err == nil {
		if err := is(ctx, r, resources.Stopped, "after a Stop without error"); err != nil {
			return err
		}
	}
	return errors.Join(stop(ctx, r), is(ctx, r, resources.Stopped, "after another Stop"))
}

func statusCancelled(ctx context.Context, b bench) error {
	r := b.resource()
	if err := start(ctx, r); err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	var got resources.Status
	err := promptCall(over, "Status", func(ctx context.Context) (err error) {
		got, err = r.Status(ctx)
		return err
	})
	switch {
	case isBroken(err):
		return err
	case err == nil && got != resources.Running:
		err = fmt.Errorf("status is %s and no error while it runs: what could not be found out is an error", got)
	default:
		err = nil
	}
	return errors.Join(err, stop(ctx, r))
}

// startBlocked verifies that a Start that is cut short comes to its end before one
// that began earlier, and is not: a resource that obeys its own timeout and not its
// context ends the earlier one first, however short or long that timeout is.
func startBlocked(ctx context.Context, b bench) error {
	waiting, release := context.WithCancel(ctx)
	defer release()
	other, patient := b.blocked()(), make(chan error, 1)
	go func() { patient <- call(waiting, "Start", other.Start) }()
	head := time.NewTimer(aWhile)
	defer head.Stop()
	select {
	case err := <-patient:
		return errors.Join(fmt.Errorf("a blocked Start ended within %s, and nobody had cancelled it", aWhile), err, stop(ctx, other))
	case <-head.C:
	}
	if err := startCutShort(ctx, b.blocked()()); err != nil {
		return err
	}
	select {
	case err := <-patient:
		return errors.Join(errors.New("Start ended after one that nobody had cancelled: by its own timeout, not by its context"), err, stop(ctx, other))
	default:
	}
	release()
	if err := soon("Start", patient); isBroken(err) {
		return err
	}
	return errors.Join(notRunning(ctx, other, "after a cancelled Start"), stop(ctx, other))
}

func startCutShort(ctx context.Context, r resources.Resource) error {
	short, cancel := context.WithTimeout(ctx, aWhile)
	defer cancel()
	err := promptCall(short, "Start", r.Start)
	switch {
	case isBroken(err):
		return err
	case err == nil:
		return errors.New("no error from a Start that cannot have come to its end")
	}
	return errors.Join(notRunning(ctx, r, "after a cancelled Start"), stop(ctx, r))
}

func renewRunning(ctx context.Context, b bench) error {
	r := b.resource().(resources.Renewer)
	if err := start(ctx, r); err != nil {
		return err
	}
	for range 3 {
		if err := errors.Join(call(ctx, "Renew", r.Renew), is(ctx, r, resources.Running, "after Renew")); err != nil {
			return errors.Join(err, stop(ctx, r))
		}
	}
	return errors.Join(stop(ctx, r), is(ctx, r, resources.Stopped, "after Renew and Stop"))
}

// renewStopped is about the lease that has run out while this director slept:
// the address may be another's by now, and Renew must not take it back.
func renewStopped(ctx context.Context, b bench) error {
	r := b.resource().(resources.Renewer)
	for _, when := range []string{"before it was ever started", "after Stop"} {
		err := call(ctx, "Renew", r.Renew)
		if isPanic(err) {
			return err
		}
		if err == nil {
			err = fmt.Errorf("no error from a Renew %s", when)
			return errors.Join(err, stop(ctx, r))
		}
		if err := is(ctx, r, resources.Stopped, "after a Renew "+when); err != nil {
			return errors.Join(err, stop(ctx, r))
		}
		if err := errors.Join(start(ctx, r), stop(ctx, r)); err != nil {
			return err
		}
	}
	return nil
}

func renewCancelled(ctx context.Context, b bench) error {
	r := b.resource().(resources.Renewer)
	if err := start(ctx, r); err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := promptCall(over, "Renew", r.Renew); isBroken(err) {
		return err
	}
	return errors.Join(stop(ctx, r), is(ctx, r, resources.Stopped, "after a cancelled Renew and Stop"))
}

func noLeak(ctx context.Context, b bench) error {
	r := b.resource()
	before := goleak.IgnoreCurrent()
	for range 3 {
		err := inOrder(
			func() error { return start(ctx, r) },
			func() error { return is(ctx, r, resources.Running, "after Start") },
			func() error { return stop(ctx, r) },
		)
		if err != nil {
			return err
		}
	}
	return goleak.Find(before)
}

func start(ctx context.Context, r resources.Resource) error { return call(ctx, "Start", r.Start) }
func stop(ctx context.Context, r resources.Resource) error  { return call(ctx, "Stop", r.Stop) }

func again(err error) error {
	if err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	return nil
}

// inOrder takes the steps up to the first that fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func is(ctx context.Context, r resources.Resource, want resources.Status, when string) error {
	got, err := status(ctx, r)
	if err == nil && got != want {
		err = fmt.Errorf("status is %s %s, want %s", got, when, want)
	}
	return err
}

func notRunning(ctx context.Context, r resources.Resource, when string) error {
	got, err := status(ctx, r)
	if err == nil && got == resources.Running {
		err = fmt.Errorf("status is %s %s", got, when)
	}
	return err
}

func status(ctx context.Context, r resources.Resource) (s resources.Status, err error) {
	err = call(ctx, "Status", func(ctx context.Context) (err error) {
		s, err = r.Status(ctx)
		return err
	})
	if err == nil && (s < resources.Stopped || s > resources.Failed) {
		err = fmt.Errorf("undefined %s", s)
	}
	return s, err
}

// call calls one method within bounds: a panic or an endless call becomes an error.
func call(ctx context.Context, name string, method func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{method: name, value: p, stack: debug.Stack()}
		}
	}()
	if err := method(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// promptCall is call, and verifies that the method ends when ctx is done.
func promptCall(ctx context.Context, name string, method func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- call(ctx, name, method) }()
	<-ctx.Done()
	return soon(name, done)
}

// soon waits for the end of a call whose context is done.
func soon(name string, ended <-chan error) error {
	late := time.NewTimer(promptly)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return &lateError{method: name}
	}
}

type panicError struct {
	method string
	value  any
	stack  []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("%s panicked: %v\n%s", e.method, e.value, e.stack)
}

type lateError struct{ method string }

func (e *lateError) Error() string {
	return fmt.Sprintf("%s is still running %s after its context was done", e.method, promptly)
}

func isPanic(err error) bool { return errors.As(err, new(*panicError)) }

// isBroken tells an error that is the suite's finding from one that the resource
// was free to return.
func isBroken(err error) bool { return isPanic(err) || errors.As(err, new(*lateError)) }
