package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestPlan: what a seed makes is the same each time, ends what it begins, and has every
// kind; while processes live none of them ends.
func TestPlan(t *testing.T) {
	a, b := newPlanner(4), newPlanner(4)
	seen, several := map[string]int{}, 0
	for i := range 400 {
		survive := i%2 == 1
		e := a.next(survive)
		if again := b.next(survive); fmt.Sprint(e.steps) != fmt.Sprint(again.steps) || e.settle != again.settle {
			t.Fatalf("episode %d is %v, and then %v", i, e.steps, again.steps)
		}
		if !e.single() {
			several++
		}
		open := map[string]int{}
		for _, f := range e.faults {
			seen[f.name]++
			open[f.end]++
			if survive && f.dies {
				t.Errorf("episode %d: %s, while processes are to live", i, f.begin)
			}
		}
		delete(open, "")
		for _, s := range e.steps {
			if strings.Contains(s.line, "NODE") || strings.Contains(s.line, "WEB") {
				t.Errorf("episode %d: %s", i, s.line)
			}
			if s.heals {
				open[s.line]--
			}
		}
		for line, times := range open {
			if times != 0 {
				t.Errorf("episode %d: %q is missing or too often, in %v", i, line, e)
			}
		}
	}
	for _, k := range kinds() {
		if seen[k.name] < 10 {
			t.Errorf("%s came %d times", k.name, seen[k.name])
		}
	}
	if several < 50 || several > 150 {
		t.Errorf("faults on top of faults %d times of 400, want about a quarter", several)
	}
	if c, d := newPlanner(4).next(false), newPlanner(5).next(false); fmt.Sprint(c) == fmt.Sprint(d) && c.settle == d.settle {
		t.Errorf("two seeds, one plan: %v", c)
	}
}

// TestTouch: two faults never meet in one place.
func TestTouch(t *testing.T) {
	p := newPlanner(1)
	for range 1000 {
		e := p.next(false)
		places := map[string]string{}
		for _, f := range e.faults {
			for _, what := range f.touches {
				if before, taken := places[what]; taken {
					t.Errorf("%s and %s both touch %s", before, f.begin, what)
				}
				places[what] = f.begin
			}
		}
	}
}

// series is what a process used, every 5 s.
func series(lasts time.Duration, used func(minutes float64, noise *rand.Rand) usage) *lives {
	var l lives
	noise := rand.New(rand.NewPCG(1, 2))
	for at := time.Duration(0); at < lasts; at += 5 * time.Second {
		l.add(life{"dr1", 7, "owner"}, sample{time.Hour + at, used(at.Minutes(), noise)})
	}
	return &l
}

func TestGrowth(t *testing.T) {
	flat := func(_ float64, r *rand.Rand) usage {
		return usage{Goroutines: 40 + float64(r.IntN(6)), Descriptors: 30 + float64(r.IntN(3)), Resident: (40 + 2*r.Float64()) * mebi, Live: (5 + 0.5*r.Float64()) * mebi}
	}
	for _, test := range []struct {
		name  string
		used  func(float64, *rand.Rand) usage
		grows string
	}{
		{"flat", flat, ""},
		{"only while it warms up", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			u.Goroutines += 100 * min(m, 0.9)
			u.Live += 20 * mebi * min(m, 0.9)
			return u
		}, ""},
		{"high for once", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			if m > 4 && m < 4.3 {
				u.Goroutines, u.Resident = 400, 400*mebi
			}
			return u
		}, ""},
		{"two goroutines a minute", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			u.Goroutines += 2 * m
			return u
		}, "goroutines"},
		{"a descriptor in 20 s", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			u.Descriptors += float64(int(3 * m))
			return u
		}, "descriptors"},
		{"memory that is kept", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			u.Live += m * mebi
			return u
		}, "live"},
		{"memory that is not given back", func(m float64, r *rand.Rand) usage {
			u := flat(m, r)
			u.Resident += 2 * m * mebi
			return u
		}, "resident"},
	} {
		l := series(5*time.Minute, test.used)
		all := l.growth()
		if len(all) != len(figures()) {
			t.Errorf("%s: %d figures: %v", test.name, len(all), all)
		}
		switch err := judgeGrowth(all); {
		case (err != nil) != (test.grows != ""):
			t.Errorf("%s: %v", test.name, err)
		case err != nil && (!strings.Contains(err.Error(), test.grows) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: want %s alone: %v", test.name, test.grows, err)
		}
	}
	if all := series(2*time.Minute, flat).growth(); len(all) != 0 {
		t.Errorf("a process of two minutes, one of them to warm up: %v", all)
	}
}
