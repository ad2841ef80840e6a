//go:build !linux

package relay

import "syscall"

// freebind is for Linux only: elsewhere the address has to be there.
func freebind(string, string, syscall.RawConn) error { return nil }
