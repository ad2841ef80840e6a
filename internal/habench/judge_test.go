//go:build linux

package habench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

func TestJudge(t *testing.T) {
	undo := func(context.Context, *Bench) error { return nil }
	moves := Bench{fault: Fault{Moves: true, Undo: undo, Undone: "heal"}, active: "dr1", standby: "dr2"}
	stays := Bench{fault: Fault{}, active: "dr1", standby: "dr2"}
	good := func(owner string, change func(*Sample)) Sample {
		s := sample(100*ms, 10*ms)
		s.Owner, s.Stayed = owner, owner == "dr1"
		change(&s)
		return s
	}
	tests := []struct {
		name   string
		bench  Bench
		sample Sample
		want   string
	}{
		{"moved", moves, good("dr2", func(*Sample) {}), ""},
		{"stayed", stays, good("dr1", func(*Sample) {}), ""},
		{"did not move", moves, good("dr1", func(*Sample) {}), "want dr2"},
		{"moved though it should not", stays, good("dr2", func(*Sample) {}), "want dr1"},
		{"moved there and back", stays, good("dr1", func(s *Sample) { s.Stayed = false }), "went elsewhere"},
		{"nobody has it", moves, good("", func(*Sample) {}), "want dr2"},
		{"two owners", moves, good("dr2", func(s *Sample) { s.Dual.Sampled = 1 }), "two directors"},
		{"too long", moves, good("dr2", func(s *Sample) { s.Outage.Lasted = 251 * ms }), "outage 251"},
		{"too long after", moves, good("dr2", func(s *Sample) { s.After.Lasted = 51 * ms }), "outage at heal 51"},
		{"nothing was asked", stays, good("dr1", func(s *Sample) { s.Outage = lab.Outage{} }), "outage -"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.bench.Judge(tt.sample, 250*ms, 50*ms)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFaults: what must be is what the machine promises, or stricter: as a median.
func TestFaults(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Faults() {
		limit, err := f.Limit(pair())
		if err != nil || limit < f.Must {
			t.Errorf("%s: promised are %s, %v, but it must be %s", f.Name, limit, err, f.Must)
		}
		if names[f.Name] || (f.Undo == nil) != (f.Undone == "") {
			t.Errorf("%s: twice, or undone without a name for it", f.Name)
		}
		names[f.Name] = true
	}
}

func TestStalled(t *testing.T) {
	m := &Metronome{stalls: []stall{{10 * ms, 30 * ms}, {50 * ms, 60 * ms}}}
	for _, tt := range []struct{ from, to, want time.Duration }{
		{0, 100 * ms, 30 * ms}, {20 * ms, 55 * ms, 15 * ms}, {30 * ms, 50 * ms, 0}, {60 * ms, 100 * ms, 0},
	} {
		if got := m.Stalled(tt.from, tt.to); got != tt.want {
			t.Errorf("%s to %s: got %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
	m = Watch(t.Context())
	since := netif.Boottime()
	m.Close() // it ends
	if got, most := m.Stalled(since, since+time.Hour), netif.Boottime()-since; got > most {
		t.Errorf("the machine stood still for %s of %s", got, most)
	}
}

func TestLongestFirst(t *testing.T) {
	series := func(lasts time.Duration, repetitions int) Series {
		return Series{Fault: Fault{Lasts: lasts}, Repetitions: repetitions}
	}
	got := longestFirst([]Series{series(time.Second, 1), series(9*time.Second, 1), series(time.Second, 9)})
	if got[0] != 2 || got[1] != 1 || got[2] != 0 {
		t.Errorf("got the order %v", got)
	}
}
