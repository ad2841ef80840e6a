// Package telnet is the monitor "telnet": it connects, refuses every option that
// the server wants to negotiate, and waits for a login prompt. With a user it
// goes on and logs in.
//
//	monitor = { type = "telnet" }
//	monitor = { type = "telnet", prompt = "(?i)password: ?$" }
//	monitor = { type = "telnet", user = "probe", password_file = "/etc/monitord/probe", shell_prompt = "switch[0-9]+> ?$" }
//
// A host is up when the prompt came within the timeout, or with a user, when the
// shell's prompt came; down when it refused, broke off, was silent, sent
// something else or refused the login; unknown when it could not be asked,
// because its name could not be resolved or this machine has no route, no such
// source address or no socket left.
//
// The regular expressions look at all that came since the last line was sent,
// after each piece of it, without NULs and the terminal's escape sequences; so
// a $ at the end means "and then the server waits". Without a password the shell's
// prompt is expected right after the user.
//
// Telnet sends the password in the clear. A prompt shows that the server lives;
// a login is worth that only on a network of one's own.
//
// Defaults: port 23, timeout 10s, limit 32, ip any, max_bytes 16384, and the
// expressions beside Register below.
package telnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port     int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 23."`
	Timeout  monitors.Duration `toml:"timeout" doc:"How long one host may take in all, the login included; default 10s."`
	Limit    int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source   string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP       string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`
	MaxBytes int               `toml:"max_bytes" doc:"How many bytes the server may send in all, negotiation included, 1 to 1048576; default 16384."`

	Prompt string `toml:"prompt" doc:"Regular expression (RE2) of the login prompt; default one for \"login:\" or \"username:\" at the end of the text."`

	User           string          `toml:"user" doc:"User to log in as; default none, which ends the test at the login prompt."`
	Password       monitors.Secret `toml:"password" doc:"Password of the user; default none, no password prompt is expected then."`
	PasswordPrompt string          `toml:"password_prompt" doc:"Regular expression (RE2) of the password prompt; default one for \"password:\" or \"passcode:\" at the end of the text."`
	ShellPrompt    string          `toml:"shell_prompt" doc:"Regular expression (RE2) of what must come after the login; default one of $ # > % at the end of the text."`
	Failure        string          `toml:"failure" doc:"Regular expression (RE2) of what a refused login says; default words like \"incorrect\" and \"denied\"."`
}

func init() {
	monitors.Register("telnet", config{
		Port: 23, Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", MaxBytes: 16 << 10,
		Prompt:         `(?i)(login|user ?name) ?: ?$`,
		PasswordPrompt: `(?i)pass(word|phrase|code)( for [^\n]*)? ?: ?$`,
		ShellPrompt:    `[$#>%] ?$`,
		// Not a bare "failed": a greeting that counts failed logins is none.
		Failure: `(?i)(incorrect|denied|invalid|bad password|(login|authentication) fail)`,
	}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	p, err := newProbe(c)
	if err != nil {
		return nil, err
	}
	return monitors.EachHost(c.Limit, c.Timeout.Std(), p.test), nil
}

// probe is the configuration, parsed.
type probe struct {
	config
	dialer *dial.Dialer

	prompt, passwordPrompt, shellPrompt, failure *regexp.Regexp
}

func newProbe(c config) (*probe, error) {
	if err := checkValues(c); err != nil {
		return nil, err
	}
	dialer, err := dial.New(c.Source, c.IP)
	if err != nil {
		return nil, err
	}
	p := &probe{config: c, dialer: dialer}
	for _, e := range []struct {
		key, value string
		into       **regexp.Regexp
	}{
		{"prompt", c.Prompt, &p.prompt},
		{"password_prompt", c.PasswordPrompt, &p.passwordPrompt},
		{"shell_prompt", c.ShellPrompt, &p.shellPrompt},
		{"failure", c.Failure, &p.failure},
	} {
		if e.value == "" {
			return nil, monitors.BadKey(e.key, "is empty and would match anything: write a regular expression, or leave it out")
		}
		if *e.into, err = regexp.Compile(e.value); err != nil {
			return nil, monitors.BadKey(e.key, "%w (RE2 syntax)", err)
		}
	}
	return p, nil
}

func checkValues(c config) error {
	switch {
	case c.Port < 0 || c.Port > 65535:
		return monitors.BadKey("port", "%d is no TCP port: write a number from 1 to 65535", c.Port)
	case c.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", c.Timeout)
	case c.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", c.Limit)
	case c.MaxBytes < 1 || c.MaxBytes > 1<<20:
		return monitors.BadKey("max_bytes", "%d is out of range: write a number from 1 to 1048576", c.MaxBytes)
	case c.Password != "" && c.User == "":
		return monitors.BadKey("password", "has no use without user")
	case strings.ContainsAny(c.User, "\r\n\x00"):
		return monitors.BadKey("user", "has a line end or NUL in it, which would end the line that is sent")
	case strings.ContainsAny(c.Password.Reveal(), "\r\n\x00"):
		return monitors.BadKey("password", "has a line end or NUL in it, which would end the line that is sent")
	}
	return nil
}

// test asks one host.
func (p *probe) test(ctx context.Context, host string, took *monitors.Timings) error {
	target, err := dial.ParseTarget(host, p.Port)
	if err != nil {
		return monitors.Untested(err)
	}
	conn, err := p.dialer.Dial(ctx, target, took)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // The verdict stands by then.
	s := session{probe: p, reader: reader{conn: conn, left: p.MaxBytes}}
	return s.run(ctx)
}

// A session is one conversation with one host.
type session struct {
	*probe
	reader reader
	said   []byte // the last text, since the last line was sent
}

func (s *session) run(ctx context.Context) error {
	if err := s.await(ctx, "connected, but", "login prompt", s.prompt, nil); err != nil || s.User == "" {
		return err
	}
	if err := s.send(ctx, "user", s.User); err != nil {
		return err
	}
	if s.Password != "" {
		if err := s.await(ctx, "user sent, but", "password prompt", s.passwordPrompt, s.failure); err != nil {
			return err
		}
		if err := s.send(ctx, "password", s.Password.Reveal()); err != nil {
			return err
		}
	}
	return s.await(ctx, "login sent, but", "shell prompt", s.shellPrompt, s.failure)
}

// errRefused is a login that was refused.
var errRefused = errors.New("login refused")

// await reads until prompt matches; what matches failure before ends it.
func (s *session) await(ctx context.Context, sofar, what string, prompt, failure *regexp.Regexp) error {
	refused := false
	text, err := dial.Await(&s.reader, s.MaxBytes, func(text []byte) bool {
		if prompt.Match(text) {
			return true
		}
		refused = failure != nil && failure.Match(text)
		return refused
	})
	s.said = text
	switch {
	case refused:
		return fmt.Errorf("%w; %s", errRefused, s.lastText())
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s no %s within %s; %s", sofar, what, s.Timeout, s.lastText())
	case errors.Is(err, errFlood) || errors.Is(err, dial.ErrTooLong):
		return fmt.Errorf("%s no %s in %d bytes; %s", sofar, what, s.MaxBytes, s.lastText())
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s the connection was closed without a %s; %s", sofar, what, s.lastText())
	}
	return fmt.Errorf("%s no %s: %w; %s", sofar, what, dial.Broken(err), s.lastText())
}

func (s *session) send(ctx context.Context, what, text string) error {
	_, err := s.reader.conn.Write(line(text))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("connected, but the %s could not be sent within %s", what, s.Timeout)
	}
	return fmt.Errorf("connected, but sending the %s failed: %w", what, dial.Broken(err))
}

// lastText quotes what the server said last. A server that echoes must not carry
// the password into a mail.
func (s *session) lastText() string {
	text := string(s.said)
	if secret := s.Password.Reveal(); secret != "" {
		text = strings.ReplaceAll(text, secret, s.Password.String())
	}
	if text = strings.TrimSpace(text); text == "" {
		return "no text was received"
	}
	return "last text: " + dial.Excerpt([]byte(text), 120)
}
