package monitortest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/monitors"
)

// Times of the checks. How long something takes on a busy machine under the race
// detector nobody knows: the allowance for "when ctx is done at the latest" only
// bounds what hangs, and it is a patient run that tells who ends in his own time.
const (
	// aWhile is how long a run goes on before it is cancelled.
	aWhile = 100 * time.Millisecond
	// promptly is how long after ctx is done Check may take to return.
	promptly = 2 * time.Second
	// patience bounds runs that nobody cancels.
	patience = 60 * time.Second
)

func upIsUp(ctx context.Context, b bench) error {
	err := run(ctx, b, b.monitor(), b.request(b.up))
	return err
}

func downIsDown(ctx context.Context, b bench) error {
	err := run(ctx, b, b.monitor(), b.request(b.down))
	return err
}

func oneResultPerHost(ctx context.Context, b bench) error {
	m := b.monitor()
	first := run(ctx, b, m, b.request(b.up, b.down))
	second := run(ctx, b, m, b.request(b.down, b.up))
	return errors.Join(first, second)
}

func summaryAgrees(ctx context.Context, b bench) error {
	m := b.monitor()
	for _, hosts := range [][]string{{b.up}, {b.down}, {b.up, b.down, b.up}} {
		result, err := call(ctx, m, b.request(hosts...))
		if err != nil {
			return err
		}
		if err := b.agrees(hosts, result); err != nil {
			return fmt.Errorf("hosts %q: %w", hosts, err)
		}
	}
	return nil
}

func duplicates(ctx context.Context, b bench) error {
	err := run(ctx, b, b.monitor(), b.request(b.up, b.up, b.down, b.up, b.down))
	return err
}

func manyHosts(ctx context.Context, b bench) error {
	hosts := slices.Repeat([]string{b.up}, 200)
	hosts[77] = b.down
	err := run(ctx, b, b.monitor(), b.request(hosts...))
	return err
}

func noHosts(ctx context.Context, b bench) error {
	for _, hosts := range [][]string{nil, {}} {
		r := b.request()
		r.Hosts = hosts
		result, err := call(ctx, b.monitor(), r)
		switch {
		case b.wholeGroup: // What is tested then is the monitor's own business.
		case err != nil:
			return fmt.Errorf("a request without hosts: %w", err)
		case len(result.Hosts) != 0:
			return fmt.Errorf("a request without hosts has the results %+v", result.Hosts)
		case result.Exit != 0:
			return fmt.Errorf("a request without hosts has exit status %d, want 0: no host is down", result.Exit)
		}
	}
	return nil
}

func sameAgain(ctx context.Context, b bench) error {
	m := b.monitor()
	for i := range 3 {
		if err := run(ctx, b, m, b.request(b.up, b.down)); err != nil {
			return fmt.Errorf("run %d of one monitor: %w", i+1, err)
		}
	}
	return nil
}

func earlierResultKept(ctx context.Context, b bench) error {
	m := b.monitor()
	first, err := call(ctx, m, b.request(b.down, b.up))
	if err != nil {
		return err
	}
	before := first
	before.Hosts, before.Output = slices.Clone(first.Hosts), slices.Clone(first.Output)
	if _, err := call(ctx, m, b.request(b.up, b.up, b.up)); err != nil {
		return err
	}
	if !reflect.DeepEqual(before, first) {
		return fmt.Errorf("a later run changed an earlier result from %+v to %+v", before, first)
	}
	return nil
}

func requestKept(ctx context.Context, b bench) error {
	r := b.request(b.up, b.down, b.up)
	got, want := withRoom(r), withRoom(copied(r))
	if _, err := call(ctx, b.monitor(), r); err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the request was modified: it is %+v, was %+v", got, want)
	}
	return nil
}

// withRoom shows the memory behind the end of the request's slices as well; it
// still is that request's memory.
func withRoom(r monitors.Request) monitors.Request {
	r.Hosts, r.Env = r.Hosts[:cap(r.Hosts)], r.Env[:cap(r.Env)]
	return r
}

func copied(r monitors.Request) monitors.Request {
	hosts, env := make([]string, len(r.Hosts), cap(r.Hosts)), make([]string, len(r.Env), cap(r.Env))
	copy(hosts, r.Hosts)
	copy(env, r.Env)
	r.Hosts, r.Env = hosts, env
	return r
}

// severalWatches runs monitors of several watches at once; the requests differ,
// so that state shared between them shows in the results, or to the race detector.
func severalWatches(ctx context.Context, b bench) error {
	requests := [][]string{{b.up, b.down}, {b.down, b.up}, {b.up}, {b.down, b.down, b.up, b.up}}
	failed := make(chan error, len(requests))
	for _, hosts := range requests {
		m := b.monitor()
		go func() {
			var errs []error
			for range 3 {
				err := run(ctx, b, m, b.request(hosts...))
				errs = append(errs, err)
			}
			failed <- errors.Join(errs...)
		}()
	}
	var errs []error
	for range requests {
		errs = append(errs, <-failed)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("with %d watches at once: %w", len(requests), err)
	}
	return nil
}

func cancelledBeforehand(ctx context.Context, b bench) error {
	hosts := []string{b.up, b.down, b.up}
	if b.silent == "" {
		return endsPromptly(ctx, b, hosts, beforehand)
	}
	return whileAnotherWaits(ctx, b, func() error {
		return endsPromptly(ctx, b, append(hosts, b.silent), beforehand)
	})
}

func cancelledWhileWaiting(ctx context.Context, b bench) error {
	return whileAnotherWaits(ctx, b, func() error {
		return endsPromptly(ctx, b, []string{b.silent, b.up, b.silent}, inAWhile)
	})
}

// deadlineWhileWaiting is not the same as cancelling: a monitor that bounds each
// host by a context of its own sees DeadlineExceeded in both cases, and must
// not take the end of the run for the host's.
func deadlineWhileWaiting(ctx context.Context, b bench) error {
	return whileAnotherWaits(ctx, b, func() error {
		return endsPromptly(ctx, b, []string{b.silent, b.up, b.silent}, atADeadline)
	})
}

// Ways in which a run's context ends.
type ending func(context.Context) (context.Context, context.CancelFunc)

func beforehand(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx, cancel
}

func inAWhile(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(aWhile, cancel)
	return ctx, cancel
}

func atADeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, aWhile)
}

// whileAnotherWaits verifies that a run that is cut short comes to its end before one
// that began earlier, and is not: a monitor that obeys its own timeout and not its
// context ends the earlier one first, however short or long that timeout is.
func whileAnotherWaits(ctx context.Context, b bench, cutShort func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, r, patient := b.patient(), b.request(b.silent), make(chan error, 1)
	go func() {
		_, err := call(ctx, m, r)
		patient <- err
	}()
	head := time.NewTimer(aWhile)
	defer head.Stop()
	select {
	case err := <-patient:
		return errors.Join(fmt.Errorf("a run with a silent host ended within %s, and nobody had cancelled it", aWhile), err)
	case <-head.C:
	}
	if err := cutShort(); err != nil {
		return err
	}
	select {
	case err := <-patient:
		return errors.Join(errors.New("it ended after a run that nobody had cancelled: by its own timeout, not by its context"), err)
	default:
	}
	cancel()
	_, err := soon(patient)
	return err
}

// soon waits for the end of a run whose context is done, and returns its error; or its
// own, if there is no end.
func soon(ended <-chan error) (cut, late error) {
	timer := time.NewTimer(promptly)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err, nil
	case <-timer.C:
		return nil, fmt.Errorf("still running %s after its context was done", promptly)
	}
}

// endsPromptly verifies that Check ends when ctx is done, and calls nothing down.
// No caller has a host in its request that could be found to be down by then.
func endsPromptly(ctx context.Context, b bench, hosts []string, end ending) error {
	ctx, cancel := end(ctx)
	defer cancel()
	var result monitors.Result
	ended := make(chan error, 1)
	m, r := b.patient(), b.request(hosts...)
	go func() {
		var err error
		result, err = call(ctx, m, r)
		ended <- err
	}()
	<-ctx.Done()
	cut, late := soon(ended)
	if late != nil {
		return late
	}
	return b.claimsNothing(hosts, result, cut)
}

func (b bench) claimsNothing(hosts []string, result monitors.Result, err error) error {
	switch {
	case isPanic(err):
		return err
	case err != nil: // It could not test: a fair answer for a run that was cut short.
		return nil //nolint:nilerr // see above
	case b.wholeGroup && len(result.Hosts) == 0:
		return fmt.Errorf("exit status %d and no error from a group that was not tested to the end", result.Exit)
	}
	if err := b.wellFormed(hosts, result); err != nil {
		return err
	}
	for _, h := range result.Hosts {
		if h.Verdict == monitors.Down {
			return fmt.Errorf("%s is called down (%s): the run ended before it was tested, which makes it unknown", h.Host, h.Reason)
		}
	}
	return b.agrees(hosts, result)
}

func noLeak(ctx context.Context, b bench) error {
	m := b.monitor()
	before := goleak.IgnoreCurrent()
	for range 3 {
		if _, err := call(ctx, m, b.request(b.up, b.down, b.up)); err != nil {
			return err
		}
	}
	return goleak.Find(before)
}

func noLeakCancelled(ctx context.Context, b bench) error {
	m := b.patient()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithTimeout(ctx, aWhile)
	defer cancel()
	if _, err := call(ctx, m, b.request(b.silent, b.up, b.silent)); isPanic(err) {
		return err
	}
	return goleak.Find(before)
}
