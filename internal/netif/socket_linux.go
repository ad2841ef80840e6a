package netif

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// longest bounds one question to the kernel, which answers within milliseconds
	// or, holding its lock for somebody who adds a million routes, much later.
	longest = 10 * time.Second
	// attempts bounds the repetitions of a list that changed while it was read.
	attempts = 30
)

// with opens a socket in the calling thread's network namespace, lets do ask on
// it, and names the kind of an error.
func with(ctx context.Context, do func(h *netlink.Handle) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	defer h.Close()
	timeout := longest
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Millisecond, min(timeout, time.Until(deadline)))
	}
	if err := h.SetSocketTimeout(timeout); err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	err = named(do(h))
	if errors.Is(err, unix.EAGAIN) && ctx.Err() != nil {
		return ctx.Err() // The socket's timeout is the context's.
	}
	return err
}

// dump repeats a list that the kernel marks as interrupted (NLM_F_DUMP_INTR: it
// changed in between, and may lack an entry that was there all the time).
func dump[T any](ctx context.Context, list func() ([]T, error)) ([]T, error) {
	for attempt := 1; ; attempt++ {
		all, err := list()
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if attempt == attempts {
			return nil, fmt.Errorf("changed each of %d times while it was read: %w", attempts, err)
		}
	}
}

// named adds the kind of an error.
func named(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range kinds() {
		if errors.Is(err, k.errno) {
			return fmt.Errorf("%w (%w)", k.kind, err)
		}
	}
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return fmt.Errorf("%w (%w)", ErrMissing, err)
	}
	return err
}

type kind struct {
	errno unix.Errno
	kind  error
}

func kinds() []kind {
	return []kind{
		{unix.EEXIST, ErrExists},
		{unix.ENODEV, ErrMissing},
		{unix.ENOENT, ErrMissing},
		{unix.ESRCH, ErrMissing},
		{unix.EADDRNOTAVAIL, ErrMissing},
		{unix.EPERM, ErrPermission},
		{unix.EACCES, ErrPermission},
		{unix.ENETUNREACH, ErrUnreachable},
		{unix.EHOSTUNREACH, ErrUnreachable},
		{unix.EOPNOTSUPP, errors.ErrUnsupported},
		{unix.EAFNOSUPPORT, errors.ErrUnsupported},
		{unix.EPROTONOSUPPORT, errors.ErrUnsupported},
	}
}
