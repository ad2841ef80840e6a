//go:build linux

package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// A thread is how the kernel lets it run (proc_pid_stat(5)).
type thread struct{ policy, nice int }

func threads(t *testing.T, pid int) (all []thread) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(raw), ") ") // the third field and those after it
		fields := strings.Fields(rest)
		nice, bad := strconv.Atoi(fields[19-3])
		policy, worse := strconv.Atoi(fields[41-3])
		if bad != nil || worse != nil {
			t.Fatal(bad, worse, string(raw))
		}
		all = append(all, thread{policy, nice})
	}
	return all
}

// status is a line of /proc/PID/status.
func status(t *testing.T, pid int, key string) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in %s", key, raw)
	return ""
}

// mayHaveRealTime tells whether a thread of this process may have what the loop asks for:
// the kernel can be built so that a group of processes has to be given time for it.
func mayHaveRealTime() bool {
	may := make(chan bool)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		may <- unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0) == nil
	}()
	return <-may
}

// TestEndToEndIsolation: the loop has a thread with a real-time priority, the others are
// preferred, and memory is locked: as far as this machine allows it, and as the daemon
// says. What it starts runs like anybody's program.
func TestEndToEndIsolation(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, lab.Settings{}, checks(t, 1, fmt.Sprintf("nice >%s/$(uname -n).new && mv %[1]s/$(uname -n).new %[1]s/$(uname -n)", folder)))
	s.begins()
	v, err := s.view("dr1")
	s.must(err)
	t.Log(v.Isolation)
	pid := s.pid("dr1")
	capable, err := strconv.ParseUint(status(t, pid, "CapEff"), 16, 64)
	s.must(err)
	locked := status(t, pid, "VmLck") != "0 kB"
	realTime, preferred := 0, 0
	all := threads(t, pid)
	for _, one := range all {
		switch {
		case one.policy == unix.SCHED_RR:
			realTime++
		case one.nice == -15:
			preferred++
		}
	}
	// What may be is, and what is not is said.
	for _, tt := range []struct {
		may, is   bool
		good, bad string
	}{
		{mayHaveRealTime(), realTime == 1, "real-time priority", "no real-time priority ("},
		{capable&(1<<unix.CAP_SYS_NICE) != 0, realTime+preferred == len(all), "preferred threads", "threads not preferred ("},
		{capable&(1<<unix.CAP_IPC_LOCK) != 0, locked, "memory locked", "memory not locked ("},
	} {
		bad := strings.Contains(v.Isolation, tt.bad)
		if tt.may && !tt.is || tt.is == bad || !bad && !strings.Contains(v.Isolation, tt.good) {
			t.Errorf("%s: it may be %t, it is %t; said is %q; %d threads, %d of them real-time, %d preferred", tt.good, tt.may, tt.is, v.Isolation, len(all), realTime, preferred)
		}
	}
	file := filepath.Join(folder, "dr1")
	s.eventually("a monitor runs with the nice value 0", func() bool {
		nice, err := os.ReadFile(file)
		return err == nil && string(nice) == "0\n"
	})
}

// checks adds so many watches, each of which runs a script ten times a second.
func checks(t *testing.T, count int, script string) edit {
	t.Helper()
	program := filepath.Join(t.TempDir(), "check")
	if err := writeProgram(program, "#!/bin/sh\n"+script+"\n"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, "\n[[watch]]\ngroup = \"self\"\nservice = \"check%d\"\ninterval = \"100ms\"\nmonitor = { type = \"exec\", program = %q, timeout = \"10s\" }\n", i, program)
	}
	return func(n lab.Node, config string) string {
		return replaced(t, "[hostgroups]\n", "[hostgroups]\nself = [\"itself\"]\n")(n, config) + text.String()
	}
}

// TestEndToEndCheckLoad: monitors that use up every processor, on both directors, are no
// reason to move. Nothing else runs beside it.
func TestEndToEndCheckLoad(t *testing.T) {
	busy := checks(t, 4*runtime.NumCPU(), "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
	s := open(t, lab.Settings{}, busy)
	s.begins()
	began := netif.Boottime()
	pass(10 * time.Second)
	s.still(began, "dr1")
	for _, node := range []string{"dr1", "dr2"} {
		v, err := s.view(node)
		s.must(err)
		t.Logf("longest gap of %s's loop %gs, %d too long", node, v.LongestGap, v.Gaps)
		for _, e := range v.Events {
			if e.Kind == director.Transition.String() && (e.From == "active" || e.To == "active" && node == "dr2") {
				t.Errorf("%s: %+v", node, e)
			}
		}
	}
}
