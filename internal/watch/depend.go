package watch

import (
	"slices"
	"strings"
	"time"
)

// expression returns what a behaviour evaluates: depend if it has that
// behaviour, else the keyword for it alone.
func (d *Dependency) expression(b Behavior) Expr {
	if !d.On.Empty() && d.Behavior == b {
		return d.On
	}
	switch b {
	case SuppressAlerts:
		return d.Alert
	case SuppressMonitor:
		return d.Monitor
	case SuppressHosts:
		return d.Host
	}
	panic("unknown behavior")
}

// evaluate decides a watch's dependency and remembers it. One that cannot be
// decided (an expression in error, a loop) leaves the last decision standing,
// and is not good.
//
// began is when the run began whose result is judged; zero if there is none. One that
// began while a parent failed tells of that, even if it ends when the parent is back;
// mon judges by the moment of the result.
func (s *Set) evaluate(now time.Time, sv *service, b Behavior, began time.Time) bool {
	e := sv.Depend.expression(b)
	if e.Empty() {
		return true
	}
	g := grace{memory: sv.Depend.Memory}
	if !sv.Compat {
		g.began = began
	}
	good, decided := s.value(now, e, b, g, 0)
	if decided {
		sv.depend = &good
	}
	return decided && good
}

// value follows an expression: a parent is good if its own status is, and what
// it depends on in the same way is too.
func (s *Set) value(now time.Time, e Expr, b Behavior, g grace, depth int) (good, decided bool) {
	if e.root == nil || depth > s.options.RecursionLimit {
		return false, false
	}
	values := map[Key]bool{}
	for _, ref := range e.refs {
		parent, ok := s.services[ref]
		if !ok {
			values[ref] = false
			continue
		}
		v := parent.status.good() && !parent.remembered(now, g)
		if sub := parent.Depend.expression(b); !sub.Empty() {
			good, decided := s.value(now, sub, b, g, depth+1)
			if !decided {
				return false, false
			}
			v = v && good
		}
		values[ref] = v
	}
	return e.root(func(k Key) bool { return values[k] }), true
}

// A grace is what is forgiven while a parent recovers.
type grace struct {
	memory time.Duration // dep_memory
	began  time.Time     // of the run that is judged; zero: unknown
}

// remembered reports whether a parent that is good now failed so recently that it
// still counts as failing.
func (sv *service) remembered(now time.Time, g grace) bool {
	if sv.lastFailed.IsZero() {
		return false
	}
	return g.memory > 0 && now.Sub(sv.lastFailed) < g.memory || !g.began.IsZero() && sv.lastFailed.After(g.began)
}

// A Skip says why a watch that is due must not run.
type Skip string

// Request returns the hosts that a due watch should test now, in the order of
// the configuration, or the reason why it must not run. later is true if the
// watch stays due and is to be asked again soon, false if this turn is over.
func (s *Set) Request(now time.Time, key Key) (hosts []string, skip Skip, later bool) {
	sv, ok := s.services[key]
	if !ok {
		return nil, "no such watch", false
	}
	if s.stopped != nil {
		return nil, Skip(s.WhyPaused()), true
	}
	if e := sv.Depend.expression(SuppressMonitor); !e.Empty() && !s.evaluate(now, sv, SuppressMonitor, time.Time{}) {
		return nil, Skip("a dependency is not good: " + e.String()), true
	}
	if sv.NoHosts {
		return nil, "", false
	}
	failing := s.failingElsewhere(sv)
	for _, h := range s.testable(sv) {
		if !failing(h) {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 && !sv.AllowEmptyGroup {
		return nil, "no host is left to test", false
	}
	return hosts, "", false
}

// failingElsewhere is behaviour hm: it tells which hosts a watch named in the
// expression reports as failing; these are left out.
func (s *Set) failingElsewhere(sv *service) func(host string) bool {
	var summaries []string
	failed := map[string]bool{}
	for _, ref := range sv.Depend.expression(SuppressHosts).refs {
		parent, ok := s.services[ref]
		switch {
		case !ok && sv.Compat: // then mon leaves out nobody
			return func(string) bool { return false }
		case !ok:
		case sv.Compat && parent.status == Failed:
			summaries = append(summaries, parent.summary)
		case parent.Scope == ScopeHost:
			for _, sub := range parent.subjects {
				failed[sub.host] = failed[sub.host] || sub.status == Failed
			}
		case parent.status == Failed:
			for word := range strings.FieldsSeq(parent.summary) {
				failed[word] = true
			}
		}
	}
	if !sv.Compat {
		return func(host string) bool { return failed[host] }
	}
	return func(host string) bool {
		return slices.ContainsFunc(summaries, func(summary string) bool { return strings.Contains(summary, host) })
	}
}

// Waits reports whether a due run may have to wait for another watch.
func (d *Dependency) Waits() bool { return !d.expression(SuppressMonitor).Empty() }

// Past is what a monitor is told about the runs before.
type Past struct {
	Events                                 int
	Summary, Output                        string
	FirstFailure, LastFailure, LastSuccess time.Time
	Depend                                 *bool
}

// Past returns a watch's past, empty if there is no such watch.
func (s *Set) Past(key Key) Past {
	sv, ok := s.services[key]
	if !ok {
		return Past{}
	}
	n := Notice{}
	n.subjects(sv.subjects)
	return Past{
		Events: sv.events, Summary: sv.summary, Output: sv.output, Depend: sv.depend,
		FirstFailure: n.FirstFailure, LastFailure: n.LastFailure, LastSuccess: n.LastSuccess,
	}
}
