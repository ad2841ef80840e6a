// Package timeup ends contexts in tests as a deadline would, but at an event: no
// program, goroutine or kernel has to get somewhere within so many milliseconds,
// which on a busy machine it does not.
package timeup

import (
	"context"
	"sync"
)

// A Context is over when its test says so, and says of itself that its deadline
// had come. It has no more of a deadline than its parent.
type Context struct {
	context.Context //nolint:containedctx // It is one.

	done chan struct{}
	end  func()
}

// New returns a context that [Context.End] ends. A parent that ends does not end it.
func New(parent context.Context) *Context {
	c := &Context{Context: parent, done: make(chan struct{})}
	c.end = sync.OnceFunc(func() { close(c.done) })
	return c
}

// End lets the time be up; it may be called more than once, from anywhere.
func (c *Context) End() { c.end() }

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *Context) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
