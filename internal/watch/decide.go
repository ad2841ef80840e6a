package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// unack ends an ack of a group when a failure is another one than that which was
// acknowledged. Of another host is told by the usual rules; another summary begins
// anew, as in mon.
func (r *round) unack(sub *subject) {
	if sub.ack == nil || r.sv.Scope == ScopeHost {
		return
	}
	summary := r.anotherSummary(sub)
	if !summary && !r.anotherHost(sub) {
		return
	}
	sub.ack, sub.unacked = nil, r.now
	r.set.version++
	if !summary {
		return
	}
	sub.consecutive = 1
	for i := range sub.periods {
		p := &sub.periods[i]
		p.lastAlert, p.windowStart, p.count = time.Time{}, time.Time{}, 0
	}
}

// anotherHost reports whether a host fails that the ack does not cover. Who is not the
// owner only sees; that the owner does not see the same is no reason to tell.
func (r *round) anotherHost(sub *subject) bool {
	if r.sv.mute != "" || sub.ack.Hosts == nil {
		return false
	}
	for host := range sub.blamed {
		if _, covered := slices.BinarySearch(sub.ack.Hosts, host); !covered {
			return true
		}
	}
	return false
}

// only is the ack of the hosts that fail still: who was up in between fails anew.
func (m *Mark) only(failing map[string]bool) *Mark {
	if m == nil || !slices.ContainsFunc(m.Hosts, func(h string) bool { return !failing[h] }) {
		return m
	}
	less := *m
	less.Hosts = []string{} // not nil, which is all
	for _, h := range m.Hosts {
		if failing[h] {
			less.Hosts = append(less.Hosts, h)
		}
	}
	return &less
}

// anotherSummary is unack_summary: the summary, white space apart, is not the one of
// the failure before.
func (r *round) anotherSummary(sub *subject) bool {
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	return r.sv.UnackSummary && squeeze(orNoSummary(firstLine(r.output))) != squeeze(orNoSummary(firstLine(sub.failureOutput)))
}

func orNoSummary(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(NO SUMMARY)"
	}
	return s
}

// decide is the tests of one period, in mon's order.
func (r *round) decide(sub *subject, i int) (Code, string) {
	p, state := &r.sv.Periods[i], &sub.periods[i]
	if !p.When.Contains(r.now) && (r.kind != Up || r.sv.Compat) {
		return OutsidePeriod, "outside the period " + p.When.String()
	}
	switch r.kind {
	case Up, Ack:
		return r.decidePaired(sub, p, state)
	case Startup:
		return Sent, "monitoring begins"
	case Disable:
		return Sent, "the watch is disabled" + r.sv.disabled.describe()
	case Failure, Trap, TrapTimeout, Test, State:
	}
	if p.ExitRange != nil && !p.ExitRange.Contains(*r.exit) {
		return OutsideExitRange, fmt.Sprintf("exit status %d is outside alertexitrange %s", *r.exit, p.ExitRange)
	}
	if p.NumAlerts > 0 && state.sent >= p.NumAlerts && !state.remind {
		return EnoughAlerts, fmt.Sprintf("%d alerts were sent, numalerts is %d", state.sent, p.NumAlerts)
	}
	if why := r.tooSoon(sub, p, state); why != "" && !state.remind {
		return TooSoon, why
	}
	if why := r.tooFew(sub, p, state); why != "" && !r.again {
		return TooFew, why
	}
	if state.remind {
		return Sent, fmt.Sprintf("failure %d in a row, and its ack was forgotten: it is more than %s old", sub.consecutive, r.sv.AckExpires)
	}
	return Sent, fmt.Sprintf("failure %d in a row", sub.consecutive)
}

// decidePaired is the tests of what answers an alert: an upalert, an ackalert.
func (r *round) decidePaired(sub *subject, p *Period, state *periodState) (Code, string) {
	switch {
	case !p.NoCompAlerts && state.sent == 0:
		return NothingToAnswer, "no alert was sent before in this period"
	case r.kind == Up && p.NoCompAlerts && state.compUpSent:
		return NothingToAnswer, "an upalert was sent already, and no alert since (no_comp_alerts)"
	case r.kind == Up && p.UpAlertAfter > 0 && !sub.firstFailure.IsZero() && !elapsed(r.now, sub.firstFailure, p.UpAlertAfter):
		return TooShort, fmt.Sprintf("down for %s only, upalertafter is %s", r.now.Sub(sub.firstFailure), p.UpAlertAfter)
	case r.kind == Up && !sub.firstFailure.IsZero():
		return Sent, fmt.Sprintf("up again after %s", r.now.Sub(sub.firstFailure).Round(time.Millisecond))
	}
	if r.kind == Ack {
		return Sent, "acknowledged" + cmp.Or(sub.ack, sub.toldAck).describe()
	}
	return Sent, r.kind.String()
}

// tooSoon is alertevery.
func (r *round) tooSoon(sub *subject, p *Period, state *periodState) string {
	every := p.AlertEvery
	if every.Interval == 0 || elapsed(r.now, state.lastAlert, every.Interval) {
		return ""
	}
	switch every.Compare {
	case CompareSummary:
		if !r.sameSummary(sub) {
			return ""
		}
	case CompareDetail:
		if r.detail(sub) != sub.failureOutput {
			return ""
		}
	case CompareNothing, Strict:
	}
	return fmt.Sprintf("the last alert was %s ago, alertevery is %s (%s)", r.now.Sub(state.lastAlert).Round(time.Second), every.Interval, every.Compare)
}

func (r *round) detail(sub *subject) string {
	if r.sv.Scope == ScopeHost {
		return sub.host + "\n" + sub.reason
	}
	return r.output
}

// sameSummary compares this failure with the one before: the exact line with
// mon's compat, else the set of words, which by convention are the failed hosts.
func (r *round) sameSummary(sub *subject) bool {
	this, before := orNoSummary(firstLine(r.detail(sub))), orNoSummary(firstLine(sub.failureOutput))
	if r.sv.Compat {
		return this == before
	}
	set := func(s string) []string { return slices.Compact(slices.Sorted(slices.Values(strings.Fields(s)))) }
	return slices.Equal(set(this), set(before))
}

// tooFew is alertafter. Of several lines in one period the number of
// consecutive failures is tested first, then the window, else the time.
func (r *round) tooFew(sub *subject, p *Period, state *periodState) string {
	after := p.AlertAfter
	if sub.consecutive < after.Consecutive {
		return fmt.Sprintf("failure %d of alertafter %d", sub.consecutive, after.Consecutive)
	}
	switch {
	case after.Count > 0 && r.sv.Compat:
		return r.tumbling(after, state)
	case after.Count > 0:
		if n := sub.within(r.now, after); n < after.Count {
			return fmt.Sprintf("failure %d of alertafter %d within %s", n, after.Count, after.Within)
		}
	case after.Within > 0:
		if state.windowStart.IsZero() {
			state.windowStart = r.now
		}
		if !longer(r.now, state.windowStart, after.Within) {
			return fmt.Sprintf("failing for %s, alertafter is %s", r.now.Sub(state.windowStart), after.Within)
		}
	}
	return ""
}

// tumbling is mon's window: the count starts over when it has passed.
func (r *round) tumbling(after AlertAfter, state *periodState) string {
	few := func() string {
		return fmt.Sprintf("failure %d of alertafter %d within %s", state.count, after.Count, after.Within)
	}
	state.count++
	over := state.windowStart.IsZero() || longer(r.now, state.windowStart, after.Within)
	if !over && state.count < after.Count {
		return few()
	}
	if over {
		state.count = 1
	}
	if state.count == 1 {
		state.windowStart = r.now
	}
	if state.count < after.Count {
		return few()
	}
	return ""
}

// within counts the failures inside the sliding window that ends now. Successes
// between them do not matter: a service that flaps is what it is for.
func (sub *subject) within(now time.Time, after AlertAfter) int {
	n := 0
	for _, t := range sub.recent {
		if !longer(now, t, after.Within) {
			n++
		}
	}
	return n
}
