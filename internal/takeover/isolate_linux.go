package takeover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// isolate keeps the calling thread from waiting for the rest of the machine, as far
// as this process may: a real-time priority for the thread (the lowest, it runs for
// microseconds), memory that is not swapped out. It tells what it got, and returns
// what undoes the priority.
func isolate() (got string, undo func()) {
	var have, lack []string
	undo = func() {}
	attributes := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, attributes, 0); err == nil {
		have = append(have, "real-time priority")
		undo = func() {
			_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
		}
	} else {
		lack = append(lack, fmt.Sprintf("no real-time priority (%v)", err))
	}
	if err := preferProcess(); err == nil {
		have = append(have, "preferred threads")
	} else {
		lack = append(lack, fmt.Sprintf("threads not preferred (%v)", err))
	}
	if err := lockMemory(); err == nil {
		have = append(have, "memory locked")
	} else {
		lack = append(lack, fmt.Sprintf("memory not locked (%v)", err))
	}
	return strings.Join(append(have, lack...), ", "), undo
}

// preferred is the nice value of the other threads: the loop sees and hears by them,
// and it cannot go on before one of them hands it the processor.
const preferred = -15

// preferProcess prefers the threads that there are; those that come later inherit it.
func preferProcess() error {
	return preferAll(threads, func(id int) error { return unix.Setpriority(unix.PRIO_PROCESS, id, preferred) })
}

// preferAll lists the threads until it has preferred each: one that was not preferred yet
// may have started another since they were listed.
func preferAll(list func() ([]int, error), prefer func(id int) error) error {
	done := map[int]bool{}
	for before := -1; before < len(done); {
		before = len(done)
		all, err := list()
		if err != nil {
			return err
		}
		for _, id := range all {
			if done[id] {
				continue
			}
			if err := prefer(id); err != nil && !errors.Is(err, unix.ESRCH) {
				return err // ESRCH: the thread has ended
			}
			done[id] = true
		}
	}
	return nil
}

func threads() (all []int, err error) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, nil
}

var errLimited = errors.New("RLIMIT_MEMLOCK is limited")

// lockMemory locks what is used, when it is used. With a limit on it a later
// allocation would fail, which ends a Go program.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && !mayLock() {
		return errLimited
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}

// mayLock tells whether the limit does not hold for this process (CAP_IPC_LOCK).
func mayLock() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}
