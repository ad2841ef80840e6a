package log

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/plugin"
)

// A book notes the lines of the log.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) log(level slog.Level, text string, fields ...slog.Attr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := level.String() + " " + text
	for _, f := range fields {
		line += fmt.Sprintf(" %s=%q", f.Key, f.Value)
	}
	b.lines = append(b.lines, line)
}

func configured(site alerts.Site, level string) (alerts.Alert, error) {
	return alerts.Build("log", site, func(into any) error {
		if level != "" {
			into.(*Config).Level = level
		}
		return nil
	})
}

func newAlert(t testing.TB, site alerts.Site, level string) alerts.Alert {
	t.Helper()
	a, err := configured(site, level)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConformance(t *testing.T) {
	alerttest.Run(t, alerttest.Subject{
		New:    func(t testing.TB) alerts.Alert { return newAlert(t, alerts.Site{Log: (&book{}).log}, "") },
		Broken: func(t testing.TB) alerts.Alert { return newAlert(t, alerts.Site{}, "") },

		NeverWaits: "the daemon's log does not block",
	})
}

func TestLine(t *testing.T) {
	e := alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Period: "always", Summary: "web2\nINFO forged", Reason: "failure 3", Outage: "web:http@1",
		Hosts: []alerts.Host{{Name: "web1", State: alerts.HostUp}, {Name: "web2", State: alerts.HostDown, Concerned: true}},
	}
	var b book
	for _, level := range []string{"", "warning"} {
		if err := newAlert(t, alerts.Site{Log: b.log}, level).Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	e.Kind = alerts.Up
	if err := newAlert(t, alerts.Site{Log: b.log}, "").Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	fields := ` hosts="web2" summary="web2 INFO forged" reason="failure 3" period="always" outage="web:http@1"`
	want := []string{
		`ERROR DOWN web:http: web2 (1 of 2) group="web" service="http" kind="failure"` + fields,
		`WARN DOWN web:http: web2 (1 of 2) group="web" service="http" kind="failure"` + fields,
		`INFO UP web:http: web2 (1 of 2 still down) group="web" service="http" kind="up"` + fields,
	}
	if got := strings.Join(b.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestBadConfiguration(t *testing.T) {
	_, err := configured(alerts.Site{}, "crit")
	var blamed *plugin.KeyError
	if !errors.As(err, &blamed) || blamed.Key != "level" || !strings.Contains(err.Error(), `write "debug"`) {
		t.Errorf("got %v", err)
	}
}

// Each event is wanted, also in a flood.
var _ alerts.Recorder = (*logger)(nil)
