// Package scribe writes lines to a disk that nobody waits for.
package scribe

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// Room is how many lines wait for a disk at most.
	Room = 10_000
	// Batch is how many are written at once.
	Batch = 500
	// longestPause is the longest pause after a failure.
	longestPause = time.Minute
)

// A Scribe writes down what it is given, in order, without anybody waiting for its
// disk. While the disk fails it tries again, and the oldest beyond [Room] are lost,
// which is reported.
type Scribe[T any] struct {
	write  func([]T) error
	report func(lost int, err error)
	wake   chan struct{}

	mu      sync.Mutex // protects what follows
	waiting []T
	writing []T // a batch that is neither written nor waits
	lost    int
}

// New returns a scribe that writes with write, wholly or not at all. report is told
// when that fails for another reason than before, and with a nil error when it succeeds
// again; lost is how many lines were given up since the last report.
func New[T any](write func([]T) error, report func(lost int, err error)) *Scribe[T] {
	return &Scribe[T]{write: write, report: report, wake: make(chan struct{}, 1)}
}

// Put adds lines. It does not wait.
func (s *Scribe[T]) Put(lines ...T) {
	s.mu.Lock()
	s.waiting = append(s.waiting, lines...)
	if extra := len(s.waiting) - Room; extra > 0 {
		s.waiting = s.waiting[extra:]
		s.lost += extra
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run writes until stop is closed, and then what is left, once. Call it once.
func (s *Scribe[T]) Run(stop <-chan struct{}) {
	said, pause := "", time.Duration(0)
	for ending := false; !ending; {
		select {
		case <-stop:
			ending = true
		case <-s.wake:
			if pause > 0 { // what is new does not make a full disk emptier
				select {
				case <-stop:
					ending = true
				case <-time.After(pause):
				}
			}
		}
		err := s.writeAll()
		if kind := failure(err); kind != said {
			s.say(err)
			said = kind
		}
		if err == nil {
			pause = 0
			continue
		}
		pause = min(max(2*pause, time.Second), longestPause)
		s.Put() // tries again
	}
}

func (s *Scribe[T]) writeAll() error {
	for {
		s.mu.Lock()
		batch := s.waiting[:min(len(s.waiting), Batch):min(len(s.waiting), Batch)]
		s.waiting, s.writing = s.waiting[len(batch):], batch
		s.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		err := s.write(batch)
		s.mu.Lock()
		if s.writing = nil; err != nil {
			s.waiting = append(batch, s.waiting...)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// Unwritten returns the lines that may not be written yet.
func (s *Scribe[T]) Unwritten() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.writing, s.waiting)
}

func (s *Scribe[T]) say(err error) {
	s.mu.Lock()
	lost := s.lost
	s.lost = 0
	s.mu.Unlock()
	s.report(lost, err)
}

// failure is what makes two failures the same.
func failure(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}
