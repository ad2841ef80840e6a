package main

import (
	"runtime"
	"syscall"
)

// The kernel sends a Pdeathsig when the thread that started the process ends, so
// main must keep to one thread for as long as it lives.
func init() { runtime.LockOSThread() }

// endWithParent has the kernel end a process if the demo itself is killed. It
// must be started by the main goroutine.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
