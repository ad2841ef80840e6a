package soak

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A usage is what a daemon's status says that it uses.
type usage struct {
	Goroutines  float64 `json:"goroutines"`
	Descriptors float64 `json:"descriptors"`
	Resident    float64 `json:"resident_bytes"`
	Live        float64 `json:"live_bytes"`
}

// A figure is one of these, and how much of growth in what was watched is none: a part
// of the value, or some at least.
type figure struct {
	name string
	of   func(usage) float64
	part float64
	some float64
}

const mebi = 1 << 20

func figures() []figure {
	return []figure{
		{"goroutines", func(u usage) float64 { return u.Goroutines }, 0.05, 4},
		{"descriptors", func(u usage) float64 { return u.Descriptors }, 0.05, 4},
		// What the kernel has given comes in steps of the runtime's arenas.
		{"resident MiB", func(u usage) float64 { return u.Resident / mebi }, 0.10, 4},
		{"live MiB", func(u usage) float64 { return u.Live / mebi }, 0.15, 0.5},
	}
}

// A life is a process in one role: the owner's table and relay need what a standby does
// not.
type life struct {
	node string
	pid  int
	role string
}

// A sample is what was used at a time.
type sample struct {
	at   time.Duration
	used usage
}

// lives are all samples, each while all was well.
type lives struct {
	began   map[int]time.Duration // processes, when they were seen first
	samples map[life][]sample
}

const (
	// warmUp is how long a process may grow: caches, histories, pools of the runtime.
	warmUp = time.Minute
	// fewest samples, and the shortest time between the first and the last of them, say
	// something of growth.
	fewest   = 8
	shortest = 90 * time.Second
)

func (l *lives) add(who life, s sample) {
	if l.samples == nil {
		l.began, l.samples = map[int]time.Duration{}, map[life][]sample{}
	}
	if _, known := l.began[who.pid]; !known {
		l.began[who.pid] = s.at
	}
	l.samples[who] = append(l.samples[who], s)
}

// Growth is what one figure of one process did.
type Growth struct {
	Figure, Node, Role string
	Samples            int
	Lasted             time.Duration
	// Median is its value, Grown the slope's worth in that time, Limit what is none.
	Median, Grown, Limit float64
}

func (g Growth) String() string {
	return fmt.Sprintf("%s of %s, %s: %+.2f in %s (median %.1f, %d samples, at most %.1f)",
		g.Figure, g.Node, g.Role, g.Grown, g.Lasted.Round(time.Second), g.Median, g.Samples, g.Limit)
}

// growth is that of all processes that lived long enough.
func (l *lives) growth() (all []Growth) {
	for who, samples := range l.samples {
		warm := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.at < l.began[who.pid]+warmUp })
		if len(warm) < fewest || warm[len(warm)-1].at-warm[0].at < shortest {
			continue
		}
		for _, f := range figures() {
			all = append(all, grown(who, f, warm))
		}
	}
	slices.SortFunc(all, func(a, b Growth) int {
		return cmp.Or(cmp.Compare(a.Figure, b.Figure), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Lasted, b.Lasted))
	})
	return all
}

func grown(who life, f figure, samples []sample) Growth {
	lasted := samples[len(samples)-1].at - samples[0].at
	var values []float64
	for _, s := range samples {
		values = append(values, f.of(s.used))
	}
	m := middle(values)
	return Growth{
		Figure: f.name, Node: who.node, Role: who.role, Samples: len(samples), Lasted: lasted,
		Median: m, Grown: slope(samples, f.of) * lasted.Seconds(), Limit: max(f.some, m*f.part),
	}
}

// slope is the median of the slopes between any two samples (Theil and Sen): what is
// high once or twice does not tilt it. It is in units a second.
func slope(samples []sample, of func(usage) float64) float64 {
	var all []float64
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			if b.at > a.at {
				all = append(all, (of(b.used)-of(a.used))/(b.at-a.at).Seconds())
			}
		}
	}
	return middle(all)
}

// middle is the median, 0 of nothing.
func middle[T cmp.Ordered](all []T) (m T) {
	if len(all) == 0 {
		return m
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// judgeGrowth finds what grew.
func judgeGrowth(all []Growth) error {
	var wrong []error
	for _, g := range all {
		if g.Grown > g.Limit {
			wrong = append(wrong, fmt.Errorf("it grows: %s", g))
		}
	}
	return errors.Join(wrong...)
}
