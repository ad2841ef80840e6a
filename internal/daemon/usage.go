package daemon

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
)

// Usage is what a process uses. What grows in it without end is a leak.
type Usage struct {
	Goroutines int `json:"goroutines"`
	// Descriptors are open ones; -1 where there is no /proc.
	Descriptors int `json:"descriptors"`
	// Resident are bytes of memory; -1 where there is no /proc.
	Resident int64 `json:"resident_bytes"`
	// Live are the bytes that the last garbage collection found in use.
	Live uint64 `json:"live_bytes"`
}

func usage() Usage {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	u := Usage{Goroutines: runtime.NumGoroutine(), Descriptors: descriptors(), Resident: resident()}
	if live[0].Value.Kind() == metrics.KindUint64 {
		u.Live = live[0].Value.Uint64()
	}
	return u
}

func descriptors() int {
	folder, err := os.Open("/proc/self/fd")
	if err != nil {
		return -1
	}
	defer func() { _ = folder.Close() }() // it was only read
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return -1
	}
	return len(names) - 1 // without the folder's
}

// resident reads the second figure of proc_pid_statm(5), in pages.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return -1
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return -1
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return -1
	}
	return pages * int64(os.Getpagesize())
}
