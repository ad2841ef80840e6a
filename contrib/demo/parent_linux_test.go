package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestEndToEndKilled kills the demo itself: the kernel ends its daemon.
func TestEndToEndKilled(t *testing.T) {
	endToEnd(t)
	p := start(t, nil, "-monitord", monitord(t))
	p.until("all three serve through the virtual service")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end()
	// The signal is sent at once; the daemon is then gone as soon as init has
	// waited for it, of which nobody tells.
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := syscall.Kill(-p.pids()[0], 0)
		if errors.Is(err, syscall.ESRCH) || zombie(t, p.pids()[0]) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the daemon outlives the demo: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	p.nothingListens()
}

// zombie reports whether a process has ended and waits for its parent: init is
// not everywhere one that waits, as in containers.
func zombie(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	_, fields, found := bytes.Cut(stat, []byte(") ")) // proc(5): the name is in parentheses
	return found && bytes.HasPrefix(fields, []byte("Z"))
}
