package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

// TestUsage: what is opened, started and kept is counted.
func TestUsage(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		if u := usage(); u.Descriptors != -1 || u.Resident != -1 || u.Goroutines == 0 {
			t.Errorf("without /proc: %+v", u)
		}
		return
	}
	// So many that what earlier tests leave, and what ends meanwhile, does not matter.
	const many = 200
	debug.FreeOSMemory() // of earlier tests; it collects first
	before := usage()
	for range many / 2 {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = read.Close(), write.Close() }) // Nobody used it.
	}
	ended := make(chan struct{})
	var running sync.WaitGroup
	for range many {
		running.Go(func() { <-ended })
	}
	const size = 64 << 20
	kept := make([]byte, size)
	for i := range kept {
		kept[i] = 1
	}
	runtime.GC()
	after := usage()
	runtime.KeepAlive(kept)
	close(ended)
	running.Wait()
	if after.Descriptors < before.Descriptors+many*3/4 || after.Goroutines < before.Goroutines+many*3/4 {
		t.Errorf("before %+v, after %+v; want %d descriptors and goroutines more", before, after, many)
	}
	if after.Resident < before.Resident+size/2 || after.Live < before.Live+size/2 {
		t.Errorf("before %+v, after %+v; want %d bytes more", before, after, size)
	}
}
