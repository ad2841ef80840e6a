package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/wording"
)

// pagerDuty is the events API (developer.pagerduty.com, "Send an alert event").
const pagerDuty = "https://events.pagerduty.com/v2/enqueue"

// The headers that are ours.
const (
	keyHeader       = "Idempotency-Key"
	timeHeader      = "X-Monitord-Timestamp"
	signatureHeader = "X-Monitord-Signature"
)

// Bounds on an answer.
const (
	answerLimit = 4 << 10  // bytes that are read
	headerLimit = 64 << 10 // bytes of the header
	sayingLimit = 200      // characters that are repeated in an error
)

// parseTarget reads the URL, whose text must not get into a message.
func (h *hook) parseTarget() error {
	text := h.URL.Reveal()
	if text == "" && h.Format == formatPagerDuty {
		text = pagerDuty
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return alerts.BadKey("url", `is missing: write "https://HOST/PATH", or url_file with a file that holds it`)
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return alerts.BadKey("url", `is no URL of a web server: write "https://HOST/PATH" or "http://HOST:PORT/PATH"`)
	case u.User != nil:
		return alerts.BadKey("url", "holds a user: write the token into token, or headers = { Authorization = ... }")
	case u.Fragment != "":
		return alerts.BadKey("url", "has a part after \"#\", which is never sent: leave it out")
	}
	h.url = u
	return nil
}

// ours are the headers that the alert sets itself.
var ours = [...]string{
	"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Trailer", "Expect", "Upgrade",
	keyHeader, timeHeader, signatureHeader,
}

func (h *hook) parseRequest() error {
	switch {
	case !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, h.Method):
		return alerts.BadKey("method", `%q is not accepted: write "POST", "PUT" or "PATCH"`, h.Method)
	case h.Timeout <= 0:
		return alerts.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", h.Timeout)
	case h.ContentType == "" || !httpguts.ValidHeaderFieldValue(h.ContentType):
		return alerts.BadKey("content_type", `%q is no content type: write one like "application/json"`, h.ContentType)
	case h.Format == formatPagerDuty && h.RoutingKey == "" && h.Body == "":
		return alerts.BadKey("format", "\"pagerduty\" needs routing_key, the integration key of the service, or routing_key_file")
	case !httpguts.ValidHeaderFieldValue(h.Token.Reveal()):
		return alerts.BadKey("token", "has a line end or a control character in it")
	}
	h.headers = http.Header{"User-Agent": {"monitord"}, "Content-Type": {h.ContentType}}
	for name, value := range h.Headers {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return alerts.BadKey("headers", `%q is no name of a header: write one like "X-Api-Key"`, name)
		case !httpguts.ValidHeaderFieldValue(value.Reveal()):
			return alerts.BadKey("headers", "%s has a line end or a control character in its value", name)
		case canonical == "Content-Type":
			return alerts.BadKey("headers", "Content-Type has a key of its own: write content_type = ...")
		case slices.Contains(ours[:], canonical):
			return alerts.BadKey("headers", "%s is set by the alert itself: leave it out", name)
		case canonical == "Authorization" && h.Token != "":
			return alerts.BadKey("headers", "Authorization is what token makes: leave one of them out")
		}
		h.headers.Set(name, value.Reveal())
	}
	if h.Token != "" {
		h.headers.Set("Authorization", "Bearer "+h.Token.Reveal())
	}
	return nil
}

func (h *hook) parseTransport() error {
	// Each event has a connection of its own: they are rare, and one that was kept
	// may be dead without a sign of it.
	h.transport = &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: headerLimit,
	}
	keys := dial.TLSKeys{ServerName: h.ServerName, Verify: h.Verify, CAFile: h.CAFile, CertFile: h.CertFile, KeyFile: h.KeyFile}
	if h.url.Scheme == "http" {
		if key := keys.First(); key != "" {
			return alerts.BadKey(key, "has no use with an http:// URL: write https://, or leave it out")
		}
	}
	secure, err := dial.NewTLS(keys)
	if err != nil {
		return err
	}
	h.transport.TLSClientConfig = secure.Config()
	h.transport.TLSClientConfig.ServerName = h.ServerName
	if h.Proxy == "" {
		return nil
	}
	proxy, err := url.Parse(h.Proxy.Reveal())
	if err != nil || proxy.Hostname() == "" || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return alerts.BadKey("proxy", `is no URL of a proxy: write one like "http://proxy.example.org:3128"`)
	}
	h.transport.Proxy = http.ProxyURL(proxy)
	return nil
}

// post makes one request; an error says what came of it.
func (h *hook) post(ctx context.Context, body []byte, key string) error {
	request, err := http.NewRequestWithContext(ctx, h.Method, h.url.String(), bytes.NewReader(body))
	if err != nil {
		return h.secrets.hide(err)
	}
	request.Header = h.headers.Clone()
	request.Header.Set(keyHeader, key)
	if h.SignSecret != "" {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		request.Header.Set(timeHeader, at)
		request.Header.Set(signatureHeader, "sha256="+sign(h.SignSecret, at, body))
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	client := http.Client{
		Transport:     h.bound(ctx),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return h.fault(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	return h.judge(answer)
}

// bound is the transport for one request. net/http goes on connecting after a request
// was given up, for the next one; here nothing outlives ctx.
func (h *hook) bound(ctx context.Context) *http.Transport {
	t := h.transport.Clone()
	dialer := net.Dialer{Resolver: &net.Resolver{PreferGo: true}}
	t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // net/http may have closed it
		}
		return conn, err
	}
	return t
}

// sign is the HMAC of a timestamp, a dot and the body, in hexadecimal.
func sign(secret alerts.Secret, at string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	fmt.Fprintf(mac, "%s.%s", at, body)
	return hex.EncodeToString(mac.Sum(nil))
}

// fault says why there is no answer. The error of net/http holds the URL.
func (h *hook) fault(ctx context.Context, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded): // package net may notice before ctx does
		return fmt.Errorf("no answer within %s: %w", h.Timeout, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return errors.New("the server does not speak TLS: is it an http:// URL?")
	}
	return h.secrets.hide(err)
}

// judge is nil for 2xx; else the error has the status, and the first line of what the
// server says to it.
func (h *hook) judge(answer *http.Response) error {
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	text := "status " + strconv.Itoa(answer.StatusCode)
	if name := http.StatusText(answer.StatusCode); name != "" {
		text += " " + name
	}
	// What cannot be read is no worse than nothing.
	begin, _ := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if said := h.secrets.blank(firstLine(string(begin))); said != "" {
		text += ": " + wording.Clip(said, sayingLimit)
	}
	if wait := answer.Header.Get("Retry-After"); wait != "" {
		text += "; it asks to wait: " + wording.Clip(wording.OneLine(wait), 40)
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", alerts.ErrRefused, text)
	case http.StatusUnauthorized, http.StatusForbidden:
		text += " (look at token and headers)"
	case http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed:
		text += " (look at url and method)"
	}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		text += redirect(answer)
	}
	if wait := retryAfter(answer.Header, time.Now()); wait > 0 {
		return &alerts.BusyError{Err: errors.New(text), Wait: wait}
	}
	return errors.New(text)
}

// retryAfter is how long the server asks to be left alone, a number of seconds or a date
// (RFC 9110, 10.2.3); 0 if it does not, or not in a way that can be read. A date is
// compared with the server's own clock if it tells that.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second // of what is out of range the most
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return max(until.Sub(now), 0)
}

// redirect tells where a redirect leads: its host, for the rest may be as secret as
// the URL.
func redirect(answer *http.Response) string {
	to, err := answer.Location()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", which leads to %s://%s and is not followed: put the right address into url", to.Scheme, to.Host)
}

// firstLine is the first line of a text that holds something.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = wording.OneLine(line); line != "" {
			return line
		}
	}
	return ""
}

// idempotencyKey names an event, the same for each attempt to deliver it. An event to
// which hosts were added while it waited is another.
func idempotencyKey(e alerts.Event, more ...string) string {
	parts := append([]string{
		e.Group, e.Service, e.Outage, e.Kind.String(), e.Testing.String(), e.Period, e.Reason,
		strconv.FormatInt(e.Time.UnixNano(), 10), strconv.Itoa(e.Events),
	}, more...)
	for _, host := range e.Hosts {
		if host.Concerned {
			parts = append(parts, host.Name)
		}
	}
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s", len(part), part) // "a", "bc" is not "ab", "c"
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
