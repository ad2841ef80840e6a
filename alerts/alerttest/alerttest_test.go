package alerttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
)

type sendFunc func(ctx context.Context, e alerts.Event) error

func (f sendFunc) Send(ctx context.Context, e alerts.Event) error { return f(ctx, e) }

// The correct fakes: a destination that accepts, one that refuses, one that hangs.
func accept(ctx context.Context, _ alerts.Event) error {
	time.Sleep(time.Millisecond)
	return ctx.Err()
}

func refuse(context.Context, alerts.Event) error { return errors.New("connection refused") }

func hang(ctx context.Context, _ alerts.Event) error {
	<-ctx.Done()
	return ctx.Err()
}

func builder(f sendFunc) func(testing.TB) alerts.Alert {
	return func(testing.TB) alerts.Alert { return f }
}

func subject() Subject {
	return Subject{New: builder(accept), Broken: builder(refuse), Blocked: builder(hang)}
}

func TestCorrectAlertPasses(t *testing.T) { Run(t, subject()) }

// TestAdapt passes an alert that knows one group only.
func TestAdapt(t *testing.T) {
	s := subject()
	s.New = builder(func(ctx context.Context, e alerts.Event) error {
		if e.Group != "mine" && e.Group != "" {
			return fmt.Errorf("unknown group %q", e.Group)
		}
		return ctx.Err()
	})
	s.Adapt = func(e alerts.Event) alerts.Event {
		e.Group = "mine"
		return e
	}
	Run(t, s)
}

func TestKindsAreAll(t *testing.T) {
	if got := kinds(); len(got) == 0 || got[len(got)-1] != alerts.Digest {
		t.Errorf("kinds() = %v, want all up to %s", got, alerts.Digest)
	}
}

// A fake breaks one rule; breaks is the check that has to notice.
type fake struct {
	breaks string
	how    string
	spoil  func(*Subject)
}

// sends is a fake whose ordinary alert behaves like this.
func sends(breaks, how string, f sendFunc) fake {
	return fake{breaks, how, func(s *Subject) { s.New = builder(f) }}
}

// refuses is a fake that returns an error for some events, a good one's else.
func refuses(breaks, how string, which func(alerts.Event) bool) fake {
	return sends(breaks, how, func(ctx context.Context, e alerts.Event) error {
		if which(e) {
			return errors.New("cannot handle it")
		}
		return accept(ctx, e)
	})
}

func blocks(breaks, how string, f sendFunc) fake {
	return fake{breaks, how, func(s *Subject) { s.Blocked = builder(f) }}
}

// deaf goes on until its own timeout, whatever ctx says.
func deaf(timeout time.Duration) sendFunc {
	return func(context.Context, alerts.Event) error {
		time.Sleep(timeout)
		return fmt.Errorf("no answer within %s", timeout)
	}
}

func leaky(f sendFunc) sendFunc {
	return func(ctx context.Context, e alerts.Event) error {
		go time.Sleep(time.Hour)
		return f(ctx, e)
	}
}

func quietly(ctx context.Context, _ alerts.Event) error {
	<-ctx.Done()
	return nil
}

func wrong() []fake {
	return []fake{
		refuses("every kind of event", "does not know State", func(e alerts.Event) bool { return e.Kind == alerts.State }),
		sends("every kind of event", "panics", func(context.Context, alerts.Event) error { panic("oops") }),
		refuses("a test of every kind", "cannot be tested for traps", func(e alerts.Event) bool {
			return e.Kind == alerts.Test && e.Testing == alerts.Trap
		}),
		{"the same event twice", "refuses what it has seen", once(func(e alerts.Event) string { return e.Kind.String() })},
		{"failure, recovery, failure", "refuses an outage that it has seen", once(func(e alerts.Event) string { return e.Kind.String() + e.Outage })},
		sends("the zero event", "indexes the hosts", func(ctx context.Context, e alerts.Event) error {
			_ = e.Hosts[0]
			return accept(ctx, e)
		}),
		refuses("an event without hosts", "wants hosts", func(e alerts.Event) bool { return len(e.Hosts) == 0 }),
		sends("an event without hosts", "reads the exit status", func(ctx context.Context, e alerts.Event) error {
			_ = *e.Exit
			return accept(ctx, e)
		}),
		refuses("1,000 hosts", "has room for 100", func(e alerts.Event) bool { return len(e.Hosts) > 100 }),
		refuses("an output of a megabyte", "passes it in an argument", func(e alerts.Event) bool { return len(e.Summary) >= 128<<10 }),
		refuses("hostile text", "passes NUL bytes on", func(e alerts.Event) bool { return strings.Contains(e.Summary, "\x00") }),
		sends("the event is not modified", "sorts the hosts", func(ctx context.Context, e alerts.Event) error {
			slices.SortFunc(e.Hosts, func(a, b alerts.Host) int { return int(b.State) - int(a.State) })
			return accept(ctx, e)
		}),
		sends("the event is not modified", "appends to the environment", func(ctx context.Context, e alerts.Event) error {
			_ = append(e.Env, "MON_X=1")
			return accept(ctx, e)
		}),
		sends("the event is not modified", "writes through Exit", func(ctx context.Context, e alerts.Event) error {
			if e.Exit != nil {
				*e.Exit = 7
			}
			return accept(ctx, e)
		}),
		sends("several watches at once", "shares one connection", shared()),
		{"a failed delivery is an error", "swallows it", func(s *Subject) { s.Broken = builder(accept) }},
		{"a failed delivery is an error", "panics", func(s *Subject) {
			s.Broken = builder(func(context.Context, alerts.Event) error { panic("oops") })
		}},
		sends("cancelled beforehand", "says that it was delivered", func(context.Context, alerts.Event) error { return nil }),
		sends("cancelled beforehand", "does not look at ctx", deaf(time.Minute)),
		blocks("cancelled beforehand", "does not look at ctx, for a second", deaf(time.Second)),
		blocks("cancelled while waiting", "does not look at ctx", deaf(time.Minute)),
		blocks("cancelled while waiting", "does not look at ctx, for a second", deaf(time.Second)),
		blocks("cancelled while waiting", "returns no error", quietly),
		blocks("the deadline", "does not look at ctx", deaf(time.Minute)),
		blocks("the deadline", "does not look at ctx, for a second", deaf(time.Second)),
		blocks("the deadline", "returns no error", quietly),
		sends("no goroutine is left", "leaves one behind", leaky(accept)),
		blocks("no goroutine is left after a cancelled delivery", "leaves one behind", leaky(hang)),
	}
}

// once makes the subject's alerts refuse an event that looks like an earlier one
// of theirs.
func once(look func(alerts.Event) string) func(*Subject) {
	return func(s *Subject) {
		s.New = func(testing.TB) alerts.Alert {
			seen := map[string]bool{}
			return sendFunc(func(ctx context.Context, e alerts.Event) error {
				if seen[look(e)] {
					return errors.New("exists already")
				}
				seen[look(e)] = true
				return accept(ctx, e)
			})
		}
	}
}

func shared() sendFunc {
	var busy atomic.Bool
	return func(ctx context.Context, e alerts.Event) error {
		if !busy.CompareAndSwap(false, true) {
			return errors.New("busy")
		}
		defer busy.Store(false)
		return accept(ctx, e)
	}
}

// TestWrongAlertsFail proves that each check can fail. It runs in a bubble, so
// that waiting for the slow ones costs nothing.
func TestWrongAlertsFail(t *testing.T) {
	tried := map[string]bool{}
	for _, w := range wrong() {
		tried[w.breaks] = true
		t.Run(w.breaks+"/"+w.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(2 * time.Hour) // Lets the fakes' goroutines end.
				s := subject()
				w.spoil(&s)
				err := find(t, w.breaks).verify(t.Context(), s.prepare(t))
				if err == nil {
					t.Fatalf("check %q passes an alert that %s", w.breaks, w.how)
				}
				t.Log(err)
			})
		})
	}
	for _, c := range checks() {
		if !tried[c.name] {
			t.Errorf("no wrong alert is there for check %q: it is not proven that it can fail", c.name)
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
