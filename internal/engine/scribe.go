package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// scribeRoom is how many lines wait for a disk at most.
	scribeRoom = 10_000
	// scribeBatch is how many are written at once.
	scribeBatch = 500
	// scribePause is the longest pause after a failure.
	scribePause = time.Minute
)

// A scribe writes down what it is given, in order, without anybody waiting for its
// disk. While the disk fails it tries again, and the oldest beyond scribeRoom are
// lost, which is said.
type scribe[T any] struct {
	what  string // for the log: "the history of alerts"
	write func([]T) error
	log   logrus.FieldLogger
	wake  chan struct{}

	mu      sync.Mutex // protects what follows
	waiting []T
	writing []T // a batch that is neither written nor waits
	lost    int
}

func newScribe[T any](what string, log logrus.FieldLogger, write func([]T) error) *scribe[T] {
	return &scribe[T]{what: what, write: write, log: log, wake: make(chan struct{}, 1)}
}

// put does not wait.
func (s *scribe[T]) put(lines ...T) {
	s.mu.Lock()
	s.waiting = append(s.waiting, lines...)
	if extra := len(s.waiting) - scribeRoom; extra > 0 {
		s.waiting = s.waiting[extra:]
		s.lost += extra
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes until stop is closed, and then what is left, once.
func (s *scribe[T]) run(stop <-chan struct{}) {
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
		pause = min(max(2*pause, time.Second), scribePause)
		s.put() // tries again
	}
}

func (s *scribe[T]) writeAll() error {
	for {
		s.mu.Lock()
		batch := s.waiting[:min(len(s.waiting), scribeBatch):min(len(s.waiting), scribeBatch)]
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

// unwritten are the lines that may not be written yet.
func (s *scribe[T]) unwritten() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.writing, s.waiting)
}

func (s *scribe[T]) say(err error) {
	s.mu.Lock()
	lost := s.lost
	s.lost = 0
	s.mu.Unlock()
	log := s.log.WithFields(logrus.Fields{"lost": lost})
	if err != nil {
		log.WithError(err).Error(s.what + " cannot be written; it will be tried again")
		return
	}
	log.Info(s.what + " is written again")
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
