package mail

import (
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// The default texts put first what matters on a phone: what is down, then what
// is left, then why this mail was sent, then the details.
const (
	defaultSubject = `{{.State}} {{.Group}}:{{.Service}}{{with .Who}}: {{.}}{{end}}`

	defaultBody = `{{- if .Ack}}Acknowledged by {{.Ack}}

{{end}}
{{- $digest := eq .Kind.String "digest"}}
{{- if $digest}}{{.Output}}
{{end}}
{{- range .Concerned}}{{$.Line .}}
{{else}}{{with .Summary}}{{if not $digest}}{{.}}
{{end}}{{end}}{{end}}
{{- if and .Recovering (not .OthersDown)}}{{with .Lasted}}The outage lasted {{.}}.
{{end}}{{end}}
{{- with .OthersDown}}
{{if $.Recovering}}Still{{else}}Also{{end}} down ({{len .}}):
{{range .}}{{$.Line .}}
{{end}}{{end}}
{{- with .OthersUnknown}}
Not known ({{len .}}):
{{range .}}{{$.Line .}}
{{end}}{{end}}
{{- with .OthersUp}}
{{if $.Kind.Failing}}Still{{else}}Also{{end}} up ({{len .}}): {{$.Names .}}
{{end}}
Service: {{.Group}}:{{.Service}}{{with .Description}} - {{.}}{{end}}
{{with .Reason}}Why this mail: {{.}}{{with $.Period}} (period {{.}}){{end}}
{{end}}
{{- with .When}}Time: {{.}}
{{end}}
{{- if .Lasted}}First failure: {{.Clock .FirstFailure}}
{{end}}
{{- if not .LastSuccess.IsZero}}Last success: {{.Clock .LastSuccess}}
{{end}}
{{- with .Director}}Sent by: monitord on {{.}}
{{end}}
{{- with .Output}}{{if not $digest}}
{{if and $.Recovering $.Lasted}}Output of the last failure{{else}}Output of the monitor{{end}}:
{{.}}
{{end}}{{end}}`
)

// bodyLimit bounds a body in bytes, whatever its template does: many servers
// refuse mails of 10 MiB.
const bodyLimit = 4 << 20

// texts are the templates of a mail.
type texts struct{ subject, body *template.Template }

// parseTexts parses the templates and tries them out, so that a misspelt field is
// found when the configuration is read and not at the first failure.
func parseTexts(c Config) (texts, error) {
	subject, err := parseText("subject", c.Subject)
	if err != nil {
		return texts{}, err
	}
	body, err := parseText("body", c.Body)
	if err != nil {
		return texts{}, err
	}
	return texts{subject: subject, body: body}, nil
}

const fieldsHelp = "a template may use .State, .Who, .Group, .Service, .Description, .Kind, .Summary, .Output, .Reason, .Period, .Time, " +
	".Hosts, .Concerned, .OthersDown, .OthersUnknown, .OthersUp, .Lasted, .Ack and .Director"

func parseText(key, text string) (*template.Template, error) {
	t, err := template.New(key).Parse(text)
	if err != nil {
		return nil, alerts.BadKey(key, "%s", templateFault(err))
	}
	for _, e := range wording.Samples() {
		got, err := execute(t, wording.New(e, "director"))
		if err != nil {
			return nil, alerts.BadKey(key, "%s; %s", templateFault(err), fieldsHelp)
		}
		if strings.TrimSpace(got) == "" {
			return nil, alerts.BadKey(key, "is empty for an event of kind \"%s\"; leave the key out for the default text", e.Kind)
		}
	}
	return t, nil
}

// templateFault drops the prefix that text/template puts before everything.
func templateFault(err error) string { return strings.TrimPrefix(err.Error(), "template: ") }

// render returns the mail's texts. If a template fails on this event its default
// takes the place, and the complaint says so.
func (t texts) render(m wording.Message) (subject, body string, complaint error) {
	subject, badSubject := executeOr(t.subject, defaultSubject, m)
	body, badBody := executeOr(t.body, defaultBody, m)
	complaint = errors.Join(badSubject, badBody)
	if complaint != nil {
		body = fmt.Sprintf("%s\n\nThis is the default text: %v\n", body, complaint)
		complaint = fmt.Errorf("%w: %w", alerts.ErrDelivered, complaint)
	}
	return subject, wording.Plain(body), complaint
}

func executeOr(t *template.Template, otherwise string, m wording.Message) (string, error) {
	text, err := execute(t, m)
	if err == nil {
		return text, nil
	}
	err = fmt.Errorf("the template of the %s failed: %s", t.Name(), wording.Clip(wording.OneLine(templateFault(err)), wording.SummaryLimit))
	// The default's own failure would show in every test; the summary remains.
	text, failed := execute(template.Must(template.New("default").Parse(otherwise)), m)
	if failed != nil {
		text = m.State() + " " + m.Summary
	}
	return text, err
}

func execute(t *template.Template, m wording.Message) (string, error) {
	var out limitedBuffer
	if err := t.Execute(&out, m); err != nil {
		return "", err
	}
	if out.dropped > 0 {
		return fmt.Sprintf("%s\n… %d more bytes left out\n", out.kept, out.dropped), nil
	}
	return string(out.kept), nil
}

// limitedBuffer keeps the first bodyLimit bytes and counts the rest.
type limitedBuffer struct {
	kept    []byte
	dropped int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	keep := min(len(p), bodyLimit-len(b.kept))
	b.kept = append(b.kept, p[:keep]...)
	b.dropped += len(p) - keep
	return len(p), nil
}
