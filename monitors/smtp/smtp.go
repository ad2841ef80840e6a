// Package smtp is the monitor "smtp": it waits for a mail server's greeting,
// introduces itself and says goodbye, with TLS if asked to.
//
//	monitor = { type = "smtp" }
//	monitor = { type = "smtp", starttls = true, certificate_days = 14 }
//	monitor = { type = "smtp", port = 465, tls = true, from = "probe@example.org" }
//
// A host is up when the greeting was 220 and the answers to EHLO (or to HELO, where
// EHLO is not known) 250, to STARTTLS 220, to MAIL 250 and to QUIT 221, all within
// the timeout; hanging up at QUIT is as good. It is down when it refused, broke off,
// was silent or answered otherwise: a server that is full or overloaded says so with
// a code of 4xx. It is unknown when it could not be asked, because its name could
// not be resolved or this machine has no route, no such source address or no socket
// left.
//
// No mail is sent: from gives the envelope's sender only, to see whether the
// server would take one now.
//
// Defaults: port 25, with tls 465; timeout 10s, limit 32, ip any, verify true.
package smtp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 25, with tls 465."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	HeloName string `toml:"helo_name" doc:"Name to say in EHLO; default is this side's address in brackets."`
	From     string `toml:"from" doc:"Sender to ask for with MAIL, \"<>\" for none; default is not to ask."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first (SMTPS); default false."`
	StartTLS        bool   `toml:"starttls" doc:"Whether to change to TLS with STARTTLS; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("smtp", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", Verify: true}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := checkNames(&c); err != nil {
		return nil, err
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		TLS: c.TLS, StartTLS: c.StartTLS, DefaultPort: 25, TLSPort: 465,
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

// checkNames sees to it that the names fit into a line, and takes the angle
// brackets off the sender that it may have.
func checkNames(c *config) error {
	const unfit = " \t\r\n\x00<>"
	if strings.ContainsAny(c.HeloName, unfit) {
		return monitors.BadKey("helo_name", `%q is no name of a machine: write one, like "probe.example.org"`, c.HeloName)
	}
	if c.From == "<>" || c.From == "" {
		return nil
	}
	c.From = strings.TrimSuffix(strings.TrimPrefix(c.From, "<"), ">")
	if strings.ContainsAny(c.From, unfit) || !strings.Contains(c.From, "@") {
		return monitors.BadKey("from", `%q is no mail address: write one, like "probe@example.org", or "<>"`, c.From)
	}
	return nil
}

func (c *config) talk(ctx context.Context, call *dialogue.Call) error {
	if _, err := call.Expect(ctx, "greeting", 220); err != nil {
		return err
	}
	if err := c.hello(ctx, call); err != nil {
		return err
	}
	if c.StartTLS {
		if _, err := call.Ask(ctx, "STARTTLS", "STARTTLS", 220); err != nil {
			return err
		}
		if err := call.Secure(ctx); err != nil {
			return err
		}
		// What was said before does not count (RFC 3207, 4.2).
		if err := c.hello(ctx, call); err != nil {
			return err
		}
	}
	if c.From != "" {
		if _, err := call.Ask(ctx, "MAIL", "MAIL FROM:<"+strings.Trim(c.From, "<>")+">", 250); err != nil {
			return err
		}
	}
	_, err := call.Ask(ctx, "QUIT", "QUIT", 221)
	return dialogue.Parted(err)
}

// hello introduces the monitor, the old way to a server that does not know EHLO
// (RFC 5321, 3.2); such a one has no STARTTLS either.
func (c *config) hello(ctx context.Context, call *dialogue.Call) error {
	name := c.HeloName
	if name == "" {
		name = literal(call.Local())
	}
	if err := call.Send(ctx, "EHLO", "EHLO "+name+"\r\n"); err != nil {
		return err
	}
	r, err := call.Reply(ctx, "answer")
	switch {
	case err != nil || r.Code == 250:
		return err
	case c.StartTLS || r.Code < 500 || r.Code == 521 || r.Code == 554: // "does not accept mail"
		return call.Unexpected("answer", r.String(), "250")
	}
	_, err = call.Ask(ctx, "HELO", "HELO "+name, 250)
	return err
}

// literal is an address as EHLO takes it in place of a name (RFC 5321, 4.1.3).
func literal(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "localhost"
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		return "[IPv6:" + addr.String() + "]"
	}
	return "[" + addr.String() + "]"
}
