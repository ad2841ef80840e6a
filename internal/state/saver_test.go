package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A fakeDisk takes its time, fails as told and remembers when it was written.
type fakeDisk struct {
	mu    sync.Mutex
	start time.Time
	takes time.Duration
	err   error
	value int   // the newest
	disk  int   // what was written last
	at    []int // seconds since the start
	said  []string
}

func (d *fakeDisk) write() error {
	d.mu.Lock()
	value, takes, err := d.value, d.takes, d.err
	d.at = append(d.at, int(time.Since(d.start).Seconds()))
	d.mu.Unlock()
	time.Sleep(takes)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.disk = value
	}
	return err
}

func (d *fakeDisk) report(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, fmt.Sprint(err))
}

func (d *fakeDisk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *fakeDisk) wantWrites(t *testing.T, seconds ...int) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(seconds, d.at); diff != "" {
		t.Errorf("writes at seconds (-want +got):\n%s", diff)
	}
	d.at = nil
}

func (d *fakeDisk) wantSaid(t *testing.T, said ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(said, d.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	d.said = nil
}

func saverTest(t *testing.T, c SaverConfig, f func(t *testing.T, s *Saver, d *fakeDisk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{start: time.Now()}
		c.Write, c.Report = d.write, d.report
		s := NewSaver(c)
		f(t, s, d)
		_ = s.Close(t.Context())
	})
}

func TestMarksAreWrittenOnceASecond(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		time.Sleep(5 * time.Second)
		d.wantWrites(t)
		for range 30 { // 3 seconds of changes: at once, and then each second
			d.set(func() { d.value++ })
			s.Mark()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		d.wantWrites(t, 5, 6, 7, 8)
		if d.disk != 30 {
			t.Errorf("on the disk is %d, the newest is 30", d.disk)
		}
		s.Mark() // at 13s
		d.wantWrites(t, 13)
		d.wantSaid(t)
	})
}

func TestRefresh(t *testing.T) {
	saverTest(t, SaverConfig{Refresh: 30 * time.Second}, func(t *testing.T, s *Saver, d *fakeDisk) {
		time.Sleep(40 * time.Second)
		s.Mark()
		time.Sleep(61 * time.Second)
		d.wantWrites(t, 30, 40, 70, 100)
	})
}

func TestASlowDiskIsGivenTime(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		d.set(func() { d.takes = 2 * time.Second })
		for range 500 {
			s.Mark()
			time.Sleep(100 * time.Millisecond)
		}
		d.wantWrites(t, 0, 22, 44)
	})
}

func TestFlushIsAGroupCommit(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		d.set(func() { d.takes = time.Second })
		s.Mark()
		synctest.Wait() // a write is under way, with the old value
		d.set(func() { d.value = 7 })
		var waiting sync.WaitGroup
		for range 1000 {
			waiting.Go(func() {
				if err := s.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				d.set(func() {
					if d.disk != 7 {
						t.Errorf("flushed, but %d is on the disk", d.disk)
					}
				})
			})
		}
		waiting.Wait()
		d.wantWrites(t, 0, 1)
	})
}

func TestFlushGivesUpWithItsCaller(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		d.set(func() { d.takes = time.Hour })
		for range 2 { // one that is being served, one that waits for its turn
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("flush: %v", err)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestCloseWritesTheLastValue(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		s.Mark()
		synctest.Wait()
		d.set(func() { d.value = 9 })
		if err := s.Close(t.Context()); err != nil || d.disk != 9 {
			t.Errorf("%d on the disk, %v", d.disk, err)
		}
		s.Mark()
		if err := s.Flush(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("flush after close: %v", err)
		}
		d.set(func() { d.err = syscall.EIO })
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("the second close: %v", err)
		}
	})
}

// TestAFullDiskIsSaidOnce: also if it changes its mind about why, and with the
// names of temporary files in the errors.
func TestAFullDiskIsSaidOnce(t *testing.T) {
	saverTest(t, SaverConfig{}, func(t *testing.T, s *Saver, d *fakeDisk) {
		fail := func(n int, err error) {
			d.set(func() { d.err = &fs.PathError{Op: "write", Path: fmt.Sprint("tmp", n), Err: err} })
			for range 100 {
				s.Mark()
				time.Sleep(time.Second)
			}
		}
		fail(1, syscall.ENOSPC)
		d.wantSaid(t, "write tmp1: no space left on device")
		d.wantWrites(t, 0, 2, 6, 14, 30, 62)
		fail(2, syscall.ENOSPC)
		d.wantSaid(t)
		fail(3, syscall.EROFS)
		d.wantSaid(t, "write tmp3: read-only file system")
		if err := s.Flush(t.Context()); !errors.Is(err, syscall.EROFS) {
			t.Errorf("flush: %v", err)
		}
		d.set(func() { d.err, d.value = nil, 5 })
		time.Sleep(longestPause) // nobody marks: the saver remembers by itself
		d.wantSaid(t, "<nil>")
		if d.disk != 5 {
			t.Errorf("on the disk is %d", d.disk)
		}
		at := slices.Clone(d.at)
		fail(4, syscall.ENOSPC)
		d.wantSaid(t, "write tmp4: no space left on device")
		if len(at) == 0 {
			t.Error("nothing was written")
		}
	})
}

// TestSoonLeavesTheDiskAPause: who waits for the next write gets it as soon as the
// disk had its rest, and all who wait get the same one.
func TestSoonLeavesTheDiskAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{start: time.Now(), takes: time.Second}
		s := NewSaver(SaverConfig{Write: d.write, Report: d.report, Interval: time.Minute})
		if err := s.Soon(t.Context()); err != nil {
			t.Error(err)
		}
		d.wantWrites(t, 0)
		d.set(func() { d.value = 7 })
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := s.Soon(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		s.Hurry()
		all.Wait()
		d.wantWrites(t, 3) // 2 s after the first, that took one
		d.set(func() {
			if d.disk != 7 {
				t.Errorf("on the disk is %d", d.disk)
			}
		})
		s.Hurry()
		time.Sleep(15 * time.Second)
		d.wantWrites(t, 6)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Soon(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestSoonDoesNotWaitForAFullDisk: the second one knows at once.
func TestSoonDoesNotWaitForAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{start: time.Now(), err: syscall.ENOSPC}
		s := NewSaver(SaverConfig{Write: d.write, Report: d.report})
		for range 3 {
			if err := s.Soon(t.Context()); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("on a full disk: %v", err)
			}
		}
		if took := time.Since(d.start); took != 0 {
			t.Errorf("it took %s", took)
		}
		d.set(func() { d.err = nil })
		time.Sleep(time.Minute)
		if err := s.Soon(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
