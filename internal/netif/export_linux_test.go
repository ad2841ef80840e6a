package netif

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// For the tests of this package alone.
var (
	Announcement = announcement
	ReadFrame    = readFrame
	Remaining    = remaining
)

// SendFrame sends one frame as it is.
func (w *Wire) SendFrame(frame []byte) error { return w.send(frame) }

// Says is what a frame claims, for people.
func (c claim) Says() string { return c.address.String() + " is at " + c.mac.String() }

// Waits tells whether something about an address waits for a reader.
func (w *Wire) Waits(address netip.Addr) bool {
	w.mailbox.mu.Lock()
	defer w.mailbox.mu.Unlock()
	about := func(s Sighting) bool { return s.Address == address }
	return slices.ContainsFunc(w.mailbox.answers.waiting, about) || slices.ContainsFunc(w.mailbox.claims.waiting, about)
}

// OpenUnread opens a wire that reads nothing before Read.
func OpenUnread(ctx context.Context, device string) (*Wire, error) { return newWire(ctx, device) }

// Read begins to read.
func (w *Wire) Read() { w.run() }

// AwaitARP waits until an ARP frame waits at the socket.
func (w *Wire) AwaitARP(patience time.Duration) (err error) {
	control := w.conns[0].Control(func(fd uintptr) {
		n := 0
		for n == 0 && (err == nil || errors.Is(err, unix.EINTR)) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds())) //nolint:gosec // it is small
			if n == 0 && err == nil {
				err = context.DeadlineExceeded
			}
		}
	})
	return errors.Join(control, err)
}
