//go:build unix

package dialtest

import (
	"net/netip"
	"syscall"
	"testing"
)

// Refused returns an entry whose port refuses: it is taken, so that nobody else
// gets it, but not listened on.
func Refused(t testing.TB, address string) string {
	t.Helper()
	entry, _ := bound(t, address)
	return entry
}

// Dropped returns an entry that does not even accept: its queue is full, so the
// kernel drops what arrives, like a host that is switched off.
func Dropped(t testing.TB, address string) string {
	t.Helper()
	entry, fd := bound(t, address)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	to := sockaddr(netip.MustParseAddrPort(entry))
	// A queue of 0 takes one connection on Linux; a few more do no harm.
	for range 4 {
		client := socket(t, to)
		if err := syscall.SetNonblock(client, true); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Connect(client, to); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return entry
}

// bound takes a free port of an address.
func bound(t testing.TB, address string) (entry string, fd int) {
	t.Helper()
	addr := netip.MustParseAddr(address)
	to := sockaddr(netip.AddrPortFrom(addr, 0))
	fd = socket(t, to)
	if err := syscall.Bind(fd, to); err != nil {
		t.Fatalf("this test needs the loopback address %s: %v", address, err)
	}
	own, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := 0
	switch own := own.(type) {
	case *syscall.SockaddrInet4:
		port = own.Port
	case *syscall.SockaddrInet6:
		port = own.Port
	}
	return netip.AddrPortFrom(addr, uint16(port)).String(), fd
}

func socket(t testing.TB, for6or4 syscall.Sockaddr) int {
	t.Helper()
	family := syscall.AF_INET
	if _, is6 := for6or4.(*syscall.SockaddrInet6); is6 {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	return fd
}

func sockaddr(a netip.AddrPort) syscall.Sockaddr {
	if a.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
