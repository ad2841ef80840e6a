// Package webhook is the alert "webhook": an HTTP request with a body of JSON, to a
// chat, a pager, another alert manager or a service of one's own.
//
//	alert = { type = "webhook", url = "https://hooks.example.org/monitord", sign_secret_file = "/etc/monitord/hook.secret" }
//	alert = { type = "webhook", format = "slack", url_file = "/etc/monitord/slack.url" }
//	alert = { type = "webhook", format = "alertmanager", url = "http://alertmanager.example.org:9093/api/v2/alerts" }
//	alert = { type = "webhook", format = "pagerduty", routing_key_file = "/etc/monitord/pagerduty.key" }
//
// # Body
//
// The body is a Go template (text/template). The key format chooses one that ships
// with the program, see the folder formats; the key body is one of your own. A
// template uses the fields and methods of alerts/mail (Group, Service, State, Who,
// Concerned, OthersDown, Lasted, Director ...) and
//
//	Headline     the event in a line: "DOWN web:http: web2 (1 of 3)"
//	Details      the lines below it: each host concerned, who else is down, why
//	Event        the whole event, as format "monitord" sends it
//	Testing      whether this is a test from the command line
//	Sum          whether it sums up a flood of alerts, of which no recovery will come
//	RoutingKey   the key routing_key
//	json VALUE   the value as JSON, quotes included: {"text": {{json .Headline}}}
//	clip N TEXT  the text with at most so many characters
//	mrkdwn TEXT  the text with &, < and > as Slack wants them
//	first TIME.. the first of some times that is known
//	after D TIME the time so much later: {{json (after "1h" .Time)}}
//
// When the configuration is read the template is tried on events of every kind, whose
// texts hold quotes, backslashes and line ends: the result has to be JSON, unless
// content_type names something else. So a text that is put in without json is found
// then, and not by the first monitor that prints a quote.
//
// # What counts as delivered
//
// A status of 2xx, and nothing else: a redirect is not followed. Whatever may get
// better is an error, after which the daemon tries again with growing pauses for a
// day: no connection, 429, 5xx, but also 401, 403, 404 and 410, for a token or URL that
// is wrong can be mended, and a reload delivers what waits (give the alert a name then:
// by it the daemon knows that it is still the same). 400, 413, 415 and 422 say that the
// receiver does not want this very body; it is given up, so that it does not hold up
// those after it. A server that asks with Retry-After to be left alone is, for up to 5
// minutes.
//
// Every request has the header Idempotency-Key: each attempt to deliver one event has
// the same, so that a receiver can drop the second.
//
// # Signature
//
// With sign_secret a request carries X-Monitord-Timestamp, in seconds since 1970, and
// X-Monitord-Signature, "sha256=" and the HMAC-SHA256 of the timestamp, a dot and the
// body, in hexadecimal. To compute it:
//
//	{ printf '%s.' "$TIMESTAMP"; cat body; } | openssl dgst -sha256 -hmac "$SECRET" -r
//
// A receiver compares, and refuses a timestamp that is too old: a request that
// somebody recorded cannot be sent again later.
//
// The URL is a secret, for those of chats hold the right to write there. It is in no
// log, status or error; what an error tells is its host.
//
// With an http:// URL that is not on this machine, token, routing_key and what headers
// has to log in with go over the network in the clear: "monitord check" warns of it.
package webhook

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"text/template"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/wording"
)

// Config is the table of a webhook.
type Config struct {
	URL    alerts.Secret `toml:"url" doc:"Where to send to, http:// or https://; it is kept secret; default none, but for format \"pagerduty\" its events API."`
	Format string        `toml:"format" doc:"Whose body is sent: \"monitord\" (the whole event), \"slack\", \"alertmanager\" (API v2) or \"pagerduty\" (Events API v2); default \"monitord\"."`
	Name   string        `toml:"name" doc:"What the receiver is called in the log and the status; default the host and a check sum of the URL, and the format."`

	Body        string                   `toml:"body" doc:"Template of the body (text/template) instead of the format's; default none."`
	ContentType string                   `toml:"content_type" doc:"Content-Type of the body; one that is not JSON frees it from having to be; default \"application/json\"."`
	Method      string                   `toml:"method" doc:"Method of the request: \"POST\", \"PUT\" or \"PATCH\"; default \"POST\"."`
	Headers     map[string]alerts.Secret `toml:"headers" doc:"More headers of the request, as a table; their values are kept secret; default none."`
	Token       alerts.Secret            `toml:"token" doc:"Token to log in with (Authorization: Bearer); default none."`
	RoutingKey  alerts.Secret            `toml:"routing_key" doc:"Integration key of a PagerDuty service, .RoutingKey in templates; default none."`
	SignSecret  alerts.Secret            `toml:"sign_secret" doc:"Secret that signs each request with HMAC-SHA256; default none, not signed."`
	Timeout     alerts.Duration          `toml:"timeout" doc:"Bound on one request; default 10s."`
	Proxy       alerts.Secret            `toml:"proxy" doc:"URL of an HTTP proxy; variables of the environment are not looked at; default none."`

	ServerName string `toml:"server_name" doc:"Name that the server's certificate must be for; default that of the URL."`
	Verify     bool   `toml:"verify" doc:"Whether the server's certificate must be valid for the name and from a known issuer; default true."`
	CAFile     string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile   string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile    string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
}

const jsonType = "application/json"

func init() { alerts.Register("webhook", defaults(), build) }

func defaults() Config {
	return Config{Format: formatMonitord, ContentType: jsonType, Method: http.MethodPost, Timeout: alerts.Duration(10 * time.Second), Verify: true}
}

// hook is the alert. It keeps nothing between two events.
type hook struct {
	Config
	url       *url.URL
	headers   http.Header
	body      *template.Template
	secrets   secrets
	transport *http.Transport
	director  string
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	h := &hook{Config: c, director: site.Hostname}
	for _, parse := range []func() error{h.parseTarget, h.parseRequest, h.parseTransport, h.parseBody} {
		if err := parse(); err != nil {
			return nil, err
		}
	}
	h.secrets = h.collectSecrets()
	return h, nil
}

// Warnings implements [alerts.Warner]. The signature is made for the clear, and whether
// the URL holds a secret only its owner knows.
func (c Config) Warnings() (all []error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Scheme != "http" || dial.Loopback(u.Hostname()) {
		return nil
	}
	warn := func(key string) {
		all = append(all, alerts.BadKey(key, "goes to %s in the clear, for everybody on the way to read: write an https:// URL", u.Host))
	}
	if c.Token != "" {
		warn("token")
	}
	if c.RoutingKey != "" {
		warn("routing_key")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "Proxy-Authorization", "Cookie":
			warn("headers." + name)
		}
	}
	return all
}

// Send implements [alerts.Alert].
func (h *hook) Send(ctx context.Context, e alerts.Event) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout.Std())
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("webhook %s: %w", h.url.Host, err)
	}
	body, err := h.render(newMessage(e, h.director, h.RoutingKey))
	if err != nil {
		// It would come out the same at the next attempt.
		return fmt.Errorf("webhook %s: %w: %w", h.url.Host, alerts.ErrRefused, err)
	}
	if err := h.post(ctx, body, idempotencyKey(e, h.Name, h.Format)); err != nil {
		return fmt.Errorf("webhook %s: %w", h.url.Host, err)
	}
	return nil
}

// newMessage is what the templates see.
func newMessage(e alerts.Event, director string, routingKey alerts.Secret) message {
	return message{Message: wording.New(e, director), Event: whole(e, director), RoutingKey: routingKey.Reveal()}
}
