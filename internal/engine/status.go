package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/schedule"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// Status is a snapshot of all watches, in the order of the configuration.
type Status struct {
	Watches []WatchStatus `json:"watches"`
	Stopped bool          `json:"stopped"`
	// StoppedBy is who had nothing tested, nil if nobody has.
	StoppedBy *watch.Mark `json:"stopped_by,omitempty"`
	// Silences are in force or will be.
	Silences []watch.SilenceView `json:"silences"`
	Schedule schedule.Stats      `json:"schedule"`
}

// WatchStatus is the state of one watch.
type WatchStatus struct {
	Group       string `json:"group"`
	Service     string `json:"service"`
	Description string `json:"description,omitempty"`
	Monitor     string `json:"monitor,omitempty"`
	// State is mon's word, or "unknown" while runs tell nothing.
	State    string     `json:"state"`
	Summary  string     `json:"summary,omitempty"`
	Unknown  string     `json:"unknown,omitempty"` // why runs tell nothing
	Since    *time.Time `json:"failing_since,omitempty"`
	LastGood *time.Time `json:"last_success,omitempty"`
	Next     *time.Time `json:"next_run,omitempty"`
	Running  bool       `json:"running"`
	Disabled bool       `json:"disabled"`
	// DisabledBy is who disabled the watch or its group, and why.
	DisabledBy *watch.Mark `json:"disabled_by,omitempty"`
	Acked      string      `json:"acked,omitempty"`
	// AckedAt is when that was.
	AckedAt *time.Time `json:"acked_at,omitempty"`
	// Silenced are the silences in force that concern the watch, with who and why.
	Silenced []string `json:"silenced,omitempty"`
	Runs     int      `json:"results"`
	Failures int      `json:"consecutive_failures"`
	Alerts   int      `json:"alerts_sent"`
	// Untold is why this director tells nobody of the watch: another one does.
	Untold string `json:"not_told,omitempty"`

	Hosts      []HostStatus     `json:"hosts"`
	Decisions  []DecisionStatus `json:"decisions"`
	Deliveries []Delivery       `json:"deliveries,omitempty"`
}

// HostStatus is the state of one host of a watch.
type HostStatus struct {
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Since    *time.Time `json:"since,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Disabled bool       `json:"disabled"`
	// DisabledBy is who disabled the host, and why.
	DisabledBy *watch.Mark `json:"disabled_by,omitempty"`
	// Took is what the answer needed at the last run, in seconds; 0 when there was
	// none, or no run since the start.
	Took    float64  `json:"seconds,omitzero"`
	Timings *Timings `json:"timings,omitempty"` // nil if the last run had no phases
}

// Timings are [monitors.Timings], in seconds.
type Timings struct {
	Resolve   float64 `json:"resolve,omitzero"`
	Connect   float64 `json:"connect,omitzero"`
	TLS       float64 `json:"tls,omitzero"`
	FirstByte float64 `json:"first_byte,omitzero"`
}

func timings(t monitors.Timings) *Timings {
	if t == (monitors.Timings{}) {
		return nil
	}
	return &Timings{Resolve: t.Resolve.Seconds(), Connect: t.Connect.Seconds(), TLS: t.TLS.Seconds(), FirstByte: t.FirstByte.Seconds()}
}

// String lists the phases for people.
func (t Timings) String() string {
	d := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	return monitors.Timings{Resolve: d(t.Resolve), Connect: d(t.Connect), TLS: d(t.TLS), FirstByte: d(t.FirstByte)}.String()
}

// DecisionStatus is one of the last decisions, with its reason.
type DecisionStatus struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Code   string    `json:"code"`
	Period string    `json:"period,omitempty"`
	Hosts  []string  `json:"hosts,omitempty"`
	Sent   []string  `json:"sent,omitempty"`
	Reason string    `json:"reason"`
}

// Status returns the present state.
func (e *Engine) Status() Status {
	e.mu.Lock()
	s := Status{Stopped: e.set.Stopped(), StoppedBy: e.set.Paused(), Silences: e.set.Silences(e.now()), Watches: []WatchStatus{}}
	silenced := map[watch.Key][]string{}
	for _, v := range s.Silences {
		if v.Active {
			for _, key := range v.Watches {
				silenced[key] = append(silenced[key], v.String())
			}
		}
	}
	_, disabledHosts := e.set.Disabled()
	for _, key := range e.set.Keys() {
		v, _ := e.set.View(key)
		w := watchStatus(v)
		w.measure(e.measured[key])
		w.Silenced = silenced[key]
		for i := range w.Hosts {
			if m, off := disabledHosts[w.Hosts[i].Name]; off {
				w.Hosts[i].DisabledBy = &m
			}
		}
		w.Description, w.Monitor = e.watches[key].Description, e.watches[key].MonitorKind
		for _, d := range e.deliveries[key] {
			w.Deliveries = append(w.Deliveries, d)
		}
		slices.SortFunc(w.Deliveries, func(a, b Delivery) int { return cmp.Or(cmp.Compare(a.Alert, b.Alert), cmp.Compare(a.List, b.List)) })
		s.Watches = append(s.Watches, w)
	}
	e.mu.Unlock()
	for i := range s.Watches {
		w := &s.Watches[i]
		if turn, ok := e.scheduler.Status(watch.Key{Group: w.Group, Service: w.Service}.String()); ok {
			w.Next, w.Running = instant(turn.Next), turn.Running
		}
	}
	s.Schedule = e.scheduler.Stats()
	return s
}

func watchStatus(v watch.View) WatchStatus {
	w := WatchStatus{
		Group: v.Group, Service: v.Service, State: v.Status.String(), Summary: v.Summary, Unknown: v.UnknownReason,
		Since: instant(v.FirstFailure), LastGood: instant(v.LastSuccess), Disabled: v.Disabled != nil, DisabledBy: v.Disabled,
		Runs: v.Events, Failures: v.Consecutive, Alerts: v.AlertsSent, Untold: v.Mute,
		Hosts: []HostStatus{}, Decisions: []DecisionStatus{},
	}
	if !v.UnknownSince.IsZero() {
		w.State = watch.Unknown.String()
	}
	if v.Ack != nil {
		w.Acked, w.AckedAt = v.Ack.By+": "+v.Ack.Why, instant(v.Ack.At)
	}
	for _, h := range v.Hosts {
		w.Hosts = append(w.Hosts, HostStatus{Name: h.Name, State: h.Verdict.String(), Since: instant(h.Since), Reason: h.Reason, Disabled: h.Disabled})
	}
	for _, d := range v.Decisions {
		w.Decisions = append(w.Decisions, DecisionStatus{
			At: d.At, Kind: d.Kind.String(), Code: d.Code.String(), Period: d.Period, Hosts: d.Hosts, Sent: d.Actions, Reason: d.Reason,
		})
	}
	return w
}

// measure adds what the last run took.
func (w *WatchStatus) measure(run []monitors.HostResult) {
	at := make(map[string]int, len(run))
	for i := range run {
		at[run[i].Host] = i
	}
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if k, ok := at[h.Name]; ok {
			h.Took, h.Timings = run[k].Took.Seconds(), timings(run[k].Timings)
		}
	}
}

// instant is a time for JSON: none instead of the year 1.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
