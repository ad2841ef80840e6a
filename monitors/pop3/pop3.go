// Package pop3 is the monitor "pop3": it waits for a mail store's greeting, logs in
// if it is to, and quits, with TLS if asked to.
//
//	monitor = { type = "pop3" }
//	monitor = { type = "pop3", tls = true, certificate_days = 14 }
//	monitor = { type = "pop3", starttls = true, user = "probe", password_file = "/etc/monitord/probe" }
//
// A host is up when the greeting and each answer began with +OK within the timeout;
// hanging up at QUIT is as good. It is down when it refused, broke off, was silent,
// or said -ERR or something else. It is
// unknown when it could not be asked, because its name could not be resolved or
// this machine has no route, no such source address or no socket left.
//
// Without tls and starttls the password goes over the network in the clear: "monitord
// check" warns of it.
//
// Defaults: port 110, with tls 995; timeout 10s, limit 32, ip any, verify true.
package pop3

import (
	"context"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 110, with tls 995."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	User     string          `toml:"user" doc:"User to log in as; default none, which ends the test at the greeting."`
	Password monitors.Secret `toml:"password" doc:"Password of the user; default none."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first (POP3S); default false."`
	StartTLS        bool   `toml:"starttls" doc:"Whether to change to TLS with STLS; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("pop3", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", Verify: true}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := dialogue.CheckLogin(c.User, c.Password); err != nil {
		return nil, err
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		TLS: c.TLS, StartTLS: c.StartTLS, DefaultPort: 110, TLSPort: 995,
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

func (c config) talk(ctx context.Context, call *dialogue.Call) error {
	call.Hide = []string{c.Password.Reveal()}
	if err := good(ctx, call, "greeting"); err != nil {
		return err
	}
	if c.StartTLS {
		if err := ask(ctx, call, "STLS", ""); err != nil {
			return err
		}
		if err := call.Secure(ctx); err != nil {
			return err
		}
	}
	if c.User != "" {
		if err := ask(ctx, call, "USER", " "+c.User); err != nil {
			return err
		}
		if err := ask(ctx, call, "PASS", " "+c.Password.Reveal()); err != nil {
			return err
		}
	}
	return dialogue.Parted(ask(ctx, call, "QUIT", ""))
}

func ask(ctx context.Context, call *dialogue.Call, verb, argument string) error {
	if err := call.Send(ctx, verb, verb+argument+"\r\n"); err != nil {
		return err
	}
	return good(ctx, call, "answer")
}

// good reads a line that must be positive (RFC 1939, 3).
func good(ctx context.Context, call *dialogue.Call, what string) error {
	line, err := call.Line(ctx, what)
	if err != nil {
		return err
	}
	if word, _, _ := strings.Cut(line, " "); word != "+OK" {
		return call.Unexpected(what, line, "+OK")
	}
	return nil
}
