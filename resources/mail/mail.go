// Package mail is the resource kind "mail": heartbeat's MailTo, a mail when the
// group is taken over, and one when it is released. A haresources line's
// MailTo::ops@example.com::web becomes
//
//	resource = [{ type = "mail", to = ["ops@example.com"], subject = "web" }]
//
// It tells of each time once, also across a restart of the daemon: its status is
// whether a takeover was told of that no release followed, on this boot. Two mail
// resources of a director with the same to, subject and from would take each other's
// mails for their own; the group's name as the subject keeps them apart.
//
// The mail is handed to the sendmail program, which goes on by itself for a minute
// at most: no call waits for it, and none fails because of it, whatever is wrong with
// the mail. What it says is lost; mail servers have a log. For a mail server without
// sendmail, for texts of one's own, and to hear of failures, use the group's alerts
// instead: alert = [{ type = "mail" }].
package mail

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/internal/started"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	To       []string `toml:"to" doc:"Recipients, \"user@host\" or a local user, at least one; no default."`
	Subject  string   `toml:"subject" doc:"What the subject begins with, best the group's name; default \"Resource Group\"."`
	From     string   `toml:"from" doc:"Who the mail is from; default \"monitord@\" and the machine's host name."`
	Sendmail string   `toml:"sendmail" doc:"Program that takes the mail; default \"/usr/sbin/sendmail\"."`
}

func init() {
	resources.Register("mail", Config{Subject: "Resource Group", Sendmail: "/usr/sbin/sendmail"}, build)
}

// longestSubject bounds the user's part of a subject, in bytes: of a header's line
// 998 are allowed (RFC 5322, 2.1.1).
const longestSubject = 200

func build(c Config, site resources.Site) (resources.Resource, error) {
	host := site.Hostname
	if host == "" {
		host = "localhost"
	}
	if c.From == "" {
		c.From = "monitord@" + host
	}
	sender, err := address("from", c.From)
	if err != nil {
		return nil, err
	}
	var to []*mail.Address
	for _, text := range slices.DeleteFunc(splitAll(c.To), func(s string) bool { return s == "" }) {
		a, err := address("to", text)
		if err != nil {
			return nil, err
		}
		to = append(to, a)
	}
	switch {
	case len(to) == 0:
		return nil, resources.BadKey("to", "names nobody: give at least one address, such as [\"ops@example.com\"]")
	case strings.ContainsFunc(c.Subject, unicode.IsControl) || len(c.Subject) > longestSubject:
		return nil, resources.BadKey("subject", "%.40q is not one line of at most %d bytes", c.Subject, longestSubject)
	case !filepath.IsAbs(c.Sendmail):
		return nil, resources.BadKey("sendmail", "%q is not the path of a program: write it from the root, such as \"/usr/sbin/sendmail\"", c.Sendmail)
	}
	return &Mail{
		from: sender, to: to, subject: c.Subject, host: host, sendmail: c.Sendmail,
		mark: started.New(site.StateDir, append([]string{"mail", c.Subject, c.From}, c.To...)...),
	}, nil
}

// splitAll takes apart addresses that are written as MailTo's first argument, with
// commas or blanks between them; a name before an address has blanks too.
func splitAll(list []string) []string {
	var all []string
	for _, text := range list {
		if _, err := mail.ParseAddress(text); err == nil {
			all = append(all, text)
			continue
		}
		all = append(all, strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return all
}

// address also takes the name of a local user, as MailTo's mail(1) does.
func address(key, text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil && !strings.ContainsFunc(text, notOfUsers) {
		a, err = &mail.Address{Address: text}, nil
	}
	if err != nil || a.Address == "" || a.Address[0] == '-' || strings.ContainsFunc(text, unicode.IsControl) {
		return nil, resources.BadKey(key, "%q is not a mail address: write \"user@host\", or a local user", text)
	}
	return a, nil
}

func notOfUsers(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+", r)
}

// A Mail is the resource.
type Mail struct {
	from          *mail.Address
	to            []*mail.Address
	subject, host string
	sendmail      string
	mark          *started.Mark
}

// Start tells of a takeover, unless that was done. It fails only if ctx is over.
func (m *Mail) Start(ctx context.Context) error {
	return m.turn(ctx, true, "Takeover in progress", "takes over")
}

// Stop tells of a release, if a takeover was told of. It fails only if ctx is over.
func (m *Mail) Stop(ctx context.Context) error {
	return m.turn(ctx, false, "Shutdown in progress", "releases")
}

func (m *Mail) turn(ctx context.Context, on bool, event, does string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	// Where it cannot be told, one mail too many is better than none.
	if set, err := m.mark.IsSet(); err == nil && set == on {
		return nil
	}
	if on {
		m.mark.Set()
	} else {
		m.mark.Clear()
	}
	m.send(ctx, m.letter(event, does, time.Now()))
	return nil
}

// Status is what was told of last.
func (m *Mail) Status(context.Context) (resources.Status, error) {
	set, err := m.mark.IsSet()
	switch {
	case err != nil:
		return resources.Stopped, fmt.Errorf("mail: %w", err)
	case set:
		return resources.Running, nil
	}
	return resources.Stopped, nil
}

// letter has MailTo's subjects, which people have filters for.
func (m *Mail) letter(event, does string, now time.Time) []byte {
	var to []string
	for _, a := range m.to {
		to = append(to, headed(a))
	}
	subject := fmt.Sprintf("%s %s on %s", m.subject, event, m.host)
	var text bytes.Buffer
	for _, field := range [][2]string{
		{"From", headed(m.from)},
		{"To", strings.Join(to, ",\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", now.Format(time.RFC1123Z)},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: no vacation notice shall answer this.
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&text, "%s: %s\n", field[0], field[1])
	}
	text.WriteByte('\n')
	body := quotedprintable.NewWriter(&text)
	fmt.Fprintf(body, "%s\n\nThe director %s %s the group.\nTime: %s\n", subject, m.host, does, now.Format(time.RFC1123Z))
	_ = body.Close() // A buffer takes everything.
	return bytes.ReplaceAll(text.Bytes(), []byte("\r\n"), []byte("\n"))
}

// headed is an address for a header field. A local user has no domain to write, and
// none is made up.
func headed(a *mail.Address) string {
	if !strings.Contains(a.Address, "@") {
		return a.Address
	}
	return a.String()
}

// bare is an address as sendmail's argument: its local part quoted where it must be.
func bare(a *mail.Address) string {
	return strings.Trim(headed(&mail.Address{Address: a.Address}), "<>")
}

// handOver is a shell that takes the letter into its memory, leaves sendmail running
// in the background and ends.
const handOver = `letter=$(cat); { printf '%s\n' "$letter" | timeout 60 "$@"; } >/dev/null 2>&1 &`

// handOverTime bounds the shell, which has a few milliseconds' work.
const handOverTime = time.Second

func (m *Mail) send(ctx context.Context, letter []byte) {
	ctx, cancel := context.WithTimeout(ctx, handOverTime)
	defer cancel()
	// -i: a line of a single dot does not end the mail.
	args := []string{"sh", "-c", handOver, "sh", m.sendmail, "-i", "-f", bare(m.from)}
	for _, a := range m.to {
		args = append(args, bare(a))
	}
	// No error of it may keep the group from moving: see the package's comment.
	_, _ = runcmd.Run(ctx, runcmd.Command{Path: "/bin/sh", Args: args, Env: os.Environ(), Stdin: letter})
}
