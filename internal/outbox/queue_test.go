package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// saved is what waits, in order.
func (o *Outbox) saved() Queue { return o.Snapshot().Queue() }

// TestTheQueueIsBounded: by what the configuration has, however long and however much
// comes up while nothing can be delivered.
func TestTheQueueIsBounded(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		r, set := outboxtest.MailServer()
		set(true)
		const rounds, watches = 1000, 100
		for n := range rounds * watches {
			kind, state := alerts.Failure, alerts.HostDown
			if n/watches%2 == 1 {
				kind, state = alerts.Up, alerts.HostUp
			}
			m := hostMessage(r, kind, state, fmt.Sprintf("h%d", 1+n%3))
			m.Event.Service = fmt.Sprint(n % watches)
			m.box, m.Action = boxOf(m.Watch(), "mail"), m.Event.Service+kind.String()
			o.put(m)
			if n%10_000 == 0 {
				time.Sleep(10 * time.Second)
			}
		}
		if n := len(o.saved()); n > 3*watches {
			t.Errorf("%d messages wait of %d watches", n, watches)
		}
		long := bytes.Repeat([]byte("x"), 1<<20)
		for n := range 2000 { // each of another watch, with a long text, to one destination
			m := testMessage(r, alerts.Failure, "down")
			m.Event.Service, m.destination = fmt.Sprint("x", n), "mail"
			m.box, m.Action = boxOf(m.Watch(), "mail"), m.Event.Service
			m.Event.Output = long
			o.put(m)
		}
		texts := func() (size float64) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.lines.each(func(m *message) { size += float64(len(m.Event.Output)) })
			return size
		}
		if got, most := texts(), maxTexts*(1+math.Log(2100))+2100*leastText; got > most {
			t.Errorf("the texts take %.0f bytes, want at most %.0f", got, most)
		}
		time.Sleep(5 * FloodWindow)
		if n := len(o.saved()); n > 3*watches+FloodLimit+1 {
			t.Errorf("%d messages wait after the flood", n)
		}
		text, err := json.Marshal(o.saved())
		if err != nil || len(text) > 2*maxTexts {
			t.Errorf("%d bytes go to the disk, %v", len(text), err)
		}
		set(false)
		time.Sleep(10 * time.Minute)
	})
}

// TestASavedEventIsWhole fills every field of an event: none may be forgotten when
// one is added. What the configuration says is not saved.
func TestASavedEventIsWhole(t *testing.T) {
	var e alerts.Event
	fillIn(t, reflect.ValueOf(&e).Elem(), 1)
	e.Kind = alerts.Trap
	want := e
	want.Testing, want.Description, want.Env = 0, "", nil
	text, err := json.Marshal(saveEvent(&e, 1000))
	if err != nil {
		t.Fatal(err)
	}
	var saved savedEvent
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, saved.event()); diff != "" {
		t.Errorf("-event +saved:\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"kind":"rumour"}`), &saved); err == nil || !strings.Contains(err.Error(), `no kind of alert "rumour"`) {
		t.Errorf("a kind that is not there: %v", err)
	}
}

func fillIn(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(n), 5).UTC()))
		return
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte("b\xff"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(t, v.Field(i), n+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillIn(t, v.Index(i), n+i)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(t, v.Elem(), n)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", n))
	case reflect.Int:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("what is a %s?", v.Type())
	}
}

// BenchmarkSaveAHundredThousandMessages is what a queue costs that no flood limit
// bounds, as with compat = "mon": one message of each of 100,000 watches.
func BenchmarkSaveAHundredThousandMessages(b *testing.B) {
	o := newOutbox(b.Context(), func(Attempt) {})
	o.lines.silent = map[watch.Key]bool{}
	for n := range 100_000 {
		m := hostMessage(nil, alerts.Failure, alerts.HostDown, "h1")
		m.Event.Service, m.since = fmt.Sprint(n), time.Now()
		m.box, m.Action = boxOf(m.Watch(), "mail"), fmt.Sprint(n)
		o.lines.silent[m.Watch()] = true
		o.put(m)
	}
	size, held := 0, time.Duration(0)
	for b.Loop() {
		began := time.Now()
		waiting := o.Snapshot()
		held += time.Since(began)
		text, err := json.Marshal(waiting.Queue())
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(held.Milliseconds())/float64(b.N), "ms-held/op")
}

// TestWhatAnotherToldWhileThisOneSent is not tried again.
func TestWhatAnotherToldWhileThisOneSent(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, _ *[]Attempt) {
		mail := &outboxtest.Recorder{}
		o.put(testMessage(outboxtest.Both{First: outboxtest.Blocked{}, Second: mail}, alerts.Failure, "h1"))
		time.Sleep(time.Second)
		o.Forget(map[watch.Key]string{{Group: "g", Service: "s"}: "dr2"})
		o.Forget(map[watch.Key]string{{Group: "g", Service: "other"}: "dr2"})
		if n := len(o.saved()); n != 1 {
			t.Errorf("%d wait while one is sent", n)
		}
		time.Sleep(2 * SendTimeout)
		synctest.Wait()
		if n := len(o.saved()); n != 0 {
			t.Errorf("%d wait of what dr2 told", n)
		}
		mail.Want(t)
	})
}

// FuzzSavedQueue: whatever stands in the queue's document, what can be read waits, and
// is saved again as it is.
func FuzzSavedQueue(f *testing.F) {
	f.Add([]byte(`[{"box":"web:s mail","since":"2026-07-01T12:00:00Z","event":{"kind":"failure","group":"web","service":"s","hosts":[{"name":"w1","concerned":true}]}}]`))
	f.Add([]byte(`[{"held":true,"sum":{"lines":[{"Group":"g","Service":"s","action":"a","kind":"up","hosts":["h1"]}]},"event":{"kind":"failure"}}]`))
	f.Add([]byte(`[7,{"event":{"kind":"rumour"}},{"sum":{},"event":{"kind":"up","time":"0001-01-01T00:00:00Z"}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second Queue
		if json.Unmarshal(text, &first) != nil {
			return
		}
		now := time.Unix(1e9, 0)
		load := func(q Queue) Queue {
			l := newLines(true)
			for i := range q {
				if q[i].unread == nil {
					l.restore(q[i].message(now, 0), q[i].Held, now)
				}
			}
			return l.snapshot().Queue()
		}
		once := load(first)
		again, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(load(second))
		if err != nil || len(once) == 0 && len(second) > 0 {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(again), string(twice)); diff != "" {
			t.Errorf("saved again it is another queue:\n%s", diff)
		}
	})
}
