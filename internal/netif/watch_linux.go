package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Watcher tells when the carrier of a device or one of its addresses goes.
type Watcher struct {
	o       WatchOptions
	handle  *netlink.Handle
	socket  *nl.NetlinkSocket
	changes chan Change
	close   context.CancelFunc
	ended   chan struct{}

	// Of the goroutine alone: what was last seen.
	index   int
	carrier bool
	told    bool // the carrier, once
	present map[netip.Addr]bool
	looked  time.Duration
	unsure  bool // the kernel could not be asked for the addresses
}

// Watch begins to watch, in the calling thread's network namespace, until Close or
// the end of ctx.
func Watch(ctx context.Context, o WatchOptions) (*Watcher, error) {
	if o.Poll <= 0 {
		o.Poll = 50 * time.Millisecond
	}
	w := &Watcher{o: o, changes: make(chan Change), ended: make(chan struct{}), present: map[netip.Addr]bool{}}
	var err error
	if w.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("watch %s: rtnetlink socket: %w", o.Device, named(err))
	}
	if err := w.handle.SetSocketTimeout(longest); err != nil {
		w.handle.Close()
		return nil, fmt.Errorf("watch %s: rtnetlink socket: %w", o.Device, err)
	}
	// Before the first look, so that nothing happens in between.
	w.socket, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		w.handle.Close()
		return nil, fmt.Errorf("watch %s: subscribe: %w", o.Device, named(err))
	}
	w.patience(o.Poll)
	ctx, w.close = context.WithCancel(ctx)
	go w.run(ctx)
	return w, nil
}

// soon is how long after the message about an address that went the kernel is asked,
// unless more such messages come.
const soon = time.Millisecond

// patience is how long a Receive waits.
func (w *Watcher) patience(d time.Duration) {
	wait := unix.NsecToTimeval(d.Nanoseconds())
	_ = w.socket.SetReceiveTimeout(&wait) // It only stores the figure.
}

// Changes brings them in their order. While nobody takes one the next wait with the
// kernel; what is lost there is found by looking. It is closed at the end.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Close ends it and waits for that. It may be called again.
func (w *Watcher) Close() error {
	w.close()
	<-w.ended
	return nil
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.ended)
	defer close(w.changes)
	defer w.handle.Close()
	// Closing ends a Receive.
	defer context.AfterFunc(ctx, w.socket.Close)()
	defer w.socket.Close()
	w.look(ctx, true)
	for ctx.Err() == nil {
		messages, from, err := w.socket.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN):
			w.patience(w.o.Poll)
			w.look(ctx, false)
		case errors.Is(err, os.ErrClosed), errors.Is(err, unix.EBADF):
			return
		case err != nil:
			w.look(ctx, true) // ENOBUFS: messages were lost.
		case from.Pid == nl.PidKernel:
			for _, m := range messages {
				w.hear(ctx, m)
			}
			// Under a stream of messages about others no Receive runs into its timeout.
			if Boottime()-w.looked >= w.o.Poll {
				w.look(ctx, false)
			}
		}
	}
}

// hear takes in a message. What it says may be over already: the kernel is asked
// before anybody is told.
func (w *Watcher) hear(ctx context.Context, m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		w.look(ctx, false)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg || int(nl.DeserializeIfAddrmsg(m.Data).Index) != w.index {
			return
		}
		a, _ := addressAttributes(m.Data[unix.SizeofIfAddrmsg:])
		switch {
		case !slices.Contains(w.o.Addresses, a):
		case m.Header.Type == unix.RTM_NEWADDR:
			w.present[a] = true // Also if it has gone since: the message on that follows.
		default:
			// Perhaps it was put back; and of hundreds that go the kernel is asked once.
			w.unsure = true
			w.patience(soon)
		}
	}
}

// look compares the kernel's state with what was last seen. That the kernel could not
// be asked is no change; the next look comes with the next poll.
func (w *Watcher) look(ctx context.Context, addresses bool) {
	w.looked = Boottime()
	l, err := w.handle.LinkByName(w.o.Device)
	var now Link
	if err == nil {
		now = link(l)
	} else if _, missing := errors.AsType[netlink.LinkNotFoundError](err); !missing {
		return
	}
	up := now.Up && now.Carrier
	// The addresses of a device go with it, and IPv6's when it is taken down.
	addresses = addresses || w.unsure || now.Index != w.index || up != w.carrier
	if !w.told || now.Index != w.index || up != w.carrier {
		w.told, w.index, w.carrier = true, now.Index, up
		w.tell(ctx, Change{Kind: CarrierChange, Carrier: up})
	}
	if !addresses || len(w.o.Addresses) == 0 {
		return
	}
	here, err := w.here(ctx)
	if w.unsure = err != nil; w.unsure {
		return
	}
	for _, a := range w.o.Addresses {
		was := w.present[a]
		w.present[a] = here[a]
		if was && !here[a] {
			w.tell(ctx, Change{Kind: AddressGone, Address: a})
		}
	}
}

// here lists the device's addresses.
func (w *Watcher) here(ctx context.Context) (map[netip.Addr]bool, error) {
	raw, err := dump(ctx, func() ([]netlink.Addr, error) { return w.handle.AddrList(nil, netlink.FAMILY_ALL) })
	found := map[netip.Addr]bool{}
	for i := range raw {
		if a := address(&raw[i]); a.Index == w.index && w.index != 0 {
			found[a.Prefix.Addr()] = true
		}
	}
	return found, err
}

func (w *Watcher) tell(ctx context.Context, c Change) {
	c.At, c.Index = Boottime(), w.index
	select {
	case w.changes <- c:
	case <-ctx.Done():
	}
}
