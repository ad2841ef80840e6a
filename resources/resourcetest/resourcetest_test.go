package resourcetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/resources"
)

// A place is where fakes run: what a kernel is to an address.
type place struct {
	mu sync.Mutex // protects there
	// there says whether the resource is running.
	there bool
}

func (p *place) set(there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.there = there
}

func (p *place) found() resources.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.there {
		return resources.Running
	}
	return resources.Stopped
}

// fake is a resource made of functions.
type fake struct {
	start, stop func(context.Context) error
	status      func(context.Context) (resources.Status, error)
}

func (f *fake) Start(ctx context.Context) error                      { return f.start(ctx) }
func (f *fake) Stop(ctx context.Context) error                       { return f.stop(ctx) }
func (f *fake) Status(ctx context.Context) (resources.Status, error) { return f.status(ctx) }

// leased is a fake with a lease.
type leased struct {
	fake
	renew func(context.Context) error
}

func (l *leased) Renew(ctx context.Context) error { return l.renew(ctx) }

func correct(p *place) *leased {
	return &leased{
		fake: fake{
			start: func(ctx context.Context) error {
				if ctx.Err() == nil {
					p.set(true)
				}
				return ctx.Err()
			},
			stop:   func(context.Context) error { p.set(false); return nil },
			status: func(ctx context.Context) (resources.Status, error) { return p.found(), ctx.Err() },
		},
		renew: func(ctx context.Context) error {
			if p.found() != resources.Running {
				return errors.New("the lease has run out")
			}
			return ctx.Err()
		},
	}
}

// in makes the constructor of a subject: correct resources, spoilt.
func in(spoil func(*place, *leased)) func(testing.TB) func() resources.Resource {
	return func(testing.TB) func() resources.Resource {
		p := &place{}
		return func() resources.Resource {
			r := correct(p)
			spoil(p, r)
			return r
		}
	}
}

func subject() Subject {
	return Subject{
		New: in(func(*place, *leased) {}),
		Broken: in(func(_ *place, r *leased) {
			r.start = func(context.Context) error { return errors.New("no such device") }
		}),
		Blocked: in(func(_ *place, r *leased) {
			r.start = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}),
	}
}

func TestCorrectResourcePasses(t *testing.T) { Run(t, subject()) }

// TestInProcess passes a resource without a lease that ends with its process.
func TestInProcess(t *testing.T) {
	bare := func(prepare func(testing.TB) func() resources.Resource) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			build := prepare(t)
			return func() resources.Resource { return &build().(*leased).fake }
		}
	}
	s := subject()
	Run(t, Subject{InProcess: true, New: bare(s.New), Broken: bare(s.Broken), Blocked: bare(s.Blocked)})
}

// TestWhatDoesNotApply: a check is left out with the reason that the subject gives, and
// without one for what it lacks; what is there is checked all the same.
func TestWhatDoesNotApply(t *testing.T) {
	reasons := func(s Subject) (lacking []string) {
		for _, c := range checks() {
			if why := c.lacks(s, s.prepare(t)); why != "" {
				lacking = append(lacking, why)
			}
		}
		return lacking
	}
	full := subject()
	for _, tt := range []struct {
		name string
		s    Subject
		want []string
	}{
		{"all", full, nil},
		{"all, and reasons", Subject{New: full.New, Broken: full.Broken, Blocked: full.Blocked, NeverFails: "x", NeverWaits: "y"}, nil},
		{"bare", Subject{New: full.New}, []string{"the subject has no broken resource", "the subject has no blocked resource"}},
		{"reasons", Subject{New: full.New, NeverFails: "x", NeverWaits: "y"}, []string{"does not apply: x", "does not apply: y"}},
	} {
		if got := reasons(tt.s); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A wrong resource breaks one rule; breaks is the check that has to notice.
type wrong struct {
	breaks string
	how    string
	spoil  func(*Subject)
}

func anew(breaks, how string, spoil func(*place, *leased)) wrong {
	return wrong{breaks, how, func(s *Subject) { s.New = in(spoil) }}
}

// answers makes Status say the same whatever is there.
func answers(s resources.Status) func(*place, *leased) {
	return func(_ *place, r *leased) {
		r.status = func(context.Context) (resources.Status, error) { return s, nil }
	}
}

func startOnce(p *place, r *leased) {
	good := r.start
	r.start = func(ctx context.Context) error {
		if p.found() == resources.Running {
			return errors.New("exists already")
		}
		return good(ctx)
	}
}

func stopOnce(p *place, r *leased) {
	good := r.stop
	r.stop = func(ctx context.Context) error {
		if p.found() != resources.Running {
			return errors.New("does not exist")
		}
		return good(ctx)
	}
}

// remembering keeps its own record and never looks at the place.
func remembering(p *place, r *leased) {
	mine := &place{}
	r.start = func(context.Context) error { mine.set(true); p.set(true); return nil }
	r.stop = func(context.Context) error {
		if mine.found() == resources.Running {
			p.set(false)
		}
		mine.set(false)
		return nil
	}
	r.status = func(context.Context) (resources.Status, error) { return mine.found(), nil }
}

// stopMine leaves alone what another one started.
func stopMine(_ *place, r *leased) {
	start, stop, mine := r.start, r.stop, false
	r.start = func(ctx context.Context) error { mine = true; return start(ctx) }
	r.stop = func(ctx context.Context) error {
		if !mine {
			return nil
		}
		return stop(ctx)
	}
}

func slow(context.Context) error { time.Sleep(time.Minute); return errors.New("gave up") }

func wrongs() []wrong {
	everywhere := &place{}
	return []wrong{
		anew("stopped at first", "is always running", answers(resources.Running)),
		anew("stopped at first", "has an undefined status", answers(resources.Status(9))),
		anew("stopped at first", "cannot say", func(_ *place, r *leased) {
			r.status = func(context.Context) (resources.Status, error) { return resources.Stopped, errors.New("no idea") }
		}),
		anew("start and stop", "is always stopped", answers(resources.Stopped)),
		anew("start and stop", "does not stop", func(_ *place, r *leased) {
			r.stop = func(context.Context) error { return nil }
		}),
		anew("start and stop", "panics", func(_ *place, r *leased) {
			r.start = func(context.Context) error { panic("oops") }
		}),
		anew("start twice", "exists already", startOnce),
		anew("start twice", "counts its Starts", func(p *place, r *leased) {
			users := 0
			r.start = func(context.Context) error { users++; p.set(true); return nil }
			r.stop = func(context.Context) error { users--; p.set(users > 0); return nil }
		}),
		anew("stop what is stopped", "does not exist", stopOnce),
		anew("start, stop and start again", "works once", func(_ *place, r *leased) {
			good, used := r.start, false
			r.start = func(ctx context.Context) error {
				if used {
					return errors.New("file already closed")
				}
				used = true
				return good(ctx)
			}
		}),
		anew("status changes nothing", "starts it", func(p *place, r *leased) {
			good := r.status
			r.status = func(ctx context.Context) (resources.Status, error) {
				defer p.set(true)
				return good(ctx)
			}
		}),
		anew("status changes nothing", "stops it", func(p *place, r *leased) {
			good := r.status
			r.status = func(ctx context.Context) (resources.Status, error) {
				defer p.set(false)
				return good(ctx)
			}
		}),
		anew("status finds out", "remembers", remembering),
		anew("a restarted daemon can stop it", "stops what it started itself", stopMine),
		anew("a restarted daemon can start it", "exists already", startOnce),
		{"two resources at once", "shares its state with all others", func(s *Subject) {
			s.New = func(testing.TB) func() resources.Resource {
				return func() resources.Resource { return correct(everywhere) }
			}
		}},
		{"a failed start leaves nothing behind", "leaves it running", func(s *Subject) {
			s.Broken = in(func(p *place, r *leased) {
				r.start = func(context.Context) error { p.set(true); return errors.New("no announcement could be sent") }
			})
		}},
		{"a failed start leaves nothing behind", "returns no error", func(s *Subject) { s.Broken = s.New }},
		{"a failed start leaves nothing behind", "cannot be stopped", func(s *Subject) {
			s.Broken = in(func(p *place, r *leased) {
				stopOnce(p, r)
				r.start = func(context.Context) error { return errors.New("no such device") }
			})
		}},
		anew("start with a cancelled context", "leaves it running", func(p *place, r *leased) {
			r.start = func(ctx context.Context) error { p.set(true); return ctx.Err() }
		}),
		anew("start with a cancelled context", "does not look at ctx", func(_ *place, r *leased) { r.start = slow }),
		anew("stop with a cancelled context", "says that it was stopped", func(_ *place, r *leased) {
			good := r.stop
			r.stop = func(ctx context.Context) error {
				if ctx.Err() != nil {
					return nil
				}
				return good(ctx)
			}
		}),
		anew("stop with a cancelled context", "does not look at ctx", func(_ *place, r *leased) { r.stop = slow }),
		anew("status with a cancelled context", "calls it stopped", func(_ *place, r *leased) {
			good := r.status
			r.status = func(ctx context.Context) (resources.Status, error) {
				if ctx.Err() != nil {
					return resources.Stopped, nil
				}
				return good(ctx)
			}
		}),
		anew("status with a cancelled context", "does not look at ctx", func(_ *place, r *leased) {
			r.status = func(ctx context.Context) (resources.Status, error) { return 0, slow(ctx) }
		}),
		{"start is cancelled while it waits", "does not look at ctx", func(s *Subject) {
			s.Blocked = in(func(_ *place, r *leased) { r.start = slow })
		}},
		{"start is cancelled while it waits", "does not look at ctx, for a second", func(s *Subject) {
			s.Blocked = in(func(_ *place, r *leased) {
				r.start = func(context.Context) error { time.Sleep(time.Second); return errors.New("gave up") }
			})
		}},
		{"start is cancelled while it waits", "returns no error", func(s *Subject) {
			s.Blocked = in(func(_ *place, r *leased) {
				r.start = func(ctx context.Context) error { <-ctx.Done(); return nil }
			})
		}},
		anew("renew while running", "cannot", func(_ *place, r *leased) { r.renew = slow }),
		anew("renew while running", "stops it", func(p *place, r *leased) {
			r.renew = func(context.Context) error { p.set(false); return nil }
		}),
		anew("renew does not start", "starts it", func(p *place, r *leased) {
			r.renew = func(context.Context) error { p.set(true); return nil }
		}),
		anew("renew does not start", "starts it and returns an error", func(p *place, r *leased) {
			r.renew = func(context.Context) error { p.set(true); return errors.New("was gone") }
		}),
		anew("renew does not start", "keeps quiet", func(_ *place, r *leased) {
			r.renew = func(context.Context) error { return nil }
		}),
		anew("renew with a cancelled context", "does not look at ctx", func(_ *place, r *leased) { r.renew = slow }),
		anew("no goroutine is left", "leaves one behind", func(_ *place, r *leased) {
			good := r.start
			r.start = func(ctx context.Context) error {
				go time.Sleep(time.Hour)
				return good(ctx)
			}
		}),
	}
}

// TestWrongResourcesFail proves that each check can fail. It runs in a bubble,
// so that waiting for the slow ones costs nothing.
func TestWrongResourcesFail(t *testing.T) {
	tried := map[string]bool{}
	for _, w := range wrongs() {
		tried[w.breaks] = true
		t.Run(w.breaks+"/"+w.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(2 * time.Hour) // Lets the fakes' goroutines end.
				s := subject()
				w.spoil(&s)
				err := find(t, w.breaks).verify(t.Context(), s.prepare(t))
				if err == nil {
					t.Fatalf("check %q passes a resource that %s", w.breaks, w.how)
				}
				t.Log(err)
			})
		})
	}
	for _, c := range checks() {
		if !tried[c.name] {
			t.Errorf("no wrong resource is there for check %q: it is not proven that it can fail", c.name)
		}
	}
}

func find(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks(), func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return checks()[i]
}
