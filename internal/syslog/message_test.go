package syslog

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"pgregory.net/rapid"
)

func aMessage() Message {
	return Message{
		Facility: 3, Severity: Critical, Time: time.Date(2024, 2, 9, 12, 1, 0, 123456789, time.UTC), Hostname: "dr1.example.org",
		App: "monitord", PID: 42, ID: "failure", Text: "DOWN web:http: wéb2",
	}
}

func TestFormats(t *testing.T) {
	m := aMessage()
	stamp := m.Time.Local().Format("Jan _2 15:04:05")
	bare := Message{Text: "x", Time: m.Time}
	for _, c := range []struct{ name, got, want string }{
		{"RFC 5424", string(RFC5424(m, 2048)), "<26>1 2024-02-09T12:01:00.123456Z dr1.example.org monitord 42 failure - DOWN web:http: wéb2"},
		{"RFC 5424 of little", string(RFC5424(Message{Text: "x"}, 2048)), "<0>1 - - - - - - x"},
		{"RFC 3164", string(RFC3164(m, 1024)), "<26>" + stamp + " dr1 monitord[42]: DOWN web:http: wéb2"},
		{"RFC 3164 with an address", string(RFC3164(Message{Time: m.Time, Hostname: "10.0.0.1", App: "a", Text: "x"}, 1024)), "<0>" + stamp + " 10.0.0.1 a: x"},
		{"local", string(Local(m, 1024)), "<26>" + stamp + " monitord[42]: DOWN web:http: wéb2"},
		{"local of little", string(Local(bare, 1024)), "<0>" + stamp + " -: x"},
		{"cut between characters", string(Local(m, len("<26>"+stamp+" monitord[42]: DOWN web:http: w")+1)), "<26>" + stamp + " monitord[42]: DOWN web:http: w"},
		{"one line", string(RFC5424(Message{Text: "a\nb\r\nc\x00\x1b[2J\u0085\xff"}, 2048)), "<0>1 - - - - - - a b  c  [2J \uFFFD"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, c.got, c.want)
		}
	}
}

// Whatever the texts are, an independent parser finds them in their places.
func TestParsersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			Facility: Facility(rapid.IntRange(0, 23).Draw(t, "facility")), Severity: Severity(rapid.IntRange(0, 7).Draw(t, "severity")),
			Time:     time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")),
			Hostname: string(rapid.SliceOf(rapid.Byte()).Draw(t, "host")), App: rapid.String().Draw(t, "app"),
			PID: rapid.IntRange(0, 1<<22).Draw(t, "pid"), ID: rapid.String().Draw(t, "id"), Text: string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")),
		}
		limit := rapid.IntRange(600, 2048).Draw(t, "limit")
		text := RFC5424(m, limit)
		parsed, err := rfc5424.NewParser().Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got := parsed.(*rfc5424.SyslogMessage)
		if *got.Facility != uint8(m.Facility) || *got.Severity != uint8(m.Severity) || !got.Timestamp.Equal(m.Time.Truncate(time.Microsecond)) {
			t.Errorf("%q is read as %+v", text, got)
		}
		for _, one := range [][]byte{text, RFC3164(m, limit), Local(m, limit)} {
			if len(one) > limit || !utf8.Valid(one) || strings.ContainsAny(string(one), "\n\r\x00") {
				t.Errorf("%q", one)
			}
		}
	})
}

func TestOldFormatIsRead(t *testing.T) {
	parsed, err := rfc3164.NewParser().Parse(RFC3164(aMessage(), OldLimit))
	if err != nil {
		t.Fatal(err)
	}
	got := parsed.(*rfc3164.SyslogMessage)
	if *got.Hostname != "dr1" || *got.Appname != "monitord" || *got.ProcID != "42" || *got.Message != "DOWN web:http: wéb2" || *got.Priority != 26 {
		t.Errorf("read as %+v", got)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]Facility{"kern": 0, "daemon": 3, "DAEMON": 3, "log_daemon": 3, "LOG_LOCAL7": 23, "local0": 16, "authpriv": 10} {
		if got, err := ParseFacility(name); err != nil || got != want {
			t.Errorf("%s is %v, %v", name, got, err)
		}
	}
	for f := range Facility(24) {
		if got, err := ParseFacility(f.String()); err != nil || got != f {
			t.Errorf("%s is %v, %v", f, got, err)
		}
	}
	for s := Emergency; s <= Debug; s++ {
		if got, err := ParseSeverity(s.String()); err != nil || got != s {
			t.Errorf("%s is %v, %v", s, got, err)
		}
	}
	for _, wrong := range []string{"", "demon", "local8", "3"} {
		if _, err := ParseFacility(wrong); err == nil || !strings.Contains(err.Error(), "local7") {
			t.Errorf("%q: %v", wrong, err)
		}
		if _, err := ParseSeverity(wrong); err == nil || !strings.Contains(err.Error(), "crit") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
