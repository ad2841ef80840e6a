package runcmd

import (
	"syscall"
	"unsafe"
)

// awaitExit returns when the child has ended and leaves it a zombie, as
// waitid(2) does with WNOWAIT; package syscall has no name for it.
func awaitExit(pid int) {
	const (
		pPID    = 1
		wExited = 0x4
		wNoWait = 0x1000000
	)
	var info [128]byte // siginfo_t
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid),
			uintptr(unsafe.Pointer(&info[0])), wExited|wNoWait, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}
