package takeover

import (
	"slices"
	"sync"

	"github.com/monitord/monitord/internal/director"
)

// mostNews is how many events of the network may wait: half a second's worth in a busy
// cluster. When the loop is that late they say little about now; and it handles them
// within two ticks or so, which is what a flood of them costs.
const mostNews = 256

// A queue holds events for the loop. What the network says may be dropped, oldest
// first; what the own machine says never is.
type queue struct {
	wake chan struct{} // holds one token while something waits

	mu      sync.Mutex // protects what follows
	waiting []queued
	news    int // how many of them came by the network
	dropped uint64
}

type queued struct {
	what director.What
	// own is called by the loop in place of a step, if there is no what.
	own  func()
	news bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// say hands over what the own machine says.
func (q *queue) say(what director.What) { q.put(queued{what: what}) }

// call has the loop call something between two steps.
func (q *queue) call(own func()) { q.put(queued{own: own}) }

// hear hands over what the network says.
func (q *queue) hear(what director.What) { q.put(queued{what: what, news: true}) }

func (q *queue) put(e queued) {
	q.mu.Lock()
	if e.news {
		q.news++
		if q.news > mostNews {
			q.forget(slices.IndexFunc(q.waiting, func(e queued) bool { return e.news }))
		}
	}
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) forget(i int) {
	if i == 0 { // as nearly always
		q.waiting[0] = queued{}
		q.waiting = q.waiting[1:]
	} else {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.news--
	q.dropped++
}

// length is how many wait now.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// take returns the oldest.
func (q *queue) take() (queued, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return queued{}, false
	}
	e := q.waiting[0]
	q.waiting[0] = queued{}
	q.waiting = q.waiting[1:]
	if e.news {
		q.news--
	}
	return e, true
}

// flush drops what the network said.
func (q *queue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(e queued) bool { return e.news })
	q.news = 0
}

// droppedNews counts what the loop was too late for.
func (q *queue) droppedNews() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
