// Package syslog is the alert "syslog": one line for each event, to the syslog of this
// machine or to a server.
//
//	alert = { type = "syslog" }
//	alert = { type = "syslog", server = "logs.example.org", facility = "local3" }
//	alert = { type = "syslog", server = "logs.example.org:6514", transport = "tls" }
//
// A line is
//
//	DOWN web:http: web2 (1 of 3); web2 down since 12:00:00 (1m): connection refused; why: failure 3 of alertafter 3
//
// with the severity "crit" for failures and traps, as in mon, "notice" for whatever
// else, and "info" for a test. The key severity names another one for failures. Format
// rfc5424 has the kind of the event (failure, up, ...) as MSGID.
//
// The transport udp takes 2048 bytes of a line and loses it if nobody listens: that can
// be known of tcp and tls only. These use octet counting (RFC 6587, RFC 5425), which
// rsyslog and syslog-ng read on any TCP port of theirs. A server that closes the
// connection, or that does not complain within a second, has got the line.
package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/syslog"
	"github.com/monitord/monitord/internal/wording"
)

// Config is the table of a syslog alert.
type Config struct {
	Server    string          `toml:"server" doc:"Host of the syslog server, with its port if it is not 514, or 6514 for tls; default none, the local socket."`
	Facility  string          `toml:"facility" doc:"Facility, such as \"daemon\", \"user\" or \"local0\"; default \"daemon\"."`
	Transport string          `toml:"transport" doc:"How the server is reached: \"udp\", \"tcp\" or \"tls\"; default \"udp\"."`
	Format    string          `toml:"format" doc:"Format for a server: \"rfc5424\" or \"rfc3164\"; default \"rfc5424\"."`
	Socket    string          `toml:"socket" doc:"Path of the local socket; default \"/dev/log\"."`
	Severity  string          `toml:"severity" doc:"Severity of failures, from \"debug\" to \"emerg\"; default \"crit\"."`
	Tag       string          `toml:"tag" doc:"Name of the program in the line; default \"monitord\"."`
	Timeout   alerts.Duration `toml:"timeout" doc:"Bound on one delivery; default 10s."`

	ServerName string `toml:"server_name" doc:"Name that the server's certificate must be for; default its host."`
	Verify     bool   `toml:"verify" doc:"Whether the server's certificate must be valid for the name and from a known issuer; default true."`
	CAFile     string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile   string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile    string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
}

func init() { alerts.Register("syslog", defaults(), build) }

func defaults() Config {
	return Config{
		Facility: "daemon", Transport: "udp", Format: "rfc5424", Socket: syslog.LocalSocket, Severity: syslog.Critical.String(),
		Tag: "monitord", Timeout: alerts.Duration(10 * time.Second), Verify: true,
	}
}

// sender is the alert. It keeps nothing between two events.
type sender struct {
	Config
	facility syslog.Facility
	failure  syslog.Severity
	address  string // empty: the local socket
	tls      *tls.Config
	format   syslog.Format
	limit    int
	hostname string
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	s := &sender{Config: c, format: syslog.Local, limit: syslog.StreamLimit, hostname: site.Hostname}
	var err error
	if s.facility, err = syslog.ParseFacility(c.Facility); err != nil {
		return nil, alerts.BadKey("facility", "%w", err)
	}
	if s.failure, err = syslog.ParseSeverity(c.Severity); err != nil {
		return nil, alerts.BadKey("severity", "%w", err)
	}
	switch {
	case c.Timeout <= 0:
		return nil, alerts.BadKey("timeout", "%s is no time to deliver in: write a duration, like \"10s\"", c.Timeout)
	case c.Tag == "" || strings.ContainsFunc(c.Tag, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`[]:`, r) }) || len(c.Tag) > 32:
		return nil, alerts.BadKey("tag", `%q is no name of a program: write one like "monitord", at most 32 characters`, c.Tag)
	}
	if c.Server == "" {
		return s, s.parseLocal()
	}
	return s, s.parseServer()
}

func (s *sender) keys() dial.TLSKeys {
	return dial.TLSKeys{ServerName: s.ServerName, Verify: s.Verify, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}
}

func (s *sender) parseLocal() error {
	def := defaults()
	for _, k := range []struct {
		key string
		set bool
	}{{"transport", s.Transport != def.Transport}, {"format", s.Format != def.Format}, {s.keys().First(), s.keys().First() != ""}} {
		if k.set {
			return alerts.BadKey(k.key, "has no use without a server: write server = \"HOST\", or leave it out")
		}
	}
	if !strings.HasPrefix(s.Socket, "/") || len(s.Socket) > 107 { // sun_path, unix(7)
		return alerts.BadKey("socket", `%q is no path of a socket: write one like "/dev/log"`, s.Socket)
	}
	return nil
}

func (s *sender) parseServer() error {
	port := 514
	switch s.Transport {
	case "udp", "tcp":
		if key := s.keys().First(); key != "" {
			return alerts.BadKey(key, "has no use without TLS: write transport = \"tls\", or leave it out")
		}
	case "tls":
		port = 6514
	default:
		return alerts.BadKey("transport", `%q is no way to a server: write "udp", "tcp" or "tls"`, s.Transport)
	}
	target, err := dial.ParseTarget(s.Server, port)
	if err != nil {
		return alerts.BadKey("server", "%w", err)
	}
	s.address = target.String()
	if s.Transport == "tls" {
		secure, err := dial.NewTLS(s.keys())
		if err != nil {
			return err
		}
		s.tls = secure.Config()
		if s.tls.ServerName = s.ServerName; s.tls.ServerName == "" {
			s.tls.ServerName = target.Host()
		}
	}
	switch s.Format {
	case "rfc5424":
		s.format = syslog.RFC5424
		if s.Transport == "udp" {
			s.limit = syslog.DatagramLimit
		}
	case "rfc3164":
		s.format, s.limit = syslog.RFC3164, syslog.OldLimit
	default:
		return alerts.BadKey("format", `%q is no format: write "rfc5424" or "rfc3164"`, s.Format)
	}
	return nil
}

// Recorder implements [alerts.Recorder].
func (*sender) Recorder() {}

// Send implements [alerts.Alert].
func (s *sender) Send(ctx context.Context, e alerts.Event) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout.Std())
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("syslog: %w", err)
	}
	where := s.address
	if where == "" {
		where = s.Socket
	}
	if err := s.deliver(ctx, s.format(s.message(e), s.limit)); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
		}
		return fmt.Errorf("syslog %s: %w", where, err)
	}
	return nil
}

func (s *sender) deliver(ctx context.Context, message []byte) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return cause(err)
	}
	err = conn.Send(ctx, message)
	if err == nil {
		err = conn.Finish(ctx)
	}
	if err != nil {
		return errors.Join(cause(err), conn.Close())
	}
	return conn.Close()
}

// cause strips what package net wraps around an error: the addresses, of which the
// caller names the one that matters. What the other side of TLS complains about keeps
// its "remote error".
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op != "remote error" {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

func (s *sender) connect(ctx context.Context) (*syslog.Conn, error) {
	if s.address == "" {
		return syslog.DialLocal(ctx, s.Socket)
	}
	return syslog.Dial(ctx, s.Transport, s.address, s.tls)
}

func (s *sender) message(e alerts.Event) syslog.Message {
	m := wording.New(e, s.hostname)
	text := m.Headline()
	if details := m.Details(); details != "" {
		text += "; " + strings.ReplaceAll(details, "\n", "; ")
	}
	at := e.Time
	if at.IsZero() {
		at = time.Now()
	}
	return syslog.Message{
		Facility: s.facility, Severity: s.severity(e.Kind), Time: at, Hostname: s.hostname, App: s.Tag, PID: os.Getpid(), ID: e.Kind.String(), Text: text,
	}
}

func (s *sender) severity(k alerts.Kind) syslog.Severity {
	switch k {
	case alerts.Failure, alerts.Trap, alerts.TrapTimeout:
		return s.failure
	case alerts.Up, alerts.Startup, alerts.Ack, alerts.Disable, alerts.State, alerts.Digest:
		return syslog.Notice
	case alerts.Test:
		return syslog.Info
	}
	return syslog.Notice
}
