package ipvs

import (
	"context"
	"fmt"
	"time"
)

const (
	// patience is how long the kernel may take for one call. A call takes some
	// microseconds; loading a scheduler's module, some milliseconds.
	patience = 5 * time.Second
	// maxStuck is how many calls may hang in the kernel before no further one is
	// tried. Each holds a thread.
	maxStuck = 4
)

// A job is one call on its way to the kernel.
type job struct {
	ctx    context.Context
	run    func(*link)
	refuse func(error) // instead of run, or for one who waits no longer
}

// A worker makes calls on one link, one at a time. If one of them does not come
// back it is abandoned with its link.
type worker struct {
	jobs chan job
	idle chan struct{} // a job is done
	gone chan struct{} // the worker has ended
	link *link
}

func startWorker(open opener) *worker {
	w := &worker{
		jobs: make(chan job),
		idle: make(chan struct{}, 1), // nobody may wait any more
		gone: make(chan struct{}),
		link: &link{open: open},
	}
	go w.work()
	return w
}

// work ends when jobs is closed, or with a link that is of no use.
func (w *worker) work() {
	defer close(w.gone)
	defer w.link.handles.close()
	for j := range w.jobs {
		err := w.ready()
		if err != nil {
			j.refuse(err)
		} else {
			j.run(w.link)
		}
		if err != nil || w.link.broken {
			return
		}
		w.idle <- struct{}{}
	}
}

func (w *worker) ready() error {
	if w.link.conn != nil {
		return nil
	}
	return w.link.connect()
}

// owner is the goroutine that all calls go through.
type owner struct {
	open     opener
	patience time.Duration
	jobs     <-chan job
	closing  <-chan struct{}
	worker   *worker       // nil if the last one has ended
	stuck    int           // workers abandoned
	returned chan struct{} // one of them ended
}

// own serves until closing is closed, and returns how many calls remain stuck.
func (o *owner) own() (stuck int) {
	for {
		select {
		case <-o.closing:
			return o.end()
		case <-o.returned:
			o.stuck--
		case j := <-o.jobs:
			o.serve(j)
		}
	}
}

// serve makes one call, and waits for it no longer than the patience lasts, even
// if the caller does not wait any more: the answer is on its way.
func (o *owner) serve(j job) {
	if j.ctx.Err() != nil {
		return // nobody waits
	}
	if o.worker == nil {
		if o.stuck >= maxStuck {
			j.refuse(fmt.Errorf("%w: %d earlier calls have not come back either", ErrTimeout, o.stuck))
			return
		}
		o.worker = startWorker(o.open)
	}
	o.worker.jobs <- j
	timer := time.NewTimer(o.patience)
	defer timer.Stop()
	select {
	case <-o.worker.idle:
	case <-o.worker.gone:
		o.worker = nil
	case <-timer.C:
		// Before the worker wakes and says that its socket is closed.
		j.refuse(fmt.Errorf("%w: nothing within %v", ErrTimeout, o.patience))
		o.abandon()
	case <-o.closing:
		j.refuse(ErrClosed)
		o.abandon()
	}
}

// abandon cuts the worker's link, which wakes it if it waits for an answer. In
// the kernel it cannot be woken.
func (o *owner) abandon() {
	w := o.worker
	o.worker = nil
	o.stuck++
	close(w.jobs)
	go func() {
		w.link.handles.close()
		<-w.gone
		o.returned <- struct{}{}
	}()
}

// end closes what is open, and waits as long for what is stuck as for any call.
func (o *owner) end() int {
	if o.worker != nil {
		o.abandon()
	}
	timer := time.NewTimer(o.patience)
	defer timer.Stop()
	for o.stuck > 0 {
		select {
		case <-o.returned:
			o.stuck--
		case <-timer.C:
			return o.stuck
		}
	}
	return 0
}

// outcome is what a call comes back with.
type outcome[T any] struct {
	value T
	err   error
}

// call has the owner make one call. After ctx is done it returns at once, and
// the call may yet be made.
func call[T any](ctx context.Context, c *Client, s Subject, f func(*link) (T, error)) (T, error) {
	var none T
	done := make(chan outcome[T], 1) // the first word counts
	say := func(o outcome[T]) {
		select {
		case done <- o:
		default:
		}
	}
	j := job{
		ctx: ctx,
		run: func(l *link) {
			v, err := f(l)
			say(outcome[T]{v, err})
		},
		refuse: func(err error) { say(outcome[T]{err: err}) },
	}
	if err := c.submit(j); err != nil {
		return none, Explain(s, err)
	}
	select {
	case o := <-done:
		if o.err != nil {
			return none, Explain(s, o.err)
		}
		return o.value, nil
	case <-ctx.Done():
		return none, Explain(s, ctx.Err())
	}
}

func (c *Client) submit(j job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	select {
	case <-c.closing:
		return ErrClosed
	default:
	}
	select {
	case c.jobs <- j:
		return nil
	case <-c.closing:
		return ErrClosed
	case <-j.ctx.Done():
		return fmt.Errorf("%w, and an earlier call is still under way", j.ctx.Err())
	}
}
