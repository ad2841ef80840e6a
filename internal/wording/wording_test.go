package wording

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/monitord/monitord/alerts"
)

func TestTexts(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"one line", OneLine(" a\r\nb\tc\x1b[2J\x00 \xff "), "a b c [2J \uFFFD"},
		{"separators end a line", OneLine("a\u2028b\u2029c"), "a b c"},
		{"plain keeps lines and tabs", Plain("a\r\nb\rc\td\x00\x1b"), "a\nb\nc\td"},
		{"clip counts characters", Clip("äöüß", 3), "äö…"},
		{"clip leaves what fits", Clip("äöü", 3), "äöü"},
		{"spell", spell(26*time.Hour + 5*time.Minute), "1d 2h"},
		{"spell nothing", spell(-time.Second), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

// What a monitor printed reaches no template whole, however long and odd it is.
func TestMessageIsBounded(t *testing.T) {
	long := strings.Repeat("\xff\x1b\r\n", 1<<20)
	m := New(alerts.Event{
		Summary: long, Output: []byte(long), Description: long, Reason: long, Ack: long,
		Hosts: []alerts.Host{{Name: "web1", State: alerts.HostDown, Reason: long, Concerned: true}, {Name: "off", Disabled: true}},
	}, "dr1")
	for name, text := range map[string]string{"summary": m.Summary, "description": m.Description, "reason": m.Reason, "ack": m.Ack, "host": m.Hosts[0].Reason} {
		if utf8.RuneCountInString(text) > 300 || strings.ContainsAny(text, "\r\n\x1b") {
			t.Errorf("%s: %d characters, %.40q", name, utf8.RuneCountInString(text), text)
		}
	}
	if len(m.Output) > 4*OutputLimit || !utf8.ValidString(m.Output) || len(m.Hosts) != 1 {
		t.Errorf("output of %d bytes, %d hosts", len(m.Output), len(m.Hosts))
	}
}
