package relay

import (
	"errors"
	"syscall"
)

// freebind lets a socket have an address that the machine does not have yet
// (ip(7), IP_FREEBIND; IPv6 sockets take it at the same level).
func freebind(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, syscall.IP_FREEBIND, 1)
	})
	return errors.Join(err, failed)
}
