package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// event is a notice in the words of the public contract.
func event(w *config.Watch, n *watch.Notice) alerts.Event {
	e := alerts.Event{
		Kind: kind(n.Kind), Group: n.Group, Service: n.Service, Description: w.Description, Period: n.Period, Time: n.At,
		Summary: n.Summary, Output: []byte(n.Output), Reason: n.Reason, Status: int(n.Status), Exit: n.Exit,
		Previous: n.Previous, Events: n.Events, FirstFailure: n.FirstFailure, LastFailure: n.LastFailure,
		LastSuccess: n.LastSuccess, Ack: n.Ack, TrapIntended: n.TrapIntended, Outage: n.Outage(), Env: w.Env,
	}
	if n.Kind == watch.Test {
		e.Testing = kind(n.Testing)
	}
	// The contract counts the event itself where there is one.
	if e.Kind.Failing() || e.Kind == alerts.Up {
		e.Events++
	}
	for _, h := range n.Hosts {
		e.Hosts = append(e.Hosts, alerts.Host{
			Name: h.Name, State: hostState(h.Verdict), Since: h.Since, Reason: h.Reason, Concerned: h.Concerned, Disabled: h.Disabled,
		})
	}
	return e
}

func hostState(v watch.Verdict) alerts.HostState {
	switch v {
	case watch.Good:
		return alerts.HostUp
	case watch.Bad:
		return alerts.HostDown
	case watch.Unseen:
		return alerts.HostUnknown
	}
	panic(fmt.Sprintf("unknown verdict %v", v))
}

func kind(k watch.Kind) alerts.Kind {
	switch k {
	case watch.Failure:
		return alerts.Failure
	case watch.Up:
		return alerts.Up
	case watch.Startup:
		return alerts.Startup
	case watch.Ack:
		return alerts.Ack
	case watch.Disable:
		return alerts.Disable
	case watch.Trap:
		return alerts.Trap
	case watch.TrapTimeout:
		return alerts.TrapTimeout
	case watch.Test:
		return alerts.Test
	case watch.State:
		return alerts.State
	}
	panic("unknown " + k.String())
}

// Test sends one test notice through its alert, waiting for it.
func Test(ctx context.Context, w *config.Watch, n *watch.Notice) error {
	alert, ok := w.Actions[n.Action.ID]
	if !ok {
		return fmt.Errorf("no alert is built for %s", n.Action.ID)
	}
	return outbox.Send(ctx, alert, event(w, n))
}

// TestMonitor runs a watch's monitor once, on all hosts that it would be given.
func TestMonitor(ctx context.Context, w *config.Watch) (monitors.Result, error) {
	r := monitors.Request{Group: w.Group, Service: w.Service, Description: w.Description, Env: w.Env}
	for _, h := range w.Hosts {
		if !slices.Contains(w.ExcludeHosts, h) {
			r.Hosts = append(r.Hosts, h)
		}
	}
	return runMonitor(ctx, w.Monitor, r)
}
