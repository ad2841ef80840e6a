package fencing

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// WatchdogSettings say which watchdog to use.
type WatchdogSettings struct {
	Device string // like "/dev/watchdog"
	// Timeout is how long the machine lives without a Pet, in whole seconds from 1.
	Timeout time.Duration
}

// A Watchdog has the machine reset by its hardware, or by the kernel, when the loop
// that pets it stands still: not before its timeout after the last Pet, and at most an
// eighth of it later. If the whole process stands still, or dies without Close, it may be
// an eighth earlier: the last Pet was not written then.
// The first Pet is due within the timeout after it was opened.
type Watchdog struct {
	device  device
	timeout time.Duration
	pets    atomic.Uint64
	stop    chan struct{}
	ended   chan struct{}
	close   sync.Once
	closed  error

	mu  sync.Mutex // protects what follows
	err error      // of the last writing
}

// A device is a watchdog as the kernel has it (linux/Documentation/watchdog/watchdog-api).
type device interface {
	// Write keeps the machine alive. Closing after a "V" ends the watch, closing without
	// it does not.
	Write([]byte) (int, error)
	Close() error
	// SetTimeout returns the one that it has now: not each device has each of them.
	SetTimeout(time.Duration) (time.Duration, error)
	// NoWayOut tells that the watch never ends, whatever is written.
	NoWayOut() bool
}

// magicClose is what a device has to read for its watch to end with closing.
const magicClose = "V"

// watch arms a device, which is armed by being open, and takes it over.
func watch(d device, s WatchdogSettings) (*Watchdog, error) {
	if s.Timeout < time.Second || s.Timeout%time.Second != 0 {
		err := fmt.Errorf("watchdog %s: a timeout of %s: whole seconds from 1 are possible", s.Device, s.Timeout)
		return nil, errors.Join(err, disarm(d))
	}
	timeout, err := d.SetTimeout(s.Timeout)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watchdog %s: timeout of %s: %w", s.Device, s.Timeout, err), disarm(d))
	}
	w := &Watchdog{device: d, timeout: timeout, stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w, nil
}

// disarm ends the watch in order.
func disarm(d device) error {
	_, err := d.Write([]byte(magicClose))
	return errors.Join(err, d.Close())
}

// Timeout is the one that the device has: it may be another than was asked for.
func (w *Watchdog) Timeout() time.Duration { return w.timeout }

// NoWayOut tells that Close will not end the watch: the kernel module was loaded with
// nowayout. Then the machine is reset unless somebody opens the watchdog again within
// the timeout, as the next process does.
func (w *Watchdog) NoWayOut() bool { return w.device.NoWayOut() }

// Pet says that the loop goes on. It only counts: the device is written to by another
// goroutine, and not more often than it needs.
func (w *Watchdog) Pet() { w.pets.Add(1) }

// Err is why the device was not written to the last time; the next Pet tries again.
func (w *Watchdog) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// run writes when there was a Pet since the last time.
func (w *Watchdog) run() {
	defer close(w.ended)
	ticker := time.NewTicker(w.timeout / 8)
	defer ticker.Stop()
	written := uint64(0)
	for {
		if pets := w.pets.Load(); pets != written {
			// One that fails is not made up for: the loop may stand still by then.
			written = pets
			_, err := w.device.Write([]byte{0})
			w.note(err)
		}
		select {
		case <-ticker.C:
		case <-w.stop:
			return
		}
	}
}

func (w *Watchdog) note(err error) {
	if err != nil {
		err = fmt.Errorf("watchdog: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// Close ends the watch, unless NoWayOut. It may be called again.
func (w *Watchdog) Close() error {
	w.close.Do(func() {
		close(w.stop)
		<-w.ended
		if err := disarm(w.device); err != nil {
			w.closed = fmt.Errorf("watchdog, which may reset the machine within %s: %w", w.timeout, err)
		}
	})
	return w.closed
}
