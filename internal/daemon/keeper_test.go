package daemon

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
)

// TestKeeperDoesNotWaitForAHungDisk: what has to be done is done after a second, it
// is said once, and the newest value is written when the disk is back.
func TestKeeperDoesNotWaitForAHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		var written []int
		log, said := test.NewNullLogger()
		k := keeping(func(n int) error {
			<-hung
			written = append(written, n)
			return nil
		}, 0, log)
		began := time.Now()
		k.keep(1)
		k.keep(2)
		if took := time.Since(began); took != 2*writePatience {
			t.Errorf("two changes waited %s for the disk, want %s", took, 2*writePatience)
		}
		if n := len(said.AllEntries()); n != 1 {
			t.Errorf("%d lines in the log, want 1", n)
		}
		close(hung)
		synctest.Wait()
		k.keep(3)
		if err := k.close(); err != nil {
			t.Error(err)
		}
		if len(written) == 0 || written[len(written)-1] != 3 || slices.Contains(written, 2) && written[0] == 2 {
			t.Errorf("written %v, want 3 at last", written)
		}
	})
}

// TestKeeperWaitsForAHungDiskOnce at the end, however much comes after.
func TestKeeperWaitsForAHungDiskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		log, _ := test.NewNullLogger()
		k := keeping(func(int) error {
			<-hung
			return nil
		}, 0, log)
		began := time.Now()
		if err := k.close(); err != nil {
			t.Errorf("nothing to write: %v", err)
		}
		k = keeping(func(int) error {
			<-hung
			return nil
		}, 0, log)
		k.keep(1)
		for range 3 {
			if err := k.close(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("close: %v", err)
			}
			k.keep(2)
		}
		if took := time.Since(began); took != writePatience+closePatience {
			t.Errorf("it took %s, want %s", took, writePatience+closePatience)
		}
		close(hung)
	})
}

// TestKeeperTellsOfAFullDiskOnce: and when it works again; nobody waits for it.
func TestKeeperTellsOfAFullDiskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		log, said := test.NewNullLogger()
		k := keeping(func(int) error {
			if full.Load() {
				return errors.New("no space left on device")
			}
			return nil
		}, 0, log)
		for i := range 5 {
			k.keep(i)
			time.Sleep(time.Minute)
		}
		full.Store(false)
		k.keep(9)
		if err := k.close(); err != nil {
			t.Error(err)
		}
		var lines []string
		for _, e := range said.AllEntries() {
			lines = append(lines, e.Message)
		}
		if want := []string{"the state cannot be written: a restart would forget", "the state is written again"}; !slices.Equal(lines, want) {
			t.Errorf("said %q, want %q", lines, want)
		}
	})
}
