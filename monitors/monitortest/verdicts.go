package monitortest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/monitors"
)

// run checks hosts and verifies everything that the contract says of a complete
// run's result.
func run(ctx context.Context, b bench, m monitors.Monitor, r monitors.Request) error {
	start := time.Now()
	result, err := call(ctx, m, r)
	if err != nil {
		return err
	}
	took := time.Since(start)
	for _, verify := range []error{
		b.wellFormed(r.Hosts, result), b.judged(r.Hosts, result), withinTime(result, took),
	} {
		if verify != nil {
			return fmt.Errorf("%d hosts, %q first: %w", len(r.Hosts), r.Hosts[:min(len(r.Hosts), 5)], verify)
		}
	}
	return nil
}

// call calls Check within bounds: a panic or an endless run becomes an error.
func call(ctx context.Context, m monitors.Monitor, r monitors.Request) (result monitors.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	return m.Check(ctx, r)
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("Check panicked: %v\n%s", e.value, e.stack) }

func isPanic(err error) bool { return errors.As(err, new(*panicError)) }

// wellFormed verifies one result for each host in the request's order, each of
// them sound in itself.
func (b bench) wellFormed(hosts []string, result monitors.Result) error {
	if b.wholeGroup && len(result.Hosts) == 0 {
		return nil
	}
	names := make([]string, len(result.Hosts))
	for i, h := range result.Hosts {
		names[i] = h.Host
		if err := sound(h); err != nil {
			return err
		}
	}
	if !slices.Equal(names, hosts) {
		return fmt.Errorf("results are for the hosts %q, want one for each of %q in this order", names, hosts)
	}
	return nil
}

func sound(h monitors.HostResult) error {
	switch {
	case h.Verdict < monitors.Unknown || h.Verdict > monitors.Down:
		return fmt.Errorf("%s has an undefined %s", h.Host, h.Verdict)
	case h.Verdict == monitors.Up && h.Reason != "":
		return fmt.Errorf("%s is up and has the reason %q, want none", h.Host, h.Reason)
	case h.Verdict != monitors.Up && h.Reason == "":
		return fmt.Errorf("%s is %s without a reason", h.Host, h.Verdict)
	case strings.ContainsAny(h.Reason, "\r\n"):
		return fmt.Errorf("the reason of %s is more than one line: %q", h.Host, h.Reason)
	case h.Reason != strings.TrimSpace(h.Reason):
		return fmt.Errorf("the reason of %s has blanks around it: %q", h.Host, h.Reason)
	case h.Took < 0:
		return fmt.Errorf("%s took %s", h.Host, h.Took)
	case min(h.Timings.Resolve, h.Timings.Connect, h.Timings.TLS, h.Timings.FirstByte) < 0:
		return fmt.Errorf("%s has a phase of less than no time: %+v", h.Host, h.Timings)
	}
	return nil
}

// judged verifies that the bench's hosts are found to be what they are.
func (b bench) judged(hosts []string, result monitors.Result) error {
	if len(result.Hosts) == 0 {
		if failed := result.Exit != 0; failed != slices.Contains(hosts, b.down) {
			return fmt.Errorf("exit status %d: want 0 exactly if no host is down", result.Exit)
		}
		return nil
	}
	for _, h := range result.Hosts {
		want := monitors.Up
		if h.Host == b.down {
			want = monitors.Down
		}
		if h.Verdict != want {
			return fmt.Errorf("%s is %s (%s), want %s", h.Host, h.Verdict, h.Reason, want)
		}
	}
	return nil
}

func withinTime(result monitors.Result, took time.Duration) error {
	for _, h := range result.Hosts {
		if h.Took > took {
			return fmt.Errorf("%s took %s in a run of %s", h.Host, h.Took, took)
		}
		if h.Timings.Sum() > took {
			return fmt.Errorf("the phases of %s, %s, are longer than the run of %s", h.Host, h.Timings, took)
		}
	}
	return nil
}

// agrees verifies mon's rules: exit status 0 exactly if no host is down, and the
// first line of the output names those that are, and nothing else.
func (b bench) agrees(hosts []string, result monitors.Result) error {
	down := map[string]bool{}
	for _, h := range result.Hosts {
		if h.Verdict == monitors.Down {
			down[h.Host] = true
		}
	}
	if len(result.Hosts) == 0 && slices.Contains(hosts, b.down) {
		down[b.down] = true
	}
	if failed := result.Exit != 0; failed != (len(down) > 0) {
		return fmt.Errorf("exit status %d with %d hosts down: want 0 exactly if none is", result.Exit, len(down))
	}
	if b.wholeGroup && len(result.Hosts) == 0 {
		return nil // Its summary is free text.
	}
	summary, _, _ := strings.Cut(string(result.Output), "\n")
	named := map[string]bool{}
	for name := range strings.FieldsSeq(summary) {
		named[name] = true
	}
	if !maps.Equal(named, down) {
		return fmt.Errorf("the first line of the output is %q, want the names of the hosts that are down: %q",
			summary, slices.Sorted(maps.Keys(down)))
	}
	return nil
}
