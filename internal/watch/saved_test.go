package watch

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// throughJSON is what a restart does to a saved state.
func throughJSON(t rapid.TB, saved []Saved) []Saved {
	t.Helper()
	text, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	var again []Saved
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

// TestNothingIsLostInJSON: what is saved, written, read and restored is the same
// when it is saved again, after any history.
func TestNothingIsLostInJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		c.Compat = false // which forgets on purpose
		c.TrapTimeout = time.Hour
		parent := Config{Key: Key{"gw", "s"}, Hosts: []string{"gw"}}
		on, err := ParseExpr("gw:s")
		if err != nil {
			t.Fatal(err)
		}
		c.Depend.On = on
		configs := []Config{parent, c}
		set, now := New(configs, Options{}), noon
		set.Start(now)
		for _, step := range histories(t, len(c.Hosts)) {
			now = now.Add(step.pause)
			step.apply(set, now, c)
			if step.pause%3 == 0 {
				set.Result(now, parent.Key, Result{Exit: int(step.pause/time.Second) % 2, Output: "gw \xff\n"})
			}
		}
		want := set.Save()
		again := New(configs, Options{})
		again.Restore(throughJSON(t, want))
		if diff := cmp.Diff(want, again.Save(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("-saved +saved again:\n%s", diff)
		}
	})
}

func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Text(rapid.OneOf(
			rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.Just(encoded), rapid.Just(encoded+"!"),
		).Draw(t, "text"))
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Text
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Fatalf("%q became %q by way of %s (%v)", want, got, text, err)
		}
	})
	if text, err := json.Marshal(Text("w1 \"ü\"")); err != nil || string(text) != `"w1 \"ü\""` {
		t.Errorf("ordinary text is %s, %v", text, err)
	}
	var got Text
	if err := json.Unmarshal([]byte(`"base64:?"`), &got); err == nil {
		t.Errorf("bad base64 was taken for %q", got)
	}
}

func TestForget(t *testing.T) {
	mark := &Mark{By: "me"}
	exit := 1
	s := Saved{Key: Key{"g", "s"}, Status: Failed, Previous: OK, Exit: &exit, Events: 7, Disabled: mark, Subjects: []SavedSubject{{Ack: mark}}, Followers: []SavedFollower{{}}}
	want := Saved{Key: Key{"g", "s"}, Status: Untested, Previous: Untested, Disabled: mark}
	if diff := cmp.Diff(want, s.Forget()); diff != "" {
		t.Error(diff)
	}
}

func TestResume(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	subject := func(since, alert, recent int) SavedSubject {
		return SavedSubject{
			Since: at(since), FirstFailure: at(since), Recent: []time.Time{at(recent)},
			Periods: map[string]SavedPeriod{"p": {Sent: 2, LastAlert: at(alert)}},
		}
	}
	saved := func(timer, expires, trap int, sub SavedSubject) Saved {
		return Saved{Status: Failed, TrapTimer: at(timer), TrapExpires: at(expires), LastTrap: at(trap), Subjects: []SavedSubject{sub}}
	}
	for _, tt := range []struct {
		name      string
		then, now int
		s, want   Saved
	}{
		{"nothing happened", 0, 0, saved(5, 6, -1, subject(-9, -2, -1)), saved(5, 6, -1, subject(-9, -2, -1))},
		{"a while later only a silence is shorter", 0, 30, saved(5, 6, -1, subject(-9, -2, -1)), saved(35, 6, -1, subject(-9, -2, -1))},
		{"the clock was put back an hour", 60, 0, saved(65, 66, 59, subject(-9, 58, 59)), saved(5, 6, 0, subject(-9, 0, 0))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := throughJSON(t, []Saved{tt.s})[0]
			if diff := cmp.Diff(tt.want, tt.s.Resume(at(tt.then), at(tt.now))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, tt.s); diff != "" {
				t.Errorf("the argument was changed:\n%s", diff)
			}
		})
	}
}

// TestAPassedThresholdStaysPassed: the window of the failures that took a server
// out may be over; a restart does not put it back, and does not tell of servers
// that were never tested.
func TestAPassedThresholdStaysPassed(t *testing.T) {
	c := Config{Key: Key{"g", "s"}, Hosts: []string{"a", "b", "never"}, ExcludeHosts: []string{"never"}, Periods: []Period{{
		Name: "p", AlertAfter: AlertAfter{Count: 2, Within: time.Minute}, Alerts: []Action{{ID: "f", Follows: true}},
	}}}
	set, now := New([]Config{c}, Options{}), noon
	result := func(s *Set, v Verdict) []Notice {
		now = now.Add(10 * time.Second)
		return s.Result(now, c.Key, Result{Exit: int(v) - 1, Hosts: []HostVerdict{{Host: "a", Verdict: v}, {Host: "b", Verdict: Good}}})
	}
	result(set, Bad)
	result(set, Bad)
	now = now.Add(time.Hour)
	again := New([]Config{c}, Options{})
	again.Restore(throughJSON(t, set.Save()))
	told := func(notices []Notice) map[string]Verdict {
		out := map[string]Verdict{}
		for _, n := range notices {
			for _, h := range n.Hosts {
				out[h.Name] = h.Verdict
			}
		}
		return out
	}
	if diff := cmp.Diff(map[string]Verdict{"a": Bad, "b": Good, "never": Unseen}, told(again.Follow(now))); diff != "" {
		t.Errorf("at the start:\n%s", diff)
	}
	if got := told(result(again, Bad)); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
	if got := told(result(again, Good)); got["a"] != Good {
		t.Errorf("told of the recovery: %v", got)
	}
	if got := New([]Config{c}, Options{}).Follow(now); len(got) != 0 {
		t.Errorf("nothing is known, but told: %v", got)
	}
}

func TestRestoreAfterAChangeOfScope(t *testing.T) {
	c := Config{Key: Key{"g", "s"}, Hosts: []string{"a"}}
	set := New([]Config{c}, Options{})
	set.Result(noon, c.Key, Result{Exit: 1, Output: "a\n"})
	_, _ = set.DisableService(noon, c.Key, Mark{By: "me"})
	c.Scope = ScopeGroup
	again := New([]Config{c}, Options{})
	again.Restore(throughJSON(t, set.Save()))
	if v, _ := again.View(c.Key); v.Status != Untested || v.Disabled == nil || v.Disabled.By != "me" {
		t.Errorf("restored %+v, want untested and disabled", v)
	}
}

func TestCalm(t *testing.T) {
	good, bad := Result{Output: "\n"}, Result{Exit: 1, Output: "a\n"}
	for _, tt := range []struct {
		name string
		do   func(s *Set, key Key)
		want bool
	}{
		{"never tested", func(*Set, Key) {}, false},
		{"well", func(s *Set, key Key) { s.Result(noon, key, good) }, true},
		{"a failure below fall", func(s *Set, key Key) { s.Result(noon, key, good); s.Result(noon, key, bad) }, false},
		{"failed", func(s *Set, key Key) { s.Result(noon, key, bad); s.Result(noon, key, bad) }, false},
		{"rising", func(s *Set, key Key) { s.Result(noon, key, bad); s.Result(noon, key, bad); s.Result(noon, key, good) }, false},
		{"over", func(s *Set, key Key) { s.Result(noon, key, bad); s.Result(noon, key, good) }, true},
		{"could not test", func(s *Set, key Key) { s.Result(noon, key, good); s.CouldNotTest(noon, key, "x") }, false},
		{"another watch", func(*Set, Key) {}, false},
	} {
		c := Config{Key: Key{"g", "s"}, Hosts: []string{"a"}, Fall: 2, Rise: 2}
		s := New([]Config{c}, Options{})
		tt.do(s, c.Key)
		if tt.name == "another watch" {
			c.Service = "other"
		}
		if got := s.Calm(c.Key); got != tt.want {
			t.Errorf("%s: calm is %t", tt.name, got)
		}
	}
}

// TestTrapClocksRunNoLongerThanConfigured: a saved one may come from a site with a
// longer traptimeout.
func TestTrapClocksRunNoLongerThanConfigured(t *testing.T) {
	c := Config{Key: Key{"g", "s"}, Scope: ScopeGroup, Hosts: []string{"a"}, TrapTimeout: time.Hour}
	set := New([]Config{c}, Options{})
	set.Start(noon)
	for timeout, want := range map[time.Duration]time.Time{time.Hour: noon.Add(time.Hour), time.Minute: noon.Add(31 * time.Minute)} {
		c.TrapTimeout = timeout
		again := New([]Config{c}, Options{})
		again.Restore(throughJSON(t, set.Save()))
		again.Start(noon.Add(30 * time.Minute))
		if at, ok := again.NextTick(); !ok || !at.Equal(want) {
			t.Errorf("with %s the clock runs until %s, want %s", timeout, at, want)
		}
	}
}
