package webhook

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"text/template"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/wording"
)

// The formats, each a template in the folder of that name.
const (
	formatMonitord     = "monitord"
	formatSlack        = "slack"
	formatAlertmanager = "alertmanager"
	formatPagerDuty    = "pagerduty"
)

//go:embed formats/*.tmpl
var formats embed.FS

// bodyLimit bounds a body in bytes, whatever its template does. What is longer is lost, so
// it has room for the reasons of 50,000 hosts.
const bodyLimit = 32 << 20

// A message is what the templates see; the package comment describes it for users.
type message struct {
	wording.Message
	// Event shadows the message's.
	Event      event
	RoutingKey string
}

// Testing reports whether it is a test from the command line.
func (m message) Testing() bool { return m.Kind == alerts.Test }

// Sum reports whether it is about many alerts, of a flood that went beyond what one
// receiver gets: no recovery will come for it.
func (m message) Sum() bool {
	return len(m.Hosts) == 0 && strings.HasPrefix(m.Outage, "monitord:alerts@")
}

var functions = template.FuncMap{
	"json": func(value any) (string, error) {
		var out bytes.Buffer
		to := json.NewEncoder(&out)
		to.SetEscapeHTML(false) // it is no part of a page
		err := to.Encode(value)
		return strings.TrimSuffix(out.String(), "\n"), err
	},
	"clip": func(n int, text string) string { return wording.Clip(text, n) },
	// https://docs.slack.dev/messaging/formatting-message-text: these three, so that
	// no monitor's output calls a channel together with "<!channel>".
	"mrkdwn": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace,
	"first": func(times ...time.Time) time.Time {
		for _, t := range times {
			if !t.IsZero() {
				return t
			}
		}
		return time.Time{}
	},
	"after": func(text string, t time.Time) (time.Time, error) {
		d, err := plugin.ParseDuration(text)
		return t.Add(d), err
	},
}

func (h *hook) parseBody() error {
	key, text := "body", h.Body
	if text == "" {
		key = "format"
		shipped, err := formats.ReadFile("formats/" + h.Format + ".tmpl")
		if err != nil {
			return alerts.BadKey("format", `%q is no format: write "%s", "%s", "%s" or "%s", or a template into body`,
				h.Format, formatMonitord, formatSlack, formatAlertmanager, formatPagerDuty)
		}
		text = string(shipped)
	}
	t, err := template.New(key).Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return alerts.BadKey(key, "%s", templateFault(err))
	}
	h.body = t
	for _, e := range samples() {
		if _, err := h.render(newMessage(e, "director", "routing key")); err != nil {
			return alerts.BadKey(key, "for an event of kind \"%s\": %w", e.Kind, err)
		}
	}
	return nil
}

// templateFault drops the prefix that text/template puts before everything.
func templateFault(err error) string { return strings.TrimPrefix(err.Error(), "template: ") }

// render makes the body for an event.
func (h *hook) render(m message) ([]byte, error) {
	var out limited
	if err := h.body.Execute(&out, m); err != nil {
		return nil, errors.New(wording.Clip(wording.OneLine(h.secrets.blank(templateFault(err))), wording.SummaryLimit))
	}
	body := bytes.TrimSpace(out.Bytes())
	if len(body) == 0 {
		return nil, errors.New("the body is empty")
	}
	if h.wantsJSON() {
		if err := validate(body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func (h *hook) wantsJSON() bool {
	kind, _, err := mime.ParseMediaType(h.ContentType)
	return err != nil || kind == jsonType || strings.HasSuffix(kind, "+json")
}

// validate says where a text stops being JSON.
func validate(body []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(body, &value)
	if err == nil {
		return nil
	}
	at := len(body)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(max(int(syntax.Offset)-1, 0), len(body))
	}
	before := body[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + at - (bytes.LastIndexByte(before, '\n') + 1)
	excerpt := body[max(0, at-20):min(len(body), at+20)]
	return fmt.Errorf("the body is no JSON, line %d, column %d, in %q: put texts in with json, which brings the quotes: {\"text\": {{json .Headline}}}", line, column, excerpt)
}

// limited is a buffer that refuses to grow beyond bodyLimit.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > bodyLimit {
		return 0, fmt.Errorf("the body is longer than %d bytes", bodyLimit)
	}
	return l.Buffer.Write(p)
}

// samples are events of every kind, whose texts are what breaks JSON.
func samples() []alerts.Event {
	const bad = "a \"quoted\" \\ text\nof two lines\t<&>"
	var all []alerts.Event
	for _, sample := range wording.Samples() {
		sample.Group, sample.Service, sample.Description = "we\"b\\", "ht\"tp\\", bad
		sample.Summary, sample.Output, sample.Reason, sample.Previous = bad, []byte(bad), bad, bad
		sample.Ack, sample.TrapIntended, sample.Period, sample.Outage = bad, bad, bad, bad
		sample.Env = []string{"NAME=" + bad}
		hosts := append([]alerts.Host(nil), sample.Hosts...)
		for i := range hosts {
			hosts[i].Reason = bad
		}
		sample.Hosts = hosts
		all = append(all, sample)
	}
	for kind := range alerts.Digest + 1 {
		if kind == alerts.State { // for followers alone
			continue
		}
		e := all[0]
		e.Kind = kind
		bare := e
		bare.Hosts, bare.Exit, bare.Output, bare.Env = nil, nil, nil, nil
		all = append(all, e, bare)
	}
	return all
}
