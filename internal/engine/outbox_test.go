package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
)

// A recorder is an alert that fails as told and remembers what it was given.
type recorder struct {
	mu   sync.Mutex
	fail func(attempt int, e alerts.Event) error
	got  []string
	n    int
}

func (r *recorder) Send(ctx context.Context, e alerts.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.fail != nil {
		if err := r.fail(r.n, e); err != nil {
			return err
		}
	}
	r.got = append(r.got, e.Kind.String()+" "+e.Summary)
	return ctx.Err()
}

func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.got); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func testMessage(a alerts.Alert, kind alerts.Kind, summary string) *message {
	return &message{box: "g:s mail", action: kind.String(), alert: a, event: alerts.Event{Kind: kind, Group: "g", Service: "s", Summary: summary}}
}

// outboxTest runs f with an outbox on a fake clock.
func outboxTest(t *testing.T, f func(t *testing.T, o *outbox, reports *[]delivery)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var reports []delivery
		o := newOutbox(ctx, func(d delivery) { mu.Lock(); defer mu.Unlock(); reports = append(reports, d) })
		f(t, o, &reports)
		o.close()
		cancel()
	})
}

var errDown = errors.New("mail server down")

func TestRetriesUntilDelivered(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, reports *[]delivery) {
		r := &recorder{fail: func(n int, _ alerts.Event) error {
			if n < 4 {
				return errDown
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "h1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(t, "failure h1")
		if len(*reports) != 4 || !(*reports)[3].final || (*reports)[2].final {
			t.Errorf("reports: %+v", *reports)
		}
	})
}

func TestLatestStateWinsWhileTheServerIsDown(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		down := true
		r := &recorder{fail: func(int, alerts.Event) error {
			if down {
				return errDown
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "h1"))
		time.Sleep(time.Minute)
		o.put(testMessage(r, alerts.Failure, "h1 h2"))
		time.Sleep(time.Minute)
		o.put(testMessage(r, alerts.Up, "h1 h2"))
		r.mu.Lock()
		down = false
		r.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.want(t, "up h1 h2")
	})
}

func TestOrderIsKept(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		release := make(chan struct{})
		r := &recorder{fail: func(n int, _ alerts.Event) error {
			if n == 1 {
				<-release
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "1"))
		synctest.Wait()
		o.put(testMessage(r, alerts.Failure, "2")) // replaced by the next
		o.put(testMessage(r, alerts.Failure, "3"))
		o.put(testMessage(r, alerts.Up, "4"))
		close(release)
		synctest.Wait()
		r.want(t, "failure 1", "failure 3", "up 4")
	})
}

func TestAComplaintIsNoReasonToSendAgain(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, reports *[]delivery) {
		r := &recorder{fail: func(int, alerts.Event) error { return fmt.Errorf("one recipient: %w", alerts.ErrDelivered) }}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(*reports) != 1 || !(*reports)[0].final {
			t.Errorf("%d attempts, want one final", len(*reports))
		}
	})
}

// TestABusyReceiverIsLeftAlone: as long as it asks, but 5 minutes at most, whatever is
// newer; one that asks for less than the usual pause gets that.
func TestABusyReceiverIsLeftAlone(t *testing.T) {
	for _, c := range []struct{ asks, want time.Duration }{
		{-time.Hour, firstPause}, {0, firstPause}, {time.Millisecond, firstPause}, {42 * time.Second, 42 * time.Second}, {1000 * time.Hour, longestWait},
	} {
		outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
			begin, again := time.Now(), time.Duration(0)
			r := &recorder{fail: func(n int, _ alerts.Event) error {
				if n == 1 {
					return fmt.Errorf("hook: %w", &alerts.BusyError{Err: errDown, Wait: c.asks})
				}
				again = time.Since(begin)
				return nil
			}}
			o.put(testMessage(r, alerts.Failure, "1"))
			if c.want > firstPause {
				time.Sleep(2 * firstPause)
				o.put(testMessage(r, alerts.Failure, "2"))
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if again != c.want || r.n != 2 {
				t.Errorf("asked for %s: tried again after %s, %d attempts; want %s, 2", c.asks, again, r.n, c.want)
			}
		})
	}
}

// TestABusyReceiverIsLeftAloneInALongPause: what is newer cuts the rest of the pause short,
// and not what was asked for.
func TestABusyReceiverIsLeftAloneInALongPause(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		var at []time.Time
		r := &recorder{fail: func(int, alerts.Event) error {
			at = append(at, time.Now())
			return &alerts.BusyError{Err: errDown, Wait: 7 * time.Second}
		}}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(30 * time.Minute) // the pause is 5 minutes by then
		synctest.Wait()
		r.mu.Lock()
		last := at[len(at)-1]
		n := len(at)
		r.mu.Unlock()
		time.Sleep(time.Until(last.Add(longestWait + time.Second))) // a second after the next attempt
		o.put(testMessage(r, alerts.Failure, "2"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(at) != n+2 || at[n].Sub(last) != longestWait || at[n+1].Sub(at[n]) != 7*time.Second {
			t.Errorf("attempts %v, want one after %s and another 7s later", at[n-1:], longestWait)
		}
	})
}

// TestCloseDoesNotWaitForABusyReceiver: its pause is not the daemon's end's.
func TestCloseDoesNotWaitForABusyReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t.Context(), func(delivery) {})
		r := &recorder{fail: func(int, alerts.Event) error { return &alerts.BusyError{Err: errDown, Wait: time.Hour} }}
		o.put(testMessage(r, alerts.Failure, "1"))
		synctest.Wait()
		begin := time.Now()
		o.close()
		if took := time.Since(begin); took != 0 || r.n != 1 {
			t.Errorf("closing took %s, %d attempts", took, r.n)
		}
	})
}

func TestAPanickingAlertHurtsNobodyElse(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, reports *[]delivery) {
		bad := &recorder{fail: func(int, alerts.Event) error { panic("oh") }}
		good := &recorder{}
		m := testMessage(bad, alerts.Test, "1")
		m.box = "other"
		o.put(m)
		o.put(testMessage(good, alerts.Failure, "1"))
		synctest.Wait()
		good.want(t, "failure 1")
		for _, d := range *reports {
			if d.message == m && (d.err == nil || !strings.Contains(d.err.Error(), "panicked: oh")) {
				t.Errorf("the panic was reported as %v", d.err)
			}
		}
	})
}

func TestCloseWaitsForWhatIsBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := newOutbox(ctx, func(delivery) {})
		r := &recorder{fail: func(int, alerts.Event) error { time.Sleep(time.Second); return nil }}
		o.put(testMessage(r, alerts.Failure, "1"))
		o.close()
		r.want(t, "failure 1")
	})
}

func TestCloseDoesNotWaitForAServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := newOutbox(ctx, func(delivery) {})
		r := &recorder{fail: func(int, alerts.Event) error { return errDown }}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(10 * time.Second)
		start := time.Now()
		o.close()
		if took := time.Since(start); took != 0 {
			t.Errorf("the end waited %s for a message that had been tried", took)
		}
	})
}

// hostMessage is a message of a watch of three hosts about some of them.
func hostMessage(a alerts.Alert, kind alerts.Kind, state alerts.HostState, concerned ...string) *message {
	m := testMessage(a, kind, strings.Join(concerned, " "))
	m.hosts = true
	for _, name := range []string{"h1", "h2", "h3"} {
		h := alerts.Host{Name: name, State: alerts.HostDown}
		if slices.Contains(concerned, name) {
			h.State, h.Concerned = state, true
		}
		m.event.Hosts = append(m.event.Hosts, h)
	}
	return m
}

// TestNoHostIsForgotten: what supersedes a message is about its hosts too.
func TestNoHostIsForgotten(t *testing.T) {
	t.Run("merged while another is sent", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
			release := make(chan struct{})
			r := &recorder{fail: func(n int, _ alerts.Event) error {
				if n == 1 {
					<-release
				}
				return nil
			}}
			o.put(hostMessage(r, alerts.Failure, alerts.HostDown, "h1"))
			synctest.Wait()
			o.put(hostMessage(r, alerts.Failure, alerts.HostDown, "h2"))
			o.put(hostMessage(r, alerts.Failure, alerts.HostDown, "h3"))
			close(release)
			synctest.Wait()
			r.want(t, "failure h1", "failure h2 h3")
		})
	})
	t.Run("another host's recovery does not end its failure", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
			down := true
			r := &recorder{fail: func(int, alerts.Event) error {
				if down {
					return errDown
				}
				return nil
			}}
			o.put(hostMessage(r, alerts.Failure, alerts.HostDown, "h1"))
			time.Sleep(time.Minute)
			o.put(hostMessage(r, alerts.Up, alerts.HostUp, "h2"))
			time.Sleep(time.Minute)
			r.mu.Lock()
			down = false
			r.mu.Unlock()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			r.want(t, "failure h1", "up h2")
		})
	})
}

// TestAPoolHearsTheLastWord: an unknown host does not hide that it went down
// just before.
func TestAPoolHearsTheLastWord(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *outbox, _ *[]delivery) {
		release := make(chan struct{})
		var mu sync.Mutex
		var told []alerts.HostState
		pool := &recorder{fail: func(n int, e alerts.Event) error {
			if n == 1 {
				<-release
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e.Hosts[0].State)
			return nil
		}}
		for _, state := range []alerts.HostState{alerts.HostUp, alerts.HostDown, alerts.HostUnknown} {
			m := testMessage(pool, alerts.State, "")
			m.event.Hosts = []alerts.Host{{Name: "h1", State: state}}
			o.put(m)
			synctest.Wait()
		}
		close(release)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, []alerts.HostState{alerts.HostUp, alerts.HostDown}) {
			t.Errorf("the pool was told %v, want up and then down", told)
		}
	})
}
