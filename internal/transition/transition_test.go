package transition

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
	"github.com/monitord/monitord/internal/director"
)

// A sink is an alert that notes what it got; do, if there is one, decides.
type sink struct {
	mu  sync.Mutex // protects got
	got []string
	do  func(ctx context.Context, e alerts.Event) error
}

func (s *sink) Send(ctx context.Context, e alerts.Event) error {
	s.mu.Lock()
	s.got = append(s.got, e.Reason)
	s.mu.Unlock()
	if s.do == nil {
		return nil
	}
	return s.do(ctx, e)
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// A diary keeps deliveries.
type diary struct {
	mu    sync.Mutex // protects lines
	lines []string
}

func (d *diary) note(x Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%s %s %s: %v %t", x.Group, x.Alert, x.Event.Reason, x.Err, x.Final))
}

func (d *diary) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "\n")
}

func alert(name string, s *sink) map[string][]Alert {
	return map[string][]Alert{"web": {{Name: name, Alert: s}}}
}

// to is a transition of the group web; its reason is its name.
func to(role director.Role, name string) Event {
	return Event{Group: "web", Node: "dr1", To: role, Reason: name}
}

func closed(t *testing.T, teller *Teller) {
	t.Helper()
	if err := teller.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestInOrderAndSettledOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var froms []string
		s := &sink{do: func(_ context.Context, e alerts.Event) error {
			froms = append(froms, e.Summary)
			return nil
		}}
		teller := New(alert("note", s), nil)
		for i, role := range []director.Role{
			director.Init, director.Standby, director.Acquiring, director.Standby, director.Acquiring, director.Active,
			director.Releasing, director.Fault, director.Standby, director.Maintenance, director.Init,
		} {
			teller.Tell(to(role, fmt.Sprint(i)))
		}
		teller.Tell(Event{Group: "other", To: director.Active})
		closed(t, teller)
		if diff := cmp.Diff([]string{"1", "5", "7", "8", "9", "10"}, s.all()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		want := []string{
			"dr1 is standby, was stopped", "dr1 is active, was standby", "dr1 is fault, was active",
			"dr1 is standby, was fault", "dr1 is maintenance, was standby", "dr1 is stopped, was maintenance",
		}
		if diff := cmp.Diff(want, froms); diff != "" {
			t.Errorf("from and to (-want +got):\n%s", diff)
		}
	})
}

// TestFirstNews: the role before the first transition is the event's own.
func TestFirstNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		teller := New(alert("note", s), nil)
		teller.Tell(Event{Group: "web", From: director.Standby, To: director.Acquiring})
		teller.Tell(Event{Group: "web", From: director.Acquiring, To: director.Standby, Reason: "back"})
		teller.Tell(Event{Group: "web", From: director.Standby, To: director.Fault, Reason: "fault"})
		closed(t, teller)
		if got := s.all(); !cmp.Equal(got, []string{"fault"}) {
			t.Errorf("told %q", got)
		}
	})
}

func TestRetryUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, times := time.Now(), []time.Duration{}
		s := &sink{}
		s.do = func(context.Context, alerts.Event) error {
			times = append(times, time.Since(start))
			if len(times) < 4 {
				return errors.New("no route")
			}
			return nil
		}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, times); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if want := "web note a: no route false\nweb note a: no route false\nweb note a: no route false\nweb note a: <nil> true"; log.text() != want {
			t.Errorf("reported\n%s", log.text())
		}
		closed(t, teller)
	})
}

func TestNewerReplacesWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := false
		s := &sink{do: func(context.Context, alerts.Event) error {
			if !up {
				return errors.New("down")
			}
			return nil
		}}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		synctest.Wait()
		up = true
		start := time.Now()
		teller.Tell(to(director.Standby, "b"))
		teller.Tell(to(director.Active, "c"))
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("the newer waited %s for the older's pause", took)
		}
		if got := s.all(); !cmp.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("told %q", got)
		}
		if !strings.Contains(log.text(), "web note a: "+ErrSuperseded.Error()+": down true") {
			t.Errorf("reported\n%s", log.text())
		}
		closed(t, teller)
	})
}

// TestLinesAreIndependent: nobody waits for an alert that hangs, neither the caller
// nor another alert.
func TestLinesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		slow := &sink{do: func(context.Context, alerts.Event) error { <-hang; return nil }}
		fast := &sink{}
		var log diary
		teller := New(map[string][]Alert{"web": {{"slow", slow}, {"fast", fast}}}, log.note)
		for i := range longestLine + 10 {
			teller.Tell(to([]director.Role{director.Active, director.Standby}[i%2], fmt.Sprint(i)))
			synctest.Wait()
		}
		if got := fast.all(); len(got) != longestLine+10 {
			t.Errorf("the fast one got %d", len(got))
		}
		close(hang)
		synctest.Wait()
		// The first was being sent; of the others the oldest had to leave.
		if got := slow.all(); len(got) != longestLine+1 || got[0] != "0" || got[1] != "10" {
			t.Errorf("the slow one got %d: %q", len(got), got)
		}
		if n := strings.Count(log.text(), ErrTooMany.Error()); n != 9 {
			t.Errorf("%d were reported as too many, want 9", n)
		}
		closed(t, teller)
	})
}

func TestComplaintsAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{do: func(_ context.Context, e alerts.Event) error {
			if e.Reason == "a" {
				return fmt.Errorf("%w: one of two", alerts.ErrDelivered)
			}
			panic("oops")
		}}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		synctest.Wait()
		teller.Tell(to(director.Standby, "b"))
		synctest.Wait()
		if want := "web note a: delivered with a complaint: one of two true\nweb note b: the alert panicked: oops false"; log.text() != want {
			t.Errorf("reported\n%s", log.text())
		}
		closed(t, teller)
	})
}

// TestWhatIsRefusedIsGivenUp: no other attempt can mend it.
func TestWhatIsRefusedIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{do: func(context.Context, alerts.Event) error { return fmt.Errorf("hook: %w", alerts.ErrRefused) }}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := "web note a: hook: refused for good true"; log.text() != want {
			t.Errorf("reported\n%s", log.text())
		}
		closed(t, teller)
	})
}

// TestABusyReceiverIsLeftAlone: as long as it asks, but 5 minutes at most, whatever is
// newer.
func TestABusyReceiverIsLeftAlone(t *testing.T) {
	for asks, want := range map[time.Duration]time.Duration{42 * time.Second: 42 * time.Second, 1000 * time.Hour: longestWait} {
		synctest.Test(t, func(t *testing.T) {
			begin, again := time.Now(), time.Duration(0)
			s := &sink{do: func(_ context.Context, e alerts.Event) error {
				if e.Reason == "a" {
					return &alerts.BusyError{Err: errors.New("down"), Wait: asks}
				}
				again = time.Since(begin)
				return nil
			}}
			var log diary
			teller := New(alert("note", s), log.note)
			teller.Tell(to(director.Active, "a"))
			time.Sleep(time.Second)
			teller.Tell(to(director.Standby, "b"))
			time.Sleep(time.Hour)
			synctest.Wait()
			if again != want {
				t.Errorf("asked for %s: told of what is newer after %s, want %s\n%s", asks, again, want, log.text())
			}
			closed(t, teller)
		})
	}
}

func TestGivesUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{do: func(context.Context, alerts.Event) error { return errors.New("down") }}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		time.Sleep(giveUp + longestWait)
		synctest.Wait()
		if !strings.HasSuffix(log.text(), "down true") {
			t.Error("it is still tried after a day")
		}
		closed(t, teller)
	})
}

func TestCloseTriesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{do: func(context.Context, alerts.Event) error { return errors.New("down") }}
		var log diary
		teller := New(alert("note", s), log.note)
		teller.Tell(to(director.Active, "a"))
		synctest.Wait()
		start := time.Now()
		closed(t, teller)
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %s", took)
		}
		if !strings.Contains(log.text(), ErrClosed.Error()+": down true") {
			t.Errorf("reported\n%s", log.text())
		}
		teller.Tell(to(director.Standby, "b"))
		if got := s.all(); !cmp.Equal(got, []string{"a"}) {
			t.Errorf("told %q after the end", got)
		}
		closed(t, teller)
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{do: func(ctx context.Context, _ alerts.Event) error { <-ctx.Done(); return ctx.Err() }}
		teller := New(alert("note", s), nil)
		teller.Tell(to(director.Active, "a"))
		teller.Tell(to(director.Standby, "b"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := teller.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(context.Context, alerts.Event) error { return errors.New("down") }
		kept, gone, renewed := &sink{do: down}, &sink{do: down}, &sink{}
		var log diary
		teller := New(map[string][]Alert{"web": {{"kept", kept}, {"gone", gone}}}, log.note)
		teller.Tell(to(director.Active, "a"))
		synctest.Wait()
		teller.Reload(alert("kept", renewed))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := renewed.all(); !cmp.Equal(got, []string{"a"}) {
			t.Errorf("the new alert got %q", got)
		}
		if n := len(gone.all()); n != 1 {
			t.Errorf("the alert that is gone was tried %d times", n)
		}
		if !strings.Contains(log.text(), "web gone a: "+ErrGone.Error()) {
			t.Errorf("reported\n%s", log.text())
		}
		teller.Tell(to(director.Standby, "b"))
		closed(t, teller)
		if got := renewed.all(); !cmp.Equal(got, []string{"a", "b"}) {
			t.Errorf("the new alert got %q", got)
		}
	})
}

func TestAlertOfAnEvent(t *testing.T) {
	now := time.Unix(1700000000, 0)
	e := Event{
		Group: "web", Node: "dr2", From: director.Standby, To: director.Active, Epoch: 7, Priority: 100,
		Reason: "dr1 is dead:\nno heartbeat", Without: 233400 * time.Microsecond, At: now,
	}
	want := alerts.Event{
		Kind: alerts.Up, Group: "web", Service: "director", Description: "who holds the group web", Time: now,
		Summary: "dr2 is active, was standby", Reason: "dr1 is dead: no heartbeat", Status: 1, LastSuccess: now, Outage: "web:director@7",
		Output: []byte("dr2 is active, was standby\nwhy: dr1 is dead: no heartbeat\ntime without owner: 233ms\nepoch: 7\npriority: 100\n"),
		Env: []string{
			"MONITORD_GROUP=web", "MONITORD_NODE=dr2", "MONITORD_FROM=standby", "MONITORD_TO=active", "MONITORD_STATE=MASTER",
			"MONITORD_PRIORITY=100", "MONITORD_EPOCH=7", "MONITORD_REASON=dr1 is dead: no heartbeat", "MONITORD_WITHOUT_MS=233",
		},
	}
	if diff := cmp.Diff(want, e.Alert()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestKindsAndStates(t *testing.T) {
	for _, tt := range []struct {
		from, to director.Role
		kind     alerts.Kind
		state    string
	}{
		{director.Init, director.Standby, alerts.Startup, "BACKUP"},
		{director.Init, director.Active, alerts.Startup, "MASTER"},
		{director.Standby, director.Active, alerts.Up, "MASTER"},
		{director.Active, director.Standby, alerts.Up, "BACKUP"},
		{director.Active, director.Fault, alerts.Failure, "FAULT"},
		{director.Fault, director.Standby, alerts.Up, "BACKUP"},
		{director.Active, director.Maintenance, alerts.Disable, "BACKUP"},
		{director.Active, director.Init, alerts.Disable, "STOP"},
	} {
		e := Event{From: tt.from, To: tt.to}
		if a := e.Alert(); a.Kind != tt.kind || e.State() != tt.state || (a.Status == 0) != (tt.kind == alerts.Failure) {
			t.Errorf("%s to %s: %s, %s, status %d; want %s, %s", tt.from, tt.to, a.Kind, e.State(), a.Status, tt.kind, tt.state)
		}
	}
}
