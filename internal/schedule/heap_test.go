package schedule

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The front of the heap is always the first of the sorted list.
func TestHeapAgainstSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q dueHeap
		var all []*entry
		due := rapid.Map(rapid.IntRange(0, 20), func(n int) time.Duration { return time.Duration(n) })
		pick := func() int { return rapid.IntRange(0, len(all)-1).Draw(t, "which") }
		for n := range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 5).Draw(t, "step"); {
			case step < 3 || len(all) == 0:
				all = append(all, &entry{order: n, due: due.Draw(t, "due")})
				q.push(all[len(all)-1])
			case step == 3:
				e := all[pick()]
				e.due = due.Draw(t, "due")
				q.fix(e)
			case step == 4:
				i := pick()
				q.remove(all[i])
				all = slices.Delete(all, i, i+1)
			default:
				for _, e := range all {
					e.due = due.Draw(t, "due")
				}
				q.init()
			}
			want := (*entry)(nil)
			if len(all) > 0 {
				want = slices.MinFunc(all, func(a, b *entry) int {
					return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.order, b.order))
				})
			}
			if got := q.first(); got != want {
				t.Fatalf("first is %+v, want %+v", got, want)
			}
		}
	})
}
