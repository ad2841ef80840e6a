package dial

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// reportErrors makes the kernel report every ICMP error about a connected socket,
// and that nobody answers ARP. Without it a refused port is all that it tells
// (ip(7), IP_RECVERR).
func reportErrors(conn *net.UDPConn, to netip.Addr) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := syscall.IPPROTO_IP, syscall.IP_RECVERR
	if to.Is6() {
		level, option = syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, set)
}
