package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
)

func testMessage(a alerts.Alert, kind alerts.Kind, summary string) *message {
	return &message{box: "g:s mail", Message: Message{Action: kind.String(), Alert: a, Event: alerts.Event{Kind: kind, Group: "g", Service: "s", Summary: summary}}}
}

// newOutbox returns an outbox without a disk and a history.
func newOutbox(ctx context.Context, attempted func(Attempt)) *Outbox {
	return New(ctx, Hooks{Attempted: attempted, Commit: func(context.Context) {}, Settled: func(bool) {}, Ended: func(history.Entry, string) {}})
}

// outboxTest runs f with an outbox on a fake clock.
func outboxTest(t *testing.T, f func(t *testing.T, o *Outbox, reports *[]Attempt)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var reports []Attempt
		o := newOutbox(ctx, func(d Attempt) { mu.Lock(); defer mu.Unlock(); reports = append(reports, d) })
		f(t, o, &reports)
		o.Close()
		cancel()
	})
}

func TestRetriesUntilDelivered(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, reports *[]Attempt) {
		r := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
			if n < 4 {
				return outboxtest.ErrDown
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "h1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		r.Want(t, "failure h1")
		if len(*reports) != 4 || !(*reports)[3].Final || (*reports)[2].Final {
			t.Errorf("reports: %+v", *reports)
		}
	})
}

func TestLatestStateWinsWhileTheServerIsDown(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		down := true
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error {
			if down {
				return outboxtest.ErrDown
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "h1"))
		time.Sleep(time.Minute)
		o.put(testMessage(r, alerts.Failure, "h1 h2"))
		time.Sleep(time.Minute)
		o.put(testMessage(r, alerts.Up, "h1 h2"))
		r.Mu.Lock()
		down = false
		r.Mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.Want(t, "up h1 h2")
	})
}

func TestOrderIsKept(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		release := make(chan struct{})
		r := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
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
		r.Want(t, "failure 1", "failure 3", "up 4")
	})
}

func TestAComplaintIsNoReasonToSendAgain(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, reports *[]Attempt) {
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { return fmt.Errorf("one recipient: %w", alerts.ErrDelivered) }}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(*reports) != 1 || !(*reports)[0].Final {
			t.Errorf("%d attempts, want one final", len(*reports))
		}
	})
}

// TestABusyReceiverIsLeftAlone: as long as it asks, but 5 minutes at most, whatever is
// newer; one that asks for less than the usual pause gets that.
func TestABusyReceiverIsLeftAlone(t *testing.T) {
	for _, c := range []struct{ asks, want time.Duration }{
		{-time.Hour, firstPause}, {0, firstPause}, {time.Millisecond, firstPause}, {42 * time.Second, 42 * time.Second}, {1000 * time.Hour, LongestPause},
	} {
		outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
			begin, again := time.Now(), time.Duration(0)
			r := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
				if n == 1 {
					return fmt.Errorf("hook: %w", &alerts.BusyError{Err: outboxtest.ErrDown, Wait: c.asks})
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
			if again != c.want || r.Attempts != 2 {
				t.Errorf("asked for %s: tried again after %s, %d attempts; want %s, 2", c.asks, again, r.Attempts, c.want)
			}
		})
	}
}

// TestABusyReceiverIsLeftAloneInALongPause: what is newer cuts the rest of the pause short,
// and not what was asked for.
func TestABusyReceiverIsLeftAloneInALongPause(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		var at []time.Time
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error {
			at = append(at, time.Now())
			return &alerts.BusyError{Err: outboxtest.ErrDown, Wait: 7 * time.Second}
		}}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(30 * time.Minute) // the pause is 5 minutes by then
		synctest.Wait()
		r.Mu.Lock()
		last := at[len(at)-1]
		n := len(at)
		r.Mu.Unlock()
		time.Sleep(time.Until(last.Add(LongestPause + time.Second))) // a second after the next attempt
		o.put(testMessage(r, alerts.Failure, "2"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.Mu.Lock()
		defer r.Mu.Unlock()
		if len(at) != n+2 || at[n].Sub(last) != LongestPause || at[n+1].Sub(at[n]) != 7*time.Second {
			t.Errorf("attempts %v, want one after %s and another 7s later", at[n-1:], LongestPause)
		}
	})
}

// TestCloseDoesNotWaitForABusyReceiver: its pause is not the daemon's end's.
func TestCloseDoesNotWaitForABusyReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t.Context(), func(Attempt) {})
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { return &alerts.BusyError{Err: outboxtest.ErrDown, Wait: time.Hour} }}
		o.put(testMessage(r, alerts.Failure, "1"))
		synctest.Wait()
		begin := time.Now()
		o.Close()
		if took := time.Since(begin); took != 0 || r.Attempts != 1 {
			t.Errorf("closing took %s, %d attempts", took, r.Attempts)
		}
	})
}

func TestAPanickingAlertHurtsNobodyElse(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, reports *[]Attempt) {
		bad := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { panic("oh") }}
		good := &outboxtest.Recorder{}
		m := testMessage(bad, alerts.Test, "1")
		m.box = "other"
		o.put(m)
		o.put(testMessage(good, alerts.Failure, "1"))
		synctest.Wait()
		good.Want(t, "failure 1")
		for _, d := range *reports {
			if d.Event.Kind == m.Event.Kind && (d.Err == nil || !strings.Contains(d.Err.Error(), "panicked: oh")) {
				t.Errorf("the panic was reported as %v", d.Err)
			}
		}
	})
}

func TestCloseWaitsForWhatIsBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := newOutbox(ctx, func(Attempt) {})
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { time.Sleep(time.Second); return nil }}
		o.put(testMessage(r, alerts.Failure, "1"))
		o.Close()
		r.Want(t, "failure 1")
	})
}

func TestCloseDoesNotWaitForAServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := newOutbox(ctx, func(Attempt) {})
		r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error { return outboxtest.ErrDown }}
		o.put(testMessage(r, alerts.Failure, "1"))
		time.Sleep(10 * time.Second)
		start := time.Now()
		o.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("the end waited %s for a message that had been tried", took)
		}
	})
}

// hostMessage is a message of a watch of three hosts about some of them.
func hostMessage(a alerts.Alert, kind alerts.Kind, state alerts.HostState, concerned ...string) *message {
	m := testMessage(a, kind, strings.Join(concerned, " "))
	m.PerHost = true
	for _, name := range []string{"h1", "h2", "h3"} {
		h := alerts.Host{Name: name, State: alerts.HostDown}
		if slices.Contains(concerned, name) {
			h.State, h.Concerned = state, true
		}
		m.Event.Hosts = append(m.Event.Hosts, h)
	}
	return m
}

// TestNoHostIsForgotten: what supersedes a message is about its hosts too.
func TestNoHostIsForgotten(t *testing.T) {
	t.Run("merged while another is sent", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
			release := make(chan struct{})
			r := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
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
			r.Want(t, "failure h1", "failure h2 h3")
		})
	})
	t.Run("another host's recovery does not end its failure", func(t *testing.T) {
		outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
			down := true
			r := &outboxtest.Recorder{Fail: func(int, alerts.Event) error {
				if down {
					return outboxtest.ErrDown
				}
				return nil
			}}
			o.put(hostMessage(r, alerts.Failure, alerts.HostDown, "h1"))
			time.Sleep(time.Minute)
			o.put(hostMessage(r, alerts.Up, alerts.HostUp, "h2"))
			time.Sleep(time.Minute)
			r.Mu.Lock()
			down = false
			r.Mu.Unlock()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			r.Want(t, "failure h1", "up h2")
		})
	})
}

// TestAPoolHearsTheLastWord: an unknown host does not hide that it went down
// just before.
func TestAPoolHearsTheLastWord(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		release := make(chan struct{})
		var mu sync.Mutex
		var told []alerts.HostState
		pool := &outboxtest.Recorder{Fail: func(n int, e alerts.Event) error {
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
			m.Event.Hosts = []alerts.Host{{Name: "h1", State: state}}
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
