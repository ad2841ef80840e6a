package engine

import (
	"context"
	"time"
)

// runTrapClock lets time pass for traps, and for what operators said for a time.
func (e *Engine) runTrapClock(ctx context.Context) {
	for {
		var due <-chan time.Time
		if wait, ok := e.trapsDue(); ok {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.tick:
		case <-due:
			e.tickTraps()
		}
	}
}

// trapsDue is how long time has nothing to do for traps; ok is false if for ever.
func (e *Engine) trapsDue() (wait time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if exclude := excluded(e.site.ExcludePeriod); exclude != nil && exclude(now) { // nothing runs, no clock either (mon)
		return time.Second, true
	}
	at, ok := e.set.NextTick()
	// A timer may not be armed for the very instant: what is due "more than T" after
	// something is due a moment later.
	return max(at.Sub(now), 0) + 10*time.Millisecond, ok
}

func (e *Engine) tickTraps() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if exclude := excluded(e.site.ExcludePeriod); exclude == nil || !exclude(now) {
		e.dispatch(e.set.Tick(now))
	}
}

func (e *Engine) pokeTrapClock() {
	select {
	case e.tick <- struct{}{}:
	default:
	}
}
