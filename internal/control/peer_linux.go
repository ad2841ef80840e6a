package control

import (
	"net"
	"syscall"
)

// peerUID is the user on the other end, as the kernel knows it (SO_PEERCRED, unix(7)).
func peerUID(c net.Conn) (uid uint32, ok bool) {
	unix, is := c.(*net.UnixConn)
	if !is {
		return 0, false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return 0, false
	}
	return cred.Uid, true
}
