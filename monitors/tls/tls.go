// Package tls is the monitor "tls": it does a TLS handshake with each host and
// judges the certificate, and what was agreed on.
//
//	monitor = { type = "tls", server_name = "www.example.org" }
//	monitor = { type = "tls", port = 636, ca_file = "/etc/ssl/our-ca.pem", certificate_days = 30 }
//	monitor = { type = "tls", server_name = "www.example.org", alpn = ["h2"], min_version = "1.3" }
//
// A host is up when the handshake was done within the timeout, and all is as
// wanted: the certificate is good by its dates, for the name, for certificate_days
// more, and from an issuer that is trusted, by a chain that the server sends without
// a gap. It is down when it refused, broke off, was silent, or showed something
// else; the reason says all that is wrong, with the certificate and the date. It is
// unknown when it could not be asked: its name could not be resolved, this machine
// has no route, no such source address or no socket left, or knows no issuers.
//
// A certificate that will end soon is no reason to take a server out of its pool:
// let this monitor send mail, and leave the pool to one that asks for a page. The
// days are those of the whole chain, so an intermediate certificate that ends
// before the server's own counts.
//
// A server that asks for a certificate is asked for its opinion of ours: with TLS 1.3 it
// would come too late otherwise. That takes a second if the server does not close.
//
// What greets in clear text first is tested by "smtp", "imap", "pop3" and "ftp" with
// starttls = true.
//
// No revocation is looked up, and no missing intermediate fetched, which some
// browsers do and most programs do not.
//
// Defaults: port 443, verify true, certificate_days 14, min_version 1.2, timeout
// 10s, limit 32, ip any.
package tls

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 443."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	ServerName      string   `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool     `toml:"verify" doc:"Whether the certificate must be valid by its dates, for the name and from a known issuer; default true."`
	CAFile          string   `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string   `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string   `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int      `toml:"certificate_days" doc:"How many days the certificate and its issuers' must be good for, 0 for not looked at; default 14."`
	Fingerprint     []string `toml:"fingerprint" doc:"SHA-256 digests in hexadecimal, one of which the certificate must have; default none."`
	Pin             []string `toml:"pin" doc:"Digests of public keys, one of which must be the certificate's, as curl has them: \"sha256//\" and base64; default none."`
	MinVersion      string   `toml:"min_version" doc:"The oldest version of TLS that the server may choose: \"1.0\", \"1.1\", \"1.2\" or \"1.3\"; default 1.2."`
	ALPN            []string `toml:"alpn" doc:"Protocols to offer, one of which the server must choose, like \"h2\"; default none."`
}

func init() {
	monitors.Register("tls", config{
		Port: 443, Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any",
		Verify: true, CertificateDays: 14, MinVersion: "1.2",
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
	tls    *dial.TLS
	wish   wish
}

func newProbe(c config) (*probe, error) {
	p := &probe{config: c}
	if err := checkNumbers(c); err != nil {
		return nil, err
	}
	var err error
	if p.dialer, err = dial.New(c.Source, c.IP); err != nil {
		return nil, err
	}
	keys := dial.TLSKeys{Verify: c.Verify, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, CertificateDays: c.CertificateDays}
	if p.tls, err = dial.NewTLS(keys); err != nil {
		return nil, err
	}
	p.wish = wish{verify: c.Verify, roots: p.tls.Roots(), days: c.CertificateDays, protocols: c.ALPN}
	return p, p.parse()
}

func checkNumbers(c config) error {
	switch {
	case c.Port < 1 || c.Port > 65535:
		return monitors.BadKey("port", "%d is no TCP port: write a number from 1 to 65535", c.Port)
	case c.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", c.Timeout)
	case c.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", c.Limit)
	}
	return nil
}

func (p *probe) parse() error {
	versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	if p.wish.version = versions[p.MinVersion]; p.wish.version == 0 {
		return monitors.BadKey("min_version", `%q is no version of TLS: write "1.0", "1.1", "1.2" or "1.3"`, p.MinVersion)
	}
	for _, text := range p.Fingerprint {
		digits := strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(text, ":", "")), "sha256")
		if raw, err := hex.DecodeString(digits); err != nil || len(raw) != sha256.Size {
			return monitors.BadKey("fingerprint", `%q is no SHA-256 digest: write 64 hexadecimal digits, with colons or without`, text)
		}
		p.wish.fingerprints = append(p.wish.fingerprints, digits)
	}
	for _, text := range p.Pin {
		digest, ok := strings.CutPrefix(text, "sha256//")
		if raw, err := base64.StdEncoding.DecodeString(digest); !ok || err != nil || len(raw) != sha256.Size {
			return monitors.BadKey("pin", `%q is no digest of a public key: write "sha256//" and 44 characters of base64`, text)
		}
		p.wish.pins = append(p.wish.pins, digest)
	}
	for _, protocol := range p.ALPN {
		if len(protocol) < 1 || len(protocol) > 255 { // RFC 7301, 3.1
			return monitors.BadKey("alpn", `%q is no name of a protocol: write one like "h2"`, protocol)
		}
	}
	return nil
}

// test shakes hands with one host.
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
	name := cmp.Or(p.ServerName, target.Host())
	state, err := p.tls.Inspect(ctx, conn, name, p.ALPN)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("connected, but the TLS handshake was not finished within the timeout")
	case err != nil:
		return fmt.Errorf("connected, but %w", err)
	}
	return p.wish.judge(state, name, time.Now())
}
