// Package tcp is the monitor "tcp": it connects to a port, and if asked to, does
// a TLS handshake, sends a text and waits for an answer.
//
//	monitor = { type = "tcp", port = 25, expect_regexp = "^220 " }
//	monitor = { type = "tcp", port = 6379, send = "PING\r\n", expect = "+PONG", timeout = "2s" }
//	monitor = { type = "tcp", port = 993, tls = true, certificate_days = 14 }
//
// A host is up when all that was asked for happened within the timeout; down
// when it refused, broke off, was silent or said something else; unknown when it
// could not be asked, because its name could not be resolved or this machine
// has no route, no such source address or no socket left.
//
// Of a name with several addresses one that answers is enough; set ip to test
// one family. The answer may arrive in pieces and need not end: the monitor
// looks at it after each piece, and gives up after max_bytes.
//
// Defaults: timeout 10s, limit 32, ip any, verify true, max_bytes 16384.
package tcp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 0: all do."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Send         string `toml:"send" doc:"Text to send once connected, with TOML's escapes for line ends; default none."`
	Expect       string `toml:"expect" doc:"Text that the answer must contain; default none."`
	ExpectRegexp string `toml:"expect_regexp" doc:"Regular expression (RE2) that the answer must match, instead of expect; default none."`
	MaxBytes     int    `toml:"max_bytes" doc:"How many bytes of the answer are looked at, 1 to 1048576; default 16384."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("tcp", config{
		Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", MaxBytes: 16 << 10, Verify: true,
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
	tls    *dial.TLS // nil without tls
	match  func(answer []byte) bool
	wanted string // what match looks for, for reasons; empty if nothing
}

func newProbe(c config) (*probe, error) {
	if err := checkNumbers(c); err != nil {
		return nil, err
	}
	dialer, err := dial.New(c.Source, c.IP)
	if err != nil {
		return nil, err
	}
	p := &probe{config: c, dialer: dialer}
	keys := dial.TLSKeys{
		ServerName: c.ServerName, Verify: c.Verify, CAFile: c.CAFile,
		CertFile: c.CertFile, KeyFile: c.KeyFile, CertificateDays: c.CertificateDays,
	}
	if !c.TLS {
		err = keys.Unused()
	} else {
		p.tls, err = dial.NewTLS(keys)
	}
	if err != nil {
		return nil, err
	}
	return p, p.parseExpect()
}

func checkNumbers(c config) error {
	switch {
	case c.Port < 0 || c.Port > 65535:
		return monitors.BadKey("port", "%d is no TCP port: write a number from 1 to 65535", c.Port)
	case c.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", c.Timeout)
	case c.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", c.Limit)
	case c.MaxBytes < 1 || c.MaxBytes > 1<<20:
		return monitors.BadKey("max_bytes", "%d is out of range: write a number from 1 to 1048576", c.MaxBytes)
	}
	return nil
}

func (p *probe) parseExpect() error {
	switch {
	case p.Expect != "" && p.ExpectRegexp != "":
		return monitors.BadKey("expect_regexp", "is an alternative to expect: leave one of them out")
	case p.Expect != "":
		if len(p.Expect) > p.MaxBytes {
			return monitors.BadKey("max_bytes", "%d is less than the %d bytes of expect", p.MaxBytes, len(p.Expect))
		}
		text := []byte(p.Expect)
		p.match = func(answer []byte) bool { return bytes.Contains(answer, text) }
		p.wanted = fmt.Sprintf("%q", p.Expect)
	case p.ExpectRegexp != "":
		re, err := regexp.Compile(p.ExpectRegexp)
		if err != nil {
			return monitors.BadKey("expect_regexp", "%w (RE2 syntax)", err)
		}
		p.match = re.Match
		p.wanted = fmt.Sprintf("a match of %q", p.ExpectRegexp)
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
	if p.tls != nil {
		secure, err := p.tls.Handshake(ctx, conn, cmp.Or(p.ServerName, target.Host()))
		if err != nil {
			return p.broken(ctx, "the TLS handshake was not finished", err)
		}
		conn = secure
	}
	return p.converse(ctx, conn)
}

func (p *probe) converse(ctx context.Context, conn net.Conn) error {
	if p.Send != "" {
		if _, err := io.WriteString(conn, p.Send); err != nil {
			return p.broken(ctx, "the text could not be sent", fmt.Errorf("sending failed: %w", dial.Broken(err)))
		}
	}
	if p.match == nil {
		return nil
	}
	answer, err := dial.Await(conn, p.MaxBytes, p.match)
	said := "nothing was received"
	if len(answer) > 0 {
		said = "received " + dial.Excerpt(answer, 120)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("connected, but no %s within %s; %s", p.wanted, p.Timeout, said)
	case errors.Is(err, dial.ErrTooLong):
		return fmt.Errorf("connected, but no %s in the first %d bytes; %s", p.wanted, p.MaxBytes, said)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("connected, but the connection was closed without %s; %s", p.wanted, said)
	}
	return fmt.Errorf("connected, but waiting for %s: %w; %s", p.wanted, dial.Broken(err), said)
}

// broken words the failure of a step after the connection; late says what the
// host was silent at. That ctx ended with the run and not with the host's time
// is EachHost's to see.
func (p *probe) broken(ctx context.Context, late string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connected, but %s within %s", late, p.Timeout)
	}
	return fmt.Errorf("connected, but %w", err)
}
