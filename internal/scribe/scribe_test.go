package scribe

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAScribeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []int
		var full atomic.Bool
		full.Store(true)
		s := New(func(n []int) error {
			if full.Load() {
				return errors.New("disk full")
			}
			written = append(written, n...)
			return nil
		}, func(int, error) {})
		stop := make(chan struct{})
		go s.Run(stop)
		for n := range 3 * Room {
			s.Put(n)
		}
		synctest.Wait()
		full.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(written) != Room || written[0] != 2*Room || written[Room-1] != 3*Room-1 {
			t.Errorf("%d lines were written", len(written))
		}
		close(stop)
	})
}
