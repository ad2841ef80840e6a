package heartbeat

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// fetch waits for a document that ok accepts.
func (l *lab) fetch(c *Cluster, ok func(Shared) bool) Shared {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-c.Shared():
			if ok(s) {
				return s
			}
		case <-deadline:
			l.t.Fatalf("%s got no document", c.settings.Self)
		}
	}
}

func holds(text string) func(Shared) bool {
	return func(s Shared) bool { return string(s.Data) == text }
}

func (l *lab) give(c *Cluster, kind, text string) {
	l.t.Helper()
	if err := c.Share(kind, []byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

func TestShareReachesAllMembers(t *testing.T) {
	l := newLab(t, 3, 2)
	nodes := l.all()
	before := time.Now()
	l.give(nodes[0], "watches", "one")
	for _, c := range nodes[1:] {
		got := l.fetch(c, holds("one"))
		if got.From != "dr1" || got.Kind != "watches" {
			t.Errorf("%s got %+v", c.settings.Self, got)
		}
		if got.At.Before(before.Add(-time.Millisecond)) || got.At.After(time.Now()) {
			t.Errorf("shared at %v, want between %v and now", got.At, before)
		}
	}
	l.give(nodes[1], "watches", "two")
	l.give(nodes[1], "pools", "three")
	l.fetch(nodes[0], holds("two"))
	l.fetch(nodes[2], holds("three"))
}

func TestShareNewestReplaces(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	for _, text := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "last"} {
		l.give(nodes[0], "watches", text)
	}
	l.fetch(nodes[1], holds("last"))
	select {
	case s := <-nodes[1].Shared():
		t.Errorf("after the newest came %q", s.Data)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestShareSizes(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	big := strings.Repeat("0123456789abcdef", MaxShare/2/16)
	l.give(nodes[0], "watches", big)
	if got := l.fetch(nodes[1], func(Shared) bool { return true }); string(got.Data) != big {
		t.Errorf("%d bytes came, %d were sent", len(got.Data), len(big))
	}
	l.give(nodes[0], "watches", "")
	l.fetch(nodes[1], holds(""))
	if err := nodes[0].Share("watches", make([]byte, MaxShare+1)); err == nil {
		t.Error("more than MaxShare was taken")
	}
	if err := nodes[0].Share("", nil); err == nil {
		t.Error("a document without kind was taken")
	}
}

// Who joins later, or comes back as another process, is given what was shared before,
// and knows how long ago that was.
func TestShareWithWhoJoins(t *testing.T) {
	l := newLab(t, 2, 1)
	first := l.open(l.settings(0))
	before := time.Now()
	l.give(first, "watches", "early")
	l.give(first, "pools", "old")
	shared := time.Now()
	second := l.open(l.settings(1))
	early := l.fetch(second, holds("early"))
	if off := early.At.Sub(shared).Abs(); off > 500*time.Millisecond && off > time.Since(shared)/2 {
		t.Errorf("the document seems to be shared %v off", off)
	}
	l.end(second)
	l.membership(first, "dr2", Lost)
	l.give(first, "watches", "later")
	again := l.settings(1)
	again.Incarnation = 2
	opened, got := time.Now(), map[string]Shared{}
	l.fetch(l.open(again), func(s Shared) bool {
		got[string(s.Data)] = s
		return len(got) == 2
	})
	// It was on the way for no longer than there has been somebody to send it to.
	late := shared.Add(time.Since(opened) + time.Millisecond)
	if at := got["old"].At; at.Before(before.Add(-time.Millisecond)) || at.After(late) || got["later"].Data == nil {
		t.Errorf("got %v, want one shared between %v and %v, and a later one", got, before, late)
	}
}

func TestShareAfterACut(t *testing.T) {
	l := newLab(t, 2, 2)
	nodes := l.all()
	l.pull(0, true)
	l.give(nodes[0], "watches", "over the other link")
	l.fetch(nodes[1], holds("over the other link"))
	l.pull(1, true)
	l.give(nodes[0], "watches", "while cut off")
	l.membership(nodes[0], "dr2", Lost)
	l.pull(0, false)
	l.pull(1, false)
	l.fetch(nodes[1], holds("while cut off"))
}

// What was sent and not received is found by the exchange of states.
func TestShareRepeatsWhatWasMissed(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	l.give(nodes[0], "watches", "once")
	l.fetch(nodes[1], holds("once"))
	h := nodes[1].shares
	h.mu.Lock()
	delete(h.have["dr1"], "watches")
	h.mu.Unlock()
	at := nodes[0].settings.Nodes[0]
	if _, err := nodes[1].members.Join([]string{at.Name + "/" + at.address().String()}); err != nil {
		t.Fatal(err)
	}
	l.fetch(nodes[1], holds("once"))
}

// What another node says of itself while it is being sent a document is the later word:
// it may have lost it again, or be another process by now.
func TestShareWhileItIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*shares)
		again     bool
	}{
		"nothing happens": {func(*shares) {}, false},
		"it has it": {func(h *shares) {
			h.compare([]byte(`{"from":"dr2","have":{"dr1":{"watches":{"incarnation":1,"seq":1}}}}`))
		}, false},
		"it lacks it":     {func(h *shares) { h.compare([]byte(`{"from":"dr2","have":{}}`)) }, true},
		"it joins":        {func(h *shares) { h.joined("dr2") }, true},
		"it failed":       {func(h *shares) { h.failed("dr2", "watches", version{1, 1}) }, true},
		"an older failed": {func(h *shares) { h.failed("dr2", "watches", version{1, 0}) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Cluster{shares: newShares(Settings{Self: "dr1", Incarnation: 1, Nodes: []Node{{Name: "dr1"}, {Name: "dr2"}}}, nil)}
			if err := c.Share("watches", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, _, ok := c.shares.next("dr2"); !ok {
				t.Fatal("it is not sent")
			}
			test.meanwhile(c.shares)
			if _, _, ok := c.shares.next("dr2"); ok != test.again {
				t.Errorf("sent again: %t, want %t", ok, test.again)
			}
		})
	}
}

func TestShareRefuses(t *testing.T) {
	line := func(l label, data string) []byte {
		head, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(head, '\n'), data...)
	}
	v := func(incarnation, seq uint64) version { return version{incarnation, seq} }
	good := line(label{From: "dr2", Kind: "watches", version: v(2, 5)}, "good")
	tests := []struct {
		name    string
		message []byte
		refused bool
		taken   bool
	}{
		{"newer", line(label{From: "dr2", Kind: "watches", version: v(2, 6)}, "x"), false, true},
		{"of the next process, whose count starts again", line(label{From: "dr2", Kind: "watches", version: v(3, 1)}, "x"), false, true},
		{"the same again", good, false, false},
		{"older", line(label{From: "dr2", Kind: "watches", version: v(2, 4)}, "x"), false, false},
		{"of the process before", line(label{From: "dr2", Kind: "watches", version: v(1, 9)}, "x"), false, false},
		{"another kind", line(label{From: "dr2", Kind: "pools", version: v(2, 1)}, "x"), false, true},
		{"a stranger", line(label{From: "dr9", Kind: "watches", version: v(9, 9)}, "x"), true, false},
		{"this node itself", line(label{From: "dr1", Kind: "watches", version: v(9, 9)}, "x"), true, false},
		{"from the future", line(label{From: "dr2", Kind: "watches", version: v(2, 6), Age: -time.Hour}, "x"), true, false},
		{"no label", []byte("x"), true, false},
		{"no JSON", []byte("x\ny"), true, false},
		{"nothing", nil, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newShares(Settings{Self: "dr1", Nodes: []Node{{Name: "dr1"}, {Name: "dr2"}}}, nil)
			if err := h.accept(good, time.Now()); err != nil {
				t.Fatal(err)
			}
			h.waiting = nil
			err := h.accept(test.message, time.Now())
			if (err != nil) != test.refused {
				t.Errorf("refused: %v, want %v", err, test.refused)
			}
			if taken := len(h.waiting) > 0; taken != test.taken {
				t.Errorf("taken: %v, want %v", taken, test.taken)
			}
		})
	}
}

// TestShareOfANodeWhoseClockWentBack: it starts with a lower incarnation than the process
// before, whose documents the others have.
func TestShareOfANodeWhoseClockWentBack(t *testing.T) {
	nodes := []Node{{Name: "dr1"}, {Name: "dr2"}}
	one := newShares(Settings{Self: "dr1", Nodes: nodes}, nil)
	heard := uint64(5)
	one.present = func(node string) (uint64, bool) { return heard, node == "dr2" }
	accept := func(incarnation, seq uint64) (taken bool) {
		t.Helper()
		head, err := json.Marshal(label{From: "dr2", Kind: "watches", version: version{incarnation, seq}})
		if err != nil {
			t.Fatal(err)
		}
		one.waiting = nil
		if err := one.accept(append(head, '\n'), time.Now()); err != nil {
			t.Fatal(err)
		}
		return len(one.waiting) > 0
	}
	if !accept(5, 9) || accept(3, 1) {
		t.Error("of the process that is heard nothing is taken, or something of another")
	}
	heard = 3
	if !accept(3, 2) || accept(3, 1) {
		t.Error("of the process that is heard now nothing is taken, or something that came late")
	}

	// The node itself sees that the others have something else, and sends its own.
	two := newShares(Settings{Self: "dr2", Nodes: nodes, Incarnation: 3}, nil)
	if err := (&Cluster{shares: two}).Share("watches", []byte("new")); err != nil {
		t.Fatal(err)
	}
	sent := func() bool { _, _, ok := two.next("dr1"); return ok }
	if !sent() || sent() {
		t.Error("it is not sent once")
	}
	has, err := json.Marshal(inventory{From: "dr1", Have: map[string]map[string]version{"dr2": {"watches": {5, 9}}}})
	if err != nil {
		t.Fatal(err)
	}
	two.compare(has)
	if !sent() || sent() {
		t.Error("who has another is not sent it once")
	}
}

// A node can fill only so much of the memory of others.
func TestShareBoundsKinds(t *testing.T) {
	h := newShares(Settings{Self: "dr1", Nodes: []Node{{Name: "dr1"}, {Name: "dr2"}}}, nil)
	refused := 0
	for i := range 2 * maxKinds {
		head, _ := json.Marshal(label{From: "dr2", Kind: strings.Repeat("k", i+1), version: version{1, uint64(i + 1)}})
		if h.accept(append(head, '\n'), time.Now()) != nil {
			refused++
		}
	}
	if refused != maxKinds {
		t.Errorf("%d kinds were refused, want %d", refused, maxKinds)
	}
}

// Heartbeats go on while a large document is on its way.
func TestShareDoesNotHoldUpHeartbeats(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	l.give(nodes[0], "watches", string(bytes.Repeat([]byte{'x'}, MaxShare)))
	l.exchange(nodes[0], nodes[1], 7, "link 1")
	l.fetch(nodes[1], func(s Shared) bool { return len(s.Data) == MaxShare })
}

func FuzzShared(f *testing.F) {
	f.Add([]byte(`{"from":"dr2","kind":"watches","incarnation":1,"seq":1,"age":5}` + "\ndata"))
	f.Add([]byte(`{"from":"dr2","have":{"dr1":{"watches":{"incarnation":1,"seq":1}}}}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		h := newShares(Settings{Self: "dr1", Nodes: []Node{{Name: "dr1"}, {Name: "dr2"}}}, nil)
		_ = h.accept(b, time.Now())
		h.compare(b)
	})
}

var _ memberlist.Delegate = (*notes)(nil)
