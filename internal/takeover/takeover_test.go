package takeover

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/netif"
)

// pair starts two directors and waits until dr1 holds the address.
func pair(t *testing.T) *town {
	w := newTown(t, "dr1", "dr2")
	w.start("dr1")
	w.start("dr2")
	time.Sleep(3 * time.Second)
	if got := w.holders(); !slices.Equal(got, []string{"dr1"}) {
		t.Fatalf("after the start the address is held by %v\n%s", got, w.story())
	}
	w.outage()
	return w
}

func (w *town) endAll() {
	for _, h := range w.hosts {
		if h.loop != nil {
			_ = h.end()
		}
	}
}

func (w *town) expect(t *testing.T, owner string, mostAbsent time.Duration) {
	t.Helper()
	if got := w.holders(); !slices.Equal(got, []string{owner}) {
		t.Errorf("the address is held by %v, want %s\n%s", got, owner, w.story())
	}
	absent, dual := w.outage()
	if dual > 0 || absent > mostAbsent {
		t.Errorf("nobody held it for %v (at most %v), two for %v\n%s", absent, mostAbsent, dual, w.story())
	}
}

func TestKilledOwnerIsTakenOverFromWhenItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		_ = w.hosts["dr1"].end()
		w.hosts["dr1"].loop = nil
		stale := 0
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			stale += w.gone1(t)
		}
		if stale < 250 {
			t.Errorf("dr1 was shown as gone for %d looks of 300", stale)
		}
		w.expect(t, "dr2", 150*time.Millisecond)
		notices := w.hosts["dr2"].said
		i := slices.IndexFunc(notices, func(n Notice) bool { return n.To == director.Active })
		if i < 0 || notices[i].Without < 50*time.Millisecond || notices[i].Without > 150*time.Millisecond {
			t.Errorf("told time without owner: %+v", notices[max(0, i)])
		}
		for _, r := range w.hosts["dr2"].parts {
			if !r.running() {
				t.Errorf("%s does not run", r.name)
			}
		}
	})
}

// gone1 is 1 if dr2 shows dr1 as gone; then nothing that dr1 was is shown as if it were
// so now: neither when its kernel still holds the address nor later.
func (w *town) gone1(t *testing.T) int {
	t.Helper()
	v, err := w.hosts["dr2"].loop.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node, group := v.Nodes[0], v.Groups[0]
	if node.State == "alive" || node.State == "suspect" {
		return 0
	}
	claim := group.Nodes[0]
	if node.Name != "dr1" || !node.Stale || claim.Node != "dr1" || !claim.Stale || claim.Role != node.State || claim.Able || group.Owner == "dr1" {
		t.Errorf("of dr1, which is gone, is shown %+v, %+v, owner %q", node, claim, group.Owner)
	}
	return 1
}

func TestPulledCable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		w.mu.Lock()
		w.gone["dr1"] = true
		w.mu.Unlock()
		w.hosts["dr1"].change <- netif.Change{Kind: netif.CarrierChange, Index: 1}
		time.Sleep(2 * time.Second)
		w.expect(t, "dr2", 260*time.Millisecond)
		w.mu.Lock()
		w.gone["dr1"] = false
		w.mu.Unlock()
		w.hosts["dr1"].change <- netif.Change{Kind: netif.CarrierChange, Index: 1, Carrier: true}
		time.Sleep(5 * time.Second)
		w.expect(t, "dr2", 0)
	})
}

func TestShutdownHandsOverAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		one := w.hosts["dr1"]
		one.loop.Shutdown()
		if err := <-one.over; err != nil {
			t.Error(err)
		}
		one.loop = nil
		time.Sleep(time.Second)
		w.expect(t, "dr2", 20*time.Millisecond)
		for _, r := range append(one.parts, one.after...) {
			if r.running() {
				t.Errorf("%s still runs on dr1", r.name)
			}
		}
		if v, err := w.hosts["dr2"].loop.View(t.Context()); err != nil || v.Groups[0].Owner != "dr2" || v.Nodes[0].State != "left" {
			t.Errorf("view %+v, %v", v, err)
		}
	})
}

func TestRestartAdoptsInsideTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		one := w.hosts["dr1"]
		one.loop.Quit()
		if err := <-one.over; err != nil {
			t.Error(err)
		}
		time.Sleep(200 * time.Millisecond)
		w.start("dr1")
		time.Sleep(3 * time.Second)
		w.expect(t, "dr1", 0)
		for _, r := range one.parts {
			if slices.Contains(r.calls, "stop") && !r.running() {
				t.Errorf("%s was stopped: %v", r.name, r.calls)
			}
		}
	})
}

func TestRemovedAddressIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		_ = fakeAddress{w.hosts["dr1"]}.Stop(t.Context())
		time.Sleep(time.Second)
		w.expect(t, "dr1", 10*time.Millisecond)
		if !slices.ContainsFunc(w.hosts["dr1"].said, func(n Notice) bool { return n.Reason.Code == director.ReasonRepaired }) {
			t.Errorf("nobody was told\n%s", w.story())
		}
	})
}

func TestStartThatFailsIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "dr1", "dr2")
		w.hosts["dr1"].parts[1].failing = errBroken
		w.start("dr1")
		w.start("dr2")
		defer w.endAll()
		time.Sleep(5 * time.Second)
		w.expect(t, "dr2", 5*time.Second)
		if lvs := w.hosts["dr1"].parts[0]; lvs.running() {
			t.Errorf("what started before runs on: %v", lvs.calls)
		}
	})
}

func TestStopEndsAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "dr1", "dr2")
		w.hosts["dr1"].parts[1].hangs = true
		w.start("dr1")
		defer w.endAll()
		time.Sleep(11 * time.Second) // initdead, and it hangs
		w.hosts["dr1"].loop.Shutdown()
		began := time.Now()
		if err := <-w.hosts["dr1"].over; err != nil {
			t.Error(err)
		}
		w.hosts["dr1"].loop = nil
		if took := time.Since(began); took > time.Second {
			t.Errorf("the end took %v\n%s", took, w.story())
		}
	})
}

func TestResourceFoundStoppedIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		w.hosts["dr1"].after[0].set(false)
		time.Sleep(11 * time.Second)
		if !w.hosts["dr1"].after[0].running() {
			t.Error("it was not started again")
		}
		w.expect(t, "dr1", 0)

		// What does not start again is no reason to stay, where another can.
		w.hosts["dr1"].after[0].set(false)
		w.hosts["dr1"].after[0].break_(errBroken)
		time.Sleep(40 * time.Second)
		w.expect(t, "dr2", 20*time.Millisecond)
	})
}

func TestConditionMovesTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		w.hosts["dr1"].loop.Condition("", "eth1", "down")
		time.Sleep(time.Second)
		w.expect(t, "dr2", 20*time.Millisecond)
	})
}

func TestOperatorMovesTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		said, err := w.hosts["dr2"].loop.Command(t.Context(), director.Operator{Command: director.Switchover, Group: "web", Node: "dr2"})
		if err != nil || len(said) != 1 {
			t.Errorf("said %q, %v", said, err)
		}
		time.Sleep(time.Second)
		w.expect(t, "dr2", 20*time.Millisecond)
		notices := w.hosts["dr2"].said
		i := slices.IndexFunc(notices, func(n Notice) bool { return n.To == director.Active })
		if i < 0 || notices[i].Without < 0 || notices[i].Without > 20*time.Millisecond {
			t.Errorf("time without owner: %+v", notices)
		}
	})
}

func TestFrozenLoopDoesNotRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		melt := make(chan struct{})
		w.hosts["dr1"].loop.queue.call(func() { <-melt })
		time.Sleep(5 * time.Second)
		w.expect(t, "dr2", 150*time.Millisecond)
		close(melt)
		time.Sleep(5 * time.Second)
		w.expect(t, "dr2", 0)
		if v, err := w.hosts["dr1"].loop.View(t.Context()); err != nil || v.Gaps == 0 || v.Groups[0].Owner != "dr2" {
			t.Errorf("view after a freeze: %+v, %v", v, err)
		}
	})
}

// TestRivalsDoNotTakeTogether: two that do not hear each other start in the same
// instant, and the wire is silent for both.
func TestRivalsDoNotTakeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "dr1", "dr2")
		w.deaf = true
		w.start("dr1")
		w.start("dr2")
		defer w.endAll()
		time.Sleep(30 * time.Second)
		w.expect(t, "dr1", 11*time.Second)
	})
}

// TestRivalThatTakesNothing is given way for a while only.
func TestRivalThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "dr1", "dr2")
		w.hosts["dr1"].parts[1].hangs = true
		w.deaf = true
		w.start("dr1")
		w.start("dr2")
		defer w.endAll()
		time.Sleep(30 * time.Second)
		w.expect(t, "dr2", 13*time.Second)
	})
}

// One group's devices lose their carrier, and the node's others do not: it moves to the
// other node at once. Where no message arrives either it is let go at the fence, though
// the gateway answers, so that the other may take it.
func TestCarrierOfAGroupIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		one, two := w.hosts["dr1"], w.hosts["dr2"]
		w.outage()
		one.loop.queue.say(director.Carrier{Group: "web", Detail: "eth1 has no carrier"})
		time.Sleep(200 * time.Millisecond)
		if got := w.holders(); !slices.Equal(got, []string{"dr2"}) {
			t.Fatalf("the holders are %v\n%s", got, w.story())
		}
		if absent, dual := w.outage(); dual != 0 || absent > 60*time.Millisecond {
			t.Errorf("without owner for %s, two for %s", absent, dual)
		}
		one.loop.queue.say(director.Carrier{Group: "web", Up: true})
		time.Sleep(time.Second)
		w.mu.Lock()
		w.deaf = true
		w.mu.Unlock()
		two.loop.queue.say(director.Carrier{Group: "web", Detail: "eth1 has no carrier"})
		time.Sleep(time.Second)
		if got := w.holders(); !slices.Equal(got, []string{"dr1"}) {
			t.Errorf("the holders are %v\n%s", got, w.story())
		}
		if _, dual := w.outage(); dual != 0 {
			t.Errorf("two owners for %s", dual)
		}
	})
}
