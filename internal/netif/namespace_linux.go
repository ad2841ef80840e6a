package netif

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace names the calling thread's network namespace in this run of the
// kernel: after a reboot, or in a container that was started anew, it is another,
// and whatever was configured in the old one is gone.
func Namespace() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("name the network namespace: %w", err)
	}
	cookie, err := netCookie()
	if err != nil {
		return "", fmt.Errorf("name the network namespace: %w", err)
	}
	return fmt.Sprintf("%s/%d", strings.TrimSpace(string(boot)), cookie), nil
}

// netCookie is a number that no other namespace gets before the next boot: since
// Linux 5.14 SO_NETNS_COOKIE, before that the inode of nsfs, which may come again.
func netCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	err = errors.Join(err, unix.Close(fd))
	if err == nil {
		return cookie, nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return 0, fmt.Errorf("SO_NETNS_COOKIE: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return 0, fmt.Errorf("/proc/thread-self/ns/net: %w", err)
	}
	return stat.Ino, nil
}
