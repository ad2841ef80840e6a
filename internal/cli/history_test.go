package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/watch"
)

func TestSinceWhen(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{"", time.Time{}},
		{"2h", now.Add(-2 * time.Hour)},
		{"90m", now.Add(-90 * time.Minute)},
		{"7d", now.Add(-7 * 24 * time.Hour)},
		{"1.5d", now.Add(-36 * time.Hour)},
		{"2026-06-30", time.Date(2026, 6, 30, 0, 0, 0, 0, time.Local)},
		{"2026-06-30T08:15", time.Date(2026, 6, 30, 8, 15, 0, 0, time.Local)},
		{"2026-06-30 08:15:30", time.Date(2026, 6, 30, 8, 15, 30, 0, time.Local)},
		{"2026-06-30T08:15:30Z", time.Date(2026, 6, 30, 8, 15, 30, 0, time.UTC)},
	} {
		if got, err := instantOf(tt.text, now); err != nil || !got.Equal(tt.want) {
			t.Errorf("%q: got %s, %v, want %s", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"-2h", "yesterday", "7", "-1d", "1e300d", "2026-13-01"} {
		if got, err := instantOf(text, now); err == nil || !strings.Contains(err.Error(), "is no time: write") {
			t.Errorf("%q: got %s, %v", text, got, err)
		}
	}
}

// TestHistoryForPeople: what an alert says must not move the cursor of who reads it.
func TestHistoryForPeople(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.Local)
	var out strings.Builder
	printHistory(&out, daemon.History{Problem: "disk on fire", Alerts: []history.Entry{
		{At: at, Group: "web", Service: "http", Kind: "failure", Alert: "mail ops@example.org", Summary: "w1\x1b[2J w2\nrest", Fate: "delivered", Ended: at.Add(200 * time.Second), Attempts: 5, Merged: 2, Reason: "failure 3 in a row", Period: "wd {Mon-Fri}"},
		{At: at, Group: "web", Service: "http", Kind: "up", Alert: "mail ops@example.org", Summary: "w1", Fate: "delivered", Ended: at, Attempts: 1},
		{At: at, Group: "db", Service: "tcp", Kind: "failure", Alert: "exec page", Fate: "waiting", Attempts: 1, Why: "exit status 1", Reason: "failure 1\tin a row\x1b[2J" + watch.Text(strings.Repeat("-", 100)) + "\nx"},
		{At: at, Group: "db", Service: "tcp", Kind: "failure", Alert: "mail.alert root"},
	}})
	want := `some may be missing: disk on fire

TIME                 WATCH     KIND     ABOUT      ALERT                 WHAT BECAME OF IT
2026-07-01 12:00:00  web:http  failure  w1 [2J w2  mail ops@example.org  delivered, for 2 more before it after 3m20s, 5 attempts
    why: failure 3 in a row, in period wd {Mon-Fri}
2026-07-01 12:00:00  web:http  up       w1         mail ops@example.org  delivered
2026-07-01 12:00:00  db:tcp    failure             exec page             waiting, 1 attempt: exit status 1
    why: failure 1 in a row [2J--------------------------------------------------------------------…
2026-07-01 12:00:00  db:tcp    failure             mail.alert root       -
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	printHistory(&out, daemon.History{})
	if out.String() != "no alerts\n" {
		t.Errorf("of nothing: %q", out.String())
	}
}
