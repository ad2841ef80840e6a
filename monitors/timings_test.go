package monitors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimingsString(t *testing.T) {
	for _, c := range []struct {
		timings Timings
		want    string
	}{
		{Timings{}, ""},
		{Timings{Connect: 210*time.Microsecond + 17, FirstByte: 1315 * time.Microsecond}, "connect 210µs, first byte 1.32ms"},
		{Timings{Resolve: 12345 * time.Microsecond, TLS: 1234567 * time.Microsecond}, "resolve 12.3ms, TLS 1.23s"},
	} {
		if got := c.timings.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestTimingsOfFailedProbes: however a probe ends, what it got through is told.
func TestTimingsOfFailedProbes(t *testing.T) {
	for name, end := range map[string]func(context.Context) error{
		"up":        func(context.Context) error { return nil },
		"down":      func(context.Context) error { return errors.New("refused") },
		"timeout":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"untested":  func(context.Context) error { return Untested(errors.New("no socket")) },
		"panicking": func(context.Context) error { panic("oops") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := EachHost(1, time.Second, func(ctx context.Context, _ string, took *Timings) error {
					took.Connect = time.Millisecond
					return end(ctx)
				})
				r, err := m.Check(t.Context(), Request{Hosts: []string{"web1"}})
				if err != nil || r.Hosts[0].Timings != (Timings{Connect: time.Millisecond}) {
					t.Errorf("got %+v, %v, want the connection's time", r.Hosts, err)
				}
			})
		})
	}
}
