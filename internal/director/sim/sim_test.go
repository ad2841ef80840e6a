package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// budget is how many seeds go test runs; SEEDS=n runs more (make sim).
const budget = 600

func seeds(t *testing.T) uint64 {
	t.Helper()
	return number(t, "SEEDS", budget/slowed)
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A tally sums up many runs.
type tally struct {
	mutex    sync.Mutex // protects all below
	results  int
	steps    int
	overlaps int
	excepted int
	longest  time.Duration
	failed   map[uint64]*Violation
	outages  map[Kind]time.Duration
}

func (y *tally) add(seed uint64, r Result) {
	y.mutex.Lock()
	defer y.mutex.Unlock()
	y.results++
	y.steps += r.Steps
	y.overlaps += r.Overlaps
	y.excepted += r.Excepted
	y.longest = max(y.longest, r.Longest)
	if r.Violation != nil {
		y.failed[seed] = r.Violation
	}
	for k, d := range r.Outages {
		y.outages[k] = max(y.outages[k], d)
	}
}

// many runs seeds on all processors.
func many(first, n uint64, stopAt int, run func(uint64) Result) *tally {
	y := &tally{failed: map[uint64]*Violation{}, outages: map[Kind]time.Duration{}}
	var next, failures atomic.Uint64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < n && failures.Load() < uint64(stopAt); i = next.Add(1) - 1 {
				r := run(first + i)
				if r.Violation != nil {
					failures.Add(1)
				}
				y.add(first+i, r)
			}
		})
	}
	wait.Wait()
	return y
}

// TestSimulation runs as many schedules as SEEDS says, or tells the story of
// one, SEED. A seed that fails is shrunk and kept.
func TestSimulation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(2000)) // nearly everything is garbage at once
	if os.Getenv("SEED") != "" || os.Getenv("SCHEDULE") != "" {
		story(t, number(t, "SEED", 0))
		return
	}
	first, n := number(t, "FIRST", 1), seeds(t)
	began := time.Now()
	y := many(first, n, 20, func(seed uint64) Result {
		return Run(NewSchedule(seed), Options{Check: seed%64 == 0})
	})
	took := time.Since(began)
	t.Logf("%d schedules in %v, %.0f a second; %d steps; %d overlaps, all but %d of them after a second fault, the longest %v",
		y.results, took.Round(time.Second), float64(y.results)/took.Seconds(), y.steps, y.overlaps, y.excepted, y.longest)
	for _, k := range sorted(y.outages) {
		t.Logf("longest outage by a single fault: %-16s %v", k, y.outages[k].Round(time.Millisecond))
	}
	if y.results >= 500 && y.excepted == 0 {
		t.Error("the documented exception was never seen: partitions do not bite")
	}
	for seed, v := range y.failed {
		t.Errorf("seed %d: %v", seed, v)
	}
	if os.Getenv("KEEP") != "0" {
		keep(t, y)
	}
}

// keep shrinks the first of the failed seeds and puts them into testdata.
func keep(t *testing.T, y *tally) {
	t.Helper()
	for i, seed := range sorted(y.failed) {
		if i == 5 {
			break
		}
		small := Shrink(NewSchedule(seed), Options{})
		v := Run(small, Options{}).Violation
		if v == nil {
			continue
		}
		text, err := Marshal(small, v.Error())
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "failing", fmt.Sprintf("%d.txt", seed))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d faults, %v", path, len(small.Faults), v)
	}
}

func sorted[K uint64 | Kind, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// story tells what happens in one schedule: a seed, or SCHEDULE, a file of testdata.
func story(t *testing.T, seed uint64) {
	t.Helper()
	s := NewSchedule(seed)
	if path := os.Getenv("SCHEDULE"); path != "" {
		var err error
		if s, err = Load(path); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getenv("SHRINK") != "" {
		s = Shrink(s, Options{})
	}
	text, err := Marshal(s, "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	r := Run(s, Options{Trace: &b, Verbose: os.Getenv("VERBOSE") != ""})
	t.Logf("%s\n%s", text, b.String())
	if r.Violation != nil {
		t.Error(r.Violation)
	}
}

// TestReplay: one seed is one schedule, and one schedule one run.
func TestReplay(t *testing.T) {
	for seed := range uint64(3) {
		var stories [2]strings.Builder
		for i := range stories {
			Run(NewSchedule(seed), Options{Trace: &stories[i], Verbose: true})
		}
		if stories[0].String() != stories[1].String() {
			t.Errorf("seed %d has two stories", seed)
		}
	}
}

// TestKept replays the schedules that failed once, and the ones somebody wrote.
func TestKept(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if v := Run(s, Options{}).Violation; v != nil {
				t.Error(v)
			}
		})
	}
}

// TestMarshal: what is kept is what was run.
func TestMarshal(t *testing.T) {
	for seed := range uint64(50) {
		s := NewSchedule(seed)
		text, err := Marshal(s, "a reason")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "x.txt")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if !same(got, s) {
			t.Errorf("seed %d: got %+v, want %+v", seed, got, s)
		}
	}
}
