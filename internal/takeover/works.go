package takeover

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/resources"
)

// Works are where a group's resources are started, stopped and looked at, one after
// the other. A stop ends the start before it.
type works struct {
	group string
	parts [2][]Resource
	every time.Duration
	say   func(director.What)
	// ill is told what is wrong with the resources that should run; "": nothing.
	ill func(detail string)
	// mended is told what was found stopped, and started again.
	mended func(detail string)
	wake   chan struct{}
	soon   chan struct{} // holds one token while a look is wanted

	mu      sync.Mutex // protects what follows
	waiting []workJob
	current context.CancelFunc // ends the start, or the look, that runs
	looking bool               // it is a look
	ending  bool

	running [2]bool // of the goroutine alone: started and not stopped
	repairs int     // that failed in a row
}

type workJob struct {
	part director.Part
	stop bool
}

// mostRepairs is how many attempts to start a resource again may fail before another
// director is the better place.
const mostRepairs = 3

func (w *works) start(part director.Part) { w.put(workJob{part: part}) }

// stop ends the start that runs; those that wait come to nothing, in their turn.
func (w *works) stop(part director.Part) { w.put(workJob{part: part, stop: true}) }

// put lets a job wait, and ends what must not hold it up.
func (w *works) put(j workJob) {
	w.mu.Lock()
	w.waiting = append(w.waiting, j)
	if w.current != nil && (j.stop || w.looking) {
		w.current()
	}
	w.mu.Unlock()
	w.poke()
}

func (w *works) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// end lets run return when nothing waits any more; a start that runs is ended.
func (w *works) end() {
	w.mu.Lock()
	w.ending = true
	if w.current != nil {
		w.current()
	}
	w.mu.Unlock()
	w.poke()
}

// run works until end.
func (w *works) run(ctx context.Context) {
	look := time.NewTicker(w.every)
	defer look.Stop()
	for {
		job, starting, ok, ending := w.next(ctx)
		switch {
		case ok && job.stop:
			w.stopPart(ctx, job.part)
		case ok:
			w.startPart(starting, job.part)
		case ending:
			return
		default:
			select {
			case <-w.wake:
			case <-look.C:
				w.look(ctx)
			case <-w.soon:
				w.look(ctx)
			}
		}
	}
}

// next takes the oldest job. A start gets a context that a stop after it ends, also
// one that waits already.
func (w *works) next(ctx context.Context) (job workJob, starting context.Context, ok, ending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current, w.looking = nil, false
	if len(w.waiting) == 0 {
		return workJob{}, nil, false, w.ending
	}
	job = w.waiting[0]
	w.waiting = w.waiting[1:]
	if job.stop {
		return job, nil, true, w.ending
	}
	starting, w.current = context.WithCancel(ctx)
	if w.ending || slices.ContainsFunc(w.waiting, func(j workJob) bool { return j.stop }) {
		w.current()
	}
	return job, starting, true, w.ending
}

func (w *works) startPart(ctx context.Context, part director.Part) {
	defer w.cancel()
	began := []Resource{}
	for _, r := range w.parts[part] {
		err := ctx.Err()
		if err == nil {
			err = limited(ctx, r.Start, r.Resource.Start)
		}
		if err != nil {
			err = fmt.Errorf("start %s: %w", r.Name, err)
			w.say(director.Started{Group: w.group, Part: part, Detail: text(w.undo(ctx, err, began))})
			return
		}
		began = append(began, r)
	}
	w.running[part] = true
	w.say(director.Started{Group: w.group, Part: part, OK: true})
}

// undo stops what was started before something failed: but not when it failed because
// this process ends, and leaves what runs to the next.
func (w *works) undo(ctx context.Context, failed error, began []Resource) error {
	w.mu.Lock()
	leave := w.ending && ctx.Err() != nil
	w.mu.Unlock()
	if leave {
		return failed
	}
	if err := stopAll(context.WithoutCancel(ctx), began); err != nil {
		return fmt.Errorf("%w; and then: %w", failed, err)
	}
	return failed
}

func (w *works) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil {
		w.current()
	}
}

func (w *works) stopPart(ctx context.Context, part director.Part) {
	w.running[part] = false
	err := stopAll(ctx, w.parts[part])
	if err == nil && w.repairs > 0 {
		w.repairs = 0
		w.ill("")
	}
	w.say(director.Stopped{Group: w.group, Part: part, OK: err == nil, Detail: text(err)})
}

// stopAll stops in reverse order, and no further than what does not stop: what was
// started before it is what it stands on.
func stopAll(ctx context.Context, list []Resource) error {
	for _, r := range slices.Backward(list) {
		if err := limited(ctx, r.Stop, r.Resource.Stop); err != nil {
			return fmt.Errorf("stop %s: %w", r.Name, err)
		}
	}
	return nil
}

func limited(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

// look looks at what runs, until something is to be done.
func (w *works) look(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	if len(w.waiting) > 0 || w.ending {
		w.mu.Unlock()
		return
	}
	w.current, w.looking = cancel, true
	w.mu.Unlock()
	w.tend(ctx)
}

// tend starts again what should run and does not. What it left off when ctx ended
// says nothing.
func (w *works) tend(ctx context.Context) {
	for part, list := range w.parts {
		if !w.running[part] {
			continue
		}
		for _, r := range list {
			err := w.mend(ctx, r)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				w.repairs++
				if w.repairs >= mostRepairs {
					w.ill(err.Error())
				}
				return // what stands on it waits
			}
		}
	}
	if w.repairs > 0 {
		w.repairs = 0
		w.ill("")
	}
}

// mend looks at one resource. That it could not be found out is not that it is down.
func (w *works) mend(ctx context.Context, r Resource) error {
	limit, cancel := context.WithTimeout(ctx, r.Start)
	defer cancel()
	status, err := r.Resource.Status(limit)
	if err != nil || status == resources.Running {
		return nil
	}
	if err := limited(ctx, r.Start, r.Resource.Start); err != nil {
		return fmt.Errorf("%s was found %s, and does not start again: %w", r.Name, status, err)
	}
	w.mended(fmt.Sprintf("%s was found %s, and started again", r.Name, status))
	return nil
}
