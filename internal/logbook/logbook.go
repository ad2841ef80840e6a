// Package logbook takes the lines of the daemon's log to where they belong: standard
// error, a file, or syslog.
//
// Whoever logs never waits. Lines stand in a bounded queue, and a goroutine takes them
// to the target; while nobody reads a pipe, or a disk does not answer, the queue fills
// up and further lines are dropped and counted. When the target takes lines again it is
// told how many are missing. A target that refuses a line, as a full disk does, costs
// nothing: the line goes to standard error.
package logbook

import (
	"context"
	"io"
	"sync"
)

// queueLimit bounds what waits, in bytes: an hour of an ordinary log, or some seconds of
// a daemon in great trouble.
const queueLimit = 1 << 20

// A Target takes lines, each ending in "\n". Close is called once, after the last.
type Target interface {
	Write(line []byte) (int, error)
	Close() error
}

// Events are what a Book tells of itself. The functions may write into the Book.
type Events struct {
	// Lost is called when lines are taken again after n were dropped.
	Lost func(n int)
	// Refused is called when the target refuses a line that the one before it took,
	// and Taken when it takes one again.
	Refused func(err error)
	Taken   func()
}

// A Book is the queue and the goroutine behind it. Its Write is for any number of
// goroutines.
type Book struct {
	spare  io.Writer // standard error
	events Events

	mu      sync.Mutex // protects what follows
	waiting [][]byte
	size    int // bytes in waiting
	lost    int
	current *worker
	closed  bool
}

// A worker serves one target until another takes its place.
type worker struct {
	target Target
	wake   chan struct{} // holds one token: something waits, or the worker is replaced
	ended  chan struct{}
}

// New returns a Book that writes to standard error until Use names another target.
func New(standardError io.Writer, events Events) *Book {
	b := &Book{spare: standardError, events: events}
	b.Use(StandardError(standardError))
	return b
}

// StandardError is the target of that name.
func StandardError(to io.Writer) Target { return standardError{to} }

type standardError struct{ io.Writer }

func (standardError) Close() error { return nil }

// Use has later lines, and those that wait, go to another target. The old one is
// closed when it has taken what it is just given; it is not waited for, because it may
// be stuck.
func (b *Book) Use(t Target) {
	w := &worker{target: t, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.current.poke()
	}
	b.current = w
	w.poke()
	go b.work(w)
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Write takes a line. It never blocks and never fails.
func (b *Book) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.size+len(line) > queueLimit {
		b.lost++
		return len(line), nil
	}
	b.waiting = append(b.waiting, append([]byte(nil), line...))
	b.size += len(line)
	b.current.poke()
	return len(line), nil
}

// next is the line that w is to take, nil if none waits; done is true if w is not, or
// no longer, the one to do it.
func (b *Book) next(w *worker) (line []byte, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != w {
		return nil, true
	}
	if len(b.waiting) == 0 {
		return nil, b.closed
	}
	line = b.waiting[0]
	b.waiting = b.waiting[1:]
	b.size -= len(line)
	return line, false
}

// work takes lines to one target.
func (b *Book) work(w *worker) {
	defer close(w.ended)
	defer func() { _ = w.target.Close() }() // nobody is left to be told
	refused := false
	for range w.wake {
		for {
			line, done := b.next(w)
			if done {
				return
			}
			if line == nil {
				break
			}
			refused = b.deliver(w, line, refused)
		}
	}
}

// deliver writes a line, and tells what changed with it.
func (b *Book) deliver(w *worker, line []byte, refused bool) bool {
	_, err := w.target.Write(line)
	if err != nil {
		_, _ = b.spare.Write(line) // there is no place beyond that
	}
	if (err != nil) == refused {
		b.tellLost(err)
		return refused
	}
	switch {
	case err != nil && b.events.Refused != nil:
		b.events.Refused(err)
	case err == nil && b.events.Taken != nil:
		b.events.Taken()
	}
	b.tellLost(err)
	return err != nil
}

// tellLost tells of lines that were dropped, once those before them are written: then
// there is room for the telling.
func (b *Book) tellLost(err error) {
	b.mu.Lock()
	n := b.lost
	if err != nil || b.closed || len(b.waiting) > 0 {
		n = 0
	}
	if n > 0 {
		b.lost = 0
	}
	b.mu.Unlock()
	if n > 0 && b.events.Lost != nil {
		b.events.Lost(n)
	}
}

// Close takes no more lines, and waits until those that wait are written or ctx is
// done. It returns the error of ctx if some were not.
func (b *Book) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	w := b.current
	w.poke()
	b.mu.Unlock()
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
