package takeover

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestThreadsThatComeMeanwhileArePreferred: a thread that is not preferred yet starts
// another when they have been listed, and that one does so, too.
func TestThreadsThatComeMeanwhileArePreferred(t *testing.T) {
	threads, nice := []int{1, 2}, map[int]int{}
	starts := map[int]int{2: 3, 3: 4}
	err := preferAll(
		func() ([]int, error) { return slices.Clone(threads), nil },
		func(id int) error {
			if child := starts[id]; child != 0 {
				threads = append(threads, child)
				nice[child] = nice[id]
			}
			nice[id] = preferred
			if id == 1 {
				return unix.ESRCH // it has ended
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range threads {
		if nice[id] != preferred {
			t.Errorf("thread %d has the nice value %d, want %d", id, nice[id], preferred)
		}
	}
}

func TestWhoMayNotPreferIsTold(t *testing.T) {
	list := func() ([]int, error) { return []int{1}, nil }
	if err := preferAll(list, func(int) error { return unix.EACCES }); err != unix.EACCES { //nolint:errorlint // as it is
		t.Errorf("error %v, want %v", err, unix.EACCES)
	}
}
