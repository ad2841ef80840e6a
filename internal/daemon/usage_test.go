package daemon

import (
	"os"
	"runtime"
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
	before := usage()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { <-ended }()
	const size = 64 << 20
	kept := make([]byte, size)
	for i := range kept {
		kept[i] = 1
	}
	runtime.GC()
	after := usage()
	runtime.KeepAlive(kept)
	close(ended)
	if err := read.Close(); err != nil {
		t.Error(err)
	}
	if err := write.Close(); err != nil {
		t.Error(err)
	}
	if after.Descriptors != before.Descriptors+2 || after.Goroutines != before.Goroutines+1 {
		t.Errorf("before %+v, after %+v; want 2 descriptors and a goroutine more", before, after)
	}
	if after.Resident < before.Resident+size/2 || after.Live < before.Live+size/2 {
		t.Errorf("before %+v, after %+v; want %d bytes more", before, after, size)
	}
}
