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
// a login is worth that only on a network of one's own, and "monitord check" warns of
// it.
//
// Defaults: port 23, timeout 10s, limit 32, ip any, max_bytes 16384, and the
// expressions beside Register below.
package telnet

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
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
	return p.caller.Monitor(p.talk), nil
}

// probe is the configuration, parsed.
type probe struct {
	config
	caller *dialogue.Caller

	prompt, passwordPrompt, shellPrompt, failure *regexp.Regexp
}

// Warnings implements [monitors.Warner].
func (c config) Warnings() []error {
	return dialogue.InTheClear(c.Password, false, "telnet has no TLS; leave out user and password, the login prompt shows as much of the server")
}

func newProbe(c config) (*probe, error) {
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: c.MaxBytes,
		Certificate: dial.TLSKeys{Verify: true},
	})
	if err != nil {
		return nil, err
	}
	if err := dialogue.CheckLogin(c.User, c.Password); err != nil {
		return nil, err
	}
	p := &probe{config: c, caller: caller}
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

// talk waits for the login prompt, and with a user for what comes after the login.
func (p *probe) talk(ctx context.Context, call *dialogue.Call) error {
	var d decoder
	call.Filter, call.Hide = d.decode, []string{p.Password.Reveal()}
	if err := await(ctx, call, "login prompt", p.prompt, nil); err != nil || p.User == "" {
		return err
	}
	if err := call.Send(ctx, "user", line(p.User)); err != nil {
		return err
	}
	if p.Password != "" {
		if err := await(ctx, call, "password prompt", p.passwordPrompt, p.failure); err != nil {
			return err
		}
		if err := call.Send(ctx, "password", line(p.Password.Reveal())); err != nil {
			return err
		}
	}
	return await(ctx, call, "shell prompt", p.shellPrompt, p.failure)
}

// errRefused is a login that was refused.
var errRefused = errors.New("login refused")

// await reads until prompt matches; what matches failure before ends it.
func await(ctx context.Context, call *dialogue.Call, what string, prompt, failure *regexp.Regexp) error {
	refused := false
	err := call.Await(ctx, what, func(text []byte) bool {
		if prompt.Match(text) {
			return true
		}
		refused = failure != nil && failure.Match(text)
		return refused
	})
	if refused {
		return fmt.Errorf("%w; %s", errRefused, call.Said())
	}
	return err
}
