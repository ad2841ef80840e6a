package schedule

import "slices"

// A lane bounds the runs of one sort. Who finds it full waits in line; each place
// that becomes free goes to the line at once, so nobody overtakes it.
type lane struct {
	limit   int // 0: none
	running int
	line    []*entry
}

func (l *lane) free() bool { return l.limit == 0 || l.running < l.limit }

// first takes the one who waits longest, if there is a place for it.
func (l *lane) first() *entry {
	if len(l.line) == 0 || !l.free() {
		return nil
	}
	e := l.line[0]
	l.line[0] = nil
	l.line = l.line[1:]
	return e
}

// leave takes a waiting entry out of the line.
func (l *lane) leave(e *entry) {
	if i := slices.Index(l.line, e); i >= 0 {
		l.line = slices.Delete(l.line, i, i+1)
		e.state = idle
	}
}

// forget empties the line.
func (l *lane) forget() {
	for _, e := range l.line {
		e.state = idle
	}
	l.line = nil
}

func (l *lane) bounded() Bounded {
	return Bounded{Limit: l.limit, Running: l.running, Waiting: len(l.line)}
}
