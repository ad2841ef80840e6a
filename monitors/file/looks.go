package file

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/monitord/monitord/monitors"
)

// looks examines paths without waiting for a file system that does not answer. No
// call to the kernel about a file can be broken off: a look at a lost NFS server
// stays behind when its time is over, and ends when the server returns. As long
// as it lasts no second one is started on the same path.
type looks struct {
	examine func(ctx context.Context, path string) error

	mu      sync.Mutex
	running map[string]*look // protected by mu
}

type look struct {
	done chan struct{}
	err  error // valid when done is closed
}

// at examines a path, or waits for the look at it that is still going on.
func (l *looks) at(ctx context.Context, path string) error {
	for {
		running, own := l.join(ctx, path)
		select {
		case <-running.done:
		case <-ctx.Done():
			return fmt.Errorf("%s: the file system gave no answer within the timeout", path)
		}
		if !own && over(running.err) {
			continue // It ended with the run that began it, which says nothing here.
		}
		return running.err
	}
}

func over(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// join returns the look at a path that is going on, or one of its own.
func (l *looks) join(ctx context.Context, path string) (running *look, own bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if running := l.running[path]; running != nil {
		return running, false
	}
	running = &look{done: make(chan struct{})}
	l.running[path] = running
	go func() {
		running.err = l.guarded(ctx, path)
		l.mu.Lock()
		delete(l.running, path)
		l.mu.Unlock()
		close(running.done)
	}()
	return running, true
}

// guarded makes an error of a panic, which would end the daemon in a goroutine.
func (l *looks) guarded(ctx context.Context, path string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = monitors.Untested(fmt.Errorf("%s: looking at it panicked: %v", path, p))
		}
	}()
	return l.examine(ctx, path)
}
