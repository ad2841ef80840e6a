package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/mailsink"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/wording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 10, 5, 3, 12, 4, 0, time.FixedZone("CEST", 2*60*60))

// failure is one host of three down for five minutes.
func failure() alerts.Event {
	return alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Description: "the shop's front page",
		Period: "night", Time: began.Add(5 * time.Minute),
		Hosts: []alerts.Host{
			{Name: "10.0.0.1", State: alerts.HostUp, Since: began.Add(-time.Hour)},
			{Name: "10.0.0.2", State: alerts.HostUp},
			{Name: "10.0.0.3", State: alerts.HostDown, Since: began, Reason: "connection refused", Concerned: true},
			{Name: "10.0.0.4", State: alerts.HostDown, Disabled: true},
		},
		Summary: "10.0.0.3", Output: []byte("10.0.0.3\n10.0.0.3 down: connection refused\n"),
		Reason: "failure 3 of alertafter 3", Events: 12,
		FirstFailure: began, LastFailure: began.Add(5 * time.Minute), LastSuccess: began.Add(-10 * time.Second),
		Outage: "web:http:17",
	}
}

func recovery() alerts.Event {
	e := failure()
	e.Kind, e.Time, e.Reason, e.Events = alerts.Up, began.Add(35*time.Minute), "recovered", 30
	e.Hosts[2].State, e.Hosts[2].Since, e.Hosts[2].Reason = alerts.HostUp, e.Time, ""
	return e
}

// newMailer builds the kind as the loader does: the user's values over the
// defaults.
func newMailer(t testing.TB, set func(*Config)) alerts.Alert {
	t.Helper()
	a, err := configured(set)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func configured(set func(*Config)) (alerts.Alert, error) {
	return alerts.Build("mail", alerts.Site{Hostname: "dir1"}, func(into any) error {
		c := into.(*Config)
		c.To = []string{"oncall@example.com"}
		set(c)
		return nil
	})
}

func startSink(t testing.TB, opts mailsink.Options) *mailsink.Server {
	t.Helper()
	s, err := mailsink.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("mail sink: %v", err)
		}
	})
	return s
}

// sent sends an event to a sink and returns the mail that arrived.
func sent(t testing.TB, e alerts.Event, set func(*Config)) mailsink.Message {
	t.Helper()
	sink := startSink(t, mailsink.Options{})
	a := newMailer(t, func(c *Config) { c.Server = sink.Addr(); set(c) })
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return arrived(t, sink)
}

func arrived(t testing.TB, sink *mailsink.Server) mailsink.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := sink.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func body(t testing.TB, m mailsink.Message) string {
	t.Helper()
	text, err := m.Body()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestConformance(t *testing.T) {
	alerttest.Run(t, alerttest.Subject{
		New: func(t testing.TB) alerts.Alert {
			sink := startSink(t, mailsink.Options{})
			return newMailer(t, func(c *Config) { c.Server = sink.Addr() })
		},
		Broken: func(t testing.TB) alerts.Alert {
			sink := startSink(t, mailsink.Options{Rcpt: func(string) error { return mailsink.Refuse(550, "no such user") }})
			return newMailer(t, func(c *Config) { c.Server = sink.Addr() })
		},
		Blocked: func(t testing.TB) alerts.Alert { return newMailer(t, func(c *Config) { c.Server = mute(t) }) },
	})
}

func TestConformanceOfSendmail(t *testing.T) {
	alerttest.Run(t, alerttest.Subject{
		New:     func(t testing.TB) alerts.Alert { return viaScript(t, "cat >/dev/null") },
		Broken:  func(t testing.TB) alerts.Alert { return viaScript(t, "exit 75") },
		Blocked: func(t testing.TB) alerts.Alert { return viaScript(t, "exec sleep 60") },
	})
}

func TestFailureMail(t *testing.T) {
	m := sent(t, failure(), func(*Config) {})
	want := `10.0.0.3 down since 03:12:04 (5m): connection refused

Still up (2): 10.0.0.1, 10.0.0.2

Service: web:http - the shop's front page
Why this mail: failure 3 of alertafter 3 (period night)
Time: Mon 5 Oct 2026 03:17:04 CEST
First failure: 03:12:04
Last success: 03:11:54
Sent by: monitord on dir1

Output of the monitor:
10.0.0.3
10.0.0.3 down: connection refused
`
	if diff := cmp.Diff(want, body(t, m)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"Subject":            "DOWN web:http: 10.0.0.3 (1 of 3)",
		"From":               "<monitord@dir1>",
		"To":                 "<oncall@example.com>",
		"Date":               "Mon, 05 Oct 2026 03:17:04 +0200",
		"Auto-Submitted":     "auto-generated",
		"X-Monitord-Group":   "web",
		"X-Monitord-Service": "http",
		"X-Monitord-Kind":    "failure",
	} {
		if got := m.Header(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if m.UTF8 {
		t.Error("the mail claims SMTPUTF8 and needs it not")
	}
	if m.From != "monitord@dir1" || strings.Join(m.To, " ") != "oncall@example.com" || m.Helo != "dir1" {
		t.Errorf("envelope from %s to %v, helo %s", m.From, m.To, m.Helo)
	}
}

func TestRecoveryMail(t *testing.T) {
	m := sent(t, recovery(), func(*Config) {})
	want := `10.0.0.3 up since 03:47:04
The outage lasted 35m.

Also up (2): 10.0.0.1, 10.0.0.2

Service: web:http - the shop's front page
Why this mail: recovered (period night)
Time: Mon 5 Oct 2026 03:47:04 CEST
First failure: 03:12:04
Last success: 03:11:54
Sent by: monitord on dir1

Output of the last failure:
10.0.0.3
10.0.0.3 down: connection refused
`
	if diff := cmp.Diff(want, body(t, m)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got, want := m.Subject(), "UP web:http: 10.0.0.3 (all 3 up)"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
}

// TestDigestMail: what is told comes first, and once.
func TestDigestMail(t *testing.T) {
	e := alerts.Event{
		Kind: alerts.Digest, Group: "monitord", Service: "digest", Summary: "1 failing; 1 outage began, 0 ended",
		Output: []byte("1 failing; 1 outage began, 0 ended\nfrom 08:00 until 08:00\n\nfailing, the longest first:\n  web:http w1 for 2h0m0s\n"),
		Reason: "it is time for the digest", Status: 1,
	}
	m := sent(t, e, func(*Config) {})
	want := `1 failing; 1 outage began, 0 ended
from 08:00 until 08:00

failing, the longest first:
  web:http w1 for 2h0m0s

Service: monitord:digest
Why this mail: it is time for the digest
Sent by: monitord on dir1
`
	if diff := cmp.Diff(want, body(t, m)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got, want := m.Subject(), "DIGEST monitord:digest: 1 failing; 1 outage began, 0 ended"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
}

func TestOneHostBackIsNotTheEndOfTheOutage(t *testing.T) {
	e := recovery()
	e.Hosts[0].State, e.Hosts[0].Reason = alerts.HostDown, "no route"
	text := body(t, sent(t, e, func(*Config) {}))
	if want := "10.0.0.3 up since 03:47:04\n\nStill down (1):\n10.0.0.1 down since"; strings.Contains(text, "lasted") || !strings.HasPrefix(text, want) {
		t.Errorf("body\n%s\nwant it to begin\n%s", text, want)
	}
}

func TestSubjects(t *testing.T) {
	host := func(name string, state alerts.HostState, concerned bool) alerts.Host {
		return alerts.Host{Name: name, State: state, Concerned: concerned}
	}
	up, down, unknown := alerts.HostUp, alerts.HostDown, alerts.HostUnknown
	tests := []struct {
		name          string
		kind, testing alerts.Kind
		hosts         []alerts.Host
		summary       string
		want          string
	}{
		{name: "a group of one", hosts: []alerts.Host{host("db", down, true)}, want: "DOWN web:http: db"},
		{name: "three", hosts: []alerts.Host{host("a", down, true), host("b", down, true), host("c", down, true)}, want: "DOWN web:http: a, b, c (3 of 3)"},
		{
			name:  "four",
			hosts: []alerts.Host{host("a", down, true), host("b", down, true), host("c", down, true), host("d", down, true), host("e", up, false)},
			want:  "DOWN web:http: 4 of 5 down: a, b, … and 2 more",
		},
		{name: "one more", hosts: []alerts.Host{host("a", down, true), host("b", down, false)}, want: "DOWN web:http: a (2 of 2 down)"},
		{name: "no host", summary: "it rains", want: "DOWN web:http: it rains"},
		{name: "nothing", want: "DOWN web:http"},
		{name: "back, others not", kind: alerts.Up, hosts: []alerts.Host{host("a", up, true), host("b", down, false)}, want: "UP web:http: a (1 of 2 still down)"},
		{name: "back, others unknown", kind: alerts.Up, hosts: []alerts.Host{host("a", up, true), host("b", unknown, false)}, want: "UP web:http: a (1 of 2 up)"},
		{
			name: "all back", kind: alerts.Up,
			hosts: []alerts.Host{host("a", up, true), host("b", up, true), host("c", up, true), host("d", up, true)},
			want:  "UP web:http: 4 of 4 up: a, b, … and 2 more",
		},
		{name: "ack", kind: alerts.Ack, hosts: []alerts.Host{host("a", down, true), host("b", up, false)}, want: "ACK web:http: a (1 of 2)"},
		{name: "test", kind: alerts.Test, testing: alerts.Up, hosts: []alerts.Host{host("a", up, true)}, want: "TEST UP web:http: a"},
		{name: "test of tests", kind: alerts.Test, testing: alerts.Test, want: "TEST web:http"},
		{name: "no trap came", kind: alerts.TrapTimeout, summary: "trap timeout", want: "NO TRAP web:http: trap timeout"},
		{name: "long name", hosts: []alerts.Host{host(strings.Repeat("ü", 300), down, true)}, want: "DOWN web:http: " + strings.Repeat("ü", 63) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := failure()
			e.Kind, e.Testing, e.Hosts, e.Summary = tt.kind, tt.testing, tt.hosts, tt.summary
			text := mustParse(t)
			if got, _, _ := text.render(wording.New(e, "")); got != tt.want {
				t.Errorf("subject %q, want %q", got, tt.want)
			}
		})
	}
}

func mustParse(t testing.TB) texts {
	t.Helper()
	text, err := parseTexts(defaults())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestThousandHostsAreOneMail(t *testing.T) {
	e := failure()
	e.Hosts = nil
	for i := range 1200 {
		h := alerts.Host{Name: fmt.Sprintf("web-%03d", i+1), State: alerts.HostUp}
		if i < 1000 {
			h.State, h.Concerned, h.Since, h.Reason = alerts.HostDown, true, began, "no answer within 1s"
		}
		e.Hosts = append(e.Hosts, h)
	}
	sink := startSink(t, mailsink.Options{})
	a := newMailer(t, func(c *Config) { c.Server = sink.Addr() })
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if n := len(sink.Messages()); n != 1 {
		t.Fatalf("%d mails, want 1", n)
	}
	m := arrived(t, sink)
	if got, want := m.Subject(), "DOWN web:http: 1000 of 1200 down: web-001, web-002, … and 998 more"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	text := body(t, m)
	for _, h := range e.Hosts {
		if !strings.Contains(text, h.Name) {
			t.Fatalf("%s is not in the body", h.Name)
		}
	}
	if !strings.Contains(text, "Still up (200): web-1001, ") {
		t.Error("the body does not name those still up")
	}
}

func TestOutageIsOneThread(t *testing.T) {
	repeated := failure()
	repeated.Time, repeated.Events = repeated.Time.Add(time.Hour), 72
	events := []alerts.Event{failure(), repeated, recovery()}

	// Each mail comes from another director, freshly started.
	seen := map[string]bool{}
	threads := map[string]bool{}
	for i, e := range events {
		m := sent(t, e, func(c *Config) { c.From = fmt.Sprintf("monitord@dir%d.example.com", i) })
		id, reply, refs := m.Header("Message-Id"), m.Header("In-Reply-To"), m.Header("References")
		if reply == "" || reply != refs {
			t.Errorf("event %d: In-Reply-To %q, References %q", i, reply, refs)
		}
		if id == reply || seen[id] {
			t.Errorf("event %d: Message-ID %q is not its own", i, id)
		}
		seen[id], threads[reply] = true, true

		if again := sent(t, e, func(*Config) {}).Header("Message-Id"); again != id {
			t.Errorf("event %d sent again has Message-ID %q, had %q", i, again, id)
		}
	}
	if len(threads) != 1 {
		t.Errorf("%d threads, want 1: %v", len(threads), threads)
	}

	next := failure()
	next.Outage = "web:http:18"
	if thread := sent(t, next, func(*Config) {}).Header("In-Reply-To"); threads[thread] {
		t.Error("the next outage is in the same thread")
	}
	next.Outage = ""
	if thread := sent(t, next, func(*Config) {}).Header("In-Reply-To"); thread != "" {
		t.Errorf("a mail of no outage replies to %q", thread)
	}
}

func TestMessageIDTellsEventsApart(t *testing.T) {
	v, err := parseEnvelope(Config{To: []string{"a@example.com"}}, alerts.Site{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := parseEnvelope(Config{To: []string{"a@example.com"}, Cc: []string{"b@example.com"}}, alerts.Site{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{v.messageID(failure()): "the failure"}
	for name, change := range map[string]func(*alerts.Event){
		"kind":    func(e *alerts.Event) { e.Kind = alerts.Ack },
		"time":    func(e *alerts.Event) { e.Time = e.Time.Add(1) },
		"period":  func(e *alerts.Event) { e.Period = "day" },
		"hosts":   func(e *alerts.Event) { e.Hosts[1].Concerned = true },
		"service": func(e *alerts.Event) { e.Group, e.Service = "we", "bhttp" },
	} {
		e := failure()
		change(&e)
		id := v.messageID(e)
		if was, taken := ids[id]; taken {
			t.Errorf("another %s has the id of %s", name, was)
		}
		ids[id] = name
	}
	if _, taken := ids[other.messageID(failure())]; taken {
		t.Error("a mail to others has the same id")
	}
}

func TestHostileTextStaysInItsPlace(t *testing.T) {
	const evil = "x\r\nBcc: everybody@example.com\r\n\r\n.\r\nQUIT\r\n\x1b[2J\x00\xff\u2028y"
	clean := sent(t, failure(), func(*Config) {})
	e := failure()
	e.Hosts, e.Group, e.Service, e.Summary, e.Output = nil, evil, evil, evil, []byte(evil)
	e.Description, e.Reason, e.Period, e.Ack = evil, evil, evil, evil
	m := sent(t, e, func(*Config) {})

	if got, want := headerNames(t, m.Raw), headerNames(t, clean.Raw); !cmp.Equal(got, want) {
		t.Errorf("header fields %v, want %v", got, want)
	}
	const line = "x Bcc: everybody@example.com . QUIT [2J � y"
	if got, want := m.Subject(), "DOWN "+line+":"+line+": "+line; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	text := body(t, m)
	if !strings.HasSuffix(text, "\nOutput of the monitor:\nx\nBcc: everybody@example.com\n\n.\nQUIT\n[2J�\u2028y\n") {
		t.Errorf("body %q", text)
	}
	if strings.ContainsAny(text, "\x00\x1b\r") {
		t.Errorf("control characters in the body %q", text)
	}
}

func headerNames(t testing.TB, raw []byte) map[string]int {
	t.Helper()
	parsed, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	names := map[string]int{}
	for name, values := range parsed.Header {
		names[name] = len(values)
	}
	return names
}

func TestUnicode(t *testing.T) {
	e := failure()
	e.Group, e.Hosts[2].Name, e.Hosts[2].Reason = "Bücher", "日本", "Zeitüberschreitung — 超时"
	m := sent(t, e, func(c *Config) { c.To = []string{"Bereitschaft Süd <oncall@example.com>"} })
	if got, want := m.Subject(), "DOWN Bücher:http: 日本 (1 of 3)"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got, want := m.Header("To"), "Bereitschaft Süd <oncall@example.com>"; got != want {
		t.Errorf("To: %q, want %q", got, want)
	}
	if text := body(t, m); !strings.HasPrefix(text, "日本 down since 03:12:04 (5m): Zeitüberschreitung — 超时\n") {
		t.Errorf("body %q", text)
	}
	for i, b := range m.Raw {
		if b > 126 || (b < ' ' && b != '\r' && b != '\n') {
			t.Fatalf("byte %#x at %d of the mail, which must be ASCII:\n%s", b, i, m.Raw)
		}
	}
}

func TestLongOutputIsCut(t *testing.T) {
	e := failure()
	e.Output = bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	e.Reason = strings.Repeat("because ", 1000)
	text := body(t, sent(t, e, func(*Config) {}))
	if want := "… 983040 more bytes left out\n"; !strings.HasSuffix(text, want) {
		t.Errorf("the body ends in %q, want %q", text[len(text)-60:], want)
	}
	if n := len(text); n < wording.OutputLimit || n > wording.OutputLimit+2000 {
		t.Errorf("the body has %d bytes", n)
	}
	for line := range bytes.SplitSeq(sent(t, e, func(*Config) {}).Raw, []byte("\r\n")) {
		if len(line) > 78 {
			t.Fatalf("a line of %d bytes: %.100s", len(line), line)
		}
	}
}

func TestOwnTemplates(t *testing.T) {
	m := sent(t, failure(), func(c *Config) {
		c.Subject = "[{{.State}} {{.Who}}]\n {{.Group}}:{{.Service}}"
		c.Body = "{{range .Hosts}}{{.Name}}={{.State}} {{end}}{{.Kind}} {{.Lasted}} {{.Output}}"
	})
	if got, want := m.Subject(), "[DOWN 10.0.0.3 (1 of 3)] web:http"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got, want := body(t, m), "10.0.0.1=up 10.0.0.2=up 10.0.0.3=down failure 5m 10.0.0.3\n10.0.0.3 down: connection refused\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestTemplatesMayNameAnything(t *testing.T) {
	e := failure()
	e.Previous = "a\x1b[2J\x00\xff\r\nb"
	m := sent(t, e, func(c *Config) { c.Subject, c.Body = "{{.Previous}}!", "{{.Previous}}!" })
	if got, want := m.Subject(), "a [2J � b!"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got, want := body(t, m), "a[2J�\nb!\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestTemplateThatFailsOnAnEventLosesNothing(t *testing.T) {
	sink := startSink(t, mailsink.Options{})
	a := newMailer(t, func(c *Config) {
		c.Server = sink.Addr()
		c.Subject = "{{(index .Hosts 2).Name}}"
	})
	e := failure()
	e.Hosts = e.Hosts[2:3]
	err := a.Send(t.Context(), e)
	want := `delivered with a complaint: the template of the subject failed: subject:1:3: executing "subject" at <index .Hosts 2>: error calling index: index out of range: 2`
	if !errors.Is(err, alerts.ErrDelivered) || err.Error() != want {
		t.Errorf("Send = %v, want %s", err, want)
	}
	m := arrived(t, sink)
	if got, want := m.Subject(), "DOWN web:http: 10.0.0.3"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if text := body(t, m); !strings.Contains(text, "This is the default text: the template of the subject failed") {
		t.Errorf("body %q", text)
	}
}

func TestBadConfiguration(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const fields = "; a template may use .State, .Who, .Group, .Service, .Description, .Kind, .Summary, .Output, .Reason, .Period, .Time, .Hosts, .Concerned, .OthersDown, .OthersUnknown, .OthersUp, .Lasted, .Ack and .Director"
	tests := []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"nobody", func(c *Config) { c.To = nil }, `to: names nobody: give at least one address, such as ["oncall@example.com"]`},
		{"to", func(c *Config) { c.To = []string{"a@b", "oncall"} }, `to: "oncall" is not a mail address: write "user@host" or "Name <user@host>"`},
		{"to, an option", func(c *Config) { c.To = []string{"-oQ/tmp@b"} }, `to: "-oQ/tmp@b" is not a mail address: write "user@host" or "Name <user@host>"`},
		{"cc", func(c *Config) { c.Cc = []string{"a@b\r\nBcc: c@d"} }, `cc: "a@b\r\nBcc: c@d" is not a mail address: write "user@host" or "Name <user@host>"`},
		{"from", func(c *Config) { c.From = "monitord" }, `from: "monitord" is not a mail address: write "user@host" or "Name <user@host>"`},
		{"server", func(c *Config) { c.Server = "mail.example.com" }, `server: "mail.example.com" is not "host:port", such as "mail.example.com:587" or "[::1]:25"`},
		{"port", func(c *Config) { c.Server = "mail.example.com:smtp" }, `server: "mail.example.com:smtp" is not "host:port", such as "mail.example.com:587" or "[::1]:25"`},
		{"tls", func(c *Config) { c.Server, c.TLS = "[::1]:25", "ssl" }, `tls: "ssl" is not one of "starttls", "tls" and "none"`},
		{"tls without server", func(c *Config) { c.TLS = "tls" }, `tls: is for a mail server, and there is none: add server = "host:port"`},
		{"verify without server", func(c *Config) { c.Verify = false }, `verify: is for a mail server, and there is none: add server = "host:port"`},
		{"user without password", func(c *Config) { c.Server, c.User = "m:25", "mon" }, `password: is missing for the user "mon": add password or password_file`},
		{"password without user", func(c *Config) { c.Server, c.Password = "m:25", "pw" }, `user: is missing: there is a password but nobody to log in as`},
		{"password in clear", func(c *Config) { c.Server, c.TLS, c.User, c.Password = "m:25", "none", "mon", "pw" }, `tls: "none" would send the password in clear to m:25: use "starttls" or "tls"`},
		{"ca_file missing", func(c *Config) { c.Server, c.CAFile = "m:25", "/nowhere/ca.pem" }, `ca_file: open /nowhere/ca.pem: no such file or directory`},
		{"ca_file empty", func(c *Config) { c.Server, c.CAFile = "m:25", empty }, `ca_file: ` + empty + ` holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")`},
		{"ca_file without verify", func(c *Config) { c.Server, c.CAFile, c.Verify = "m:25", empty, false }, `ca_file: is not used with verify = false: leave out one of the two`},
		{"sendmail and server", func(c *Config) { c.Server, c.Sendmail = "m:25", "/bin/true" }, `sendmail: is not used when there is a server: leave out one of the two`},
		{"sendmail", func(c *Config) { c.Sendmail = "sendmail" }, `sendmail: "sendmail" is not the path of a program: write it from the root, such as "/usr/sbin/sendmail"`},
		{"helo", func(c *Config) { c.Server, c.HELO = "m:25", "two words" }, `helo: "two words" is not a host name`},
		{"timeout", func(c *Config) { c.Timeout = 0 }, `timeout: must be more than 0, such as "30s"`},
		{"subject, syntax", func(c *Config) { c.Subject = "{{.State" }, `subject: subject:1: unclosed action`},
		{"subject, field", func(c *Config) { c.Subject = "{{.Stat}}" }, `subject: subject:1:2: executing "subject" at <.Stat>: can't evaluate field Stat in type wording.Message` + fields},
		{"subject, empty", func(c *Config) { c.Subject = " " }, `subject: is empty for an event of kind "failure"; leave the key out for the default text`},
		{"body, function", func(c *Config) { c.Body = "\n{{upper .State}}" }, `body: body:2: function "upper" not defined`},
		{"body, empty for up", func(c *Config) { c.Body = "{{if .Kind.Failing}}down{{end}}" }, `body: is empty for an event of kind "up"; leave the key out for the default text`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configured(tt.set)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("error\n%s\nwant\n%s", got, tt.want)
			}
			if blamed := new(plugin.KeyError); !errors.As(err, &blamed) {
				t.Errorf("the error blames no key: %T", err)
			}
		})
	}
}

// FuzzHeaders seals arbitrary texts and looks for header fields of their making.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{
		"DOWN web:http: 10.0.0.3 (1 of 3)", "a\r\nBcc: x@example.com", "a\n\nbody", "\r", "ü\u2028\u0085", "\xff\x00",
		"=?utf-8?q?a=0D=0ABcc:?=", strings.Repeat("x", 2000), " ", "", ": :", strings.Repeat("ü ", 300),
	} {
		f.Add(seed, seed)
	}
	v, err := parseEnvelope(Config{To: []string{"a@example.com"}}, alerts.Site{})
	if err != nil {
		f.Fatal(err)
	}
	plainLetter, err := v.seal(failure(), "subject", "body")
	if err != nil {
		f.Fatal(err)
	}
	want := headerNames(f, plainLetter.text)
	f.Fuzz(func(t *testing.T, subject, group string) {
		e := failure()
		e.Group, e.Service = group, subject
		l, err := v.seal(e, subject, subject)
		if err != nil {
			t.Fatal(err)
		}
		if got := headerNames(t, l.text); !cmp.Equal(got, want) {
			t.Errorf("header fields %v, want %v, in\n%s", got, want, l.text)
		}
		if i := bytes.IndexFunc(l.text, func(r rune) bool { return r == 0 || r > 126 }); i >= 0 {
			t.Errorf("byte %#x in the mail", l.text[i])
		}
	})
}
