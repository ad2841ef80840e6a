package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/director"
)

// TestTwiceNotices: rule 8 is broken by steps that remember, that write into what
// they were given, and that write into what they gave.
func TestTwiceNotices(t *testing.T) {
	calls, shared := 0, make([]director.Action, 1)
	tests := []struct {
		name string
		step func([]int) ([]int, []director.Action)
		want string
	}{
		{"the same", func(s []int) ([]int, []director.Action) { return append(slices.Clone(s), 1), nil }, ""},
		{"other actions", func(s []int) ([]int, []director.Action) {
			calls++
			return s, []director.Action{director.Probe{ID: uint64(calls)}}
		}, "has two outcomes"},
		{"another state", func([]int) ([]int, []director.Action) { calls++; return []int{calls}, nil }, "has two outcomes"},
		{"writes into the given", func(s []int) ([]int, []director.Action) {
			old := slices.Clone(s)
			s[0] = 7
			old[0] = 0
			return old, nil
		}, "changes the state it was given"},
		{"writes into what it gave", func(s []int) ([]int, []director.Action) {
			calls++
			shared[0] = director.Probe{ID: uint64(calls)}
			return s, shared
		}, "changes what an earlier step returned"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			m := &twice[[]int]{
				state: []int{0}, blame: func(text string) { got = text },
				step: func(s []int, _ director.Event) ([]int, []director.Action) { return test.step(s) },
			}
			for range 97 { // the last of them is looked at more closely
				m.Step(director.Event{What: director.Tick{}})
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestRule8CanBeBroken: a world notices a machine whose steps differ.
func TestRule8CanBeBroken(t *testing.T) {
	calls := uint64(0)
	forgetful := func(c director.Config, s director.State, e director.Event) (director.State, []director.Action) {
		next, actions := director.Step(c, s, e)
		calls++
		return next, append(actions, director.Announce{Group: groupName(int(calls % 2))})
	}
	v := Run(plain(), Options{Check: true, Step: forgetful}).Violation
	if v == nil || !strings.HasPrefix(v.Rule, "8 same") {
		t.Errorf("got %v, want rule 8", v)
	}
	if v := Run(plain(), Options{Check: true}).Violation; v != nil {
		t.Errorf("the machine itself: %v", v)
	}
}
