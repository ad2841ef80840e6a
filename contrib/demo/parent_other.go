//go:build unix && !linux

package main

import "syscall"

// endWithParent is Linux's; elsewhere a demo that is killed leaves its daemon.
func endWithParent(*syscall.SysProcAttr) {}
