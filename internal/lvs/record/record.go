// Package record is the backend that forwards nothing: it says what it would
// change, and remembers the tables it was given.
package record

import (
	"context"
	"slices"
	"sync"

	"github.com/monitord/monitord/internal/lvs"
)

// Remembered is how many tables a recorder keeps, the newest ones.
const Remembered = 1000

// A Recorder is a [lvs.Backend]. Its methods may be called by several goroutines
// at once.
type Recorder struct {
	tell func(change string)

	mu     sync.Mutex // protects all below
	tables []lvs.Table
	closed bool
}

// New returns a recorder. Each change is told as a line of ipvsadm -R; tell may
// be nil.
func New(tell func(change string)) *Recorder {
	if tell == nil {
		tell = func(string) {}
	}
	return &Recorder{tell: tell}
}

// Set notes the table.
func (r *Recorder) Set(ctx context.Context, wanted lvs.Table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	changes, err := r.note(wanted.Clone())
	for _, c := range changes {
		r.tell(c.String())
	}
	return err
}

func (r *Recorder) note(wanted lvs.Table) (changes []lvs.Change, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, lvs.ErrClosed
	}
	var last lvs.Table
	if n := len(r.tables); n > 0 {
		last = r.tables[n-1]
	}
	wanted = wanted.Over(last)
	if len(r.tables) == Remembered {
		r.tables = slices.Delete(r.tables, 0, 1)
	}
	r.tables = append(r.tables, wanted)
	return lvs.Changes(last, wanted), nil
}

// Tables returns the tables given to Set, the oldest first; services that were to be
// left are as they were before.
func (r *Recorder) Tables() []lvs.Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.tables)
	for i := range all {
		all[i] = all[i].Clone()
	}
	return all
}

// Table returns the newest table.
func (r *Recorder) Table() lvs.Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tables) == 0 {
		return nil
	}
	return r.tables[len(r.tables)-1].Clone()
}

// Close ends the record.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}
