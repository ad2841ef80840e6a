//go:build !linux

package heartbeat

import "syscall"

func freebind(string, string, syscall.RawConn) error { return nil }
