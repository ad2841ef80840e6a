// Package log is the alert "log": one line for each event in the daemon's own log, with
// its fields, wherever [log] takes that.
//
//	alert = { type = "log" }
//
// The line is the event in words, with the fields group, service, kind, hosts, summary,
// reason, period and outage. The level is "error" for failures and traps, and "info"
// for the rest.
package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// Config is the table of a log alert.
type Config struct {
	Level string `toml:"level" doc:"Level of failures: \"debug\", \"info\", \"warning\" or \"error\"; default \"error\"."`
}

func init() { alerts.Register("log", Config{Level: "error"}, build) }

// logger is the alert.
type logger struct {
	log      func(level slog.Level, text string, fields ...slog.Attr)
	failure  slog.Level
	director string
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[c.Level]
	if !ok {
		return nil, alerts.BadKey("level", `%q is not accepted: write "debug", "info", "warning" or "error"`, c.Level)
	}
	return &logger{log: site.Log, failure: level, director: site.Hostname}, nil
}

// namesLimit bounds the field hosts, in characters.
const namesLimit = 1000

// Recorder implements [alerts.Recorder].
func (*logger) Recorder() {}

// Send implements [alerts.Alert].
func (l *logger) Send(ctx context.Context, e alerts.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if l.log == nil {
		return errors.New("log: there is no log here")
	}
	level := slog.LevelInfo
	if e.Kind.Failing() {
		level = l.failure
	}
	m := wording.New(e, l.director)
	var fields []slog.Attr
	for _, f := range []struct{ name, value string }{
		{"group", m.Group},
		{"service", m.Service},
		{"kind", m.Kind.String()},
		{"hosts", wording.Clip(strings.ReplaceAll(m.Names(m.Concerned()), ", ", " "), namesLimit)},
		{"summary", m.Summary},
		{"reason", m.Reason},
		{"period", m.Period},
		{"outage", wording.OneLine(m.Outage)},
	} {
		if f.value != "" {
			fields = append(fields, slog.String(f.name, f.value))
		}
	}
	l.log(level, m.Headline(), fields...)
	return nil
}
