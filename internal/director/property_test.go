package director_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/director"
)

// An auditor hands a machine whatever a world could, in any order that the
// contract allows, and looks at each step.
type auditor struct {
	t      *rapid.T
	arrows map[arrow]bool
	c      director.Config
	s      director.State
	now    director.Instant
	due    []director.What // results of actions, not yet handed over
	role   director.Role
	epoch  uint64
	runs   map[director.Part]bool
	probes []audited
	handed bool // the last holder released, or was fenced
	held   bool // the peer said that it held the group
	seq    uint64
	heard  director.Hear
}

// audited is a probe, and what became of it.
type audited struct {
	id       uint64
	at       director.Instant
	works    bool
	answered bool
}

func (a *auditor) step(what director.What) {
	e := director.Event{At: a.now, What: what}
	before := fmt.Sprintf("%+v", a.s)
	next, actions := director.Step(a.c, a.s, e)
	again, same := director.Step(a.c, a.s, e)
	if !reflect.DeepEqual(next, again) || !reflect.DeepEqual(actions, same) {
		a.t.Fatalf("%T: two steps from one state differ", what)
	}
	if after := fmt.Sprintf("%+v", a.s); after != before {
		a.t.Fatalf("%T changed the state that it was given:\n%s\n%s", what, before, after)
	}
	a.s = next
	for _, action := range actions {
		a.action(action)
	}
	a.standing()
}

func (a *auditor) action(action director.Action) {
	switch x := action.(type) {
	case director.Tell:
		a.told(x.Notice)
	case director.Take:
		a.take()
		a.due = append(a.due, director.LeaseSet{Group: "web", Began: a.now, OK: true})
	case director.Renew:
		if x.NotAfter < a.now {
			a.t.Fatalf("a renewal that may not begin: now %s, not after %s", a.now, x.NotAfter)
		}
		a.due = append(a.due, director.LeaseSet{Group: "web", Began: a.now, OK: rapid.Bool().Draw(a.t, "renewed")})
	case director.Drop:
		a.due = append(a.due, director.Dropped{Group: "web", OK: rapid.IntRange(0, 9).Draw(a.t, "dropped") > 0})
	case director.StartPart:
		a.runs[x.Part] = true
		a.due = append(a.due, director.Started{Group: "web", Part: x.Part, OK: rapid.IntRange(0, 9).Draw(a.t, "started") > 0})
	case director.StopPart:
		a.due = append(a.due, director.Stopped{Group: "web", Part: x.Part, OK: rapid.IntRange(0, 9).Draw(a.t, "stopped") > 0})
	case director.Save:
		a.due = append(a.due, director.Saved{Group: "web", Epoch: x.Epoch, OK: rapid.Bool().Draw(a.t, "saved")})
	case director.Probe:
		a.probes = append(a.probes, audited{id: x.ID, at: a.now})
	case director.PowerOff:
		if a.c.Stonith == director.NoStonith {
			a.t.Fatalf("a power-off without stonith")
		}
		a.due = append(a.due, director.StonithDone{Node: x.Node, OK: rapid.Bool().Draw(a.t, "fenced")})
	case director.Send:
		a.heard = director.Hear{Node: "a", Incarnation: x.Message.Incarnation, Seq: x.Message.Seq, Sent: x.Message.Sent, Heard: true}
		for _, claim := range x.Message.Word.Groups {
			if claim.Role == director.Active && claim.Epoch < a.epoch {
				a.t.Fatalf("the epoch went from %d to %d", a.epoch, claim.Epoch)
			}
			if claim.Role == director.Active {
				a.epoch = claim.Epoch
			}
		}
	}
}

func (a *auditor) told(n director.Notice) {
	if n.Reason.Code == director.None && n.Kind != director.Refusal {
		a.t.Fatalf("%s without a reason", n.Kind)
	}
	if n.Kind != director.Transition {
		return
	}
	if n.From != a.role || !a.arrows[arrow{n.From.String(), n.To.String()}] {
		a.t.Fatalf("from %s (it was %s) to %s", n.From, a.role, n.To)
	}
	a.role = n.To
	a.handed = a.handed || n.From == director.Releasing // by this node itself
}

// take: an address is taken when the wire was silent, or was said to be free.
func (a *auditor) take() {
	silent := 0
	for _, p := range slices.Backward(a.probes) {
		if p.answered || a.now.Sub(p.at) > time.Second {
			break
		}
		if p.works && a.now.Sub(p.at) >= a.c.Timings.ProbeAge {
			silent++
		}
	}
	repaired := a.role == director.Active
	if silent < a.c.Timings.Probes && !a.handed && !repaired {
		a.t.Fatalf("taken with %d silent probes, and nobody released it: %+v", silent, a.probes)
	}
}

// standing: who stands by has nothing, and nothing is held twice.
func (a *auditor) standing() {
	g := a.s.Groups()[0]
	if g.Role != a.role {
		a.t.Fatalf("the role is %s, and %s was told", g.Role, a.role)
	}
	if g.Role == director.Standby || g.Role == director.Maintenance {
		if g.Holding || g.Running {
			a.t.Fatalf("%s, and something of it is here: %+v", g.Role, g)
		}
		for part, runs := range a.runs {
			if runs {
				a.t.Fatalf("%s, and what comes %s was not stopped", g.Role, part)
			}
		}
	}
}

// event draws something that may happen next.
func (a *auditor) event() director.What {
	kind := rapid.IntRange(0, 19).Draw(a.t, "event")
	switch {
	case kind < 7:
		return director.Tick{}
	case kind < 11 && len(a.due) > 0:
		return a.result()
	case kind < 14:
		return director.Heard{Link: "eth0", Message: a.message()}
	case kind == 14:
		return director.PingAnswered{Gateway: "gw", Sent: a.now - director.Instant(rapid.IntRange(0, 20).Draw(a.t, "rtt"))*director.Instant(ms)}
	case kind == 15 && len(a.probes) > 0:
		p := &a.probes[len(a.probes)-1]
		p.works = true
		return director.WireWorks{Group: "web", Probe: p.id}
	case kind == 16 && len(a.probes) > 0:
		i := rapid.IntRange(max(0, len(a.probes)-3), len(a.probes)-1).Draw(a.t, "probe")
		for k := range a.probes {
			a.probes[k].answered = true // what was asked before the answer came is void
		}
		return director.WireAnswered{Group: "web", Probe: a.probes[i].id, By: director.Answerer{Node: "b"}}
	case kind == 17:
		return rapid.SampledFrom([]director.What{
			director.Carrier{Up: false},
			director.Carrier{Up: true},
			director.LeaseGone{Group: "web"},
			director.ForeignClaim{Group: "web"},
			director.Require{Group: "web", OK: true},
			director.Require{Group: "web", Fitness: 1},
		}).Draw(a.t, "what")
	case kind == 18:
		o := director.Operator{
			Command: director.Command(rapid.IntRange(0, 5).Draw(a.t, "command")), Group: "web",
			Node: rapid.SampledFrom([]string{"", "a", "b", "z"}).Draw(a.t, "node"),
		}
		a.handed = a.handed || o.Command == director.ConfirmFenced
		return o
	}
	return director.Tick{}
}

// result hands over what is due: one after the other, as the world must.
func (a *auditor) result() director.What {
	what := a.due[0]
	a.due = a.due[1:]
	switch r := what.(type) {
	case director.Stopped:
		a.runs[r.Part] = a.runs[r.Part] && !r.OK
	case director.StonithDone:
		a.handed = a.handed || r.OK
	}
	return what
}

// message is anything that a peer could say.
func (a *auditor) message() director.Message {
	a.seq++
	role := director.Role(rapid.IntRange(0, 6).Draw(a.t, "role"))
	claim := director.Claim{
		Group: "web", Role: role, Epoch: uint64(rapid.IntRange(0, 5).Draw(a.t, "epoch")), Priority: 1,
		Able: rapid.Bool().Draw(a.t, "able"), Blocked: rapid.Bool().Draw(a.t, "blocked"), Ready: rapid.Bool().Draw(a.t, "ready"),
		To:      rapid.SampledFrom([]string{"", "a"}).Draw(a.t, "to"),
		Request: rapid.SampledFrom([]string{"", "", "b", "z"}).Draw(a.t, "request"),
	}
	switch role {
	case director.Active, director.Releasing:
		a.held = true
	case director.Standby, director.Fault, director.Maintenance:
		a.handed = a.handed || a.held
	case director.Init, director.Acquiring:
	}
	return director.Message{
		From: "b", Incarnation: 1, Seq: a.seq, Sent: director.Instant(a.seq), Answer: rapid.Bool().Draw(a.t, "answer"),
		Word: director.Word{
			Gateway: rapid.Bool().Draw(a.t, "gateway"), Maintenance: rapid.Bool().Draw(a.t, "maintenance"), Groups: []director.Claim{claim},
			Order: rapid.SampledFrom([]director.Order{{}, {}, {Node: "a", On: true, Seq: a.seq}, {Node: "a", Seq: a.seq / 2}, {Node: "z", Seq: a.seq}}).Draw(a.t, "order"),
		},
		Hears: []director.Hear{a.heard},
	}
}

// TestProperties: whatever happens, a step changes no state but its own, makes
// the same of the same, walks the arrows of the diagram with a reason, takes no
// address on a wire that was not silent, stops what it starts, and its claims grow.
func TestProperties(t *testing.T) {
	arrows := diagram(t)
	rapid.Check(t, func(rt *rapid.T) {
		c := pair()
		c.Groups[0].After = true
		c.Groups[0].Failback.On = rapid.Bool().Draw(rt, "failback")
		c.Takeover = director.Takeover(rapid.IntRange(0, 1).Draw(rt, "takeover"))
		c.Stonith = director.Stonith(rapid.IntRange(0, 2).Draw(rt, "stonith"))
		a := &auditor{t: rt, arrows: arrows, c: c, now: director.Instant(time.Hour), runs: map[director.Part]bool{}}
		s, actions := director.Start(c, director.Restored{Incarnation: 1}, a.now)
		a.s = s
		for _, action := range actions {
			a.action(action)
		}
		// A process that crashed may have left anything running.
		a.runs[director.Before], a.runs[director.After] = true, true
		held := rapid.Bool().Draw(rt, "found")
		a.handed = a.handed || held // what is found was taken by an earlier process
		a.step(director.Found{Group: "web", Held: held, Left: 800 * ms})
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			a.now = a.now.Add(time.Duration(rapid.IntRange(0, 12).Draw(rt, "pause")) * ms)
			if rapid.IntRange(0, 99).Draw(rt, "stands still") == 0 {
				a.now = a.now.Add(time.Duration(rapid.IntRange(100, 2000).Draw(rt, "gap")) * ms)
			}
			a.step(a.event())
		}
	})
}

// BenchmarkStep is a tick of an owner on a quiet network, the most frequent step.
func BenchmarkStep(b *testing.B) {
	w := newWorld(pair())
	w.start(w.nodes["a"])
	w.start(w.nodes["b"])
	w.run(time.Second)
	n := w.nodes["a"]
	c := w.configOf(n)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = director.Step(c, n.state, director.Event{At: n.clock(w.now), What: director.Tick{}})
	}
}
