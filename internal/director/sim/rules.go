package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// checkEvery is how often what lasts is looked at; what changes is looked at when it does.
const checkEvery = 25 * ms

// rules is what they remember.
type rules struct {
	result    Result
	disturbed Time // when something last happened to the cluster
	begun     Time // when the last fault did
	moved     Time // when it last did something about it
	bound     Time
	settle    Time
	extra     Time
	bounds    map[director.Failure]director.Bound
	touched   []Time
	groups    []held
}

// held is what became of one group.
type held struct {
	holders  []int
	overlap  Time // since when two hold, if they do
	apart    Time // last instant at which an overlap was excused
	unserved Time // since when nobody serves it; negative: somebody does
	owner    int  // who took it last
	epoch    uint64
	yielded  Time // when one of two holders let go, which then was not the last
}

func newRules(s Setup) rules {
	r := rules{groups: make([]held, len(s.Groups)), touched: make([]Time, s.voters()), bound: s.bound(), settle: s.settle(), result: Result{Outages: map[Kind]Time{}}}
	r.extra, r.bounds = s.extra(), map[director.Failure]director.Bound{}
	bounds, _ := director.Bounds(s.Config(0)) // none: the rule does without
	for _, b := range bounds {
		r.bounds[b.Failure] = b
	}
	for i := range r.groups {
		r.groups[i] = held{owner: -1, yielded: -1}
	}
	return r
}

// touch a node: what it does in the next time may have a cause.
func (w *World) touch(n *node) {
	w.rules.touched[n.id] = w.now
	w.rules.disturbed = w.now
}

// affects notes whom a fault that begins or ends is about.
func (w *World) affects(h *happening) {
	w.rules.disturbed = w.now
	for _, n := range w.nodes {
		if w.touches(h, n.id) {
			w.touch(n)
		}
	}
}

// touches tells whether a fault gives a node a reason to let go of what it has.
// A fault that is about others, or that another path makes good, does not.
func (w *World) touches(h *happening, node int) bool {
	s := w.setup
	switch h.Kind {
	case Partition, OneWay:
		return !w.bypassed() && (node == h.node || node == h.other)
	case Split:
		return true
	case AllGatewaysDown:
		return s.ReleaseAll
	case GatewayDown:
		return s.ReleaseAll && (s.Gateways == 1 || s.AllGateways)
	case Heartbeats, ARP, NoBroadcast, BackDown, NoRelay, DiskFails, DiskSlow, DiskForgets, FailStart, SlowStart, FailStop, SlowStop,
		Stranger, NoStonith:
		return false
	}
	return node == h.node
}

// bypassed tells whether there is another way between two directors than the
// service network: the relay, a second network, or what a third voter passes on.
func (w *World) bypassed() bool {
	return w.setup.Relay || w.setup.Back || w.setup.voters() >= 3
}

// Rule 1: at most one kernel answers for an address.

func (w *World) holdersChanged(group int) {
	g := &w.rules.groups[group]
	g.holders = g.holders[:0]
	for i, n := range w.nodes[:w.setup.Directors] {
		if n.answers(group) {
			g.holders = append(g.holders, i)
		}
	}
	if len(g.holders) > 1 && g.overlap == 0 {
		g.overlap, g.apart = w.now, 0
	}
	w.log("%s is answered by %v", groupName(group), w.names(g.holders))
	if len(g.holders) <= 1 && g.overlap > 0 {
		w.excuse(g)
		w.overlapped(group)
		w.count()
		g.overlap = 0
	}
	if len(g.holders) == 0 && g.owner >= 0 {
		w.movesWithoutNeed(w.nodes[g.owner], group)
		w.leavesInPlace(group)
	}
	w.rules.moved = w.now
	w.servedChanged(group)
}

// leavesInPlace: who is restarted by Quit finds its address again, inside the lease.
func (w *World) leavesInPlace(group int) {
	last := w.lastBegun()
	if w.setup.Single && last != nil && last.Kind == Quit && !w.mayReturn(group) {
		w.breaks("2 held within the bound", "%s is gone, and Quit leaves it in place", groupName(group))
	}
}

func (w *World) count() {
	w.rules.result.Overlaps++
	if w.excepted() {
		w.rules.result.Excepted++
	}
}

func (w *World) pausedChanged() {
	for i := range w.rules.groups {
		w.holdersChanged(i)
	}
}

func (w *World) names(nodes []int) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = w.nodes[n].name
	}
	return names
}

// overlapped judges two kernels that answer, while they do and when one ceases
// to. What lasts no time at all is a renewal that came back late and was undone.
func (w *World) overlapped(group int) {
	g := &w.rules.groups[group]
	lasted := w.now - max(g.overlap, g.apart)
	if w.now == g.overlap || w.setup.Groups[group].Bare {
		return // nothing but heartbeats guards a group without an address
	}
	w.rules.result.Longest = max(w.rules.result.Longest, lasted)
	longest := w.timings.Lease + w.setup.LatestExpiry + 200*ms
	switch {
	case w.excepted():
		if lasted > longest {
			w.breaks("1 one kernel answers", "%s is answered by %v %v after the cut was healed", groupName(group), w.names(g.holders), lasted)
		}
	case w.setup.Single:
		w.breaks("1 one kernel answers", "%s is answered by two for %v: %v now", groupName(group), w.now-g.overlap, w.names(g.holders))
	case w.setup.Strict && !w.had(Pause) && g.apart == 0:
		w.breaks("1 one kernel answers", "%s, strict, is answered by two for %v: %v now", groupName(group), w.now-g.overlap, w.names(g.holders))
	case lasted > longest:
		w.breaks("1 one kernel answers", "%s is answered by two for %v, longer than %v: %v now", groupName(group), lasted, longest, w.names(g.holders))
	}
}

// excepted is the one exception that is documented: two directors that vote
// alone, no other path, and a cut between them that ARP does not pass either.
func (w *World) excepted() bool {
	s := w.setup
	if s.voters() != 2 || s.Relay || s.Back || s.HoldStill || s.Stonith == director.StonithRequire || !s.Single {
		return false
	}
	return len(w.begun) > 0 && w.begun[len(w.begun)-1].Kind == Partition
}

// lastBegun is the fault that began last.
func (w *World) lastBegun() *Fault {
	if len(w.begun) == 0 {
		return nil
	}
	return &w.begun[len(w.begun)-1]
}

// had tells whether a fault of a kind began already.
func (w *World) had(k Kind) bool {
	return slices.ContainsFunc(w.begun, func(f Fault) bool { return f.Kind == k })
}

// excuse an overlap of two voters that cannot speak to each other: it has to end
// when they can. Three have a majority, which excuses nothing.
func (w *World) excuse(g *held) {
	if g.overlap == 0 || w.setup.voters() != 2 {
		return
	}
	if !w.hears(0, 1) || !w.hears(1, 0) || w.is(Loss, 0) || w.is(Loss, 1) || w.is(Slow, 0) || w.is(Slow, 1) {
		g.apart = w.now
	}
}

// Rule 2: an entitled, connected director holds within the bound.

func (w *World) servedChanged(group int) {
	g := &w.rules.groups[group]
	served := slices.ContainsFunc(g.holders, w.reachable)
	switch {
	case served && g.unserved >= 0:
		if w.setup.Single {
			w.outage(w.now - g.unserved)
		}
		g.unserved = -1
	case !served && g.unserved < 0:
		g.unserved = w.now
	}
}

func (w *World) outage(d Time) {
	s := w.setup
	if last := w.lastBegun(); last != nil && !s.Strict && !s.HoldStill && s.Stonith == director.NoStonith {
		w.rules.result.Outages[last.Kind] = max(w.rules.result.Outages[last.Kind], d)
	}
}

// reachable tells whether clients behind the gateways reach a node and back.
func (w *World) reachable(node int) bool {
	return w.setup.Gateways == 0 || w.gatewaysOf(node) > 0
}

func (w *World) gatewaysOf(node int) int {
	answered := 0
	for i := range w.net.gateways {
		if w.net.both(node, w.net.gateway(i), everything) {
			answered++
		}
	}
	return answered
}

func (w *World) connected(node int) bool {
	n := w.gatewaysOf(node)
	if w.setup.AllGateways {
		return n == w.setup.Gateways
	}
	return n > 0 || w.setup.Gateways == 0
}

// entitled tells whether a director could hold groups, beyond any doubt: it is
// well and connected, and each other node is either well and heard, or dead or
// cut off as a whole.
func (w *World) entitled(node int) bool {
	n := w.nodes[node]
	if !n.usable() || n.exiting || n.maintained || !w.carrier[node] || !w.connected(node) || w.unclear() || w.troubled(node) {
		return false
	}
	heard := 1
	for i, o := range w.nodes {
		switch {
		case i == node:
		case o.usable() && !o.exiting && w.net.isolated[i] == 0 && !w.troubled(i):
			if !w.net.both(node, i, everything) || w.net.filtered[node][i] {
				return false
			}
			heard++
		case w.setup.HoldStill && w.setup.voters() == 2, w.setup.Stonith == director.StonithRequire:
			return false
		}
	}
	return w.setup.voters() < 3 || heard > w.setup.voters()/2
}

// troubled: something is on at a node that is neither death nor health.
func (w *World) troubled(node int) bool {
	return slices.ContainsFunc(w.active, func(h *happening) bool {
		switch h.Kind {
		case KernelFails, Stall, Loss, Slow, FailStart, SlowStart, FailStop, SlowStop, Unfit, GatewayPath, DiskSlow:
			return h.node == node
		case Shutdown, Quit, Maintain:
			return h.node == node
		}
		return false
	})
}

// unclear: something is on that concerns everybody.
func (w *World) unclear() bool {
	return slices.ContainsFunc(w.active, func(h *happening) bool {
		switch h.Kind {
		case Split, NoBroadcast, Stranger, NoStonith, Partition, OneWay, Heartbeats, ARP:
			return true
		}
		return false
	})
}

// check what lasts.
func (w *World) check() {
	for i := range w.rules.groups {
		g := &w.rules.groups[i]
		w.excuse(g)
		if g.overlap > 0 {
			w.overlapped(i)
		}
		w.servedChanged(i)
		w.inTime(i)
	}
	w.rest()
	w.after(checkEvery, w.check)
}

// rest is what comes between faults, and at the end: every lease of before is
// over, nothing moves, and everything is as it should be. It must come in time.
func (w *World) rest() {
	var wrong *Violation
	for i := range w.rules.groups {
		if wrong == nil {
			wrong = w.oneOwner(i)
		}
	}
	since := w.now - w.rules.disturbed
	calm := since > w.timings.Lease+w.setup.LatestExpiry && w.now-w.rules.moved > restful
	idle := len(w.active) == 0 && w.now > w.setup.LateBoot+100*ms && w.allRun() && (w.setup.Single || w.ahead == 0)
	switch {
	case !idle:
	case wrong != nil && since > w.rules.settle:
		w.broken = wrong
	case w.now > 5*time.Minute:
		w.breaks("6 one owner", "the cluster does not come to rest")
	case w.resting:
		w.done = w.now-w.restAt > quietTime
	case wrong == nil && calm && w.ahead > 0:
		if f := w.Faults[len(w.begun)]; w.restAt == 0 {
			w.restAt = w.now
			w.after(f.At, func() { w.restAt = 0; w.begin(f) })
		}
	case wrong == nil && calm:
		w.log("quiet")
		w.resting, w.restAt = true, w.now
	}
}

// allRun tells whether every node has its daemon; who was powered off comes back.
func (w *World) allRun() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.running })
}

const (
	// restful is how long nothing must have moved.
	restful = 800 * ms
	// quietTime is how long nothing may move at the end.
	quietTime = 1500 * ms
)

// inTime breaks rule 2 if a group was not served for too long since anything happened.
func (w *World) inTime(group int) {
	g := &w.rules.groups[group]
	if g.unserved < 0 {
		return
	}
	w.promised(group)
	since := max(g.unserved, w.rules.disturbed)
	limit := w.rules.bound
	if w.now-since <= limit || w.fresh() {
		return
	}
	for i := range w.nodes[:w.setup.Directors] {
		if w.entitled(i) {
			w.breaks("2 held within the bound", "%s is not served for %v, and %s could", groupName(group), w.now-since, w.nodes[i].name)
			return
		}
	}
}

// failures are the faults that director.Bounds promises something for.
var failures = map[Kind]director.Failure{
	Kill: director.DaemonKilled, Power: director.HostDead, Sworn: director.HostDead, Pull: director.HostDead, Freeze: director.Frozen,
	CutOff: director.CutOff, Mute: director.CutOff, Deaf: director.CutOff, OneWay: director.OneWay,
	GatewayPath: director.GatewayPath, Switchover: director.Planned, FailbackNow: director.Planned,
	Maintain: director.Planned, Shutdown: director.Planned,
}

// promised breaks rule 2 if a single fault costs more than the configuration's
// bound for it, printed by monitord check.
func (w *World) promised(group int) {
	g, last := &w.rules.groups[group], w.lastBegun()
	if !w.setup.Single || last == nil || g.unserved < w.rules.begun {
		return
	}
	failure, known := failures[last.Kind]
	if w.setup.Back && known && last.Kind != Power && last.Kind != Sworn && (failure == director.HostDead || failure == director.CutOff) {
		failure = director.GatewayPath // heartbeats go on over the second network: only pings tell
	}
	b, promised := w.rules.bounds[failure]
	if lasted := w.now - g.unserved; known && promised && !b.Open && lasted > b.Limit+w.rules.extra {
		w.breaks("2 held within the bound", "%s is not served for %v, promised are %v (%s) and %v for resources and delays",
			groupName(group), lasted, b.Limit, b.Formula, w.rules.extra)
	}
}

// extra is what comes on top of a bound: resources, this world's slow moments and
// delays, and that it is looked at now and then.
func (s Setup) extra() Time {
	d := 3*20*ms + checkEvery
	if s.Late > 0 {
		d += 3 * 40 * ms
	}
	for _, g := range s.Groups {
		d += 2 * (g.Begin + g.End)
	}
	return d
}

// fresh: a process started so lately that it may wait for others.
func (w *World) fresh() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool {
		return n.running && w.now-n.started < w.timings.InitDead+w.rules.bound
	})
}

// Rule 3: a quiet network never moves an address.

// drops is called when a machine lets an address go.
func (w *World) drops(n *node, group int) {
	g := &w.rules.groups[group]
	if !n.addresses[group].held {
		return
	}
	if len(g.holders) > 1 {
		g.yielded = w.now
		return
	}
	w.movesInQuiet(n, group)
	w.movesWithoutNeed(n, group)
	w.bothRelease(n, group)
}

func (w *World) movesInQuiet(n *node, group int) {
	long := w.now > w.rules.disturbed+w.rules.settle
	if long || w.resting && !w.mayReturn(group) {
		w.breaks("3 quiet is quiet", "%s lets %s go %v after anything happened", n.name, groupName(group), w.now-w.rules.disturbed)
	}
}

// movesWithoutNeed: a fault elsewhere never moves an address.
func (w *World) movesWithoutNeed(n *node, group int) {
	if !w.setup.Single || w.mayReturn(group) {
		return
	}
	last := w.lastBegun()
	switch {
	case len(w.begun) == 0:
	case last != nil && last.Kind.planned():
	case w.rules.touched[n.id] >= w.rules.begun:
	default:
		w.breaks("3 quiet is quiet", "%s lets %s go, and nothing happened to it", n.name, groupName(group))
	}
}

// mayReturn tells whether the group's policy moves it without any fault.
func (w *World) mayReturn(group int) bool {
	return slices.ContainsFunc(w.setup.Groups, func(g GroupSetup) bool { return g.Failback || g.Together || g.Apart })
}

// Rule 4: everything acquired is released before another starts it.
func (w *World) begins(n *node, group int, p director.Part) {
	for i, o := range w.nodes[:w.setup.Directors] {
		if o == n || !o.parts[group][director.Before].running && !o.parts[group][director.After].running {
			continue
		}
		if w.understand(n, o) && !w.is(FailStop, i) {
			w.breaks("4 released before started", "%s starts what comes %v of %s, and %s still runs it", n.name, p, groupName(group), o.name)
		}
	}
}

// understand: both are well and heard each other for so long that each knows what the other does.
func (w *World) understand(a, b *node) bool {
	calm := func(n *node) bool {
		return n.usable() && w.now-w.rules.touched[n.id] > w.timings.Lease+w.setup.LatestExpiry+w.timings.Dead && !w.had(NoBroadcast)
	}
	return calm(a) && calm(b) && !w.unclear() && w.hears(a.id, b.id) && w.hears(b.id, a.id) && w.now-w.rules.disturbed < w.now
}

// Rule 5: never both release when one could keep.
func (w *World) bothRelease(n *node, group int) {
	g := &w.rules.groups[group]
	if g.yielded < 0 || w.now-g.yielded > 1500*ms || w.rules.disturbed >= g.yielded || !w.entitled(n.id) {
		return
	}
	since := w.now
	grace := 300 * ms
	for _, s := range w.setup.Groups {
		grace += s.Begin + s.End
	}
	w.after(grace, func() {
		if g.unserved >= 0 && g.unserved <= since+10*ms && w.rules.disturbed < since {
			w.breaks("5 one keeps", "both let %s go, %s at last, and nobody has it %v later", groupName(group), n.name, grace)
		}
	})
}

// Rule 6: after the last fault exactly one owner, announced after the last doubt.

// oneOwner tells what is wrong with a group, where everything that happened is over.
func (w *World) oneOwner(group int) *Violation {
	g := &w.rules.groups[group]
	wrong := func(rule, format string, args ...any) *Violation {
		return &Violation{w.now, rule, groupName(group) + " " + fmt.Sprintf(format, args...)}
	}
	if len(g.holders) != 1 {
		return wrong("6 one owner", "is held by %v", w.names(g.holders))
	}
	owner := g.holders[0]
	for i, b := range w.believes {
		if b[group] != owner && !w.setup.Groups[group].Bare && !w.had(NoBroadcast) {
			return wrong("6 announced", "is at %s, and client %d believes in node %d", w.nodes[owner].name, i+1, b[group]+1)
		}
	}
	for i, n := range w.nodes[:w.setup.Directors] {
		for p := range n.parts[group] {
			wanted := i == owner && w.wants(group, director.Part(p))
			if n.parts[group][p].running != wanted {
				return wrong("6 one owner", "is held by %s, and what comes %v at %s runs: %v",
					w.nodes[owner].name, director.Part(p), n.name, !wanted)
			}
		}
	}
	if best := w.belongs(group); best != "" && best != w.nodes[owner].name {
		return wrong("6 failback", "is at %s, and should be at %s", w.nodes[owner].name, best)
	}
	return nil
}

func (w *World) wants(group int, p director.Part) bool {
	if p == director.Before {
		return w.setup.Groups[group].Before
	}
	return w.setup.Groups[group].After
}

// belongs tells where a group has to return to; empty: anywhere.
func (w *World) belongs(group int) string {
	s := w.setup.Groups[group]
	if !s.Failback || w.setup.Differs || s.Together || s.Apart || w.had(FailStart) || w.had(KernelFails) || w.had(SlowStart) || w.had(Switchover) || w.had(SwitchFrozen) || w.had(FailbackNow) || w.had(Unfit) || w.had(FailStop) {
		return ""
	}
	return w.nodes[0].config.Holders(w.nodes[0].config.Groups[group])[0]
}

// Rule 7: epochs only grow.

// owns is called when an address was taken.
func (w *World) owns(n *node, group int) {
	g := &w.rules.groups[group]
	standing := n.machine.Groups()[group]
	epoch := standing.Epoch
	if g.owner == n.id && standing.Role == director.Active {
		return // put back what somebody removed
	}
	const rule = "7 epochs grow"
	switch {
	case epoch < n.heardEpochs[group]:
		w.breaks(rule, "%s takes %s with epoch %d and has heard of %d", n.name, groupName(group), epoch, n.heardEpochs[group])
	case epoch > n.disk.epochs[groupName(group)] && !w.had(DiskFails) && !w.had(DiskSlow) && !w.had(DiskForgets):
		w.breaks(rule, "%s takes %s with epoch %d and has saved %d only", n.name, groupName(group), epoch, n.disk.epochs[groupName(group)])
	case w.setup.Single && g.owner >= 0 && g.owner != n.id && epoch <= g.epoch && !w.lost():
		w.breaks(rule, "%s takes %s with epoch %d, after %s with %d", n.name, groupName(group), epoch, w.nodes[g.owner].name, g.epoch)
	}
	g.owner, g.epoch = n.id, epoch
}

// lost tells whether a state directory was lost.
func (w *World) lost() bool {
	return slices.ContainsFunc(w.Faults, func(f Fault) bool {
		return (f.Kind == Kill || f.Kind == Power) && f.Arg&loseState != 0 || f.Kind == DiskForgets || f.Kind == DiskFails
	})
}

// bare: a group without an address is where a director says that it is active.
func (w *World) bare(n *node, group int, t director.Notice) {
	if t.From == director.Active {
		w.drops(n, group)
	}
	n.hold(group, t.To == director.Active)
}

// tells is called for each notice.
func (w *World) tells(n *node, t director.Notice) {
	if t.Kind == director.Transition {
		w.log("%s: %s %v -> %v, epoch %d: %v", n.name, t.Group, t.From, t.To, t.Epoch, t.Reason)
		group := w.group(t.Group)
		if group < 0 {
			return
		}
		if t.Epoch < n.shown[group] {
			w.breaks("7 epochs grow", "%s goes from epoch %d of %s to %d", n.name, n.shown[group], t.Group, t.Epoch)
		}
		n.shown[group] = t.Epoch
		if w.setup.Groups[group].Bare {
			w.bare(n, group, t)
		}
		w.rules.moved = w.now
		return
	}
	w.log("%s: %s %v: %v", n.name, t.Group, t.Kind, t.Reason)
}
