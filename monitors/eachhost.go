package monitors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// A Probe tests one host: nil is up, an [Untested] error unknown, any other
// error down with that reason. In took it writes how long each phase was that it
// got through, whatever the outcome.
type Probe func(ctx context.Context, host string, took *Timings) error

// EachHost makes a Monitor of a plain probe. At most limit hosts (at least one)
// are tested at once; timeout bounds each probe and is what makes a silent host
// down. A probe that panics leaves that one host unknown.
func EachHost(limit int, timeout time.Duration, probe Probe) Monitor {
	return &eachHost{limit: max(limit, 1), timeout: timeout, probe: probe}
}

type eachHost struct {
	limit   int
	timeout time.Duration
	probe   Probe
}

func (m *eachHost) Check(ctx context.Context, r Request) (Result, error) {
	hosts := make([]HostResult, len(r.Hosts))
	slots := make(chan struct{}, m.limit)
	var running sync.WaitGroup
	for i, host := range r.Hosts {
		hosts[i].Host = host
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			hosts[i].Reason = "not tested before the run's deadline"
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			hosts[i] = m.one(ctx, host)
		})
	}
	running.Wait()
	return Summarise(hosts), nil
}

func (m *eachHost) one(run context.Context, host string) (r HostResult) {
	r.Host = host
	defer func() {
		if p := recover(); p != nil {
			r.Verdict, r.Reason = Unknown, fmt.Sprintf("the probe panicked: %v, at %s", p, panicSite(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(run, m.timeout)
	defer cancel()
	start := time.Now()
	err := m.probe(ctx, host, &r.Timings)
	switch {
	case err == nil:
		r.Verdict, r.Took = Up, time.Since(start)
	case errors.Is(err, ErrUntested):
		r.Verdict, r.Reason = Unknown, reason(host, err)
	case run.Err() != nil:
		r.Verdict, r.Reason = Unknown, "not finished before the run's deadline"
	case errors.Is(err, context.DeadlineExceeded):
		r.Verdict, r.Reason = Down, fmt.Sprintf("no answer within %s", m.timeout)
	default:
		r.Verdict, r.Reason = Down, reason(host, err)
	}
	return r
}

// Summarise writes verdicts as mon's monitors do: exit status 1 and the names of
// the hosts that are down on the first line; then a line for each host that is
// not up.
func Summarise(hosts []HostResult) Result {
	var down []string
	var detail strings.Builder
	for _, h := range hosts {
		if h.Verdict == Down {
			down = append(down, h.Host)
		}
		if h.Verdict != Up {
			fmt.Fprintf(&detail, "%s %s: %s\n", h.Host, h.Verdict, h.Reason)
		}
	}
	r := Result{Hosts: hosts, Output: []byte(strings.Join(down, " ") + "\n" + detail.String())}
	if len(down) > 0 {
		r.Exit = 1
	}
	return r
}

// reason is an error in one line, without the host's name in front: that stands
// beside it wherever it is shown.
func reason(host string, err error) string {
	return strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), host+": ")
}

// panicSite returns the source line that panicked: the first frame below the
// runtime's own.
func panicSite(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") && i+3 < len(lines) {
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " ")
			return place
		}
	}
	return "an unknown place"
}
