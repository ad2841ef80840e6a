package takeover

import (
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// TestNoteAfterTheClockWentBack: people see what a node says now, also if its number is
// lower than the one before.
func TestNoteAfterTheClockWentBack(t *testing.T) {
	l := New(Settings{})
	say := func(incarnation, seq uint64, digest string, at time.Duration) string {
		l.note(director.Message{From: "b", Incarnation: incarnation, Seq: seq, Word: director.Word{Digest: digest}}, director.Instant(at))
		return l.nodes["b"].message.Word.Digest
	}
	for _, step := range []struct {
		incarnation, seq uint64
		says             string
		at               time.Duration
		want             string
	}{
		{9, 5, "first", time.Second, "first"},
		{9, 4, "overtaken", time.Second, "first"},
		{3, 1, "a former process", 2 * time.Second, "first"},
		{3, 2, "the clock went back", 4 * time.Second, "the clock went back"},
		{3, 3, "more", 5 * time.Second, "more"},
	} {
		if got := say(step.incarnation, step.seq, step.says, step.at); got != step.want {
			t.Errorf("%d.%d at %s: shown is %q, want %q", step.incarnation, step.seq, step.at, got, step.want)
		}
	}
}
