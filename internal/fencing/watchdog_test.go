package fencing

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeDevice keeps what is written, and resets the machine like the real one.
type fakeDevice struct {
	mu       sync.Mutex
	written  []string
	at       time.Time // of the last writing
	closed   bool
	refuse   error // to write
	fixed    time.Duration
	settable error
}

func (d *fakeDevice) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return 0, d.refuse
	}
	d.written, d.at = append(d.written, string(b)), time.Now()
	return len(b), nil
}

func (d *fakeDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *fakeDevice) SetTimeout(want time.Duration) (time.Duration, error) {
	if d.fixed != 0 {
		want = d.fixed
	}
	return want, d.settable
}

func (d *fakeDevice) NoWayOut() bool { return false }

func (d *fakeDevice) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.written)
}

func (d *fakeDevice) last() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *fakeDevice) disarmed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed && len(d.written) > 0 && d.written[len(d.written)-1] == "V"
}

func TestWatchdogLivesOnPets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{}
		w, err := watch(d, WatchdogSettings{Device: "fake", Timeout: 8 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := d.count(); n != 0 {
			t.Errorf("%d writings before the first Pet", n)
		}
		for range 2000 { // 10 s of a loop that ticks every 5 ms
			w.Pet()
			time.Sleep(5 * time.Millisecond)
		}
		if n := d.count(); n < 9 || n > 11 {
			t.Errorf("%d writings in ten seconds, want one a second", n)
		}
		last := time.Now()
		time.Sleep(time.Minute) // the loop hangs
		if late := d.last().Sub(last); late > time.Second {
			t.Errorf("written %s after the last Pet", late)
		}
		w.Pet()
		time.Sleep(1500 * time.Millisecond)
		if d.last().Sub(last) < time.Minute {
			t.Error("a loop that goes on is not heard")
		}
		if err := errors.Join(w.Close(), w.Close()); err != nil || !d.disarmed() {
			t.Errorf("closed: %v, %q", err, d.written)
		}
		w.Pet() // does nothing
	})
}

func TestWatchdogWritingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{refuse: io.ErrShortWrite}
		w, err := watch(d, WatchdogSettings{Device: "fake", Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w.Pet()
		time.Sleep(1500 * time.Millisecond)
		if err := w.Err(); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("error %v", err)
		}
		d.mu.Lock()
		d.refuse = nil
		d.mu.Unlock()
		time.Sleep(1500 * time.Millisecond)
		if n := d.count(); n != 0 {
			t.Errorf("%d writings without a Pet since", n)
		}
		w.Pet()
		time.Sleep(1500 * time.Millisecond)
		if err := w.Err(); err != nil || d.count() != 1 {
			t.Errorf("error %v, %d writings", err, d.count())
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchdogTimeouts(t *testing.T) {
	refused := errors.New("out of range")
	for name, c := range map[string]struct {
		device  *fakeDevice
		timeout time.Duration
		want    time.Duration // 0: refused
	}{
		"as asked for":    {&fakeDevice{}, 10 * time.Second, 10 * time.Second},
		"the device's":    {&fakeDevice{fixed: 5 * time.Second}, 10 * time.Second, 5 * time.Second},
		"refused":         {&fakeDevice{settable: refused}, 10 * time.Second, 0},
		"nothing":         {&fakeDevice{}, 0, 0},
		"part of seconds": {&fakeDevice{}, 1500 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := watch(c.device, WatchdogSettings{Device: "fake", Timeout: c.timeout})
			if (err == nil) != (c.want != 0) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				if !c.device.disarmed() {
					t.Errorf("left armed: %q", c.device.written)
				}
				return
			}
			if got := w.Timeout(); got != c.want {
				t.Errorf("timeout %s, want %s", got, c.want)
			}
			if err := w.Close(); err != nil || !c.device.disarmed() {
				t.Errorf("closed: %v, %q", err, c.device.written)
			}
		})
	}
}

// TestWatchdogCannotBeDisarmed says that the machine will be reset.
func TestWatchdogCannotBeDisarmed(t *testing.T) {
	d := &fakeDevice{refuse: io.ErrShortWrite}
	w, err := watch(d, WatchdogSettings{Device: "fake", Timeout: 7 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "7s") || !d.closed {
		t.Errorf("close: %v", err)
	}
}

// TestOpenWatchdog opens files that are none.
func TestOpenWatchdog(t *testing.T) {
	if _, err := OpenWatchdog(WatchdogSettings{Device: t.TempDir() + "/no", Timeout: time.Second}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := OpenWatchdog(WatchdogSettings{Device: file.Name(), Timeout: time.Second}); err == nil {
		t.Error("a plain file is taken for a watchdog")
	}
	// What is opened is let go in order, whatever it is.
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != "V" {
		t.Errorf("written %q, %v", text, err)
	}
}
