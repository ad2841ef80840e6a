package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Open opens the table of the network namespace of the calling thread; a
// goroutine in a namespace of its own holds runtime.LockOSThread, and no other
// needs to care. Without IPVS in the kernel the error is [ErrNoKernel], which
// says what to do. Asking for it has the kernel load the module ip_vs, if it can
// and the module has the alias for that, as Debian's has.
func Open(ctx context.Context) (*Client, error) {
	ns, err := currentNamespace()
	if err != nil {
		return nil, Explain(Subject{Op: OpOpen}, err)
	}
	return newClient(ctx, ns, patience)
}

const (
	threadNamespace   = "/proc/thread-self/ns/net"
	threadConnections = "/proc/thread-self/net/ip_vs_conn"
)

// A namespace is a network namespace, in which sockets can be opened from
// threads of another one. Entering needs CAP_SYS_ADMIN, and so is only done by a
// thread that is not there already.
type namespace struct{ file *os.File }

// currentNamespace is the calling thread's.
func currentNamespace() (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := os.Open(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("the network namespace: %w", err)
	}
	return &namespace{file}, nil
}

func (n *namespace) Close() error { return n.file.Close() }

// here reports whether the calling thread, which has to be locked, is in n.
func (n *namespace) here() (bool, error) {
	mine, err := os.Stat(threadNamespace)
	if err != nil {
		return false, err
	}
	wanted, err := n.file.Stat()
	return err == nil && os.SameFile(mine, wanted), err
}

// socket opens a generic-netlink socket.
func (n *namespace) socket() (*genetlink.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := n.here()
	if err != nil {
		return nil, err
	}
	if here {
		return genetlink.Dial(nil)
	}
	return genetlink.Dial(&netlink.Config{NetNS: int(n.file.Fd())})
}

// connections opens the file, which stays that of the namespace it was opened in.
func (n *namespace) connections() (io.ReadCloser, error) {
	var file *os.File
	err := n.inside(func() (err error) {
		file, err = os.Open(threadConnections)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, because(ErrNoKernel, err)
	}
	return file, err
}

// inside calls f on a thread that is in the namespace.
func (n *namespace) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		here, err := n.here()
		switch {
		case err != nil:
			runtime.UnlockOSThread()
		case here:
			err = f()
			runtime.UnlockOSThread()
		default:
			// Not unlocked: the thread ends with the goroutine.
			if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
				err = f()
			}
		}
		done <- err
	}()
	return <-done
}
