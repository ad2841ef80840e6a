package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/monitors"
)

// TestStatusTellsTimings of the last run, by host, until there is none.
func TestStatusTellsTimings(t *testing.T) {
	measured := func(_ context.Context, r monitors.Request) (monitors.Result, error) {
		hosts := make([]monitors.HostResult, len(r.Hosts))
		for i, h := range r.Hosts {
			hosts[i] = monitors.HostResult{Host: h, Verdict: monitors.Down, Reason: "refused", Timings: monitors.Timings{Resolve: time.Millisecond}}
			if h == "w2" {
				all := monitors.Timings{Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, FirstByte: 4 * time.Millisecond}
				hosts[i] = monitors.HostResult{Host: h, Verdict: monitors.Up, Took: 10 * time.Millisecond, Timings: all}
			}
			if h == "w3" {
				hosts[i] = monitors.HostResult{Host: h, Verdict: monitors.Up}
			}
		}
		return monitors.Summarise(hosts), nil
	}
	m := &fakeMonitor{check: measured}
	site := &config.Site{Watches: []config.Watch{testWatch("web", m, &outboxtest.Recorder{}, "w1", "w2", "w3")}}
	engineTest(t, site.Watches, func(t *testing.T, e *Engine) {
		times := func() string {
			t.Helper()
			var all []string
			for _, h := range e.state(t, "web").Hosts {
				text, err := json.Marshal(struct {
					Took    float64  `json:"seconds,omitzero"`
					Timings *Timings `json:"timings,omitempty"`
				}{h.Took, h.Timings})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, string(text))
			}
			return strings.Join(all, " ")
		}
		const none = "{} {} {}"
		if got := times(); got != none {
			t.Errorf("before the first run: %s", got)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := `{"timings":{"resolve":0.001}} {"seconds":0.01,"timings":{"connect":0.002,"tls":0.003,"first_byte":0.004}} {}`
		if got := times(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got, want := e.state(t, "web").Hosts[1].Timings.String(), "connect 2ms, TLS 3ms, first byte 4ms"; got != want {
			t.Errorf("for people: %q, want %q", got, want)
		}
		m.set(func(context.Context, monitors.Request) (monitors.Result, error) {
			return monitors.Result{}, errors.New("no socket")
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := times(); got != none {
			t.Errorf("after a run that could not test: %s", got)
		}
		m.set(measured)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		e.Reload(&config.Site{})
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.measured) != 0 {
			t.Errorf("watches that are gone are still measured: %v", e.measured)
		}
	})
}
