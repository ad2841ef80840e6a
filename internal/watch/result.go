package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Result is what one completed run found out.
type Result struct {
	// Exit is the monitor's exit status: 0 is success.
	Exit int
	// Output is the monitor's whole output; its first line is the summary.
	Output string
	// Hosts are the verdicts on single hosts; empty if the monitor judges the
	// group as a whole.
	Hosts []HostVerdict
	// Began is when the run began; zero: just now.
	Began time.Time
}

// A HostVerdict is what a run found out about one host.
type HostVerdict struct {
	Host    string
	Verdict Verdict
	Reason  string
}

// Result takes the result of a run.
func (s *Set) Result(now time.Time, key Key, r Result) []Notice {
	sv, ok := s.services[key]
	if !ok {
		return nil
	}
	if why, undecided := sv.undecided(r); undecided {
		return s.CouldNotTest(now, key, why)
	}
	return s.event(now, sv, Failure, r)
}

// undecided reports whether a result says nothing about the watch, and why.
func (sv *service) undecided(r Result) (why string, undecided bool) {
	if len(r.Hosts) == 0 {
		if sv.Scope == ScopeHost && r.Exit != 0 && !sv.NoHosts && len(sv.subjects) > 1 {
			return fmt.Sprintf("exit status %d, but the first line of the output names no host of the group", r.Exit), true
		}
		return "", false
	}
	unseen := 0
	for _, h := range r.Hosts {
		switch h.Verdict {
		case Bad:
			return "", false
		case Unseen:
			unseen, why = unseen+1, h.Reason
		case Good:
		}
	}
	return why, unseen == len(r.Hosts) || unseen > 0 && sv.Scope == ScopeGroup
}

// CouldNotTest takes a run that found nothing out: a monitor that is missing,
// died or was cut off. Nothing is concluded from it; counters, states and
// pools stay as they are.
func (s *Set) CouldNotTest(now time.Time, key Key, reason string) []Notice {
	sv, ok := s.services[key]
	if !ok {
		return nil
	}
	if sv.unknownSince.IsZero() {
		sv.unknownSince = now
		sv.changes = append(sv.changes, Change{Key: key, From: sv.status, To: Unknown, Reason: reason})
	}
	sv.unknownReason = reason
	for _, sub := range sv.subjects {
		sub.verdict = Unseen
	}
	sv.remember(s.options.Keep, Decision{At: now, Kind: Failure, Code: NotTested, Reason: "could not test: " + reason})
	return sv.followAll(s, now)
}

// event is what a monitor's result, a trap and a trap timeout have in common.
// kind is the kind of notice that a failure gives.
func (s *Set) event(now time.Time, sv *service, kind Kind, r Result) []Notice {
	if !sv.unknownSince.IsZero() {
		sv.changes = append(sv.changes, Change{Key: sv.Key, From: Unknown, To: sv.status})
	}
	sv.unknownSince, sv.unknownReason = time.Time{}, ""
	exit := r.Exit
	sv.exit = &exit
	changes := len(sv.changes)
	if kind == Failure && !sv.Compat {
		sv.trapExpires = time.Time{} // the monitor knows better than an old trap
	}
	if !sv.Depend.On.Empty() && sv.Depend.Behavior == SuppressAlerts || !sv.Compat && !sv.Depend.Alert.Empty() {
		s.evaluate(now, sv, SuppressAlerts, r.Began)
	}
	var out []Notice
	if sv.Scope == ScopeGroup {
		out = s.groupEvent(now, sv, kind, r)
	} else {
		out = s.hostEvent(now, sv, kind, r)
	}
	sv.output = r.Output
	sv.events++
	if len(sv.changes) > changes && sv.mute == "" {
		s.version++
	}
	return append(out, sv.followAll(s, now)...)
}

func (s *Set) groupEvent(now time.Time, sv *service, kind Kind, r Result) []Notice {
	sub := sv.group()
	sub.hearsay = false
	summary := firstLine(r.Output)
	if kind == Failure { // a trap says nothing about a single host
		sub.learn(s.testable(sv), r)
	}
	if r.Exit != 0 {
		if strings.TrimSpace(summary) == "" {
			summary = "(NO SUMMARY)"
		}
		sv.summary = summary
		sub.blame()
		if sv.mute == "" {
			sub.ack = sub.ack.only(sub.blamed)
		}
		sv.countFailure(sub, now, summary)
		sv.setStatus(Failed, now)
		out := s.alertFailure(now, sv, kind, summary, r, []*subject{sub})
		sub.failureOutput = r.Output
		return out
	}
	before := sub.status
	sv.turn(sub, OK, now)
	sv.setStatus(OK, now)
	out := s.alertRecovery(now, sv, before == Failed, []*subject{sub})
	sub.clear(sv, now)
	sv.summary = summary
	return out
}

// learn keeps what a run found out about each host of the group. A monitor that
// judges the group as a whole means all hosts that it was given; hosts that were
// not tested keep what was known of them.
func (sub *subject) learn(tested []string, r Result) {
	if sub.known == nil {
		sub.known = map[string]HostVerdict{}
	}
	for _, h := range r.Hosts {
		if h.Verdict != Unseen {
			sub.known[h.Host] = h
		}
	}
	if len(r.Hosts) > 0 {
		return
	}
	for _, host := range tested {
		v := HostVerdict{Host: host, Verdict: Good}
		if r.Exit != 0 {
			v.Verdict, v.Reason = Bad, firstLine(r.Output)
		}
		sub.known[host] = v
	}
}

// blame notes whom the failure is about: its recovery will be about them too.
func (sub *subject) blame() {
	sub.blamed = map[string]bool{}
	for host, v := range sub.known {
		if v.Verdict == Bad {
			sub.blamed[host] = true
		}
	}
}

// hostEvent counts each host's verdict by itself and then alerts about all
// hosts of the round that failed, and all that recovered, at once.
func (s *Set) hostEvent(now time.Time, sv *service, kind Kind, r Result) []Notice {
	t := s.tally(now, sv, kind, s.verdicts(sv, r))
	sv.setStatus(s.worst(sv), now)
	sv.summary = firstLine(r.Output)
	var out []Notice
	if len(t.failed) > 0 {
		out = s.alertFailure(now, sv, kind, names(t.failed), r, t.failed)
		for _, sub := range t.failed {
			sub.failureOutput = sub.host + "\n" + sub.reason
		}
	}
	if len(t.recovered) > 0 || sv.Redistribute != nil && t.allGood {
		out = append(out, s.alertRecovery(now, sv, len(t.recovered) > 0, t.recovered)...)
	}
	for _, sub := range t.settled {
		sub.clear(sv, now)
	}
	return out
}

// A tally is what one round's verdicts did to the hosts.
type tally struct {
	failed, recovered []*subject
	settled           []*subject // those that are up now, recovered or not
	allGood           bool
}

// tally counts the verdicts. Silence below fall and rise is noted once for all
// hosts that it concerns.
func (s *Set) tally(now time.Time, sv *service, kind Kind, verdicts []HostVerdict) tally {
	t := tally{allGood: true}
	quiet := round{set: s, sv: sv, now: now, kind: kind}
	for i, v := range verdicts {
		var sub *subject
		if i < len(sv.subjects) && sv.subjects[i].host == v.Host { // nearly always: nobody was left out
			sub = sv.subjects[i]
		} else if sub = sv.subject(v.Host); sub == nil {
			continue
		}
		sub.verdict = v.Verdict
		t.allGood = t.allGood && v.Verdict == Good
		if kind == Failure && v.Verdict != Unseen {
			sub.trapped = notTrapped
		}
		switch v.Verdict {
		case Bad:
			sv.countFailure(sub, now, v.Reason)
			if sub.consecutive >= sv.Fall || sub.status == Failed {
				sv.turn(sub, Failed, now)
				t.failed = append(t.failed, sub)
			} else {
				quiet.note(-1, sub, BelowFall, fmt.Sprintf("failure %d of fall %d", sub.consecutive, sv.Fall))
			}
		case Good:
			switch sv.success(sub, now) {
			case nowUp:
				t.recovered, t.settled = append(t.recovered, sub), append(t.settled, sub)
			case stillUp:
				t.settled = append(t.settled, sub)
			case rising:
				quiet.note(-1, sub, BelowRise, fmt.Sprintf("success %d of rise %d", sub.rising, sv.Rise))
			}
		case Unseen:
			sub.reason = v.Reason
		}
		// Fall and rise may keep a status that a result since the start speaks against.
		if v.Verdict == Good && sub.status == OK || v.Verdict == Bad && sub.status == Failed {
			sub.hearsay = false
		}
	}
	quiet.notices()
	return t
}

// verdicts gives each host its verdict; a monitor that judges the group as a
// whole gives the same to all that it was given.
func (s *Set) verdicts(sv *service, r Result) []HostVerdict {
	if r.Hosts != nil {
		return r.Hosts
	}
	v := HostVerdict{Verdict: Good}
	if r.Exit != 0 {
		v.Verdict, v.Reason = Bad, firstLine(r.Output)
	}
	var out []HostVerdict
	for _, host := range s.testable(sv) {
		v.Host = host
		out = append(out, v)
	}
	return out
}

// testable are the hosts that are neither disabled nor excluded.
func (s *Set) testable(sv *service) []string {
	var out []string
	for _, h := range sv.Hosts {
		if _, off := s.disabledHosts[h]; !off && !slices.Contains(sv.ExcludeHosts, h) {
			out = append(out, h)
		}
	}
	return out
}

// worst is the status of a watch whose hosts have their own: failed if one is.
// A disabled host does not count.
func (s *Set) worst(sv *service) Status {
	status := Untested
	for _, sub := range sv.subjects {
		if _, off := s.disabledHosts[sub.host]; off {
			continue
		}
		switch sub.status {
		case Failed:
			return Failed
		case OK:
			status = OK
		default:
		}
	}
	return status
}

func (sv *service) setStatus(status Status, now time.Time) {
	if sv.status == Failed && status != Failed {
		sv.lastFailed = now
	}
	sv.previousStatus, sv.status = sv.status, status
}

// windowSize is the longest count of failures that some period looks back on.
func (sv *service) windowSize() int {
	n := 0
	for i := range sv.Periods {
		n = max(n, sv.Periods[i].AlertAfter.Count)
	}
	return n
}

// turn gives a subject a status, and notes the change for who keeps the log.
func (sv *service) turn(sub *subject, status Status, now time.Time) {
	if sub.status == status {
		return
	}
	sv.changes = append(sv.changes, Change{Key: sv.Key, Host: sub.host, From: sub.status, To: status, Reason: sub.reason})
	if !sv.digested.IsZero() {
		sub.toll.count(sub.status, status, sub.since, now)
	}
	sub.status, sub.since = status, now
	if status == Failed && sv.mute != "" && sub.told != nil {
		sub.knownAck()
	}
}

func (sv *service) countFailure(sub *subject, now time.Time, reason string) {
	sub.failures++
	sub.consecutive++
	sub.rising = 0
	sub.lastFailure = now
	sub.reason = reason
	if sub.host == "" && sub.status != Failed || sub.host != "" && sub.firstFailure.IsZero() {
		sub.firstFailure, sub.named = now, time.Time{}
	}
	if sub.host == "" { // fall is for hosts
		sv.turn(sub, Failed, now)
	}
	sub.recent = append(sub.recent, now)
	if extra := len(sub.recent) - sv.windowSize(); extra > 0 {
		sub.recent = slices.Delete(sub.recent, 0, extra)
	}
}

type progress int

const (
	stillUp progress = iota
	nowUp
	rising
)

// success counts one success of a host. A host that is not failed needs one
// only: rise is for coming back.
func (sv *service) success(sub *subject, now time.Time) progress {
	if sub.status != Failed {
		sv.turn(sub, OK, now)
		return stillUp
	}
	if sub.rising++; sub.rising < sv.Rise {
		return rising
	}
	sv.turn(sub, OK, now)
	return nowUp
}

// clear is what a success does to the counters, after its upalert.
func (sub *subject) clear(sv *service, now time.Time) {
	sub.ack = nil
	sub.firstFailure, sub.lastFailure, sub.named = time.Time{}, time.Time{}, time.Time{}
	sub.consecutive, sub.rising = 0, 0
	sub.failureOutput, sub.reason, sub.blamed, sub.held, sub.hushed = "", "", nil, nil, nil
	if sub.told == nil { // else the owner may not have heard of it
		sub.unacked = time.Time{}
	}
	for i := range sub.periods {
		p := &sub.periods[i]
		p.windowStart = time.Time{}
		if sv.mute != "" { // what was told is the owner's word
			continue
		}
		if sv.Periods[i].AlertEvery.Compare != Strict {
			p.lastAlert = time.Time{}
		}
		p.sent, p.firstAlert, p.stage, p.remind = 0, time.Time{}, 0, false
	}
	sub.lastSuccess = now
}

func firstLine(output string) string {
	line, _, _ := strings.Cut(output, "\n")
	return line
}

func names(subjects []*subject) string {
	hosts := make([]string, len(subjects))
	for i, sub := range subjects {
		hosts[i] = sub.host
	}
	return strings.Join(hosts, " ")
}
