package relay

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/lvs"
)

// servers named A, B, C... of these weights.
func servers(weights ...int) []*server {
	var all []*server
	for _, w := range weights {
		all = append(all, &server{weight: w})
	}
	return all
}

// sequence makes n choices, each connection ending before the next begins; "-"
// is no choice.
func sequence(s scheduler, all []*server, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(choice(s, all))
	}
	return b.String()
}

func choice(s scheduler, all []*server) string {
	v := s.next(all)
	for i := range all {
		if all[i] == v {
			return string(rune('A' + i))
		}
	}
	return "-"
}

func TestSequences(t *testing.T) {
	tests := []struct {
		scheduler lvs.Scheduler
		weights   []int
		want      string
	}{
		{lvs.RoundRobin, []int{1, 1, 1}, "ABCABC"},
		{lvs.RoundRobin, []int{9, 0, 1}, "ACACAC"},
		{lvs.RoundRobin, []int{0, 0}, "--"},
		{lvs.RoundRobin, nil, "--"},
		// The comment in ip_vs_wrr.c: one pass for each level of weight.
		{lvs.WeightedRoundRobin, []int{4, 3, 2}, "AABABCABC" + "AABABCABC"},
		{lvs.WeightedRoundRobin, []int{1, 3}, "BBAB" + "BBAB"},
		{lvs.WeightedRoundRobin, []int{10, 30}, "BBAB" + "BBAB"}, // step 10
		{lvs.WeightedRoundRobin, []int{2, 0, 1}, "AAC" + "AAC"},
		{lvs.WeightedRoundRobin, []int{65535}, "AAAA"},
		{lvs.WeightedRoundRobin, []int{0, 0}, "--"},
		{lvs.WeightedRoundRobin, nil, "--"},
		{lvs.LeastConnection, []int{1, 9}, "ABABAB"},
		{lvs.LeastConnection, []int{0}, "-"},
		{lvs.WeightedLeastConnection, []int{1, 3}, "ABBB" + "ABBB"},
		{lvs.WeightedLeastConnection, []int{0, 1, 65535}, "BCCC"},
		{lvs.WeightedLeastConnection, nil, "-"},
	}
	for _, tt := range tests {
		all := servers(tt.weights...)
		s := newScheduler(tt.scheduler)
		s.changed(all)
		if got := sequence(s, all, len(tt.want)); got != tt.want {
			t.Errorf("%s %v: %s, want %s", tt.scheduler, tt.weights, got, tt.want)
		}
	}
}

func TestLeastLoadFirst(t *testing.T) {
	all := servers(1, 3, 2)
	all[0].active, all[1].active, all[2].active = 1, 4, 1
	for _, tt := range []struct {
		scheduler lvs.Scheduler
		want      string
	}{
		{lvs.LeastConnection, "A"},         // 1, 4, 1: the first of two alike
		{lvs.WeightedLeastConnection, "C"}, // 1, 4/3, 1/2
	} {
		if got := sequence(newScheduler(tt.scheduler), all, 1); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.scheduler, got, tt.want)
		}
	}
}

func TestWeightedRoundRobinAfterAChange(t *testing.T) {
	all := servers(4, 3, 2)
	s := newScheduler(lvs.WeightedRoundRobin)
	s.changed(all)
	if got := sequence(s, all, 4); got != "AABA" { // at level 2
		t.Fatalf("before: %s, want AABA", got)
	}
	all = servers(4, 2)
	s.changed(all)
	// Level 2 is a level no more, the step is 2 now: the levels are 3 and 1.
	if got := sequence(s, all, 3); got != "AAB" {
		t.Errorf("after: %s, want AAB", got)
	}
}

// TestShares: over whole cycles each server gets exactly its share, from
// whatever place the scheduler starts, and never one of weight 0.
func TestShares(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.SampledFrom([]lvs.Scheduler{lvs.RoundRobin, lvs.WeightedRoundRobin, lvs.WeightedLeastConnection}).Draw(r, "scheduler")
		weights := rapid.SliceOfN(rapid.IntRange(0, 12), 1, 8).Draw(r, "weights")
		all := servers(weights...)
		s := newScheduler(name)
		s.changed(all)
		cycle := 0
		for i, w := range weights {
			if name == lvs.RoundRobin {
				weights[i] = min(w, 1)
			}
			cycle += weights[i]
		}
		lead := rapid.IntRange(0, 20).Draw(r, "choices before")
		if name == lvs.WeightedLeastConnection {
			lead = 0 // it levels out what went before
		}
		sequence(s, all, lead)
		got := sequence(s, all, 3*cycle)
		for i, w := range weights {
			if n := strings.Count(got, string(rune('A'+i))); n != 3*w {
				r.Errorf("%s %v: server %d got %d of %d, want %d: %s", name, weights, i, n, 3*cycle, 3*w, got)
			}
		}
	})
}
