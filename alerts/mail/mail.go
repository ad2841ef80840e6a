// Package mail is the kind "mail": one mail for each event, naming all hosts that
// it is about.
//
//	[[watch.period.alert]]
//	type = "mail"
//	to = ["oncall@example.com"]
//	server = "mail.example.com:587"
//	user = "monitord"
//	password_file = "/etc/monitord/mail.password"
//
// Without a server the mail is handed to the sendmail program of the machine.
//
// # Encryption
//
// A server on loopback is spoken to in clear. Any other must offer TLS with a
// certificate that is valid for its name: by STARTTLS, or from the first byte on
// port 465. The key tls says otherwise. There is no "encrypt if offered": who can
// read the line can also make the offer disappear.
//
// # Threads
//
// The mails of one outage - the failure, its repetitions, the acknowledgement,
// the recovery - are all replies to one message that is never sent, whose id is
// computed from the outage: so they form one thread across restarts, and whichever
// director sends them. A mail sent twice has the same Message-ID twice, so that
// servers can drop the second. Gmail threads only mails that also have the same
// subject, but for "[...]": a subject for it is
//
//	alert = [{ type = "mail", to = ["you@gmail.com"], subject = "[{{.State}} {{.Who}}] {{.Group}}:{{.Service}}" }]
//
// # Templates
//
// The keys subject and body are Go templates (text/template) over the fields of
// the event (Kind, Group, Service, Description, Period, Reason, Summary, Output,
// Time, FirstFailure, LastFailure, LastSuccess, Ack ...) and
//
//	State        the event in a word: DOWN, UP, ACK, ...
//	Who          the hosts it is about, shortened to fit a subject
//	Hosts        all hosts; each has Name, State, Since and Reason
//	Concerned    those that the event is about
//	OthersDown   the rest, by state
//	OthersUnknown
//	OthersUp
//	Line HOST    a host in a line: "web1 down since 03:12:04 (5m): no answer"
//	Names HOSTS  "web1, web2"
//	Lasted       how long the outage has lasted: "1h 5m", "" without an outage
//	Clock TIME   a time, without the date if that is the event's
//	When         the event's time in full
//	Recovering   whether the event says that hosts came up
//	Director     the name of the machine that sends
//
// A template that fails on some event does not lose it: the mail then has the
// default text, and Send complains.
package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// Config is the alert's table in the configuration.
type Config struct {
	To       []string        `toml:"to" doc:"Recipients, \"user@host\" or \"Name <user@host>\", at least one; no default."`
	Cc       []string        `toml:"cc" doc:"Recipients of a copy; default none."`
	From     string          `toml:"from" doc:"Who the mail is from; default \"monitord@\" and the machine's host name."`
	Server   string          `toml:"server" doc:"Mail server as \"host:port\", such as \"mail.example.com:587\"; default none: the sendmail program is used."`
	TLS      string          `toml:"tls" doc:"Encryption: \"starttls\", \"tls\" (from the first byte) or \"none\"; default \"none\" for a server on loopback, \"tls\" for port 465, \"starttls\" for any other."`
	CAFile   string          `toml:"ca_file" doc:"PEM file of the authorities that may sign the server's certificate; default the system's."`
	Verify   bool            `toml:"verify" doc:"Whether the server's certificate must be valid; default true."`
	User     string          `toml:"user" doc:"User name to log in with; default none: there is no login."`
	Password alerts.Secret   `toml:"password" doc:"Password of that user; default none."`
	HELO     string          `toml:"helo" doc:"Name to introduce this machine with; default its host name."`
	Sendmail string          `toml:"sendmail" doc:"Program that takes the mail when there is no server; default \"/usr/sbin/sendmail\"."`
	Subject  string          `toml:"subject" doc:"Template of the subject (text/template)."`
	Body     string          `toml:"body" doc:"Template of the text (text/template)."`
	Timeout  alerts.Duration `toml:"timeout" doc:"Bound on the whole delivery; default 30s."`
}

const defaultSendmail = "/usr/sbin/sendmail"

func init() { alerts.Register("mail", defaults(), build) }

func defaults() Config {
	return Config{
		Verify:   true,
		Sendmail: defaultSendmail,
		Subject:  defaultSubject,
		Body:     defaultBody,
		Timeout:  alerts.Duration(30 * time.Second),
	}
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	envelope, err := parseEnvelope(c, site)
	if err != nil {
		return nil, err
	}
	text, err := parseTexts(c)
	if err != nil {
		return nil, err
	}
	if c.Timeout <= 0 {
		return nil, alerts.BadKey("timeout", "must be more than 0, such as \"30s\"")
	}
	via, err := c.carrier(site)
	if err != nil {
		return nil, err
	}
	return &mailer{envelope: envelope, text: text, via: via, director: site.Hostname, timeout: c.Timeout.Std()}, nil
}

// A carrier takes a finished letter to the recipients. An error wraps
// [alerts.ErrDelivered] if some of them got it.
type carrier interface {
	carry(ctx context.Context, l letter) error
}

// mailer is the alert. It keeps nothing between two events.
type mailer struct {
	envelope envelope
	text     texts
	via      carrier
	director string
	timeout  time.Duration
}

// Send implements [alerts.Alert].
func (m *mailer) Send(ctx context.Context, e alerts.Event) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	subject, body, complaint := m.text.render(wording.New(e, m.director))
	l, err := m.envelope.seal(e, subject, body)
	if err != nil {
		return err
	}
	if err := m.via.carry(ctx, l); err != nil {
		return err
	}
	return complaint
}
