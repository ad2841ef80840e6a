// Package ftp is the monitor "ftp": it waits for a file server's greeting, logs in
// if it is to, and quits, with TLS if asked to. No file is transferred.
//
//	monitor = { type = "ftp" }
//	monitor = { type = "ftp", user = "anonymous", password = "probe@example.org" }
//	monitor = { type = "ftp", starttls = true, certificate_days = 14 }
//
// A host is up when the greeting was 220 and the answers to AUTH TLS 234, to USER
// and PASS 230 and to QUIT 221, all within the timeout; hanging up at QUIT is as
// good. It is down when it refused, broke off, was silent or answered otherwise.
// It is unknown when it could not be asked, because its name could not be resolved
// or this machine has no route, no such source address or no socket left.
//
// Without tls and starttls the password goes over the network in the clear: "monitord
// check" warns of it, but for the users anonymous and ftp, whose password is no secret.
//
// Defaults: port 21, with tls 990; timeout 10s, limit 32, ip any, verify true.
package ftp

import (
	"context"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 21, with tls 990."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	User     string          `toml:"user" doc:"User to log in as; default none, which ends the test at the greeting."`
	Password monitors.Secret `toml:"password" doc:"Password of the user; default none."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first (FTPS); default false."`
	StartTLS        bool   `toml:"starttls" doc:"Whether to change to TLS with AUTH TLS; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("ftp", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", Verify: true}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := dialogue.CheckLogin(c.User, c.Password); err != nil {
		return nil, err
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		TLS: c.TLS, StartTLS: c.StartTLS, DefaultPort: 21, TLSPort: 990,
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
	if c.User == "anonymous" || c.User == "ftp" {
		return nil // their password is a mail address, and no secret (RFC 1635, 3)
	}
	return dialogue.InTheClear(c.Password, c.TLS || c.StartTLS, "write tls = true or starttls = true")
}

func (c config) talk(ctx context.Context, call *dialogue.Call) error {
	call.Hide = []string{c.Password.Reveal()}
	if err := greeting(ctx, call); err != nil {
		return err
	}
	if c.StartTLS {
		if _, err := call.Ask(ctx, "AUTH", "AUTH TLS", 234); err != nil { // RFC 4217, 4
			return err
		}
		if err := call.Secure(ctx); err != nil {
			return err
		}
	}
	if err := c.login(ctx, call); err != nil {
		return err
	}
	_, err := call.Ask(ctx, "QUIT", "QUIT", 221)
	return dialogue.Parted(err)
}

// greeting waits out the announcement that it will take some minutes (RFC 959,
// 5.4): the timeout decides whether that is too long.
func greeting(ctx context.Context, call *dialogue.Call) error {
	for {
		r, err := call.Expect(ctx, "greeting", 120, 220)
		if err != nil || r.Code == 220 {
			return err
		}
	}
}

func (c config) login(ctx context.Context, call *dialogue.Call) error {
	if c.User == "" {
		return nil
	}
	r, err := call.Ask(ctx, "USER", "USER "+c.User, 230, 331)
	if err != nil || r.Code == 230 {
		return err
	}
	_, err = call.Ask(ctx, "PASS", "PASS "+c.Password.Reveal(), 230, 202)
	return err
}
