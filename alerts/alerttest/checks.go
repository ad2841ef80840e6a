package alerttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
)

// Times of the checks. How long something takes on a busy machine under the race
// detector nobody knows: the allowance for "when ctx is done at the latest" only
// bounds what hangs, and it is a patient delivery that tells who ends in his own time.
const (
	// aWhile is how long a delivery goes on before it is cancelled.
	aWhile = 100 * time.Millisecond
	// promptly is how long after ctx is done Send may take to return.
	promptly = 2 * time.Second
	// patience bounds deliveries that nobody cancels.
	patience = 60 * time.Second
)

func everyKind(ctx context.Context, b bench) error {
	a := b.alert()
	for _, kind := range kinds() {
		if err := send(ctx, a, b.adapt(event(kind))); err != nil {
			return fmt.Errorf("kind %s: %w", kind, err)
		}
	}
	return nil
}

func everyTest(ctx context.Context, b bench) error {
	a := b.alert()
	for _, kind := range kinds() {
		e := event(alerts.Test)
		e.Testing = kind
		if err := send(ctx, a, b.adapt(e)); err != nil {
			return fmt.Errorf("a test of the %s alerts: %w", kind, err)
		}
	}
	return nil
}

func sameTwice(ctx context.Context, b bench) error {
	for _, kind := range kinds() {
		a := b.alert()
		for _, time := range []string{"first", "second", "third"} {
			if err := send(ctx, a, b.adapt(event(kind))); err != nil {
				return fmt.Errorf("the %s time that one %s event is sent: %w", time, kind, err)
			}
		}
	}
	return nil
}

func backAndForth(ctx context.Context, b bench) error {
	a := b.alert()
	for i, kind := range []alerts.Kind{alerts.Startup, alerts.Failure, alerts.Up, alerts.Failure, alerts.Up} {
		e := event(kind)
		e.Events += i
		if err := send(ctx, a, b.adapt(e)); err != nil {
			return fmt.Errorf("event %d, %s: %w", i+1, kind, err)
		}
	}
	return nil
}

// zeroEvent: an event that says nothing may be refused, but not with a panic.
func zeroEvent(ctx context.Context, b bench) error {
	if err := send(ctx, b.alert(), alerts.Event{}); isPanic(err) {
		return err
	}
	return nil
}

func withoutHosts(ctx context.Context, b bench) error {
	a := b.alert()
	for _, kind := range kinds() {
		e := event(kind)
		e.Hosts, e.Exit, e.Output, e.Env = nil, nil, nil, nil
		if err := send(ctx, a, b.adapt(e)); err != nil {
			return fmt.Errorf("kind %s: %w", kind, err)
		}
	}
	return nil
}

func manyHosts(ctx context.Context, b bench) error { return send(ctx, b.alert(), b.adapt(thousand())) }

// hugeOutput is more than the kernel accepts in one argument or variable of a
// program (128 KiB, MAX_ARG_STRLEN) and than mail servers like in one line.
func hugeOutput(ctx context.Context, b bench) error {
	e := event(alerts.Failure)
	e.Output = bytes.Repeat([]byte("x"), 1<<20)
	e.Summary, e.Previous = string(e.Output), string(e.Output)
	return send(ctx, b.alert(), b.adapt(e))
}

// hostileText is what a monitor may have printed: NUL bytes, which no argument
// of a program can hold, line ends that would start a new mail header, bytes
// that are not UTF-8, a leading dash. The alert has to be delivered all the same.
func hostileText(ctx context.Context, b bench) error {
	a := b.alert()
	for _, text := range []string{
		"\x00nul\x00", "line\r\nBcc: everybody@example.com\r\n\r\nbody", "\r\n.\r\nQUIT\r\n",
		"\xff\xfe\x80", "-f --flag", "$(reboot) `reboot` ; %s %n {{.}} <b>", "\x1b[2J", "ü — 日本",
	} {
		e := event(alerts.Failure)
		e.Summary, e.Output, e.Previous, e.Description = text, []byte(text), text, text
		e.Ack, e.Reason = "user: "+text, text
		e.Hosts[1].Reason = text
		if err := send(ctx, a, b.adapt(e)); err != nil {
			return fmt.Errorf("text %q: %w", text, err)
		}
	}
	return nil
}

func eventKept(ctx context.Context, b bench) error {
	a := b.alert()
	for _, kind := range kinds() {
		e := b.adapt(withRoom(event(kind)))
		want := copied(e)
		if err := send(ctx, a, e); err != nil {
			return fmt.Errorf("kind %s: %w", kind, err)
		}
		if got := copied(e); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("the %s event was modified: it is %+v, was %+v", kind, got, want)
		}
	}
	return nil
}

// withRoom puts the event's slices into bigger arrays: an alert that appends to
// them would write into memory that belongs to others.
func withRoom(e alerts.Event) alerts.Event {
	e.Hosts = append(make([]alerts.Host, 0, len(e.Hosts)+3), e.Hosts...)
	e.Output = append(make([]byte, 0, len(e.Output)+16), e.Output...)
	e.Env = append(make([]string, 0, len(e.Env)+3), e.Env...)
	return e
}

// copied returns a deep copy of the event with all the room behind its slices
// made visible.
func copied(e alerts.Event) alerts.Event {
	e.Hosts = append([]alerts.Host(nil), e.Hosts[:cap(e.Hosts)]...)
	e.Output = append([]byte(nil), e.Output[:cap(e.Output)]...)
	e.Env = append([]string(nil), e.Env[:cap(e.Env)]...)
	if e.Exit != nil {
		e.Exit = new(*e.Exit)
	}
	return e
}

// severalWatches sends to alerts of several watches at once, so that state
// shared between them shows to the race detector.
func severalWatches(ctx context.Context, b bench) error {
	const watches = 4
	failed := make(chan error, watches)
	for i := range watches {
		a := b.alert()
		go func() {
			var errs []error
			for _, kind := range kinds() {
				e := event(kind)
				e.Service = fmt.Sprint("check", i)
				errs = append(errs, send(ctx, a, b.adapt(e)))
			}
			failed <- errors.Join(errs...)
		}()
	}
	var errs []error
	for range watches {
		errs = append(errs, <-failed)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("with %d watches at once: %w", watches, err)
	}
	return nil
}

func brokenIsError(ctx context.Context, b bench) error {
	err := send(ctx, b.broken(), b.adapt(event(alerts.Failure)))
	switch {
	case err == nil:
		return errors.New("no error from a delivery that cannot have succeeded: it would never be repeated")
	case isPanic(err):
		return err
	}
	return nil
}

func cancelledBeforehand(ctx context.Context, b bench) error {
	if err := endsPromptly(ctx, b, b.alert(), beforehand); err != nil || b.blocked == nil {
		return err
	}
	return whileAnotherWaits(ctx, b, beforehand)
}

func cancelledWhileWaiting(ctx context.Context, b bench) error {
	return whileAnotherWaits(ctx, b, inAWhile)
}

func deadlineWhileWaiting(ctx context.Context, b bench) error {
	return whileAnotherWaits(ctx, b, atADeadline)
}

// Ways in which a delivery's context ends.
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

// whileAnotherWaits verifies that a blocked delivery that is cut short comes to its end
// before one that began earlier, and is not: an alert that obeys its own timeout and not
// its context ends the earlier one first, however short or long that timeout is.
func whileAnotherWaits(ctx context.Context, b bench, end ending) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, patient := b.blocked(), make(chan error, 1)
	go func() { patient <- send(ctx, a, b.adapt(event(alerts.Failure))) }()
	head := time.NewTimer(aWhile)
	defer head.Stop()
	select {
	case err := <-patient:
		return errors.Join(fmt.Errorf("a blocked delivery ended within %s, and nobody had cancelled it", aWhile), err)
	case <-head.C:
	}
	if err := endsPromptly(ctx, b, b.blocked(), end); err != nil {
		return err
	}
	select {
	case err := <-patient:
		return errors.Join(errors.New("it ended after a delivery that nobody had cancelled: by its own timeout, not by its context"), err)
	default:
	}
	cancel()
	_, err := soon(patient)
	return err
}

// endsPromptly verifies that Send ends when ctx is done, with an error.
func endsPromptly(ctx context.Context, b bench, a alerts.Alert, end ending) error {
	ctx, cancel := end(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- send(ctx, a, b.adapt(event(alerts.Failure))) }()
	<-ctx.Done()
	cut, late := soon(ended)
	switch {
	case late != nil:
		return late
	case cut == nil:
		return errors.New("no error after its context was done: the event would count as delivered")
	case isPanic(cut):
		return cut
	}
	return nil
}

// soon waits for the end of a delivery whose context is done, and returns its error; or
// its own, if there is no end.
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

func noLeak(ctx context.Context, b bench) error {
	a := b.alert()
	before := goleak.IgnoreCurrent()
	for _, kind := range kinds() {
		if err := send(ctx, a, b.adapt(event(kind))); err != nil {
			return err
		}
	}
	return goleak.Find(before)
}

func noLeakCancelled(ctx context.Context, b bench) error {
	a := b.blocked()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithTimeout(ctx, aWhile)
	defer cancel()
	if err := send(ctx, a, b.adapt(event(alerts.Failure))); isPanic(err) {
		return err
	}
	return goleak.Find(before)
}

// send calls Send within bounds: a panic or an endless delivery becomes an error.
func send(ctx context.Context, a alerts.Alert, e alerts.Event) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if err := a.Send(ctx, e); err != nil {
		return fmt.Errorf("send: %s", strings.TrimSpace(err.Error()))
	}
	return nil
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("Send panicked: %v\n%s", e.value, e.stack) }

func isPanic(err error) bool { return errors.As(err, new(*panicError)) }
