// Package outboxtest has alerts for tests of what is delivered: mail servers that fail
// as told, and people who believe what they read.
package outboxtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
)

// ErrDown is what a mail server that is down says.
var ErrDown = errors.New("mail server down")

// A Recorder is an alert that fails as told and remembers what it was given.
type Recorder struct {
	Mu sync.Mutex // protects what follows
	// Fail is called with Mu held, attempts being counted from 1; nil: none fails.
	Fail     func(attempt int, e alerts.Event) error
	Attempts int
	got      []string
}

// Send implements [alerts.Alert].
func (r *Recorder) Send(ctx context.Context, e alerts.Event) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.Attempts++
	if r.Fail != nil {
		if err := r.Fail(r.Attempts, e); err != nil {
			return err
		}
	}
	r.got = append(r.got, e.Kind.String()+" "+e.Summary)
	return ctx.Err()
}

// Want compares what was delivered, "kind summary" each.
func (r *Recorder) Want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.Seen()); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

// Seen returns what was delivered, "kind summary" each.
func (r *Recorder) Seen() []string {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return slices.Clone(r.got)
}

// MailServer returns a recorder that is down or not.
func MailServer() (r *Recorder, set func(down bool)) {
	r = &Recorder{}
	set = func(down bool) {
		r.Mu.Lock()
		defer r.Mu.Unlock()
		r.Fail = func(int, alerts.Event) error {
			if down {
				return ErrDown
			}
			return nil
		}
	}
	return r, set
}

// Events is an alert that remembers the events themselves.
type Events struct {
	Mu  sync.Mutex // protects what follows
	Got []alerts.Event
}

// Send implements [alerts.Alert].
func (r *Events) Send(_ context.Context, e alerts.Event) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.Got = append(r.Got, e)
	return nil
}

// Both is the first one's answer, and what it took also for the second.
type Both struct{ First, Second alerts.Alert }

// Send implements [alerts.Alert].
func (b Both) Send(ctx context.Context, e alerts.Event) error {
	if err := b.First.Send(ctx, e); err != nil {
		return err
	}
	return b.Second.Send(ctx, e)
}

// Blocked is an alert that never comes to an end.
type Blocked struct{}

// Send implements [alerts.Alert].
func (Blocked) Send(ctx context.Context, _ alerts.Event) error {
	<-ctx.Done()
	return ctx.Err()
}
