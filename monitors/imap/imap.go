// Package imap is the monitor "imap": it waits for a mail store's greeting, logs in
// if it is to, and logs out, with TLS if asked to.
//
//	monitor = { type = "imap" }
//	monitor = { type = "imap", tls = true, certificate_days = 14 }
//	monitor = { type = "imap", starttls = true, user = "probe", password_file = "/etc/monitord/probe", mailbox = "INBOX" }
//
// A host is up when the greeting was OK or PREAUTH and each command was answered
// with OK within the timeout; hanging up at LOGOUT is as good. It is down when it
// refused, broke off, was silent, or said BYE, NO, BAD or something else. It is
// unknown when it could not be asked, because its name could not be resolved or
// this machine has no route, no such source address or no socket left.
//
// Without tls and starttls the password goes over the network in the clear: "monitord
// check" warns of it.
//
// Defaults: port 143, with tls 993; timeout 10s, limit 32, ip any, verify true.
package imap

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 143, with tls 993."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	User     string          `toml:"user" doc:"User to log in as; default none, which ends the test at the greeting."`
	Password monitors.Secret `toml:"password" doc:"Password of the user; default none."`
	Mailbox  string          `toml:"mailbox" doc:"Mailbox that the user must be able to look into (EXAMINE); default none."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first (IMAPS); default false."`
	StartTLS        bool   `toml:"starttls" doc:"Whether to change to TLS with STARTTLS; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("imap", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", Verify: true}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		TLS: c.TLS, StartTLS: c.StartTLS, DefaultPort: 143, TLSPort: 993,
		Certificate: dial.TLSKeys{
			ServerName: c.ServerName, Verify: c.Verify, CAFile: c.CAFile,
			CertFile: c.CertFile, KeyFile: c.KeyFile, CertificateDays: c.CertificateDays,
		},
	})
	if err != nil {
		return nil, err
	}
	return caller.Monitor(c.talk), nil
}

// Warnings implements [monitors.Warner].
func (c config) Warnings() []error {
	return dialogue.InTheClear(c.Password, c.TLS || c.StartTLS, "write tls = true or starttls = true")
}

func (c config) check() error {
	switch {
	case c.Mailbox != "" && c.User == "":
		return monitors.BadKey("mailbox", "has no use without user")
	case strings.ContainsAny(c.Mailbox, "\r\n\x00"):
		return monitors.BadKey("mailbox", "has a line end or NUL in it, which would end the line that is sent")
	}
	return dialogue.CheckLogin(c.User, c.Password)
}

func (c config) talk(ctx context.Context, call *dialogue.Call) error {
	call.Hide = []string{c.Password.Reveal(), quote(c.Password.Reveal())}
	greeting, err := call.Line(ctx, "greeting")
	if err != nil {
		return err
	}
	word, ok := status(greeting, "*")
	if !ok || word != "OK" && word != "PREAUTH" {
		return call.Unexpected("greeting", greeting, `"* OK" or "* PREAUTH"`)
	}
	if c.StartTLS {
		if err := ask(ctx, call, "a1", "STARTTLS", ""); err != nil {
			return err
		}
		if err := call.Secure(ctx); err != nil {
			return err
		}
	}
	if c.User != "" && word != "PREAUTH" {
		if err := ask(ctx, call, "a2", "LOGIN", " "+quote(c.User)+" "+quote(c.Password.Reveal())); err != nil {
			return err
		}
	}
	if c.Mailbox != "" {
		if err := ask(ctx, call, "a3", "EXAMINE", " "+quote(c.Mailbox)); err != nil {
			return err
		}
	}
	return dialogue.Parted(ask(ctx, call, "a4", "LOGOUT", ""))
}

// ask sends a command and reads to the line that answers it; those before it are
// data or news (RFC 9051, 2.2.2).
func ask(ctx context.Context, call *dialogue.Call, tag, verb, arguments string) error {
	if err := call.Send(ctx, verb, fmt.Sprintf("%s %s%s\r\n", tag, verb, arguments)); err != nil {
		return err
	}
	for {
		line, err := call.Line(ctx, "answer")
		if err != nil {
			return err
		}
		if word, ok := status(line, "*"); ok && word == "BYE" && verb != "LOGOUT" {
			return call.Unexpected("answer", line, "OK")
		}
		switch word, ok := status(line, tag); {
		case ok && word == "OK":
			return nil
		case ok:
			_, answer, _ := strings.Cut(line, " ")
			return call.Unexpected("answer", answer, "OK")
		}
	}
}

// status returns the word behind a line's tag, in capitals.
func status(line, tag string) (word string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != tag {
		return "", false
	}
	return strings.ToUpper(fields[1]), true
}

// quote writes a quoted string (RFC 9051, 4.3).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
