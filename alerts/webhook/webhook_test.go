package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(change func(*Config)) (alerts.Alert, error) {
	return alerts.Build("webhook", alerts.Site{Hostname: "dr1"}, func(into any) error {
		c := into.(*Config)
		c.URL = "http://127.0.0.1:1/"
		change(c)
		return nil
	})
}

func newHook(t testing.TB, change func(*Config)) alerts.Alert {
	t.Helper()
	a, err := configured(change)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A receiver notes the requests that it gets.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

type received struct {
	*http.Request
	body []byte
}

// receive answers each request with a status and a text.
func receive(t testing.TB, status int, text string) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(r.handler(status, text))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) handler(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return // the client has gone
		}
		r.mu.Lock()
		r.got = append(r.got, received{request, body})
		r.mu.Unlock()
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "https://elsewhere.example/secret-place")
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "30")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may have gone
	}
}

func (r *receiver) last(t *testing.T) received {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("no request came")
	}
	return r.got[len(r.got)-1]
}

// silent accepts connections and says nothing.
func silent(t testing.TB) string {
	return "http://" + dialtest.Serve(t, "127.0.0.1", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

func TestConformance(t *testing.T) {
	for _, format := range []string{formatMonitord, formatSlack, formatAlertmanager, formatPagerDuty} {
		t.Run(format, func(t *testing.T) {
			to := func(url func(t testing.TB) string) func(t testing.TB) alerts.Alert {
				return func(t testing.TB) alerts.Alert {
					return newHook(t, func(c *Config) {
						c.URL, c.Format, c.RoutingKey, c.SignSecret, c.Timeout = alerts.Secret(url(t)), format, "key", "secret", alerts.Duration(time.Minute)
					})
				}
			}
			alerttest.Run(t, alerttest.Subject{
				New:     to(func(t testing.TB) string { return receive(t, 202, "").URL }),
				Broken:  to(func(t testing.TB) string { return receive(t, 500, "").URL }),
				Blocked: to(silent),
			})
		})
	}
}

// No answer to the connection, to the handshake, to the request, and half an answer.
func TestBlocked(t *testing.T) {
	for name, url := range map[string]func(t testing.TB) string{
		"connection": func(t testing.TB) string { return "http://" + dialtest.Dropped(t, "127.0.0.1") },
		"handshake":  func(t testing.TB) string { return strings.Replace(silent(t), "http:", "https:", 1) },
		"IPv6": func(t testing.TB) string {
			return "http://" + dialtest.Serve(t, "::1", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		},
		"half an answer": func(t testing.TB) string {
			return "http://" + dialtest.Serve(t, "127.0.0.1", func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf") // the client may have gone
				_, _ = io.Copy(io.Discard, c)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newHook(t, func(c *Config) { c.URL = alerts.Secret(url(t)); c.Timeout = alerts.Duration(100 * time.Millisecond) })
			err := a.Send(t.Context(), failure())
			if err == nil {
				t.Error("no error")
			}
			if name != "half an answer" && (!errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 100ms")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func failure() alerts.Event {
	at := time.Date(2024, 2, 29, 12, 1, 0, 0, time.UTC)
	return alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Description: "the shop", Period: "always", Time: at,
		Hosts: []alerts.Host{
			{Name: "web1", State: alerts.HostUp},
			{Name: "web2", State: alerts.HostDown, Since: at.Add(-time.Minute), Reason: "connection refused", Concerned: true},
			{Name: "web3", Reason: "no address"},
		},
		Summary: "web2", Output: []byte("web2\nweb2: <!channel> \"refused\"\n"), Reason: "failure 3 of alertafter 3", Exit: new(1), Events: 3,
		FirstFailure: at.Add(-time.Minute), LastFailure: at, LastSuccess: at.Add(-2 * time.Minute), Outage: "web:http@1709208000000",
		Env: []string{"SITE=north"},
	}
}

func recovery() alerts.Event {
	e := failure()
	e.Kind, e.Status, e.Exit, e.Time = alerts.Up, 1, new(0), e.Time.Add(time.Hour)
	e.Hosts = append([]alerts.Host(nil), e.Hosts...)
	e.Hosts[1] = alerts.Host{Name: "web2", State: alerts.HostUp, Since: e.Time, Concerned: true}
	return e
}

// sent is what a receiver gets for an event, as JSON.
func sent(t *testing.T, e alerts.Event, change func(*Config)) any {
	t.Helper()
	r := receive(t, 200, "ok")
	a := newHook(t, func(c *Config) { c.URL = alerts.Secret(r.URL + "/hook"); change(c) })
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(r.last(t).body, &value); err != nil {
		t.Fatalf("%v in %s", err, r.last(t).body)
	}
	return value
}

// at takes a value out of JSON: at(v, "hosts", 1, "name").
func at(t *testing.T, value any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := value.(map[string]any)
			if !ok {
				t.Fatalf("%v: %v is no object", path, value)
			}
			value = object[step]
		case int:
			list, ok := value.([]any)
			if !ok || step >= len(list) {
				t.Fatalf("%v: %v is no list of more than %d", path, value, step)
			}
			value = list[step]
		}
	}
	return value
}

func want(t *testing.T, value any, expected any, path ...any) {
	t.Helper()
	if got := at(t, value, path...); got != expected {
		t.Errorf("%v is %v, want %v", path, got, expected)
	}
}

func TestWholeEvent(t *testing.T) {
	e := failure()
	e.Hosts[2].Disabled = true
	e.Output = append(e.Output, 0xff, 0)
	v := sent(t, e, func(*Config) {})
	for _, w := range []struct {
		expected any
		path     []any
	}{
		{"failure", []any{"kind"}},
		{"DOWN web:http: web2 (1 of 2)", []any{"headline"}},
		{"web", []any{"group"}},
		{"http", []any{"service"}},
		{"the shop", []any{"description"}},
		{"always", []any{"period"}},
		{"dr1", []any{"director"}},
		{"2024-02-29T12:01:00Z", []any{"time"}},
		{"2024-02-29T12:00:00Z", []any{"first_failure"}},
		{"web2", []any{"summary"}},
		{"web2\nweb2: <!channel> \"refused\"\n\uFFFD\x00", []any{"output"}},
		{"failure 3 of alertafter 3", []any{"reason"}},
		{"web:http@1709208000000", []any{"outage"}},
		{0.0, []any{"status"}},
		{1.0, []any{"exit"}},
		{3.0, []any{"events"}},
		{"north", []any{"env", "SITE"}},
		{"web2", []any{"hosts", 1, "name"}},
		{"down", []any{"hosts", 1, "state"}},
		{"connection refused", []any{"hosts", 1, "reason"}},
		{true, []any{"hosts", 1, "concerned"}},
		{false, []any{"hosts", 0, "concerned"}},
		{nil, []any{"hosts", 0, "since"}},
		{true, []any{"hosts", 2, "disabled"}},
		{"unknown", []any{"hosts", 2, "state"}},
	} {
		want(t, v, w.expected, w.path...)
	}
	test := e
	test.Kind, test.Testing = alerts.Test, alerts.Up
	want(t, sent(t, test, func(*Config) {}), "up", "testing")
}

func TestSlack(t *testing.T) {
	e := failure()
	e.Hosts[1].Reason = "<!channel> & *bold*"
	slack := func(c *Config) { c.Format = "slack" }
	want(t, sent(t, e, slack), "*DOWN web:http: web2 (1 of 3)*\nweb2 down since 12:00:00 (1m): &lt;!channel&gt; &amp; *bold*\nthe shop\nwhy: failure 3 of alertafter 3", "text")
	up := at(t, sent(t, recovery(), slack), "text").(string)
	if !strings.HasPrefix(up, "*UP web:http: web2") {
		t.Errorf("recovery: %s", up)
	}
}

func TestAlertmanager(t *testing.T) {
	manager := func(c *Config) { c.Format = "alertmanager" }
	v := sent(t, failure(), manager)
	if n := len(v.([]any)); n != 2 { // nothing is said of a host that is unknown
		t.Fatalf("%d alerts: %v", n, v)
	}
	for _, w := range []struct {
		expected any
		path     []any
	}{
		{"web1", []any{0, "labels", "instance"}},
		{"2024-02-29T12:01:00Z", []any{0, "endsAt"}},
		{"web2", []any{1, "labels", "instance"}},
		{"web:http", []any{1, "labels", "alertname"}},
		{"web", []any{1, "labels", "group"}},
		{"http", []any{1, "labels", "service"}},
		{"critical", []any{1, "labels", "severity"}},
		{"2024-02-29T12:00:00Z", []any{1, "startsAt"}},
		{"2024-03-30T12:01:00Z", []any{1, "endsAt"}},
		{"web2 down since 12:00:00 (1m): connection refused", []any{1, "annotations", "summary"}},
		{"dr1", []any{1, "annotations", "director"}},
	} {
		want(t, v, w.expected, w.path...)
	}
	up := sent(t, recovery(), manager)
	want(t, up, "web2", 1, "labels", "instance")
	want(t, up, "2024-02-29T13:01:00Z", 1, "endsAt")
	want(t, up, "2024-02-29T12:00:00Z", 1, "startsAt")
	// The alert of the group, which a failure without hosts made, ends as well.
	want(t, up, nil, 2, "labels", "instance")
	want(t, up, "2024-02-29T13:01:00Z", 2, "endsAt")
	bare := failure()
	bare.Hosts = nil
	want(t, sent(t, bare, manager), "2024-03-30T12:01:00Z", 0, "endsAt")
	test := failure()
	test.Kind = alerts.Test
	want(t, sent(t, test, manager), "true", 0, "labels", "test")
}

// A sum of many alerts says which, and ends by itself: no recovery will come.
func TestSum(t *testing.T) {
	e := alerts.Event{
		Kind: alerts.Failure, Group: "monitord", Service: "alerts", Time: failure().Time, Outage: "monitord:alerts@1709208000000",
		Summary: "2 more alerts in the last minute", Output: []byte("2 more alerts in the last minute\nfailure a:b: h1\nup c:d: h2\n"), Reason: "at most 20",
	}
	want(t, sent(t, e, func(c *Config) { c.Format = "alertmanager" }), "2024-02-29T13:01:00Z", 0, "endsAt")
	want(t, sent(t, e, func(c *Config) { c.Format = "slack" }),
		"*DOWN monitord:alerts: 2 more alerts in the last minute*\nfailure a:b: h1\nup c:d: h2\nwhy: at most 20", "text")
}

func TestPagerDuty(t *testing.T) {
	duty := func(c *Config) { c.Format, c.RoutingKey = "pagerduty", "R0UT1NG" }
	half := recovery()
	half.Hosts[0].State = alerts.HostDown
	ack := failure()
	ack.Kind, ack.Ack = alerts.Ack, "me: on it"
	test := failure()
	test.Kind = alerts.Test
	for name, c := range map[string]struct {
		event       alerts.Event
		action, key string
	}{
		"failure":          {failure(), "trigger", "web:http@1709208000000"},
		"recovery":         {recovery(), "resolve", "web:http@1709208000000"},
		"recovery of some": {half, "trigger", "web:http@1709208000000"},
		"ack":              {ack, "acknowledge", "web:http@1709208000000"},
		"test":             {test, "trigger", "test of web:http"},
	} {
		v := sent(t, c.event, duty)
		t.Log(name)
		want(t, v, c.action, "event_action")
		want(t, v, c.key, "dedup_key")
		want(t, v, "R0UT1NG", "routing_key")
		if at(t, v, "payload", "summary") == "" || at(t, v, "payload", "source") != "web:http" {
			t.Errorf("%s: %v", name, v)
		}
	}
	want(t, sent(t, failure(), duty), "critical", "payload", "severity")
	want(t, sent(t, test, duty), "info", "payload", "severity")
	a := newHook(t, func(c *Config) { duty(c); c.URL = "" })
	if got := a.(*hook).url.String(); got != pagerDuty {
		t.Errorf("sends to %s", got)
	}
}

func TestRequest(t *testing.T) {
	r := receive(t, 204, "")
	a := newHook(t, func(c *Config) {
		c.URL, c.Method, c.Token = alerts.Secret(r.URL+"/a/b?c=d"), "PUT", "t0ken"
		c.Headers = map[string]alerts.Secret{"x-api-key": "k3y"}
		c.Body, c.ContentType = "{{.Headline}}", "text/plain; charset=utf-8"
	})
	if err := a.Send(t.Context(), failure()); err != nil {
		t.Fatal(err)
	}
	got := r.last(t)
	if got.Method != "PUT" || got.RequestURI != "/a/b?c=d" || string(got.body) != "DOWN web:http: web2 (1 of 3)" {
		t.Errorf("%s %s %q", got.Method, got.RequestURI, got.body)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer t0ken", "X-Api-Key": "k3y", "Content-Type": "text/plain; charset=utf-8", "User-Agent": "monitord",
		"X-Monitord-Signature": "", "Content-Length": "28",
	} {
		if got.Header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), value)
		}
	}
}

// Each attempt with one event has the same key, other events and other hosts another.
func TestIdempotencyKey(t *testing.T) {
	r := receive(t, 200, "")
	a := newHook(t, func(c *Config) { c.URL = alerts.Secret(r.URL) })
	key := func(change func(*alerts.Event)) string {
		e := failure()
		change(&e)
		if err := a.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		return r.last(t).Header.Get("Idempotency-Key")
	}
	first := key(func(*alerts.Event) {})
	if first == "" || key(func(*alerts.Event) {}) != first {
		t.Errorf("key %q is not the same at the second attempt", first)
	}
	for name, change := range map[string]func(*alerts.Event){
		"a later one": func(e *alerts.Event) { e.Time = e.Time.Add(time.Second) },
		"kind":        func(e *alerts.Event) { e.Kind = alerts.Up },
		"a host more": func(e *alerts.Event) { e.Hosts[0].Concerned = true },
		"service":     func(e *alerts.Event) { e.Service = "https" },
	} {
		if key(change) == first {
			t.Errorf("%s: the same key", name)
		}
	}
}

// TestSignature computes the signature with the command of the documentation.
func TestSignature(t *testing.T) {
	documentation, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ +(\{ printf .*openssl.*)$`).FindSubmatch(documentation)
	source, err := os.ReadFile("webhook.go")
	if err != nil {
		t.Fatal(err)
	}
	if command == nil || !strings.Contains(string(source), string(command[1])) {
		t.Fatalf("the command %s is not the same in docs/alerts.md and in the package comment", command)
	}
	r := receive(t, 200, "")
	a := newHook(t, func(c *Config) { c.URL, c.SignSecret = alerts.Secret(r.URL), "correct horse" })
	if err := a.Send(t.Context(), failure()); err != nil {
		t.Fatal(err)
	}
	got := r.last(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "body"), got.body, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", string(command[1]))
	shell.Dir, shell.Env = folder, append(os.Environ(), "SECRET=correct horse", "TIMESTAMP="+got.Header.Get("X-Monitord-Timestamp"))
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	digest, _, _ := strings.Cut(string(out), " ")
	if signature := got.Header.Get("X-Monitord-Signature"); signature != "sha256="+digest || len(digest) != 64 {
		t.Errorf("the signature is %s, openssl says %s", signature, digest)
	}
	var sentAt int64
	if _, err := fmt.Sscan(got.Header.Get("X-Monitord-Timestamp"), &sentAt); err != nil || time.Since(time.Unix(sentAt, 0)) > time.Hour {
		t.Errorf("the timestamp is %d", sentAt)
	}
}

const secretPath = "/services/T0123ABCD/B0123ABCD/abcdefghijklmnopqrstuvwx"

// TestAnswers tells what each answer means, and that no error has the secret of the
// URL in it though the server repeats it.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status  int
		answer  string
		want    string
		refused bool
	}{
		{200, "ok", "", false},
		{201, "", "", false},
		{299, "", "", false},
		{301, "moved", "status 301 Moved Permanently: moved, which leads to https://elsewhere.example and is not followed: put the right address into url", false},
		{400, "\n  invalid_payload \nmore", "refused for good: status 400 Bad Request: invalid_payload", true},
		{401, "", "status 401 Unauthorized (look at token and headers)", false},
		{403, "no t0ken-t0ken", "status 403 Forbidden: no (secret) (look at token and headers)", false},
		{404, "no " + secretPath, "status 404 Not Found: no /(secret)/(secret)/(secret)/(secret) (look at url and method)", false},
		{410, "channel_is_archived", "status 410 Gone: channel_is_archived (look at url and method)", false},
		{413, "", "refused for good: status 413 Request Entity Too Large", true},
		{422, "", "refused for good: status 422 Unprocessable Entity", true},
		{429, "slow down", "status 429 Too Many Requests: slow down; it asks to wait: 30", false},
		{500, strings.Repeat("x\x1b", 1<<20), "status 500 Internal Server Error: " + strings.Repeat("x ", 99) + "x…", false},
		{503, "", "status 503 Service Unavailable; it asks to wait: 30", false},
		{599, "", "status 599", false},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			r := receive(t, c.status, c.answer)
			a := newHook(t, func(to *Config) { to.URL, to.Token = alerts.Secret(r.URL+secretPath), "t0ken-t0ken" })
			err := a.Send(t.Context(), failure())
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			expected := "webhook " + strings.TrimPrefix(r.URL, "http://") + ": " + c.want
			if err == nil || err.Error() != expected {
				t.Errorf("got  %v\nwant %s", err, expected)
			}
			if errors.Is(err, alerts.ErrRefused) != c.refused || errors.Is(err, alerts.ErrDelivered) {
				t.Errorf("refused for good: %t, want %t", errors.Is(err, alerts.ErrRefused), c.refused)
			}
			if len(r.got) != 1 {
				t.Errorf("%d requests", len(r.got))
			}
		})
	}
}

// TestManyHosts: the day on which everything is down is not the one to lose an alert.
func TestManyHosts(t *testing.T) {
	e := failure()
	e.Hosts = nil
	for i := range 10_000 {
		e.Hosts = append(e.Hosts, alerts.Host{
			Name: fmt.Sprintf("host%05d.example.org", i), State: alerts.HostDown, Concerned: true, Since: e.Time, Reason: strings.Repeat(`"refused" `, 30),
		})
	}
	for _, format := range []string{formatMonitord, formatSlack, formatAlertmanager, formatPagerDuty} {
		r := receive(t, 202, "")
		err := newHook(t, func(c *Config) {
			c.URL, c.Format, c.RoutingKey, c.Timeout = alerts.Secret(r.URL), format, "key", alerts.Duration(time.Minute)
		}).Send(t.Context(), e)
		if err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestRetryAfter: a server that is busy is believed, and one that says something else is
// tried again as usual.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text, date string
		want       time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"7", "", 7 * time.Second},
		{"99999999999999999999", "", (1<<32 - 1) * time.Second},
		{"-7", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{"Sat, 21 Nov 2026 12:00:30 GMT", "", 30 * time.Second},
		{"Sat, 21 Nov 2026 11:00:00 GMT", "", 0},
		{"Sat, 21 Nov 2026 15:00:30 GMT", "Sat, 21 Nov 2026 15:00:00 GMT", 30 * time.Second},
		{"Sat, 21 Nov 2026 12:00:30 GMT", "today", 30 * time.Second},
	} {
		header := http.Header{"Retry-After": {c.text}, "Date": {c.date}}
		if got := retryAfter(header, now); got != c.want {
			t.Errorf("%q at %q: got %s, want %s", c.text, c.date, got, c.want)
		}
	}
	for status, want := range map[int]time.Duration{429: 30 * time.Second, 503: 30 * time.Second, 500: 0} {
		err := newHook(t, func(c *Config) { c.URL = alerts.Secret(receive(t, status, "").URL) }).Send(t.Context(), failure())
		busy, ok := errors.AsType[*alerts.BusyError](err)
		if ok != (want > 0) || ok && busy.Wait != want {
			t.Errorf("%d: got %#v, want a wait of %s", status, err, want)
		}
	}
}

func TestNoConnectionTellsNoSecret(t *testing.T) {
	for _, url := range []string{
		"http://" + dialtest.Refused(t, "127.0.0.1") + secretPath, "http://nowhere.invalid" + secretPath,
		"https://" + dialtest.Serve(t, "127.0.0.1", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }) + secretPath,
		"http://" + dialtest.Serve(t, "127.0.0.1", func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0 "+secretPath+"\r\n") }) + secretPath,
	} {
		err := newHook(t, func(c *Config) { c.URL = alerts.Secret(url) }).Send(t.Context(), failure())
		if err == nil || strings.Contains(err.Error(), "abcdefghijklmnopqrstuvwx") || strings.Contains(err.Error(), "T0123ABCD") {
			t.Errorf("got %v", err)
		}
	}
}

func TestTLS(t *testing.T) {
	ca := dialtest.NewAuthority(t)
	leaf := ca.Issue(t, time.Hour, "hooks.example.org")
	clientCert, clientKey := dialtest.Write(t, ca.Issue(t, time.Hour, "dr1"))
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(r.handler(200, ""))
	r.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}, ClientAuth: tls.RequireAnyClientCert}
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"all right", func(c *Config) {
			c.CAFile, c.ServerName, c.CertFile, c.KeyFile = ca.File, "hooks.example.org", clientCert, clientKey
		}, ""},
		{"not verified", func(c *Config) { c.Verify, c.CertFile, c.KeyFile = false, clientCert, clientKey }, ""},
		{"unknown issuer", func(c *Config) { c.ServerName = "hooks.example.org" }, "unknown authority"},
		{"another name", func(c *Config) { c.CAFile = ca.File }, "certificate"},
		{"no certificate of ours", func(c *Config) { c.CAFile, c.ServerName = ca.File, "hooks.example.org" }, "certificate required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newHook(t, func(to *Config) { to.URL = alerts.Secret(r.URL); c.change(to) }).Send(t.Context(), failure())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The proxy is the one of the configuration, and never the environment's.
func TestProxy(t *testing.T) {
	proxy, direct := receive(t, 200, ""), receive(t, 200, "")
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	send := func(to string, change func(*Config)) {
		t.Helper()
		if err := newHook(t, func(c *Config) { c.URL = alerts.Secret(to); change(c) }).Send(t.Context(), failure()); err != nil {
			t.Fatal(err)
		}
	}
	send(direct.URL, func(*Config) {})
	if len(direct.got) != 1 || len(proxy.got) != 0 {
		t.Errorf("%d direct, %d through the proxy of the environment", len(direct.got), len(proxy.got))
	}
	send("http://hooks.invalid/x", func(c *Config) { c.Proxy = alerts.Secret(proxy.URL) })
	if len(proxy.got) != 1 || proxy.got[0].RequestURI != "http://hooks.invalid/x" {
		t.Errorf("the proxy got %d", len(proxy.got))
	}
}

func TestBadConfiguration(t *testing.T) {
	const secret = "abcdefghijklmnopqrstuvwx"
	for _, c := range []struct {
		name, key, text string
		change          func(*Config)
	}{
		{"no URL", "url", "is missing", func(c *Config) { c.URL = "" }},
		{"no URL at all", "url", "is no URL", func(c *Config) { c.URL = secret }},
		{"broken URL", "url", "is no URL", func(c *Config) { c.URL = "https://host:port/" + secret }},
		{"other scheme", "url", "is no URL", func(c *Config) { c.URL = "ftp://host/" + secret }},
		{"a line end", "url", "is no URL", func(c *Config) { c.URL = "https://host/" + secret + "\n" }},
		{"a user", "url", "write the token into token", func(c *Config) { c.URL = "https://me:" + secret + "@host/" }},
		{"a fragment", "url", "never sent", func(c *Config) { c.URL = "https://host/#" + secret }},
		{"format", "format", `"teams" is no format: write "monitord", "slack"`, func(c *Config) { c.Format = "teams" }},
		{"format path", "format", "is no format", func(c *Config) { c.Format = "../formats/slack" }},
		{"no routing key", "format", "needs routing_key", func(c *Config) { c.Format = "pagerduty" }},
		{"method", "method", `write "POST"`, func(c *Config) { c.Method = "post" }},
		{"timeout", "timeout", "no time", func(c *Config) { c.Timeout = 0 }},
		{"content type", "content_type", "no content type", func(c *Config) { c.ContentType = "a\nb" }},
		{"token", "token", "line end", func(c *Config) { c.Token = secret + "\n" }},
		{"header name", "headers", "no name", func(c *Config) { c.Headers = map[string]alerts.Secret{"a b": "c"} }},
		{"header value", "headers", "line end", func(c *Config) { c.Headers = map[string]alerts.Secret{"a": secret + "\r\nb"} }},
		{"own header", "headers", "by the alert itself", func(c *Config) { c.Headers = map[string]alerts.Secret{"idempotency-key": "c"} }},
		{"type as header", "headers", "content_type", func(c *Config) { c.Headers = map[string]alerts.Secret{"Content-type": "c"} }},
		{"two logins", "headers", "what token makes", func(c *Config) { c.Token, c.Headers = secret, map[string]alerts.Secret{"authorization": "c"} }},
		{"proxy", "proxy", "no URL of a proxy", func(c *Config) { c.Proxy = "socks5://" + secret }},
		{"TLS without TLS", "ca_file", "no use with an http:// URL", func(c *Config) { c.CAFile = "/ca.pem" }},
		{"no such file", "ca_file", "/ca.pem", func(c *Config) { c.URL, c.CAFile = "https://host/", "/nowhere/ca.pem" }},
		{"template", "body", `body:2: missing value for command`, func(c *Config) { c.Body = "{\n{{.Group}}}}{{}}" }},
		{"field", "body", "can't evaluate field Grop", func(c *Config) { c.Body = "{{.Grop}}" }},
		{"empty", "body", "is empty", func(c *Config) { c.Body = "{{/* nothing */}}" }},
		{"no JSON", "body", "line 2, column 3", func(c *Config) { c.Body = "{\n  text: 1}" }},
		{"a text without json", "body", "put texts in with json", func(c *Config) { c.Body = `{"text": "{{.Summary}}"}` }},
		{"a name without json", "body", "put texts in with json", func(c *Config) { c.Body = `{"text": "{{.Group}}"}` }},
		{"the output without json", "body", "put texts in with json", func(c *Config) { c.Body = `{"text": "{{.Event.Output}}"}` }},
		{"two values", "body", "is no JSON", func(c *Config) { c.Body = `{} {}` }},
		{"broken for a recovery only", "body", `for an event of kind "up"`, func(c *Config) { c.Body = `{{if .Recovering}}{{else}}{}{{end}}` }},
		{"broken without hosts", "body", "is no JSON", func(c *Config) {
			c.Body = `[{{range $i, $h := .Hosts}}{{json $h.Name}}{{if lt $i 2}},{{end}}{{else}},{{end}}]`
		}},
		{"endless", "body", "longer than", func(c *Config) { c.Body = `{{range $i := 99999999}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}` }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := configured(c.change)
			var blamed *plugin.KeyError
			if !errors.As(err, &blamed) || blamed.Key != c.key || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want key %q, %q", err, c.key, c.text)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the message tells the secret: %v", err)
			}
		})
	}
}

// A body that is no JSON for some event after all is an error of this event only.
func TestTemplateThatFailsOnAnEvent(t *testing.T) {
	r := receive(t, 200, "")
	a := newHook(t, func(c *Config) {
		c.URL, c.Body = alerts.Secret(r.URL), `{{if eq .Group "web"}}{{slice .Group 99}}{{else}}{}{{end}}`
	})
	if err := a.Send(t.Context(), failure()); !errors.Is(err, alerts.ErrRefused) || !strings.Contains(err.Error(), "body:1") {
		t.Errorf("got %v", err)
	}
	if len(r.got) != 0 {
		t.Error("it was sent")
	}
}
