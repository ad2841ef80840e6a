package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/netif"
)

// A space is one machine: namespaces for network, mounts and host name, and a thread
// that lives in them. What is opened, or started, on that thread is in the machine for
// as long as it lasts.
type space struct {
	name  string
	net   *os.File // the network namespace
	work  chan func()
	ended chan struct{}
}

func newSpace(ctx context.Context, name string) (*space, error) {
	s := &space{name: name, work: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(s.ended)
		offMainThread(func() { s.live(ready) })
	}()
	if err := <-ready; err != nil {
		close(s.work)
		<-s.ended
		return nil, fmt.Errorf("machine %s: namespaces: %w", name, err)
	}
	err := s.do(func() error { return errors.Join(neutral(), netif.SetUp(ctx, "lo", true)) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("machine %s: %w", name, err), s.close())
	}
	return s, nil
}

// offMainThread runs f, which spoils its thread, on another than the process's first:
// that one does not end with its goroutine (runtime.LockOSThread).
func offMainThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return // Locked: the thread ends, and the namespaces with it.
	}
	done := make(chan struct{})
	go func() { // This thread is taken, so it is another.
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	runtime.UnlockOSThread()
}

func (s *space) live(ready chan<- error) {
	err := separate(s.name)
	if err == nil {
		s.net, err = os.Open("/proc/thread-self/ns/net")
	}
	ready <- err
	for do := range s.work {
		do()
	}
}

// separate gives the calling thread namespaces of its own.
func separate(name string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// /sys/class/net is that of whoever mounted it. In a container it may be
	// forbidden; nothing but curious scripts will miss it.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mount /sys: %w", err)
	}
	return nil
}

// neutral sets what a new namespace takes from the machine's own settings
// (net.core.devconf_inherit_init_net), and has addresses in use at once.
func neutral() error {
	var err error
	for _, which := range []string{"all", "default"} {
		for _, key := range []string{
			"rp_filter", "send_redirects", "accept_redirects", "secure_redirects", "arp_ignore", "arp_announce", "arp_filter", "arp_accept",
			"proxy_arp", "forwarding", "promote_secondaries", "log_martians",
		} {
			err = errors.Join(err, netif.InterfaceKey("net.ipv4.conf", which, key).Set("0"))
		}
		for _, key := range []string{"accept_dad", "accept_ra"} {
			if bad := netif.InterfaceKey("net.ipv6.conf", which, key).Set("0"); !errors.Is(bad, netif.ErrMissing) {
				err = errors.Join(err, bad) // A kernel without IPv6 does without.
			}
		}
	}
	return err
}

// do calls f on the machine's thread, which has no time for anything else meanwhile.
func (s *space) do(f func() error) error {
	result := make(chan error, 1)
	s.work <- func() { result <- f() }
	return <-result
}

// inside runs f on a thread of its own in the machine's network, and returns when f
// does: for what waits in the kernel.
func (s *space) inside(f func() error) error {
	result := make(chan error, 1)
	go offMainThread(func() {
		if err := unix.Setns(int(s.net.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter the network of %s: %w", s.name, err)
			return
		}
		result <- f()
	})
	return <-result
}

// close ends the thread. Processes in the machine end with it: their parent dies.
func (s *space) close() error {
	close(s.work)
	<-s.ended
	return s.net.Close()
}
