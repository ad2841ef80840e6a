package state

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

// SaverConfig says what a [Saver] writes, and when.
type SaverConfig struct {
	// Write writes the newest value. It is called by one goroutine.
	Write func() error
	// Report is told of each kind of failure once, and with nil when writing
	// works again. It is called by the goroutine that writes; nil is nobody.
	Report func(error)
	// Interval is the shortest pause between two writes that nobody waits for;
	// default 1s. A write that takes long is followed by a pause of ten times as
	// long, so that a slow disk is not kept busy by this alone.
	Interval time.Duration
	// Refresh is the longest time without a write, though nothing was marked: the
	// moment saved then tells until when the daemon lived. 0 is any time.
	Refresh time.Duration
}

// longestPause bounds the pause after failures.
const longestPause = time.Minute

// A Saver keeps a document on the disk up to date: it writes the newest value
// soon after it was marked as changed, however often that is.
type Saver struct {
	config  SaverConfig
	marks   chan struct{} // holds one token: the value changed
	hurries chan struct{} // holds one token: it should be written soon
	soons   chan chan error
	flushes chan chan error
	stop    chan struct{}
	stopped sync.Once
	done    chan struct{} // closed when the goroutine ended
	last    error         // of the last write; the goroutine's, until done

	// What follows belongs to the goroutine.
	dirty    bool
	hurried  bool
	waiting  []chan error // who is told of the next write
	written  time.Time    // the end of the last attempt
	took     time.Duration
	pause    time.Duration
	failures int
	said     map[any]bool // the kinds of failure that were reported
}

// NewSaver starts a saver; Close ends it.
func NewSaver(c SaverConfig) *Saver {
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	s := &Saver{
		config: c, marks: make(chan struct{}, 1), flushes: make(chan chan error),
		hurries: make(chan struct{}, 1), soons: make(chan chan error),
		stop: make(chan struct{}), done: make(chan struct{}), said: map[any]bool{}, written: time.Now(),
	}
	go s.run()
	return s
}

// Mark says that the value changed. It never waits. The first mark after a quiet
// time is written at once.
func (s *Saver) Mark() {
	select {
	case s.marks <- struct{}{}:
	default:
	}
}

// Hurry is Mark for what should not wait for the interval: it is written as soon as
// the disk had a pause of twice the last write.
func (s *Saver) Hurry() {
	select {
	case s.hurries <- struct{}{}:
	default:
	}
}

// Soon is Hurry and waits for it. While writing fails it returns the last error at
// once: who can go on without the disk should.
func (s *Saver) Soon(ctx context.Context) error { return s.ask(ctx, s.soons) }

// Flush writes the value now and waits for it. Any number of callers are served
// by one write that began after they called.
func (s *Saver) Flush(ctx context.Context) error { return s.ask(ctx, s.flushes) }

func (s *Saver) ask(ctx context.Context, whom chan<- chan error) error {
	reply := make(chan error, 1)
	select {
	case whom <- reply:
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes the value for the last time and ends the saver. If ctx is done
// before the disk answers the goroutine is left behind, until it does.
func (s *Saver) Close(ctx context.Context) error {
	s.stopped.Do(func() { close(s.stop) })
	select {
	case <-s.done:
		return s.last
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Saver) run() {
	defer close(s.done)
	for {
		marks := s.marks
		if s.dirty { // one mark is as good as a thousand: don't wake up for the others
			marks = nil
		}
		select {
		case <-marks:
			s.dirty = true
		case <-s.hurries:
			s.dirty, s.hurried = true, true
		case reply := <-s.soons:
			s.soon(reply)
		case <-s.due():
			_ = s.write() // reported
		case reply := <-s.flushes:
			s.commit(reply)
		case <-s.stop:
			s.commit()
			return
		}
	}
}

// due is when the next write is; nil is never.
func (s *Saver) due() <-chan time.Time {
	switch {
	case s.hurried && s.failures == 0:
		return time.After(time.Until(s.written.Add(hurriedPauses * s.took)))
	case s.dirty:
		return time.After(time.Until(s.written.Add(s.pause)))
	case s.config.Refresh > 0:
		return time.After(time.Until(s.written.Add(max(s.config.Refresh, s.pause))))
	}
	return nil
}

// pauses is how many times as long as a write took the disk is left alone, and
// hurriedPauses when it is urgent.
const (
	pauses        = 10
	hurriedPauses = 2
)

func (s *Saver) soon(reply chan error) {
	if s.failures > 0 {
		s.dirty = true
		reply <- s.last
		return
	}
	s.waiting = append(s.waiting, reply)
	s.dirty, s.hurried = true, true
}

// commit writes once for all who wait.
func (s *Saver) commit(waiting ...chan error) {
	for more := true; more; {
		select {
		case reply := <-s.flushes:
			waiting = append(waiting, reply)
		default:
			more = false
		}
	}
	s.waiting = append(s.waiting, waiting...)
	_ = s.write() // who waits is told
}

func (s *Saver) write() error {
	select { // what was marked until now is in the value
	case <-s.marks:
	default:
	}
	select {
	case <-s.hurries:
	default:
	}
	began := time.Now()
	err := s.config.Write()
	s.written, s.last = time.Now(), err
	s.took = s.written.Sub(began)
	s.dirty, s.hurried = err != nil, false
	s.report(err)
	for _, reply := range s.waiting {
		reply <- err
	}
	s.waiting = nil
	if err != nil {
		s.failures++
		s.pause = min(s.config.Interval<<min(s.failures, 16), max(longestPause, s.config.Interval))
		return err
	}
	s.failures = 0
	s.pause = max(s.config.Interval, pauses*s.took)
	return nil
}

// report keeps a full disk from filling the log as well.
func (s *Saver) report(err error) {
	kind := kindOf(err)
	if s.config.Report == nil || s.said[kind] || err == nil && len(s.said) == 0 {
		return
	}
	if err == nil {
		clear(s.said)
	} else {
		s.said[kind] = true
	}
	s.config.Report(err)
}

// kindOf is what makes two failures the same: the texts name temporary files.
func kindOf(err error) any {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if err == nil {
		return nil
	}
	return err.Error()
}
